//! The LoRAs and learned words of many requests, by what their own prompts name.
//!
//! Files are looked for and read, so this is for a background thread or the command line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::models;
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::job::spec::GenerateSpec;
use crate::prompt::named::{self, NamedLora};
use crate::registry::{self, Shelf, Sort};

/// Something that is known by name.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownFile {
    /// A LoRA or a learned word; others are of no use here.
    pub sort: Sort,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// How many of a request's files, the first ones, are used whatever a prompt says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Of its LoRAs.
    pub loras: usize,
    /// Of its learned words.
    pub words: usize,
}

type Files = (Vec<LoraUse>, Vec<EmbeddingUse>);

/// Finds files by name. Each is read once, as long as it stays the same.
#[derive(Default)]
pub struct NamedFiles {
    presets: Option<PathBuf>,
    known: Vec<KnownFile>,
    shelf: Option<Shelf>,
    hashes: HashMap<PathBuf, (Option<Stamp>, String)>,
    found: HashMap<[String; 2], Files>,
}

/// Length and time of a file.
type Stamp = (u64, SystemTime);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some((metadata.len(), metadata.modified().ok()?))
}

impl NamedFiles {
    /// Looks in the places that the user's catalogue remembers.
    pub fn new(presets: Option<PathBuf>) -> Self {
        Self { presets, ..Self::default() }
    }

    /// Starts afresh with what is known now: files may have come and gone.
    pub fn look_anew(&mut self, known: Vec<KnownFile>) {
        (self.known, self.shelf) = (known, None);
        self.found.clear();
    }

    /// Gives `spec` the files that its prompts name, behind those that are chosen.
    ///
    /// # Errors
    /// If one is not found or cannot be read.
    pub fn fit(&mut self, spec: &mut GenerateSpec, chosen: Chosen) -> Result<(), String> {
        spec.loras.truncate(chosen.loras);
        spec.embeddings.truncate(chosen.words);
        let texts = [spec.prompt.clone(), spec.negative.clone()];
        let (loras, words) = match self.found.get(&texts) {
            Some(found) => found.clone(),
            None => {
                let found = (self.loras(&texts[0], &spec.loras)?, self.words(&texts, chosen.words > 0)?);
                self.found.insert(texts, found.clone());
                found
            }
        };
        for lora in loras {
            if !spec.loras.iter().any(|chosen| chosen.path == lora.path) {
                spec.loras.push(lora);
            }
        }
        for word in words {
            if !spec.embeddings.iter().any(|chosen| chosen.path == word.path) {
                spec.embeddings.push(word);
            }
        }
        Ok(())
    }

    /// The LoRAs that a prompt names, but for those that are chosen: they are taken as they were chosen.
    fn loras(&mut self, prompt: &str, chosen: &[LoraUse]) -> Result<Vec<LoraUse>, String> {
        let mut loras = Vec::new();
        for NamedLora { name, text_strength, unet_strength } in named::loras(prompt) {
            if chosen.iter().any(|one| one.path.file_stem().is_some_and(|stem| *stem == *name)) {
                continue;
            }
            let path = self.find(&name, Sort::Lora)?;
            let sha256 = self.hash(&path, |path| registry::lora_use(path, 1.0, 1.0).map(|lora| lora.sha256))?;
            loras.push(LoraUse { path, sha256, text_strength, unet_strength });
        }
        Ok(loras)
    }

    /// The learned words that prompts name. What one marks as such must be there, unless files were given by hand: they may call their
    /// words something else than themselves.
    fn words(&mut self, texts: &[String; 2], are_given: bool) -> Result<Vec<EmbeddingUse>, String> {
        let known = self.known.iter().filter(|one| one.sort == Sort::Embedding);
        let named: Vec<KnownFile> =
            known.filter(|word| texts.iter().any(|text| named::names(text, &word.name))).cloned().collect();
        let mut paths: Vec<PathBuf> = named.iter().map(|word| word.path.clone()).collect();
        for marked in texts.iter().flat_map(|text| named::marked_words(text)) {
            if !are_given && !named.iter().any(|word| named::names(&marked, &word.name)) {
                paths.push(self.find(&marked, Sort::Embedding)?);
            }
        }
        let read = |path: PathBuf| {
            let sha256 = self.hash(&path, |path| registry::embedding_use(path).map(|word| word.sha256))?;
            Ok(EmbeddingUse { path, sha256 })
        };
        paths.into_iter().map(read).collect()
    }

    fn hash(
        &mut self,
        path: &Path,
        read: impl FnOnce(&Path) -> Result<String, registry::RegistryError>,
    ) -> Result<String, String> {
        let now = stamp(path);
        if let Some((then, sha256)) = self.hashes.get(path)
            && now.is_some()
            && *then == now
        {
            return Ok(sha256.clone());
        }
        let sha256 = read(path).map_err(|error| error.0)?;
        self.hashes.insert(path.to_owned(), (now, sha256.clone()));
        Ok(sha256)
    }

    fn find(&mut self, name: &str, sort: Sort) -> Result<PathBuf, String> {
        let mut known = self.known.iter().filter(|one| one.sort == sort && one.name == name);
        if let (Some(only), None) = (known.next(), known.next()) {
            return Ok(only.path.clone());
        }
        let shelf = match self.shelf.take() {
            Some(shelf) => shelf,
            None => models::catalogue(self.presets.as_deref())?.shelf(),
        };
        let found = shelf.named(name, sort).map(|found| found.path.clone());
        self.shelf = Some(shelf);
        found.map_err(|error| format!("the prompt asks for {name}: {error}"))
    }
}

/// Takes the LoRAs and learned words away from `spec` that its prompts no longer name, after words were taken out of them.
pub fn keep_named(spec: &mut GenerateSpec, chosen: Chosen) {
    let loras = named::loras(&spec.prompt);
    let mut at = 0;
    spec.loras.retain(|lora| {
        at += 1;
        at <= chosen.loras || loras.iter().any(|named| lora.path.file_stem().is_some_and(|stem| *stem == *named.name))
    });
    let texts = [&spec.prompt, &spec.negative];
    let mut at = 0;
    spec.embeddings.retain(|word| {
        at += 1;
        let name = word.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        at <= chosen.words || texts.iter().any(|text| named::names(text, name))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_a_prompt_takes_its_files_along() {
        let lora = |name: &str| LoraUse {
            path: PathBuf::from(format!("{name}.safetensors")),
            sha256: String::new(),
            text_strength: 1.0,
            unet_strength: 1.0,
        };
        let word = |name: &str| EmbeddingUse { path: PathBuf::from(format!("{name}.pt")), sha256: String::new() };
        let kept = |prompt: &str| {
            let mut spec = GenerateSpec {
                model: crate::job::ModelRef::builtin(),
                prompt: prompt.to_owned(),
                negative: "blur".to_owned(),
                sampling: crate::job::sampling::Sampling::default(),
                count: 1,
                init: None,
                noise: None,
                nets: crate::job::nets::OtherNets::default(),
                loras: vec![lora("chosen"), lora("ink")],
                embeddings: vec![word("mood"), word("blur")],
            };
            keep_named(&mut spec, Chosen { loras: 1, words: 0 });
            (spec.loras.len(), spec.embeddings.len())
        };
        assert_eq!(kept("a mood, <lora:ink:1>"), (2, 2));
        assert_eq!(kept("a mood"), (1, 2));
        assert_eq!(kept("<lora:ink:0.2>"), (2, 1));
    }
}
