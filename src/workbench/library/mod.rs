//! The library in use: what is on the shelf, live from the user's folder; the stack of templates; thumbnails; measured effects.
//!
//! Everything that changes the document is one step for undo. Files are read and written on background threads, pictures are made in
//! the batch lane one at a time.

mod effect;
mod item;
mod render;
mod stack;
mod tasks;
mod thumbnails;
mod watch;

pub use effect::{Baseline, EffectReport, KnownEffect, Measurement};
pub use item::Item;
pub(super) use tasks::{LibraryDone, LibraryTask};
pub use thumbnails::{Thumbnail, Thumbnails};

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::background::FileTask;
use super::named::NamedFiles;
use super::notices::Level;
use super::{Workbench, sentence};
use crate::engine::JobId;
use crate::engine::Wake;
use crate::prompt::exchange::Format;
use crate::prompt::expand::wildcards::{Value, Wildcards};
use crate::prompt::library::{Library, Modifier, ModifierCategory, Template, WildcardList};
use crate::prompt::{modifier, template};
use crate::store::preferences::UserFolders;
use watch::Watcher;

/// Seeds that an effect is measured over unless told otherwise.
pub const DEFAULT_SEEDS: u32 = 6;
/// Thumbnails have this seed, and measurements this one and those after it.
const FIRST_SEED: u64 = 1;
/// Kept thumbnails are looked up after this much quiet.
const QUIET: Duration = Duration::from_millis(500);

/// What can be asked of the library.
#[derive(Debug, Clone, PartialEq)]
pub enum LibraryCommand {
    /// Put a template or style on the stack, or take it off; a modifier into the prompt, or out of it.
    Toggle(Item),
    /// Move a template in the stack.
    MoveInStack {
        /// From this place.
        from: usize,
        /// To this one.
        to: usize,
    },
    /// Take a template off the stack.
    TakeOff(usize),
    /// Leave a template of the stack out for now, or let it count again.
    SwitchOff(usize, bool),
    /// Fill a hole of a template of the stack.
    FillSlot {
        /// Which template.
        index: usize,
        /// The hole.
        name: String,
        /// What to put in.
        value: String,
    },
    /// Take everything off the stack.
    ClearStack,
    /// Write what the stack makes of the prompts into the prompts, and take everything off.
    WriteStack,
    /// Put `__name__` into the prompt.
    InsertWildcard(String),
    /// Compare the classes of a set by the texts that it has for them, beside the templates.
    UseClassTexts(String),
    /// Mark as a favourite, or not any more, by its key.
    ToggleFavourite(String),
    /// Read a file of any known format into a folder of the user's presets.
    Import {
        /// The file.
        file: PathBuf,
        /// The folder, "" for none.
        to: String,
    },
    /// Write the library in a format.
    Export {
        /// File or folder.
        out: PathBuf,
        /// The format.
        format: Format,
        /// Only what is the user's.
        only_mine: bool,
    },
    /// Keep something new in the user's presets.
    Create(Draft),
    /// Render thumbnails of these for the current prompt.
    RenderThumbnails(Vec<Item>),
    /// Stop rendering thumbnails.
    StopThumbnails,
    /// Measure what these modifiers do to the current prompt.
    Measure {
        /// The modifiers.
        modifiers: Vec<String>,
        /// Over how many seeds.
        seeds: u32,
    },
    /// Stop measuring.
    StopMeasuring,
}

/// What can be made new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DraftKind {
    /// A modifier.
    #[default]
    Modifier,
    /// A template.
    Template,
    /// A style.
    Style,
    /// A wildcard, an option a line.
    Wildcard,
}

/// Something new for the library.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// What it is.
    pub kind: DraftKind,
    /// Its name; of a modifier, the category.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Its negative prompt.
    pub negative: String,
    /// A line about it.
    pub about: String,
    /// The folder that it goes into, "" for none.
    pub folder: String,
}

impl Draft {
    /// Whether enough is said to keep it.
    pub fn is_complete(&self) -> bool {
        let says_something = |text: &String| !text.trim().is_empty();
        says_something(&self.name) && [&self.text, &self.negative].into_iter().any(says_something)
    }

    /// What would be in the library, and the name of its file.
    fn part(&self) -> (Library, String) {
        let mut library = Library::default();
        let (name, text) = (self.name.trim().to_owned(), self.text.trim().to_owned());
        let template = Template {
            name: name.clone(),
            text: text.clone(),
            negative: self.negative.trim().to_owned(),
            about: self.about.trim().to_owned(),
            ..Template::default()
        };
        let mut stem = name.clone();
        match self.kind {
            DraftKind::Modifier => {
                stem = format!("{name} - {text}");
                let about = self.about.trim().to_owned();
                let modifiers = vec![Modifier { about, ..Modifier::new(text) }];
                library.modifiers.push(ModifierCategory { name, modifiers, ..ModifierCategory::default() });
            }
            DraftKind::Template => library.templates.push(template),
            DraftKind::Style => library.styles.push(template),
            DraftKind::Wildcard => {
                let values = template::lines(&text).into_iter().map(|text| Value { text, weight: 1.0 }).collect();
                library.wildcards.insert(name, WildcardList { values, is_mine: true });
            }
        }
        (library, stem)
    }
}

/// What was measured and what is being measured.
#[derive(Default)]
pub struct Effects {
    known: HashMap<String, KnownEffect>,
    waiting: VecDeque<String>,
    running: Option<Running>,
    /// Whether what is running waits for files to be read.
    waits_for_files: bool,
    /// What the last measurement was prepared on.
    prepared_on: Option<Arc<render::Ground>>,
    /// The newest measurement that was prepared.
    number: u64,
    baseline: Option<Baseline>,
    seeds: u32,
    done: usize,
    total: usize,
    /// Modifiers that cannot be measured, and why.
    refused: Vec<(String, String)>,
}

/// A modifier that is being measured.
struct Running {
    modifier: String,
    /// What it is measured on.
    ground: Arc<render::Ground>,
    /// The job under way; `None` while the files that it needs are looked for.
    job: Option<(Measurement, JobId)>,
}

impl Effects {
    /// What a modifier does, if it was measured.
    pub fn get(&self, modifier: &str) -> Option<&KnownEffect> {
        self.known.get(modifier)
    }

    /// Whether anything was measured.
    pub fn any(&self) -> bool {
        !self.known.is_empty()
    }

    /// How many are measured, of how many; `None` if nothing is.
    pub fn progress(&self) -> Option<(usize, usize)> {
        self.running.as_ref().map(|_| (self.done, self.total))
    }

    /// The share of the modifier that is being measured, from 0 to 1.
    pub fn fraction(&self) -> f32 {
        let job = self.running.as_ref().and_then(|running| running.job.as_ref());
        job.map_or(0.0, |(measurement, _)| measurement.fraction())
    }

    /// The modifier that is being measured.
    pub fn running(&self) -> Option<&str> {
        self.running.as_ref().map(|running| running.modifier.as_str())
    }
}

/// Everything that the library panel shows beside the library itself.
pub struct Shelf {
    library: Arc<Library>,
    /// The wildcards of the library, ready for expansion.
    wildcards: Wildcards,
    warnings: Vec<String>,
    watcher: Option<Watcher>,
    cache: Option<PathBuf>,
    thumbnails: Thumbnails,
    effects: Effects,
    /// LoRAs and learned words, by what prompts name.
    files: tasks::SharedFiles,
    /// What kept thumbnails were last looked up for, and when it changed since.
    looked_up: Option<Arc<render::Ground>>,
    changed: Option<(render::Ground, Duration)>,
    /// Whether to look again once nothing is being made: what was kept since may be of the ground that there is now.
    looks_again: bool,
    /// How many searches there were.
    searches: u64,
    /// The newest search of what is kept.
    newest: Arc<AtomicU64>,
    /// The search for what is to be rendered.
    newest_render: Arc<AtomicU64>,
    /// How often the library changed.
    revision: u64,
}

impl Shelf {
    pub(super) fn new(library: Library, warnings: Vec<String>, folders: Option<&UserFolders>, wake: Wake) -> Self {
        Self {
            wildcards: crate::store::presets::wildcards(&library),
            library: Arc::new(library),
            warnings,
            watcher: folders.and_then(|folders| Watcher::new(folders.presets.clone(), wake)),
            cache: folders.map(|folders| folders.cache.clone()),
            thumbnails: Thumbnails::default(),
            effects: Effects { seeds: DEFAULT_SEEDS, ..Effects::default() },
            files: Arc::new(Mutex::new(NamedFiles::new(folders.map(|folders| folders.presets.clone())))),
            looked_up: None,
            changed: None,
            looks_again: false,
            searches: 0,
            newest: Arc::default(),
            newest_render: Arc::default(),
            revision: 0,
        }
    }

    pub(super) fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// The wildcards of the library, ready for expansion.
    pub fn wildcards(&self) -> &Wildcards {
        &self.wildcards
    }

    /// What could not be read of the user's presets.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Pictures of what its items do.
    pub fn thumbnails(&self) -> &Thumbnails {
        &self.thumbnails
    }

    /// What its modifiers do, measured.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }
}

impl Workbench {
    pub(super) fn library_command(&mut self, command: LibraryCommand) {
        match command {
            LibraryCommand::Toggle(Item::Modifier(text)) => self.toggle_modifier(&text),
            LibraryCommand::Toggle(item) => self.toggle_template(&item),
            LibraryCommand::MoveInStack { from, to } => self.change_stack(|stack| {
                if from < stack.len() && to < stack.len() {
                    let moved = stack.remove(from);
                    stack.insert(to, moved);
                }
            }),
            LibraryCommand::TakeOff(index) => self.change_stack(|stack| {
                if index < stack.len() {
                    stack.remove(index);
                }
            }),
            LibraryCommand::SwitchOff(index, is_off) => self.change_stack(|stack| {
                if let Some(applied) = stack.get_mut(index) {
                    applied.is_off = is_off;
                }
            }),
            LibraryCommand::FillSlot { index, name, value } => self.fill_slot(index, name, value),
            LibraryCommand::ClearStack => self.change_stack(Vec::clear),
            LibraryCommand::WriteStack => self.write_stack(),
            LibraryCommand::InsertWildcard(name) => {
                let added = modifier::add(&self.document().prompt, &format!("__{name}__"));
                self.replace_text(crate::document::TextField::Prompt, added);
            }
            LibraryCommand::UseClassTexts(name) => self.use_class_texts(&name),
            LibraryCommand::ToggleFavourite(key) => {
                let favourites = &mut self.preferences.favourites;
                if !favourites.remove(&key) {
                    favourites.insert(key);
                }
            }
            LibraryCommand::Import { file, to } => self.keep(|presets| LibraryTask::Import { presets, file, to }),
            LibraryCommand::Create(draft) => {
                let ((part, stem), to) = (draft.part(), draft.folder.clone());
                self.keep(|presets| LibraryTask::Save { presets, to, stem, part: Box::new(part) });
            }
            LibraryCommand::Export { out, format, only_mine } => {
                let library = &self.shelf.library;
                let library = if only_mine { Arc::new((**library).clone().only_mine()) } else { library.clone() };
                self.background.start(FileTask::Library(LibraryTask::Export { out, format, library }));
            }
            LibraryCommand::RenderThumbnails(items) => self.render(items),
            LibraryCommand::StopThumbnails => self.stop_thumbnails(),
            LibraryCommand::Measure { modifiers, seeds } => self.measure(modifiers, seeds),
            LibraryCommand::StopMeasuring => self.stop_measuring(),
        }
    }

    /// Starts a task that writes into the user's presets; says so if there is no place for them.
    fn keep(&mut self, task: impl FnOnce(PathBuf) -> LibraryTask) {
        match &self.folders {
            Some(folders) => {
                let task = task(folders.presets.clone());
                self.background.start(FileTask::Library(task));
            }
            None => {
                let text = "This system has no place for a user's files, so nothing can be kept.".to_owned();
                self.notices.add(Level::Warning, text, None);
            }
        }
    }

    /// Takes over what changed in the user's folder. Warnings are said once.
    pub(super) fn follow_presets(&mut self) {
        let Some((library, warnings)) = self.shelf.watcher.as_ref().and_then(Watcher::poll) else { return };
        for warning in warnings.iter().filter(|warning| !self.shelf.warnings.contains(warning)) {
            self.notices.add(Level::Warning, sentence(warning), None);
        }
        self.shelf.wildcards = crate::store::presets::wildcards(&library);
        (self.shelf.library, self.shelf.warnings) = (Arc::new(library), warnings);
        self.shelf.revision += 1;
        self.reader.files_changed();
    }

    pub(super) fn fold_library(&mut self, done: LibraryDone) {
        match done {
            LibraryDone::Imported { text, warnings } => {
                self.say_all(text, warnings);
                if let Some(watcher) = &self.shelf.watcher {
                    watcher.look();
                }
            }
            LibraryDone::Exported { text, warnings } => self.say_all(text, warnings),
            LibraryDone::Found(found) => self.on_found(found),
            LibraryDone::NotFound { number, text } => self.on_not_found(number, &text),
            LibraryDone::Prepared { number, measurement } => self.on_prepared(number, measurement),
            LibraryDone::Kept { wanted, small, warning } => self.on_kept(&wanted, small, warning),
            LibraryDone::EffectKept(modifier) => self.on_effect_kept(&modifier),
        }
    }

    fn say_all(&mut self, text: String, warnings: Vec<String>) {
        const MOST: usize = 20;
        let more = warnings.len().saturating_sub(MOST);
        for warning in warnings.into_iter().take(MOST) {
            self.notices.add(Level::Warning, sentence(&warning), None);
        }
        if more > 0 {
            self.notices.add(Level::Warning, format!("There are {more} more such warnings about this file."), None);
        }
        self.notices.add(Level::Info, text, None);
    }
}
