//! Easy Diffusion's `modifiers.json`: `[{category, modifiers: [{modifier, previews: [{name, path}]}]}]`. Its pictures are not read.

use serde_json::{Value, json};

use super::json::{self, Json, Node};
use super::{Warning, add};
use crate::prompt::library::{Modifier, ModifierCategory};

/// Reads the categories.
pub fn read(text: &str) -> (Vec<ModifierCategory>, Vec<Warning>) {
    let (node, mut warnings) = json::read(text);
    let items = match node {
        Some(Node { json: Json::List(items), .. }) => items,
        Some(node) => vec![node],
        None => Vec::new(),
    };
    let categories = items.iter().filter_map(|item| category(item, &mut warnings)).collect();
    let entries = items.iter().filter_map(|item| match &item.get("modifiers")?.json {
        Json::List(entries) => Some(entries),
        _ => None,
    });
    let has_pictures =
        |entry: &Node| matches!(entry.get("previews").map(|node| &node.json), Some(Json::List(all)) if !all.is_empty());
    if entries.flatten().any(has_pictures) {
        let text = "its preview pictures are left out; thumbnails can be rendered by your own model";
        add(&mut warnings, || Warning::general(text));
    }
    (categories, warnings)
}

fn category(node: &Node, warnings: &mut Vec<Warning>) -> Option<ModifierCategory> {
    let name = node.get("category").and_then(Node::text).filter(|name| !name.trim().is_empty());
    let items = match node.get("modifiers").map(|node| &node.json) {
        Some(Json::List(items)) => items.as_slice(),
        _ => &[],
    };
    let (Some(name), false) = (name, items.is_empty()) else {
        let text = format!("\"{}\" is no category with modifiers and is left out", name.unwrap_or("(no name)"));
        add(warnings, || Warning::at(node.line, text));
        return None;
    };
    let mut modifiers = Vec::new();
    for item in items {
        let text = item.text().or_else(|| item.get("modifier")?.text()).filter(|text| !text.trim().is_empty());
        match text {
            Some(text) => modifiers.push(Modifier::new(text)),
            None => {
                add(warnings, || Warning::at(item.line, format!("an entry of \"{name}\" has no text and is left out")));
            }
        }
    }
    Some(ModifierCategory { name: name.to_owned(), modifiers, ..ModifierCategory::default() })
}

/// Writes the categories, without pictures.
pub fn write(categories: &[ModifierCategory]) -> String {
    let previews: [Value; 0] = [];
    let items = categories.iter().map(|category| {
        let modifiers = category.modifiers.iter().map(|one| json!({ "modifier": one.text, "previews": previews }));
        json!({ "category": category.name, "modifiers": modifiers.collect::<Vec<_>>() })
    });
    let items: Vec<Value> = items.collect();
    serde_json::to_string_pretty(&items).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn categories_are_read_and_damage_is_named() {
        let text = "[{\"category\": \"Light\", \"modifiers\": [\n{\"modifier\": \"soft\", \"previews\": [{\"name\": \"portrait\", \"path\": \"x\"}]},\n{\"previews\": []},\n\"hard\"]},\n{\"category\": \"Empty\"},\n{\"category\": \"Cut\", \"modifiers\": [{\"modifier\": \"a\"}, {\"modi";
        let (categories, warnings) = read(text);
        let found: Vec<(&str, Vec<&str>)> = categories
            .iter()
            .map(|c| (c.name.as_str(), c.modifiers.iter().map(|m| m.text.as_str()).collect()))
            .collect();
        assert_eq!(found, [("Light", vec!["soft", "hard"]), ("Cut", vec!["a"])]);
        let lines: Vec<usize> = warnings.iter().filter_map(|warning| warning.line).collect();
        assert!([3, 5, 6].iter().all(|line| lines.contains(line)), "{warnings:?}");
    }

    proptest! {
        #[test]
        fn categories_make_the_round(names in proptest::collection::vec("\\PC{1,10}", 1..4)) {
            prop_assume!(names.iter().all(|name| !name.trim().is_empty()));
            let modifiers: Vec<Modifier> = names.into_iter().map(Modifier::new).collect();
            let categories = vec![ModifierCategory { name: "x".into(), modifiers, ..ModifierCategory::default() }];
            prop_assert_eq!(read(&write(&categories)), (categories, vec![]));
        }
    }
}
