//! Colouring what stands in braces: variants with their counts and weights, variables, wraps, holes of templates.

use super::{Lexer, Open, Role, Shape, near};

impl Lexer<'_> {
    /// `{` at byte `at`, with the `$` or `%` before it.
    pub(super) fn open_brace(&mut self, at: usize) {
        let before = at.checked_sub(1).and_then(|place| self.text.as_bytes().get(place));
        let (from, role) = match before {
            Some(b'$') => (at - 1, Role::Variable),
            Some(b'%') => (at - 1, Role::Variant),
            _ => (at, Role::Variant),
        };
        self.push(Shape::Brace, at, (from..at + 1, role));
    }

    pub(super) fn close_brace(&mut self, at: usize) {
        // What is open inside closes nothing any more: it stays open to the end, as for the parser of weights.
        let Some(brace) = self.pop(Shape::Brace) else { return };
        let Open { at: open, mark, .. } = brace;
        let from = self.marks[mark].0.start;
        // The head of a form is short; what follows may be long, and be read by many forms around it.
        let inside = near(self.text.get(open + 1..at).unwrap_or_default());
        match (from < open, self.text.as_bytes().get(from)) {
            (true, Some(b'$')) => self.variable(open, mark, inside, at),
            (true, _) => {
                if let Some(middle) = inside.find("$$").map(|length| open + 1 + length) {
                    self.marks.push((middle..middle + 2, Role::Variant));
                }
                self.marks.push((at..at + 1, Role::Variant));
            }
            (false, _) if is_slot(inside) => self.marks[mark] = (open..at + 1, Role::Slot),
            (false, _) => {
                let bars = self.inside(&brace, true);
                self.variant(open, mark, &bars, at);
            }
        }
    }

    /// `${name`, and `=`, `=!`, `?=` or `:` behind it.
    fn variable(&mut self, open: usize, mark: usize, inside: &str, at: usize) {
        let head = inside.find([':', '=']).map_or(inside.len(), |length| length + 1);
        let bang = usize::from(inside.get(head..).is_some_and(|rest| rest.starts_with('!')));
        let end = open + 1 + head + bang;
        self.marks[mark].0.end = end.min(at);
        self.marks.push((end.min(at)..at + 1, Role::Variable));
        if end < at {
            // The value is text of its own.
            if let Some(last) = self.marks.last_mut() {
                last.0.start = at;
            }
        }
    }

    fn variant(&mut self, open: usize, mark: usize, bars: &[usize], at: usize) {
        let first = near(self.text.get(open + 1..bars.first().copied().unwrap_or(at)).unwrap_or_default());
        // "2$$" or "1-2$$ and $$".
        let head = match first.find("$$") {
            Some(count) if first.get(..count).is_some_and(is_count) => {
                let rest = first.get(count + 2..).unwrap_or_default();
                count + 2 + rest.find("$$").map_or(0, |separator| separator + 2)
            }
            _ => 0,
        };
        self.marks[mark].0.end = open + 1 + head;
        let starts = std::iter::once(open + 1 + head).chain(bars.iter().map(|bar| bar + 1));
        for start in starts.collect::<Vec<_>>() {
            let option = self.text.get(start..at).unwrap_or_default();
            let digits = option.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(0);
            if digits > 0 && option.get(digits..).is_some_and(|rest| rest.starts_with("::")) {
                self.marks.push((start..start + digits + 2, Role::Weight));
            }
        }
        self.marks.extend(bars.iter().map(|bar| (*bar..bar + 1, Role::Variant)));
        self.marks.push((at..at + 1, Role::Variant));
    }
}

/// A word that stands for something: `{subject}`.
fn is_slot(inside: &str) -> bool {
    inside.starts_with(|c: char| c.is_ascii_alphabetic())
        && inside.len() <= 40
        && inside.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn is_count(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || "-~!@ ".contains(c))
}
