//! The phrases of a prompt: what stands between commas, semicolons, full stops and line ends.

use std::ops::Range;

use super::emphasis::{self, BREAK_WEIGHT};
use super::schedule::Schedule;
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

/// More texts of a prompt whose words change while it is sampled are not kept, and no more bytes of them.
const MOST_TEXTS: usize = 16;
const MOST_BYTES: usize = 1 << 18;

/// What a prompt says, without the signs of its language and without the words of templates: what it says at the last step, and
/// before that, as far as it is another text. Each byte knows its place in the prompt as it was typed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said(Vec<Traced>);

impl Said {
    /// Of a prompt that is read already.
    pub fn of(stages: &Stages) -> Self {
        let boundaries = stages.boundaries();
        let mut texts: Vec<Traced> = Vec::new();
        let mut bytes = 0;
        let before = std::iter::once(&0).chain(&boundaries);
        for (step, before) in boundaries.last().map(|last| (last, &0)).into_iter().chain(boundaries.iter().zip(before))
        {
            // A long text with short alternations says the same many times.
            let is_known = |schedule: &Schedule| schedule.same_as(*step).is_some_and(|earlier| earlier <= *before);
            if stages.schedules.iter().all(is_known) {
                continue;
            }
            let text = said_at(stages, *step);
            if !texts.contains(&text) {
                bytes += text.text().len();
                texts.push(text);
            }
            if texts.len() == MOST_TEXTS || bytes > MOST_BYTES {
                break;
            }
        }
        Self(texts)
    }

    /// The phrase around the `caret`-th character of `typed`, the prompt as it was typed. As [`phrase_at`], but what is drawn,
    /// weighted or scheduled there is said as the encoder gets it.
    pub fn phrase_at(&self, typed: &str, caret: usize) -> &str {
        let caret = typed.char_indices().nth(caret).map_or(typed.len(), |(at, _)| at);
        let places = self.0.iter().map(|text| (text, text.nearest(caret)));
        let nearest = places.min_by_key(|(_, (distance, _))| *distance);
        nearest.map_or("", |(text, (_, at))| phrase_at_byte(text.text(), at))
    }
}

/// Whether a text says what stands there: it has no sign of the language.
pub fn is_plain(text: &str) -> bool {
    !text.contains(['(', ')', '[', ']', '{', '}', '<', '>', '\\', '#', '$', '_'])
        && !text.contains("AND")
        && !text.contains("BREAK")
}

/// What the parts say at a step, one after the other, each a phrase of its own.
fn said_at(stages: &Stages, step: u32) -> Traced {
    let mut said = Traced::default();
    let end_phrase =
        |said: &mut Traced, text: &Traced| said.push_for("\n", text.span(text.text().len()..text.text().len()));
    for schedule in &stages.schedules {
        let part = schedule.at(step);
        for (weight, text) in emphasis::weighted(&part) {
            if text.text() == "BREAK" && weight == BREAK_WEIGHT {
                end_phrase(&mut said, &text);
                continue;
            }
            let mut from = 0;
            for (run, source) in text.runs() {
                match source.is_empty() {
                    // A template's words are not looked for, nor joined with those that were typed.
                    true => said.push_for("\n", source),
                    false => said.push(&text, from..from + run.len()),
                }
                from += run.len();
            }
        }
        end_phrase(&mut said, &part);
    }
    said
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
    use crate::prompt::library::Template;
    use crate::prompt::schedule::Timing;
    use crate::prompt::stack::{Applied, compose_traced};
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
        check("a [dog|cat|fox] in snow", "fox", "a fox in snow");
        check("a [[dog:cat:5]:fox:10] in snow", "cat", "a cat in snow");
        check("a cat AND an owl:0.5", "ow", "an owl");
        check("a cat BREAK an owl", "cat", "a cat");
        check("a cat (BREAK:1.2) an owl", "cat", "a cat BREAK an owl");
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
        let said = Said::of(&Stages::of(&drawn, Timing::of_steps(20)));
        for (caret, phrase) in [(2, "snow"), (10, "a blue fox"), (15, "a blue fox"), (21, "a blue fox"), (26, "grass")]
        {
            assert_eq!(said.phrase_at(typed, caret), phrase, "caret {caret}");
        }
    }

    #[test]
    fn what_stands_for_something_is_one_piece() {
        // As many bytes as what they stand for, and the caret inside of one of their letters.
        let mut drawn = Traced::default();
        drawn.push_for("gr\u{fc}n", 0..5);
        drawn.push_copy(" fox", 5);
        let said = Said::of(&Stages::of(&drawn, Timing::of_steps(20)));
        assert_eq!(said.phrase_at("__x__ fox", 3), "gr\u{fc}n fox");
    }

    #[test]
    fn the_words_of_templates_are_left_out() {
        let template = Template { text: "a photo of {subject} at night, fog".into(), ..Template::default() };
        let [composed, _] = compose_traced(&[Applied::new(template, false)], "a (cat:1.2), snow", "");
        let said = Said::of(&Stages::of(&composed, Timing::of_steps(20)));
        for (caret, phrase) in [(0, "a cat"), (5, "a cat"), (13, "snow"), (17, "snow")] {
            assert_eq!(said.phrase_at("a (cat:1.2), snow", caret), phrase, "caret {caret}");
        }
    }

    #[test]
    fn a_plain_text_says_what_stands_there() {
        assert!(is_plain("a cat, an owl; snow: deep | grey") && !is_plain("a __cat__") && !is_plain("a AND b"));
    }

    proptest! {
        #[test]
        fn plain_texts_give_the_same_phrases(text in "[a-c é,.;:|\n]{0,40}", caret in 0usize..50) {
            let said = said(&text);
            prop_assert_eq!(said.phrase_at(&text, caret), phrase_at(&text, caret));
        }

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
