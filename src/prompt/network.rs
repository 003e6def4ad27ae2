//! Extra networks in the text: `<lora:name:0.8>` and its kind, cut out before anything else reads the prompt.
//!
//! Behaviour: AUTOMATIC1111's `modules/extra_networks.py` (the form) and `extra_networks_lora.py` (the weights of a LoRA).

use std::ops::Range;

use serde::Serialize;

use super::diagnostic::{self, Diagnostic};
use super::emphasis::parse_number;
use super::source::{Traced, is_word};

/// One `<kind:name:…>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtraNetwork {
    /// "lora", "hypernet", …
    pub kind: String,
    /// The name of the file, without its ending.
    pub name: String,
    /// How strongly it acts on the text encoder: the first number, or `te=`.
    pub weight: f64,
    /// How strongly it acts on the denoiser: the second number, or `unet=`, or as on the text encoder.
    pub denoiser_weight: f64,
    /// What follows the kind, as written.
    pub args: Vec<String>,
    /// Where it stands in what the user wrote, in bytes.
    pub span: Range<usize>,
}

/// `source` without its extra networks, and those.
pub fn cut(source: &Traced, diagnostics: &mut Vec<Diagnostic>) -> (Traced, Vec<ExtraNetwork>) {
    let text = source.text();
    let (mut kept, mut found) = (Traced::default(), Vec::new());
    let (mut from, mut at) = (0, 0);
    while let Some(open) = text.get(at..).and_then(|rest| rest.find('<')).map(|length| at + length) {
        at = open + 1;
        let Some((kind, colon)) = kind_at(text, at) else { continue };
        // Without another > nothing further on can be one.
        let Some(close) = text.get(colon + 1..).and_then(|rest| rest.find('>')).map(|end| colon + 1 + end) else {
            let message = "this < is never closed and is read as text; an extra network looks like <lora:name:0.8>";
            diagnostic::add(diagnostics, || {
                Diagnostic::warning("unclosed-bracket", source.span(open..open + 1), message)
            });
            break;
        };
        if close == colon + 1 {
            continue;
        }
        kept.push(source, from..open);
        let args = text.get(colon + 1..close).unwrap_or_default();
        found.push(network(kind, args, source.span(open..close + 1), diagnostics));
        (from, at) = (close + 1, close + 1);
    }
    kept.push(source, from..text.len());
    (kept, found)
}

/// The word at `at` if a colon follows it, and the colon's byte.
fn kind_at(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = text.get(at..)?;
    let kind = rest.get(..rest.len() - rest.trim_start_matches(is_word).len())?;
    let is_kind = !kind.is_empty() && rest.get(kind.len()..)?.starts_with(':');
    is_kind.then_some((kind, at + kind.len()))
}

fn network(kind: &str, args: &str, span: Range<usize>, diagnostics: &mut Vec<Diagnostic>) -> ExtraNetwork {
    let args: Vec<String> = args.split(':').map(ToOwned::to_owned).collect();
    let named = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
    let mut by_place = args.iter().filter(|arg| !arg.contains('='));
    let name = by_place.next().cloned().unwrap_or_default();
    let mut weight_of = |given: Option<&str>, default: f64| {
        let text = given.or_else(|| by_place.next().map(String::as_str));
        let number = text.map(|text| text.trim()).map(parse_number);
        if number == Some(None) {
            let message = format!(
                "the weight of {kind} {name} is not a number, so it counts {default}; write <{kind}:{name}:0.8>"
            );
            diagnostic::add(diagnostics, || Diagnostic::error("bad-weight", span.clone(), message));
        }
        number.flatten().unwrap_or(default)
    };
    let weight = weight_of(named("te"), 1.0);
    let denoiser_weight = weight_of(named("unet"), weight);
    ExtraNetwork { kind: kind.to_owned(), name, weight, denoiser_weight, args, span }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_text(text: &str) -> (String, Vec<(String, String, f64, f64)>) {
        let (kept, found) = cut(&Traced::new(text), &mut Vec::new());
        let found = found.into_iter().map(|net| (net.kind, net.name, net.weight, net.denoiser_weight));
        (kept.text().to_owned(), found.collect())
    }

    #[test]
    fn networks_are_cut_out() {
        let (text, found) = cut_text("a <lora:ink:0.8> fox<lora:sea:0.5:0.2><hypernet:old> <lora:x:te=0.3:unet=2>");
        assert_eq!(text, "a  fox ");
        let lora = |name: &str, te: f64, unet: f64| ("lora".to_owned(), name.to_owned(), te, unet);
        let hyper = ("hypernet".to_owned(), "old".to_owned(), 1.0, 1.0);
        assert_eq!(found, [lora("ink", 0.8, 0.8), lora("sea", 0.5, 0.2), hyper, lora("x", 0.3, 2.0)]);
    }

    #[test]
    fn what_only_looks_like_one_is_text() {
        for text in ["a < b", "<lora>", "<:x>", "<lora:>", "<lo ra:x>", "<lora:x"] {
            assert_eq!(cut_text(text), (text.to_owned(), vec![]));
        }
        assert_eq!(cut_text("<<lora:x>").0, "<");
    }
}
