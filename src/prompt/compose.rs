//! `AND`: one picture from several prompts, each with a weight of its own ("a cat :1.2 AND a dog").
//!
//! Behaviour: AUTOMATIC1111's `modules/prompt_parser.py`, `get_multicond_prompt_list`. Each part costs one more evaluation
//! of the denoiser a step.

use super::diagnostic::{self, Diagnostic, Severity};
use super::emphasis::parse_number;
use super::source::{Traced, is_space, whole_words};

/// One of the prompts, and how much it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its text, without the weight and trailing white space.
    pub text: Traced,
    /// How much it counts; 1 unless `:weight` ends it.
    pub weight: f64,
}

/// The parts of a prompt, at least one.
pub fn split(source: &Traced, diagnostics: &mut Vec<Diagnostic>) -> Vec<Part> {
    let text = source.text();
    let mut from = 0;
    let mut parts = Vec::new();
    for word in whole_words(text, "AND") {
        parts.push(part(&source.slice(from..word.start)));
        from = word.end;
    }
    parts.push(part(&source.slice(from..text.len())));
    if let [only] = parts.as_slice() {
        let rest = only.text.text().len()..text.trim_end_matches(is_space).len();
        let weight = text.get(rest.clone()).unwrap_or_default();
        if !weight.trim().is_empty() {
            let message = format!("\"{}\" at the end is read as the weight of the whole prompt", weight.trim());
            let remark = Diagnostic::new(Severity::Warning, "trailing-weight", source.span(rest), message);
            diagnostic::add(diagnostics, || remark);
        }
    } else {
        for part in parts.iter().filter(|part| part.text.text().trim().is_empty()) {
            let span = part.text.span(0..part.text.text().len());
            let message = "there is nothing on one side of this AND; it costs time and adds an empty prompt";
            diagnostic::add(diagnostics, || Diagnostic::warning("empty-part", span, message));
        }
    }
    parts
}

fn part(source: &Traced) -> Part {
    let text = source.text().trim_end_matches(is_space);
    let weighted = text.rsplit_once(':').and_then(|(before, number)| {
        let number = number.trim_start_matches(is_space);
        Some((before.trim_end_matches(is_space), parse_number(number).filter(|_| is_weight(number))?))
    });
    let (text, weight) = weighted.unwrap_or((text, 1.0));
    Part { text: source.slice(0..text.len()), weight }
}

/// Digits with at most one point, and a sign.
fn is_weight(number: &str) -> bool {
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    unsigned.starts_with(|c: char| c == '.' || c.is_ascii_digit())
        && unsigned.chars().all(|c| c == '.' || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &[(&str, f64)]) {
        let parts = split(&Traced::new(text), &mut Vec::new());
        let parts: Vec<_> = parts.iter().map(|part| (part.text.text(), part.weight)).collect();
        assert_eq!(parts, wanted, "{text:?}");
    }

    #[test]
    fn parts_have_weights() {
        check("a cat :1.2 AND a dog AND fog :-0.5", &[("a cat", 1.2), (" a dog", 1.0), (" fog", -0.5)]);
        check("a BAND and HAND", &[("a BAND and HAND", 1.0)]);
        check("a AND b", &[("a", 1.0), (" b", 1.0)]);
        check("a cat ", &[("a cat", 1.0)]);
        check("a 16:9", &[("a 16", 9.0)]);
        check("a :2. AND b::.5 AND c:1.2.3", &[("a", 2.0), (" b:", 0.5), (" c:1.2.3", 1.0)]);
        check("(a:1.2) AND (b: 1e3", &[("(a:1.2)", 1.0), (" (b: 1e3", 1.0)]);
        check("", &[("", 1.0)]);
    }
}
