//! Finding words in a text, whatever their case.

use std::ops::Range;

/// Finds more than this many places in no text.
const MOST: usize = 10_000;

/// The places of `wanted` in `text`, in bytes, in order; none overlap, and nothing is in no place.
pub fn all(text: &str, wanted: &str) -> Vec<Range<usize>> {
    let Some(first) = wanted.chars().next() else { return Vec::new() };
    let mut found = Vec::new();
    let mut from = 0;
    while let Some((at, c)) = text.get(from..).and_then(|rest| rest.char_indices().next()).map(|(_, c)| (from, c)) {
        from = at + c.len_utf8();
        if is_same(c, first)
            && let Some(length) = text.get(at..).and_then(|rest| length_of_match(rest, wanted))
        {
            found.push(at..at + length);
            from = at + length;
            if found.len() >= MOST {
                break;
            }
        }
    }
    found
}

/// How many bytes of the start of `text` spell `word`, whatever their case.
pub(super) fn length_of_match(text: &str, word: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    for wanted in word.chars() {
        let (_, found) = chars.next()?;
        if !is_same(found, wanted) {
            return None;
        }
    }
    Some(chars.next().map_or(text.len(), |(at, _)| at))
}

fn is_same(a: char, b: char) -> bool {
    a == b || a.to_lowercase().eq(b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_whatever_their_case() {
        assert_eq!(all("A fox, a FOX", "fox"), [2..5, 9..12]);
        assert_eq!(all("ÄÄä", "ää"), vec![0..4; 1]);
        assert_eq!(all("aaa", "aa"), vec![0..2; 1]);
        assert_eq!(all("abc", "").len(), 0);
        assert_eq!(all("", "a").len(), 0);
    }
}
