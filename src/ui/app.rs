//! The window's program: `logic` does the work of a frame, `ui` shows it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egui::Context;

use super::dialogs::{Dialogs, Purpose};
use super::dock::Layout;
use super::frame_log::{FrameLog, FrameStart};
use super::icons::Icons;
use super::outbox::Outbox;
use super::shell;
use super::textures::Textures;
use super::view::View;
use super::{about, palette, proposal, shortcuts, theme};
use crate::engine::options::EngineOptions;
use crate::engine::{Backend, CandleBackend, Engine};
use crate::job::JobError;
use crate::prompt::exchange::Format;
use crate::store::preferences::{Preferences, Theme, UserFolders};
use crate::store::presets;
use crate::workbench::notices::Level;
use crate::workbench::{
    Command, FileCommand, LazyBytes, LibraryCommand, PanelKind, Parts, ViewCommand, Workbench, first_document,
};

/// How long a closing window waits for files that are being saved.
const SAVE_PATIENCE: Duration = Duration::from_secs(5);

/// What the window starts from.
pub(super) struct Start {
    pub(super) file: Option<PathBuf>,
    pub(super) options: EngineOptions,
    pub(super) preferences: Preferences,
    pub(super) folders: Option<UserFolders>,
    pub(super) warnings: Vec<String>,
}

/// Everything that the window holds.
pub struct App {
    workbench: Workbench,
    view: View,
    layout: Layout,
    outbox: Outbox,
    dialogs: Dialogs,
    icons: Icons,
    textures: Textures,
    log: FrameLog,
    started: Instant,
    frame_start: FrameStart,
}

impl App {
    pub(super) fn new(cc: &eframe::CreationContext<'_>, start: Start) -> anyhow::Result<Self> {
        let options = start.options;
        let make = move || CandleBackend::boxed(&options);
        let app = Self::with_backend(&cc.egui_ctx, make, start.preferences, start.folders)?;
        for text in start.warnings {
            app.outbox.send(Command::Notify { level: Level::Warning, text });
        }
        if let Some(path) = start.file {
            app.outbox.send(Command::File(FileCommand::Open(path)));
        }
        Ok(app)
    }

    /// A window over any backend: for tests, too.
    ///
    /// # Errors
    /// If the worker thread cannot be started.
    pub fn with_backend(
        ctx: &Context,
        make_backend: impl FnOnce() -> Result<Box<dyn Backend>, JobError> + Send + 'static,
        preferences: Preferences,
        folders: Option<UserFolders>,
    ) -> anyhow::Result<Self> {
        let repaint = ctx.clone();
        let wake: crate::engine::Wake = Arc::new(move || repaint.request_repaint());
        let engine = Engine::spawn(make_backend, wake.clone())?;
        let (library, warnings) = presets::library(folders.as_ref().map(|f| f.presets.as_path()));
        theme::install(ctx);
        let layout = Layout::from_json(preferences.layout.as_ref());
        let document = first_document(&library, &preferences);
        let now = Instant::now();
        Ok(Self {
            workbench: Workbench::new(Parts { engine, wake, document, preferences, folders, library, warnings }),
            view: View::default(),
            layout,
            outbox: Outbox::default(),
            dialogs: Dialogs::new(ctx),
            icons: Icons::new(ctx),
            textures: Textures::new(ctx),
            log: FrameLog::default(),
            started: now,
            frame_start: FrameStart::now(),
        })
    }

    /// The state behind the window.
    pub fn workbench(&self) -> &Workbench {
        &self.workbench
    }

    /// Has a command carried out in the next frame, as if a panel had sent it.
    pub fn send(&self, command: Command) {
        self.outbox.send(command);
    }

    /// The work of a frame: commands are carried out, answers folded in, new requests submitted.
    pub fn logic(&mut self, ctx: &Context) {
        self.frame_start = FrameStart::now();
        self.take_dropped_and_pasted(ctx);
        self.dialogs.poll(&mut self.view, &self.outbox);
        self.view.is_proposed = self.workbench.proposal().is_some();
        shortcuts::consume(ctx, &self.workbench, &self.view, &self.outbox);
        let now = self.started.elapsed();
        for command in self.outbox.take() {
            tracing::trace!(?command, "command");
            match command {
                Command::View(view) => self.view_command(ctx, view),
                command => self.workbench.dispatch(command, now),
            }
        }
        self.log.questions(&self.workbench, self.frame_start);
        if let Some(due) = self.workbench.update(now) {
            ctx.request_repaint_after(due.saturating_sub(now));
        }
        self.apply_preferences(ctx);
    }

    /// Shows everything.
    pub fn show(&mut self, ui: &mut egui::Ui) {
        self.textures.pictures.begin_frame();
        let mut cx = shell::Cx {
            workbench: &self.workbench,
            outbox: &self.outbox,
            view: &mut self.view,
            icons: &self.icons,
            textures: &mut self.textures,
        };
        shell::show(ui, &mut self.layout, &mut cx);
        palette::show(ui.ctx(), &mut cx);
        self.dialogs.show(ui.ctx(), &mut cx);
        about::show(ui.ctx(), &mut cx);
        proposal::show(ui.ctx(), &mut cx);
        // Commands of this frame are carried out at the start of the next, which must therefore come.
        if !self.outbox.is_empty() {
            self.log.input(self.frame_start);
            ui.ctx().request_repaint();
        }
        self.log.frame(self.frame_start, &self.workbench);
    }

    fn take_dropped_and_pasted(&mut self, ctx: &Context) {
        let dropped = ctx.input(|i| i.raw.dropped_files.clone());
        if let Some(path) = dropped.first().map(|file| file.path().to_owned()) {
            if dropped.len() > 1 {
                let text = format!(
                    "One file at a time is opened: of the {} files that were dropped, {}.",
                    dropped.len(),
                    path.file_name().unwrap_or_default().to_string_lossy()
                );
                self.outbox.send(Command::Notify { level: Level::Info, text });
            }
            self.view.remember_folder_of(&path);
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            let is_list = ["csv", "json", "yaml", "yml", "toml", "txt", "py"].contains(&ending.as_str());
            self.outbox.send(match is_list {
                true => Command::Library(LibraryCommand::Import { file: path, to: String::new() }),
                false => Command::File(FileCommand::OpenDropped(path)),
            });
        }
        let pasted = ctx.input(|i| {
            i.events.iter().find_map(|event| match event {
                egui::Event::PasteImage(image) => Some(image.clone()),
                _ => None,
            })
        });
        if let Some(image) = pasted {
            let [width, height] = image.size;
            let extent = crate::base::geom::Extent::new(width as u32, height as u32);
            let rgba =
                LazyBytes::new(move || image.pixels.iter().flat_map(egui::Color32::to_srgba_unmultiplied).collect());
            self.outbox.send(Command::File(FileCommand::Paste { extent, rgba }));
        }
    }

    fn view_command(&mut self, ctx: &Context, command: ViewCommand) {
        let canvas = self.workbench.document().canvas.as_ref();
        let (rect, camera) = (self.view.canvas_rect, &mut self.view.camera);
        match command {
            ViewCommand::AddModelsDialog => self.dialogs.ask(&mut self.view, Purpose::AddModels, ""),
            ViewCommand::ImportLibraryDialog => self.dialogs.ask(&mut self.view, Purpose::ImportLibrary, ""),
            ViewCommand::ExportLibraryDialog(format, only_mine) => {
                let purpose = Purpose::ExportLibrary(format, only_mine);
                let name = if format == Format::StylesCsv { "styles" } else { format.id() };
                self.dialogs.ask(&mut self.view, purpose, name);
            }
            ViewCommand::ControlPictureDialog(index) => {
                self.dialogs.ask(&mut self.view, Purpose::ControlPicture(index), "");
            }
            ViewCommand::OpenDialog => self.dialogs.ask(&mut self.view, Purpose::Open, ""),
            ViewCommand::SaveDialog => {
                let name = canvas.map_or("canvas", |canvas| canvas.name.as_str());
                self.dialogs.ask(&mut self.view, Purpose::SaveCanvas, name);
            }
            ViewCommand::SaveResultDialog(index) => {
                let seed = self.workbench.preview().results().get(index).map(|made| made.seed);
                let name = seed.map_or_else(|| "picture".to_owned(), |seed| format!("seed-{seed}"));
                self.dialogs.ask(&mut self.view, Purpose::SaveResult(index), &name);
            }
            ViewCommand::SaveMaskDialog => self.dialogs.ask(&mut self.view, Purpose::SaveMask, "mask"),
            ViewCommand::ExportGridDialog => self.dialogs.ask(&mut self.view, Purpose::ExportGrid, "grid"),
            ViewCommand::Palette => {
                self.view.palette = match self.view.palette.take() {
                    None => Some(palette::Palette::default()),
                    Some(_) => None,
                };
            }
            ViewCommand::Fit => camera.fits = true,
            ViewCommand::ActualSize => {
                if let Some(rect) = rect {
                    camera.zoom_about(1.0 / ctx.pixels_per_point() / camera.zoom, rect.center(), rect);
                }
            }
            ViewCommand::ZoomBy(factor) => {
                if let Some(rect) = rect {
                    camera.zoom_about(factor, rect.center(), rect);
                }
            }
            ViewCommand::ResetLayout => self.layout = Layout::default(),
            ViewCommand::Focus(panel) => {
                self.layout.bring_to_front(panel);
                self.view.focus = Some(panel);
            }
            ViewCommand::FindInPrompt => {
                self.layout.bring_to_front(PanelKind::Prompt);
                self.view.prompt.open_find();
            }
            ViewCommand::ShowEncoder => {
                self.layout.bring_to_front(PanelKind::Prompt);
                self.view.prompt.open_encoder();
            }
            ViewCommand::About => (self.view.about_open, self.view.about_wants_focus) = (true, true),
            ViewCommand::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
        }
    }

    fn apply_preferences(&self, ctx: &Context) {
        let preferences = self.workbench.preferences();
        let theme = match preferences.theme {
            Theme::System => egui::ThemePreference::System,
            Theme::Light => egui::ThemePreference::Light,
            Theme::Dark => egui::ThemePreference::Dark,
        };
        if ctx.options(|options| options.theme_preference) != theme {
            ctx.set_theme(theme);
        }
    }

    fn remember(&mut self, ctx: Option<&Context>) {
        let mut preferences = self.workbench.preferences().clone();
        preferences.layout = self.layout.to_json();
        preferences.prompts = serde_json::to_value(self.workbench.document().prompt_tabs()).ok();
        if let Some(size) = ctx.and_then(|ctx| ctx.input(|i| i.viewport().inner_rect)).map(|rect| rect.size()) {
            preferences.window_size = Some([size.x, size.y]);
        }
        self.workbench.dispatch(Command::SetPreferences(Box::new(preferences)), self.started.elapsed());
        self.workbench.save_preferences();
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &Context, _: &mut eframe::Frame) {
        self.logic(ctx);
        if ctx.input(|i| i.viewport().close_requested()) {
            self.remember(Some(ctx));
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        self.show(ui);
    }

    fn on_exit(&mut self, _: Option<&eframe::glow::Context>) {
        self.remember(None);
        // What was asked for in the very last frame.
        for command in self.outbox.take() {
            if matches!(command, Command::File(_)) {
                self.workbench.dispatch(command, self.started.elapsed());
            }
        }
        for failure in self.workbench.finish_saves(SAVE_PATIENCE).err().unwrap_or_default() {
            eprintln!("maquette: {failure}");
        }
        self.log.print();
    }

    fn auto_save_interval(&self) -> Duration {
        Duration::from_secs(3600)
    }
}
