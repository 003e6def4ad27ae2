//! ComfyUI's round brackets: plain ones multiply by 1.1, a number at the end replaces what is outside.
//!
//! Behaviour: ComfyUI's `comfy/sd1_clip.py`, `token_weights`, its reading of unbalanced brackets included; brackets are
//! matched once, so it takes linear time.

use std::ops::Range;

use crate::prompt::emphasis::{UP, parse_number};

/// A number longer than this is none.
const LONGEST_NUMBER: usize = 40;

/// The texts between the brackets, in bytes, and their weights; escapes are still in them.
pub(super) fn weights(text: &str) -> Vec<(Range<usize>, f64)> {
    Reader::new(text).run()
}

struct Reader<'a> {
    text: &'a str,
    /// The brackets, ascending: byte, whether it opens, and the index of its other half.
    brackets: Vec<(usize, bool, Option<usize>)>,
    colons: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let mut brackets: Vec<(usize, bool, Option<usize>)> = Vec::new();
        let (mut open, mut colons) = (Vec::new(), Vec::new());
        let mut is_escaped = false;
        // Closing brackets too many: as many opening ones after them do not open.
        let mut missing = 0_usize;
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'(' | b')' if is_escaped => {}
                b'(' if missing > 0 => missing -= 1,
                b'(' => {
                    open.push(brackets.len());
                    brackets.push((at, true, None));
                }
                b')' => match open.pop() {
                    Some(first) => {
                        let this = brackets.len();
                        if let Some((_, _, other)) = brackets.get_mut(first) {
                            *other = Some(this);
                        }
                        brackets.push((at, false, Some(first)));
                    }
                    None => missing += 1,
                },
                b':' => colons.push(at),
                _ => {}
            }
            is_escaped = byte == b'\\';
        }
        Self { text, brackets, colons }
    }

    fn run(&self) -> Vec<(Range<usize>, f64)> {
        let mut found = Vec::new();
        // What is still to be read, the next on top: bytes, the brackets inside them, weight.
        let mut work = vec![(0..self.text.len(), 0..self.brackets.len(), 1.0)];
        while let Some((bytes, inside, weight)) = work.pop() {
            let mut keep = |range: Range<usize>| {
                if !range.is_empty() {
                    found.push((range, weight));
                }
            };
            let Some(&(at, _, other)) = self.brackets.get(inside.clone()).and_then(<[_]>::first) else {
                keep(bytes);
                continue;
            };
            keep(bytes.start..at);
            let close = other.filter(|other| *other < inside.end);
            let (end, last) = match close.and_then(|close| Some((self.brackets.get(close)?.0, close))) {
                Some((end, close)) => {
                    work.push((end + 1..bytes.end, close + 1..inside.end, weight));
                    (end, close)
                }
                // Never closed: a bracket at the very end is taken for its other half.
                None if bytes.end > at + 1 && self.ends_with_bracket(&bytes) => (bytes.end - 1, inside.end - 1),
                None => {
                    keep(at..bytes.end);
                    continue;
                }
            };
            let (end, weight) = self.number(at + 1, end).unwrap_or((end, weight * UP));
            let last = self.brackets.partition_point(|(place, ..)| *place < end).min(last);
            work.push((at + 1..end, inside.start + 1..last, weight.clamp(-1e9, 1e9)));
        }
        found
    }

    fn ends_with_bracket(&self, bytes: &Range<usize>) -> bool {
        let text = self.text.get(bytes.clone()).unwrap_or_default();
        text.ends_with(')') && !text.ends_with("\\)")
    }

    /// The number after the last colon between two bytes, and the colon.
    fn number(&self, from: usize, to: usize) -> Option<(usize, f64)> {
        let last = self.colons.partition_point(|colon| *colon < to).checked_sub(1)?;
        let colon = self.colons.get(last).copied().filter(|colon| *colon > from)?;
        let text = self.text.get(colon + 1..to)?.trim();
        (text.len() <= LONGEST_NUMBER).then(|| parse_number(text)).flatten().map(|weight| (colon, weight))
    }
}

/// Text without the backslashes before brackets.
pub(super) fn unescape(text: &str) -> String {
    text.replace("\\)", ")").replace("\\(", "(")
}
