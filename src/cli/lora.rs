//! `--lora PATH[:STRENGTH[:TEXT_STRENGTH]]` and `--embedding PATH`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::models;
use super::session::Failure;
use crate::base::task::TaskCx;
use crate::engine::options::EngineOptions;
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::models::adapters::Lora;
use crate::models::files::sha256_of;
use crate::registry::Sort;

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
    pub(super) fn prepare(&self, options: &EngineOptions) -> Result<LoraUse, Failure> {
        let bad = |error: crate::models::ModelError| Failure::BadInput(error.to_string());
        let Self { mut path, unet_strength, text_strength } = self.clone();
        if !path.exists() {
            path = models::catalogue(options)?.locate(&path.to_string_lossy(), Sort::Lora).map_err(models::bad)?;
        }
        let sha256 = sha256_of(&Lora::file(&path).map_err(bad)?, &TaskCx::detached()).map_err(bad)?;
        Ok(LoraUse { path, sha256, text_strength, unet_strength })
    }
}

/// A textual inversion as a part of a job. What is no path may be the name of one in a remembered place.
pub(super) fn prepare_embedding(path: &Path, options: &EngineOptions) -> Result<EmbeddingUse, Failure> {
    let path = match path.exists() {
        true => path.to_owned(),
        false => models::catalogue(options)?.locate(&path.to_string_lossy(), Sort::Embedding).map_err(models::bad)?,
    };
    let sha256 = sha256_of(&path, &TaskCx::detached()).map_err(|error| Failure::BadInput(error.to_string()))?;
    Ok(EmbeddingUse { path, sha256 })
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
