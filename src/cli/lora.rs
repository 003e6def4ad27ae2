//! `--lora PATH[:STRENGTH[:TEXT_STRENGTH]]` and `--embedding PATH`, and the same by name in a prompt.

use std::path::PathBuf;
use std::str::FromStr;

use super::args::Generate;
use super::models;
use super::session::Failure;
use crate::engine::options::EngineOptions;
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::registry::{self, Catalogue, Sort};
use crate::workbench::named::{Chosen, KnownFile, NamedFiles};

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

/// The LoRAs of `--lora`.
pub(super) fn loras(given: &[LoraArgument], options: &EngineOptions) -> Result<Vec<LoraUse>, Failure> {
    let catalogue = models::catalogue(options)?;
    given.iter().map(|one| one.prepare(&catalogue)).collect()
}

/// The learned words of `--embedding`.
pub(super) fn embeddings(given: &[PathBuf], options: &EngineOptions) -> Result<Vec<EmbeddingUse>, Failure> {
    let catalogue = models::catalogue(options)?;
    let read = |path: &PathBuf| {
        let path = match path.exists() {
            true => path.clone(),
            false => catalogue.locate(&path.to_string_lossy(), Sort::Embedding).map_err(models::bad)?,
        };
        registry::embedding_use(&path).map_err(models::bad)
    };
    given.iter().map(read).collect()
}

/// How many files the arguments give.
pub(super) fn chosen(args: &Generate) -> Chosen {
    Chosen { loras: args.lora.len(), words: args.embedding.len() }
}

/// Finds what prompts name.
pub(super) fn named_files(options: &EngineOptions) -> Result<NamedFiles, Failure> {
    let shelf = models::catalogue(options)?.shelf();
    let of =
        |sort| shelf.of(sort).map(move |found| KnownFile { sort, name: found.name.clone(), path: found.path.clone() });
    let mut files = NamedFiles::new(options.presets.clone());
    files.look_anew(of(Sort::Lora).chain(of(Sort::Embedding)).collect());
    Ok(files)
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
