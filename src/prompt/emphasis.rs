//! A1111's emphasis: brackets that change how much the words inside them count.
//!
//! `(x)` counts 1.1 times, `[x]` 1/1.1 times, `(x:1.3)` 1.3 times; nested brackets multiply, round and square ones may
//! cross. `\(` is a bracket of the text. A bracket that is never closed reaches to the end, one that was never opened is
//! text. `BREAK` starts another chunk. Behaviour: AUTOMATIC1111's `modules/prompt_parser.py`, `parse_prompt_attention`,
//! bit for bit, where Python does not stop with an error.
//!
//! # Limitations
//! The work is bounded: brackets that are nested hundreds deep count only as far as the bound reaches, innermost first,
//! and a diagnostic says so.

use std::ops::Range;

use super::diagnostic::{self, Diagnostic};
use super::source::{Traced, is_space, whole_words};

/// What `(x)` multiplies by.
pub const UP: f64 = 1.1;
/// What `[x]` multiplies by.
pub const DOWN: f64 = 1.0 / 1.1;
/// The weight that marks `BREAK`.
pub const BREAK_WEIGHT: f64 = -1.0;
/// Weights stay finite: this is the largest, far beyond what any model bears.
pub(super) const LARGEST: f64 = 1e9;

/// A piece of a prompt and how much it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// The text for the tokenizer, without brackets and escapes.
    pub text: String,
    /// How much it counts; 1 is as usual.
    pub weight: f64,
    /// Where it stands in what the user wrote, in bytes: from its first to its last character.
    pub span: Range<usize>,
}

impl Fragment {
    /// Whether it is the mark that starts another chunk. Inside brackets `BREAK` is an ordinary word, as in A1111.
    pub fn is_break(&self) -> bool {
        self.text == "BREAK" && self.weight == BREAK_WEIGHT
    }
}

/// The weighted fragments of `text`, at least one, and what is wrong with its brackets. Takes linear time.
pub fn parse(text: &str) -> (Vec<Fragment>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let fragments = parse_traced(&Traced::new(text), &mut diagnostics);
    diagnostic::tidy(&mut diagnostics);
    (fragments, diagnostics)
}

/// As [`parse`], of a text that comes from another one: spans are those of the source.
pub fn parse_traced(text: &Traced, diagnostics: &mut Vec<Diagnostic>) -> Vec<Fragment> {
    merge(text, pieces(text, diagnostics))
}

/// The texts of the fragments that [`parse_traced`] gives, in the same order, each byte with its place in the source.
pub fn traced(text: &Traced) -> Vec<Traced> {
    weighted(text).into_iter().map(|(_, text)| text).collect()
}

/// The same with their weights.
pub(super) fn weighted(text: &Traced) -> Vec<(f64, Traced)> {
    let mut texts: Vec<(f64, Traced)> = Vec::new();
    for piece in pieces(text, &mut Vec::new()) {
        match texts.last_mut() {
            Some((weight, last)) if *weight == piece.weight => last.push(text, piece.text),
            _ => texts.push((piece.weight, text.slice(piece.text))),
        }
    }
    if texts.is_empty() {
        texts.push((1.0, Traced::default()));
    }
    texts
}

/// The fragments before neighbours of equal weight are joined.
pub(super) fn pieces(text: &Traced, diagnostics: &mut Vec<Diagnostic>) -> Vec<Piece> {
    let mut parser = Parser::new(text);
    parser.run();
    diagnostics.append(&mut parser.diagnostics);
    parser.pieces
}

/// A part of a fragment, in bytes of the text that was read.
pub(super) struct Piece {
    /// What the tokenizer gets.
    pub(super) text: Range<usize>,
    /// The same with the backslash before it.
    pub(super) whole: Range<usize>,
    /// How much it counts.
    pub(super) weight: f64,
}

struct Parser<'a> {
    traced: &'a Traced,
    text: &'a str,
    pieces: Vec<Piece>,
    /// For each open bracket: the first piece inside it, and its own byte.
    round: Vec<(usize, usize)>,
    square: Vec<(usize, usize)>,
    /// Multiplications that may still be made.
    budget: usize,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn new(traced: &'a Traced) -> Self {
        let text = traced.text();
        let budget = 100_000 + 16 * text.len();
        Self { traced, text, pieces: vec![], round: vec![], square: vec![], budget, diagnostics: vec![] }
    }

    fn run(&mut self) {
        let mut at = 0;
        while let Some(c) = self.text.get(at..).and_then(|rest| rest.chars().next()) {
            at = match c {
                '\\' => self.escape(at),
                '(' => {
                    self.round.push((self.pieces.len(), at));
                    at + 1
                }
                '[' => {
                    self.square.push((self.pieces.len(), at));
                    at + 1
                }
                ')' | ']' => self.close(at, c),
                ':' => self.colon(at),
                _ => {
                    let rest = self.text.get(at..).unwrap_or_default();
                    let end = at + rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                    self.words(at..end);
                    end
                }
            };
        }
        self.finish();
    }

    fn escape(&mut self, at: usize) -> usize {
        let escaped = self.text.get(at + 1..).and_then(|rest| rest.chars().next());
        let end = match escaped {
            Some('\\' | '(' | ')' | '[' | ']') => at + 2,
            _ => at + 1,
        };
        self.pieces.push(Piece { text: at + 1..end, whole: at..end, weight: 1.0 });
        end
    }

    fn close(&mut self, at: usize, bracket: char) -> usize {
        let (open, factor) = match bracket {
            ')' => (self.round.pop(), UP),
            _ => (self.square.pop(), DOWN),
        };
        match open {
            Some((first, from)) => self.multiply(first, factor, from..at + 1),
            None => {
                self.pieces.push(Piece { text: at..at + 1, whole: at..at + 1, weight: 1.0 });
                self.remark(|traced| stray_bracket("unopened-bracket", traced.span(at..at + 1), bracket));
            }
        }
        at + 1
    }

    /// A colon is text, unless it starts the weight that closes a bracket.
    fn colon(&mut self, at: usize) -> usize {
        let Some((number, end)) = closing_number(self.text, at) else {
            self.pieces.push(Piece { text: at..at + 1, whole: at..at + 1, weight: 1.0 });
            return at + 1;
        };
        let Some((first, from)) = self.round.pop() else {
            self.pieces.push(Piece { text: at..end, whole: at..end, weight: 1.0 });
            let message = "this weight closes no bracket and is read as text";
            self.remark(|traced| Diagnostic::warning("unopened-bracket", traced.span(at..end), message));
            return end;
        };
        let factor = self.text.get(number.clone()).and_then(parse_number);
        if factor.is_none() {
            // Python stops with an error here. The bracket counts as a plain one, and the number is text.
            self.pieces.push(Piece { text: at..end - 1, whole: at..end - 1, weight: 1.0 });
            self.remark(|traced| {
                let wrong = traced.text().get(number.clone()).unwrap_or_default();
                let message = format!("\"{wrong}\" is not a number, so it is read as text; a weight looks like 1.2");
                Diagnostic::error("bad-weight", traced.span(number), message)
            });
        }
        self.multiply(first, factor.unwrap_or(UP), from..end);
        end
    }

    /// Text without brackets, in which `BREAK` may stand.
    fn words(&mut self, range: Range<usize>) {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let mut from = 0;
        for word in whole_words(text, "BREAK") {
            let before = text.get(from..word.start).unwrap_or_default().trim_end_matches(is_space);
            let after = text.get(word.end..).unwrap_or_default();
            self.plain(range.start + from..range.start + from + before.len());
            let mark = range.start + word.start..range.start + word.end;
            self.pieces.push(Piece { text: mark.clone(), whole: mark, weight: BREAK_WEIGHT });
            from = text.len() - after.trim_start_matches(is_space).len();
        }
        self.plain(range.start + from..range.end);
    }

    fn plain(&mut self, range: Range<usize>) {
        self.pieces.push(Piece { text: range.clone(), whole: range, weight: 1.0 });
    }

    fn multiply(&mut self, first: usize, factor: f64, bracket: Range<usize>) {
        let inside = self.pieces.get_mut(first..).unwrap_or_default();
        if inside.len() > self.budget {
            let message = "brackets are nested so deep that this one is no longer counted; write one weight instead";
            self.remark(|traced| Diagnostic::error("nested-too-deep", traced.span(bracket), message));
            return;
        }
        self.budget -= inside.len();
        for piece in inside {
            piece.weight = (piece.weight * factor).clamp(-LARGEST, LARGEST);
        }
    }

    fn finish(&mut self) {
        let round = std::mem::take(&mut self.round).into_iter().map(|open| (open, UP, '('));
        let square = std::mem::take(&mut self.square).into_iter().map(|open| (open, DOWN, '['));
        let open: Vec<_> = round.chain(square).collect();
        for ((first, at), factor, bracket) in open {
            self.multiply(first, factor, at..at + 1);
            self.remark(|traced| stray_bracket("unclosed-bracket", traced.span(at..at + 1), bracket));
        }
    }

    fn remark(&mut self, make: impl FnOnce(&Traced) -> Diagnostic) {
        diagnostic::add(&mut self.diagnostics, || make(self.traced));
    }
}

/// The remark on a bracket without its other half.
fn stray_bracket(code: &'static str, span: Range<usize>, bracket: char) -> Diagnostic {
    let what = match bracket {
        '(' | '[' => "is never closed and reaches to the end",
        _ => "closes nothing and is read as text",
    };
    let message = format!("this {bracket} {what}; write \\{bracket} for a bracket of the text");
    Diagnostic::warning(code, span.clone(), message).with_fix(
        format!("Write \\{bracket}"),
        span,
        format!("\\{bracket}"),
    )
}

/// `:1.3)` at byte `at`, white space allowed before and after the number: the number's bytes and the end.
pub(super) fn closing_number(text: &str, at: usize) -> Option<(Range<usize>, usize)> {
    let after = text.get(at + 1..)?;
    let trimmed = after.trim_start_matches(is_space);
    let unsigned = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let rest = unsigned.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    if rest.len() == unsigned.len() {
        return None;
    }
    let closing = rest.trim_start_matches(is_space).strip_prefix(')')?;
    Some((text.len() - trimmed.len()..text.len() - rest.len(), text.len() - closing.len()))
}

/// A decimal number as people write weights; `None` for "1.2.3" and ".".
pub(super) fn parse_number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number.clamp(-LARGEST, LARGEST))
}

/// Joins neighbours of equal weight; a prompt without pieces is one empty fragment.
fn merge(traced: &Traced, pieces: Vec<Piece>) -> Vec<Fragment> {
    let mut fragments: Vec<Fragment> = Vec::new();
    for piece in pieces {
        let text = traced.text().get(piece.text).unwrap_or_default();
        let span = traced.span(piece.whole);
        match fragments.last_mut() {
            Some(last) if last.weight == piece.weight => {
                last.span = match (last.text.is_empty(), text.is_empty()) {
                    (_, true) => last.span.clone(),
                    (true, false) => span,
                    (false, false) => last.span.start.min(span.start)..last.span.end.max(span.end),
                };
                last.text.push_str(text);
            }
            _ => fragments.push(Fragment { text: text.to_owned(), weight: piece.weight, span }),
        }
    }
    if fragments.is_empty() {
        fragments.push(Fragment { text: String::new(), weight: 1.0, span: traced.span(0..0) });
    }
    fragments
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights(text: &str) -> Vec<(String, f64)> {
        parse(text).0.into_iter().map(|fragment| (fragment.text, fragment.weight)).collect()
    }

    fn check(text: &str, wanted: &[(&str, f64)]) {
        let found = weights(text);
        let found: Vec<(&str, f64)> = found.iter().map(|(text, weight)| (text.as_str(), *weight)).collect();
        assert_eq!(found, wanted, "{text:?}");
    }

    fn codes(text: &str) -> Vec<(&'static str, Range<usize>)> {
        parse(text).1.into_iter().map(|remark| (remark.code, remark.span)).collect()
    }

    #[test]
    fn weights_are_those_of_a1111() {
        check("normal text", &[("normal text", 1.0)]);
        check("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]);
        check("(unbalanced", &[("unbalanced", 1.1)]);
        check(r"\(literal\]", &[("(literal]", 1.0)]);
        check("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]);
        let long = [
            ("a ", 1.0),
            ("house", 1.5730000000000004),
            (" ", 1.1),
            ("on", 1.0),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641000000000006),
            (".", 1.1),
        ];
        check("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", &long);
        check("", &[("", 1.0)]);
        check("()", &[("", 1.0)]);
        check("(a [b) c]", &[("a ", 1.1), ("b", 1.1 * DOWN), (" c", DOWN)]);
        check("(x: +.5 ) (y:-1)", &[("x", 0.5), (" ", 1.0), ("y", -1.0)]);
        check("a:b :1.2) c", &[("a:b :1.2) c", 1.0)]);
    }

    #[test]
    fn break_is_a_fragment_of_its_own() {
        check("a\n BREAK  b", &[("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]);
        check("BREAK", &[("", 1.0), ("BREAK", -1.0), ("", 1.0)]);
        check("BREAKFAST xBREAK", &[("BREAKFAST xBREAK", 1.0)]);
        // In brackets it is a word with a weight of its own, there as here.
        check("(a BREAK b)", &[("a", 1.1), ("BREAK", -1.1), ("b", 1.1)]);
        assert!(parse("a BREAK b").0[1].is_break() && !parse("(a BREAK b)").0[1].is_break());
    }

    #[test]
    fn spans_count_bytes_of_the_source() {
        let spans = |text: &str| parse(text).0.into_iter().map(|fragment| fragment.span).collect::<Vec<_>>();
        assert_eq!(spans("é (über:1.3) ß"), [0..3, 4..9, 14..17]);
        assert_eq!(spans(r"a \(b\) c!"), vec![0..10; 1]);
        assert_eq!(spans("a BREAK b"), [0..1, 2..7, 8..9]);
        assert_eq!(spans("(a)(b)"), vec![1..5; 1]);
    }

    #[test]
    fn each_byte_of_a_fragment_knows_its_place() {
        let source = Traced::new(r"a \(b\) (c)(d)");
        let texts = traced(&source);
        let shown: Vec<_> =
            texts.iter().map(|text| (text.text(), text.span(text.text().len() - 1..text.text().len()))).collect();
        assert_eq!(shown, [("a (b) ", 7..8), ("cd", 12..13)]);
        assert_eq!(traced(&Traced::new("")).len(), parse("").0.len());
    }

    #[test]
    fn brackets_without_their_half_are_remarked_on() {
        assert_eq!(codes("(a [b"), [("unclosed-bracket", 0..1), ("unclosed-bracket", 3..4)]);
        assert_eq!(
            codes("a) b] :2)"),
            [("unopened-bracket", 1..2), ("unopened-bracket", 4..5), ("unopened-bracket", 6..9)]
        );
        assert_eq!(codes("(a:1.2.3)"), [("bad-weight", 3..8)]);
        check("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
        assert_eq!(codes(r"\(a\) (b) [c]"), []);
    }

    #[test]
    fn a_megabyte_of_brackets_is_bounded() {
        let deep = format!("{}x{}", "(a".repeat(200_000), ")".repeat(200_000));
        let (fragments, remarks) = parse(&deep);
        assert!(fragments.iter().all(|fragment| fragment.weight.is_finite()));
        assert!(remarks.iter().any(|remark| remark.code == "nested-too-deep") && remarks.len() <= 500);
    }

    proptest! {
        #[test]
        fn traced_texts_are_those_of_the_fragments(text in r"[ab é:.0-9(\)\[\]\\\nBREAK]{0,60}") {
            let texts: Vec<String> = traced(&Traced::new(&text)).into_iter().map(|text| text.text().to_owned()).collect();
            let wanted: Vec<String> = parse(&text).0.into_iter().map(|fragment| fragment.text).collect();
            prop_assert_eq!(texts, wanted);
        }

        #[test]
        fn spans_lie_in_the_text(text in r"[ab é:.0-9(\)\[\]\\\nBREAK]{0,60}") {
            for fragment in parse(&text).0 {
                prop_assert!(text.get(fragment.span.clone()).is_some(), "{:?}", fragment);
            }
        }
    }
}
