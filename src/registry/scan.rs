//! Finding models in folders: those of this program's own layouts, of Hugging Face's cache, of A1111's web UI and of ComfyUI. Only headers
//! are read, nothing is changed, and what cannot be read is a remark.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Family, comfy, hub};
use crate::models::files::ModelFiles;
use crate::models::files::recognise::{self, What};

/// Folders deeper than this below a place are not looked into.
const DEEPEST: usize = 6;
/// Entries of folders that are looked at below one place.
const MOST_ENTRIES: usize = 50_000;
/// Longer files are no configurations.
const LONGEST_TEXT: u64 = 1 << 20;

pub(super) const TINY_ENCODER: &str =
    "this is the encoder of a tiny autoencoder: keep it beside its decoder, taesd_decoder.safetensors, and use that";

/// What something found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Text to picture.
    Diffusion,
    /// Pictures and texts in one space.
    Clip,
    /// A LoRA or one of its kin.
    Lora,
    /// A textual inversion.
    Embedding,
    /// An autoencoder.
    Vae,
    /// A ControlNet.
    ControlNet,
    /// Something that cannot be used.
    Unusable,
}

impl Sort {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Diffusion => "diffusion",
            Self::Clip => "CLIP",
            Self::Lora => "LoRA",
            Self::Embedding => "embedding",
            Self::Vae => "VAE",
            Self::ControlNet => "ControlNet",
            Self::Unusable => "unusable",
        }
    }

    /// The same of a family of models.
    pub fn of(family: Family) -> Self {
        match family {
            Family::Clip => Self::Clip,
            Family::Diffusion => Self::Diffusion,
        }
    }
}

/// Something found on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// A short name: that of the file or folder without ending, or `org/name` from Hugging Face's cache.
    pub name: String,
    /// What it is.
    pub sort: Sort,
    /// The file or folder.
    pub path: PathBuf,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Everything below `place`, by path: a file, a folder of models, a cache, another program's folder or its `extra_model_paths.yaml`.
pub fn scan(place: &Path) -> Vec<Found> {
    let mut search = Search { found: Vec::new(), entries: 0 };
    for root in roots(place) {
        search.look_at(&root, DEEPEST);
    }
    let mut found = search.found;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    found
}

/// Where below `place` models are: other programs keep much else beside them.
fn roots(place: &Path) -> Vec<PathBuf> {
    const YAML: &str = "extra_model_paths.yaml";
    let is_yaml = place.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    if is_yaml {
        return extra(place);
    }
    let models = place.join("models");
    let mut roots = match ["Stable-diffusion", "checkpoints"].iter().any(|name| models.join(name).is_dir()) {
        true => vec![models, place.join("embeddings")],
        false => vec![place.to_owned()],
    };
    if place.join(YAML).is_file() {
        roots.extend(extra(&place.join(YAML)));
    }
    roots
}

fn extra(yaml: &Path) -> Vec<PathBuf> {
    let is_short = std::fs::metadata(yaml).is_ok_and(|about| about.is_file() && about.len() <= LONGEST_TEXT);
    let text = is_short.then(|| std::fs::read_to_string(yaml).ok()).flatten().unwrap_or_default();
    comfy::folders(&text, yaml.parent().unwrap_or(Path::new("")))
}

/// What a folder is, if it is one model and not a folder of models.
pub(super) fn sort_of_folder(folder: &Path) -> Option<Sort> {
    let has = |file: &str| folder.join(file).is_file();
    if has("model_index.json") {
        return Some(Sort::Diffusion);
    }
    if has("open_clip_config.json") {
        return Some(Sort::Clip);
    }
    if has("adapter_config.json") || has("pytorch_lora_weights.safetensors") {
        return Some(Sort::Lora);
    }
    let path = folder.join("config.json");
    let is_short = std::fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() <= LONGEST_TEXT);
    let config: serde_json::Value = serde_json::from_slice(&is_short.then(|| std::fs::read(&path).ok())??).ok()?;
    let text = |key: &str| config.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    match (text("model_type"), text("_class_name")) {
        ("clip" | "siglip" | "siglip2", _) => Some(Sort::Clip),
        ("", "") if config.get("text_config").is_some() && config.get("vision_config").is_some() => Some(Sort::Clip),
        (_, "ControlNetModel") => Some(Sort::ControlNet),
        (_, "AutoencoderKL" | "AutoencoderTiny") => Some(Sort::Vae),
        _ => None,
    }
}

struct Search {
    found: Vec<Found>,
    entries: usize,
}

impl Search {
    fn look_at(&mut self, path: &Path, depth: usize) {
        if path.is_file() {
            self.look_at_file(path);
            return;
        }
        if let Some(name) = hub::name_of(path) {
            if let Some(snapshot) = hub::snapshot(path) {
                match sort_of_folder(&snapshot) {
                    Some(sort) => self.found.push(Found { name, sort, path: snapshot, problem: None }),
                    None => self.look_into(&snapshot, 1),
                }
            }
            return;
        }
        match sort_of_folder(path) {
            Some(sort) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                self.found.push(Found { name, sort, path: path.to_owned(), problem: None });
            }
            None => self.look_into(path, depth),
        }
    }

    fn look_into(&mut self, folder: &Path, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        // A folder that cannot be read holds nothing for us.
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return;
            }
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if !is_hidden {
                self.look_at(&entry.path(), depth);
            }
        }
    }

    fn look_at_file(&mut self, path: &Path) {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (sort, problem) = match ending.as_str() {
            "safetensors" => sort_of_file(path),
            // Many programs leave such files about that have nothing to do with us.
            "ckpt" | "pt" | "pth" | "bin" => match sort_of_file(path) {
                (Sort::Unusable, _) if ending != "ckpt" => return,
                (sort, problem) => (sort, problem.and_then(|text| text.lines().next().map(str::to_owned))),
            },
            _ => return,
        };
        // The encoder of a tiny autoencoder is a part of what its decoder is found as.
        let decoder = path.with_file_name(format!("{name}.{ending}").replace("encoder", "decoder"));
        if problem.as_deref() != Some(TINY_ENCODER) || decoder == path || !decoder.is_file() {
            self.found.push(Found { name, sort, path: path.to_owned(), problem });
        }
    }
}

fn sort_of_file(path: &Path) -> (Sort, Option<String>) {
    let folder = ModelFiles::Folder(path.parent().map(Path::to_owned).unwrap_or_default());
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match recognise::open(&folder, &file) {
        Ok((What::Checkpoint(_), _)) => (Sort::Diffusion, None),
        Ok((What::Lora, _)) => (Sort::Lora, None),
        Ok((What::Embedding, _)) => (Sort::Embedding, None),
        Ok((What::Vae | What::TinyDecoder, _)) => (Sort::Vae, None),
        Ok((What::TinyEncoder, _)) => (Sort::Unusable, Some(TINY_ENCODER.to_owned())),
        Ok((What::ControlNet, _)) => (Sort::ControlNet, None),
        Ok((What::Clip, _)) => (
            Sort::Unusable,
            Some(
                "it is a CLIP without its configuration; keep it in a folder with config.json and its tokenizer"
                    .to_owned(),
            ),
        ),
        Ok((What::Other(reason), _)) => (Sort::Unusable, Some(reason)),
        Err(error) => (Sort::Unusable, Some(error.to_string())),
    }
}
