//! What the library does with files, on background threads.

use std::path::PathBuf;
use std::sync::Arc;

use super::Item;
use super::effect::{self, EffectReport};
use super::thumbnails::Wanted;
use crate::base::pixels::Picture;
use crate::document::Document;
use crate::job::JobSpec;
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::job::nets::OtherNets;
use crate::job::spec::GenerateSpec;
use crate::prompt::exchange::Format;
use crate::prompt::library::Library;
use crate::prompt::reading;
use crate::store::preferences::Preferences;
use crate::store::{cache, exchange, pictures, presets};
use crate::workbench::command::PreviewTarget;
use crate::workbench::prepare;

/// A document and the settings beside it, as they were when something was asked.
#[derive(Clone)]
pub(in crate::workbench) struct Scene {
    pub(super) document: Document,
    pub(super) preferences: Preferences,
    pub(super) library: Arc<Library>,
    /// Seeds that effects are measured over.
    pub(super) seeds: u32,
    /// What goes with the model.
    pub(super) beside: Beside,
}

/// What steers a picture beside its words: the LoRAs, learned words and nets of the picture that would be made now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::workbench) struct Beside {
    pub(super) nets: OtherNets,
    pub(super) loras: Vec<LoraUse>,
    pub(super) embeddings: Vec<EmbeddingUse>,
}

impl Beside {
    /// Of a request.
    pub(super) fn of(spec: GenerateSpec) -> Self {
        Self { nets: spec.nets, loras: spec.loras, embeddings: spec.embeddings }
    }

    /// Puts it into a request.
    pub(super) fn put(&self, spec: &mut GenerateSpec) {
        spec.nets.clone_from(&self.nets);
        spec.loras.clone_from(&self.loras);
        spec.embeddings.clone_from(&self.embeddings);
    }
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
        items: Vec<Item>,
        number: u64,
        renders: bool,
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
    Found {
        number: u64,
        renders: bool,
        thumbnails: Vec<(Wanted, Option<Picture>)>,
        effects: Vec<EffectReport>,
    },
    Kept {
        wanted: Box<Wanted>,
        small: Picture,
        warning: Option<String>,
    },
    EffectKept,
}

impl LibraryTask {
    /// Whether the end of the program has to wait for it.
    pub(in crate::workbench) fn saves(&self) -> bool {
        !matches!(self, Self::Find { .. })
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
            Self::Find { cache, scene, items, number, renders } => {
                let thumbnails = items.iter().filter_map(|item| wanted(&scene, item)).map(|wanted| {
                    let picture = cache.as_ref().and_then(|cache| cache::thumbnail(cache, &wanted.key));
                    (wanted, picture)
                });
                let thumbnails = thumbnails.collect();
                let effects = items.iter().filter_map(|item| {
                    let Scene { document, preferences, library, seeds, beside } = &*scene;
                    let key = effect::key_of(document, preferences, library, item, *seeds, beside)?;
                    cache::value(cache.as_ref()?, "effects", &key)
                });
                let effects = effects.collect();
                Ok(LibraryDone::Found { number, renders, thumbnails, effects })
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
                Ok(LibraryDone::EffectKept)
            }
        }
    }
}

/// Draws from variants and wildcards by the seed of the picture.
pub(super) fn make_definite(spec: &mut GenerateSpec, library: &Library) {
    if reading::is_dynamic(&spec.prompt) || reading::is_dynamic(&spec.negative) {
        let wildcards = presets::wildcards(library);
        spec.prompt = reading::draw(&spec.prompt, spec.sampling.seed, &wildcards);
        spec.negative = reading::draw(&spec.negative, spec.sampling.seed, &wildcards);
    }
}

/// The thumbnail of an item in a scene.
fn wanted(scene: &Scene, item: &Item) -> Option<Wanted> {
    let document = item.on(&scene.document, &scene.library)?;
    let mut spec = prepare::generate(&document, &scene.preferences, PreviewTarget::NewPicture, 1).ok()?;
    scene.beside.put(&mut spec);
    let words = (spec.prompt.clone(), spec.negative.clone());
    make_definite(&mut spec, &scene.library);
    let model = spec.model.clone();
    let request = JobSpec::Generate(spec.clone());
    Some(Wanted { item: item.clone(), key: cache::key(&request, &[&model]), words, spec })
}
