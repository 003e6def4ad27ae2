//! The models panel as a person meets it: models are added by path, shown with what they are and lack, and chosen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod window;

use std::path::{Path, PathBuf};

use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use maquette::engine::mock::plausible_output;
use maquette::registry::Sort;
use maquette::store::preferences::Preferences;
use maquette::ui::App;
use window::{app, command, folders, press, says, wait};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

#[test]
fn models_are_added_by_path_and_chosen() {
    let root = tempfile::tempdir().unwrap();
    let mine = root.path().join("mine");
    copy(&golden("diffusion/sd1"), &mine.join("tiny sd"));
    copy(&golden("clip/quick"), &mine.join("tiny clip"));
    copy(&golden("diffusion/sd1"), &mine.join("broken sd"));
    std::fs::remove_dir_all(mine.join("broken sd/vae")).unwrap();
    std::fs::copy(golden("lora/kohya.safetensors"), mine.join("a lora.safetensors")).unwrap();

    let mut harness =
        window::window([1360.0, 1400.0], Some(folders(root.path())), Preferences::default(), plausible_output);
    command(&mut harness, "Show models");
    wait(&mut harness, |app| app.workbench().models().known().is_some());
    assert!(says(&harness, "builtin") && !says(&harness, "tiny sd"));
    command(&mut harness, "Add models");
    harness.event(egui::Event::Text(mine.display().to_string()));
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    let names = |app: &App, sort: Sort| -> Vec<String> {
        let known = app.workbench().models().known().unwrap_or_default().iter();
        known.filter(|model| model.sort == sort).map(|model| model.name.clone()).collect()
    };
    wait(&mut harness, |app| names(app, Sort::Lora).contains(&"a lora".to_owned()));
    assert!(app(&harness).workbench().notices().iter().any(|notice| notice.text.contains("4 usable of 4")));
    assert!(says(&harness, "M parameters in F16") && says(&harness, "Missing: vae/"));

    harness.get_by_label("Use tiny sd as the diffusion model").click();
    harness.run_steps(3);
    harness.get_by_label("Use tiny clip as the CLIP model").click();
    harness.run_steps(3);
    let preferences = app(&harness).workbench().preferences();
    assert_eq!(preferences.diffusion_model.0, mine.join("tiny sd").display().to_string());
    assert_eq!(preferences.clip_model.0, mine.join("tiny clip").display().to_string());
    assert!(harness.query_by_label("Use broken sd as the diffusion model").is_none());
    assert!(harness.query_by_label("Use a lora as the LoRA model").is_none());
    harness.get_by_label("Use builtin as the CLIP model").click();
    harness.run_steps(3);
    assert_eq!(app(&harness).workbench().preferences().clip_model.0, "builtin");

    // What cannot be added is said, and the list stays.
    command(&mut harness, "Add models");
    harness.event(egui::Event::Text(root.path().join("nowhere").display().to_string()));
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    wait(&mut harness, |app| app.workbench().notices().iter().any(|notice| notice.text.contains("no such folder")));
    assert!(names(app(&harness), Sort::Diffusion).contains(&"tiny sd".to_owned()));
}
