//! YAML that may be damaged: a file that cannot be read as a whole is read entry by entry, by its indentation.

use serde_yaml_ng::Value as Yaml;

use super::Warning;

/// Entries inside entries; deeper damage costs the whole entry.
const DEEPEST: usize = 16;

/// Reads a text as JSON's values: keys that are no texts are no names, so their entries are left out.
pub fn read(text: &str) -> (serde_json::Value, Vec<Warning>) {
    let mut warnings = Vec::new();
    let value = piece(text, 1, 0, &mut warnings);
    (value.unwrap_or(serde_json::Value::Null), warnings)
}

/// Reads sound YAML; what `<<: *name` refers to is put in.
fn whole(text: &str) -> Result<serde_json::Value, serde_yaml_ng::Error> {
    let mut value = serde_yaml_ng::from_str::<Yaml>(text)?;
    value.apply_merge()?;
    Ok(json(value, 0))
}

/// Reads a piece that begins at `line`, as a whole or entry by entry.
fn piece(text: &str, line: usize, depth: usize, warnings: &mut Vec<Warning>) -> Option<serde_json::Value> {
    let error = match whole(text) {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let entries = if depth < DEEPEST { entries(text) } else { Vec::new() };
    if entries.len() < 2 && entries.first().is_none_or(|entry| entry.inner.is_none()) {
        let at = error.location().map_or(line, |place| line + place.line().saturating_sub(1));
        let start: String = text.trim_start().lines().next().unwrap_or_default().chars().take(24).collect();
        super::add(warnings, || Warning::at(at, format!("{error}; this entry is left out: {start}")));
        return None;
    }
    let (mut map, mut list) = (serde_json::Map::new(), Vec::new());
    for entry in entries {
        let Entry { offset, text, inner } = entry;
        let line = line + offset;
        match whole(text) {
            Ok(serde_json::Value::Object(read)) => map.extend(read),
            Ok(serde_json::Value::Array(read)) => list.extend(read),
            Ok(_) => super::add(warnings, || Warning::at(line, "this is no entry of a list and is left out")),
            Err(error) => match inner {
                Some((name, inside)) => {
                    if let Some(read) = piece(inside, line + 1, depth + 1, warnings) {
                        map.insert(name.to_owned(), read);
                    }
                }
                None => {
                    let at = error.location().map_or(line, |place| line + place.line().saturating_sub(1));
                    let start: String = text.trim().lines().next().unwrap_or_default().chars().take(24).collect();
                    super::add(warnings, || Warning::at(at, format!("{error}; this entry is left out: {start}")));
                }
            },
        }
    }
    if list.is_empty() { Some(map.into()) } else { Some(list.into()) }
}

/// A line with the lines that are indented below it.
struct Entry<'a> {
    /// Lines before it.
    offset: usize,
    text: &'a str,
    /// Name and inside of `name:` with indented lines below.
    inner: Option<(&'a str, &'a str)>,
}

fn entries(text: &str) -> Vec<Entry<'_>> {
    let is_code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let Some(outer) = text.lines().filter(|line| is_code(line)).map(indent).min() else { return Vec::new() };
    let mut starts = Vec::new();
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        // A list may stand as far to the left as the name above it.
        let continues = line.trim_start().starts_with('-') && starts.last().is_some_and(|(_, _, ends_open)| *ends_open);
        if is_code(line) && indent(line) == outer && !continues {
            starts.push((number, at, line.trim_end().ends_with(':')));
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, at, _)| *at).chain([text.len()]).collect::<Vec<_>>();
    let entries = starts.iter().zip(ends).filter_map(|((offset, start, _), end)| {
        let text = text.get(*start..end)?;
        let inner = text.split_once('\n').and_then(|(head, inside)| {
            let name = head.trim().strip_suffix(':')?.trim().trim_matches(['"', '\'']);
            (!inside.trim().is_empty() && !name.is_empty()).then_some((name, inside))
        });
        Some(Entry { offset: *offset, text, inner })
    });
    entries.collect()
}

fn json(value: Yaml, depth: usize) -> serde_json::Value {
    use serde_json::Value;
    if depth > 64 {
        return Value::Null;
    }
    match value {
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(|item| json(item, depth + 1)).collect()),
        Yaml::Mapping(map) => {
            let entries =
                map.into_iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), json(value, depth + 1))));
            Value::Object(entries.collect())
        }
        Yaml::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::from(whole),
            (None, number) => number.map_or(Value::Null, Value::from),
        },
        Yaml::Bool(flag) => Value::Bool(flag),
        Yaml::Tagged(tagged) => json(tagged.value, depth + 1),
        Yaml::Null => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, wanted: &str, lines: &[usize]) {
        let (value, warnings) = read(text);
        assert_eq!(value.to_string(), wanted, "{text}: {warnings:?}");
        assert_eq!(warnings.iter().filter_map(|w| w.line).collect::<Vec<_>>(), lines, "{text}: {warnings:?}");
    }

    #[test]
    fn damage_costs_the_entry_that_it_is_in() {
        check("a: [x, y]\nb:\n  - z\n", r#"{"a":["x","y"],"b":["z"]}"#, &[]);
        check("a: [x, y]\nb: [z\nc: [w]\n", r#"{"a":["x","y"],"c":["w"]}"#, &[3]);
        check(
            "top:\n  good:\n    - x\n  bad: \"y\n  more:\n  - z\nlast: [w]\n",
            r#"{"top":{"good":["x"],"more":["z"]},"last":["w"]}"#,
            &[5],
        );
        check("- a\n- \"b\n- c\n", r#"["a","c"]"#, &[3]);
        check("a: [b", "null", &[2]);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([:\\-\n \\[\\]\"'#&*{}]|  - |a: |\n|[^x]){0,50}") {
            let _ = read(&text);
        }
    }
}
