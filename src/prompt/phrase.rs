//! The phrases of a prompt: what stands between commas, semicolons, full stops and line ends.

use std::ops::Range;

/// What ends a phrase.
pub(super) const SEPARATORS: [char; 6] = [',', ';', '.', '\n', '|', '\r'];

/// The phrase around the `caret`-th character of `text`, without surrounding space. If the caret stands in an empty
/// phrase (just after a comma, say), the one before it; empty if there is none.
pub fn phrase_at(text: &str, caret: usize) -> &str {
    let caret_byte = text.char_indices().nth(caret).map_or(text.len(), |(at, _)| at);
    let mut end = caret_byte;
    while let Some(range) = raw_phrase(text, end) {
        let phrase = text.get(range.clone()).unwrap_or_default().trim();
        if !phrase.is_empty() {
            return phrase;
        }
        // Step over the separator to the left of the empty phrase.
        match text.get(..range.start).and_then(|left| left.char_indices().next_back()) {
            Some((at, _)) => end = at,
            None => return "",
        }
    }
    ""
}

/// All phrases of `text` that are not empty, without surrounding space.
pub fn phrases(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATORS).map(str::trim).filter(|phrase| !phrase.is_empty())
}

fn raw_phrase(text: &str, at: usize) -> Option<Range<usize>> {
    let (left, right) = (text.get(..at)?, text.get(at..)?);
    let start = left.rfind(SEPARATORS).map_or(0, |i| i + 1);
    let end = right.find(SEPARATORS).map_or(text.len(), |i| at + i);
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_caret_picks_the_phrase_it_stands_in() {
        let text = "a red apple, on a table,  soft light";
        for (caret, phrase) in
            [(0, "a red apple"), (11, "a red apple"), (12, "on a table"), (30, "soft light"), (99, "soft light")]
        {
            assert_eq!(phrase_at(text, caret), phrase, "caret {caret}");
        }
    }

    #[test]
    fn an_empty_phrase_falls_back_to_the_one_before() {
        assert_eq!(phrase_at("a cat, ", 7), "a cat");
        assert_eq!(phrase_at("a cat,,\n", 8), "a cat");
        assert_eq!(phrase_at(", ,", 3), "");
        assert_eq!(phrase_at("", 0), "");
    }

    proptest! {
        #[test]
        fn any_text_and_caret_give_a_phrase_of_the_text(text in ".{0,60}", caret in 0usize..80) {
            let phrase = phrase_at(&text, caret);
            prop_assert!(text.contains(phrase));
            prop_assert_eq!(phrase.trim(), phrase);
        }
    }
}
