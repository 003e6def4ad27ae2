//! What is on this machine, by name: the remembered places, the user's own folder and Hugging Face's caches, looked through once.

use std::path::Path;

use super::scan::{Found, Sort};
use super::{Catalogue, RegistryError};
use crate::base::task::TaskCx;
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::models::adapters::Lora;
use crate::models::embedding::Embedding;
use crate::models::files::sha256_of;

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    found: Vec<Found>,
    looked_in: Vec<String>,
}

impl Catalogue {
    /// Looks through all places.
    pub fn shelf(&self) -> Shelf {
        Shelf { found: self.found(), looked_in: self.places_in_words() }
    }
}

impl Shelf {
    /// What of this sort there is.
    pub fn of(&self, sort: Sort) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(move |one| one.sort == sort)
    }

    /// The one thing of this sort that is called `name`: that of a file or folder, with or without its ending. Case counts only where
    /// names differ in nothing else.
    ///
    /// # Errors
    /// If there is none, with all places that were looked through, or there are several.
    pub fn named(&self, name: &str, sort: Sort) -> Result<&Found, RegistryError> {
        let is_named = |one: &&Found, same: &dyn Fn(&str, &str) -> bool| {
            let file = one.path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
            same(&one.name, name) || same(file, name)
        };
        let mut named: Vec<&Found> = self.of(sort).filter(|one| is_named(one, &|a, b| a == b)).collect();
        if named.is_empty() {
            named = self.of(sort).filter(|one| is_named(one, &|a, b| a.eq_ignore_ascii_case(b))).collect();
        }
        match named[..] {
            [only] => Ok(only),
            [one, other, ..] => Err(RegistryError(format!(
                "there are several of this name; write the path: {} and {}",
                one.path.display(),
                other.path.display()
            ))),
            [] => Err(self.missing(name, sort)),
        }
    }

    fn missing(&self, name: &str, sort: Sort) -> RegistryError {
        let places = match self.looked_in[..] {
            [] => "nowhere: no place is remembered".to_owned(),
            _ => self.looked_in.join(", "),
        };
        let near = self.of(sort).map(|one| one.name.as_str()).take(8).collect::<Vec<_>>().join(", ");
        let known = if near.is_empty() { String::new() } else { format!(" Known: {near}.") };
        RegistryError(format!(
            "there is nothing of this name of the kind {kind}: {name}. Looked in {places}.{known} Put it there, or have its folder \
             remembered (`maquette models add FOLDER`, or Add models in the window)",
            kind = sort.name()
        ))
    }
}

/// The LoRA at `path` as a part of a job. Reads all of the file.
///
/// # Errors
/// If it cannot be read.
pub fn lora_use(path: &Path, text_strength: f32, unet_strength: f32) -> Result<LoraUse, RegistryError> {
    let file = Lora::file(path).map_err(|error| RegistryError(error.to_string()))?;
    Ok(LoraUse { path: path.to_owned(), sha256: hash(&file)?, text_strength, unet_strength })
}

/// The learned word at `path` as a part of a job. Reads all of the file.
///
/// # Errors
/// If it cannot be read.
pub fn embedding_use(path: &Path) -> Result<EmbeddingUse, RegistryError> {
    // A file that is something else may be as long as a disk.
    Embedding::load(path).map_err(|error| RegistryError(error.to_string()))?;
    Ok(EmbeddingUse { path: path.to_owned(), sha256: hash(path)? })
}

fn hash(file: &Path) -> Result<String, RegistryError> {
    sha256_of(file, &TaskCx::detached()).map_err(|error| RegistryError(error.to_string()))
}
