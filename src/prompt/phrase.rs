//! The phrases of a prompt: what stands between commas, semicolons, full stops and line ends.

use std::ops::Range;

use super::emphasis;
use super::source::Traced;
use super::stages::Stages;

/// What ends a phrase.
pub(super) const SEPARATORS: [char; 6] = [',', ';', '.', '\n', '|', '\r'];

/// The phrase around the `caret`-th character of `text`, without surrounding space. If the caret stands in an empty
/// phrase (just after a comma, say), the one before it; empty if there is none.
pub fn phrase_at(text: &str, caret: usize) -> &str {
    phrase_at_byte(text, text.char_indices().nth(caret).map_or(text.len(), |(at, _)| at))
}

fn phrase_at_byte(text: &str, caret: usize) -> &str {
    let mut end = caret;
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

/// What a prompt says, without the signs of its language: at the last step, and at the first two, where schedules and alternations
/// have words that are gone by then. Each byte knows its place in the prompt as it was typed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said(Vec<Traced>);

impl Said {
    /// Of a prompt that is read already.
    pub fn of(stages: &Stages) -> Self {
        let last = stages.boundaries().last().copied().unwrap_or(1);
        let mut texts: Vec<Traced> = Vec::new();
        for step in [last, 1, 2] {
            let text = said_at(stages, step.min(last));
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        Self(texts)
    }

    /// The phrase around the `caret`-th character of `typed`, the prompt as it was typed. As [`phrase_at`], but what is drawn,
    /// weighted or scheduled there is said as the encoder gets it.
    pub fn phrase_at(&self, typed: &str, caret: usize) -> &str {
        let caret = typed.char_indices().nth(caret).map_or(typed.len(), |(at, _)| at);
        let places = self.0.iter().map(|text| (text, place(text, caret)));
        let nearest = places.min_by_key(|(_, (distance, _))| *distance);
        nearest.map_or("", |(text, (_, at))| phrase_at_byte(text.text(), at))
    }
}

/// What the parts say at a step, one after the other, each a phrase of its own.
fn said_at(stages: &Stages, step: u32) -> Traced {
    let mut said = Traced::default();
    for schedule in &stages.schedules {
        for text in emphasis::traced(&schedule.at(step)) {
            // A chunk that ends here ends a phrase.
            match text.text() {
                "BREAK" => said.push_for("\n", text.span(0..text.text().len())),
                _ => said.push_all(&text),
            }
        }
        let end = said.span(said.text().len()..said.text().len());
        said.push_for("\n", end);
    }
    said
}

/// How far the byte `caret` of the source is from what `text` has of it, and the place in `text` that is nearest.
fn place(text: &Traced, caret: usize) -> (usize, usize) {
    let mut start = 0;
    let mut nearest = (usize::MAX, 0);
    for (run, source) in text.runs() {
        let distance = caret.saturating_sub(source.end).max(source.start.saturating_sub(caret));
        if distance < nearest.0 {
            // What stands for something else is one piece; copies are met byte by byte.
            let into =
                if run.len() == source.len() { caret.saturating_sub(source.start).min(run.len()) } else { run.len() };
            nearest = (distance, start + into);
        }
        start += run.len();
    }
    nearest
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

    fn said(text: &str) -> Said {
        Said::of(&Stages::new(text, 20))
    }

    #[test]
    fn a_phrase_is_what_the_encoder_gets() {
        let check = |text: &str, at: &str, phrase: &str| {
            let caret = text.chars().count() - text.split_once(at).map_or(0, |(_, after)| after.chars().count());
            assert_eq!(said(text).phrase_at(text, caret), phrase, "{text} behind {at}");
        };
        check("a cat, (a red apple:1.3) on a table, snow", "red", "a red apple on a table");
        check("a cat, (a red apple:1.3) on a table, snow", "1.3)", "a red apple on a table");
        check("(a cat, a dog:1.2), snow", "a c", "a cat");
        check("<lora:ink:1> a \\(real\\) cat # note, of mine", "cat", "a (real) cat");
        check("<lora:ink:1> a cat", "ink", "a cat");
        check("a [dog:fox:0.5] in snow", "fo", "a fox in snow");
        check("a [dog:fox:0.5] in snow", "do", "a dog in snow");
        check("a [dog|fox] in snow", "fox", "a fox in snow");
        check("a cat AND an owl:0.5", "ow", "an owl");
        check("a cat BREAK an owl", "cat", "a cat");
        check("a cat, ", "a cat, ", "a cat");
        check("", "", "");
    }

    #[test]
    fn a_phrase_is_as_it_was_drawn() {
        let typed = "snow, a {red|blue} fox, grass";
        let mut drawn = Traced::default();
        drawn.push_copy("snow, a ", 0);
        drawn.push_copy("blue", 13);
        drawn.push_copy(" fox, grass", 18);
        let said = Said::of(&Stages::of(&drawn, super::super::schedule::Timing::of_steps(20)));
        for (caret, phrase) in [(2, "snow"), (10, "a blue fox"), (15, "a blue fox"), (21, "a blue fox"), (26, "grass")]
        {
            assert_eq!(said.phrase_at(typed, caret), phrase, "caret {caret}");
        }
    }

    proptest! {
        #[test]
        fn any_prompt_and_caret_give_a_phrase(text in r"(\[|a|b|é|,|\||\]|:|:3\]| AND |\(|\)|BREAK|#|\n){0,24}", caret in 0usize..40) {
            let said = said(&text);
            let phrase = said.phrase_at(&text, caret);
            prop_assert_eq!(phrase.trim(), phrase);
        }

        #[test]
        fn any_text_and_caret_give_a_phrase_of_the_text(text in ".{0,60}", caret in 0usize..80) {
            let phrase = phrase_at(&text, caret);
            prop_assert!(text.contains(phrase));
            prop_assert_eq!(phrase.trim(), phrase);
        }
    }
}
