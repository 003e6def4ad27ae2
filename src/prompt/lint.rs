//! What may be wrong with a prompt although it can be read: words said twice, words that contradict each other, weights
//! beyond what models bear, characters that only look right, names that nothing answers to, words beyond the token limit.
//!
//! The remarks on brackets and schedules are made where those are read; here is what needs the whole text, or something
//! that this module does not know: the names of files and the number of tokens come as functions.

use std::collections::HashMap;
use std::ops::Range;

use super::diagnostic::{self, Diagnostic};
use super::emphasis::Fragment;
use super::network::ExtraNetwork;
use super::phrase::SEPARATORS;

/// Weights that models bear.
pub const USUAL_WEIGHTS: std::ops::RangeInclusive<f64> = 0.2..=2.0;

/// Phrases that say opposite things.
const CONTRADICTIONS: &[(&[&str], &[&str])] = &[
    (&["day", "daytime", "daylight", "noon"], &["night", "nighttime", "midnight"]),
    (&["sunrise", "dawn"], &["sunset", "dusk"]),
    (
        &["black and white", "monochrome", "grayscale", "greyscale"],
        &["colorful", "colourful", "vibrant colors", "vivid colors", "vibrant colours", "vivid colours"],
    ),
    (&["sharp focus", "sharp", "in focus"], &["blurry", "blurred", "out of focus", "soft focus"]),
    (&["close-up", "close up", "extreme close-up", "macro"], &["wide shot", "long shot", "establishing shot"]),
    (&["high contrast"], &["low contrast"]),
    (&["low key", "low-key lighting"], &["high key", "high-key lighting"]),
    (&["overexposed"], &["underexposed"]),
    (&["shallow depth of field", "bokeh"], &["deep focus", "deep depth of field"]),
    (&["minimalist", "minimalism", "minimal"], &["maximalist", "maximalism", "intricate details", "cluttered"]),
    (&["warm colors", "warm colours", "warm tones"], &["cool colors", "cool colours", "cool tones", "cold tones"]),
    (&["summer"], &["winter"]),
    (&["indoors", "interior"], &["outdoors", "exterior"]),
    (&["low angle", "worm's-eye view"], &["high angle", "bird's-eye view"]),
    (&["symmetrical", "symmetry"], &["asymmetrical", "asymmetry"]),
];

/// A phrase of the text: between commas and their like, without brackets and weight, in lower case.
struct Phrase {
    plain: String,
    /// With the brackets around it, without surrounding white space.
    span: Range<usize>,
}

/// Remarks on a text and what it is not to look like.
pub fn words(text: &str, negative: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    characters(text, &mut found);
    let phrases = phrases(text);
    duplicates(text, &phrases, &mut found);
    contradictions(text, &phrases, &mut found);
    in_negative(text, &phrases, negative, &mut found);
    diagnostic::tidy(&mut found);
    found
}

/// Remarks on weights outside of [`USUAL_WEIGHTS`].
pub fn weights(fragments: &[Fragment], found: &mut Vec<Diagnostic>) {
    for fragment in fragments {
        let is_words = !fragment.is_break() && !fragment.text.trim().is_empty();
        if is_words && !USUAL_WEIGHTS.contains(&fragment.weight) {
            diagnostic::add(found, || {
                let message = format!(
                    "weight {} is outside of {} to {}, where pictures usually stay whole",
                    short(fragment.weight),
                    USUAL_WEIGHTS.start(),
                    USUAL_WEIGHTS.end()
                );
                Diagnostic::warning("extreme-weight", fragment.span.clone(), message)
            });
        }
    }
}

/// Remarks on extra networks that nothing answers to. `is_known` gets kind and name.
pub fn networks(networks: &[ExtraNetwork], is_known: impl Fn(&str, &str) -> bool) -> Vec<Diagnostic> {
    let unknown = networks.iter().filter(|network| !is_known(&network.kind, &network.name));
    let remark = |network: &ExtraNetwork| {
        let message = format!("there is no {} called \"{}\"; it has no effect", network.kind, network.name);
        Diagnostic::error("unknown-network", network.span.clone(), message).with_fix(
            "Remove it",
            network.span.clone(),
            "",
        )
    };
    unknown.map(remark).collect()
}

/// Remarks on embeddings (`embedding:name`) that nothing answers to.
pub fn embeddings(text: &str, is_known: impl Fn(&str) -> bool) -> Vec<Diagnostic> {
    let mark = "embedding:";
    let mut found = Vec::new();
    for (at, _) in text.match_indices(mark) {
        let rest = text.get(at + mark.len()..).unwrap_or_default();
        let length = rest.find(|c: char| c.is_whitespace() || ",()[]:<>|".contains(c)).unwrap_or(rest.len());
        let name = rest.get(..length).unwrap_or_default();
        if !is_known(name) {
            let message = format!("there is no embedding called \"{name}\"; its name is read as words");
            diagnostic::add(&mut found, || {
                Diagnostic::error("unknown-embedding", at..at + mark.len() + length, message)
            });
        }
    }
    found
}

/// A remark on the first word beyond the encoder's limit, for models that cut there. `count` counts the tokens of a text;
/// `limit` is how many there may be.
pub fn cut_off(text: &str, limit: usize, count: impl Fn(&str) -> usize) -> Option<Diagnostic> {
    if count(text) <= limit {
        return None;
    }
    let ends: Vec<usize> = word_spans(text).map(|word| word.end).collect();
    // Counts grow with the text, so the first word that is too much is found by halving.
    let fitting = ends.partition_point(|end| count(text.get(..*end).unwrap_or_default()) <= limit);
    let start = word_spans(text).nth(fitting).map_or(text.len(), |word| word.start);
    let message = format!("the model reads {limit} tokens; from here on nothing counts");
    Some(Diagnostic::error("cut-off", start..text.len(), message))
}

fn word_spans(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.split_whitespace().map(move |word| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        start..start + word.len()
    })
}

/// Invisible characters, and words whose letters come from scripts that look alike.
fn characters(text: &str, found: &mut Vec<Diagnostic>) {
    for (at, c) in text.char_indices().filter(|(_, c)| is_invisible(*c)) {
        // A joiner inside a picture character ("woman" + joiner + "laptop") is part of it.
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        if c == '\u{200d}' && before.is_some_and(|before| !before.is_alphanumeric() && !before.is_ascii()) {
            continue;
        }
        let span = at..at + c.len_utf8();
        let message = format!("an invisible character (U+{:04X}) splits or changes the word it stands in", c as u32);
        diagnostic::add(found, || {
            Diagnostic::warning("invisible-character", span.clone(), message).with_fix("Remove it", span, "")
        });
    }
    for word in word_spans(text) {
        let letters = text.get(word.clone()).unwrap_or_default();
        let scripts = letters.chars().fold([false; 3], |[latin, greek, cyrillic], c| {
            [
                latin || c.is_ascii_alphabetic() || ('\u{c0}'..='\u{24f}').contains(&c),
                greek || ('\u{370}'..='\u{3ff}').contains(&c),
                cyrillic || ('\u{400}'..='\u{52f}').contains(&c),
            ]
        });
        if scripts.iter().filter(|is_there| **is_there).count() > 1 {
            let message =
                format!("\"{letters}\" mixes letters of two scripts that look alike; models do not know such words");
            let latin = letters.chars().map(latin_twin).collect::<Option<String>>();
            diagnostic::add(found, || {
                let remark = Diagnostic::warning("mixed-script", word.clone(), message);
                match latin {
                    Some(latin) => remark.with_fix(format!("Write {latin} in Latin letters"), word, latin),
                    None => remark,
                }
            });
        }
    }
}

/// The Latin letter that looks the same; `None` if a letter of another script has none.
fn latin_twin(c: char) -> Option<char> {
    const OTHERS: &str = "аАВеЕіІјЈКМНоОрРсСТуУхХѕЅαΑΒΕΖΗΙΚΜΝοΟρΡΤΥΧνγ";
    const LATIN: &str = "aABeEiIjJKMHoOpPcCTyYxXsSaABEZHIKMNoOpPTYXvy";
    match OTHERS.chars().position(|other| other == c) {
        Some(at) => LATIN.chars().nth(at),
        None if ('\u{370}'..='\u{52f}').contains(&c) => None,
        None => Some(c),
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn phrases(text: &str) -> Vec<Phrase> {
    let mut phrases = Vec::new();
    let mut from = 0;
    for end in text.match_indices(SEPARATORS).map(|(at, _)| at).chain([text.len()]) {
        // A point inside a number separates nothing.
        let around =
            (text.get(..end).and_then(|t| t.chars().next_back()), text.get(end + 1..).and_then(|t| t.chars().next()));
        let in_number =
            text.get(end..).is_some_and(|rest| rest.starts_with('.')) && around.1.is_some_and(|c| c.is_ascii_digit());
        if in_number {
            continue;
        }
        let piece = text.get(from..end).unwrap_or_default();
        let start = from + piece.len() - piece.trim_start().len();
        let plain = plain(piece);
        if plain.chars().any(char::is_alphanumeric) {
            phrases.push(Phrase { plain, span: start..start + piece.trim().len() });
        }
        from = (end + 1).min(text.len());
    }
    phrases
}

/// Without brackets and weight, in lower case.
fn plain(phrase: &str) -> String {
    let words: String = phrase.chars().filter(|c| !"()[]{}\\".contains(*c)).collect();
    let words = match words.rsplit_once(':') {
        Some((before, number)) if number.trim().parse::<f64>().is_ok() => before,
        _ => &words,
    };
    words.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

fn duplicates(text: &str, phrases: &[Phrase], found: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<&str, ()> = HashMap::new();
    for phrase in phrases {
        if seen.insert(&phrase.plain, ()).is_none() {
            continue;
        }
        let remark =
            Diagnostic::warning("duplicate", phrase.span.clone(), format!("\"{}\" is said twice", phrase.plain));
        diagnostic::add(found, || removable(remark, text, &phrase.span, "Remove the second one"));
    }
}

/// `remark` with a fix that takes out the phrase and one of the commas beside it, where no bracket reaches across its ends.
fn removable(remark: Diagnostic, text: &str, phrase: &Range<usize>, label: &str) -> Diagnostic {
    let whole = text.get(phrase.clone()).unwrap_or_default();
    let before = text.get(..phrase.start).unwrap_or_default().trim_end();
    let after = text.get(phrase.end..).unwrap_or_default();
    let behind = after.len() - after.trim_start().len();
    match (is_balanced(whole), before.strip_suffix(','), after.trim_start().strip_prefix(',')) {
        (true, Some(_), _) => remark.with_fix(label, before.len() - 1..phrase.end, ""),
        (true, None, Some(rest)) if before.is_empty() => {
            let space = rest.len() - rest.trim_start().len();
            remark.with_fix(label, phrase.start..phrase.end + behind + 1 + space, "")
        }
        _ => remark,
    }
}

/// Whether every bracket in `phrase` has its other half there.
fn is_balanced(phrase: &str) -> bool {
    let mut open = Vec::new();
    for c in phrase.chars() {
        match c {
            '\\' => return false,
            '(' | '[' | '{' | '<' => open.push(c),
            ')' | ']' | '}' | '>' => match (open.pop(), c) {
                (Some('('), ')') | (Some('['), ']') | (Some('{'), '}') | (Some('<'), '>') => {}
                _ => return false,
            },
            _ => {}
        }
    }
    open.is_empty()
}

fn contradictions(text: &str, phrases: &[Phrase], found: &mut Vec<Diagnostic>) {
    let by_text: HashMap<&str, &Phrase> = phrases.iter().rev().map(|phrase| (phrase.plain.as_str(), phrase)).collect();
    let first_of = |words: &[&str]| words.iter().find_map(|word| by_text.get(word).copied());
    for (one, other) in CONTRADICTIONS {
        let (Some(one), Some(other)) = (first_of(one), first_of(other)) else { continue };
        let (first, second) = if one.span.start < other.span.start { (one, other) } else { (other, one) };
        let message = format!("\"{}\" contradicts \"{}\"", second.plain, first.plain);
        let remark = Diagnostic::warning("contradiction", second.span.clone(), message);
        let label = format!("Remove \"{}\"", second.plain);
        diagnostic::add(found, || removable(remark, text, &second.span, &label));
    }
}

fn in_negative(text: &str, phrases: &[Phrase], negative: &str, found: &mut Vec<Diagnostic>) {
    let unwanted = self::phrases(negative);
    let unwanted: HashMap<&str, ()> = unwanted.iter().map(|phrase| (phrase.plain.as_str(), ())).collect();
    for phrase in phrases.iter().filter(|phrase| unwanted.contains_key(phrase.plain.as_str())) {
        let message = format!("\"{}\" is in the negative prompt too; the two work against each other", phrase.plain);
        let remark = Diagnostic::warning("in-negative", phrase.span.clone(), message);
        diagnostic::add(found, || removable(remark, text, &phrase.span, "Remove it here"));
    }
}

/// A weight with at most four decimals.
pub fn short(weight: f64) -> String {
    let text = format!("{weight:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn codes(text: &str, negative: &str) -> Vec<(&'static str, String)> {
        words(text, negative).into_iter().map(|remark| (remark.code, text[remark.span].to_owned())).collect()
    }

    /// The text after the first fix.
    fn fixed(text: &str, negative: &str) -> String {
        let mut fixed = text.to_owned();
        if let Some(fix) = words(text, negative).into_iter().find_map(|remark| remark.fix) {
            fixed.replace_range(fix.span, &fix.replacement);
        }
        fixed
    }

    fn check(text: &str, wanted: &[(&str, &str)]) {
        let found = codes(text, "");
        let found: Vec<_> = found.iter().map(|(code, part)| (*code, part.as_str())).collect();
        assert_eq!(found, wanted, "{text:?}");
    }

    #[test]
    fn words_said_twice_and_against_each_other() {
        check("a fox, foggy, (Foggy:1.2)", &[("duplicate", "(Foggy:1.2)")]);
        check("a fox, night, sharp, daylight", &[("contradiction", "daylight")]);
        check("a knight, f/1.8 lens, f/1.8 bokeh", &[]);
        assert_eq!(codes("a fox, blurry", "text, (blurry:1.3)"), [("in-negative", "blurry".to_owned())]);
        let fix = words("a fox, foggy, foggy", "").remove(0).fix.unwrap();
        assert_eq!((fix.span, fix.replacement.as_str()), (12..19, ""));
        assert_eq!(fixed("night, a fox, day", ""), "night, a fox");
        assert_eq!(fixed("blurry, a fox", "blurry"), "a fox");
        assert_eq!(
            fixed("a fox, (red:1.2), (red, blue)", ""),
            "a fox, (red:1.2), (red, blue)",
            "a bracket would be torn"
        );
        assert_eq!(fixed("a fox, red, (red:1.2)", ""), "a fox, red");
    }

    #[test]
    fn characters_that_only_look_right() {
        check("a f\u{200b}ox", &[("invisible-character", "\u{200b}")]);
        check("a c\u{430}t", &[("mixed-script", "c\u{430}t")]);
        assert_eq!(fixed("a c\u{430}t", ""), "a cat");
        assert_eq!(fixed("a c\u{436}t", ""), "a c\u{436}t", "no Latin letter looks like it");
        check("кот, Straße, 猫, 👩\u{200d}💻", &[]);
    }

    #[test]
    fn names_and_limits_come_from_outside() {
        let (_, nets) = super::super::network::cut(&super::super::source::Traced::new("<lora:a><lora:b>"), &mut vec![]);
        let found = networks(&nets, |kind, name| (kind, name) == ("lora", "a"));
        assert_eq!((found.len(), found[0].span.clone()), (1, 8..16));
        assert_eq!(embeddings("x, (embedding:good:1.1), embedding:bad", |name| name == "good")[0].span, 25..38);
        let count = |text: &str| text.split_whitespace().count();
        assert_eq!(cut_off("one two three", 3, count), None);
        assert_eq!(cut_off("one two three four", 2, count).unwrap().span, 8..18);
    }

    #[test]
    fn weights_beyond_the_usual() {
        let mut found = Vec::new();
        weights(&super::super::emphasis::parse("(a:3) (b:0.1) (c:1.9) BREAK d").0, &mut found);
        assert_eq!(found.iter().map(|remark| remark.span.clone()).collect::<Vec<_>>(), [1..2, 7..8]);
        assert_eq!(short(1.5730000000000004), "1.573");
    }
}
