//! The library panel as a person meets it: by label and role, with a scripted backend.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod window;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use maquette::base::geom::Extent;
use maquette::base::pixels::Picture;
use maquette::base::task::TaskCx;
use maquette::engine::mock::plausible_output;
use maquette::job::output::Generated;
use maquette::job::spec::{EmbedInputs, EmbedSpec};
use maquette::job::{JobError, JobOutput, JobSpec};
use maquette::store::preferences::Preferences;
use maquette::workbench::library::Item;
use maquette::workbench::notices::Level;
use window::{Window, app, click, command, folders, press, retype, says, wait};

/// Without a live preview, whose jobs would only be in the way of counting.
fn quiet() -> Preferences {
    Preferences { live_preview: false, ..Preferences::default() }
}

fn open<'a>(root: &Path) -> Window<'a> {
    open_over(root, plausible_output)
}

fn open_over<'a>(
    root: &Path,
    script: impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Clone + Send + 'static,
) -> Window<'a> {
    let mut harness = window::window([1360.0, 1800.0], Some(folders(root)), quiet(), script);
    command(&mut harness, "Edit prompt");
    retype(&mut harness, "a fox");
    command(&mut harness, "Show library");
    harness
}

fn prompt(harness: &Window<'_>) -> String {
    app(harness).workbench().document().prompt.clone()
}

fn words(harness: &Window<'_>) -> (String, String) {
    app(harness).workbench().document().words()
}

fn button(harness: &mut Window<'_>, name: &str) {
    harness.get_by_role_and_label(Role::Button, name).click();
    harness.run_steps(3);
}

fn undo(harness: &mut Window<'_>) {
    press(harness, Modifiers::COMMAND, Key::Z);
}

fn search(harness: &mut Window<'_>, text: &str) {
    harness.get_by_label("Search the library").focus();
    harness.run_steps(1);
    retype(harness, text);
    if text.is_empty() {
        press(harness, Modifiers::COMMAND, Key::A);
        press(harness, Modifiers::NONE, Key::Backspace);
    }
    // The keyboard goes back to where shortcuts are heard.
    press(harness, Modifiers::NONE, Key::Escape);
}

#[test]
fn a_click_puts_a_modifier_into_the_prompt_and_each_is_a_step() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    let is_on = |harness: &Window<'_>, name: &str| {
        let node = harness.get_by_role_and_label(Role::Button, name).accesskit_node();
        node.toggled() == Some(egui::accesskit::Toggled::True)
    };
    search(&mut harness, "veil");
    assert!(!is_on(&harness, "foggy"), "found by what is said about it");
    button(&mut harness, "foggy");
    assert!(is_on(&harness, "foggy"));
    search(&mut harness, "watermark");
    button(&mut harness, "watermark");
    assert_eq!(words(&harness), ("a fox, foggy".to_owned(), "watermark".to_owned()));
    assert!(is_on(&harness, "watermark"));
    undo(&mut harness);
    assert_eq!(words(&harness), ("a fox, foggy".to_owned(), String::new()));
    undo(&mut harness);
    assert_eq!(prompt(&harness), "a fox");
    search(&mut harness, "no such words");
    assert!(says(&harness, "Nothing fits"));
}

#[test]
fn templates_and_styles_are_stacked_in_any_order_over_the_prompt() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    click(&mut harness, "Templates");
    search(&mut harness, "without lettering");
    button(&mut harness, "Logo");
    click(&mut harness, "Styles");
    search(&mut harness, "linocut");
    button(&mut harness, "Linocut");
    let logo = "minimal logo of a fox, single colour, geometric, negative space, white background";
    let linocut = ", linocut, bold shapes, two colours, carved texture";
    assert_eq!(words(&harness).0, format!("{logo}{linocut}"));
    assert_eq!(words(&harness).1, "text, gradient, photo, detail, fine detail");
    assert_eq!(prompt(&harness), "a fox", "the prompt itself stays");
    assert!(says(&harness, &format!("{logo}{linocut}")), "the panel shows what the model gets");
    let edge = harness.get_by_label("Take off Logo").rect();
    assert!(edge.right() < 1360.0 - 12.0, "the stack is no wider than the panel");
    // The other way round.
    click(&mut harness, "Move Linocut up");
    assert_eq!(words(&harness).0, logo.replace("a fox", &format!("a fox{linocut}")));
    undo(&mut harness);
    assert_eq!(words(&harness).0, format!("{logo}{linocut}"));
    // And by dragging.
    drag(&mut harness, "Linocut", "Take off Logo");
    assert_eq!(words(&harness).0, logo.replace("a fox", &format!("a fox{linocut}")));
    undo(&mut harness);
    assert_eq!(words(&harness).0, format!("{logo}{linocut}"));
    // A hole of the template, typed as one step.
    harness.get_by_label("colour").focus();
    harness.run_steps(1);
    retype(&mut harness, "deep");
    harness.event(egui::Event::Text(" blue".to_owned()));
    harness.run_steps(2);
    assert!(words(&harness).0.contains("of a fox, deep blue, geometric"), "{}", words(&harness).0);
    press(&mut harness, Modifiers::NONE, Key::Escape);
    undo(&mut harness);
    assert!(words(&harness).0.contains("of a fox, single colour, geometric"));
    // Left out for now, then for good.
    click(&mut harness, "Use Logo");
    assert_eq!(words(&harness).0, format!("a fox{linocut}"));
    click(&mut harness, "Take off Logo");
    button(&mut harness, "Linocut");
    assert_eq!(words(&harness).0, "a fox");
    for wanted in [format!("a fox{linocut}"), format!("a fox{linocut}"), format!("{logo}{linocut}")] {
        undo(&mut harness);
        assert_eq!(words(&harness).0, wanted);
    }
    click(&mut harness, "Write into the prompt");
    assert_eq!(prompt(&harness), format!("{logo}{linocut}"));
    assert!(app(&harness).workbench().document().stack.is_empty());
    undo(&mut harness);
    assert_eq!((prompt(&harness).as_str(), app(&harness).workbench().document().stack.len()), ("a fox", 2));
}

#[test]
fn what_is_put_onto_the_prompt_moves_nothing_under_the_pointer() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window::window([1440.0, 900.0], Some(folders(root.path())), quiet(), plausible_output);
    command(&mut harness, "Show library");
    click(&mut harness, "Templates");
    let place = |harness: &Window<'_>, name: &str| harness.get_by_role_and_label(Role::Button, name).rect();
    let before = place(&harness, "Cartoon in a meadow");
    button(&mut harness, "Flat illustration");
    assert_eq!(app(&harness).workbench().document().stack.len(), 1);
    assert_eq!(place(&harness, "Cartoon in a meadow"), before);
    let last = harness.get_by_label("Take off all").rect();
    assert!(last.bottom() < harness.get_by_label("Show the heatmap").rect().top(), "the stack is seen whole");
}

/// Drags the name of a template to the upper half of a row of the stack.
fn drag(harness: &mut Window<'_>, name: &str, row: &str) {
    let from = harness.get_by_role_and_label(Role::Label, name).rect().center();
    let to = harness.get_by_label(row).rect().center_top();
    let to = egui::pos2(from.x, to.y + 2.0);
    harness.drag_at(from);
    harness.run_steps(2);
    harness.hover_at(from.lerp(to, 0.5));
    harness.run_steps(2);
    harness.hover_at(to);
    harness.run_steps(2);
    harness.drop_at(to);
    harness.run_steps(3);
}

#[test]
fn the_list_has_most_of_the_panel() {
    for (size, least) in [([1000.0, 700.0], 3), ([1440.0, 900.0], 6)] {
        let root = tempfile::tempdir().unwrap();
        let mut harness = window::window(size, Some(folders(root.path())), quiet(), plausible_output);
        command(&mut harness, "Show library");
        let below = harness.get_by_label("Show the heatmap").rect().top() - 40.0;
        let stars = harness.get_all_by(|node| node.label().is_some_and(|label| label.starts_with("Favourite ")));
        let seen = stars.filter(|star| star.rect().bottom() < below).count();
        assert!(seen >= least, "{seen} rows at {size:?}");
    }
}

#[test]
fn the_keyboard_goes_from_the_words_to_what_was_found_and_stays_there() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    click(&mut harness, "Templates");
    harness.get_by_label("Search the library").focus();
    harness.run_steps(1);
    retype(&mut harness, "sketch");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    press(&mut harness, Modifiers::NONE, Key::Space);
    assert!(words(&harness).0.contains("pencil sketch"), "{}", words(&harness).0);
    press(&mut harness, Modifiers::NONE, Key::Space);
    assert_eq!(words(&harness).0, "a fox", "the list moved down, and the keyboard with it");
}

#[test]
fn words_that_fit_in_another_list_lead_there() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    click(&mut harness, "Templates");
    harness.get_by_label("Search the library").focus();
    harness.run_steps(1);
    retype(&mut harness, "foggy");
    assert!(says(&harness, "Nothing fits here") && says(&harness, "Modifiers: 1"));
    // Enter goes to the first list in which they are found, the arrow to the first row of a list.
    press(&mut harness, Modifiers::NONE, Key::Enter);
    press(&mut harness, Modifiers::NONE, Key::Space);
    assert_eq!(prompt(&harness), "a fox, foggy");
    harness.get_by_label("Search the library").focus();
    harness.run_steps(1);
    press(&mut harness, Modifiers::NONE, Key::ArrowDown);
    press(&mut harness, Modifiers::NONE, Key::Space);
    assert_eq!(prompt(&harness), "a fox");
    harness.get_by_label("Search the library").focus();
    harness.run_steps(1);
    retype(&mut harness, "no such word");
    assert!(says(&harness, "Nothing fits. Change the words above"));
}

#[test]
fn words_lead_elsewhere_although_only_favourites_were_shown() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    click(&mut harness, "Templates");
    click(&mut harness, "Only favourites");
    harness.get_by_label("Search the library").focus();
    harness.run_steps(1);
    retype(&mut harness, "foggy");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    press(&mut harness, Modifiers::NONE, Key::Space);
    assert_eq!(prompt(&harness), "a fox, foggy");
}

#[test]
fn a_template_brings_its_settings_in_the_same_step() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    click(&mut harness, "Templates");
    search(&mut harness, "quick");
    button(&mut harness, "Quick draft");
    let steps = |harness: &Window<'_>| app(harness).workbench().document().sampling.steps;
    assert_eq!(steps(&harness), 8);
    undo(&mut harness);
    assert_eq!((steps(&harness), app(&harness).workbench().document().stack.len()), (20, 0));
}

#[test]
fn favourites_and_parts_narrow_the_list() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    search(&mut harness, "foggy");
    click(&mut harness, "Favourite foggy");
    search(&mut harness, "");
    assert!(app(&harness).workbench().preferences().favourites.contains("modifier foggy"));
    click(&mut harness, "Only favourites");
    assert!(harness.query_by_role_and_label(Role::Button, "foggy").is_some());
    assert!(harness.query_by_role_and_label(Role::Button, "neon glow").is_none());
    click(&mut harness, "Only favourites");
    assert!(harness.query_by_role_and_label(Role::Button, "neon glow").is_some());
    click(&mut harness, "Part of the library");
    button(&mut harness, "Effect");
    assert!(harness.query_by_role_and_label(Role::Button, "neon glow").is_some());
    assert!(harness.query_by_role_and_label(Role::Button, "flat design").is_none());
    click(&mut harness, "Lines about each modifier");
    button(&mut harness, "neon glow");
    assert_eq!(prompt(&harness), "a fox, neon glow");
}

#[test]
fn the_selected_words_become_a_modifier_and_the_folder_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    command(&mut harness, "Edit prompt");
    retype(&mut harness, "a fox, in my own light");
    press(&mut harness, Modifiers::NONE, Key::End);
    for _ in 0.."in my own light".len() {
        harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowLeft);
        harness.step();
    }
    command(&mut harness, "Show library");
    click(&mut harness, "More");
    click(&mut harness, "New…");
    assert!(says(&harness, "in my own light"));
    harness.get_by_label("What it does").focus();
    harness.run_steps(1);
    retype(&mut harness, "Looks like home.");
    click(&mut harness, "Keep");
    wait(&mut harness, |app| app.workbench().library().modifier("in my own light").is_some());
    let library = app(&harness).workbench().library();
    assert_eq!(library.modifier("in my own light").unwrap().about, "Looks like home.");
    // Files that others write are followed, and what is wrong with them is a warning.
    let styles = root.path().join("presets/styles");
    std::fs::create_dir_all(&styles).unwrap();
    std::fs::write(styles.join("a.csv"), "name,prompt\nFrom outside,\"{prompt}, outside\"\n,lost\n").unwrap();
    wait(&mut harness, |app| app.workbench().library().styles.iter().any(|style| style.name == "From outside"));
    let warned = |harness: &Window<'_>| {
        let notices = app(harness).workbench().notices().iter();
        notices.filter(|notice| notice.level == Level::Warning && notice.text.contains("a.csv")).count()
    };
    assert_eq!(warned(&harness), 1);
    std::fs::remove_file(styles.join("a.csv")).unwrap();
    wait(&mut harness, |app| app.workbench().library().styles.iter().all(|style| style.name != "From outside"));
    assert!(app(&harness).workbench().notices().iter().all(|notice| notice.level != Level::Error));
}

#[test]
fn files_of_other_programs_come_in_and_go_out_by_the_dialog() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    let file = root.path().join("their styles.json");
    std::fs::write(
        &file,
        r#"[{"name": "Theirs", "prompt": "{prompt}, theirs"}, {"prompt": "nameless"}, {"name": "Cut"#,
    )
    .unwrap();
    click(&mut harness, "More");
    click(&mut harness, "Import…");
    retype(&mut harness, &file.display().to_string());
    press(&mut harness, Modifiers::NONE, Key::Enter);
    wait(&mut harness, |app| app.workbench().library().styles.iter().any(|style| style.name == "Theirs"));
    let notices = |part: &str| {
        let all = app(&harness).workbench().notices().iter();
        all.filter(|notice| notice.text.contains(part)).map(|notice| notice.level).collect::<Vec<_>>()
    };
    assert_eq!(notices("Imported 1 style from"), [Level::Info]);
    assert!(notices("style without a name").contains(&Level::Warning));
    click(&mut harness, "Styles");
    search(&mut harness, "theirs");
    button(&mut harness, "Theirs");
    assert_eq!(words(&harness).0, "a fox, theirs");
    click(&mut harness, "More");
    click(&mut harness, "Export…");
    click(&mut harness, "Only what is mine");
    click(&mut harness, "A1111 styles.csv");
    let out = root.path().join("out.csv");
    retype(&mut harness, &out.display().to_string());
    press(&mut harness, Modifiers::NONE, Key::Enter);
    wait(&mut harness, |_| out.exists());
    let text = std::fs::read_to_string(&out).unwrap();
    assert_eq!(text, "\u{feff}name,prompt,negative_prompt\r\nTheirs,\"{prompt}, theirs\",\r\n");
}

#[test]
fn wildcards_and_lists_are_used_by_a_click() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open(root.path());
    click(&mut harness, "Wildcards");
    button(&mut harness, "colours");
    assert_eq!(prompt(&harness), "a fox, __colours__");
    undo(&mut harness);
    assert_eq!(prompt(&harness), "a fox");
    click(&mut harness, "Lists");
    search(&mut harness, "80");
    button(&mut harness, "CLIP's 80 for ImageNet");
    assert_eq!(app(&harness).workbench().document().templates.lines().count(), 80);
}

#[test]
fn classes_with_texts_of_their_own_are_compared_beside_the_templates() {
    let root = tempfile::tempdir().unwrap();
    let presets = folders(root.path()).presets.join("zero_shot/prompts");
    std::fs::create_dir_all(&presets).unwrap();
    std::fs::write(presets.join("birds.json"), r#"{"hen": ["A hen is small"], "owl": ["An owl sees", "It flies"]}"#)
        .unwrap();
    let mut harness = open(root.path());
    let before = app(&harness).workbench().document().templates.clone();
    click(&mut harness, "Lists");
    search(&mut harness, "birds");
    button(&mut harness, "birds");
    let document = app(&harness).workbench().document().clone();
    assert_eq!(document.classes, "hen\nowl");
    assert_eq!(document.templates.trim(), format!("{}\n{{texts:birds}}", before.trim_end()).trim());
    wait(&mut harness, |app| {
        let table = app.workbench().zero_shot().table();
        table.is_some_and(|table| table.templates.last().is_some_and(|name| name == "{texts:birds}"))
    });
    command(&mut harness, "Show zero-shot");
    retype(&mut harness, "fox");
    wait(&mut harness, |app| {
        let said = app.workbench().zero_shot().failure();
        said.is_some_and(|said| said.contains("\"birds\" has no texts for fox"))
    });
}

/// Pictures that tell their prompt apart, counted.
fn counting(
    made: &Arc<AtomicUsize>,
) -> impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Clone + Send + use<> {
    let made = made.clone();
    move |spec, cx| match spec {
        JobSpec::Generate(spec) => {
            cx.checkpoint()?;
            made.fetch_add(1, Ordering::Relaxed);
            let shade = u8::from(spec.prompt.contains("foggy")) * 200;
            let picture = |i: u32| Picture::from_fn(Extent::new(256, 128), |_, _| [shade, i as u8, 9]);
            let pictures = (0..spec.count).map(|i| (spec.sampling.seed + u64::from(i), picture(i))).collect();
            let model_hash = "0".repeat(64);
            Ok(JobOutput::Pictures(Generated { pictures, latents: vec![], remarks: vec![], model_hash }))
        }
        JobSpec::Embed(EmbedSpec { inputs: EmbedInputs::Images(pictures), .. }) => {
            let row = |picture: &Picture| {
                let (tone, seed) = (f32::from(picture.rgb()[0]) / 200.0, f32::from(picture.rgb()[1]) * 0.01);
                let angle = tone * 0.5 + seed;
                vec![angle.cos(), angle.sin()]
            };
            Ok(JobOutput::Embeddings(pictures.iter().map(row).collect()))
        }
        JobSpec::Embed(_) => Ok(JobOutput::Embeddings(vec![vec![0.0, 1.0], vec![1.0, 0.0]])),
        spec => plausible_output(spec, cx),
    }
}

#[test]
fn thumbnails_are_rendered_one_after_the_other_and_kept() {
    let root = tempfile::tempdir().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let foggy = Item::Modifier("foggy".into());
    let mut harness = open_over(root.path(), counting(&made));
    click(&mut harness, "Part of the library");
    button(&mut harness, "Effect");
    click(&mut harness, "More");
    click(&mut harness, "Render thumbnails");
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().get(&Item::Modifier("blueprint".into())).is_some());
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().progress().is_none());
    // The last files are written behind the last picture.
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().get(&foggy).is_some());
    assert_eq!(made.load(Ordering::Relaxed), 9);
    let thumbnail = app(&harness).workbench().shelf().thumbnails().get(&foggy).unwrap().clone();
    assert_eq!((thumbnail.prompt.as_str(), thumbnail.is_current), ("a fox, foggy", true));
    assert_eq!(thumbnail.picture.extent(), Extent::new(128, 64));
    // Another prompt: they are of the old one. The old prompt again: they are found.
    command(&mut harness, "Edit prompt");
    retype(&mut harness, "an owl");
    wait(&mut harness, |app| !app.workbench().shelf().thumbnails().get(&foggy).unwrap().is_current);
    retype(&mut harness, "a fox");
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().get(&foggy).unwrap().is_current);
    // Taken back before anything was looked up for it.
    retype(&mut harness, "an elk");
    assert!(!app(&harness).workbench().shelf().thumbnails().get(&foggy).unwrap().is_current);
    retype(&mut harness, "a fox");
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().get(&foggy).unwrap().is_current);
    drop(harness);
    // A new start finds what is kept, and makes nothing twice.
    let mut harness = open_over(root.path(), counting(&made));
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().get(&foggy).is_some());
    click(&mut harness, "Part of the library");
    button(&mut harness, "Effect");
    click(&mut harness, "More");
    click(&mut harness, "Render thumbnails");
    harness.run_steps(20);
    assert_eq!(made.load(Ordering::Relaxed), 9);
}

#[test]
fn in_little_room_the_buttons_are_in_a_menu() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window::window([760.0, 900.0], Some(folders(root.path())), quiet(), plausible_output);
    command(&mut harness, "Show library");
    assert!(harness.query_by_label("Import…").is_none());
    click(&mut harness, "More");
    assert!(harness.query_by_label("Import…").is_some() && harness.query_by_label("Measure effects").is_some());
    press(&mut harness, Modifiers::NONE, Key::Escape);
    let star = harness.get_by_label("Favourite flat design").rect();
    assert!(star.right() <= 760.0 - 12.0 + 1.0, "the rows are no wider than the panel");
}

#[test]
fn rendering_is_stopped_by_its_button() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = open_over(root.path(), |spec, cx| match spec {
        JobSpec::Generate(_) => loop {
            cx.checkpoint()?;
            std::thread::yield_now();
        },
        spec => plausible_output(spec, cx),
    });
    click(&mut harness, "More");
    click(&mut harness, "Render thumbnails");
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().progress().is_some());
    wait(&mut harness, |app| !app.workbench().jobs().active().is_empty());
    click(&mut harness, "Stop thumbnails");
    wait(&mut harness, |app| app.workbench().jobs().active().is_empty());
    assert_eq!(app(&harness).workbench().shelf().thumbnails().progress(), None);
    // Stopping the job stops the run as well.
    click(&mut harness, "More");
    click(&mut harness, "Render thumbnails");
    wait(&mut harness, |app| !app.workbench().jobs().active().is_empty());
    command(&mut harness, "Cancel all jobs");
    wait(&mut harness, |app| app.workbench().shelf().thumbnails().progress().is_none());
}

#[test]
fn effects_are_measured_against_the_same_seeds() {
    let root = tempfile::tempdir().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let mut harness = open_over(root.path(), counting(&made));
    search(&mut harness, "foggy");
    click(&mut harness, "More");
    click(&mut harness, "Measure effects");
    wait(&mut harness, |app| app.workbench().shelf().effects().get("foggy").is_some());
    let known = app(&harness).workbench().shelf().effects().get("foggy").unwrap().clone();
    assert!(known.is_current);
    assert_eq!((known.report.prompt.as_str(), known.report.seeds.len()), ("a fox", 6));
    assert!((known.report.change.mean - (1.0 - 0.5_f64.cos())).abs() < 1e-5, "{known:?}");
    assert!(known.report.fit.is_clear() && known.report.fit.mean > 0.0);
    // The seed of the preview does not matter; other words do.
    command(&mut harness, "New seed");
    harness.run_steps(3);
    assert!(app(&harness).workbench().shelf().effects().get("foggy").unwrap().is_current);
    command(&mut harness, "Edit prompt");
    retype(&mut harness, "an owl");
    wait(&mut harness, |app| !app.workbench().shelf().effects().get("foggy").unwrap().is_current);
}
