//! Texts for single classes in JSON: CuPL's sentences `{class: [sentence]}` and the features of Menon and Vondrick
//! `{class: [descriptor]}`; a data set's name may stand around them.

use serde_json::{Map, Value};

use super::json::{self, Json, Node};
use super::{File, Warning, add};
use crate::prompt::library::{ClassPrompts, ClassTexts};

/// Reads the sets; `name` is that of a file without names of data sets. Sentences are told from features by their full stops and by the
/// names of their classes.
pub fn read(name: &str, text: &str) -> (Vec<ClassPrompts>, Vec<Warning>) {
    let (node, mut warnings) = json::read(text);
    let Some(Node { json: Json::Map(entries), .. }) = node else {
        if let Some(node) = node {
            add(&mut warnings, || Warning::at(node.line, "texts by class are expected here; nothing is read"));
        }
        return (Vec::new(), warnings);
    };
    let is_set = |node: &Node| matches!(node.json, Json::Map(_));
    let (sets, classes): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, node)| is_set(node));
    let mut read: Vec<ClassPrompts> = Vec::new();
    let sets = sets.into_iter().filter_map(|(name, node)| match node.json {
        Json::Map(classes) => Some((name, classes)),
        _ => None,
    });
    for (name, classes) in std::iter::once((name.to_owned(), classes)).chain(sets) {
        let classes: Vec<(String, Vec<String>)> =
            classes.iter().filter_map(|(class, node)| texts(class, node, &mut warnings)).collect();
        if !classes.is_empty() {
            let texts = kind(&classes);
            read.push(ClassPrompts { name, texts, classes, is_mine: false });
        }
    }
    (read, warnings)
}

fn texts(class: &str, node: &Node, warnings: &mut Vec<Warning>) -> Option<(String, Vec<String>)> {
    let items = match &node.json {
        Json::List(items) => items.as_slice(),
        Json::Text(_) => std::slice::from_ref(node),
        _ => &[],
    };
    let mut read = Vec::new();
    for item in items {
        match item.text().filter(|text| !text.trim().is_empty()) {
            Some(text) => read.push(text.to_owned()),
            None => {
                add(warnings, || Warning::at(item.line, format!("an entry of \"{class}\" is no text; it is left out")))
            }
        }
    }
    if read.is_empty() {
        add(warnings, || Warning::at(node.line, format!("the class \"{class}\" has no texts and is left out")));
        return None;
    }
    Some((class.to_owned(), read))
}

/// Sentences end with a full stop or name their class.
fn kind(classes: &[(String, Vec<String>)]) -> ClassTexts {
    let (mut sentences, mut all) = (0, 0);
    for (class, texts) in classes {
        let name = class.to_lowercase().replace('_', " ");
        let is_sentence = |text: &&String| text.trim_end().ends_with('.') || names(text, &name);
        sentences += texts.iter().filter(is_sentence).count();
        all += texts.len();
    }
    if sentences * 2 > all { ClassTexts::Sentences } else { ClassTexts::Descriptors }
}

/// Whether a word of `text` begins with `name`: "cats" with "cat".
fn names(text: &str, name: &str) -> bool {
    let text = text.to_lowercase();
    let starts = |at: usize| !text.get(..at).is_some_and(|before| before.ends_with(char::is_alphanumeric));
    !name.is_empty() && text.match_indices(name).any(|(at, _)| starts(at))
}

/// Writes a file for each set of this kind.
pub fn write(sets: &[ClassPrompts], texts: ClassTexts) -> Vec<File> {
    let files = sets.iter().filter(|set| set.texts == texts).map(|set| {
        let classes: Map<String, Value> =
            set.classes.iter().map(|(class, texts)| (class.clone(), Value::from(texts.clone()))).collect();
        let text = serde_json::to_string_pretty(&classes).unwrap_or_default() + "\n";
        File { path: format!("{}.json", super::template_lists::file_name(&set.name)), text }
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_make_the_round() {
        for (texts, line) in [(ClassTexts::Sentences, "A hen is a bird."), (ClassTexts::Descriptors, "two legs")] {
            let classes =
                vec![("hen".to_owned(), vec![line.to_owned(), "b".to_owned()]), ("ox".into(), vec![line.into()])];
            let set = ClassPrompts { name: "my set".into(), texts, classes, is_mine: false };
            let files = write(std::slice::from_ref(&set), texts);
            assert_eq!(read("my set", &files[0].text), (vec![set], vec![]));
        }
    }

    #[test]
    fn data_sets_may_stand_around_and_damage_is_named() {
        let text = "{\"birds\": {\"hen\": [\"A hen is small.\"]},\n\"pets\": {\"cat\": [\"A cat purrs.\", 3],\n\"dog\": [],\n\"rat\": \"A rat runs.\"}";
        let (sets, warnings) = read("x", text);
        let found: Vec<(&str, usize)> = sets.iter().map(|set| (set.name.as_str(), set.classes.len())).collect();
        assert_eq!(found, [("birds", 1), ("pets", 2)]);
        let lines: Vec<usize> = warnings.iter().filter_map(|warning| warning.line).collect();
        assert_eq!(lines, [4, 2, 3]);
    }
}
