//! Wildcard files of dynamicprompts: a text file is one list with an option a line (`3::option` with a weight, `#` comments), YAML and
//! JSON are lists by name, nested at will, of texts or of `{text, weight}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as JsonValue};

use super::{File, Warning, add};
use crate::prompt::expand::wildcards::{Value, Wildcards};
use crate::prompt::library::WildcardList;

/// Reads the file at `path` inside the folder of wildcards; the path is part of the names.
pub fn read(path: &str, text: &str) -> (BTreeMap<String, WildcardList>, Vec<Warning>) {
    let (wildcards, warnings) = Wildcards::read_file(path, text);
    let lists = wildcards.into_lists().into_iter();
    (lists.map(|(name, values)| (name, WildcardList { values, is_mine: false })).collect(), warnings)
}

/// Writes a text file for each list.
pub fn write_txt(lists: &BTreeMap<String, WildcardList>, warnings: &mut Vec<Warning>) -> Vec<File> {
    let files = lists.iter().map(|(name, list)| {
        let lines = list.values.iter().filter_map(|value| {
            let line = with_weight(value);
            let read = Wildcards::read_file("x.txt", &line).0.into_lists().into_values().next();
            if read.as_deref() != Some(std::slice::from_ref(value)) {
                let text = format!("an option of \"{name}\" is no line of a text file and is left out: {}", value.text);
                add(warnings, || Warning::general(text));
                return None;
            }
            Some(line + "\n")
        });
        File { path: format!("{name}.txt"), text: lines.collect() }
    });
    files.collect()
}

/// Writes all lists as YAML.
pub fn write_yaml(lists: &BTreeMap<String, WildcardList>) -> String {
    serde_yaml_ng::to_string(&tree(lists)).unwrap_or_default()
}

/// Writes all lists as JSON.
pub fn write_json(lists: &BTreeMap<String, WildcardList>) -> String {
    serde_json::to_string_pretty(&tree(lists)).unwrap_or_default() + "\n"
}

fn with_weight(value: &Value) -> String {
    let plain = Wildcards::read_file("x.txt", &value.text).0.into_lists().into_values().next();
    // A text that begins like a weight needs one of its own.
    if value.weight == 1.0 && plain.as_deref() == Some(std::slice::from_ref(value)) {
        value.text.clone()
    } else {
        format!("{}::{}", value.weight, value.text)
    }
}

/// Lists under the parts of their names; where one part is a list and a folder as well, the name stays whole.
fn tree(lists: &BTreeMap<String, WildcardList>) -> JsonValue {
    let mut root = Map::new();
    for (name, list) in lists {
        let values: Vec<JsonValue> = list
            .values
            .iter()
            .map(|value| {
                if value.weight == 1.0 && with_weight(value) == value.text {
                    JsonValue::String(value.text.clone())
                } else {
                    serde_json::json!({ "text": value.text, "weight": value.weight })
                }
            })
            .collect();
        if let Err(values) = put(&mut root, name, values) {
            root.insert(name.clone(), values);
        }
    }
    root.into()
}

fn put(root: &mut Map<String, JsonValue>, name: &str, values: Vec<JsonValue>) -> Result<(), JsonValue> {
    match name.split_once('/') {
        Some((folder, rest)) => {
            let entry = root.entry(folder).or_insert_with(|| Map::new().into());
            match entry.as_object_mut() {
                Some(inner) => put(inner, rest, values),
                None => Err(values.into()),
            }
        }
        None if root.contains_key(name) => Err(values.into()),
        None => {
            root.insert(name.to_owned(), values.into());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn lists(entries: &[(&str, &[(f64, &str)])]) -> BTreeMap<String, WildcardList> {
        let list = |values: &[(f64, &str)]| WildcardList {
            values: values.iter().map(|(weight, text)| Value { text: (*text).into(), weight: *weight }).collect(),
            is_mine: false,
        };
        entries.iter().map(|(name, values)| ((*name).to_owned(), list(values))).collect()
    }

    #[test]
    fn lists_make_the_round_in_every_format() {
        let all = lists(&[
            ("animals/cats", &[(1.0, "lion"), (2.5, "lynx")]),
            ("animals/cats/small", &[(1.0, "tabby")]),
            ("colours", &[(1.0, "red"), (1.0, "3::odd"), (0.0, "__animals/*__")]),
        ]);
        assert_eq!(read("x.yaml", &write_yaml(&all)), (all.clone(), vec![]));
        assert_eq!(read("x.json", &write_json(&all)), (all.clone(), vec![]));
        let mut warnings = Vec::new();
        let mut back = BTreeMap::new();
        for file in write_txt(&all, &mut warnings) {
            back.extend(read(&file.path, &file.text).0);
        }
        assert_eq!(warnings.len(), 1, "a line cannot begin like a weight and mean it");
        back.get_mut("colours").unwrap().values.insert(1, Value { text: "3::odd".into(), weight: 1.0 });
        assert_eq!(back, all);
    }

    #[test]
    fn damage_costs_what_it_touches() {
        let (found, warnings) = read("a.yaml", "x: [one, two]\ny: [three\nz:\n- four\n- {weight: 2}\n");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["x", "z"]);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        let (found, warnings) = read("a.json", "{\"x\": [\"one\", two, \"three\"],\n\"y\": [\"four\"");
        assert_eq!(found["x"].values.len(), 2);
        assert_eq!(found["y"].values.len(), 1);
        assert_eq!(warnings.iter().filter_map(|warning| warning.line).collect::<Vec<_>>(), [1, 2]);
        let mut warnings = Vec::new();
        let files =
            write_txt(&lists(&[("x", &[(1.0, "a\nb"), (1.0, "# c"), (1.0, "d"), (1.0, "2::e")])]), &mut warnings);
        assert_eq!((files[0].text.as_str(), warnings.len()), ("1::# c\nd\n", 2));
    }

    proptest! {
        #[test]
        fn any_options_make_the_round(values in proptest::collection::vec(("\\PC{1,12}", 0.0..9.0f64), 1..5)) {
            let values: Vec<Value> = values.into_iter().map(|(text, weight)| Value { text, weight }).collect();
            let all = BTreeMap::from([("a/b".to_owned(), WildcardList { values, is_mine: false })]);
            prop_assert_eq!(&read("x.yaml", &write_yaml(&all)).0, &all);
            prop_assert_eq!(&read("x.json", &write_json(&all)).0, &all);
        }
    }
}
