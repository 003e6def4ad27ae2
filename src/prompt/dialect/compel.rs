//! Compel's dialect (InvokeAI) as a tree: `word+`, `word--`, `(phrase)1.3`, `"phrase"+`, `("a", "b").and()`.
//!
//! Behaviour: damian0815/compel's `src/compel/prompt_parser.py`: plus is 1.1, minus 0.9, brackets multiply, a bracket in
//! the middle of a word is text. White space between pieces is a single space.
//!
//! # Limitations
//! `.swap()` is no text to be weighted: the first of the two stays, with a diagnostic. `.blend()` becomes parts with
//! weights, which a program combines otherwise; a diagnostic says so.

use std::ops::Range;

use crate::prompt::diagnostic::{self, Diagnostic};
use crate::prompt::emphasis::parse_number;
use crate::prompt::network::ExtraNetwork;
use crate::prompt::tree::{Item, Tree, TreePart};

/// What a plus multiplies by.
pub(super) const PLUS: f64 = 1.1;
/// Bytes that a call such as `.swap(…)` may take.
const LONGEST_CALL: usize = 400;
/// What a minus multiplies by.
pub(super) const MINUS: f64 = 0.9;

pub(super) fn read(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Tree {
    if let Some(tree) = conjunction(text, diagnostics) {
        return tree;
    }
    let mut networks = Vec::new();
    let part = prompt(text, 0, 1.0, &mut networks, diagnostics);
    Tree { extra_networks: networks, ..Tree::of_part(part) }
}

/// `("a", "b").and(1, 2)` and `.blend(…)`, if that is all there is.
fn conjunction(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Tree> {
    let start = text.len() - text.trim_start().len();
    let inner = text.get(start..)?.strip_prefix('(')?;
    let mut prompts: Vec<Range<usize>> = Vec::new();
    let mut at = start + 1;
    let mut rest = inner;
    loop {
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        let quoted = trimmed.strip_prefix('"')?;
        let length = quote_end(quoted)?;
        prompts.push(at + 1..at + 1 + length);
        let after = quoted.get(length + 1..)?.trim_start();
        at = text.len() - after.len();
        match after.strip_prefix(',') {
            Some(next) => (rest, at) = (next, at + 1),
            None => {
                rest = after.strip_prefix(')')?;
                break;
            }
        }
    }
    let (name, rest) = rest.trim_start().strip_prefix('.')?.split_once('(')?;
    let (numbers, after) = rest.split_once(')')?;
    let is_blend = match name {
        "and" | "add" => false,
        "blend" => true,
        _ => return None,
    };
    after.trim().is_empty().then_some(())?;
    let numbers: Vec<f64> = numbers.split(',').filter_map(|number| parse_number(number.trim())).collect();
    let mut tree = Tree::default();
    let mut joined = TreePart::new(1.0);
    for (index, span) in prompts.into_iter().enumerate() {
        let weight = numbers.get(index).copied().unwrap_or(1.0);
        let words = text.get(span.clone()).unwrap_or_default();
        let inner = if is_blend { 1.0 } else { weight };
        if !is_blend && weight != 1.0 {
            let message = "the weights of .and() are read as weights of the words";
            diagnostic::add(diagnostics, || Diagnostic::warning("not-preserved", span.clone(), message));
        }
        let part = prompt(words, span.start, inner, &mut tree.extra_networks, diagnostics);
        if is_blend {
            tree.parts.push(TreePart { weight, ..part.tidy() });
            continue;
        }
        if index > 0 {
            joined.items.push(Item::Break(span.start - 1..span.start));
        }
        joined.items.extend(part.tidy().items);
    }
    if is_blend {
        let message = "a blend mixes the prompts' embeddings; here they are separate parts with these weights";
        diagnostic::add(diagnostics, || Diagnostic::warning("not-preserved", 0..text.len(), message));
    } else {
        tree.parts.push(joined.tidy());
    }
    Some(tree)
}

/// Where a quoted text ends, a quote after a backslash being part of it.
fn quote_end(text: &str) -> Option<usize> {
    text.match_indices('"').map(|(at, _)| at).find(|at| !text.get(..*at).unwrap_or_default().ends_with('\\'))
}

/// An open bracket: where its text starts, and the pieces before it.
struct Open {
    closing: char,
    at: usize,
    pieces: usize,
}

/// A piece of text: what it is, where it is, its weight, whether white space stands before it.
struct Piece {
    text: String,
    span: Range<usize>,
    weight: f64,
    is_spaced: bool,
}

/// A prompt without `.and()`. `offset` is where it starts in the whole text.
fn prompt(
    text: &str,
    offset: usize,
    weight: f64,
    networks: &mut Vec<ExtraNetwork>,
    diagnostics: &mut Vec<Diagnostic>,
) -> TreePart {
    let closed = closed_brackets(text);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let (mut at, mut is_spaced) = (0, true);
    // Multiplications that may still be made, so that nesting costs no more than linear time.
    let mut budget = 100_000 + 16 * text.len();
    // A bracket opens only where a piece starts.
    let mut is_start = true;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        if c.is_whitespace() {
            (at, is_spaced, is_start) = (at + c.len_utf8(), true, true);
            continue;
        }
        if let Some((length, network)) = lora(rest, at + offset) {
            networks.push(network);
            (at, is_start) = (at + length, true);
            continue;
        }
        let is_closing = open.last().is_some_and(|bracket| bracket.closing == c);
        if is_closing && let Some(bracket) = open.pop() {
            let (factor, length) = operator(text.get(at + 1..).unwrap_or_default());
            let inside = pieces.get_mut(bracket.pieces..).unwrap_or_default();
            if factor != 1.0 && inside.len() > budget {
                let span = at + offset..at + offset + 1;
                let message = "brackets are nested so deep that this one is no longer counted";
                diagnostic::add(diagnostics, || Diagnostic::error("nested-too-deep", span, message));
            } else if factor != 1.0 {
                budget -= inside.len();
                for piece in inside {
                    piece.weight = (piece.weight * factor).clamp(-1e9, 1e9);
                }
            }
            at += 1 + length;
            at += swapped(text.get(at..).unwrap_or_default(), at + offset, diagnostics);
            is_start = true;
            continue;
        }
        let opens = (c == '(' || c == '"') && (is_start || !open.is_empty());
        if opens && closed.binary_search(&at).is_ok() {
            open.push(Open { closing: if c == '(' { ')' } else { '"' }, at, pieces: pieces.len() });
            (at, is_start) = (at + 1, true);
            continue;
        }
        let end = at + word_length(rest, !open.is_empty());
        let (stem, mut factor) = weighted_word(text.get(at..end).unwrap_or_default());
        let called = text.get(end..).filter(|rest| rest.starts_with(".attend(")).map(operator);
        let word = unescape(text.get(at..at + stem).unwrap_or_default());
        factor *= called.map_or(1.0, |(factor, _)| factor);
        pieces.push(Piece { text: word, span: at + offset..at + stem + offset, weight: weight * factor, is_spaced });
        at = end + called.map_or(0, |(_, length)| length);
        at += swapped(text.get(at..).unwrap_or_default(), at + offset, diagnostics);
        // White space after a comma is as good as written, also if a call that is left out stands between.
        is_spaced = called.is_none() && text.get(..end).unwrap_or_default().ends_with(',');
        is_start = is_spaced || !open.is_empty();
    }
    for bracket in open {
        let span = bracket.at + offset..bracket.at + offset + 1;
        diagnostic::add(diagnostics, || Diagnostic::warning("unclosed-bracket", span, "this is never closed"));
    }
    joined(pieces)
}

fn joined(pieces: Vec<Piece>) -> TreePart {
    let mut part = TreePart::new(1.0);
    let mut last: Option<f64> = None;
    for piece in pieces {
        if let (true, Some(weight)) = (piece.is_spaced, last) {
            part.push_text(" ", weight, piece.span.start..piece.span.start);
        }
        part.push_text(&piece.text, piece.weight, piece.span);
        last = Some(piece.weight);
    }
    part
}

/// The brackets and quotes that have their other half, ascending.
fn closed_brackets(text: &str) -> Vec<usize> {
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    let mut quote: Option<(usize, usize)> = None;
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => {}
            b'(' => open.push(at),
            b')' if quote.is_none_or(|(_, depth)| open.len() > depth) => closed.extend(open.pop()),
            b'"' => match quote.take() {
                Some((start, depth)) if open.len() == depth => closed.push(start),
                Some((_, depth)) => {
                    // Brackets that a quote cuts off are text.
                    open.truncate(depth);
                    quote = Some((at, depth));
                }
                None => quote = Some((at, open.len())),
            },
            _ => {}
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    closed.sort_unstable();
    closed
}

/// How long the word at the start of `text` is, the operator behind it included.
fn word_length(text: &str, is_inside: bool) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        let ends = match c {
            _ if is_escaped => false,
            '(' | ')' | '"' => is_inside,
            _ => c.is_whitespace(),
        };
        let is_call =
            c == '.' && [".attend(", ".swap("].iter().any(|call| text.get(at..).unwrap_or_default().starts_with(call));
        if (ends || is_call) && at > 0 || c.is_whitespace() {
            return at;
        }
        is_escaped = c == '\\' && !is_escaped;
        // A comma or full stop ends a word; what follows may be weighted by itself.
        if !is_escaped && c == ',' {
            return at + 1;
        }
        let next = text.get(at + c.len_utf8()..).and_then(|rest| rest.chars().next());
        if matches!(c, '+' | '-') && next.is_some_and(|next| next == ',' || next == '.') && at > 0 {
            return at + 1;
        }
    }
    text.len()
}

/// How much of a word is text, and what its pluses or minuses multiply by.
fn weighted_word(word: &str) -> (usize, f64) {
    for (sign, base) in [('+', PLUS), ('-', MINUS)] {
        let stem = word.trim_end_matches(sign);
        let is_escaped = stem.ends_with('\\');
        let plain = !stem.is_empty()
            && !is_escaped
            && !stem.contains(['(', ')', '"', '=', '.', ','])
            && !stem.ends_with([',', '.', '+', '-']);
        if stem.len() < word.len() && plain {
            return (stem.len(), power(base, word.len() - stem.len()));
        }
    }
    (word.len(), 1.0)
}

/// The operator behind a bracket: what it multiplies by, and its length.
fn operator(text: &str) -> (f64, usize) {
    for (sign, base) in [('+', PLUS), ('-', MINUS)] {
        let count = text.len() - text.trim_start_matches(sign).len();
        if count > 0 {
            return (power(base, count), count);
        }
    }
    if let Some(call) = start(text).strip_prefix(".attend(")
        && let Some((inside, _)) = call.split_once(')')
    {
        let length = ".attend(".len() + inside.len() + 1;
        let (factor, used) = operator(inside.trim());
        if used == inside.trim().len() && used > 0 {
            return (factor, length);
        }
    }
    let whole = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let fraction = text
        .get(whole..)
        .and_then(|rest| rest.strip_prefix('.'))
        .map_or(0, |rest| 1 + rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    // "(x)." is a sentence's end, not a number.
    let length = if whole == 0 && fraction == 1 { 0 } else { whole + fraction };
    match text.get(..length).and_then(parse_number).filter(|_| length > 0) {
        Some(number) => (number, length),
        None => (1.0, 0),
    }
}

pub(super) fn power(base: f64, count: usize) -> f64 {
    (0..count.min(200)).fold(1.0, |weight, _| weight * base)
}

/// `.swap(…)`: skipped, with a remark.
fn swapped(text: &str, at: usize, diagnostics: &mut Vec<Diagnostic>) -> usize {
    let Some(length) =
        start(text).strip_prefix(".swap(").and_then(|rest| rest.find(')')).map(|end| ".swap()".len() + end)
    else {
        return 0;
    };
    let message = ".swap() steers attention and is no weight; the first text stays, the second is left out";
    diagnostic::add(diagnostics, || Diagnostic::error("not-in-dialect", at..at + length, message));
    length
}

/// `withLora(name, 0.8)` or `useLora(name)`: its length, and what it asks for.
fn lora(text: &str, at: usize) -> Option<(usize, ExtraNetwork)> {
    let text = start(text);
    let inside = text.strip_prefix("withLora(").or_else(|| text.strip_prefix("useLora("))?;
    let (arguments, rest) = inside.split_once(')')?;
    let mut parts = arguments.split(',').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    name.chars().all(is_name).then_some(())?;
    let weight = parts.next().map_or(Some(1.0), parse_number)?;
    let span = at..at + text.len() - rest.len();
    let args = arguments.split(',').map(|part| part.trim().to_owned()).collect();
    let network = ExtraNetwork { kind: "lora".to_owned(), name, weight, denoiser_weight: weight, args, span };
    Some((text.len() - rest.len(), network))
}

/// The start of a text, in which a call's arguments end.
fn start(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_CALL)).unwrap_or(text)
}

/// Text without the backslashes before what means something here.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next) if c == '\\' && "()\"+-,.=\\".contains(*next) => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    plain
}
