//! Dialogs that need the system or the keyboard: choosing files, typing a path where the system has no chooser, about.
//!
//! The system's file chooser runs on a thread of its own; where there is none it comes back at once with nothing, which
//! looks like Cancel, so a field for a path is always there too.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use egui::{Context, RichText};

use super::outbox::Outbox;
use super::shell::Cx;
use super::theme;
use super::view::View;
use crate::workbench::{Command, FileCommand};

/// What a path is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Open,
    SaveCanvas,
}

/// The own path field.
pub(super) struct PathPrompt {
    purpose: Purpose,
    text: String,
}

/// The choosers that are open.
pub(super) struct Dialogs {
    ctx: Context,
    sender: Sender<(Purpose, PathBuf)>,
    receiver: Receiver<(Purpose, PathBuf)>,
}

impl Dialogs {
    pub(super) fn new(ctx: &Context) -> Self {
        let (sender, receiver) = channel();
        Self { ctx: ctx.clone(), sender, receiver }
    }

    pub(super) fn open_picture(&self, view: &mut View) {
        view.path_prompt = Some(PathPrompt { purpose: Purpose::Open, text: String::new() });
    }

    pub(super) fn save_canvas(&self, view: &mut View, name: &str) {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem).replace(['/', '\\'], "-");
        view.path_prompt = Some(PathPrompt { purpose: Purpose::SaveCanvas, text: format!("{stem}.png") });
    }

    /// Takes what was chosen meanwhile.
    pub(super) fn poll(&self, outbox: &Outbox) {
        for (purpose, path) in self.receiver.try_iter() {
            outbox.send(command(purpose, path));
        }
    }

    /// Shows what is open.
    pub(super) fn show(&self, ctx: &Context, cx: &mut Cx<'_>) {
        self.show_path_prompt(ctx, cx);
        show_about(ctx, cx);
    }

    fn show_path_prompt(&self, ctx: &Context, cx: &mut Cx<'_>) {
        let Some(mut prompt) = cx.view.path_prompt.take() else { return };
        let (title, done) = match prompt.purpose {
            Purpose::Open => ("Open picture", "Open"),
            Purpose::SaveCanvas => ("Save canvas as PNG", "Save"),
        };
        let mut close = false;
        let modal = egui::Modal::new(egui::Id::unique("path prompt")).show(ctx, |ui| {
            ui.set_width(440.0_f32.min(ui.ctx().content_rect().width() - 48.0));
            ui.heading(title);
            let label = ui.label(RichText::new("File").small().color(theme::tokens(ui).faint));
            let edit =
                egui::TextEdit::singleline(&mut prompt.text).hint_text("Path of a file").desired_width(f32::INFINITY);
            let response = ui.add(edit).labelled_by(label.id);
            if !response.has_focus() && !response.lost_focus() {
                response.request_focus();
            }
            let entered = response.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
            ui.horizontal(|ui| {
                let can = !prompt.text.trim().is_empty();
                if ui.add_enabled(can, egui::Button::new(done).fill(theme::tokens(ui).accent_soft)).clicked()
                    || (entered && can)
                {
                    cx.outbox.send(command(prompt.purpose, PathBuf::from(prompt.text.trim())));
                    close = true;
                }
                if ui.button("Browse…").on_hover_text("Opens the file chooser of the system.").clicked() {
                    self.browse(prompt.purpose, prompt.text.clone());
                    close = true;
                }
                if ui.button("Cancel").clicked() {
                    close = true;
                }
            });
        });
        if !close && !modal.should_close() {
            cx.view.path_prompt = Some(prompt);
        }
    }

    fn browse(&self, purpose: Purpose, name: String) {
        let (sender, ctx) = (self.sender.clone(), self.ctx.clone());
        let spawned = std::thread::Builder::new().name("maquette-dialog".to_owned()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
            let dialog = rfd::AsyncFileDialog::new();
            let chosen = runtime.block_on(async {
                match purpose {
                    Purpose::Open => dialog.add_filter("Pictures", &["png", "jpg", "jpeg", "webp"]).pick_file().await,
                    Purpose::SaveCanvas => dialog.add_filter("PNG", &["png"]).set_file_name(name).save_file().await,
                }
            });
            if let Some(file) = chosen {
                // The window may have closed meanwhile.
                let _ = sender.send((purpose, file.path().to_owned()));
                ctx.request_repaint();
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "the system cannot start a thread for its file chooser");
        }
    }
}

fn command(purpose: Purpose, path: PathBuf) -> Command {
    Command::File(match purpose {
        Purpose::Open => FileCommand::Open(path),
        Purpose::SaveCanvas => FileCommand::SaveCanvas(path),
    })
}

fn show_about(ctx: &Context, cx: &mut Cx<'_>) {
    if !cx.view.about_open {
        return;
    }
    let modal = egui::Modal::new(egui::Id::unique("about")).show(ctx, |ui| {
        ui.set_width(420.0_f32.min(ui.ctx().content_rect().width() - 48.0));
        ui.heading(concat!("Maquette ", env!("CARGO_PKG_VERSION")));
        ui.label("A prompt-engineering workbench for vision-language models. All models run on this machine; the program opens no network connection.");
        ui.label("Licensed under MIT or Apache-2.0, as you choose. Icons: Lucide (ISC). The built-in models were trained on drawings of Fluent Emoji (MIT) and Noto Emoji (Apache-2.0).");
        ui.button("Close").clicked()
    });
    cx.view.about_open = !(modal.inner || modal.should_close());
}
