//! AUTOMATIC1111's `styles.csv`: `name,prompt,negative_prompt` with a header, a mark of the byte order on writing, `{prompt}` as the
//! hole. Older files call the second column `text`; names that start with `#` are headings. InvokeAI's CSV is the same.

use super::csv::{self, Row};
use super::{Warning, add, portable};
use crate::prompt::library::Template;

/// Reads the styles.
pub fn read(text: &str) -> (Vec<Template>, Vec<Warning>) {
    let (rows, mut warnings) = csv::read(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut rows = rows.into_iter().peekable();
    let header = rows.next_if(|row| place(row, &["name"]).is_some());
    if header.is_none() && rows.peek().is_some() {
        add(&mut warnings, || {
            Warning::at(1, "there is no header; the columns are taken as name, prompt and negative_prompt")
        });
    }
    let place_of = |names: &[&str], or: usize| header.as_ref().map_or(Some(or), |header| place(header, names));
    let (name, prompt, negative) =
        (place_of(&["name"], 0), place_of(&["prompt", "text"], 1), place_of(&["negative_prompt"], 2));
    let mut styles = Vec::new();
    for row in rows {
        let field = |place: Option<usize>| place.and_then(|place| row.fields.get(place)).cloned().unwrap_or_default();
        let style =
            Template { name: field(name), text: field(prompt), negative: field(negative), ..Template::default() };
        if style.name.starts_with('#') {
            continue;
        }
        let columns = header.as_ref().map_or(3, |header| header.fields.len());
        if row.fields.len() > columns {
            let text = format!("\"{}\" has more columns than the header; a text with a comma needs quotes", style.name);
            add(&mut warnings, || Warning::at(row.line, text));
        }
        if style.name.trim().is_empty() {
            add(&mut warnings, || Warning::at(row.line, "a style without a name is left out"));
        } else if style.text.is_empty() && style.negative.is_empty() {
            let text = format!("\"{}\" has neither prompt nor negative prompt and is left out", style.name);
            add(&mut warnings, || Warning::at(row.line, text));
        } else {
            styles.push(style);
        }
    }
    (styles, warnings)
}

fn place(header: &Row, names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| header.fields.iter().position(|field| field.trim().eq_ignore_ascii_case(name)))
}

/// Writes the styles.
pub fn write<'a>(styles: impl Iterator<Item = &'a Template>, warnings: &mut Vec<Warning>) -> String {
    let rows: Vec<(String, String, String)> = styles
        .filter_map(|style| {
            let (prompt, negative) = portable(style, warnings);
            if style.name.starts_with('#') || style.name.trim().is_empty() {
                let text = format!("\"{}\" would be read as a heading and is left out", style.name);
                add(warnings, || Warning::general(text));
                return None;
            }
            Some((style.name.clone(), prompt, negative))
        })
        .collect();
    let rows = rows.iter().map(|(name, prompt, negative)| vec![name.as_str(), prompt, negative]);
    format!("\u{feff}{}", csv::write(std::iter::once(vec!["name", "prompt", "negative_prompt"]).chain(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_ages_are_read() {
        let (styles, warnings) =
            read("\u{feff}name,prompt,negative_prompt\r\nA, \"x, {prompt}\",\"bad\"\r\n# --- more ---,,\r\nB,y\r\n");
        let found: Vec<_> = styles.iter().map(|s| (s.name.as_str(), s.text.as_str(), s.negative.as_str())).collect();
        assert_eq!(found, [("A", "x, {prompt}", "bad"), ("B", "y", "")]);
        assert_eq!(warnings, []);
        assert_eq!(read("name,text\nOld,\"a\nb\"\n").0[0].text, "a\nb");
        assert_eq!(read("negative_prompt,name,prompt\nn,N,p\n").0[0].negative, "n");
    }

    #[test]
    fn damage_is_named_by_its_line() {
        let (styles, warnings) = read("name,prompt,negative_prompt\nA,\"x\n,y,\nB,,\nC,a, b, c\nD,z,\n");
        let names: Vec<&str> = styles.iter().map(|style| style.name.as_str()).collect();
        assert_eq!(names, ["A", "C", "D"]);
        assert_eq!(warnings.iter().filter_map(|warning| warning.line).collect::<Vec<_>>(), [2, 3, 4, 5]);
        let (styles, warnings) = read("A,x,y\n");
        assert_eq!((styles.len(), warnings.len()), (1, 1));
    }
}
