//! Comma-separated rows that may be damaged, as Python's `csv` reads them with `skipinitialspace`: a blank after a comma does not count.
//!
//! A quote that is never closed would swallow the rest of the file; here it costs its own row.

use super::Warning;

/// A row and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line, counted from 1.
    pub line: usize,
    /// Its fields.
    pub fields: Vec<String>,
}

/// So many rows may be read a second time because of an open quote; from then on no field reaches over a line end.
const MOST_OPEN_QUOTES: usize = 50;

/// Reads all rows that are not blank.
pub fn read(text: &str) -> (Vec<Row>, Vec<Warning>) {
    let (mut rows, mut warnings) = (Vec::new(), Vec::new());
    let (mut at, mut line, mut open_quotes) = (0, 1, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let row = match read_row(rest) {
            Some(row) if row.lines == 1 || open_quotes < MOST_OPEN_QUOTES => row,
            _ => {
                open_quotes += 1;
                super::add(&mut warnings, || {
                    Warning::at(line, "a quote is opened and not closed; the row ends at the end of this line")
                });
                let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
                let closed = format!("{}\"", rest.get(..end).unwrap_or_default().trim_end());
                let fields = read_row(&closed).map(|row| row.fields).unwrap_or_default();
                ReadRow { fields, length: end, lines: 1 }
            }
        };
        if row.fields.iter().any(|field| !field.trim().is_empty()) {
            rows.push(Row { line, fields: row.fields });
        }
        at += row.length;
        line += row.lines;
    }
    (rows, warnings)
}

struct ReadRow {
    fields: Vec<String>,
    /// Bytes, the line end included.
    length: usize,
    lines: usize,
}

/// The first row of `text`; `None` if a quote in it is never closed, or seems to be closed by the opening quote of a later field.
fn read_row(text: &str) -> Option<ReadRow> {
    let mut row = ReadRow { fields: Vec::new(), length: 0, lines: 1 };
    loop {
        let rest = text.get(row.length..)?;
        row.length += rest.len() - rest.trim_start_matches(' ').len();
        let rest = rest.trim_start_matches(' ');
        let (field, length) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (field, length) = quoted_field(quoted)?;
                row.lines += quoted.get(..length)?.matches('\n').count();
                (field, length + 1)
            }
            None => {
                let length = rest.find([',', '\n']).unwrap_or(rest.len());
                (rest.get(..length)?.to_owned(), length)
            }
        };
        row.length += length;
        let ends = text.as_bytes().get(row.length) != Some(&b',');
        row.fields.push(if ends { field.strip_suffix('\r').unwrap_or(&field).to_owned() } else { field });
        if ends {
            row.length = (row.length + 1).min(text.len());
            return Some(row);
        }
        row.length += 1;
    }
}

/// A field behind its opening quote, and its bytes up to the comma or line end.
fn quoted_field(text: &str) -> Option<(String, usize)> {
    let (mut field, mut at) = (String::new(), 0);
    loop {
        let quote = at + text.get(at..)?.find('"')?;
        field.push_str(text.get(at..quote)?);
        let rest = text.get(quote + 1..)?;
        if rest.starts_with('"') {
            field.push('"');
            at = quote + 2;
            continue;
        }
        // Python adds what stands behind the closing quote. After a line end it tells that this quote opens another field.
        let length = rest.find([',', '\n']).unwrap_or(rest.len());
        let behind = rest.get(..length)?;
        if !behind.trim().is_empty() && field.contains('\n') {
            return None;
        }
        field.push_str(behind.trim_end_matches('\r'));
        return Some((field, quote + 1 + length));
    }
}

/// Writes rows so that Python's `csv` reads them again, `skipinitialspace` or not.
pub fn write<'a>(rows: impl IntoIterator<Item = Vec<&'a str>>) -> String {
    let rows = rows.into_iter().map(|fields| {
        let fields = fields.into_iter().map(|field| {
            let is_plain = !field.contains([',', '"', '\r', '\n']) && field.trim() == field;
            if is_plain { field.to_owned() } else { format!("\"{}\"", field.replace('"', "\"\"")) }
        });
        fields.collect::<Vec<_>>().join(",") + "\r\n"
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, wanted: &[(usize, &[&str])], warned: &[usize]) {
        let (rows, warnings) = read(text);
        let found: Vec<(usize, Vec<&str>)> =
            rows.iter().map(|row| (row.line, row.fields.iter().map(String::as_str).collect())).collect();
        let wanted: Vec<(usize, Vec<&str>)> = wanted.iter().map(|(line, fields)| (*line, fields.to_vec())).collect();
        assert_eq!(found, wanted, "{text:?}");
        assert_eq!(warnings.iter().filter_map(|w| w.line).collect::<Vec<_>>(), warned, "{text:?}");
    }

    #[test]
    fn rows_are_those_of_python() {
        check(
            "a, b,\"c, \"\"d\"\"\"\r\n\r\n\"e\nf\",g,",
            &[(1, &["a", "b", "c, \"d\""]), (3, &["e\nf", "g", ""])],
            &[],
        );
        check("a, \"b\" x,c\n", &[(1, &["a", "b x", "c"])], &[]);
    }

    #[test]
    fn an_open_quote_costs_its_row_alone() {
        check("a,\"b\nc,d\n", &[(1, &["a", "b"]), (2, &["c", "d"])], &[1]);
        check("a,\"b\nc,\"d\",e\nf,g", &[(1, &["a", "b"]), (2, &["c", "d", "e"]), (3, &["f", "g"])], &[1]);
        let many = "\"x\n".repeat(3001);
        assert_eq!(read(&many).0.len(), 3001);
    }

    proptest! {
        #[test]
        fn rows_make_the_round(rows in proptest::collection::vec(proptest::collection::vec("(?s)[ -~\nä\"]{0,8}", 1..4), 1..5)) {
            let text = write(rows.iter().map(|row| row.iter().map(String::as_str).collect()));
            let (read, warnings) = read(&text);
            let wanted: Vec<Vec<String>> =
                rows.into_iter().filter(|row| row.iter().any(|field| !field.trim().is_empty())).collect();
            prop_assert_eq!(read.into_iter().map(|row| row.fields).collect::<Vec<_>>(), wanted);
            prop_assert_eq!(warnings, vec![]);
        }

        #[test]
        fn any_text_is_read(text in "(?s)([,\"\r\n ]|.){0,60}") {
            let _ = read(&text);
        }
    }
}
