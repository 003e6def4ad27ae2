//! What each stretch of a prompt is, for colouring it: brackets, weights, schedules, wildcards, comments, text with its weight.
//!
//! One pass over the text, so that it can be done at every key. The pieces follow each other without gaps and cover the text.
//! Weights are those of [`super::emphasis`]; forms that are not whole are text, as for the parsers.
//!
//! # Limitations
//! A1111 gives up on all schedules of a prompt when a `|` stands outside of an alternation; here the others keep their colour.

mod braces;
mod weights;

use std::ops::Range;

use super::emphasis::{self, closing_number, parse_number};
use super::source::is_word;
use weights::Pair;

/// Bytes in which the end of a wildcard or an extra network is looked for.
const LONGEST_NAME: usize = 400;

/// What a stretch of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Words for the encoder.
    Text,
    /// A bracket that changes a weight.
    Emphasis,
    /// The number of a weight.
    Weight,
    /// Brackets, separators and numbers of schedules and alternations.
    Schedule,
    /// `AND` or `BREAK`.
    Keyword,
    /// `<lora:name:0.8>` and its kind.
    Network,
    /// From `#` to the end of the line.
    Comment,
    /// `__name__`.
    Wildcard,
    /// Braces, separators and numbers of variants, and the braces of wraps.
    Variant,
    /// `${name}` and what belongs to it.
    Variable,
    /// `{subject}` and other holes of templates.
    Slot,
}

/// A stretch of one role.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Where, in bytes.
    pub span: Range<usize>,
    /// What it is.
    pub role: Role,
    /// How much text counts here; 1 is as usual.
    pub weight: f32,
}

/// The pieces of `text`, in order.
pub fn highlight(text: &str) -> Vec<Piece> {
    let mut lexer = Lexer {
        text,
        marks: Vec::new(),
        pairs: Vec::new(),
        open: Vec::new(),
        places: [const { Vec::new() }; 3],
        separators: Vec::new(),
    };
    lexer.run();
    let mut marks = lexer.marks;
    marks.sort_by_key(|(span, _)| span.start);
    join(text.len(), &marks, &weights::levels(text.len(), lexer.pairs))
}

type Mark = (Range<usize>, Role);

/// A bracket that is open: what it looks like, where it stands, its mark, and the last separator directly inside it.
///
/// There may be a million of them, so it is small.
struct Open {
    shape: Shape,
    at: usize,
    mark: usize,
    last: Option<usize>,
}

/// A colon or bar directly inside a bracket, and the one before it in the same bracket.
struct Separator {
    at: usize,
    is_bar: bool,
    before: Option<usize>,
}

struct Lexer<'a> {
    text: &'a str,
    marks: Vec<Mark>,
    pairs: Vec<Pair>,
    /// The brackets that are open; `None` for one that was closed before those in it. The last one is never `None`.
    open: Vec<Option<Open>>,
    /// Where in `open` the brackets of each [`Shape`] are.
    places: [Vec<usize>; 3],
    separators: Vec<Separator>,
}

/// What a bracket looks like.
#[derive(Clone, Copy)]
enum Shape {
    Round,
    Square,
    Brace,
}

impl Lexer<'_> {
    fn run(&mut self) {
        let mut at = 0;
        while let Some(c) = self.rest(at).chars().next() {
            at = self.step(at, c);
        }
        for open in std::mem::take(&mut self.open).into_iter().flatten() {
            let inside = open.at + 1..self.text.len();
            match open.shape {
                Shape::Round => self.pairs.push(Pair { inside, factor: emphasis::UP }),
                Shape::Square => self.pairs.push(Pair { inside, factor: emphasis::DOWN }),
                // An open brace is text.
                Shape::Brace => self.marks[open.mark].1 = Role::Text,
            }
        }
    }

    fn rest(&self, at: usize) -> &str {
        self.text.get(at..).unwrap_or_default()
    }

    /// Reads what begins with `c` at byte `at`; gives the byte behind it.
    fn step(&mut self, at: usize, c: char) -> usize {
        let next = at + c.len_utf8();
        match c {
            '\\' => {
                if let Some('\\' | '(' | ')' | '[' | ']') = self.rest(next).chars().next() {
                    return next + 1;
                }
            }
            '#' => {
                let end = self.rest(at).find('\n').map_or(self.text.len(), |length| at + length);
                self.marks.push((at..end, Role::Comment));
                return end;
            }
            '<' => return self.network(at).unwrap_or(next),
            '_' if self.rest(next).starts_with('_') => return self.wildcard(at).unwrap_or(next + 1),
            '(' => self.push(Shape::Round, at, (at..next, Role::Emphasis)),
            '[' => self.push(Shape::Square, at, (at..next, Role::Emphasis)),
            '{' => self.open_brace(at),
            ')' => self.close_round(at, emphasis::UP, at),
            ']' => self.close_square(at),
            '}' => self.close_brace(at),
            ':' => return self.colon(at),
            '|' => self.separator(at, true),
            _ if c.is_ascii_uppercase() => return self.keyword(at),
            _ => return at + self.plain(at),
        }
        next
    }

    /// Bytes of ordinary text from `at` on, at least one character.
    fn plain(&self, at: usize) -> usize {
        let rest = self.rest(at);
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let is_special = |c: char| "\\#<_()[]{}:|".contains(c) || c.is_ascii_uppercase();
        rest.get(first..).and_then(|rest| rest.find(is_special)).map_or(rest.len(), |length| first + length)
    }

    /// `AND` or `BREAK`, or any other word with a capital letter.
    fn keyword(&mut self, at: usize) -> usize {
        let rest = self.rest(at);
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let starts = !self.text.get(..at).and_then(|before| before.chars().next_back()).is_some_and(is_word);
        // Inside brackets BREAK is an ordinary word, as in A1111.
        let is_keyword = starts && (word == "AND" || (word == "BREAK" && self.open.is_empty()));
        if is_keyword {
            self.marks.push((at..at + length, Role::Keyword));
            return at + length;
        }
        // A word may hold a wildcard.
        at + word.find("__").filter(|start| *start > 0).unwrap_or(length).max(1)
    }

    fn network(&mut self, at: usize) -> Option<usize> {
        let near = near(self.rest(at + 1));
        let kind = near.find(|c| !is_word(c)).filter(|length| *length > 0)?;
        let args = near.get(kind..)?.strip_prefix(':')?;
        let length = args.find('>').filter(|length| *length > 0)?;
        let end = at + 1 + kind + 1 + length + 1;
        self.marks.push((at..end, Role::Network));
        Some(end)
    }

    fn wildcard(&mut self, at: usize) -> Option<usize> {
        let near = near(self.rest(at + 2));
        let line = near.get(..near.find('\n').unwrap_or(near.len()))?;
        let length = line.find("__").filter(|length| *length > 0)?;
        let name = line.get(..length)?;
        // Space and commas stand in the values of parameters only.
        let path = name.get(..name.find('(').unwrap_or(length))?;
        if path.contains([' ', ',']) {
            return None;
        }
        let end = at + 2 + length + 2;
        self.marks.push((at..end, Role::Wildcard));
        Some(end)
    }

    /// A bracket opens at byte `at`.
    fn push(&mut self, shape: Shape, at: usize, mark: Mark) {
        self.places[shape as usize].push(self.open.len());
        self.open.push(Some(Open { shape, at, mark: self.marks.len(), last: None }));
        self.marks.push(mark);
    }

    /// A colon or bar, which belongs to the innermost bracket.
    fn separator(&mut self, at: usize, is_bar: bool) {
        if let Some(Some(open)) = self.open.last_mut() {
            self.separators.push(Separator { at, is_bar, before: open.last.replace(self.separators.len()) });
        }
    }

    /// The bytes of the colons or bars directly inside a bracket, in order.
    fn inside(&self, open: &Open, bars: bool) -> Vec<usize> {
        let before = |separator: &&Separator| separator.before.and_then(|before| self.separators.get(before));
        let all = std::iter::successors(open.last.and_then(|last| self.separators.get(last)), before);
        let mut places: Vec<usize> = all.filter(|one| one.is_bar == bars).map(|one| one.at).collect();
        places.reverse();
        places
    }

    /// Takes the innermost open bracket of a shape, wherever others stand.
    fn pop(&mut self, shape: Shape) -> Option<Open> {
        let place = self.places[shape as usize].pop()?;
        let open = self.open.get_mut(place)?.take();
        while let Some(None) = self.open.last() {
            self.open.pop();
        }
        open
    }

    /// Closes the innermost round bracket, wherever other brackets stand: round and square ones may cross.
    fn close_round(&mut self, at: usize, factor: f64, inside_end: usize) {
        if let Some(open) = self.pop(Shape::Round) {
            self.pairs.push(Pair { inside: open.at + 1..inside_end, factor });
            self.marks.push((at..at + 1, Role::Emphasis));
        }
    }

    fn colon(&mut self, at: usize) -> usize {
        if !self.places[Shape::Round as usize].is_empty()
            && let Some((number, end)) = closing_number(self.text, at)
        {
            let factor = self.text.get(number).and_then(parse_number);
            if let Some(factor) = factor {
                self.marks.push((at..end - 1, Role::Weight));
                self.close_round(end - 1, factor, at);
                return end;
            }
        }
        self.separator(at, false);
        at + 1
    }

    fn close_square(&mut self, at: usize) {
        let Some(open) = self.pop(Shape::Square) else { return };
        let (bars, colons) = (self.inside(&open, true), self.inside(&open, false));
        let Open { at: open, mark, .. } = open;
        let schedule = |span: Range<usize>| (span, Role::Schedule);
        if !bars.is_empty() {
            self.marks[mark].1 = Role::Schedule;
            self.marks.extend(bars.into_iter().map(|bar| schedule(bar..bar + 1)));
            self.marks.push(schedule(at..at + 1));
            return;
        }
        let number = colons.last().filter(|colon| {
            let text = self.text.get(*colon + 1..at).unwrap_or_default().trim();
            text.starts_with(|c: char| c == '.' || c == '-' || c.is_ascii_digit()) && parse_number(text).is_some()
        });
        match number {
            Some(last) => {
                self.marks[mark].1 = Role::Schedule;
                if let [.., first, _] = colons.as_slice() {
                    self.marks.push(schedule(*first..first + 1));
                }
                self.marks.push(schedule(*last..at + 1));
            }
            None => {
                self.pairs.push(Pair { inside: open + 1..at, factor: emphasis::DOWN });
                self.marks.push((at..at + 1, Role::Emphasis));
            }
        }
    }
}

/// The start of `text`, as far as a name may reach.
pub(super) fn near(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Marks and weights as one list without gaps. `levels` gives the weight from a byte on.
fn join(length: usize, marks: &[Mark], levels: &[(usize, f32)]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut levels = levels.iter().peekable();
    let mut weight = 1.0;
    let mut at = 0;
    let mut text_until = |at: &mut usize, end: usize, pieces: &mut Vec<Piece>| {
        while *at < end {
            while let Some((_, level)) = levels.next_if(|(from, _)| *from <= *at) {
                weight = *level;
            }
            let until = levels.peek().map_or(end, |(from, _)| end.min(*from));
            match pieces.last_mut() {
                Some(last) if last.role == Role::Text && last.weight == weight && last.span.end == *at => {
                    last.span.end = until;
                }
                _ => pieces.push(Piece { span: *at..until, role: Role::Text, weight }),
            }
            *at = until;
        }
        weight
    };
    for (span, role) in marks.iter().filter(|(_, role)| *role != Role::Text) {
        if span.start < at {
            continue;
        }
        let weight = text_until(&mut at, span.start, &mut pieces);
        pieces.push(Piece { span: span.clone(), role: *role, weight });
        at = span.end;
    }
    text_until(&mut at, length, &mut pieces);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(text: &str, wanted: Expect) {
        let shown = highlight(text).into_iter().map(|piece| {
            let part = &text[piece.span];
            match (piece.role, piece.weight) {
                (Role::Text, 1.0) => format!("{part:?}"),
                (Role::Text, weight) => format!("{part:?}*{weight:.2}"),
                (role, _) => format!("{role:?}{part:?}"),
            }
        });
        wanted.assert_eq(&shown.collect::<Vec<_>>().join(" "));
    }

    #[test]
    fn brackets_weights_and_escapes() {
        check(
            "a (red) [fox]",
            expect![[r#""a " Emphasis"(" "red"*1.10 Emphasis")" " " Emphasis"[" "fox"*0.91 Emphasis"]""#]],
        );
        check("((x:1.3))", expect![[r#"Emphasis"(" Emphasis"(" "x"*1.43 Weight":1.3" Emphasis")" Emphasis")""#]]);
        check(r"\(x\) a:b", expect![[r#""\\(x\\) a:b""#]]);
        check("(open", expect![[r#"Emphasis"(" "open"*1.10"#]]);
        check("a) :1.2)", expect![[r#""a) :1.2)""#]]);
        check(
            "(x:-1) (y:0)",
            expect![[
                r#"Emphasis"(" "x"*-1.00 Weight":-1" Emphasis")" " " Emphasis"(" "y"*0.00 Weight":0" Emphasis")""#
            ]],
        );
    }

    #[test]
    fn schedules_and_keywords() {
        check(
            "[a:b:.5] [c|d] [e:f]",
            expect![[
                r#"Schedule"[" "a" Schedule":" "b" Schedule":.5]" " " Schedule"[" "c" Schedule"|" "d" Schedule"]" " " Emphasis"[" "e:f"*0.91 Emphasis"]""#
            ]],
        );
        check("a AND b BREAK BREAKFAST", expect![[r#""a " Keyword"AND" " b " Keyword"BREAK" " BREAKFAST""#]]);
    }

    #[test]
    fn names_and_templates() {
        check("<lora:ink:0.8> a < b # note", expect![[r##"Network"<lora:ink:0.8>" " a < b " Comment"# note""##]]);
        check("__animal/cat__ a__b", expect![[r#"Wildcard"__animal/cat__" " a__b""#]]);
        check(
            "{2$$red|0.5::blue} {subject} {open",
            expect![[r#"Variant"{2$$" "red" Variant"|" Weight"0.5::" "blue" Variant"}" " " Slot"{subject}" " {open""#]],
        );
        check(
            "${v=!{a|b}} ${v:c} %{p...$$x}",
            expect![[
                r#"Variable"${v=!" Variant"{" "a" Variant"|" "b" Variant"}" Variable"}" " " Variable"${v:" "c" Variable"}" " " Variant"%{" "p..." Variant"$$" "x" Variant"}""#
            ]],
        );
    }

    #[test]
    fn a_megabyte_of_brackets_is_read_once() {
        let deep = format!("{}x{}", "([{<_".repeat(100_000), ")]}".repeat(100_000));
        assert_eq!(highlight(&deep).last().map(|piece| piece.span.end), Some(deep.len()));
    }

    proptest! {
        #[test]
        fn pieces_cover_the_text(text in r"[ab é:.0-9(\)\[\]\{\}\\\n#<>_|$%BREAKND]{0,60}") {
            let mut at = 0;
            for piece in highlight(&text) {
                prop_assert_eq!(piece.span.start, at);
                prop_assert!(piece.span.end > at && text.get(piece.span.clone()).is_some());
                at = piece.span.end;
            }
            prop_assert_eq!(at, text.len());
        }

        #[test]
        fn weights_are_those_of_the_parser(text in r"[ab :.12()\\]{0,40}") {
            // Character by character what the parser says; brackets and numbers have no weight there.
            let pieces = highlight(&text);
            for fragment in emphasis::parse(&text).0 {
                let of_text = pieces.iter().filter(|piece| piece.role == Role::Text);
                let inside = of_text.filter(|piece| {
                    fragment.span.contains(&piece.span.start) && fragment.span.contains(&(piece.span.end - 1))
                });
                for piece in inside {
                    prop_assert!((f64::from(piece.weight) - fragment.weight).abs() < 1e-3 * fragment.weight.abs().max(1.0),
                        "{piece:?} {fragment:?}");
                }
            }
        }
    }
}
