//! A prompt as a row of chips: its phrases between commas and line ends, in order, each with a weight, on or off.
//!
//! A chip that is off is a comment on a line of its own, so that the text shows it and every program leaves it out. Changes
//! give a whole new text: the words of all other chips, and what stands between them, stay as they are. Brackets hold
//! together what is inside them.

use std::ops::Range;

use super::emphasis::{self, closing_number, parse_number};
use super::lint::short;

/// One phrase.
#[derive(Debug, Clone, PartialEq)]
pub struct Chip {
    /// With its brackets, without white space and comment sign.
    pub text: String,
    /// Where that stands, in bytes.
    pub span: Range<usize>,
    /// Whether it counts; otherwise it is a comment.
    pub is_on: bool,
}

/// All phrases of a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chips {
    chips: Vec<Chip>,
    /// What stands before the first chip that is on, between them, and behind the last one.
    between: Vec<String>,
}

impl Chip {
    /// The words without the brackets around all of it, and how much those make it count.
    pub fn parts(&self) -> (&str, f64) {
        whole_bracket(&self.text).unwrap_or((&self.text, 1.0))
    }
}

impl Chips {
    /// Reads a text. Never fails.
    pub fn read(text: &str) -> Self {
        let mut reader = Reader { text, chips: Self { chips: Vec::new(), between: vec![String::new()] }, from: 0 };
        reader.run();
        reader.chips
    }

    /// The chips, in order.
    pub fn list(&self) -> &[Chip] {
        &self.chips
    }

    /// The text with the chip `from` where the chip `to` is now. `None` if there is no such chip.
    pub fn moved(mut self, from: usize, to: usize) -> Option<String> {
        if from >= self.chips.len() || to >= self.chips.len() {
            return None;
        }
        let chip = self.chips.remove(from);
        self.chips.insert(to, chip);
        Some(self.written())
    }

    /// The text with the chip on instead of off, or off instead of on. `None` if there is no such chip.
    pub fn toggled(mut self, index: usize) -> Option<String> {
        let on_before = self.chips.get(..index)?.iter().filter(|chip| chip.is_on).count();
        let chip = self.chips.get_mut(index)?;
        chip.is_on = !chip.is_on;
        match chip.is_on {
            // One place more between chips that are on.
            true => self.between.insert(on_before + 1, ", ".to_owned()),
            false => self.close_gap(on_before),
        }
        Some(self.written())
    }

    /// The text without the chip. `None` if there is no such chip.
    pub fn removed(mut self, index: usize) -> Option<String> {
        let on_before = self.chips.get(..index)?.iter().filter(|chip| chip.is_on).count();
        let chip = self.chips.get(index)?;
        if chip.is_on {
            self.close_gap(on_before);
        }
        self.chips.remove(index);
        Some(self.written())
    }

    /// The text with `weight` for the chip. `None` if there is no such chip.
    pub fn weighted(mut self, index: usize, weight: f64) -> Option<String> {
        let chip = self.chips.get_mut(index)?;
        let words = chip.parts().0;
        let weight = (weight * 1e4).round() / 1e4;
        chip.text = if weight == 1.0 { words.to_owned() } else { format!("({words}:{})", short(weight)) };
        Some(self.written())
    }

    /// Takes one of the two places beside the chip that goes: the one behind it, unless it is the last.
    fn close_gap(&mut self, on_before: usize) {
        let is_last = on_before + 2 >= self.between.len();
        let gone = if is_last && on_before > 0 { on_before } else { on_before + 1 };
        if gone < self.between.len() && self.between.len() > 1 {
            self.between.remove(gone);
        }
    }

    fn written(&self) -> String {
        let mut text = String::new();
        let on = self.chips.iter().filter(|chip| chip.is_on).count();
        let mut place = 0;
        let mut pending = self.between.first().cloned().unwrap_or_default();
        for chip in &self.chips {
            if chip.is_on {
                text.push_str(&pending);
                text.push_str(&chip.text);
                place += 1;
                pending = self.between.get(place).cloned().unwrap_or_default();
                if place < on && !pending.contains([',', '\n']) {
                    pending.insert(0, ',');
                }
                if place < on && pending == "," {
                    pending.push(' ');
                }
                continue;
            }
            // A comma belongs to the phrase before it, not to the comment.
            if let Some(comma) = pending.find(',') {
                text.push_str(pending.get(..=comma).unwrap_or_default());
                pending = pending.get(comma + 1..).unwrap_or_default().trim_start_matches([' ', '\t']).to_owned();
            }
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str("# ");
            text.push_str(&chip.text);
            text.push('\n');
        }
        text.push_str(&pending);
        text
    }
}

struct Reader<'a> {
    text: &'a str,
    chips: Chips,
    /// Where what is not yet part of a chip begins.
    from: usize,
}

impl Reader<'_> {
    fn run(&mut self) {
        let mut at = 0;
        let mut depth = 0_usize;
        let mut start = 0;
        while let Some(c) = self.text.get(at..).and_then(|rest| rest.chars().next()) {
            let next = at + c.len_utf8();
            match c {
                '\\' => {
                    let escaped = self.text.get(next..).and_then(|rest| rest.chars().next());
                    at = next + escaped.map_or(0, char::len_utf8);
                    continue;
                }
                '#' => {
                    self.phrase(start..at);
                    let end = self.text.get(at..).and_then(|rest| rest.find('\n')).map_or(self.text.len(), |n| at + n);
                    self.comment(at, end);
                    // The line end behind a comment on its own line goes with it.
                    at = (end + 1).min(self.text.len());
                    (start, self.from, depth) = (at, at, 0);
                    continue;
                }
                '(' | '[' | '{' | '<' => depth += 1,
                ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    self.phrase(start..at);
                    start = next;
                }
                '\n' => {
                    self.phrase(start..at);
                    (start, depth) = (next, 0);
                }
                _ => {}
            }
            at = next;
        }
        self.phrase(start..self.text.len());
        let rest = self.text.get(self.from..).unwrap_or_default();
        self.add_between(rest);
    }

    /// Text that lies between chips.
    fn add_between(&mut self, text: &str) {
        if let Some(last) = self.chips.between.last_mut() {
            last.push_str(text);
        }
    }

    fn phrase(&mut self, range: Range<usize>) {
        let piece = self.text.get(range.clone()).unwrap_or_default();
        let words = piece.trim();
        if words.is_empty() {
            return;
        }
        let start = range.start + piece.len() - piece.trim_start().len();
        let span = start..start + words.len();
        let before = self.text.get(self.from..span.start).unwrap_or_default();
        self.add_between(before);
        self.chips.between.push(String::new());
        self.from = span.end;
        self.chips.chips.push(Chip { text: words.to_owned(), span, is_on: true });
    }

    fn comment(&mut self, at: usize, end: usize) {
        let before = self.text.get(self.from..at).unwrap_or_default();
        // The line end before a comment is the comment's, too.
        self.add_between(before.strip_suffix('\n').unwrap_or(before));
        let written = self.text.get(at + 1..end).unwrap_or_default();
        let is_sign = |c: char| c == '#' || c.is_whitespace();
        let words = written.trim_start_matches(is_sign).trim_end_matches(|c: char| c == ',' || c.is_whitespace());
        if !words.is_empty() {
            let start = at + 1 + written.len() - written.trim_start_matches(is_sign).len();
            self.chips.chips.push(Chip { text: words.to_owned(), span: start..start + words.len(), is_on: false });
        }
    }
}

/// The inside of a bracket that is around all of `text`, and what it multiplies by.
fn whole_bracket(text: &str) -> Option<(&str, f64)> {
    let mut depth = 0_usize;
    let mut chars = text.char_indices();
    let (_, open) = chars.next().filter(|(_, c)| *c == '(' || *c == '[')?;
    let mut is_escaped = false;
    let mut separators = 0;
    for (at, c) in chars {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '(' | '[' => depth += 1,
            ')' | ']' if depth > 0 => depth -= 1,
            ')' | ']' if at + 1 < text.len() => return None,
            ':' | '|' if depth == 0 => separators += 1,
            _ => {}
        }
    }
    let close = if open == '(' { ')' } else { ']' };
    let inside = text.get(1..text.len() - 1).filter(|_| depth == 0 && !is_escaped && text.ends_with(close))?;
    if open == '[' {
        return (separators == 0).then_some((inside, emphasis::DOWN));
    }
    let number = inside.rfind(':').and_then(|colon| {
        let (number, _) = closing_number(text, colon + 1)?;
        Some((inside.get(..colon)?, text.get(number).and_then(parse_number)?))
    });
    Some(number.unwrap_or((inside, emphasis::UP)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::comment;
    use crate::prompt::source::Traced;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let chips = Chips::read(text);
        let show = |chip: &Chip| {
            assert_eq!(&text[chip.span.clone()], chip.text);
            format!("{}{}", if chip.is_on { "" } else { "#" }, chip.text)
        };
        chips.list().iter().map(show).collect()
    }

    #[test]
    fn phrases_become_chips() {
        assert_eq!(shown("a fox, (red, blue:1.2),\n at sea"), ["a fox", "(red, blue:1.2)", "at sea"]);
        assert_eq!(shown("a fox,\n# foggy,\nat sea # note"), ["a fox", "#foggy", "at sea", "#note"]);
        assert_eq!(shown(r"a \(b, c\), {x,y|z}, <lora:a:1>"), [r"a \(b", r"c\)", "{x,y|z}", "<lora:a:1>"]);
        assert_eq!(shown(" , ,\n"), [""; 0]);
        assert_eq!(shown("(open, a\nb"), ["(open, a", "b"]);
    }

    #[test]
    fn weights_are_read_and_written() {
        let parts =
            |text: &str| Chips::read(text).list().first().map(|chip| (chip.parts().0.to_owned(), chip.parts().1));
        assert_eq!(parts("(red fox:1.25)"), Some(("red fox".to_owned(), 1.25)));
        assert_eq!(parts("(red)"), Some(("red".to_owned(), emphasis::UP)));
        assert_eq!(parts("[red]"), Some(("red".to_owned(), emphasis::DOWN)));
        assert_eq!(parts("[red|blue]"), Some(("[red|blue]".to_owned(), 1.0)));
        assert_eq!(parts("(a) and (b)"), Some(("(a) and (b)".to_owned(), 1.0)));
        assert_eq!(Chips::read("a, red").weighted(1, 1.3).as_deref(), Some("a, (red:1.3)"));
        assert_eq!(Chips::read("a, (red:1.3)").weighted(1, 1.0).as_deref(), Some("a, red"));
        assert_eq!(Chips::read("a").weighted(1, 1.0), None);
    }

    #[test]
    fn chips_are_moved_within_what_is_between_them() {
        assert_eq!(Chips::read("a, b,\n c").moved(2, 0).as_deref(), Some("c, a,\n b"));
        assert_eq!(Chips::read("a, b\n# c\nd").moved(2, 0).as_deref(), Some("# c\na, b, d"));
        assert_eq!(Chips::read("a").moved(0, 1), None);
    }

    #[test]
    fn what_is_off_is_a_comment() {
        let off = Chips::read("a fox, foggy, at sea").toggled(1);
        assert_eq!(off.as_deref(), Some("a fox,\n# foggy\nat sea"));
        assert_eq!(Chips::read("a fox,\n# foggy\nat sea").toggled(1).as_deref(), Some("a fox, foggy, at sea"));
        assert_eq!(Chips::read("foggy").toggled(0).as_deref(), Some("# foggy\n"));
        assert_eq!(Chips::read("a, foggy").toggled(1).as_deref(), Some("a\n# foggy\n"));
        assert_eq!(Chips::read("a, foggy, b").removed(1).as_deref(), Some("a, b"));
        assert_eq!(Chips::read("a, b").removed(1).as_deref(), Some("a"));
    }

    /// The phrases that count.
    fn counting(text: &str) -> Vec<String> {
        let plain = comment::strip(&Traced::new(text)).0;
        Chips::read(plain.text()).list().iter().map(|chip| chip.text.clone()).collect()
    }

    proptest! {
        #[test]
        fn moving_and_toggling_change_nothing_else(text in r"[abc,\n #]{0,24}", one in 0usize..6, other in 0usize..6) {
            let chips = Chips::read(&text);
            let on: Vec<String> = chips.list().iter().filter(|chip| chip.is_on).map(|chip| chip.text.clone()).collect();
            prop_assert_eq!(counting(&text), on.clone());
            if let Some(moved) = chips.clone().moved(one, other) {
                let mut found = counting(&moved);
                let mut wanted = on.clone();
                found.sort();
                wanted.sort();
                prop_assert_eq!(found, wanted, "{:?} from {} to {}: {:?}", text, one, other, moved);
                prop_assert_eq!(Chips::read(&moved).list().len(), chips.list().len());
            }
            // A comment may hold commas or signs of its own; on, it is more than one phrase.
            let is_one = |chip: &Chip| !chip.text.contains([',', '#']);
            if let Some(off) = chips.clone().toggled(one).filter(|_| chips.list().get(one).is_some_and(is_one)) {
                let found = Chips::read(&off);
                let flags: Vec<bool> = found.list().iter().map(|chip| chip.is_on).collect();
                let mut wanted: Vec<bool> = chips.list().iter().map(|chip| chip.is_on).collect();
                wanted[one] = !wanted[one];
                prop_assert_eq!(flags, wanted, "{:?} toggled {}: {:?}", text, one, off);
            }
        }
    }
}
