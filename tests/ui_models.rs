//! The models panel as a person meets it: models are added by path, shown with what they are and lack, and chosen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod window;

use std::path::{Path, PathBuf};

use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use maquette::base::task::TaskCx;
use maquette::document::ControlPicture;
use maquette::engine::mock::plausible_output;
use maquette::job::spec::GenerateSpec;
use maquette::job::{JobError, JobOutput, JobSpec};
use maquette::registry::Sort;
use maquette::store::preferences::Preferences;
use maquette::ui::App;
use maquette::workbench::Command;
use maquette::workbench::compare::CompareRequest;
use maquette::workbench::library::{Item, LibraryCommand};
use window::{Window, app, click, command, folders, press, retype, says, wait};

fn open<'a>(root: &Path) -> Window<'a> {
    window::window([1360.0, 1400.0], Some(folders(root)), Preferences::default(), plausible_output)
}

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

    let mut harness = open(root.path());
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

/// A folder of things that steer, remembered by the window.
fn window_with_steering(root: &Path) -> Window<'_> {
    window_over(root, Preferences::default(), plausible_output)
}

fn window_over<'a>(
    root: &Path,
    preferences: Preferences,
    script: impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Clone + Send + 'static,
) -> Window<'a> {
    let mine = root.join("mine");
    copy(&golden("steered/control0"), &mine.join("edges"));
    std::fs::copy(golden("lora/kohya.safetensors"), mine.join("ink.safetensors")).unwrap();
    std::fs::copy(golden("pickle/a1111.pt"), mine.join("mood.pt")).unwrap();
    std::fs::create_dir_all(root.join("presets")).unwrap();
    let place = toml::Value::String(mine.display().to_string());
    std::fs::write(root.join("presets/models.toml"), format!("[[place]]\npath = {place}\n")).unwrap();
    let mut harness = window::window([1360.0, 1400.0], Some(folders(root)), preferences, script);
    wait(&mut harness, |app| app.workbench().models().known().is_some());
    command(&mut harness, "Show steering");
    harness
}

/// Asks for a picture and gives the request that made it.
fn generate(harness: &mut Window<'_>) -> GenerateSpec {
    let before = app(harness).workbench().preview().results().len();
    command(harness, "Generate");
    wait(harness, |app| app.workbench().preview().results().len() > before);
    app(harness).workbench().preview().results()[before].spec.clone()
}

#[test]
fn loras_are_added_weighed_and_taken_away() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window_with_steering(root.path());
    assert!(generate(&mut harness).loras.is_empty());
    command(&mut harness, "Show steering");
    click(&mut harness, "Add LoRA…");
    click(&mut harness, "ink");
    let made = generate(&mut harness);
    assert_eq!(made.loras[0].path, root.path().join("mine/ink.safetensors"));
    assert_eq!((made.loras[0].unet_strength, made.loras[0].text_strength, made.loras[0].sha256.len()), (1.0, 1.0, 64));

    let strength = |harness: &Window<'_>| app(harness).workbench().document().steering.loras[0].strength;
    harness.get_by_role_and_label(Role::Slider, "Strength").focus();
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::ArrowLeft);
    let weaker = strength(&harness);
    assert!(weaker < 1.0, "{weaker}");
    click(&mut harness, "Other strength on words");
    harness.get_by_role_and_label(Role::Slider, "On words").focus();
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::ArrowRight);
    let made = generate(&mut harness);
    assert_eq!(made.loras[0].unet_strength, weaker);
    assert!(made.loras[0].text_strength > weaker);
    click(&mut harness, "ink");
    assert!(generate(&mut harness).loras.is_empty(), "it is off");
    click(&mut harness, "Remove ink");
    assert!(app(&harness).workbench().document().steering.loras.is_empty());
    command(&mut harness, "Undo");
    assert!(!app(&harness).workbench().document().steering.loras[0].is_on);
}

#[test]
fn what_the_prompt_names_is_found_or_said_to_be_missing() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window_with_steering(root.path());
    click(&mut harness, "mood in the negative prompt");
    assert_eq!(app(&harness).workbench().document().negative, "mood");
    command(&mut harness, "Edit prompt");
    harness.event(egui::Event::Text("<lora:ink:0.5> ".to_owned()));
    harness.run_steps(3);
    let made = generate(&mut harness);
    assert_eq!(made.embeddings[0].path, root.path().join("mine/mood.pt"));
    assert_eq!((made.loras[0].unet_strength, made.loras.len()), (0.5, 1));
    command(&mut harness, "Edit prompt");
    harness.event(egui::Event::Text("<lora:nothing:1>".to_owned()));
    wait(&mut harness, |app| app.workbench().preview().failure().is_some_and(|text| text.contains("Looked in")));
    assert!(says(&harness, &root.path().join("mine").display().to_string()));
    command(&mut harness, "Generate");
    wait(&mut harness, |app| {
        app.workbench().notices().iter().any(|notice| notice.text.contains("nothing of this name"))
    });
}

#[test]
fn what_is_drawn_says_which_loras_are_used() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window_with_steering(root.path());
    command(&mut harness, "Edit prompt");
    retype(&mut harness, "a fox {<lora:ink:0.25>|<lora:ink:0.75>}");
    for _ in 0..4 {
        let made = generate(&mut harness);
        let strength = if made.prompt.contains("0.25") { 0.25 } else { 0.75 };
        let strengths: Vec<f32> = made.loras.iter().map(|lora| lora.unet_strength).collect();
        assert_eq!((made.prompt.contains('{'), strengths), (false, vec![strength]), "{}", made.prompt);
    }
}

#[test]
fn the_pictures_of_a_grid_are_steered_by_their_own_prompts() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window_with_steering(root.path());
    command(&mut harness, "Edit prompt");
    retype(&mut harness, "<lora:ink:0.5> a {red|blue} __animals__ in a mood");
    for (index, axis) in ["Seed: 1-3", "Prompt S/R: ink:0.5, ink:2, nothing:1"].into_iter().enumerate() {
        let request = CompareRequest::SetAxis(index, axis.parse().unwrap());
        harness.state_mut().as_mut().unwrap().send(Command::Compare(request));
    }
    wait(
        &mut harness,
        |app| matches!(app.workbench().compare().plan(), Some(Err(text)) if text.contains("asks for nothing")),
    );
    let request = CompareRequest::SetAxis(1, "Prompt S/R: \"<lora:ink:0.5>\", <lora:ink:2>, mood".parse().unwrap());
    harness.state_mut().as_mut().unwrap().send(Command::Compare(request));
    wait(&mut harness, |app| matches!(app.workbench().compare().plan(), Some(Ok(_))));
    let Some(Ok(plan)) = app(&harness).workbench().compare().plan() else { panic!("there is a plan") };
    let strengths: Vec<f32> =
        plan.grid.cells.iter().flat_map(|cell| cell.spec.loras.iter().map(|lora| lora.unet_strength)).collect();
    assert_eq!(strengths, [0.5, 0.5, 0.5, 2.0, 2.0, 2.0]);
    for cell in &plan.grid.cells {
        let spec = &cell.spec;
        assert!(!spec.prompt.contains(['{', '_']), "{}", spec.prompt);
        assert_eq!(spec.embeddings.len(), usize::from(spec.prompt.contains("mood")), "{}", spec.prompt);
        assert_eq!(cell.job, spec.hash());
    }
}

#[test]
fn what_only_a_drawn_prompt_names_is_found_for_grids_and_single_pictures_alike() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window_with_steering(root.path());
    command(&mut harness, "Edit prompt");
    // No file is called {ink|ink}, and the learned word is in one of two choices.
    retype(&mut harness, "a {mood|calm} fox <lora:{ink|ink}:0.5>");
    let request = CompareRequest::SetAxis(0, "Seed: 1-8".parse().unwrap());
    harness.state_mut().as_mut().unwrap().send(Command::Compare(request));
    wait(&mut harness, |app| matches!(app.workbench().compare().plan(), Some(Ok(_))));
    let Some(Ok(plan)) = app(&harness).workbench().compare().plan() else { panic!("there is a plan") };
    let cells: Vec<GenerateSpec> = plan.grid.cells.iter().map(|cell| cell.spec.clone()).collect();
    let moods = cells.iter().filter(|spec| spec.prompt.contains("mood")).count();
    assert!(0 < moods && moods < cells.len(), "both are drawn");
    for spec in &cells {
        assert_eq!(spec.loras.iter().map(|lora| lora.unet_strength).collect::<Vec<_>>(), [0.5], "{}", spec.prompt);
        assert_eq!(spec.embeddings.len(), usize::from(spec.prompt.contains("mood")), "{}", spec.prompt);
    }
    let single = generate(&mut harness);
    let same = cells.iter().find(|spec| spec.sampling.seed == single.sampling.seed).unwrap();
    let same = GenerateSpec { sampling: single.sampling.clone(), ..same.clone() };
    assert_eq!(same.hash(), single.hash());
}

#[test]
fn thumbnails_and_effects_have_what_their_item_names() {
    let root = tempfile::tempdir().unwrap();
    let style = |name: &str, text: &str| format!("[[style]]\nname = \"{name}\"\ntext = \"{text}\"\n");
    let styles = [style("inked", "{prompt}, <lora:ink:0.5>"), style("lost", "{prompt}, <lora:sea:1>")].concat();
    std::fs::create_dir_all(root.path().join("presets/styles")).unwrap();
    std::fs::write(root.path().join("presets/styles/mine.toml"), styles).unwrap();
    let (sender, asked) = std::sync::mpsc::channel();
    let script = move |spec: &JobSpec, cx: &TaskCx<'_>| {
        if let JobSpec::Generate(spec) = spec {
            let strengths: Vec<f32> = spec.loras.iter().map(|lora| lora.unet_strength).collect();
            sender.send((spec.prompt.clone(), strengths, spec.embeddings.len())).unwrap();
        }
        plausible_output(spec, cx)
    };
    let mut harness = window_over(root.path(), Preferences { live_preview: false, ..Preferences::default() }, script);
    command(&mut harness, "Edit prompt");
    retype(&mut harness, "a fox");
    let send =
        |harness: &mut Window<'_>, request| harness.state_mut().as_mut().unwrap().send(Command::Library(request));
    let items = ["lost", "inked"].map(|name| Item::Style(name.to_owned()));
    send(&mut harness, LibraryCommand::RenderThumbnails(items.to_vec()));
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().get(&items[1]).is_some_and(|one| one.is_current));
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), [("a fox, <lora:ink:0.5>".to_owned(), vec![0.5], 0)]);
    let said = |app: &App, what: &str| app.workbench().notices().iter().any(|notice| notice.text.contains(what));
    assert!(said(app(&harness), "\"lost\" cannot be rendered"), "nothing is rendered without what it asks for");

    let modifiers = ["<lora:sea:1>", "<lora:ink:0.7> mood"].map(str::to_owned).to_vec();
    send(&mut harness, LibraryCommand::Measure { modifiers, seeds: 1 });
    let measured = "<lora:ink:0.7> mood";
    wait(&mut harness, |app| app.workbench().shelf().effects().get(measured).is_some_and(|one| one.is_current));
    wait(&mut harness, |app| app.workbench().shelf().effects().progress().is_none());
    let plain = ("a fox".to_owned(), vec![], 0);
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), [plain, (format!("a fox, {measured}"), vec![0.7], 1)]);
    assert!(said(app(&harness), "\"<lora:sea:1>\" cannot be measured"));

    // Told twice at once, it renders once; and what is stopped while it is looked for is not rendered.
    let ink = LibraryCommand::RenderThumbnails(vec![items[1].clone(), Item::Template("Flat illustration".to_owned())]);
    retype(&mut harness, "an owl");
    for request in [ink.clone(), ink.clone()] {
        send(&mut harness, request);
    }
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().progress().is_some());
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().progress().is_none());
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().get(&items[1]).is_some_and(|one| one.is_current));
    let once = asked.try_iter().filter(|(prompt, ..)| prompt.contains("<lora")).count();
    assert_eq!(once, 1);
    retype(&mut harness, "a dog");
    send(&mut harness, ink);
    send(&mut harness, LibraryCommand::StopThumbnails);
    harness.run_steps(30);
    // So does what stops everything.
    send(&mut harness, LibraryCommand::Measure { modifiers: vec!["foggy".to_owned()], seeds: 1 });
    harness.state_mut().as_mut().unwrap().send(Command::CancelAll);
    harness.run_steps(30);
    assert_eq!(app(&harness).workbench().shelf().effects().progress(), None);
    assert_eq!((asked.try_iter().count(), app(&harness).workbench().shelf().thumbnails().progress()), (0, None));
}

#[test]
fn a_grid_follows_files_that_come() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window_with_steering(root.path());
    let request = CompareRequest::SetAxis(0, "Prompt: <lora:sea:1> a fox, a fox".parse().unwrap());
    harness.state_mut().as_mut().unwrap().send(Command::Compare(request));
    wait(&mut harness, |app| matches!(app.workbench().compare().plan(), Some(Err(_))));
    let more = root.path().join("more");
    std::fs::create_dir(&more).unwrap();
    std::fs::copy(golden("lora/kohya.safetensors"), more.join("sea.safetensors")).unwrap();
    command(&mut harness, "Add models");
    harness.event(egui::Event::Text(more.display().to_string()));
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    wait(&mut harness, |app| matches!(app.workbench().compare().plan(), Some(Ok(_))));
}

#[test]
fn a_control_net_steers_by_the_canvas_or_by_a_file() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window_with_steering(root.path());
    click(&mut harness, "Add ControlNet…");
    click(&mut harness, "edges");
    let canvas = app(&harness).workbench().document().canvas.as_ref().unwrap().picture.clone();
    assert_eq!(generate(&mut harness).nets.controls[0].picture, canvas);
    command(&mut harness, "Show steering");
    click(&mut harness, "File…");
    harness.event(egui::Event::Text(golden("pickle/picture.png").display().to_string()));
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    let is_file = |app: &App| {
        let controls = &app.workbench().document().steering.controls;
        controls
            .iter()
            .any(|control| matches!(&control.picture, ControlPicture::File { name, .. } if name == "picture.png"))
    };
    wait(&mut harness, is_file);
    command(&mut harness, "Undo");
    assert!(!is_file(app(&harness)), "the file is gone again");
    command(&mut harness, "Redo");
    let made = generate(&mut harness);
    let control = &made.nets.controls[0];
    assert_eq!(control.model.0, root.path().join("mine/edges").display().to_string());
    assert_eq!((control.scale, control.start, control.end), (1.0, 0.0, 1.0));
}
