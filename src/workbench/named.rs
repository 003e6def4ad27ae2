//! The LoRAs and learned words of requests that were made from one whose files are known: by what their own prompts name.
//!
//! Files are looked for and read, so this is for a background thread or the command line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::models;
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::job::spec::GenerateSpec;
use crate::prompt::named::{self, NamedLora};
use crate::registry::{self, Shelf, Sort};

/// A learned word that is known: its name and where it is.
pub type KnownWord = (String, PathBuf);

/// Finds files by name, each once.
pub struct NamedFiles<'a> {
    presets: Option<&'a Path>,
    words: &'a [KnownWord],
    base: &'a GenerateSpec,
    named: Vec<NamedLora>,
    chosen: usize,
    shelf: Option<Shelf>,
    loras: HashMap<String, LoraUse>,
    read: Vec<EmbeddingUse>,
}

impl<'a> NamedFiles<'a> {
    /// For requests that `base` was changed into. The first `chosen` of its LoRAs are used whatever a prompt says.
    pub fn new(presets: Option<&'a Path>, words: &'a [KnownWord], base: &'a GenerateSpec, chosen: usize) -> Self {
        let named = named::loras(&base.prompt);
        Self { presets, words, base, named, chosen, shelf: None, loras: HashMap::new(), read: base.embeddings.clone() }
    }

    /// Gives `spec` the files that its own prompts name.
    ///
    /// # Errors
    /// If one is not found or cannot be read.
    pub fn fit(&mut self, spec: &mut GenerateSpec) -> Result<(), String> {
        if (&spec.prompt, &spec.negative) == (&self.base.prompt, &self.base.negative) {
            return Ok(());
        }
        let named = named::loras(&spec.prompt);
        if named != self.named {
            spec.loras.truncate(self.chosen);
            for NamedLora { name, text_strength, unet_strength } in named {
                let LoraUse { path, sha256, .. } = self.lora(&name)?;
                if !spec.loras.iter().any(|chosen| chosen.path == path) {
                    spec.loras.push(LoraUse { path, sha256, text_strength, unet_strength });
                }
            }
        }
        let texts = [&spec.prompt, &spec.negative];
        let words: Vec<&KnownWord> =
            self.words.iter().filter(|(name, _)| texts.iter().any(|text| named::names(text, name))).collect();
        for marked in texts.iter().flat_map(|text| named::marked_words(text)) {
            let is_known = |name: &str| named::names(&marked, name);
            let is_given = self.base.embeddings.iter().filter_map(|one| one.path.file_stem()?.to_str()).any(is_known);
            if !is_given && !words.iter().any(|(name, _)| is_known(name)) {
                self.find(&marked, Sort::Embedding)?;
            }
        }
        for (_, path) in words {
            if !spec.embeddings.iter().any(|one| one.path == *path) {
                let known = self.read.iter().find(|one| one.path == *path).cloned();
                let word = known.map_or_else(|| registry::embedding_use(path).map_err(|error| error.0), Ok)?;
                self.read.push(word.clone());
                spec.embeddings.push(word);
            }
        }
        Ok(())
    }

    fn lora(&mut self, name: &str) -> Result<LoraUse, String> {
        if let Some(known) = self.loras.get(name) {
            return Ok(known.clone());
        }
        let of_base = self.base.loras.iter().find(|one| one.path.file_stem().is_some_and(|stem| stem == name)).cloned();
        let lora = match of_base {
            Some(known) => known,
            None => registry::lora_use(&self.find(name, Sort::Lora)?, 1.0, 1.0).map_err(|error| error.0)?,
        };
        self.loras.insert(name.to_owned(), lora.clone());
        Ok(lora)
    }

    fn find(&mut self, name: &str, sort: Sort) -> Result<PathBuf, String> {
        let shelf = match self.shelf.take() {
            Some(shelf) => shelf,
            None => models::catalogue(self.presets)?.shelf(),
        };
        let found = shelf.named(name, sort).map(|found| found.path.clone());
        self.shelf = Some(shelf);
        found.map_err(|error| format!("the prompt asks for {name}: {error}"))
    }
}
