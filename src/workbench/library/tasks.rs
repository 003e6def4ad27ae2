//! What the library does with files, on background threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Item;
use super::effect::{Baseline, EffectReport, Measurement};
use super::render::Ground;
use super::thumbnails::Wanted;
use crate::base::pixels::Picture;
use crate::document::Document;
use crate::job::JobSpec;
use crate::job::lora::LoraUse;
use crate::job::nets::OtherNets;
use crate::job::spec::GenerateSpec;
use crate::prompt::exchange::Format;
use crate::prompt::expand::wildcards::Wildcards;
use crate::prompt::library::Library;
use crate::prompt::reading;
use crate::store::preferences::Preferences;
use crate::store::{cache, exchange, pictures, presets};
use crate::workbench::command::PreviewTarget;
use crate::workbench::named::{Chosen, KnownFile, NamedFiles};
use crate::workbench::prepare;

/// A document and the settings beside it, as they were when something was asked.
#[derive(Clone)]
pub(in crate::workbench) struct Scene {
    /// Without ControlNets: those that can be used are beside it.
    pub(super) document: Document,
    pub(super) preferences: Preferences,
    pub(super) library: Arc<Library>,
    /// Seeds that effects are measured over.
    pub(super) seeds: u32,
    /// What is chosen beside the words.
    pub(super) beside: Beside,
    /// The LoRAs and learned words that prompts may name.
    pub(super) known: Vec<KnownFile>,
}

/// What steers a picture whatever its words name: the LoRAs and nets that are chosen now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::workbench) struct Beside {
    nets: OtherNets,
    loras: Vec<LoraUse>,
}

impl Beside {
    /// Of a request.
    pub(super) fn of(spec: GenerateSpec) -> Self {
        Self { nets: spec.nets, loras: spec.loras }
    }
}

/// What makes requests definite: the lists to draw from, what is chosen, and the files that prompts name.
pub(super) struct Settler<'a> {
    library: &'a Library,
    beside: &'a Beside,
    files: &'a mut NamedFiles,
    /// Made of the library when they are first drawn from.
    wildcards: Option<Wildcards>,
}

impl<'a> Settler<'a> {
    pub(super) fn new(scene: &'a Scene, files: &'a mut NamedFiles) -> Self {
        Self { library: &scene.library, beside: &scene.beside, files, wildcards: None }
    }

    /// Draws from variants and wildcards by the seed of the picture, and finds what the drawn prompt names.
    ///
    /// # Errors
    /// If a file that it names is not found or cannot be read.
    pub(super) fn settle(&mut self, spec: &mut GenerateSpec) -> Result<(), String> {
        if reading::is_dynamic(&spec.prompt) || reading::is_dynamic(&spec.negative) {
            let wildcards = self.wildcards.get_or_insert_with(|| presets::wildcards(self.library));
            spec.prompt = reading::draw(&spec.prompt, spec.sampling.seed, wildcards);
            spec.negative = reading::draw(&spec.negative, spec.sampling.seed, wildcards);
        }
        spec.nets.clone_from(&self.beside.nets);
        spec.loras.clone_from(&self.beside.loras);
        self.files.fit(spec, Chosen { loras: self.beside.loras.len(), words: 0 })
    }
}

/// The files that prompts name, for background threads in turn: what was read is not read again.
pub(in crate::workbench) type SharedFiles = Arc<Mutex<NamedFiles>>;

fn lock(files: &SharedFiles) -> MutexGuard<'_, NamedFiles> {
    // A reader that panicked leaves what it had read.
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something to do.
pub(in crate::workbench) enum LibraryTask {
    Import {
        presets: PathBuf,
        file: PathBuf,
        to: String,
    },
    Export {
        out: PathBuf,
        format: Format,
        library: Arc<Library>,
    },
    Save {
        presets: PathBuf,
        to: String,
        stem: String,
        part: Box<Library>,
    },
    /// Looks up what is kept of these items.
    Find {
        cache: Option<PathBuf>,
        scene: Box<Scene>,
        ground: Arc<Ground>,
        files: SharedFiles,
        items: Vec<Item>,
        number: u64,
        /// The number of the newest search of its kind: an older one gives way.
        newest: Arc<AtomicU64>,
        /// Whether what is missing is to be rendered.
        renders: bool,
    },
    /// Gets ready to measure a modifier.
    Prepare {
        scene: Box<Scene>,
        files: SharedFiles,
        modifier: String,
        baseline: Option<Box<Baseline>>,
        number: u64,
        /// Whether files may have come and gone since the last one.
        afresh: bool,
    },
    KeepThumbnail {
        cache: Option<PathBuf>,
        wanted: Box<Wanted>,
        picture: Picture,
        model_hash: String,
    },
    KeepEffect {
        cache: PathBuf,
        key: String,
        report: Box<EffectReport>,
    },
}

/// How it went.
pub(in crate::workbench) enum LibraryDone {
    /// Something was written into the user's folder: what to say, and warnings.
    Imported {
        text: String,
        warnings: Vec<String>,
    },
    Exported {
        text: String,
        warnings: Vec<String>,
    },
    Found(Found),
    NotFound {
        number: u64,
        text: String,
    },
    Prepared {
        number: u64,
        measurement: Result<Box<Measurement>, String>,
    },
    Kept {
        wanted: Box<Wanted>,
        small: Picture,
        warning: Option<String>,
    },
    /// Of this modifier.
    EffectKept(String),
}

/// What is kept, and what could be made.
pub(in crate::workbench) struct Found {
    pub(super) number: u64,
    pub(super) ground: Arc<Ground>,
    pub(super) renders: bool,
    pub(super) thumbnails: Vec<(Wanted, Option<Picture>)>,
    pub(super) effects: Vec<EffectReport>,
    /// Items that cannot be rendered, and why.
    pub(super) refused: Vec<(String, String)>,
}

impl LibraryTask {
    /// What to say if it fails by a fault of ours, or cannot be started, where somebody waits for it.
    pub(in crate::workbench) fn on_failure(&self) -> Option<Box<dyn FnOnce(String) -> LibraryDone + Send>> {
        match self {
            Self::Find { number, .. } => {
                let number = *number;
                Some(Box::new(move |text| LibraryDone::NotFound { number, text }))
            }
            Self::Prepare { number, .. } => {
                let number = *number;
                Some(Box::new(move |text| LibraryDone::Prepared { number, measurement: Err(text) }))
            }
            _ => None,
        }
    }

    /// Whether the end of the program has to wait for it.
    pub(in crate::workbench) fn saves(&self) -> bool {
        !matches!(self, Self::Find { .. } | Self::Prepare { .. })
    }

    pub(in crate::workbench) fn run(self) -> Result<LibraryDone, String> {
        match self {
            Self::Import { presets, file, to } => {
                let imported = exchange::import(&presets, &file, None, &to)?;
                let (what, format) = (imported.library.describe(), imported.format.name());
                let text = format!("Imported {what} from {} ({format}).", file.display());
                Ok(LibraryDone::Imported { text, warnings: imported.warnings })
            }
            Self::Export { out, format, library } => {
                let (written, warnings) = exchange::export(&out, format, &library)?;
                let text = match &written[..] {
                    [one] => format!("Wrote {} ({}).", one.display(), format.name()),
                    all => format!("Wrote {} files into {} ({}).", all.len(), out.display(), format.name()),
                };
                Ok(LibraryDone::Exported { text, warnings })
            }
            Self::Save { presets, to, stem, part } => {
                let written = exchange::save(&presets, &to, &stem, &part)?;
                let path = written.first().map(|path| path.display().to_string()).unwrap_or_default();
                Ok(LibraryDone::Imported { text: format!("Saved {} as {path}.", part.describe()), warnings: vec![] })
            }
            Self::Find { cache, scene, ground, files, items, number, newest, renders } => {
                let mut files = lock(&files);
                files.look_anew(scene.known.clone());
                let mut settler = Settler::new(&scene, &mut files);
                let (mut thumbnails, mut effects, mut refused) = (Vec::new(), Vec::new(), Vec::new());
                for item in &items {
                    if newest.load(Ordering::Relaxed) != number {
                        break;
                    }
                    match wanted(&scene, &ground, item, &mut settler) {
                        Some(Ok(wanted)) => {
                            let picture = cache.as_ref().and_then(|cache| cache::thumbnail(cache, &wanted.key));
                            thumbnails.push((wanted, picture));
                        }
                        Some(Err(why)) => refused.push((item.name().to_owned(), why)),
                        None => (),
                    }
                    if let (Item::Modifier(modifier), Some(cache)) = (item, &cache)
                        && let Ok(measurement) = Measurement::of(&scene, modifier, &mut settler, None)
                    {
                        effects.extend(cache::value(cache, "effects", &measurement.key()));
                    }
                }
                Ok(LibraryDone::Found(Found { number, ground, renders, thumbnails, effects, refused }))
            }
            Self::Prepare { scene, files, modifier, baseline, number, afresh } => {
                let mut files = lock(&files);
                if afresh {
                    files.look_anew(scene.known.clone());
                }
                let mut settler = Settler::new(&scene, &mut files);
                let measurement = Measurement::of(&scene, &modifier, &mut settler, baseline.as_deref()).map(Box::new);
                Ok(LibraryDone::Prepared { number, measurement })
            }
            Self::KeepThumbnail { cache, wanted, picture, model_hash } => {
                let record = pictures::job_record(&wanted.spec, wanted.spec.sampling.seed, &model_hash);
                let (small, written) = match cache {
                    Some(cache) => cache::keep_thumbnail(&cache, &wanted.key, &picture, &record),
                    None => (picture, Ok(())),
                };
                Ok(LibraryDone::Kept { wanted, small, warning: written.err() })
            }
            Self::KeepEffect { cache, key, report } => {
                cache::keep_value(&cache, "effects", &key, &report)?;
                Ok(LibraryDone::EffectKept(report.modifier))
            }
        }
    }
}

/// The thumbnail of an item in a scene; `None` if there is no such item.
fn wanted(
    scene: &Scene,
    ground: &Arc<Ground>,
    item: &Item,
    settler: &mut Settler<'_>,
) -> Option<Result<Wanted, String>> {
    let document = item.on(&scene.document, &scene.library)?;
    let mut spec = prepare::generate(&document, &scene.preferences, PreviewTarget::NewPicture, 1).ok()?;
    let words = (spec.prompt.clone(), spec.negative.clone());
    if let Err(why) = settler.settle(&mut spec) {
        return Some(Err(why));
    }
    let model = spec.model.clone();
    let request = JobSpec::Generate(spec.clone());
    let (item, ground) = (item.clone(), ground.clone());
    Some(Ok(Wanted { item, key: cache::key(&request, &[&model]), words, ground, spec }))
}
