//! Comments of templates: `#` to the end of the line anywhere, `//` and `/* */` where a piece starts.
//!
//! White space before a comment that follows another comment or a form goes with it; text that a comment cuts in two is
//! joined by a space, as dynamicprompts does it.

use crate::prompt::source::Traced;

/// The template without comments.
pub(super) fn strip(source: &Traced) -> Traced {
    let template = source.text();
    let mut kept = Traced::default();
    let (mut at, mut from) = (0, 0);
    // Whether a piece starts here: after a form's delimiter, or at the start.
    let mut is_start = true;
    // Braces that are open here: a bar, say, starts an option only inside of one.
    let mut open = 0_usize;
    while let Some(rest) = template.get(at..).filter(|rest| !rest.is_empty()) {
        let blank = rest.len() - rest.trim_start().len();
        let skipped = if is_start { blank } else { 0 };
        let Some(end) = comment_at(template, at + skipped, is_start) else {
            let c = rest.chars().next().unwrap_or_default();
            is_start = match c {
                '{' => true,
                '}' | '|' => open > 0,
                _ if rest.starts_with("$$") || rest.starts_with("::") => open > 0,
                '$' | ':' => is_start,
                _ if rest.starts_with("__") => true,
                '_' => is_start && at > 0,
                c if c.is_whitespace() => is_start,
                _ => false,
            };
            match c {
                '{' => open += 1,
                '}' => open = open.saturating_sub(1),
                _ => {}
            }
            let length = if ["$$", "::", "__"].iter().any(|mark| rest.starts_with(mark)) { 2 } else { c.len_utf8() };
            at += length;
            continue;
        };
        kept.push(source, from..at);
        let after = comments_end(template, end);
        let next = template.get(after..).and_then(|rest| rest.chars().next());
        let is_text =
            next.is_some_and(|c| !"{}|$%".contains(c)) && !template.get(after..).unwrap_or_default().starts_with("__");
        if !is_start && is_text {
            kept.push_for(" ", source.span(at..after));
        }
        (at, from) = (after, after);
    }
    kept.push(source, from..template.len());
    kept
}

/// The end of the comment at `at`, if there is one: before the line end, or after `*/`.
fn comment_at(template: &str, at: usize, is_start: bool) -> Option<usize> {
    let rest = template.get(at..)?;
    let to_line_end = || at + rest.find('\n').unwrap_or(rest.len());
    match () {
        () if rest.starts_with('#') => Some(to_line_end()),
        () if is_start && rest.starts_with("//") => Some(to_line_end()),
        () if is_start && rest.starts_with("/*") => rest.find("*/").map(|length| at + length + 2),
        () => None,
    }
}

/// The end of the comments that follow, only white space between them.
fn comments_end(template: &str, mut end: usize) -> usize {
    loop {
        let rest = template.get(end..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start().len();
        match comment_at(template, end + blank, true) {
            Some(next) => end = next,
            None => return end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, wanted: &str) {
        assert_eq!(strip(&Traced::new(template)).text(), wanted, "{template:?}");
    }

    #[test]
    fn comments_go_as_in_dynamicprompts() {
        check("one # note\n  # note\n  {a|b} # note\n  five", "one  \n  {a|b}\n  five");
        check("a // b\nc", "a // b\nc");
        check("{a|b} // c\n d", "{a|b}\n d");
        check("/* x */ y", " y");
        check("a /* x */ b", "a /* x */ b");
        check("{a|b} /* x */ c", "{a|b} c");
        check("{a#c\n|b}", "{a \n|b}");
        check("a#b\nc", "a \nc");
        check("2::/* x */ a| // b\n} // c", "2::/* x */ a| // b\n} // c");
        check("{\n# 60% A\n0.6::A|# {\nB}", "{\n0.6::A|\nB}");
    }
}
