//! The window's stories by label and role, with a scripted backend: what a person does with keyboard and mouse.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eframe::App as _;
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Node;
use egui_kittest::kittest::{NodeT, Queryable};
use maquette::base::geom::Extent;
use maquette::base::pixels::Picture;
use maquette::base::task::TaskCx;
use maquette::engine::mock::plausible_output;
use maquette::job::{JobError, JobOutput, JobSpec};
use maquette::store::pictures;
use maquette::store::preferences::{Preferences, Theme};
use maquette::ui::App;
use maquette::workbench::notices::Level;
use maquette::workbench::tools::Tool;
use window::{Dropped, Window, app, command, press, retype, wait, wait_for};

fn window<'a>() -> Window<'a> {
    window_over(plausible_output)
}

fn window_over<'a>(
    script: impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Clone + Send + 'static,
) -> Window<'a> {
    window::window([1360.0, 880.0], None, Preferences::default(), script)
}

fn open_by_path(harness: &mut Window<'_>, path: &Path) {
    press(harness, Modifiers::COMMAND, Key::O);
    retype(harness, &path.display().to_string());
    press(harness, Modifiers::NONE, Key::Enter);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    wait(harness, |app| app.workbench().document().canvas.as_ref().is_some_and(|canvas| canvas.name == name));
}

fn picture(width: u32, height: u32) -> Picture {
    Picture::from_fn(Extent::new(width, height), |x, y| [x as u8, y as u8, 77])
}

/// A picture file in a folder of its own.
fn photograph(width: u32, height: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.png");
    pictures::write_png(&path, &picture(width, height), None).unwrap();
    (folder, path)
}

fn canvas_rect(harness: &Window<'_>) -> egui::Rect {
    harness.get_by(|node| node.label().is_some_and(|label| label.starts_with("Canvas, "))).rect()
}

fn stroke(harness: &mut Window<'_>, from: egui::Vec2, by: egui::Vec2) {
    let start = canvas_rect(harness).center() + from;
    harness.drag_at(start);
    for i in 1..=8 {
        harness.hover_at(start + by * (i as f32 / 8.0));
    }
    harness.run_steps(2);
}

/// What the status line says of the enlargement.
fn zoom(harness: &Window<'_>) -> String {
    let line = harness.get_by(|node| {
        node.role() == Role::Label && node.value().is_some_and(|text| text.contains(" px   ") && text.ends_with('%'))
    });
    line.value().unwrap().rsplit("   ").next().unwrap().to_owned()
}

fn has_final_preview(app: &App) -> bool {
    app.workbench().preview().live().is_some_and(|live| live.is_final) && app.workbench().preview().job().is_none()
}

/// Every name that a node has for a screen reader.
fn name_of(node: &Node<'_>) -> String {
    let node = node.accesskit_node();
    node.label().or_else(|| node.value()).unwrap_or_default()
}

#[test]
fn typing_a_prompt_makes_a_picture_and_a_phrase_a_heatmap() {
    let mut harness = window();
    wait(&mut harness, has_final_preview);
    let prompt = harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt");
    prompt.focus();
    prompt.type_text("foggy ");
    wait(&mut harness, |app| {
        let live = app.workbench().preview().live();
        live.is_some_and(|live| live.is_final && live.spec.prompt.contains("foggy"))
    });
    let phrase = harness.get_by_role_and_label(Role::TextInput, "Phrase to find");
    phrase.focus();
    phrase.type_text("!");
    wait(&mut harness, |app| app.workbench().lens().map().is_some_and(|map| map.phrase.text.contains('!')));
}

/// The main story: a photograph, a phrase, a mask, an inpainting, classes, and everything back.
#[test]
fn the_whole_story_from_a_photograph_and_back() {
    let (_folder, path) = photograph(200, 150);
    let mut harness = window();
    // High enough for the whole zero-shot panel.
    harness.set_size(egui::vec2(1360.0, 1500.0));
    wait(&mut harness, has_final_preview);
    let first = app(&harness).workbench().document().clone();

    open_by_path(&mut harness, &path);
    let photo = app(&harness).workbench().document().canvas.clone().unwrap().picture;
    assert_eq!(photo, picture(200, 150));

    harness.get_by_role_and_label(Role::TextInput, "Phrase to find").focus();
    harness.step();
    retype(&mut harness, "the moon");
    wait(&mut harness, |app| {
        let map = app.workbench().lens().map();
        map.is_some_and(|map| map.phrase.text == "the moon" && map.picture == photo.revision())
    });
    assert!(harness.query_by_label_contains("Colour scale from").is_some());

    command(&mut harness, "Mask brush");
    stroke(&mut harness, egui::vec2(-80.0, -40.0), egui::vec2(60.0, 0.0));
    let before_stroke = app(&harness).workbench().document().clone();
    assert!(app(&harness).workbench().tools().is_drawing());
    assert!(!before_stroke.canvas.unwrap().mask.is_empty());
    press(&mut harness, Modifiers::NONE, Key::Escape);
    assert!(app(&harness).workbench().document().canvas.as_ref().unwrap().mask.is_empty());
    harness.drop_at(canvas_rect(&harness).center());
    harness.run_steps(2);
    assert!(app(&harness).workbench().document().canvas.as_ref().unwrap().mask.is_empty());

    stroke(&mut harness, egui::vec2(-60.0, 10.0), egui::vec2(90.0, 20.0));
    harness.drop_at(canvas_rect(&harness).center() + egui::vec2(30.0, 30.0));
    harness.run_steps(2);
    let painted = app(&harness).workbench().document().canvas.clone().unwrap();
    assert!(!painted.mask.is_empty());

    harness.get_by_label("Inpaint mask").click();
    wait(&mut harness, |app| has_final_preview(app) && app.workbench().preview().live().unwrap().spec.init.is_some());
    harness.get_by_label("Send to canvas").click();
    wait(&mut harness, |app| app.workbench().document().canvas.as_ref().unwrap().picture != photo);
    let changed = app(&harness).workbench().document().canvas.clone().unwrap().picture;
    for (x, y) in (0..150).flat_map(|y| (0..200).map(move |x| (x, y))) {
        if painted.mask.coverage(x, y) == 0 {
            assert_eq!(changed.pixel(x, y), photo.pixel(x, y), "outside the mask at {x}, {y}");
        }
    }

    command(&mut harness, "Show zero-shot");
    wait(&mut harness, |app| {
        app.workbench().zero_shot().table().is_some() && !app.workbench().zero_shot().is_pending()
    });
    let has = |harness: &Window<'_>, part: &str| {
        harness.query_all_by(|node| name_of_accesskit(node).contains(part)).next().is_some()
    };
    assert!(has(&harness, " % with \"a photo of a {}"), "no cell of the table is exposed");

    command(&mut harness, "Show notices");
    assert!(harness.query_by_label("Nothing to report.").is_some());
    command(&mut harness, "Show jobs");
    assert!(harness.query_by_label_contains("Nothing runs.").is_some());

    while app(&harness).workbench().history().undo_name().is_some() {
        press(&mut harness, Modifiers::COMMAND, Key::Z);
    }
    assert_eq!(*app(&harness).workbench().document(), first);
}

fn name_of_accesskit(node: &egui_kittest::kittest::AccessKitNode<'_>) -> String {
    node.label().or_else(|| node.value()).unwrap_or_default()
}

#[test]
fn jobs_and_notices_are_listed_with_what_to_do() {
    let mut harness = window_over(|spec, cx| match spec {
        JobSpec::Generate(spec) if spec.count > 1 => loop {
            cx.checkpoint()?;
            std::thread::yield_now();
        },
        JobSpec::Heatmap(_) => panic!("a scripted panic"),
        spec => plausible_output(spec, cx),
    });
    wait(&mut harness, |app| !app.workbench().notices().is_empty());
    command(&mut harness, "Show notices");
    assert!(harness.query_all_by_label_contains("a scripted panic").next().is_some());
    assert!(harness.get_by_label("Clear all").is_focused());
    command(&mut harness, "Generate four");
    command(&mut harness, "Show jobs");
    let cancel = harness.get_by(|node| node.label().is_some_and(|label| label.starts_with("Cancel Generat")));
    cancel.click();
    wait(&mut harness, |app| app.workbench().jobs().active().is_empty());
}

#[test]
fn a_mark_is_part_of_the_picture_and_undone_like_everything() {
    let mut harness = window();
    let before = app(&harness).workbench().document().clone();
    for key in [Key::Num1, Key::Num2, Key::Num3] {
        press(&mut harness, Modifiers::NONE, key);
        stroke(&mut harness, egui::vec2(-400.0, -20.0), egui::vec2(460.0, 40.0));
        harness.drop_at(canvas_rect(&harness).center() + egui::vec2(60.0, 20.0));
        harness.run_steps(2);
    }
    assert_eq!(app(&harness).workbench().document().canvas.as_ref().unwrap().marks.len(), 3);
    for _ in 0..3 {
        press(&mut harness, Modifiers::COMMAND, Key::Z);
    }
    assert_eq!(*app(&harness).workbench().document(), before);
}

#[test]
fn the_palette_finds_and_runs_a_command() {
    let mut harness = window();
    command(&mut harness, "light theme");
    wait(&mut harness, |app| app.workbench().preferences().theme == Theme::Light);
}

#[test]
fn sampler_and_schedule_are_chosen_from_menus() {
    let mut harness = window();
    let mut choose = |menu: &str, choice: &str| {
        harness.get_by_role_and_label(Role::ComboBox, menu).click();
        harness.run_steps(3);
        harness.get_by_role_and_label(Role::Button, choice).click();
        harness.run_steps(3);
        let sampling = &app(&harness).workbench().document().sampling;
        (sampling.sampler.map(|sampler| sampler.id()), sampling.schedule.id())
    };
    assert_eq!(choose("Sampler", "DPM++ 2M SDE"), (Some("dpm++2m-sde"), "default"));
    assert_eq!(choose("Schedule", "Karras"), (Some("dpm++2m-sde"), "karras"));
    assert_eq!(choose("Sampler", "Model's own"), (None, "karras"));
}

#[test]
fn the_path_dialog_is_walked_through_by_tab() {
    let mut harness = window();
    press(&mut harness, Modifiers::COMMAND, Key::O);
    assert!(harness.get_by_role_and_label(Role::TextInput, "File").is_focused());
    harness.event(egui::Event::Text("a.png".to_owned()));
    harness.run_steps(2);
    for label in ["Open", "Browse…", "Cancel"] {
        press(&mut harness, Modifiers::NONE, Key::Tab);
        assert!(harness.get_by_role_and_label(Role::Button, label).is_focused(), "Tab does not reach {label}");
    }
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert!(harness.query_by_label("Browse…").is_none());
}

#[test]
fn saving_proposes_a_free_name_and_asks_before_it_replaces() {
    let (folder, path) = photograph(40, 30);
    let mut harness = window();
    open_by_path(&mut harness, &path);
    let saved = |name: &str| pictures::read(&folder.path().join(name));
    press(&mut harness, Modifiers::COMMAND, Key::S);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    wait(&mut harness, |app| !app.workbench().notices().is_empty());
    assert_eq!(saved("photo-2.png").unwrap(), picture(40, 30));

    command(&mut harness, "Open sample");
    wait(&mut harness, |app| app.workbench().document().canvas.as_ref().unwrap().name != "photo.png");
    press(&mut harness, Modifiers::COMMAND, Key::S);
    retype(&mut harness, &path.display().to_string());
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert!(harness.get_by_label("Cancel").is_focused());
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert!(harness.get_by_role_and_label(Role::TextInput, "File").is_focused());
    assert_eq!(saved("photo.png").unwrap(), picture(40, 30));
    press(&mut harness, Modifiers::NONE, Key::Enter);
    press(&mut harness, Modifiers::SHIFT, Key::Tab);
    assert!(harness.get_by_label("Replace").is_focused());
    press(&mut harness, Modifiers::NONE, Key::Enter);
    wait(&mut harness, |app| app.workbench().notices().len() == 2);
    assert_eq!(saved("photo.png").unwrap(), app(&harness).workbench().document().canvas.as_ref().unwrap().picture);
}

#[test]
fn a_made_picture_and_the_mask_are_saved_from_the_window() {
    let (folder, path) = photograph(40, 30);
    let mut harness = window();
    open_by_path(&mut harness, &path);
    harness.get_by_label("Generate").click();
    wait(&mut harness, |app| !app.workbench().preview().results().is_empty());
    let seed = app(&harness).workbench().preview().results()[0].seed;
    harness.get_by_label("Save picture…").click();
    harness.run_steps(3);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    wait(&mut harness, |app| app.workbench().notices().len() == 1);
    let record = pictures::read_metadata(&folder.path().join(format!("seed-{seed}.png"))).unwrap().unwrap();
    assert!(record.contains(&seed.to_string()));

    command(&mut harness, "Invert mask");
    command(&mut harness, "Save mask");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    wait(&mut harness, |app| app.workbench().notices().len() == 2);
    let mask = pictures::read_mask(&folder.path().join("mask.png")).unwrap();
    assert_eq!(mask, app(&harness).workbench().document().canvas.as_ref().unwrap().mask);
}

#[test]
fn closing_the_window_right_after_saving_loses_nothing() {
    let (folder, path) = photograph(900, 700);
    let mut harness = window();
    open_by_path(&mut harness, &path);
    press(&mut harness, Modifiers::COMMAND, Key::S);
    harness.key_press(Key::Enter);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Q);
    harness.step();
    harness.state_mut().as_mut().unwrap().on_exit(None);
    assert_eq!(pictures::read(&folder.path().join("photo-2.png")).unwrap(), picture(900, 700));
}

#[test]
fn of_several_dropped_files_the_first_is_opened_and_that_is_said() {
    let (folder, path) = photograph(40, 30);
    let mut harness = window();
    let other = folder.path().join("other.png");
    harness.input_mut().dropped_files = vec![Arc::new(Dropped(path)), Arc::new(Dropped(other))];
    harness.step();
    wait(&mut harness, |app| app.workbench().document().canvas.as_ref().unwrap().name == "photo.png");
    let notice = app(&harness).workbench().notices().newest().unwrap();
    assert_eq!(notice.level, Level::Info);
    assert!(notice.text.contains("One file at a time"));
}

#[test]
fn a_pasted_picture_is_put_on_the_canvas() {
    let mut harness = window();
    let image = egui::ColorImage::filled([6, 4], egui::Color32::from_rgb(9, 8, 7));
    harness.event(egui::Event::PasteImage(Arc::new(image)));
    wait(&mut harness, |app| app.workbench().document().canvas.as_ref().unwrap().extent() == Extent::new(6, 4));
    let canvas = app(&harness).workbench().document().canvas.clone().unwrap();
    assert_eq!(canvas.picture.pixel(5, 3), Some([9, 8, 7]));
}

#[test]
fn the_view_is_kept_for_edits_and_fits_another_picture() {
    let (folder, path) = photograph(40, 30);
    let same = folder.path().join("same.png");
    pictures::write_png(&same, &picture(40, 30), None).unwrap();
    let larger = folder.path().join("larger.png");
    pictures::write_png(&larger, &picture(400, 300), None).unwrap();
    let mut harness = window();
    open_by_path(&mut harness, &path);
    let fitting = zoom(&harness);
    press(&mut harness, Modifiers::NONE, Key::Plus);
    let nearer = zoom(&harness);
    assert_ne!(fitting, nearer);
    command(&mut harness, "Invert mask");
    press(&mut harness, Modifiers::COMMAND, Key::Z);
    open_by_path(&mut harness, &same);
    assert_eq!(zoom(&harness), nearer);
    open_by_path(&mut harness, &larger);
    let larger_fits = zoom(&harness);
    command(&mut harness, "Fit picture");
    assert_eq!(zoom(&harness), larger_fits);
}

#[test]
fn single_keys_work_beside_a_focused_button_and_not_behind_a_dialog() {
    let tool = |harness: &Window<'_>| app(harness).workbench().tools().tool();
    let mut harness = window();
    harness.get_by_label("Generate").focus();
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::B);
    assert_eq!(tool(&harness), Tool::Brush);
    harness.get_by_role_and_label(Role::TextInput, "Phrase to find").focus();
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::E);
    assert_eq!(tool(&harness), Tool::Brush);
    command(&mut harness, "About");
    assert!(harness.get_by_label("Close").is_focused());
    let before = app(&harness).workbench().document().clone();
    press(&mut harness, Modifiers::NONE, Key::E);
    press(&mut harness, Modifiers::COMMAND, Key::R);
    assert_eq!(tool(&harness), Tool::Brush);
    assert_eq!(*app(&harness).workbench().document(), before);
    assert!(harness.query_by_label_contains("Twemoji").is_some());
    press(&mut harness, Modifiers::NONE, Key::Enter);
    press(&mut harness, Modifiers::NONE, Key::E);
    assert_eq!(tool(&harness), Tool::Eraser);
}

/// The command that goes to each panel, and what has the keyboard then.
const PANELS: [(&str, &str); 9] = [
    ("Go to canvas", "Canvas, "),
    ("Go to preview", "New picture"),
    ("Edit prompt", "Prompt"),
    ("Edit lens phrase", "Phrase to find"),
    ("Show zero-shot", "Classes, one a line"),
    ("Show library", "Search the library"),
    ("Show models", "Add models…"),
    ("Show jobs", "Jobs"),
    ("Show notices", "Notices"),
];

#[test]
fn every_panel_takes_the_keyboard() {
    let mut harness = window();
    for (name, focused) in PANELS {
        command(&mut harness, name);
        let node = harness.query_all_by(|node| node.is_focused()).last().unwrap();
        assert!(name_of(&node).starts_with(focused), "{name} puts the keyboard into {}", name_of(&node));
    }
}

#[test]
fn the_canvas_pans_by_arrow_keys_and_a_tab_is_pressed_by_enter() {
    let mut harness = window();
    command(&mut harness, "Go to canvas");
    let at = |harness: &Window<'_>| {
        harness.hover_at(canvas_rect(harness).center());
    };
    at(&harness);
    harness.run_steps(2);
    wait(&mut harness, |app| app.workbench().lens().map().is_some());
    let place = |harness: &Window<'_>| {
        let node = harness
            .get_by(|node| node.role() == Role::Label && node.value().is_some_and(|text| text.contains("similarity")));
        node.value().unwrap().split(')').next().unwrap().to_owned()
    };
    let before = place(&harness);
    press(&mut harness, Modifiers::NONE, Key::ArrowRight);
    press(&mut harness, Modifiers::NONE, Key::ArrowDown);
    assert_ne!(place(&harness), before);
    assert!(harness.query_all_by(|node| node.is_focused()).any(|node| name_of(&node).starts_with("Canvas, ")));
    harness.get_by_role_and_label(Role::Button, "Library").focus();
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert!(harness.query_by_label("Search the library").is_some());
}

#[test]
fn a_divider_is_moved_by_arrow_keys() {
    let mut harness = window();
    let before = canvas_rect(&harness);
    harness.query_all_by_role_and_label(Role::Splitter, "Divider between panels").for_each(|node| {
        // The one beside the canvas, not those above and below other panels.
        if node.rect().height() > node.rect().width() {
            node.focus();
        }
    });
    harness.run_steps(2);
    press(&mut harness, Modifiers::NONE, Key::ArrowLeft);
    let after = canvas_rect(&harness);
    assert!(after.width() < before.width() && after.height() == before.height());
}

#[test]
fn numbers_of_another_picture_are_not_shown() {
    let (_folder, path) = photograph(40, 30);
    let holds = Arc::new(AtomicBool::new(false));
    let held = holds.clone();
    let mut harness = window_over(move |spec, cx| {
        while matches!(spec, JobSpec::Heatmap(_)) && held.load(Ordering::SeqCst) {
            cx.checkpoint()?;
            std::thread::yield_now();
        }
        plausible_output(spec, cx)
    });
    wait(&mut harness, |app| app.workbench().lens().map().is_some());
    harness.hover_at(canvas_rect(&harness).center());
    harness.run_steps(2);
    let is_shown = |harness: &Window<'_>, part: &str| {
        harness.query_all_by(|node| name_of_accesskit(node).contains(part)).next().is_some()
    };
    assert!(is_shown(&harness, "similarity") && is_shown(&harness, "Whole picture"));
    holds.store(true, Ordering::SeqCst);
    open_by_path(&mut harness, &path);
    harness.hover_at(canvas_rect(&harness).center());
    harness.run_steps(2);
    assert!(!is_shown(&harness, "similarity") && !is_shown(&harness, "Whole picture"));
    holds.store(false, Ordering::SeqCst);
    wait_for(&mut harness, |harness| is_shown(harness, "similarity") && is_shown(harness, "Whole picture"));
}

#[test]
fn modifiers_say_whether_they_are_in_the_prompt() {
    let mut harness = window();
    command(&mut harness, "Show library");
    let modifier = app(&harness).workbench().library().modifiers[0].modifiers[0].text.clone();
    let is_on = |harness: &Window<'_>| {
        let node = harness.get_by_role_and_label(Role::Button, &modifier).accesskit_node();
        node.toggled().map(|toggled| toggled == egui::accesskit::Toggled::True).or(node.is_selected())
    };
    assert_eq!(is_on(&harness), Some(false));
    harness.get_by_role_and_label(Role::Button, &modifier).click();
    harness.run_steps(3);
    assert_eq!(is_on(&harness), Some(true));
}

/// Whatever can have the keyboard, in any panel and dialog, has a name for screen readers.
#[test]
fn everything_that_takes_the_keyboard_has_a_name() {
    let mut harness = window();
    wait(&mut harness, |app| has_final_preview(app) && app.workbench().zero_shot().table().is_some());
    harness.get_by_label("Generate").click();
    wait(&mut harness, |app| !app.workbench().preview().results().is_empty());
    press(&mut harness, Modifiers::NONE, Key::B);
    harness.get_by_label("Inpaint mask").click();
    harness.run_steps(3);
    let mut seen = Vec::new();
    let mut walk = |harness: &Window<'_>, place: &str| {
        for node in harness.root().children_recursive() {
            let found = node.accesskit_node();
            let is_root = found.parent().is_none();
            if found.data().supports_action(egui::accesskit::Action::Focus) && !is_root {
                let name = name_of(&node);
                assert!(!name.trim().is_empty(), "{place}: a {:?} at {:?} has no name", found.role(), node.rect());
                seen.push(name);
            }
        }
    };
    for (name, _) in PANELS {
        command(&mut harness, name);
        walk(&harness, name);
    }
    for name in ["About", "Open picture", "Save canvas"] {
        command(&mut harness, name);
        walk(&harness, name);
        press(&mut harness, Modifiers::NONE, Key::Escape);
        harness.run_steps(2);
    }
    press(&mut harness, Modifiers::COMMAND, Key::K);
    walk(&harness, "palette");
    for name in ["Pan (H)", "Mark in red", "Fill classes from a list", "Fill templates from a list", "Browse…"] {
        assert!(seen.iter().any(|label| label == name), "{name} is not among what takes the keyboard");
    }
}
