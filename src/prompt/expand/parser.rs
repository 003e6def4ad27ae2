//! Template text to tree. Never fails: what is no whole form is text.
//!
//! Brackets are matched once, in one pass, so that each form knows its end before it is read; nothing is read twice.

use std::rc::Rc;

use super::comments;
use super::syntax::{Choosable, Method, Node, Place, Variant, Words};
use crate::prompt::diagnostic::{self, Diagnostic};
use crate::prompt::source::Traced;

/// Forms inside forms that are read; deeper ones are text.
pub(super) const DEEPEST: usize = 64;
/// What stands between several choices if nothing else is asked for.
const SEPARATOR: &str = ",";

/// Reads a template.
pub(super) fn parse(template: &Traced, diagnostics: &mut Vec<Diagnostic>) -> Rc<Node> {
    let traced = comments::strip(template);
    let mut parser = Parser { text: traced.text(), traced: &traced, ends: vec![0; traced.text().len()], diagnostics };
    parser.match_brackets();
    parser.prompt(0, traced.text().len(), Inside::Nothing, 0)
}

/// What a stretch of text is inside of.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Nothing,
    Form,
    /// A wildcard's path, in which variables fall back on their names.
    Path,
}

struct Parser<'a> {
    text: &'a str,
    traced: &'a Traced,
    /// For each byte that opens a bracket, where that is closed; 0 for any other.
    ends: Vec<usize>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn match_brackets(&mut self) {
        // Round ones matter behind a wildcard's name alone, so that those of the text may be left open.
        let (mut open, mut round): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for (at, byte) in self.text.bytes().enumerate() {
            let closed = match byte {
                b'{' => {
                    open.push(at);
                    continue;
                }
                b'(' => {
                    round.push(at);
                    continue;
                }
                b'}' => open.pop(),
                b')' => round.pop(),
                _ => continue,
            };
            if let Some(end) = closed.and_then(|start| self.ends.get_mut(start)) {
                *end = at;
            }
        }
        for at in open {
            self.remark(at, at + 1, |span| {
                let message = "this { is never closed and is read as text";
                Diagnostic::error("unclosed-bracket", span.clone(), message).with_fix("Remove it", span, "")
            });
        }
    }

    fn remark(&mut self, from: usize, to: usize, make: impl FnOnce(std::ops::Range<usize>) -> Diagnostic) {
        let traced = self.traced;
        diagnostic::add(self.diagnostics, || make(traced.span(from..to)));
    }

    fn span(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        self.traced.span(from..to)
    }

    /// Where the `{` at byte `at` is closed.
    fn end_of(&self, at: usize) -> Option<usize> {
        self.ends.get(at).copied().filter(|end| *end > 0)
    }

    fn part(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    fn prompt(&mut self, from: usize, to: usize, inside: Inside, depth: usize) -> Rc<Node> {
        let mut nodes = Vec::new();
        let (mut at, mut literal) = (from, from);
        while at < to {
            let rest = self.part(at, to);
            let step = rest.find(['{', '$', '%', '_']).unwrap_or(rest.len());
            at += step;
            match self.form(at, to, inside, depth) {
                Some((node, end)) => {
                    self.literal(literal, at, &mut nodes);
                    nodes.push(node);
                    (at, literal) = (end, end);
                }
                None => at += self.part(at, to).chars().next().map_or(1, char::len_utf8),
            }
        }
        self.literal(literal, to, &mut nodes);
        match nodes.as_slice() {
            [only] => Rc::clone(only),
            _ => Rc::new(Node::Sequence(nodes)),
        }
    }

    fn literal(&self, from: usize, to: usize, nodes: &mut Vec<Rc<Node>>) {
        if from < to {
            nodes.push(Rc::new(Node::Literal(Words(self.traced.slice(from..to)))));
        }
    }

    /// The form that starts at `at` and ends before `to`, and its end.
    fn form(&mut self, at: usize, to: usize, inside: Inside, depth: usize) -> Option<(Rc<Node>, usize)> {
        let rest = self.part(at, to);
        let bracket = match rest.as_bytes() {
            [b'{', ..] => at,
            [b'$' | b'%', b'{', ..] => at + 1,
            [b'_', b'_', ..] if inside != Inside::Path => return self.wildcard(at, to, depth),
            _ => return None,
        };
        let end = self.end_of(bracket).filter(|end| *end < to)?;
        if depth >= DEEPEST {
            let message = format!("forms are nested more than {DEEPEST} deep; this one is read as text");
            self.remark(at, at + 1, |span| Diagnostic::error("nested-too-deep", span, message));
            return None;
        }
        let node = match rest.as_bytes().first() {
            Some(b'$') => self.variable(bracket + 1, end, inside, depth)?,
            Some(b'%') => self.wrap(bracket + 1, end, depth)?,
            _ => self.variant(bracket + 1, end, depth),
        };
        Some((Rc::new(node), end + 1))
    }

    /// The inside of `${…}`.
    fn variable(&mut self, from: usize, to: usize, inside: Inside, depth: usize) -> Option<Node> {
        let text = self.part(from, to);
        let trimmed = text.trim_start();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let name = trimmed.get(..trimmed.len() - trimmed.trim_start_matches(is_name).len()).unwrap_or_default();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let message = "a variable's name starts with a letter, _ or -; this is read as text";
            self.remark(from - 2, to + 1, |span| Diagnostic::error("bad-variable", span, message));
            return None;
        }
        let place = Place(self.span(from - 2, to + 1));
        let name = name.to_owned();
        let rest = trimmed.get(name.len()..).unwrap_or_default().trim_start();
        if rest.is_empty() {
            let words = || Words(Traced::standing_for(&name, place.0.clone()));
            let default = (inside == Inside::Path).then(|| Rc::new(Node::Literal(words())));
            return Some(Node::Access { name, default, place });
        }
        if let Some(default) = rest.strip_prefix(':') {
            let node = match inside {
                Inside::Path => {
                    let words = Traced::standing_for(default.trim(), place.0.clone());
                    Rc::new(Node::Literal(Words(words)))
                }
                _ => self.prompt(to - default.trim_start().len(), to, Inside::Form, depth + 1),
            };
            return Some(Node::Access { name, default: Some(node), place });
        }
        let (overwrite, rest) = rest.strip_prefix('?').map_or((true, rest), |rest| (false, rest));
        let Some(value) = rest.strip_prefix('=') else {
            let message =
                "a variable is used as ${name} or ${name:default} and set as ${name=value}; this is read as text";
            self.remark(from - 2, to + 1, |span| Diagnostic::error("bad-variable", span, message));
            return None;
        };
        let (immediate, value) = value.strip_prefix('!').map_or((false, value), |value| (true, value));
        let value = self.prompt(to - value.trim_start().len(), to, Inside::Form, depth + 1);
        Some(Node::Assign { name, value, immediate, overwrite })
    }

    /// The inside of `%{…}`.
    fn wrap(&mut self, from: usize, to: usize, depth: usize) -> Option<Node> {
        let Some(middle) = self.find_outside(from, to, "$$") else {
            let message = "a wrap looks like %{before ... after$$inside}; this is read as text";
            self.remark(from - 2, to + 1, |span| Diagnostic::error("bad-wrap", span, message));
            return None;
        };
        let start = to - self.part(from, to).trim_start().len();
        let wrapper = self.prompt(start.min(middle), middle, Inside::Form, depth + 1);
        let inner = self.part(middle + 2, to).trim_start();
        let inner = self.prompt(to - inner.len(), to, Inside::Form, depth + 1);
        Some(Node::Wrap { wrapper, inner })
    }

    /// The first `mark` between `from` and `to` that is in no bracket.
    fn find_outside(&self, from: usize, to: usize, mark: &str) -> Option<usize> {
        let mut at = from;
        loop {
            let rest = self.part(at, to);
            let first = mark.chars().next()?;
            at += rest.find(['{', first])?;
            match self.end_of(at).filter(|end| *end < to) {
                Some(end) => at = end + 1,
                None if self.part(at, to).starts_with(mark) => return Some(at),
                None => at += 1,
            }
        }
    }

    /// The inside of `{…}`.
    fn variant(&mut self, from: usize, to: usize, depth: usize) -> Node {
        let mut at = to - self.part(from, to).trim_start().len();
        let method = method_of(self.part(at, to));
        at += usize::from(method.is_some());
        let bounds = bounds(self.part(at, to));
        at += bounds.as_ref().map_or(0, |bounds| bounds.length);
        let mut options = Vec::new();
        let mut start = at;
        loop {
            let end = self.find_outside(start, to, "|").unwrap_or(to);
            options.push(self.option(start, end, depth));
            start = end + 1;
            if end >= to {
                break;
            }
        }
        let (mut min, mut max, mut separator) = (1, 1, SEPARATOR.to_owned());
        if let Some(bounds) = bounds {
            (min, max) = (bounds.lower.unwrap_or(1), bounds.upper.unwrap_or(options.len()));
            separator = bounds.separator;
        }
        let place = Place(self.span(from - 1, to + 1));
        Node::Variant(Variant { options, min: min.min(max), max: min.max(max), separator, method, place })
    }

    fn option(&mut self, from: usize, to: usize, depth: usize) -> Choosable {
        let text = self.part(from, to).trim_start();
        let number = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let weight = text.get(number..).unwrap_or_default().strip_prefix("::").and_then(|value| {
            let weight = text.get(..number)?.parse::<f64>().ok().filter(|weight| weight.is_finite())?;
            Some((weight, to - value.len()))
        });
        let (weight, start) = weight.unwrap_or((1.0, to - text.len()));
        Choosable { weight, value: self.prompt(start, to, Inside::Form, depth + 1) }
    }

    /// `__path__` at `at`.
    fn wildcard(&mut self, at: usize, to: usize, depth: usize) -> Option<(Rc<Node>, usize)> {
        let method = method_of(self.part(at + 2, to));
        let start = at + 2 + usize::from(method.is_some());
        if depth >= DEEPEST {
            return None;
        }
        let close = self.end_of_wildcard(start, to)?;
        let path = self.part(start, close);
        let (path_end, spec) = match path.split_once('(') {
            Some((name, spec)) => (start + name.len(), Some(spec.strip_suffix(')')?)),
            None => (close, None),
        };
        if path_end == start || path.contains(['\n', ',']) && spec.is_none() {
            return None;
        }
        let trimmed = self.part(start, path_end).trim();
        let from = start + self.part(start, path_end).find(trimmed).unwrap_or_default();
        let node = self.prompt(from, from + trimmed.len(), Inside::Path, depth + 1);
        let variables =
            spec.map_or_else(Vec::new, |spec| self.parameters(path_end + 1, path_end + 1 + spec.len(), depth));
        let place = Place(self.span(at, close + 2));
        Some((Rc::new(Node::Wildcard { path: node, method, variables, place }), close + 2))
    }

    /// The `__` that closes a wildcard whose name starts at `from`; in its parameters other wildcards may stand.
    fn end_of_wildcard(&self, from: usize, to: usize) -> Option<usize> {
        let first = self.find_outside(from, to, "__")?;
        let spec = self.part(from, first).find('(').map(|length| from + length);
        let closed = spec.and_then(|open| self.end_of(open)).map(|end| end + 1);
        let is_close = |close: &usize| *close > first && self.part(*close, to).starts_with("__");
        Some(closed.filter(is_close).unwrap_or(first))
    }

    /// Where a parameter ends: at a comma that is in no bracket and in no other wildcard's parameters.
    fn end_of_parameter(&self, from: usize, to: usize) -> usize {
        let mut at = from;
        while let Some(comma) = self.find_outside(at, to, ",") {
            let mut open = self.part(at, comma).match_indices('(').map(|(length, _)| at + length);
            let is_wildcard = |end: &usize| *end > comma && *end < to && self.part(*end + 1, to).starts_with("__");
            match open.find_map(|open| self.end_of(open).filter(is_wildcard)) {
                Some(end) => at = end + 1,
                None => return comma,
            }
        }
        to
    }

    /// `key=value, key=value`.
    fn parameters(&mut self, from: usize, to: usize, depth: usize) -> Vec<(String, Rc<Node>)> {
        let mut found = Vec::new();
        let mut start = from;
        while start <= to {
            let end = self.end_of_parameter(start, to);
            let (key, value) = self.part(start, end).split_once('=').unwrap_or((self.part(start, end), ""));
            let value_start = end - value.trim_start().len();
            let value_end = (value_start + value.trim().len()).min(end);
            found.push((key.trim().to_owned(), self.prompt(value_start, value_end, Inside::Form, depth + 1)));
            start = end + 1;
        }
        found
    }
}

fn method_of(text: &str) -> Option<Method> {
    match text.as_bytes().first() {
        Some(b'~') => Some(Method::Random),
        Some(b'!') => Some(Method::Combinatorial),
        Some(b'@') => Some(Method::Cyclical),
        _ => None,
    }
}

/// `2$$`, `1-3$$`, `-3$$ and $$` …
struct Bounds {
    lower: Option<usize>,
    upper: Option<usize>,
    separator: String,
    length: usize,
}

fn bounds(text: &str) -> Option<Bounds> {
    let number = |text: &str| {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        // More options than fit into memory are as good as all.
        (digits > 0).then(|| (text.get(..digits).unwrap_or_default().parse().unwrap_or(usize::MAX), digits))
    };
    let (first, first_length) = number(text).unzip();
    let rest = text.get(first_length.unwrap_or(0)..)?;
    let (is_range, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let (second, second_length) = if is_range { number(rest).unzip() } else { (None, None) };
    let rest = rest.get(second_length.unwrap_or(0)..)?.strip_prefix("$$")?;
    if first.is_none() && second.is_none() {
        return None;
    }
    let (lower, upper) = if is_range { (first, second) } else { (first, first) };
    let separator_end = rest.find(|c: char| "${}".contains(c) || c.is_control());
    let separator = separator_end.filter(|end| *end > 0).and_then(|end| {
        let after = rest.get(end..)?.strip_prefix("$$")?;
        Some((rest.get(..end)?.to_owned(), after.len()))
    });
    let (separator, left) = separator.unwrap_or_else(|| (SEPARATOR.to_owned(), rest.len()));
    Some(Bounds { lower, upper, separator, length: text.len() - left })
}
