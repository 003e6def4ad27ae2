//! Templates: texts with holes. In prompt templates the prompt goes into `{subject}` (other programs say `{prompt}`), and
//! `{light=softbox}` is a hole of the template's own with what stands in it at first; `{light}` is the same hole again. Zero-shot
//! templates have `{}` as CLIP's lists do.
//!
//! Braces that are neither are left alone: they are dynamic prompts.

use std::collections::BTreeMap;
use std::ops::Range;

use super::source::Traced;

/// The hole of a prompt template.
pub const SUBJECT: &str = "{subject}";
/// The same in the files of other programs.
pub const PROMPT: &str = "{prompt}";

/// A hole of a template's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What stands before the equals sign.
    pub name: String,
    /// What stands in it at first.
    pub default: String,
}

/// Whether the prompt has a place in `template`.
pub fn has_subject(template: &str) -> bool {
    template.contains(SUBJECT) || template.contains(PROMPT)
}

/// `template` with `subject` in its holes; a template without one goes behind the subject.
pub fn fill_subject(template: &str, subject: &str) -> String {
    lay_over(template, &Traced::new(subject), subject.len()).text().to_owned()
}

/// As [`fill_subject`], of a text that comes from a source of `length` bytes. The template's own words stand for the empty
/// places at its two ends.
pub fn lay_over(template: &str, subject: &Traced, length: usize) -> Traced {
    let subject = trimmed(subject);
    let (start, end) = (0..0, length..length);
    let mut whole = Traced::default();
    if has_subject(template) {
        let (mut rest, mut place) = (template, start);
        while let Some(hole) = first_hole(rest) {
            whole.push_for(rest.get(..hole.start).unwrap_or_default(), place);
            whole.push_all(&subject);
            (rest, place) = (rest.get(hole.end..).unwrap_or_default(), end.clone());
        }
        whole.push_for(rest, end);
        return whole;
    }
    let more = template.trim();
    if subject.text().is_empty() || more.is_empty() {
        whole.push_all(&subject);
    } else {
        whole.push(&subject, 0..subject.text().trim_end_matches(',').trim_end().len());
        whole.push_for(", ", end.clone());
    }
    whole.push_for(more, end);
    whole
}

/// Without white space at its ends.
fn trimmed(text: &Traced) -> Traced {
    let words = text.text();
    let from = words.len() - words.trim_start().len();
    text.slice(from..from + words.trim().len())
}

/// The next place for the prompt.
fn first_hole(template: &str) -> Option<Range<usize>> {
    let holes = [SUBJECT, PROMPT].into_iter().filter_map(|hole| Some((template.find(hole)?, hole.len())));
    holes.min().map(|(at, length)| at..at + length)
}

/// The holes of a template's own, in their order, each once.
pub fn slots(template: &str) -> Vec<Slot> {
    let mut found: Vec<Slot> = Vec::new();
    for piece in pieces(template) {
        if let Piece::Slot { name, default } = piece
            && !found.iter().any(|slot| slot.name == name)
        {
            found.push(Slot { name: name.to_owned(), default: default.to_owned() });
        }
    }
    found
}

/// `template` with `values` in the holes of its own; where there is none, what stands there at first.
pub fn fill_slots(template: &str, values: &BTreeMap<String, String>) -> String {
    let defaults: BTreeMap<String, String> =
        slots(template).into_iter().map(|slot| (slot.name, slot.default)).collect();
    let mut filled = String::new();
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Slot { name, default } => filled.push_str(values.get(name).map_or(default, String::as_str)),
            Piece::Name { whole, name } => match defaults.get(name) {
                Some(default) => filled.push_str(values.get(name).unwrap_or(default)),
                None => filled.push_str(whole),
            },
        }
    }
    filled
}

/// `template` as other programs know it: its own holes filled, the hole for the prompt called `{prompt}`.
pub fn with_one_hole(template: &str) -> String {
    fill_slots(template, &BTreeMap::new()).replace(SUBJECT, PROMPT)
}

enum Piece<'a> {
    Text(&'a str),
    /// `{name=default}`
    Slot {
        name: &'a str,
        default: &'a str,
    },
    /// `{name}`
    Name {
        whole: &'a str,
        name: &'a str,
    },
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut from, mut at) = (Vec::new(), 0, 0);
    while let Some(start) = template.get(at..).and_then(|rest| rest.find('{')).map(|found| at + found) {
        at = start + 1;
        let inside = template.get(at..).and_then(|rest| rest.get(..rest.find(['{', '}'])?));
        let Some(inside) = inside.filter(|inside| template.as_bytes().get(at + inside.len()) == Some(&b'}')) else {
            continue;
        };
        let (name, default) = inside.split_once('=').map_or((inside, None), |(name, default)| (name, Some(default)));
        let is_name = name.starts_with(|c: char| c.is_alphabetic())
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
        // `${name=value}` is a variable of dynamic prompts.
        if !is_name || template.get(..start).is_some_and(|before| before.ends_with(['$', '%'])) {
            continue;
        }
        let end = at + inside.len() + 1;
        pieces.push(Piece::Text(template.get(from..start).unwrap_or_default()));
        pieces.push(match default {
            Some(default) => Piece::Slot { name, default },
            None => Piece::Name { whole: template.get(start..end).unwrap_or_default(), name },
        });
        (from, at) = (end, end);
    }
    pieces.push(Piece::Text(template.get(from..).unwrap_or_default()));
    pieces
}

/// What lists of zero-shot templates call the place of the class name; the first is this program's.
const CLASS_HOLES: [&str; 6] = ["{}", "{c}", "{class}", "{label}", "{name}", "{0}"];

/// `template` with every hole for the class name replaced by `class`.
pub fn fill_class(template: &str, class: &str) -> String {
    CLASS_HOLES.iter().fold(template.to_owned(), |text, hole| text.replace(hole, class))
}

/// Whether a zero-shot template has a place for the class name.
pub fn has_class_hole(template: &str) -> bool {
    CLASS_HOLES.iter().any(|hole| template.contains(hole))
}

/// The name in `{texts:NAME}`: a line among zero-shot templates that stands for the texts that each class has in the set NAME.
pub fn own_texts(line: &str) -> Option<&str> {
    line.trim().strip_prefix("{texts:")?.strip_suffix('}').map(str::trim).filter(|name| !name.is_empty())
}

/// The line that [`own_texts`] reads.
pub fn own_texts_line(name: &str) -> String {
    format!("{{texts:{name}}}")
}

/// The lines of `text` that say something: not empty, not starting with `#`.
pub fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled() {
        assert_eq!(fill_subject("a sketch of {subject}, ink", " a fox "), "a sketch of a fox, ink");
        assert_eq!(fill_subject("soft light", "a fox"), "a fox, soft light");
        assert_eq!(fill_class("a photo of a {}.", "cat"), "a photo of a cat.");
        assert_eq!(fill_class("a {c} and a {class}", "cat"), "a cat and a cat");
        assert!(!has_class_hole("a photo"));
        assert_eq!(own_texts(&own_texts_line("my birds")), Some("my birds"));
        assert_eq!((own_texts("{texts: }"), own_texts("a {}"), own_texts("texts:x")), (None, None, None));
        assert_eq!(fill_subject("{prompt}, {prompt}", "a fox"), "a fox, a fox");
        assert_eq!(fill_subject("soft light", "a fox, "), "a fox, soft light");
    }

    #[test]
    fn slots_have_defaults_and_leave_dynamic_prompts_alone() {
        let template = "{subject} in {light=soft light}, {light}, {red|blue}, {red}, ${x=1}, {mood=}, {";
        let names: Vec<String> = slots(template).into_iter().map(|slot| slot.name).collect();
        assert_eq!(names, ["light", "mood"]);
        let rest = "{red|blue}, {red}, ${x=1}, ";
        assert_eq!(
            fill_slots(template, &BTreeMap::new()),
            format!("{{subject}} in soft light, soft light, {rest}, {{")
        );
        let values = BTreeMap::from([("light".to_owned(), "dusk".to_owned()), ("mood".to_owned(), "calm".to_owned())]);
        assert_eq!(fill_slots(template, &values), format!("{{subject}} in dusk, dusk, {rest}calm, {{"));
        assert_eq!(with_one_hole("{subject}, {a=b}"), "{prompt}, b");
    }

    #[test]
    fn lists_skip_blank_lines_and_comments() {
        assert_eq!(lines("cat\n\n # colours\n  dog \r\n"), ["cat", "dog"]);
    }
}
