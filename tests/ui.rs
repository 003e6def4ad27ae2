//! The window's stories by label and role, with a scripted backend: what a person does with keyboard and mouse.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use maquette::engine::Backend;
use maquette::engine::mock::MockBackend;
use maquette::store::preferences::Preferences;
use maquette::ui::App;

fn window<'a>() -> Harness<'a, Option<App>> {
    let mut harness = Harness::builder().with_size([1360.0, 880.0]).allow_missing_glyphs().build_ui_state(
        |ui, app: &mut Option<App>| {
            let app = app.get_or_insert_with(|| {
                let make = || Ok(Box::new(MockBackend::plausible()) as Box<dyn Backend>);
                App::with_backend(ui.ctx(), make, Preferences::default(), None).unwrap()
            });
            app.logic(ui.ctx());
            app.show(ui);
        },
        None,
    );
    harness.step();
    harness
}

fn app<'b>(harness: &'b Harness<'_, Option<App>>) -> &'b App {
    harness.state().as_ref().unwrap()
}

/// Steps until `done` holds.
fn wait(harness: &mut Harness<'_, Option<App>>, done: impl Fn(&App) -> bool) {
    let start = std::time::Instant::now();
    while !done(app(harness)) {
        assert!(start.elapsed().as_secs() < 20, "the window never got there");
        harness.step();
        std::thread::yield_now();
    }
    harness.step();
}

#[test]
fn typing_a_prompt_makes_a_picture_and_a_phrase_a_heatmap() {
    let mut harness = window();
    wait(&mut harness, |app| app.workbench().preview().live().is_some_and(|live| live.is_final));
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

#[test]
fn a_painted_mask_is_inpainted_and_undone() {
    let mut harness = window();
    let before = app(&harness).workbench().document().clone();
    harness.key_press(egui::Key::B);
    harness.step();
    let canvas = harness.query_all_by_role(Role::Image).find(|node| node.rect().width() > 300.0).unwrap().rect();
    harness.drag_at(canvas.center());
    harness.step();
    for i in 1..=10 {
        harness.hover_at(canvas.center() + egui::vec2(i as f32 * 6.0, 0.0));
    }
    harness.step();
    harness.drop_at(canvas.center() + egui::vec2(60.0, 0.0));
    wait(&mut harness, |app| !app.workbench().document().canvas.as_ref().unwrap().mask.is_empty());
    harness.get_by_label("Inpaint mask").click();
    wait(&mut harness, |app| {
        let live = app.workbench().preview().live();
        live.is_some_and(|live| live.is_final && live.spec.init.is_some())
    });
    let painted = app(&harness).workbench().document().canvas.clone().unwrap();
    harness.get_by_label("Send to canvas").click();
    wait(&mut harness, |app| app.workbench().document().canvas.as_ref().unwrap().picture != painted.picture);
    let changed = app(&harness).workbench().document().canvas.clone().unwrap().picture;
    let extent = changed.extent();
    for (x, y) in (0..extent.height).flat_map(|y| (0..extent.width).map(move |x| (x, y))) {
        if painted.mask.coverage(x, y) == 0 {
            assert_eq!(changed.pixel(x, y), painted.picture.pixel(x, y));
        }
    }
    for _ in 0..2 {
        harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
        harness.step();
    }
    wait(&mut harness, |app| app.workbench().document() == &before);
}

#[test]
fn the_palette_finds_and_runs_a_command() {
    let mut harness = window();
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::K);
    harness.step();
    harness.step();
    harness.get_by_role_and_label(Role::TextInput, "Command palette").type_text("light theme");
    harness.step();
    harness.key_press(egui::Key::Enter);
    wait(&mut harness, |app| app.workbench().preferences().theme == maquette::store::preferences::Theme::Light);
}

#[test]
fn every_tool_and_the_main_buttons_have_a_label() {
    let mut harness = window();
    harness.step();
    for label in
        ["Pan (H)", "Mask brush (B)", "Mask eraser (E)", "Mark box (1)", "Mark in red", "Generate", "Send to canvas"]
    {
        assert!(harness.query_by_label(label).is_some(), "nothing is labelled {label}");
    }
}
