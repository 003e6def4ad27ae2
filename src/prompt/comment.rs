//! A1111's comments: from `#` to the end of the line.
//!
//! A comment on a line of its own goes with its line; one behind text leaves the line end. Behaviour: AUTOMATIC1111's
//! `modules/processing_scripts/comments.py`: first the lines that start with `#`, then what is left of comments.

use std::ops::Range;

use super::source::Traced;

/// `source` without its comments, and where they were.
pub fn strip(source: &Traced) -> (Traced, Vec<Range<usize>>) {
    let mut found = Vec::new();
    let lines_gone = cut(source, Place::LineStart, &mut found);
    let gone = cut(&lines_gone, Place::Anywhere, &mut found);
    found.sort_by_key(|span| span.start);
    (gone, found)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    LineStart,
    Anywhere,
}

/// Replaces each comment, its line end included, by one line end; at the start of a line the line end before it goes too.
fn cut(source: &Traced, place: Place, found: &mut Vec<Range<usize>>) -> Traced {
    let text = source.text();
    let mut kept = Traced::default();
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| next(rest, place, from == 0)).map(|at| from + at) {
        let rest = text.get(at..).unwrap_or_default();
        // The match may begin with the line end before the comment.
        let hash = at + rest.find('#').unwrap_or_default();
        let end = text.get(hash..).and_then(|rest| rest.find('\n')).map(|length| hash + length);
        kept.push(source, from..at);
        found.push(source.span(hash..end.unwrap_or(text.len())));
        from = end.map_or(text.len(), |end| end + 1);
        kept.push_for("\n", source.span(at..from));
    }
    kept.push(source, from..text.len());
    kept
}

fn next(rest: &str, place: Place, is_start: bool) -> Option<usize> {
    match place {
        Place::Anywhere => rest.find('#'),
        Place::LineStart if is_start && rest.starts_with('#') => Some(0),
        Place::LineStart => rest.find("\n#"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        assert_eq!(strip(&Traced::new(text)).0.text(), wanted, "{text:?}");
    }

    #[test]
    fn comments_leave_a_line_end() {
        check("a fox # red\nat sea", "a fox \nat sea");
        check("a\n# note\nb", "a\nb");
        check("# note\nb", "\nb");
        check("a\n#c\n#d\nb", "a\n\nb");
        check("a #x\n#y\n", "a \n");
        check("a # to the end", "a \n");
        check("#", "\n");
        check("no comment", "no comment");
    }

    #[test]
    fn what_is_left_knows_its_place() {
        let (left, comments) = strip(&Traced::new("a # é\nfox"));
        let at = left.text().find("fox").unwrap_or_default();
        assert_eq!(left.span(at..at + 3), 7..10);
        assert_eq!(comments, vec![2..6; 1]);
    }
}
