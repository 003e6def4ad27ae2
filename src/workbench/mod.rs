//! L5: the brain without a window. It holds the document, the jobs and what they gave, and is the only one to change them.
//!
//! A frame is: [`Workbench::dispatch`] each command, then [`Workbench::update`]. Both are cheap: whatever takes longer than a
//! millisecond runs on the engine's worker or on a background thread. Commands do not send commands. Knows no egui.

mod action;
mod background;
mod command;
pub mod compare;
mod drawn;
mod fold;
pub mod grid;
pub mod jobs;
pub mod lens;
pub mod library;
mod live;
pub mod models;
pub mod named;
pub mod notices;
pub mod prepare;
pub mod preview;
pub mod proposal;
pub mod reader;
pub mod resources;
mod start;
pub mod tools;
pub mod zero_shot;

pub use crate::registry::Sort;
pub use action::{Action, Shortcut};
pub use command::{Command, FileCommand, LazyBytes, PanelKind, PreviewTarget, ViewCommand};
pub use library::LibraryCommand;
pub use live::TokenizedPrompts;
pub use start::first_document;

use std::time::Duration;

use crate::document::{Document, Edit, History};
use crate::engine::{Engine, InteractiveKind, JobId, Lane};
use crate::job::JobSpec;
use crate::prompt::library::Library;
use crate::store::preferences::{Preferences, UserFolders};
use background::Background;
use compare::Compare;
use drawn::Drawn;
use jobs::Jobs;
use lens::Lens;
use library::Shelf;
use models::Models;
use notices::{Level, Notices};
use preview::Preview;
use proposal::Proposal;
use reader::Reader;
use resources::Resources;
use tools::Tools;
use zero_shot::ZeroShot;

/// What a workbench is made from.
pub struct Parts {
    /// Runs the jobs.
    pub engine: Engine,
    /// Wakes the window from a background thread.
    pub wake: crate::engine::Wake,
    /// What to start with.
    pub document: Document,
    /// What was remembered.
    pub preferences: Preferences,
    /// Where to remember; `None` to remember nothing.
    pub folders: Option<UserFolders>,
    /// What can be picked from.
    pub library: Library,
    /// What went wrong so far.
    pub warnings: Vec<String>,
}

/// The state of the whole program, but for what only a window needs.
pub struct Workbench {
    history: History,
    engine: Engine,
    background: Background,
    folders: Option<UserFolders>,
    /// As last written to disk.
    saved_preferences: Preferences,
    preferences: Preferences,
    shelf: Shelf,
    tools: Tools,
    lens: Lens,
    preview: Preview,
    zero_shot: ZeroShot,
    tokens: live::Tokens,
    reader: Reader,
    drawn: Drawn,
    proposal: Option<Proposal>,
    models: Models,
    resources: Resources,
    jobs: Jobs,
    notices: Notices,
    compare: Compare,
    /// The caret in the prompt, in characters.
    prompt_caret: usize,
    now: Duration,
}

impl Workbench {
    /// A workbench from its parts.
    pub fn new(parts: Parts) -> Self {
        let mut notices = Notices::default();
        for warning in &parts.warnings {
            notices.add(Level::Warning, sentence(warning), None);
        }
        let shelf = Shelf::new(parts.library, parts.warnings, parts.folders.as_ref(), parts.wake.clone());
        Self {
            history: History::new(parts.document),
            engine: parts.engine,
            reader: Reader::new(parts.folders.as_ref().map(|folders| folders.presets.clone()), parts.wake.clone()),
            drawn: Drawn::default(),
            proposal: None,
            background: Background::new(parts.wake.clone()),
            compare: Compare::new(parts.folders.clone(), parts.wake),
            folders: parts.folders,
            saved_preferences: parts.preferences.clone(),
            preferences: parts.preferences,
            shelf,
            tools: Tools::default(),
            lens: Lens::default(),
            preview: Preview::default(),
            zero_shot: ZeroShot::default(),
            tokens: live::Tokens::default(),
            models: Models::default(),
            resources: Resources::default(),
            jobs: Jobs::default(),
            notices,
            prompt_caret: 0,
            now: Duration::ZERO,
        }
    }

    /// Carries out a command at time `now` (since the start of the program).
    pub fn dispatch(&mut self, command: Command, now: Duration) {
        self.now = now;
        match command {
            Command::Edit(edit) => self.edit(edit),
            Command::EditApart(edit) => self.edit_apart(edit),
            Command::Propose { source, text } => self.propose(&source, &text),
            Command::ApplyProposal(without) => self.apply_proposal(&without),
            Command::DropProposal => self.proposal = None,
            Command::Gesture(gesture) => self.gesture(gesture),
            // In the middle of a stroke, the stroke is what there is to take back.
            Command::Undo => {
                let _ = self.tools.abort(&mut self.history) || self.history.undo();
            }
            Command::Redo => {
                let _ = self.tools.abort(&mut self.history) || self.history.redo();
            }
            Command::SetTool(tool) => self.tools.select(tool, &mut self.history),
            Command::SetBrushRadius(radius) => self.tools.set_radius(radius),
            Command::SetMarkColour(colour) => self.tools.set_colour(colour),
            Command::SetPreferences(preferences) => self.preferences = *preferences,
            Command::PromptCaret(caret) => self.prompt_caret = caret,
            Command::ShowTokensAt(step) => self.tokens.step = step.max(1),
            Command::ToggleModifier(modifier) => self.toggle_modifier(&modifier),
            Command::Library(command) => self.library_command(command),
            Command::SetPreviewTarget(target) => self.preview.set_target(target),
            Command::Generate { count } => self.generate(count),
            Command::SendToCanvas(index) => self.send_to_canvas(index),
            Command::SelectResult(index) => self.preview.select(index),
            Command::ClearResults => self.preview.clear_results(),
            Command::NewSeed => self.new_seed(),
            Command::Cancel(id) => self.engine.cancel(id),
            Command::CancelAll => self.cancel_all(),
            Command::DismissNotice(id) => self.notices.dismiss(id),
            Command::ClearNotices => self.notices.clear(),
            Command::Notify { level, text } => self.notices.add(level, text, None),
            Command::File(file) => self.file(file),
            Command::Compare(request) => self.compare_request(request),
            Command::ReadModels => self.read_models(),
            Command::AddModels(path) => self.add_models(path),
            Command::ReleaseMemory => self.engine.release_memory(),
            // The window carries these out itself.
            Command::View(_) => {}
        }
    }

    /// Folds in what jobs and files gave, and submits what live panels need. Returns when to call again at the latest.
    pub fn update(&mut self, now: Duration) -> Option<Duration> {
        self.now = now;
        self.fold_background();
        self.fold_archive();
        self.fold_events();
        self.submit_compare();
        self.follow_presets();
        let due = self.submit_live();
        due.into_iter().chain(self.look_up_kept()).min()
    }

    /// Writes the preferences if they changed since they were last written.
    pub fn save_preferences(&mut self) {
        let Some(folders) = &self.folders else { return };
        if self.preferences == self.saved_preferences {
            return;
        }
        self.saved_preferences = self.preferences.clone();
        if let Err(error) = self.preferences.write(folders) {
            let text =
                format!("The preferences were not saved: {error}. Check the folder {}.", folders.config.display());
            self.notices.add(Level::Warning, text, None);
        }
    }

    /// Waits until every file that is being saved is written, for at most `patience`; files that are read are not waited for.
    ///
    /// # Errors
    /// What was not written, and why.
    pub fn finish_saves(&mut self, patience: Duration) -> Result<(), Vec<String>> {
        self.background.finish_saves(patience)
    }

    /// What the user is making.
    pub fn document(&self) -> &Document {
        self.history.document()
    }

    /// Undo and redo, for menus.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What is remembered between runs.
    pub fn preferences(&self) -> &Preferences {
        &self.preferences
    }

    /// What can be picked from.
    pub fn library(&self) -> &Library {
        self.shelf.library()
    }

    /// What goes with it: thumbnails, measured effects, warnings.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The tool in hand.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The heatmap.
    pub fn lens(&self) -> &Lens {
        &self.lens
    }

    /// The picture that forms, and the pictures that were made.
    pub fn preview(&self) -> &Preview {
        &self.preview
    }

    /// The zero-shot scores.
    pub fn zero_shot(&self) -> &ZeroShot {
        &self.zero_shot
    }

    /// How the model reads the prompt and the negative prompt; `None` until it first did.
    pub fn tokens(&self) -> Option<&TokenizedPrompts> {
        self.tokens.of.as_ref()
    }

    /// The step whose tokens are asked for, counted from 1.
    pub fn tokens_step(&self) -> u32 {
        self.tokens.step.min(self.document().sampling.steps.max(1))
    }

    /// What can be said of the prompts without a model, and the names that they may use.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Parameters from outside that wait to be taken over.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref()
    }

    /// Grids, pairs of results and the parts of the prompt.
    pub fn compare(&self) -> &Compare {
        &self.compare
    }

    /// The models on this machine.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The files of LoRAs and learned words that the document asks for.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// What runs and what waits.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// What went wrong.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// The time of the last command or update.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The caret in the prompt, in characters.
    pub fn prompt_caret(&self) -> usize {
        self.prompt_caret
    }

    /// What the lens looks for right now.
    pub fn lens_phrase(&self) -> &str {
        let document = self.document();
        if self.preferences.lens_follows_prompt { &self.lens.under_caret } else { document.lens_phrase.trim() }
    }

    fn edit(&mut self, edit: Edit) {
        if let Err(error) = self.history.apply(edit, self.now) {
            self.notices.add(Level::Warning, sentence(&error.to_string()), None);
        }
    }

    fn submit(&mut self, spec: JobSpec, lane: Lane) -> JobId {
        let name = spec.name();
        let detail = prepare::describe(&spec);
        let id = self.engine.submit(spec, lane);
        self.jobs.submitted(id, name, detail, lane, self.now);
        id
    }

    /// Stops what makes pictures. The other live panels answer within a moment and would only be out of date.
    fn cancel_all(&mut self) {
        for job in self.jobs.active() {
            if job.lane >= Lane::Interactive(InteractiveKind::Preview) {
                self.engine.cancel(job.id);
            }
        }
        // What is still being prepared has no job.
        self.stop_thumbnails();
        self.stop_measuring();
    }
}

/// `text` with a capital first letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}
