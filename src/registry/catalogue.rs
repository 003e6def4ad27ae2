//! The catalogue of models (`presets/models.toml`), and finding the folder that a [`ModelRef`] means.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use crate::job::ModelRef;
use crate::models::files::ModelFiles;

static CLIP: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/models/clip");
static DIFFUSION: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/models/diffusion");
static JUDGE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/models/judge");

/// The judge that scores the pictures of the built-in diffusion model. It is no model that anybody can choose.
pub fn judge() -> ModelFiles {
    ModelFiles::Embedded(&JUDGE)
}

/// Bytes of all built-in models, the judge among them.
pub fn shipped_bytes() -> u64 {
    fn bytes(dir: &Dir<'_>) -> usize {
        dir.files().map(|file| file.contents().len()).sum::<usize>() + dir.dirs().map(bytes).sum::<usize>()
    }
    [&CLIP, &DIFFUSION, &JUDGE].into_iter().map(bytes).sum::<usize>() as u64
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Pictures and texts in one space.
    Clip,
    /// Text to picture.
    Diffusion,
}

impl Family {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "CLIP",
            Self::Diffusion => "diffusion",
        }
    }

    /// The files of which a folder of this family must have one.
    fn telltales(self) -> &'static [&'static str] {
        match self {
            Self::Clip => &["config.json", "open_clip_config.json"],
            Self::Diffusion => &["model_index.json"],
        }
    }
}

/// One model of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name on the command line.
    pub id: String,
    /// What it is for.
    pub family: Family,
    /// One line about it.
    pub title: String,
    /// Under which licence.
    pub licence: String,
    /// The folder inside the program that holds it.
    pub embedded: String,
}

/// Why a model cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegistryError(pub String);

/// The models that are known by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The entries.
    #[serde(rename = "model")]
    pub entries: Vec<Entry>,
}

impl Catalogue {
    /// Reads a catalogue file.
    ///
    /// # Errors
    /// If it is not valid, with the place.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        toml::from_str(text).map_err(|error| RegistryError(format!("the model catalogue is not valid: {error}")))
    }

    /// The files of `model` as a member of `family`: a catalogue id, or the path of a folder.
    ///
    /// # Errors
    /// If there is no such entry and no such folder, or the folder is not of this family.
    pub fn resolve(&self, model: &ModelRef, family: Family) -> Result<ModelFiles, RegistryError> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.id == model.0 && entry.family == family) {
            return match entry.embedded.as_str() {
                "clip" => Ok(ModelFiles::Embedded(&CLIP)),
                "diffusion" => Ok(ModelFiles::Embedded(&DIFFUSION)),
                other => Err(RegistryError(format!(
                    "the catalogue says that \"{}\" is built in as {other}, which this build does not have; pass a folder",
                    model.0
                ))),
            };
        }
        if self.entries.iter().any(|entry| entry.id == model.0) {
            return Err(RegistryError(format!(
                "\"{}\" is not a {} model; see `maquette models list`",
                model.0,
                family.name()
            )));
        }
        self.resolve_folder(Path::new(&model.0), family)
    }

    fn resolve_folder(&self, path: &Path, family: Family) -> Result<ModelFiles, RegistryError> {
        let known = || {
            let mut ids: Vec<&str> =
                self.entries.iter().filter(|e| e.family == family).map(|e| e.id.as_str()).collect();
            ids.dedup();
            ids.join(", ")
        };
        if !path.exists() {
            return Err(RegistryError(format!(
                "there is no {} model of this id (known: {}) and no such folder: {}",
                family.name(),
                known(),
                path.display()
            )));
        }
        if !path.is_dir() {
            return Err(RegistryError(format!("a model is a folder, and this is a file: {}", path.display())));
        }
        if !family.telltales().iter().any(|file| path.join(file).is_file()) {
            return Err(RegistryError(format!(
                "this folder has no {}, so it is no {} model: {}",
                family.telltales().join(" or "),
                family.name(),
                path.display()
            )));
        }
        Ok(ModelFiles::Folder(PathBuf::from(path)))
    }
}
