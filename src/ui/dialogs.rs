//! The window's own file dialog: a field for a path, and beside it a button for the chooser of the system.
//!
//! The chooser runs on a thread of its own; where the system has none it comes back at once with nothing, which looks like
//! Cancel, so the field stays open beside it. Nothing is replaced without a question.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use egui::{Context, RichText, Ui};

use super::outbox::Outbox;
use super::shell::Cx;
use super::theme;
use super::view::View;
use crate::prompt::exchange::Format;
use crate::workbench::compare::CompareRequest;
use crate::workbench::notices::Level;
use crate::workbench::{Command, FileCommand, LibraryCommand};

/// A chooser that comes back with nothing sooner than this was never shown: nobody is that quick.
const SHOWN_AT_LEAST: Duration = Duration::from_millis(100);
const NO_CHOOSER: &str =
    "The system has no file chooser: type the path, or install a desktop portal or zenity to browse.";

/// What a path is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Open,
    /// A folder or file.
    AddModels,
    /// A file of any format of libraries.
    ImportLibrary,
    /// In a format; only what is the user's if true.
    ExportLibrary(Format, bool),
    /// A picture for a ControlNet, by index.
    ControlPicture(usize),
    SaveCanvas,
    /// A result, by index.
    SaveResult(usize),
    SaveMask,
    /// The page of a grid; its table goes beside it.
    ExportGrid,
}

impl Purpose {
    /// Title of the dialog, and the button that does it.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Open => ("Open picture", "Open"),
            Self::AddModels => ("Add models", "Add"),
            Self::ImportLibrary => ("Import into the library", "Import"),
            Self::ExportLibrary(..) => ("Export the library", "Export"),
            Self::ControlPicture(_) => ("Open picture for the ControlNet", "Open"),
            Self::SaveCanvas => ("Save canvas as PNG", "Save"),
            Self::SaveResult(_) => ("Save picture as PNG", "Save"),
            Self::SaveMask => ("Save mask as PNG", "Save"),
            Self::ExportGrid => ("Export grid as PNG, with a table beside it as CSV", "Export"),
        }
    }

    /// Whether a file is to be written.
    fn saves(self) -> bool {
        !matches!(self, Self::Open | Self::AddModels | Self::ImportLibrary | Self::ControlPicture(_))
    }

    /// The ending of the file that is written; `None` if a folder is.
    fn ending(self) -> Option<&'static str> {
        match self {
            Self::ExportLibrary(format, _) => (!format.is_folder()).then(|| format.ending()),
            _ => Some("png"),
        }
    }

    fn command(self, path: PathBuf) -> Command {
        Command::File(match self {
            Self::AddModels => return Command::AddModels(path),
            Self::ExportGrid => return Command::Compare(CompareRequest::Export(path)),
            Self::ImportLibrary => {
                return Command::Library(LibraryCommand::Import { file: path, to: String::new() });
            }
            Self::ExportLibrary(format, only_mine) => {
                return Command::Library(LibraryCommand::Export { out: path, format, only_mine });
            }
            Self::Open => FileCommand::Open(path),
            Self::ControlPicture(index) => FileCommand::OpenControl(index, path),
            Self::SaveCanvas => FileCommand::SaveCanvas(path),
            Self::SaveResult(index) => FileCommand::SaveResult(index, path),
            Self::SaveMask => FileCommand::SaveMask(path),
        })
    }
}

/// The dialog that is open.
pub(super) struct PathPrompt {
    purpose: Purpose,
    text: String,
    stage: Stage,
    /// For one frame: whatever the stage begins with takes the keyboard.
    wants_focus: bool,
    browsing: Browsing,
}

enum Stage {
    Typing,
    /// The file exists: may it be replaced?
    Replacing(PathBuf),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Browsing {
    No,
    Open,
    Impossible,
}

enum Answer {
    Chosen(PathBuf),
    Cancelled,
    NoChooser,
}

/// Opens dialogs and hears from the system's chooser.
pub(super) struct Dialogs {
    ctx: Context,
    sender: Sender<(Purpose, Answer)>,
    receiver: Receiver<(Purpose, Answer)>,
}

impl Dialogs {
    pub(super) fn new(ctx: &Context) -> Self {
        let (sender, receiver) = channel();
        Self { ctx: ctx.clone(), sender, receiver }
    }

    /// Asks for a path; `name` is proposed, with a number behind it if there is such a file already.
    pub(super) fn ask(&self, view: &mut View, purpose: Purpose, name: &str) {
        let text = match purpose {
            _ if !purpose.saves() => String::new(),
            _ => free_path(&view.folder(), name, purpose.ending()).display().to_string(),
        };
        let (stage, browsing) = (Stage::Typing, Browsing::No);
        view.path_prompt = Some(PathPrompt { purpose, text, stage, wants_focus: true, browsing });
    }

    /// Takes what was chosen meanwhile.
    pub(super) fn poll(&self, view: &mut View, outbox: &Outbox) {
        for (purpose, answer) in self.receiver.try_iter() {
            let prompt = view.path_prompt.as_mut().filter(|prompt| prompt.purpose == purpose);
            match answer {
                // The system's chooser has asked already whether to replace a file.
                Answer::Chosen(path) => {
                    if prompt.is_some() {
                        view.path_prompt = None;
                    }
                    send(view, outbox, purpose, path);
                }
                Answer::Cancelled => {
                    if let Some(prompt) = prompt {
                        (prompt.browsing, prompt.wants_focus) = (Browsing::No, true);
                    }
                }
                Answer::NoChooser => {
                    if let Some(prompt) = prompt {
                        (prompt.browsing, prompt.wants_focus) = (Browsing::Impossible, true);
                    }
                    outbox.send(Command::Notify { level: Level::Warning, text: NO_CHOOSER.to_owned() });
                }
            }
        }
    }

    /// Shows the dialog if it is open.
    pub(super) fn show(&self, ctx: &Context, cx: &mut Cx<'_>) {
        let Some(mut prompt) = cx.view.path_prompt.take() else { return };
        let modal = theme::modal(ctx, "path prompt").show(ctx, |ui| {
            ui.set_width(480.0_f32.min(ui.ctx().content_rect().width() - 48.0));
            match &prompt.stage {
                Stage::Typing => self.typing(ui, &mut prompt, cx),
                Stage::Replacing(path) => {
                    let path = path.clone();
                    replacing(ui, &mut prompt, &path, cx)
                }
            }
        });
        let mut done = modal.inner;
        if modal.should_close() {
            match prompt.stage {
                Stage::Typing => done = Done::Yes,
                Stage::Replacing(_) => prompt.go_to(Stage::Typing),
            }
        }
        if done == Done::No {
            cx.view.path_prompt = Some(prompt);
        }
    }

    fn typing(&self, ui: &mut Ui, prompt: &mut PathPrompt, cx: &mut Cx<'_>) -> Done {
        let (title, action) = prompt.purpose.text();
        ui.heading(title);
        let label = ui.label(RichText::new("File").small().color(theme::tokens(ui).faint));
        let edit = egui::TextEdit::singleline(&mut prompt.text)
            .hint_text(if prompt.purpose == Purpose::AddModels { "Path of a folder or file" } else { "Path of a file" })
            .margin(egui::Margin::same(8))
            .desired_width(f32::INFINITY);
        let response = ui.add(edit).labelled_by(label.id);
        if std::mem::take(&mut prompt.wants_focus) {
            response.request_focus();
        }
        if prompt.browsing == Browsing::Impossible {
            ui.label(RichText::new(NO_CHOOSER).small().color(theme::tokens(ui).warning));
        }
        let entered = response.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
        let path = path_of(prompt.purpose, &prompt.text);
        let mut done = Done::No;
        ui.horizontal(|ui| {
            let button = egui::Button::new(action).fill(theme::tokens(ui).accent_soft);
            let clicked = ui.add_enabled(path.is_some(), button).clicked();
            let can_browse = prompt.browsing == Browsing::No;
            let browse = ui.add_enabled(can_browse, egui::Button::new("Browse…"));
            if browse.on_hover_text("Opens the file chooser of the system.").clicked() {
                prompt.browsing = Browsing::Open;
                self.browse(prompt.purpose, prompt.text.clone());
            }
            if ui.button("Cancel").clicked() {
                done = Done::Yes;
            }
            if (clicked || entered)
                && let Some(path) = path
            {
                if prompt.purpose.saves() && path.exists() {
                    prompt.go_to(Stage::Replacing(path));
                } else {
                    send(cx.view, cx.outbox, prompt.purpose, path);
                    done = Done::Yes;
                }
            }
        });
        done
    }

    fn browse(&self, purpose: Purpose, proposed: String) {
        let (sender, ctx) = (self.sender.clone(), self.ctx.clone());
        let spawned = std::thread::Builder::new().name("maquette-dialog".to_owned()).spawn(move || {
            // The window may have closed meanwhile.
            let _ = sender.send((purpose, choose(purpose, Path::new(&proposed))));
            ctx.request_repaint();
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "the system cannot start a thread for its file chooser");
            // The receiver lives in self, so sending cannot fail.
            let _ = self.sender.send((purpose, Answer::NoChooser));
            self.ctx.request_repaint();
        }
    }
}

impl PathPrompt {
    fn go_to(&mut self, stage: Stage) {
        (self.stage, self.wants_focus) = (stage, true);
    }
}

/// Whether a dialog has done its work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Yes,
    No,
}

/// The question before a file is replaced. Cancel has the keyboard: Enter pressed twice must not cost a file.
fn replacing(ui: &mut Ui, prompt: &mut PathPrompt, path: &Path, cx: &mut Cx<'_>) -> Done {
    ui.heading("Replace the file?");
    ui.add(egui::Label::new(format!("There is a file of this name already: {}", path.display())).wrap());
    ui.horizontal(|ui| {
        let clicked = ui.add(egui::Button::new("Replace").fill(theme::tokens(ui).accent_soft)).clicked();
        let cancel = ui.button("Cancel");
        if std::mem::take(&mut prompt.wants_focus) {
            cancel.request_focus();
        }
        if clicked {
            send(cx.view, cx.outbox, prompt.purpose, path.to_owned());
            return Done::Yes;
        }
        if cancel.clicked() {
            prompt.go_to(Stage::Typing);
        }
        Done::No
    })
    .inner
}

fn send(view: &mut View, outbox: &Outbox, purpose: Purpose, path: PathBuf) {
    view.remember_folder_of(&path);
    outbox.send(purpose.command(path));
}

/// Runs the system's chooser; on the thread that waits for it.
fn choose(purpose: Purpose, proposed: &Path) -> Answer {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return Answer::NoChooser };
    let mut dialog = rfd::AsyncFileDialog::new();
    if let Some(folder) = proposed.parent().filter(|folder| folder.is_dir()) {
        dialog = dialog.set_directory(folder);
    }
    let name = proposed.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let start = Instant::now();
    let chosen = runtime.block_on(async {
        match purpose {
            Purpose::AddModels => dialog.pick_folder().await,
            Purpose::Open | Purpose::ControlPicture(_) => {
                dialog.add_filter("Pictures", &["png", "jpg", "jpeg", "webp"]).pick_file().await
            }
            Purpose::ImportLibrary => {
                dialog.add_filter("Lists", &["csv", "json", "yaml", "yml", "txt", "toml", "py", "md"]).pick_file().await
            }
            Purpose::ExportLibrary(format, _) if format.is_folder() => dialog.pick_folder().await,
            _ => {
                let ending = purpose.ending().unwrap_or_default();
                dialog.add_filter(ending.to_uppercase(), &[ending]).set_file_name(name).save_file().await
            }
        }
    });
    match chosen {
        Some(file) => Answer::Chosen(file.path().to_owned()),
        None if start.elapsed() < SHOWN_AT_LEAST => Answer::NoChooser,
        None => Answer::Cancelled,
    }
}

/// The path that was typed: `~` is the home folder, and what is saved has its ending. `None` if nothing was typed.
fn path_of(purpose: Purpose, text: &str) -> Option<PathBuf> {
    let text = text.trim();
    let home = || directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned());
    let mut path = match text.strip_prefix("~/").zip(home()) {
        Some((rest, home)) => home.join(rest),
        None => PathBuf::from(text),
    };
    if let Some(ending) = purpose.ending().filter(|_| purpose.saves() && path.extension().is_none()) {
        path.set_extension(ending);
    }
    (!text.is_empty()).then_some(path)
}

/// A path in `folder` that does not exist yet: `photo.png`, else `photo-2.png`, and so on; of a folder, without an ending.
fn free_path(folder: &Path, name: &str, ending: Option<&str>) -> PathBuf {
    let stem = name.replace(['/', '\\'], "-");
    let stem = ["png", "jpg", "jpeg", "webp"]
        .into_iter()
        .find_map(|ending| stem.to_lowercase().strip_suffix(&format!(".{ending}")).map(str::len))
        .and_then(|length| stem.get(..length))
        .unwrap_or(&stem);
    let ending = ending.map_or_else(String::new, |ending| format!(".{ending}"));
    let plain = folder.join(format!("{stem}{ending}"));
    let mut all = std::iter::once(plain.clone()).chain((2..1000).map(|i| folder.join(format!("{stem}-{i}{ending}"))));
    all.find(|path| !path.exists()).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_proposed_name_is_not_taken_yet() {
        let folder = tempfile::tempdir().unwrap();
        let propose = |name: &str| free_path(folder.path(), name, Some("png")).file_name().unwrap().to_owned();
        assert_eq!(propose("photo.JPG"), "photo.png");
        std::fs::write(folder.path().join("photo.png"), "").unwrap();
        assert_eq!(propose("photo.JPG"), "photo-2.png");
        std::fs::write(folder.path().join("photo-2.png"), "").unwrap();
        assert_eq!(propose("photo.png"), "photo-3.png");
        assert_eq!(propose("a/b v1.5"), "a-b v1.5.png");
    }

    #[test]
    fn a_typed_path_is_taken_as_people_mean_it() {
        assert_eq!(path_of(Purpose::Open, "  "), None);
        assert_eq!(path_of(Purpose::SaveMask, " a/b "), Some(PathBuf::from("a/b.png")));
        assert_eq!(path_of(Purpose::Open, "a/b"), Some(PathBuf::from("a/b")));
        assert!(path_of(Purpose::Open, "~/x.png").unwrap().is_absolute());
    }
}
