//! The catalogue of models (`presets/models.toml` and the user's own), and finding the files that a [`ModelRef`] means.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use super::scan::{self, Found, Sort};
use super::{hub, vocabulary};
use crate::job::ModelRef;
use crate::models::files::ModelFiles;
use crate::models::files::checkpoint::Checkpoint;

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
    #[serde(default)]
    pub licence: String,
    /// The folder inside the program that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<String>,
    /// The folder or file on disk that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// A folder or file where models are to be looked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    path: PathBuf,
}

/// Why a model cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegistryError(pub String);

/// The models that are known by name, and where else to look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The entries.
    #[serde(rename = "model", default)]
    pub entries: Vec<Entry>,
    #[serde(rename = "place", default)]
    places: Vec<Place>,
    /// The user's own folder.
    #[serde(skip)]
    own: Option<PathBuf>,
    /// Hugging Face's caches.
    #[serde(skip)]
    caches: Vec<PathBuf>,
}

impl Catalogue {
    /// Reads a catalogue file.
    ///
    /// # Errors
    /// If it is not valid, with the place.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        toml::from_str(text).map_err(|error| RegistryError(format!("the model catalogue is not valid: {error}")))
    }

    /// The shipped catalogue with the user's own on top, and the caches of this system.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn load(shipped: &str, user: Option<&str>) -> Result<Self, RegistryError> {
        let mut own = user.map(Self::parse).transpose()?.unwrap_or_default();
        for entry in Self::parse(shipped)?.entries {
            if !own.entries.iter().any(|known| known.id == entry.id && known.family == entry.family) {
                own.entries.push(entry);
            }
        }
        own.caches = hub::caches(|name| std::env::var_os(name));
        Ok(own)
    }

    /// The same, and what lies in `folder`, which need not exist.
    pub fn with_folder(self, folder: PathBuf) -> Self {
        Self { own: Some(folder), ..self }
    }

    /// Where everything is looked for that is not called by its path: the remembered places, the user's own folder, the caches.
    fn looked_in(&self) -> impl Iterator<Item = &Path> {
        self.places().chain(self.own.as_deref()).chain(self.caches.iter().map(PathBuf::as_path))
    }

    /// The same for people.
    pub(super) fn places_in_words(&self) -> Vec<String> {
        let caches = self.caches.iter().map(|cache| format!("Hugging Face's cache {}", cache.display()));
        self.places().chain(self.own.as_deref()).map(|place| place.display().to_string()).chain(caches).collect()
    }

    /// The remembered folders and files, in the order of the user's file.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| place.path.as_path())
    }

    /// `text`, the user's catalogue, with `path` as one more place.
    ///
    /// # Errors
    /// If it is a place already, or cannot be written down.
    pub fn with_place(text: &str, path: &Path) -> Result<String, RegistryError> {
        if Self::parse(text)?.places().any(|known| known == path) {
            return Err(RegistryError(format!("this is known already: {}", path.display())));
        }
        let name = path.to_str().ok_or_else(|| {
            RegistryError(format!("this path is no text, so it cannot be remembered; rename it: {}", path.display()))
        })?;
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Ok(format!("{text}{gap}\n[[place]]\npath = {}\n", toml::Value::String(name.to_owned())))
    }

    /// What is in the remembered places, in the user's own folder and in Hugging Face's caches.
    pub fn found(&self) -> Vec<Found> {
        let mut found: Vec<Found> = self.looked_in().flat_map(scan::scan).collect();
        let mut seen = std::collections::HashSet::new();
        found.retain(|one| seen.insert(one.path.clone()));
        found
    }

    /// Where the thing `name` of this sort is: a path, a name from Hugging Face's cache, or the name of a file or folder in a remembered
    /// place.
    ///
    /// # Errors
    /// If there is none, or there are several of one name.
    pub fn locate(&self, name: &str, sort: Sort) -> Result<PathBuf, RegistryError> {
        let path = Path::new(name);
        if path.exists() {
            let folder = hub::name_of(path).and_then(|_| hub::snapshot(path));
            return Ok(folder.unwrap_or_else(|| path.to_owned()));
        }
        if let Some(snapshot) = self.caches.iter().find_map(|cache| hub::find(cache, name)) {
            return Ok(snapshot);
        }
        let found = self.shelf().named(name, sort).map(|one| one.path.clone());
        found.map_err(|error| RegistryError(format!("there is no such folder or file, and {}", error.0)))
    }

    /// The files of `model` as a member of `family`: a catalogue id, the path of a folder or file, or a name
    /// that [`Self::locate`] knows.
    ///
    /// # Errors
    /// If there is no such entry and no such folder, or the folder is not of this family.
    pub fn resolve(&self, model: &ModelRef, family: Family) -> Result<ModelFiles, RegistryError> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.id == model.0 && entry.family == family) {
            if let Some(path) = &entry.path {
                return self.open(path, family);
            }
            return match entry.embedded.as_deref() {
                Some("clip") => Ok(ModelFiles::Embedded(&CLIP)),
                Some("diffusion") => Ok(ModelFiles::Embedded(&DIFFUSION)),
                other => Err(RegistryError(format!(
                    "the catalogue says that \"{}\" is built in as {}, which this build does not have; pass a folder",
                    model.0,
                    other.unwrap_or("nothing")
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
        let path = self.locate(&model.0, Sort::of(family)).map_err(|error| self.with_known(&error, family))?;
        self.open(&path, family)
    }

    /// `error` and the ids that would have been found.
    fn with_known(&self, error: &RegistryError, family: Family) -> RegistryError {
        let ids: Vec<&str> = self.entries.iter().filter(|e| e.family == family).map(|e| e.id.as_str()).collect();
        RegistryError(format!("there is no {} model of this id (known: {}); {error}", family.name(), ids.join(", ")))
    }

    fn open(&self, path: &Path, family: Family) -> Result<ModelFiles, RegistryError> {
        if path.is_file() {
            return match family {
                Family::Diffusion => self.open_file(path),
                Family::Clip => Err(RegistryError(format!(
                    "a CLIP is a folder with its configuration and tokenizer, and this is a file: {}",
                    path.display()
                ))),
            };
        }
        if !path.is_dir() {
            return Err(RegistryError(format!("this is neither a file nor a folder: {}", path.display())));
        }
        if family.telltales().iter().any(|file| path.join(file).is_file()) {
            return Ok(ModelFiles::Folder(PathBuf::from(path)));
        }
        let within = scan::scan(path).into_iter().filter(|one| one.sort == Sort::of(family));
        let within: Vec<String> = within.take(5).map(|one| one.path.display().to_string()).collect();
        let hint = match within.is_empty() {
            true => String::new(),
            false => format!(". It holds models that you can name: {}", within.join(", ")),
        };
        Err(RegistryError(format!(
            "this folder has no {}, so it is no {} model: {}{hint}",
            family.telltales().join(" or "),
            family.name(),
            path.display()
        )))
    }

    fn open_file(&self, path: &Path) -> Result<ModelFiles, RegistryError> {
        let failed = |error: crate::models::ModelError| RegistryError(error.to_string());
        let checkpoint = Checkpoint::open(path).map_err(failed)?;
        let tokenizer = self.tokenizer_for(path, checkpoint.vocabulary())?;
        checkpoint.folder(&tokenizer).map_err(failed)
    }

    /// A tokenizer of `words` tokens for the single file `path`: beside it, or in anything else that is known.
    ///
    /// # Errors
    /// If there is none: what to put where.
    pub fn tokenizer_for(&self, path: &Path, words: usize) -> Result<ModelFiles, RegistryError> {
        let beside = vocabulary::beside(path);
        let elsewhere = || vocabulary::of_found(&self.found());
        let found = vocabulary::first(beside, words).or_else(|| vocabulary::first(elsewhere(), words));
        found.ok_or_else(|| {
            RegistryError(format!(
                "a single file holds no tokenizer, and none of {words} tokens is known here. Put vocab.json and merges.txt, or \
                 tokenizer.json, into a folder \"tokenizer\" beside it (every Stable Diffusion and openai/clip-vit-large-patch14 have \
                 them), or name a folder that holds such a model with `maquette models add`: {}",
                path.display()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHIPPED: &str =
        "[[model]]\nid = \"builtin\"\nfamily = \"clip\"\ntitle = \"x\"\nlicence = \"MIT\"\nembedded = \"clip\"\n";

    #[test]
    fn places_are_written_down_once_and_keep_what_was_there() {
        let text = "# mine\n";
        let one = Catalogue::with_place(text, Path::new("/a \"b\"\\c")).unwrap();
        assert!(one.starts_with(text));
        let two = Catalogue::with_place(&one, Path::new("/d")).unwrap();
        let catalogue = Catalogue::load(SHIPPED, Some(&two)).unwrap();
        assert_eq!(catalogue.places().collect::<Vec<_>>(), [Path::new("/a \"b\"\\c"), Path::new("/d")]);
        assert_eq!(catalogue.entries.len(), 1);
        assert!(Catalogue::with_place(&two, Path::new("/d")).unwrap_err().0.contains("already"));
        assert!(Catalogue::with_place("[[", Path::new("/d")).is_err());
    }

    #[test]
    fn the_users_entries_come_first() {
        let own = "[[model]]\nid = \"builtin\"\nfamily = \"clip\"\ntitle = \"mine\"\npath = \"/mine\"\n";
        let catalogue = Catalogue::load(SHIPPED, Some(own)).unwrap();
        assert_eq!(catalogue.entries.len(), 1);
        assert_eq!(catalogue.entries[0].title, "mine");
        let error = catalogue.resolve(&ModelRef::builtin(), Family::Clip).unwrap_err();
        assert!(error.0.contains("/mine"), "{error}");
    }
}
