//! The program's own files of modifiers, templates and styles, in TOML: `[[category]]`, `[[template]]`, `[[style]]`.
//!
//! A damaged file is read block by block: what a block's author got wrong costs that block alone, or that entry.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Modifier, ModifierCategory, Settings, Template};
use crate::base::geom::Extent;
use crate::prompt::exchange::Warning;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoryBlock {
    name: String,
    #[serde(default)]
    builtin: bool,
    #[serde(default)]
    negative: bool,
    modifiers: Vec<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModifierEntry {
    text: String,
    #[serde(default)]
    about: String,
    builtin: Option<bool>,
    negative: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateBlock {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    negative: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    about: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    builtin: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sampler: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guidance: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<String>,
}

/// Reads `[[category]]` blocks.
pub fn read_modifiers(text: &str) -> (Vec<ModifierCategory>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let categories = blocks(text, "category", &mut warnings).into_iter().map(|(line, block): (_, CategoryBlock)| {
        let mut modifiers = Vec::new();
        for entry in block.modifiers {
            match modifier(&entry, block.builtin, block.negative) {
                Some(read) => modifiers.push(read),
                None => warnings.push(Warning::at(
                    line,
                    format!(
                        "an entry of \"{}\" is neither a text nor {{ text, about }} and is left out ({entry})",
                        block.name
                    ),
                )),
            }
        }
        ModifierCategory { name: block.name, modifiers, ..ModifierCategory::default() }
    });
    let categories = categories.collect();
    (categories, warnings)
}

fn modifier(entry: &toml::Value, builtin: bool, negative: bool) -> Option<Modifier> {
    let read = match entry {
        toml::Value::String(text) => Modifier { text: text.clone(), about: String::new(), builtin, negative },
        _ => {
            let entry: ModifierEntry = entry.clone().try_into().ok()?;
            Modifier {
                text: entry.text,
                about: entry.about,
                builtin: entry.builtin.unwrap_or(builtin),
                negative: entry.negative.unwrap_or(negative),
            }
        }
    };
    (!read.text.trim().is_empty()).then_some(read)
}

/// Reads `[[template]]` or `[[style]]` blocks, as `kind` says.
pub fn read_templates(text: &str, kind: &str) -> (Vec<Template>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let read = blocks(text, kind, &mut warnings).into_iter().map(|(line, block): (_, TemplateBlock)| {
        let size = block.size.as_deref().and_then(|text| {
            let size: Option<Extent> = text.parse().ok();
            if size.is_none() {
                let text = format!("\"{text}\" in \"{}\" is no size such as 512x768; it is left out", block.name);
                warnings.push(Warning::at(line, text));
            }
            size
        });
        Template {
            name: block.name,
            text: block.text,
            negative: block.negative,
            about: block.about,
            builtin: block.builtin,
            settings: Settings {
                model: block.model,
                sampler: block.sampler,
                steps: block.steps,
                guidance: block.guidance.filter(|guidance| guidance.is_finite()),
                size,
            },
            ..Template::default()
        }
    });
    let read = read.collect();
    (read, warnings)
}

/// The blocks of a file that can be read, each with the line it begins at.
fn blocks<T: serde::de::DeserializeOwned>(text: &str, kind: &str, warnings: &mut Vec<Warning>) -> Vec<(usize, T)> {
    let mut read = Vec::new();
    for (line, range) in split(text) {
        let block = text.get(range).unwrap_or_default();
        let table = match block.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let inside = error.span().map_or(0, |span| count_lines(block.get(..span.start).unwrap_or_default()));
                let text = format!("{}; what stands from line {line} on is left out", error.message());
                warnings.push(Warning::at(line + inside, text));
                continue;
            }
        };
        for (key, value) in table {
            let entries = if key == kind { value.as_array().cloned() } else { None };
            let Some(entries) = entries else {
                warnings.push(Warning::at(line, format!("only [[{kind}]] is read here; \"{key}\" is left out")));
                continue;
            };
            for entry in entries {
                let name = entry.get("name").and_then(toml::Value::as_str).map(|name| format!(" \"{name}\""));
                match entry.try_into() {
                    Ok(one) => read.push((line, one)),
                    Err(error) => {
                        let name = name.unwrap_or_default();
                        let text = format!("{}; this {kind}{name} is left out", error.message());
                        warnings.push(Warning::at(line, text));
                    }
                }
            }
        }
    }
    read
}

/// The pieces of a file that begin with `[[`, and what stands before the first, each with its line. A whole file that can be read
/// is one piece: a `[[` at the start of a line may then be part of a text.
fn split(text: &str) -> Vec<(usize, Range<usize>)> {
    let mut starts = vec![(1, 0)];
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.starts_with("[[") && at > 0 {
            starts.push((number + 1, at));
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, start)| *start).chain([text.len()]);
    let pieces: Vec<_> = starts.iter().zip(ends).map(|((line, start), end)| (*line, *start..end)).collect();
    let is_sound =
        |range: &Range<usize>| text.get(range.clone()).is_some_and(|piece| piece.parse::<toml::Table>().is_ok());
    if pieces.iter().all(|(_, range)| is_sound(range)) || text.parse::<toml::Table>().is_err() {
        return pieces;
    }
    vec![(1, 0..text.len())]
}

fn count_lines(text: &str) -> usize {
    text.matches('\n').count()
}

/// Writes `[[category]]` blocks.
pub fn write_modifiers(categories: &[ModifierCategory]) -> String {
    let mut text = String::new();
    for category in categories {
        let all = |holds: fn(&Modifier) -> bool| !category.modifiers.is_empty() && category.modifiers.iter().all(holds);
        let (builtin, negative) = (all(|modifier| modifier.builtin), all(|modifier| modifier.negative));
        text.push_str(&format!("[[category]]\nname = {}\n", quoted(&category.name)));
        for (name, is_set) in [("builtin", builtin), ("negative", negative)] {
            if is_set {
                text.push_str(&format!("{name} = true\n"));
            }
        }
        text.push_str("modifiers = [\n");
        for modifier in &category.modifiers {
            let mut fields = vec![format!("text = {}", quoted(&modifier.text))];
            if !modifier.about.is_empty() {
                fields.push(format!("about = {}", quoted(&modifier.about)));
            }
            if modifier.builtin != builtin {
                fields.push(format!("builtin = {}", modifier.builtin));
            }
            if modifier.negative != negative {
                fields.push(format!("negative = {}", modifier.negative));
            }
            text.push_str(&format!("    {{ {} }},\n", fields.join(", ")));
        }
        text.push_str("]\n\n");
    }
    text.trim_end().to_owned() + "\n"
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Writes `[[template]]` or `[[style]]` blocks, as `kind` says.
pub fn write_templates(templates: &[Template], kind: &str) -> String {
    let blocks = templates.iter().map(|template| {
        let settings = template.settings.clone();
        let block = TemplateBlock {
            name: template.name.clone(),
            text: template.text.clone(),
            negative: template.negative.clone(),
            about: template.about.clone(),
            builtin: template.builtin,
            model: settings.model,
            sampler: settings.sampler,
            steps: settings.steps,
            guidance: settings.guidance,
            size: settings.size.map(|size| format!("{}x{}", size.width, size.height)),
        };
        // A table of texts and numbers can always be written.
        format!("[[{kind}]]\n{}", toml::to_string(&block).unwrap_or_default())
    });
    blocks.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_again() {
        let categories = vec![ModifierCategory {
            name: "A \"b\"".into(),
            modifiers: vec![
                Modifier { text: "f/1.8".into(), about: "Blurs.\nMuch.".into(), builtin: true, negative: true },
                Modifier::new("x"),
            ],
            ..ModifierCategory::default()
        }];
        assert_eq!(read_modifiers(&write_modifiers(&categories)), (categories, vec![]));
        let templates = vec![
            Template {
                name: "[[odd]]".into(),
                text: "\n[[style]]\n{subject}, {light=soft}".into(),
                negative: "bad".into(),
                settings: Settings {
                    steps: Some(30),
                    guidance: Some(7.5),
                    size: Some(Extent::new(512, 768)),
                    sampler: Some("euler".into()),
                    model: Some("builtin".into()),
                },
                ..Template::default()
            },
            Template { name: "Plain".into(), text: "{subject}".into(), builtin: true, ..Template::default() },
        ];
        assert_eq!(read_templates(&write_templates(&templates, "style"), "style"), (templates, vec![]));
    }

    #[test]
    fn damage_costs_the_block_or_the_entry_and_names_its_line() {
        let text = "# mine\n[[category]]\nname = \"A\"\nmodifiers = [\"one\", 2, { about = \"x\" }, \"two\"]\n\n[[category]]\nname = \"B\nmodifiers = []\n\n[[category]]\nname = \"C\"\nmodifiers = [\"three\"]\n[[category]]\nname = \"D\"\ncolour = 1\nmodifiers = []\n";
        let (read, warnings) = read_modifiers(text);
        let names: Vec<(&str, usize)> = read.iter().map(|c| (c.name.as_str(), c.modifiers.len())).collect();
        assert_eq!(names, [("A", 2), ("C", 1)]);
        let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said.iter().any(|text| text.starts_with("line 7:")), "{said:?}");
        assert!(said.iter().any(|text| text.contains("this category \"D\" is left out")), "{said:?}");
        let (read, warnings) = read_templates("[[style]]\nname = \"S\"\nsize = \"big\"\n", "style");
        assert_eq!((read.len(), warnings.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(\\[\\[|category|\\]\\]|\n|=|\"|name|a|\\{|\\}|modifiers|,|[^a]){0,40}") {
            let _ = read_modifiers(&text);
            let _ = read_templates(&text, "template");
        }

        #[test]
        fn any_modifier_makes_the_round(text in "\\PC{1,20}", about in "(?s).{0,30}") {
            prop_assume!(!text.trim().is_empty());
            let modifiers = vec![Modifier { text, about, ..Modifier::default() }];
            let categories = vec![ModifierCategory { name: "x".into(), modifiers, ..ModifierCategory::default() }];
            prop_assert_eq!(read_modifiers(&write_modifiers(&categories)), (categories, vec![]));
        }
    }
}
