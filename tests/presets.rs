//! The shipped presets: all are read, and what the first start uses is there.

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
    let Ok(folder) = tempfile::tempdir() else { return };
    let modifiers = folder.path().join("modifiers");
    assert!(std::fs::create_dir_all(&modifiers).is_ok());
    let own = "[[category]]\nname = \"Mine\"\nmodifiers = [\"glittering\"]\n";
    assert!(std::fs::write(modifiers.join("01-builtin.toml"), own).is_ok());
    assert!(std::fs::write(modifiers.join("99-broken.toml"), "[[category]]\nname = ").is_ok());
    let (library, warnings) = presets::library(Some(folder.path()));
    assert_eq!(library.modifiers.first().map(|category| category.name.as_str()), Some("Mine"));
    assert_eq!(warnings.len(), 1);
    assert!(warnings.iter().all(|warning| warning.contains("99-broken.toml")));
}
