//! A little more or less weight for the words at the caret: what Ctrl+Up and Ctrl+Down do.
//!
//! Behaviour: AUTOMATIC1111's `javascript/edit-attention.js`. Without a selection, the bracket around the caret or else the
//! word is meant; `(x)` and `[x]` become `(x:1.1)` and `(x:0.9)` first; at 1 the brackets go. Here, unlike there, the brackets
//! of schedules and alternations are left whole.

use std::ops::Range;

use super::lint::short;

/// What ends a word.
const DELIMITERS: &str = ".,\\/!?%^*;:{}[]=`~()<>|# \r\n\t";

/// A changed text, and what is selected in it now, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nudged {
    /// The whole text.
    pub text: String,
    /// The words whose weight changed, without brackets.
    pub selection: Range<usize>,
}

/// `text` with the weight of the words in `selection` (bytes; empty for a caret) changed by `by`. `None` if there is no word.
pub fn nudge(text: &str, selection: Range<usize>, by: f64) -> Option<Nudged> {
    text.get(selection.clone())?;
    let Range { mut start, mut end } = match selection.is_empty() {
        false => inside_weight(text, &selection).unwrap_or(selection),
        true => block(text, selection.start, '<', '>')
            .or_else(|| block(text, selection.start, '(', ')'))
            .or_else(|| block(text, selection.start, '[', ']'))
            .or_else(|| word(text, selection.start))?,
    };
    let mut text = text.to_owned();
    let before = text.get(..start)?.chars().next_back();
    let after = text.get(end..)?.chars().next();
    let close = match (before, after) {
        (Some('<'), _) => '>',
        (Some('('), Some(')')) | (Some('['), Some(']')) => {
            let depth = depth(&text, start..end);
            let weight = if before == Some('(') { 1.1_f64 } else { 1.0 / 1.1 }.powi(i32::try_from(depth).ok()?);
            let weight = (weight * 10.0).round() / 10.0;
            let inside = text.get(start..end)?;
            text = format!("{}({inside}:{}){}", text.get(..start - depth)?, short(weight), text.get(end + depth..)?);
            (start, end) = (start - depth + 1, end - depth + 1);
            ')'
        }
        (Some('('), Some(':')) => ')',
        _ => {
            let words = text.get(start..end)?;
            start += words.len() - words.trim_start().len();
            end = start + words.trim().len();
            if start == end {
                return None;
            }
            text.insert_str(end, ":1)");
            text.insert(start, '(');
            (start, end) = (start + 1, end + 1);
            ')'
        }
    };
    let number = text.get(end..)?.strip_prefix(':')?;
    let length = number.find(close)?;
    let weight: f64 = number.get(..length)?.trim().parse().ok().filter(|weight: &f64| weight.is_finite())?;
    let weight = ((weight + by) * 1e4).round() / 1e4;
    if close == ')' && weight == 1.0 {
        text.replace_range(end..end + 1 + length + 1, "");
        text.remove(start - 1);
        return Some(Nudged { text, selection: start - 1..end - 1 });
    }
    text.replace_range(end + 1..end + 1 + length, &written(weight));
    Some(Nudged { text, selection: start..end })
}

/// A weight as A1111 writes it: a whole number has its ".0".
fn written(weight: f64) -> String {
    if weight.fract() == 0.0 { format!("{weight:.1}") } else { short(weight) }
}

/// The words of a selection that is a bracket with its weight: "(red:1.2)".
fn inside_weight(text: &str, selection: &Range<usize>) -> Option<Range<usize>> {
    let inside = text.get(selection.clone())?.strip_prefix('(')?.strip_suffix(')')?;
    let (words, number) = inside.rsplit_once(':')?;
    let is_one = number.trim().parse::<f64>().is_ok() && !words.contains(['(', ')']);
    is_one.then(|| selection.start + 1..selection.start + 1 + words.len())
}

/// How many pairs of the brackets at the ends of `inside` stand around it.
fn depth(text: &str, inside: Range<usize>) -> usize {
    let bytes = text.as_bytes();
    let (Some(open), Some(close)) = (inside.start.checked_sub(1).and_then(|at| bytes.get(at)), bytes.get(inside.end))
    else {
        return 0;
    };
    let left = bytes.get(..inside.start).unwrap_or_default().iter().rev().take_while(|byte| *byte == open).count();
    let right = bytes.get(inside.end..).unwrap_or_default().iter().take_while(|byte| *byte == close).count();
    left.min(right)
}

/// The words in the innermost brackets around the caret, without their weight.
fn block(text: &str, caret: usize, open: char, close: char) -> Option<Range<usize>> {
    let (before, after) = (text.get(..caret)?, text.get(caret..)?);
    let start = before.rfind(open)? + 1;
    if before.get(start..)?.contains(close) {
        return None;
    }
    let end = caret + after.find(close)?;
    let inside = text.get(start..end)?;
    if inside.contains(open) || (open == '[' && inside.contains([':', '|'])) || inside.trim().is_empty() {
        return None;
    }
    // "lora:name:0.8" keeps all but its number.
    let colon = inside.rfind(':').filter(|at| {
        let number = inside.get(at + 1..).unwrap_or_default().trim();
        number.parse::<f64>().is_ok()
    });
    match (colon, open) {
        (Some(colon), _) => Some(start..start + colon),
        (None, '<') => None,
        (None, _) => Some(start..end),
    }
}

/// The word at the caret.
fn word(text: &str, caret: usize) -> Option<Range<usize>> {
    let (before, after) = (text.get(..caret)?, text.get(caret..)?);
    let is_delimiter = |c: char| DELIMITERS.contains(c) || c.is_whitespace();
    let start = before.rfind(is_delimiter).map_or(0, |at| at + before.get(at..).map_or(1, first_length));
    let end = caret + after.find(is_delimiter).unwrap_or(after.len());
    (start < end).then_some(start..end)
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `|` is the caret, `«»` the selection, before and after.
    fn check(before: &str, by: f64, after: &str) {
        let plain: String = before.chars().filter(|c| !"¦«»".contains(*c)).collect();
        let at = |mark: char| {
            before.find(mark).map(|at| before[..at].chars().filter(|c| !"¦«»".contains(*c)).map(char::len_utf8).sum())
        };
        let selection = match (at('¦'), at('«'), at('»')) {
            (Some(caret), ..) => caret..caret,
            (_, Some(start), Some(end)) => start..end,
            _ => unreachable!("no caret in {before:?}"),
        };
        let shown = nudge(&plain, selection, by).map(|Nudged { text, selection }| {
            format!("{}«{}»{}", &text[..selection.start], &text[selection.clone()], &text[selection.end..])
        });
        assert_eq!(shown.as_deref(), (!after.is_empty()).then_some(after), "{before:?} by {by}");
    }

    #[test]
    fn a_word_is_wrapped_changed_and_unwrapped() {
        check("a red¦ fox", 0.1, "a («red»:1.1) fox");
        check("a (r¦ed:1.1) fox", 0.1, "a («red»:1.2) fox");
        check("a («red»:1.1) fox", -0.1, "a «red» fox");
        check("a ¦red fox", -0.1, "a («red»:0.9) fox");
        check("(red:1.9¦)", 0.1, "(«red»:2.0)");
        check("(a:0.1¦)", -0.2, "(«a»:-0.1)");
        check("über¦ß", 0.1, "(«überß»:1.1)");
    }

    #[test]
    fn a_selection_is_wrapped_without_the_space_at_its_ends() {
        check("a «red fox »runs", 0.1, "a («red fox»:1.1) runs");
        check("a« red» fox", 0.1, "a («red»:1.1) fox");
        check("a« »b", 0.1, "");
        check("a «(red fox:1.2)»", -0.1, "a («red fox»:1.1)");
        check("«(a:1.2) (b:1.1)»", 0.1, "(«(a:1.2) (b:1.1)»:1.1)");
    }

    #[test]
    fn plain_brackets_become_a_number_first() {
        check("((red¦))", 0.1, "(«red»:1.3)");
        check("[red¦]", 0.1, "«red»");
        check("[red¦]", -0.1, "(«red»:0.8)");
        check("a (red fo¦x), b", 0.1, "a («red fox»:1.2), b");
    }

    #[test]
    fn schedules_stay_whole_and_networks_change_their_number() {
        check("[cat:do¦g:0.5]", 0.1, "[cat:(«dog»:1.1):0.5]");
        check("[cat|do¦g]", 0.1, "[cat|(«dog»:1.1)]");
        check("<lora:in¦k:0.8>", 0.1, "<«lora:ink»:0.9>");
        check("<lora:ink:0.9¦>", 0.1, "<«lora:ink»:1.0>");
    }

    #[test]
    fn without_a_word_nothing_happens() {
        check("a, ¦, b", 0.1, "");
        check("¦", 0.1, "");
    }

    proptest! {
        #[test]
        fn the_selection_lies_in_the_text(text in r"[ab é:.01(\)\[\]<>|,\\]{0,30}", caret in 0usize..31, by in prop::sample::select(vec![0.1, -0.1])) {
            let caret = text.char_indices().map(|(at, _)| at).nth(caret).unwrap_or(text.len());
            if let Some(nudged) = nudge(&text, caret..caret, by) {
                prop_assert!(nudged.text.get(nudged.selection).is_some());
            }
        }

        #[test]
        fn up_and_down_again_gives_the_word_back(word in "[a-zé]{1,8}", steps in 1usize..12) {
            let mut now = Nudged { text: format!("x {word}, y"), selection: 2..2 };
            for by in std::iter::repeat_n(0.1, steps).chain(std::iter::repeat_n(-0.1, steps)) {
                now = nudge(&now.text, now.selection, by).unwrap_or_else(|| Nudged { text: String::new(), selection: 0..0 });
            }
            prop_assert_eq!(now.text, format!("x {word}, y"));
        }
    }
}
