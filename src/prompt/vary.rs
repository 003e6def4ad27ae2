//! Variations of a prompt for comparing: search and replace, another order, another weight, a part left out.
//!
//! Facts on "Prompt S/R" and "Prompt order": AUTOMATIC1111's `scripts/xyz_grid.py`. Text in, text out.

use std::ops::Range;

/// More tokens than this have too many orders: seven have 5,040.
pub const MOST_TOKENS: usize = 6;

/// All orders of `tokens`, the given one first; as Python's `itertools.permutations`.
pub fn orders(tokens: &[String]) -> Vec<Vec<String>> {
    if tokens.len() <= 1 {
        return vec![tokens.to_vec()];
    }
    let mut all = Vec::new();
    for (at, first) in tokens.iter().enumerate() {
        let rest: Vec<String> =
            tokens.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, token)| token.clone()).collect();
        all.extend(orders(&rest).into_iter().map(|mut order| {
            order.insert(0, first.clone());
            order
        }));
    }
    all
}

/// `prompt` with the tokens of `order` put, one after the other, where they stand now: the first of them where the earliest stands.
/// Tokens that are not there are left out.
pub fn reorder(prompt: &str, order: &[String]) -> String {
    let mut places: Vec<(usize, &str)> = order
        .iter()
        .filter(|token| !token.is_empty())
        .filter_map(|token| Some((prompt.find(token.as_str())?, token.as_str())))
        .collect();
    places.sort_unstable();
    // Tokens that overlap: the later one keeps its place in the text.
    let (mut result, mut end) = (String::new(), 0);
    let mut there = order.iter().filter(|token| places.iter().any(|(_, placed)| placed == token));
    for (at, token) in &places {
        if *at < end {
            continue;
        }
        result.push_str(prompt.get(end..*at).unwrap_or_default());
        result.push_str(there.next().map_or("", String::as_str));
        end = at + token.len();
    }
    result.push_str(prompt.get(end..).unwrap_or_default());
    result
}

/// `prompt` with the first `phrase` at weight `weight`: as a word of its own at 1, else as `(phrase:weight)`. Brackets that already stand
/// around exactly this phrase are replaced. `None` if the phrase is not there.
pub fn with_weight(prompt: &str, phrase: &str, weight: f64) -> Option<String> {
    let phrase = phrase.trim();
    if phrase.is_empty() {
        return None;
    }
    let at = prompt.find(phrase)?;
    let inside = at..at + phrase.len();
    let whole = brackets_around(prompt, &inside).unwrap_or(inside);
    let weighted = match super::values::tidy(weight) {
        one if one == "1" => phrase.to_owned(),
        weight => format!("({phrase}:{weight})"),
    };
    let (before, after) = (prompt.get(..whole.start)?, prompt.get(whole.end..)?);
    Some(format!("{before}{weighted}{after}"))
}

/// `(phrase:1.2)` or `(phrase)` around `inside`, if it stands in such brackets alone.
fn brackets_around(prompt: &str, inside: &Range<usize>) -> Option<Range<usize>> {
    let start = prompt.get(..inside.start)?.strip_suffix('(')?.len();
    if prompt.get(..start)?.ends_with('\\') {
        return None;
    }
    let after = prompt.get(inside.end..)?;
    let close = after.find(')')?;
    let between = after.get(..close)?.trim();
    let is_weight = between.is_empty() || between.strip_prefix(':').is_some_and(|w| w.trim().parse::<f64>().is_ok());
    is_weight.then_some(start..inside.end + close + 1)
}

/// How finely a prompt is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grain {
    /// What stands between commas, semicolons and line ends.
    #[default]
    Phrases,
    /// What stands between spaces, too.
    Words,
}

/// The parts of `prompt` that can be left out one by one, each without the space and separators around it. What stands in brackets stays
/// together.
pub fn parts(prompt: &str, grain: Grain) -> Vec<Range<usize>> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0, 0usize);
    let mut is_escaped = false;
    for (at, c) in prompt.char_indices() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        is_escaped = c == '\\';
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && ends_part(prompt, at, c, grain) {
            push_trimmed(prompt, start..at, &mut found);
            start = at + c.len_utf8();
        }
    }
    push_trimmed(prompt, start..prompt.len(), &mut found);
    found
}

fn ends_part(prompt: &str, at: usize, c: char, grain: Grain) -> bool {
    match c {
        ',' | ';' | '\n' | '\r' => true,
        // Not in "f/1.8".
        '.' => prompt.get(at + 1..).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)),
        c => grain == Grain::Words && c.is_whitespace(),
    }
}

fn push_trimmed(prompt: &str, range: Range<usize>, into: &mut Vec<Range<usize>>) {
    let text = prompt.get(range.clone()).unwrap_or_default();
    let start = range.start + (text.len() - text.trim_start().len());
    let end = start + text.trim().len();
    if end > start {
        into.push(start..end);
    }
}

/// `prompt` without one of its [`parts`]; the separator that is not needed any more goes with it.
pub fn without(prompt: &str, part: &Range<usize>) -> String {
    let before = prompt.get(..part.start).unwrap_or_default();
    let after = prompt.get(part.end..).unwrap_or_default();
    let is_separator = |c: char| matches!(c, ',' | ';' | '.' | '\n' | '\r');
    let (left, right) = (before.trim_end(), after.trim_start());
    if left.is_empty() {
        return right.trim_start_matches(is_separator).trim_start().to_owned();
    }
    if left.ends_with(is_separator) && (right.is_empty() || right.starts_with(is_separator)) {
        return format!("{}{right}", left.trim_end_matches(is_separator).trim_end());
    }
    let space = if before.ends_with(char::is_whitespace) && !right.starts_with(is_separator) && !right.is_empty() {
        " "
    } else {
        ""
    };
    format!("{left}{space}{right}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tokens_change_places_and_the_rest_stays() {
        let all = orders(&tokens(&["fox", "snow", "ink"]));
        assert_eq!(all.len(), 6);
        assert_eq!(all[0], ["fox", "snow", "ink"]);
        assert_eq!(reorder("a fox in snow, ink", &all[0]), "a fox in snow, ink");
        assert_eq!(reorder("a fox in snow, ink", &tokens(&["ink", "fox", "snow"])), "a ink in fox, snow");
        assert_eq!(reorder("a fox", &tokens(&["dog", "fox"])), "a fox");
    }

    #[test]
    fn a_weight_is_put_on_changed_and_taken_off() {
        let check = |prompt: &str, weight: f64, wanted: &str| {
            assert_eq!(with_weight(prompt, "red apple", weight).as_deref(), Some(wanted), "{prompt}");
        };
        check("a red apple, foggy", 1.3, "a (red apple:1.3), foggy");
        check("a (red apple:1.3), foggy", 0.8, "a (red apple:0.8), foggy");
        check("a (red apple), foggy", 1.0, "a red apple, foggy");
        check("a (red apple on snow:1.3)", 0.5, "a ((red apple:0.5) on snow:1.3)");
        check("a \\(red apple)", 2.0, "a \\((red apple:2))");
        assert_eq!(with_weight("a fox", "red apple", 1.3), None);
    }

    #[test]
    fn parts_are_left_out_with_their_separators() {
        let check = |prompt: &str, grain: Grain, wanted: &[(&str, &str)]| {
            let found: Vec<(&str, String)> =
                parts(prompt, grain).into_iter().map(|part| (&prompt[part.clone()], without(prompt, &part))).collect();
            let found: Vec<(&str, &str)> = found.iter().map(|(part, rest)| (*part, rest.as_str())).collect();
            assert_eq!(found, wanted, "{prompt}");
        };
        check(
            "a fox, (soft light, fog:1.2), f/1.8",
            Grain::Phrases,
            &[
                ("a fox", "(soft light, fog:1.2), f/1.8"),
                ("(soft light, fog:1.2)", "a fox, f/1.8"),
                ("f/1.8", "a fox, (soft light, fog:1.2)"),
            ],
        );
        check(
            "a red fox, ink",
            Grain::Words,
            &[("a", "red fox, ink"), ("red", "a fox, ink"), ("fox", "a red, ink"), ("ink", "a red fox")],
        );
        check("One. Two.", Grain::Phrases, &[("One", "Two."), ("Two", "One.")]);
        check("", Grain::Phrases, &[]);
    }

    proptest! {
        #[test]
        fn parts_lie_inside_and_can_be_left_out(prompt in "[a-z ,;.()\\[\\]\\\\:\u{ac00}\n]{0,40}") {
            for grain in [Grain::Phrases, Grain::Words] {
                let mut end = 0;
                for part in parts(&prompt, grain) {
                    prop_assert!(part.start >= end && part.end <= prompt.len());
                    prop_assert!(prompt.get(part.clone()).is_some());
                    prop_assert!(without(&prompt, &part).len() < prompt.len());
                    end = part.end;
                }
            }
        }

        #[test]
        fn an_order_keeps_the_length_of_the_rest(order in proptest::sample::subsequence(vec!["fox", "snow", "ink"], 0..=3)) {
            let order: Vec<String> = order.iter().map(ToString::to_string).collect();
            prop_assert_eq!(reorder("a fox in snow, ink", &order).len(), "a fox in snow, ink".len());
        }
    }
}
