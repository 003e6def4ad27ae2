//! The files that prompts draw names from: lists of tags, and what stands beside LoRA files and learned words.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::prompt::complete::Named;
use crate::prompt::tags::Tags;

/// Folders inside folders; a link that leads back ends here.
const DEEPEST: usize = 16;
/// A longer file beside a model is none of the kind that is meant.
const LONGEST_NOTE: u64 = 1 << 22;

/// Reads all lists of tags (`.csv`) of a folder, and what could not be read. A folder that is not there has none.
pub fn read_tags(folder: &Path) -> (Tags, Vec<String>) {
    let (mut texts, mut warnings) = (Vec::new(), Vec::new());
    let mut paths: Vec<PathBuf> = files(folder, 0);
    paths.retain(|path| path.is_file() && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")));
    paths.sort();
    for path in paths {
        match std::fs::read(&path) {
            Ok(bytes) => texts.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) => warnings.push(format!("cannot read this list of tags ({error}): {}", path.display())),
        }
    }
    let (tags, more) = Tags::parse(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    warnings.extend(more);
    (tags, warnings)
}

/// The words that a LoRA file or a learned word answers to, from the notes that other programs keep beside it:
/// `name.json` (A1111's user metadata) and `name.civitai.info`. Notes that make no sense say nothing.
pub fn named(name: &str, path: &Path) -> Named {
    let mut named = Named { name: name.to_owned(), ..Named::default() };
    if let Some(note) = note(&path.with_extension("json")) {
        let text = note.get("activation text").and_then(Value::as_str).unwrap_or_default();
        named.triggers = words(text).collect();
        named.weight = match note.get("preferred weight") {
            Some(Value::Number(number)) if number.as_f64().is_some_and(|number| number != 0.0) => {
                Some(number.to_string())
            }
            Some(Value::String(text)) if text.trim().parse::<f64>().is_ok() => Some(text.trim().to_owned()),
            _ => None,
        };
    }
    if named.triggers.is_empty()
        && let Some(note) = note(&path.with_extension("civitai.info"))
        && let Some(trained) = note.get("trainedWords").and_then(Value::as_array)
    {
        named.triggers = trained.iter().filter_map(Value::as_str).flat_map(words).collect();
    }
    named
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(ToOwned::to_owned)
}

fn note(path: &Path) -> Option<Value> {
    let about = std::fs::metadata(path).ok()?;
    let is_note = about.is_file() && about.len() <= LONGEST_NOTE;
    is_note.then(|| std::fs::read(path).ok())?.and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

/// A number that changes when a file in one of these folders comes, goes or changes.
pub fn stamp(folders: &[&Path]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for folder in folders {
        let mut paths = files(folder, 0);
        paths.sort();
        for path in paths {
            let about = std::fs::metadata(&path).ok();
            let changed = about.as_ref().and_then(|about| about.modified().ok());
            (path, about.map(|about| about.len()), changed).hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn files(folder: &Path, depth: usize) -> Vec<PathBuf> {
    // A user without such a folder has simply written none.
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        match path.is_dir() {
            true if depth < DEEPEST => found.extend(files(&path, depth + 1)),
            true => {}
            false => found.push(path),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tags_are_read_and_changes_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let before = stamp(&[folder.path()]);
        std::fs::create_dir(folder.path().join("more")).unwrap();
        std::fs::write(folder.path().join("more/a.CSV"), "red_hair,0,12,\n").unwrap();
        std::fs::write(folder.path().join("b.txt"), "not,a,list\n").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("c.csv")).unwrap();
        let (tags, warnings) = read_tags(folder.path());
        assert_eq!((tags.len(), warnings.len()), (1, 0));
        let after = stamp(&[folder.path()]);
        assert_ne!(before, after);
        assert_eq!(after, stamp(&[folder.path()]));
        assert!(read_tags(&folder.path().join("missing")).0.is_empty());
    }

    #[test]
    fn notes_beside_a_file_say_what_it_answers_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("ink.json"), r#"{"activation text": "ink drawing, lines,", "preferred weight": 0.7}"#)
            .unwrap();
        std::fs::write(at("sea.civitai.info"), r#"{"trainedWords": ["waves, foam", "blue"]}"#).unwrap();
        std::fs::write(at("bad.json"), "{").unwrap();
        let shown = |name: &str| {
            let Named { triggers, weight, .. } = named(name, &at(&format!("{name}.safetensors")));
            (triggers.join("|"), weight)
        };
        assert_eq!(shown("ink"), ("ink drawing|lines".to_owned(), Some("0.7".to_owned())));
        assert_eq!(shown("sea"), ("waves|foam|blue".to_owned(), None));
        assert_eq!(shown("bad"), (String::new(), None));
    }
}
