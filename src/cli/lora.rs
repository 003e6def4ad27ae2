//! `--lora PATH[:STRENGTH[:TEXT_STRENGTH]]` and `--embedding PATH`, and the same by name in a prompt.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::models;
use super::session::Failure;
use crate::engine::options::EngineOptions;
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::prompt::named;
use crate::registry::{self, Catalogue, RegistryError, Sort};
use crate::workbench::named::KnownWord;

/// A LoRA file and how strongly it is to work.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LoraArgument {
    path: PathBuf,
    unet_strength: f32,
    text_strength: f32,
}

impl FromStr for LoraArgument {
    type Err = String;

    /// Numbers are taken from the end: a path may hold colons of its own.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.trim().parse::<f32>().ok().filter(|number| number.is_finite());
        let last = |text: &'_ str| {
            let (head, tail) = text.rsplit_once(':')?;
            Some((head.to_owned(), number(tail)?))
        };
        let (path, unet_strength, text_strength) = match last(text) {
            None => (text.to_owned(), 1.0, 1.0),
            Some((head, only)) => match last(&head) {
                None => (head, only, only),
                Some((path, first)) => (path, first, only),
            },
        };
        if path.is_empty() {
            return Err("write PATH, PATH:STRENGTH or PATH:STRENGTH:TEXT_STRENGTH".to_owned());
        }
        Ok(Self { path: path.into(), unet_strength, text_strength })
    }
}

impl LoraArgument {
    /// The same as a part of a job. What is no path may be the name of a LoRA in a remembered place.
    fn prepare(&self, catalogue: &Catalogue) -> Result<LoraUse, Failure> {
        let Self { mut path, unet_strength, text_strength } = self.clone();
        if !path.exists() {
            path = catalogue.locate(&path.to_string_lossy(), Sort::Lora).map_err(models::bad)?;
        }
        registry::lora_use(&path, text_strength, unet_strength).map_err(models::bad)
    }
}

/// The LoRAs of a job: those of `--lora`, and those that the prompt names. One of the same name is taken as the option says.
pub(super) fn loras(given: &[LoraArgument], prompt: &str, options: &EngineOptions) -> Result<Vec<LoraUse>, Failure> {
    let (catalogue, named) = (models::catalogue(options)?, named::loras(prompt));
    let mut uses: Vec<LoraUse> = given.iter().map(|one| one.prepare(&catalogue)).collect::<Result<_, _>>()?;
    let is_given =
        |uses: &[LoraUse], name: &str| uses.iter().any(|one| one.path.file_stem().is_some_and(|stem| *stem == *name));
    let missing: Vec<_> = named.iter().filter(|lora| !is_given(&uses, &lora.name)).collect();
    if !missing.is_empty() {
        let shelf = catalogue.shelf();
        for lora in missing {
            let path = &shelf.named(&lora.name, Sort::Lora).map_err(|error| in_prompt(&error, &lora.name))?.path;
            uses.push(registry::lora_use(path, lora.text_strength, lora.unet_strength).map_err(models::bad)?);
        }
    }
    Ok(uses)
}

fn in_prompt(error: &RegistryError, name: &str) -> Failure {
    Failure::BadInput(format!("the prompt asks for {name}: {error}"))
}

/// The learned words that there are.
pub(super) fn known_words(options: &EngineOptions) -> Result<Vec<KnownWord>, Failure> {
    let shelf = models::catalogue(options)?.shelf();
    Ok(shelf.of(Sort::Embedding).map(|word| (word.name.clone(), word.path.clone())).collect())
}

/// The learned words of a job: those of `--embedding`, and those that are known here and that a prompt names.
pub(super) fn embeddings(
    given: &[PathBuf],
    prompts: [&str; 2],
    options: &EngineOptions,
) -> Result<Vec<EmbeddingUse>, Failure> {
    let catalogue = models::catalogue(options)?;
    let mut uses = Vec::new();
    for path in given {
        let path = match path.exists() {
            true => path.clone(),
            false => catalogue.locate(&path.to_string_lossy(), Sort::Embedding).map_err(models::bad)?,
        };
        uses.push(registry::embedding_use(&path).map_err(models::bad)?);
    }
    let shelf = catalogue.shelf();
    let is_used = |uses: &[EmbeddingUse], path: &Path| uses.iter().any(|one| one.path == path);
    for found in shelf.of(Sort::Embedding).filter(|found| prompts.iter().any(|text| named::names(text, &found.name))) {
        if !is_used(&uses, &found.path) {
            uses.push(registry::embedding_use(&found.path).map_err(models::bad)?);
        }
    }
    for word in prompts.iter().flat_map(|text| named::marked_words(text)) {
        let names_it =
            |one: &EmbeddingUse| one.path.file_stem().is_some_and(|stem| named::names(&word, &stem.to_string_lossy()));
        // A file that was given may call its word something else than itself; whether a prompt names it is said by the job.
        if given.is_empty() && !uses.iter().any(names_it) {
            shelf.named(&word, Sort::Embedding).map_err(|error| in_prompt(&error, &word))?;
        }
    }
    Ok(uses)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn strengths_follow_the_path() {
        let check = |text: &str, path: &str, unet: f32, of_text: f32| {
            let want = LoraArgument { path: path.into(), unet_strength: unet, text_strength: of_text };
            assert_eq!(text.parse::<LoraArgument>().unwrap(), want, "{text}");
        };
        check("a.safetensors", "a.safetensors", 1.0, 1.0);
        check("a.safetensors:0.8", "a.safetensors", 0.8, 0.8);
        check("a.safetensors:0.8:-0.5", "a.safetensors", 0.8, -0.5);
        check("C:\\x\\a.safetensors:1", "C:\\x\\a.safetensors", 1.0, 1.0);
        check("a:b", "a:b", 1.0, 1.0);
        check("a:NaN", "a:NaN", 1.0, 1.0);
        assert!(":0.5".parse::<LoraArgument>().is_err());
        assert!("".parse::<LoraArgument>().is_err());
    }
}
