//! Wildcard files: lists of lines by name, from `.txt`, `.yaml`, `.yml` and `.json`.
//!
//! A text file is one list, named by its path without the ending: one option a line, `#` comments, `3::option` with a
//! weight. The others are dictionaries whose keys go on with the path; a leaf is a list of texts or of
//! `{text|content, weight}`, or one text. Reading never fails: what cannot be read becomes a warning. Opening files is
//! `store`'s.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::prompt::exchange::{Warning, json, yaml};

/// An option and its weight, which is not negative.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its text, in the grammar of templates.
    pub text: String,
    /// How often it comes, compared with the others.
    pub weight: f64,
}

impl Value {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), weight: 1.0 }
    }

    /// How often it comes where all are listed or taken in turn: as dynamicprompts does it, its weight as a whole number.
    pub(super) fn times(&self) -> usize {
        (self.weight as usize).clamp(1, 1000)
    }
}

/// Lists of options by name.
#[derive(Debug, Default)]
pub struct Wildcards {
    lists: BTreeMap<String, Vec<Value>>,
    /// What was asked for before.
    found: Mutex<HashMap<String, Option<Arc<Vec<Value>>>>>,
}

impl Wildcards {
    /// Reads files, given as path inside the folder and contents. Returns the lists and what could not be read.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<String>) {
        let (mut wildcards, mut warnings) = (Self::default(), Vec::new());
        for (path, text) in files {
            let more = wildcards.add_file(path, text).into_iter();
            warnings.extend(more.map(|warning| format!("{warning}: {path}")));
        }
        (wildcards, warnings)
    }

    /// Reads one file, given as path inside the folder and contents.
    pub fn read_file(path: &str, text: &str) -> (Self, Vec<Warning>) {
        let mut wildcards = Self::default();
        let warnings = wildcards.add_file(path, text);
        (wildcards, warnings)
    }

    /// These lists.
    pub fn from_lists(lists: BTreeMap<String, Vec<Value>>) -> Self {
        Self { lists, found: Mutex::default() }
    }

    /// All lists by name.
    pub fn into_lists(self) -> BTreeMap<String, Vec<Value>> {
        self.lists
    }

    fn add_file(&mut self, path: &str, text: &str) -> Vec<Warning> {
        let Some((stem, ending)) = path.rsplit_once('.') else { return Vec::new() };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (value, mut warnings) = match ending.to_ascii_lowercase().as_str() {
            "txt" => {
                self.insert(stem, text_lines(text));
                return Vec::new();
            }
            "json" => {
                let (node, warnings) = json::read(text);
                (node.map(|node| node.to_value()), warnings)
            }
            "yaml" | "yml" => {
                let (value, warnings) = yaml::read(text);
                (Some(value).filter(|value| !value.is_null() || warnings.is_empty()), warnings)
            }
            _ => return Vec::new(),
        };
        if let Some(value) = value {
            let mut problems = Vec::new();
            self.add(stem, &value, &mut problems);
            warnings.extend(problems.into_iter().map(Warning::general));
        }
        warnings
    }

    /// The names of all lists.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lists.keys().map(String::as_str)
    }

    /// The names of all lists and how many options each has.
    pub fn lengths(&self) -> impl Iterator<Item = (&str, usize)> {
        self.lists.iter().map(|(name, values)| (name.as_str(), values.len()))
    }

    /// The options of all lists whose names fit `pattern`, sorted, none twice; `None` if there are none.
    /// `*` stands for any text, `?` for a character, `[ab]` for one of some. What fits nothing is looked for in all folders.
    pub fn values(&self, pattern: &str) -> Option<Arc<Vec<Value>>> {
        // What is kept is whole whenever the lock is free, so a panic elsewhere spoils nothing.
        let known = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(pattern) {
            return known.clone();
        }
        let clean = clean(pattern);
        let found = clean.as_deref().and_then(|clean| {
            self.fitting(clean).or_else(|| (!clean.starts_with("**")).then(|| self.fitting(&format!("**/{clean}")))?)
        });
        known().insert(pattern.to_owned(), found.clone());
        found
    }

    fn fitting(&self, pattern: &str) -> Option<Arc<Vec<Value>>> {
        let mut seen = HashSet::new();
        let lists = self.lists.iter().filter(|(name, _)| fits(name, pattern)).flat_map(|(_, values)| values);
        let mut values: Vec<Value> =
            lists.filter(|value| seen.insert((value.text.clone(), value.weight.to_bits()))).cloned().collect();
        values.sort_by(|a, b| a.text.cmp(&b.text));
        (!values.is_empty()).then(|| Arc::new(values))
    }

    fn add(&mut self, stem: &str, value: &serde_json::Value, warnings: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(_) => {
                let folder = stem.rsplit_once('/').map_or("", |(folder, _)| folder);
                self.add_entry(folder, value, warnings);
            }
            serde_json::Value::Array(items) => self.add_list(stem, items, warnings),
            serde_json::Value::Null => {}
            _ => warnings.push(format!("wildcards are a list or a dictionary of lists; nothing else is read: {stem}")),
        }
    }

    fn add_entry(&mut self, name: &str, value: &serde_json::Value, warnings: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, inner) in map {
                    let name = if name.is_empty() { key.clone() } else { format!("{name}/{key}") };
                    self.add_entry(&name, inner, warnings);
                }
            }
            serde_json::Value::Array(items) => self.add_list(name, items, warnings),
            serde_json::Value::String(text) if !text.is_empty() => self.insert(name, vec![Value::new(text)]),
            serde_json::Value::String(_) | serde_json::Value::Null => {}
            _ => warnings.push(format!("this is neither a list nor a text and is left out: {name}")),
        }
    }

    fn add_list(&mut self, name: &str, items: &[serde_json::Value], warnings: &mut Vec<String>) {
        let values: Vec<Option<Value>> = items.iter().map(item).collect();
        match values.iter().filter(|value| value.is_none()).count() {
            0 => {}
            1 => warnings.push(format!("an entry is neither text nor {{text, weight}} and is left out: {name}")),
            unread => warnings
                .push(format!("{unread} entries are neither text nor {{text, weight}} and are left out: {name}")),
        }
        self.insert(name, values.into_iter().flatten().collect());
    }

    fn insert(&mut self, name: &str, values: Vec<Value>) {
        let values: Vec<Value> = values.into_iter().filter(|value| !value.text.is_empty()).collect();
        if !values.is_empty() {
            self.lists.insert(name.to_owned(), values);
        }
    }
}

fn text_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(weighted).collect()
}

/// `3::option`. A line that only looks like one ("3::|a}" inside a variant) starts with something else.
fn weighted(line: &str) -> Value {
    let split = line.rsplit_once("::").filter(|_| line.starts_with(|c: char| c.is_ascii_digit()));
    let parsed = split.and_then(|(number, text)| Some((number.trim().parse::<f64>().ok()?, text)));
    match parsed.filter(|(weight, _)| weight.is_finite() && *weight >= 0.0) {
        Some((weight, text)) => Value { text: text.to_owned(), weight },
        None => Value::new(line),
    }
}

fn item(value: &serde_json::Value) -> Option<Value> {
    match value {
        serde_json::Value::String(text) => Some(weighted(text)),
        serde_json::Value::Null => Some(Value::new("")),
        // Years and sizes are written without quotes.
        serde_json::Value::Number(number) => Some(Value::new(&number.to_string())),
        serde_json::Value::Object(map) => {
            let text = ["text", "content"].iter().find_map(|key| map.get(*key)?.as_str())?;
            let weight = match map.get("weight") {
                None => 1.0,
                Some(serde_json::Value::String(number)) => number.parse().ok()?,
                Some(number) => number.as_f64()?,
            };
            (weight >= 0.0).then(|| Value { text: text.to_owned(), weight })
        }
        _ => None,
    }
}

/// A pattern with single forward slashes and without `__` around it; none that leaves the folder.
fn clean(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix("__").unwrap_or(pattern);
    let pattern = pattern.strip_suffix("__").unwrap_or(pattern).replace('\\', "/");
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    (!pattern.contains("..")).then(|| parts.join("/"))
}

/// Whether a name fits a pattern as Python's `fnmatch` has it: `*` reaches across slashes.
fn fits(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    // Where the last star stood, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
                continue;
            }
            Some(_) if at < name.len() => one_fits(&pattern, in_pattern, name.get(at).copied().unwrap_or_default()),
            None if at == name.len() => return true,
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => (at, in_pattern) = (at + 1, next),
            (None, Some((place, reach))) if reach < name.len() => {
                star = Some((place, reach + 1));
                (at, in_pattern) = (reach + 1, place + 1);
            }
            _ => return false,
        }
    }
}

/// Whether `c` fits the one-character pattern at `at`, and where the pattern goes on.
fn one_fits(pattern: &[char], at: usize, c: char) -> Option<usize> {
    let single = pattern.get(at)?;
    if *single == '[' {
        let rest = pattern.get(at + 1..)?;
        let (is_not, skip) = (rest.first() == Some(&'!'), usize::from(rest.first() == Some(&'!')));
        let close = rest.iter().skip(skip + 1).position(|c| *c == ']').map(|length| skip + 1 + length);
        if let Some(set) = close.and_then(|close| rest.get(skip..close)) {
            let is_in =
                set.contains(&c) || set.windows(3).any(|range| matches!(range, [a, '-', b] if (*a..=*b).contains(&c)));
            return (is_in != is_not).then_some(at + 2 + skip + set.len());
        }
    }
    (*single == '?' || *single == c).then_some(at + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts(wildcards: &Wildcards, pattern: &str) -> Vec<String> {
        let values = wildcards.values(pattern);
        values.map_or_else(Vec::new, |values| values.iter().map(|value| value.text.clone()).collect())
    }

    #[test]
    fn files_of_all_kinds_become_lists() {
        let (wildcards, warnings) = Wildcards::parse([
            ("colors-cold.txt", "# comment\nblue\n\ngreen\r\n3::grey\n"),
            ("flavors/pantry.json", r#"{"bitter": ["coffee", "dark chocolate"]}"#),
            ("flavors/sweet.txt", "vanilla"),
            ("lists/shapes.yaml", "- circle\n- square"),
            ("pantry.yml", "clothing: [Shoes]\nartists:\n  moon: john\n  1234: 5\n  flem: ''\n  n: 5"),
            ("weighted.yaml", "w:\n  - 20.5::rhino\n  - {weight: 3, content: cat}\n  - '{3::|a}'\n  - 7\n"),
            ("broken.yaml", "a: [b"),
            ("word.yaml", "hello"),
            ("README.md", "not a list"),
        ]);
        let names: Vec<&str> = wildcards.names().collect();
        assert_eq!(
            names,
            ["artists/moon", "clothing", "colors-cold", "flavors/bitter", "flavors/sweet", "lists/shapes", "w"]
        );
        assert_eq!(texts(&wildcards, "colors-*"), ["blue", "green", "grey"]);
        assert_eq!(texts(&wildcards, "flavors\\*"), ["coffee", "dark chocolate", "vanilla"]);
        assert_eq!(texts(&wildcards, "moon"), ["john"], "looked for in all folders");
        assert_eq!(texts(&wildcards, "../colors-cold"), Vec::<String>::new());
        let weights: Vec<f64> = wildcards.values("w").unwrap().iter().map(|value| value.weight).collect();
        assert_eq!(weights, [1.0, 3.0, 20.5, 1.0], "7, cat, rhino, {{3::|a}}");
        assert_eq!(warnings.len(), 3, "{warnings:?}");
    }

    #[test]
    fn globs_are_those_of_fnmatch() {
        for (name, pattern, wanted) in [
            ("a/b/c", "a/*", true),
            ("a/b/c", "**/c", true),
            ("c", "**/c", false),
            ("abc", "a?c", true),
            ("abc", "a[a-c]c", true),
            ("abc", "a[!b]c", false),
            ("a[c", "a[c", true),
            ("aaaaab", "*a*b", true),
            ("abc", "ab", false),
            ("", "*", true),
        ] {
            assert_eq!(fits(name, pattern), wanted, "{name} {pattern}");
        }
    }
}
