//! What may be wrong with a prompt although it can be read: words said twice, words that contradict each other, weights
//! beyond what models bear, characters that only look right, names that nothing answers to, words that chunks of tokens cut.
//!
//! The remarks on brackets and schedules are made where those are read; here is what needs the whole text, or something
//! that this module does not know: the names of files and the number of tokens come as functions.

use std::collections::HashMap;
use std::ops::Range;

use super::diagnostic::{self, Diagnostic};
use super::emphasis::{Fragment, closing_number, parse_number};
use super::network::ExtraNetwork;
use super::phrase::SEPARATORS;
use super::source::is_word;

/// Weights that models bear.
pub const USUAL_WEIGHTS: std::ops::RangeInclusive<f64> = 0.2..=2.0;

/// Letters of a word that could be kept whole, on either side of where it is cut.
const LONGEST_WORD: usize = 60;
/// Remarks on words that are cut.
const MOST_SPLIT: usize = 20;

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
    decimal_commas(text, &mut found);
    let phrases = phrases(text);
    duplicates(text, &phrases, &mut found);
    contradictions(text, &phrases, &mut found);
    in_negative(text, &phrases, negative, &mut found);
    diagnostic::tidy(&mut found);
    found
}

/// Remarks on weights outside of [`USUAL_WEIGHTS`], and on `BREAK` in brackets. Places are those in `text`.
pub fn weights(text: &str, fragments: &[Fragment], found: &mut Vec<Diagnostic>) {
    for fragment in fragments.iter().filter(|fragment| !fragment.is_break() && !fragment.text.trim().is_empty()) {
        if fragment.text == "BREAK" && fragment.weight < 0.0 {
            let message = "in brackets BREAK starts no chunk: it is read as a word; close the bracket before it";
            diagnostic::add(found, || Diagnostic::warning("break-in-brackets", fragment.span.clone(), message));
            continue;
        }
        if !USUAL_WEIGHTS.contains(&fragment.weight) {
            diagnostic::add(found, || extreme(text, fragment));
        }
    }
}

fn extreme(text: &str, fragment: &Fragment) -> Diagnostic {
    let (least, most) = (USUAL_WEIGHTS.start(), USUAL_WEIGHTS.end());
    let message =
        format!("weight {} is outside of {least} to {most}, where pictures usually stay whole", short(fragment.weight));
    let remark = Diagnostic::warning("extreme-weight", fragment.span.clone(), message);
    // The number can be written anew where it is the whole weight.
    let number = closing_number(text, fragment.span.end).map(|(number, _)| number);
    let own = number
        .filter(|number| text.get(number.clone()).and_then(parse_number).is_some_and(|own| own == fragment.weight));
    match own {
        Some(number) => {
            let nearest = fragment.weight.clamp(*least, *most).to_string();
            remark.with_fix(format!("Write {nearest}"), number, nearest)
        }
        None => remark,
    }
}

/// The name among `names` that is written nearly as `name`.
pub fn closest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names: Vec<&str> = names.collect();
    similar::get_close_matches(name, &names, 1, 0.6).first().copied()
}

/// Remarks on extra networks that nothing answers to. `is_known` gets kind and name.
/// `nearest` gets kind and name of one that nothing answers to.
pub fn networks<'a>(
    networks: &[ExtraNetwork],
    is_known: impl Fn(&str, &str) -> bool,
    nearest: impl Fn(&str, &str) -> Option<&'a str>,
) -> Vec<Diagnostic> {
    let unknown = networks.iter().filter(|network| !is_known(&network.kind, &network.name));
    let remark = |network: &ExtraNetwork| {
        let ExtraNetwork { kind, name, args, span, .. } = network;
        let message = format!("there is no {kind} called \"{name}\"; it has no effect");
        let remark = Diagnostic::error("unknown-network", span.clone(), message);
        match nearest(kind, name) {
            Some(known) => {
                let rest: String = args.iter().skip(1).map(|arg| format!(":{arg}")).collect();
                let text = format!("<{kind}:{known}{rest}>");
                remark.with_fix(format!("Write {text}"), span.clone(), text)
            }
            None => remark.with_fix("Remove it", span.clone(), ""),
        }
    };
    let mut found = Vec::new();
    unknown.for_each(|network| diagnostic::add(&mut found, || remark(network)));
    found
}

/// Remarks on embeddings (`embedding:name`) that nothing answers to.
/// `nearest` gets the name of one that nothing answers to.
pub fn embeddings<'a>(
    text: &str,
    is_known: impl Fn(&str) -> bool,
    nearest: impl Fn(&str) -> Option<&'a str>,
) -> Vec<Diagnostic> {
    let mark = "embedding:";
    let mut found = Vec::new();
    for (at, _) in text.match_indices(mark) {
        let rest = text.get(at + mark.len()..).unwrap_or_default();
        let length = rest.find(|c: char| c.is_whitespace() || ",()[]:<>|".contains(c)).unwrap_or(rest.len());
        let name = rest.get(..length).unwrap_or_default();
        if !is_known(name) {
            let message = format!("there is no embedding called \"{name}\"; its name is read as words");
            let place = at..at + mark.len() + length;
            diagnostic::add(&mut found, || {
                let remark = Diagnostic::error("unknown-embedding", place.clone(), message);
                match nearest(name) {
                    Some(known) => remark.with_fix(format!("Write {known}"), place, format!("{mark}{known}")),
                    None => remark,
                }
            });
        }
    }
    found
}

/// Remarks on words that the border of two chunks cuts, given the places of each chunk's first and last token.
pub fn split_words(text: &str, chunks: &[[Range<usize>; 2]], limit: usize) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for pair in chunks.windows(2) {
        let [[_, last], [first, _]] = pair else { continue };
        let ends = text.get(last.clone()).and_then(|token| token.chars().next_back());
        let starts = text.get(first.clone()).and_then(|token| token.chars().next());
        let is_inside = last.end == first.start && ends.is_some_and(is_word) && starts.is_some_and(is_word);
        if !is_inside {
            continue;
        }
        let head = text.get(..first.start).unwrap_or_default();
        let tail = text.get(first.start..).unwrap_or_default();
        let before =
            head.chars().rev().take(LONGEST_WORD).take_while(|c| is_word(*c)).map(char::len_utf8).sum::<usize>();
        let after = tail.chars().take(LONGEST_WORD).take_while(|c| is_word(*c)).map(char::len_utf8).sum::<usize>();
        let (start, end) = (first.start - before, first.start + after);
        // What is longer than a chunk is cut wherever it starts.
        if head.get(..start).unwrap_or_default().ends_with(is_word) || found.len() >= MOST_SPLIT {
            continue;
        }
        let word = text.get(start..end).unwrap_or_default();
        let message = format!(
            "the model reads {limit} tokens at a time, and the end of the first ones cuts this word: \"{word}\""
        );
        diagnostic::add(&mut found, || {
            let remark = Diagnostic::warning("split-word", start..end, message);
            match is_balanced(text.get(..start).unwrap_or_default()) {
                true => remark.with_fix("Start another chunk before it", start..start, "BREAK "),
                // In brackets BREAK is a word.
                false => remark,
            }
        });
    }
    found
}

fn word_spans(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.split_whitespace().map(move |word| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        start..start + word.len()
    })
}

/// Whether the last round bracket of `text` opens.
fn opens_last(text: &str) -> bool {
    text.rfind(['(', ')']).is_some_and(|at| text.get(at..).is_some_and(|rest| rest.starts_with('(')))
}

/// Weights with a comma for a point: `(fox:1,3)`.
fn decimal_commas(text: &str, found: &mut Vec<Diagnostic>) {
    for (at, _) in text.match_indices(':') {
        let after = text.get(at + 1..).unwrap_or_default();
        let number = after.trim_start();
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let whole = digits(number);
        let rest = number.get(whole..).unwrap_or_default().strip_prefix(',').filter(|_| whole > 0).unwrap_or_default();
        let part = digits(rest);
        let closes = part > 0 && rest.get(part..).is_some_and(|rest| rest.trim_start().starts_with(')'));
        // Looked for last: what closes is near, so that this takes linear time.
        if closes && opens_last(text.get(..at).unwrap_or_default()) {
            let start = at + 1 + after.len() - number.len();
            let span = start..start + whole + 1 + part;
            let message = "this weight is read as text: a weight has a point, not a comma";
            let written = text.get(span.clone()).unwrap_or_default().replace(',', ".");
            diagnostic::add(found, || {
                let remark = Diagnostic::warning("decimal-comma", span.clone(), message);
                remark.with_fix(format!("Write {written}"), span, written)
            });
        }
    }
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
    fn a_megabyte_of_colons_is_read_once() {
        for text in ["[a:", ":1,2)", "(a:1,", ": "] {
            let text = text.repeat(1_000_000 / text.len());
            assert!(words(&text, &text).len() <= 500);
        }
    }

    #[test]
    fn a_decimal_comma_is_no_weight() {
        check("(a:1,3), 16:9,5 (b: 1.3)", &[("decimal-comma", "1,3")]);
        assert_eq!(fixed("(a:1,3)", ""), "(a:1.3)");
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
        let found = networks(&nets, |kind, name| (kind, name) == ("lora", "a"), |_, _| None);
        assert_eq!((found.len(), found[0].span.clone()), (1, 8..16));
        let found = networks(&nets, |_, name| name == "a", |_, name| closest(name, ["bb", "ccc"].into_iter()));
        assert_eq!(found[0].fix.as_ref().unwrap().replacement, "<lora:bb>");
        let text = "x, (embedding:good:1.1), embedding:goud";
        let found = embeddings(text, |name| name == "good", |name| closest(name, ["good"].into_iter()));
        assert_eq!(
            (found[0].span.clone(), found[0].fix.as_ref().unwrap().replacement.as_str()),
            (25..39, "embedding:good")
        );
    }

    #[test]
    fn words_that_chunks_cut() {
        let remark = |text: &str, last, first| split_words(text, &[[0..1, last], [first, 0..1]], 75);
        let found = remark("a red firefly", 6..10, 10..13);
        assert_eq!((found[0].span.clone(), found[0].fix.as_ref().unwrap().span.clone()), (6..13, 6..6));
        assert!(
            remark("a red fire fly", 6..10, 11..14).is_empty() && remark("a red fire, fly", 6..10, 10..11).is_empty()
        );
        assert_eq!(remark("a (red firefly", 7..11, 11..14)[0].fix, None, "BREAK in brackets is a word");
    }

    #[test]
    fn weights_beyond_the_usual() {
        let mut found = Vec::new();
        let text = "(a:3) (b:0.1) (c:1.9) BREAK d ((e:2)) (f BREAK g)";
        weights(text, &super::super::emphasis::parse(text).0, &mut found);
        let fix = |remark: &Diagnostic| remark.fix.as_ref().map(|fix| fix.replacement.clone()).unwrap_or_default();
        let found: Vec<_> = found.iter().map(|remark| (remark.code, remark.span.clone(), fix(remark))).collect();
        let of = |code: &'static str, span, fix: &str| (code, span, fix.to_owned());
        let extreme = |span, fix| of("extreme-weight", span, fix);
        let others = [extreme(32..33, ""), of("break-in-brackets", 41..46, "")];
        assert_eq!(found, [[extreme(1..2, "2"), extreme(7..8, "0.2")], others].concat());
        assert_eq!(short(1.5730000000000004), "1.573");
    }
}
