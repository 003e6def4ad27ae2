//! The shipped presets: all are read, and what the first start uses is there.
#![allow(clippy::unwrap_used)]

use maquette::prompt::template::{SUBJECT, has_class_hole};
use maquette::store::presets;

#[test]
fn every_shipped_preset_is_read_without_a_warning() {
    let (library, warnings) = presets::library(None);
    assert_eq!(warnings, Vec::<String>::new());
    assert!(library.modifiers.iter().any(|category| category.builtin));
    assert!(library.templates.iter().all(|template| template.text.contains(SUBJECT)));
    assert!(library.zero_shot.iter().flat_map(|list| &list.lines).all(|line| has_class_hole(line)));
    assert!(library.classes.len() >= 3);
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
    assert_eq!(library.modifiers.first().map(|category| category.name.as_str()), Some("Mine"));
    assert_eq!(warnings.len(), 1);
    assert!(warnings.iter().all(|warning| warning.contains("99-broken.toml")));
}
