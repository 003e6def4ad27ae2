//! Styles in JSON: the list of Fooocus and of twri's sdxl_prompt_styler (`name`, `prompt`, `negative_prompt`), InvokeAI's list
//! (`positive_prompt`) and its exports (`preset_data`). All of them are read by one reader.

use serde_json::{Value, json};

use super::json::{self, Json, Node};
use super::{Warning, add, portable};
use crate::prompt::library::Template;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `name`, `prompt`, `negative_prompt`
    Fooocus,
    /// `name`, `positive_prompt`, `negative_prompt`
    InvokeAi,
    /// `name`, `type`, `preset_data`
    Preset,
}

/// Reads the styles of a list, or a single one.
pub fn read(text: &str) -> (Vec<Template>, Vec<Warning>) {
    let (node, mut warnings) = json::read(text);
    let mut styles = Vec::new();
    match node {
        Some(Node { json: Json::List(items), .. }) => {
            styles.extend(items.iter().filter_map(|item| style(item, &mut warnings)));
        }
        Some(node) => styles.extend(style(&node, &mut warnings)),
        None => {}
    }
    (styles, warnings)
}

fn style(node: &Node, warnings: &mut Vec<Warning>) -> Option<Template> {
    let Json::Map(_) = node.json else {
        add(warnings, || Warning::at(node.line, "this is no style with a name and a prompt; it is left out"));
        return None;
    };
    let Some(name) = node.get("name").and_then(Node::text).filter(|name| !name.trim().is_empty()) else {
        add(warnings, || Warning::at(node.line, "a style without a name is left out"));
        return None;
    };
    let texts = node.get("preset_data").unwrap_or(node);
    let mut field = |names: &[&str]| {
        let found = names.iter().find_map(|name| texts.get(name).filter(|node| node.json != Json::Null));
        if let Some(odd) = found.filter(|node| node.text().is_none()) {
            let text = format!("a prompt of \"{name}\" is no text and is left out");
            add(warnings, || Warning::at(odd.line, text));
        }
        found.and_then(Node::text).unwrap_or_default().to_owned()
    };
    let style = Template {
        name: name.to_owned(),
        text: field(&["prompt", "positive_prompt"]),
        negative: field(&["negative_prompt"]),
        ..Template::default()
    };
    if style.text.is_empty() && style.negative.is_empty() {
        let text = format!("\"{name}\" has neither prompt nor negative prompt and is left out");
        add(warnings, || Warning::at(node.line, text));
        return None;
    }
    Some(style)
}

/// Writes a list.
pub fn write<'a>(styles: impl Iterator<Item = &'a Template>, shape: Shape, warnings: &mut Vec<Warning>) -> String {
    let items = styles.map(|style| {
        let (prompt, negative) = portable(style, warnings);
        match shape {
            Shape::Fooocus => json!({ "name": style.name, "prompt": prompt, "negative_prompt": negative }),
            Shape::InvokeAi => json!({ "name": style.name, "positive_prompt": prompt, "negative_prompt": negative }),
            Shape::Preset => json!({
                "name": style.name,
                "type": "user",
                "preset_data": { "positive_prompt": prompt, "negative_prompt": negative },
            }),
        }
    });
    let items: Vec<Value> = items.collect();
    serde_json::to_string_pretty(&items).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_read() {
        for text in [
            r#"[{"name": "A", "prompt": "{prompt}, x", "negative_prompt": "y"}]"#,
            r#"[{"name": "A", "positive_prompt": "{prompt}, x", "negative_prompt": "y"}]"#,
            r#"[{"name": "A", "type": "user", "preset_data": {"positive_prompt": "{prompt}, x", "negative_prompt": "y"}}]"#,
            r#"{"name": "A", "type": "default", "preset_data": {"positive_prompt": "{prompt}, x", "negative_prompt": "y"}}"#,
        ] {
            let wanted =
                Template { name: "A".into(), text: "{prompt}, x".into(), negative: "y".into(), ..Template::default() };
            assert_eq!(read(text), (vec![wanted], vec![]), "{text}");
        }
    }

    #[test]
    fn damage_is_named_by_its_line() {
        let text = "[\n{\"name\": \"A\", \"prompt\": \"x\"},\n{\"prompt\": \"y\"},\n{\"name\": \"B\"},\n7,\n{\"name\": \"C\", \"prompt\": \"z\", \"negative_prompt\": \"w";
        let (styles, warnings) = read(text);
        let names: Vec<&str> = styles.iter().map(|style| style.name.as_str()).collect();
        assert_eq!(names, ["A", "C"]);
        let mut lines: Vec<usize> = warnings.iter().filter_map(|warning| warning.line).collect();
        lines.dedup();
        assert_eq!(lines, [6, 3, 4, 5]);
    }
}
