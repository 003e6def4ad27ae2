//! NovelAI's dialect as a tree: `{x}` counts 1.05 times, `[x]` 1/1.05 times, `1.3::x::` 1.3 times; they multiply.
//!
//! There are no escapes. A number that is opened while another one is open ends that one; one that is never closed reaches
//! to the end.

use crate::prompt::diagnostic::{self, Diagnostic};
use crate::prompt::emphasis::parse_number;
use crate::prompt::tree::{Tree, TreePart};

/// What `{x}` multiplies by.
pub(super) const UP: f64 = 1.05;
/// Brackets raise a weight no further.
const LARGEST: f64 = 1e4;

pub(super) fn read(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Tree {
    let mut part = TreePart::new(1.0);
    let mut up: Vec<(usize, f64)> = Vec::new();
    let mut down: Vec<(usize, f64)> = Vec::new();
    let mut number = None;
    let (mut at, mut from) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let weight = || number.unwrap_or(1.0) * level(&up) / level(&down);
        let bracket = rest.chars().next().unwrap_or_default();
        let end = match bracket {
            '{' | '[' | '}' | ']' => at + 1,
            _ if rest.starts_with("::") => at + 2,
            _ => {
                at += length_of_plain(rest);
                continue;
            }
        };
        // A number before the colons opens, without one they close.
        let opened = if bracket == ':' { number_before(text, from, at) } else { None };
        let closes_nothing = match bracket {
            '}' => up.is_empty(),
            ']' => down.is_empty(),
            ':' => opened.is_none() && number.is_none(),
            _ => false,
        };
        if closes_nothing {
            let message = format!(
                "this {} closes nothing and is read as text",
                if bracket == ':' { "::".to_owned() } else { bracket.to_string() }
            );
            diagnostic::add(diagnostics, || Diagnostic::warning("unopened-bracket", at..end, message));
            at = end;
            continue;
        }
        let words_end = opened.map_or(at, |(start, _)| start);
        part.push_text(text.get(from..words_end).unwrap_or_default(), weight(), from..words_end);
        match bracket {
            '{' => up.push((at, raised(&up))),
            '[' => down.push((at, raised(&down))),
            '}' => drop(up.pop()),
            ']' => drop(down.pop()),
            _ => number = opened.map(|(_, number)| number),
        }
        (at, from) = (end, end);
    }
    let weight = number.unwrap_or(1.0) * level(&up) / level(&down);
    part.push_text(text.get(from..).unwrap_or_default(), weight, from..text.len());
    for (open, bracket) in up.into_iter().map(|(at, _)| (at, '{')).chain(down.into_iter().map(|(at, _)| (at, '['))) {
        let message = format!("this {bracket} is never closed and reaches to the end");
        diagnostic::add(diagnostics, || Diagnostic::warning("unclosed-bracket", open..open + 1, message));
    }
    Tree::of_part(part)
}

/// What the open brackets multiply by: each knows its byte, and the product up to it.
fn level(open: &[(usize, f64)]) -> f64 {
    open.last().map_or(1.0, |(_, weight)| *weight)
}

/// The same with one more.
fn raised(open: &[(usize, f64)]) -> f64 {
    (level(open) * UP).min(LARGEST)
}

/// How far there is no bracket and no double colon.
fn length_of_plain(rest: &str) -> usize {
    let mut from = 0;
    loop {
        let tail = rest.get(from..).unwrap_or_default();
        let Some(length) = tail.find(['{', '[', '}', ']', ':']) else { return rest.len() };
        let place = from + length;
        let found = rest.get(place..).unwrap_or_default();
        if place > 0 && (!found.starts_with(':') || found.starts_with("::")) {
            return place;
        }
        from = place + 1;
    }
}

/// The number that ends at `at`, if it stands by itself: where it starts, and its value.
fn number_before(text: &str, from: usize, at: usize) -> Option<(usize, f64)> {
    let before = text.get(from..at)?;
    let unsigned = before.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
    let start = unsigned.strip_suffix('-').unwrap_or(unsigned);
    let is_glued = start.chars().next_back().is_some_and(char::is_alphanumeric);
    let number = parse_number(before.get(start.len()..)?)?;
    (!is_glued).then_some((from + start.len(), number))
}
