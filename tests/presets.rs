//! The shipped presets: all are read, and what the first start uses is there.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use maquette::prompt::expand::{Method, Wanted, expand};
use maquette::prompt::template::{SUBJECT, has_class_hole};
use maquette::store::presets;

#[test]
fn every_shipped_preset_is_read_without_a_warning() {
    let (library, warnings) = presets::library(None);
    assert_eq!(warnings, Vec::<String>::new());
    assert!(library.modifiers.iter().any(|category| category.modifiers.iter().all(|one| one.builtin)));
    assert!(library.templates.iter().all(|template| template.text.contains(SUBJECT)));
    assert!(library.zero_shot.iter().flat_map(|list| &list.lines).all(|line| has_class_hole(line)));
    assert!(library.classes.len() >= 3);
}

#[test]
fn the_shipped_library_is_as_large_as_it_says_and_every_modifier_explains_itself() {
    let (library, _) = presets::library(None);
    assert!(library.modifiers.len() >= 20, "{} categories", library.modifiers.len());
    let all: Vec<_> = library.modifiers.iter().flat_map(|category| &category.modifiers).collect();
    assert!(all.len() >= 300, "{} modifiers", all.len());
    let mut texts = HashSet::new();
    let mut lines = HashSet::new();
    for one in &all {
        assert!(texts.insert(&one.text), "\"{}\" is there twice", one.text);
        assert!((12..=140).contains(&one.about.chars().count()), "\"{}\" says: {}", one.text, one.about);
        assert!(lines.insert(&one.about), "two modifiers say: {}", one.about);
    }
    assert!(library.templates.len() >= 20 && library.styles.len() >= 15 && library.wildcards.len() >= 15);
    assert!(library.styles.iter().all(|style| style.text.contains("{prompt}") && !style.negative.is_empty()));
    let templates_of =
        |name: &str| library.zero_shot.iter().find(|list| list.name == name).map(|list| list.lines.len());
    assert_eq!(templates_of("CLIP's 80 for ImageNet"), Some(80));
    assert_eq!(templates_of("CLIP: seven good ImageNet templates"), Some(7));
    // What is said to be known to the built-in models is known to them.
    let world = include_str!("../assets/models/world/world.json");
    for one in all.iter().filter(|one| one.builtin) {
        let word = one.text.strip_prefix("on a ").or(one.text.strip_prefix("on an ")).unwrap_or(&one.text);
        let word = word.strip_suffix(" background").filter(|word| *word != "checkered").unwrap_or(&one.text);
        assert!(world.contains(&format!("\"{word}\"")), "the built-in models do not know \"{}\"", one.text);
    }
}

#[test]
fn every_shipped_wildcard_expands() {
    let (library, _) = presets::library(None);
    let wildcards = presets::wildcards(&library);
    let wanted = Wanted { method: Method::Random, seed: 1, count: 20 };
    for name in library.wildcards.keys() {
        let expansion = expand(&format!("__{name}__"), &wildcards, wanted);
        assert_eq!(expansion.diagnostics, vec![], "{name}");
        assert!(expansion.prompts.iter().all(|prompt| !prompt.contains("__")), "{name}: {:?}", expansion.prompts);
    }
}

#[test]
fn a_users_file_replaces_a_shipped_one_and_a_broken_one_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let modifiers = folder.path().join("modifiers");
    std::fs::create_dir_all(&modifiers).unwrap();
    let own = "[[category]]\nname = \"Mine\"\nmodifiers = [\"glittering\"]\n";
    std::fs::write(modifiers.join("01-builtin.toml"), own).unwrap();
    std::fs::write(modifiers.join("99-broken.toml"), "[[category]]\nname = ").unwrap();
    let (library, warnings) = presets::library(Some(folder.path()));
    let has = |name: &str| library.modifiers.iter().any(|category| category.name == name);
    assert!(has("Mine") && !has("Background"), "the shipped file of that name is left out");
    assert_eq!(warnings.len(), 1);
    assert!(warnings.iter().all(|warning| warning.contains("99-broken.toml")));
}
