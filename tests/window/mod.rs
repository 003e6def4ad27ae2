//! The window with a scripted backend, for stories by label and role.
#![allow(dead_code, reason = "each test program uses its part of it")]

use std::path::{Path, PathBuf};

use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use maquette::base::task::TaskCx;
use maquette::engine::Backend;
use maquette::engine::mock::MockBackend;
use maquette::job::{JobError, JobOutput, JobSpec};
use maquette::store::preferences::{Preferences, UserFolders};
use maquette::ui::App;

pub type Window<'a> = Harness<'a, Option<App>>;

/// The user's folders below `root`.
pub fn folders(root: &Path) -> UserFolders {
    UserFolders { config: root.join("config"), presets: root.join("presets"), cache: root.join("cache") }
}

/// A window of this size whose jobs end as `script` says.
pub fn window<'a>(
    size: [f32; 2],
    folders: Option<UserFolders>,
    preferences: Preferences,
    script: impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Clone + Send + 'static,
) -> Window<'a> {
    let mut harness = Harness::builder().with_size(size).allow_missing_glyphs().build_ui_state(
        move |ui, app: &mut Option<App>| {
            let app = app.get_or_insert_with(|| {
                let script = script.clone();
                let make = move || Ok(Box::new(MockBackend::new(script)) as Box<dyn Backend>);
                App::with_backend(ui.ctx(), make, preferences.clone(), folders.clone()).unwrap()
            });
            app.logic(ui.ctx());
            app.show(ui);
        },
        None,
    );
    harness.step();
    harness
}

pub fn app<'b>(harness: &'b Window<'_>) -> &'b App {
    harness.state().as_ref().unwrap()
}

/// Steps until `done` holds of the program.
pub fn wait(harness: &mut Window<'_>, done: impl Fn(&App) -> bool) {
    wait_for(harness, |harness| done(app(harness)));
}

/// Steps until `done` holds of the window.
pub fn wait_for(harness: &mut Window<'_>, done: impl Fn(&Window<'_>) -> bool) {
    let start = std::time::Instant::now();
    while !done(harness) {
        assert!(start.elapsed().as_secs() < 30, "the window never got there");
        harness.step();
        std::thread::yield_now();
    }
    harness.run_steps(2);
}

pub fn press(harness: &mut Window<'_>, modifiers: Modifiers, key: Key) {
    harness.key_press_modifiers(modifiers, key);
    harness.run_steps(3);
}

/// Runs a command by its name in the palette.
pub fn command(harness: &mut Window<'_>, name: &str) {
    press(harness, Modifiers::COMMAND, Key::K);
    harness.get_by_role_and_label(Role::TextInput, "Command palette").type_text(name);
    harness.run_steps(2);
    press(harness, Modifiers::NONE, Key::Enter);
}

/// Types into whatever has the keyboard, in place of what is there.
pub fn retype(harness: &mut Window<'_>, text: &str) {
    press(harness, Modifiers::COMMAND, Key::A);
    harness.event(egui::Event::Text(text.to_owned()));
    harness.run_steps(2);
}

/// Clicks what has this label.
pub fn click(harness: &mut Window<'_>, label: &str) {
    harness.get_by_label(label).click();
    harness.run_steps(3);
}

/// Whether a label or value holds `part`.
pub fn says(harness: &Window<'_>, part: &str) -> bool {
    let has = |text: Option<String>| text.is_some_and(|text| text.contains(part));
    harness.query_all_by(|node| has(node.label()) || has(node.value())).next().is_some()
}

/// A file that is dropped on the window.
#[derive(Debug)]
pub struct Dropped(pub PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}
