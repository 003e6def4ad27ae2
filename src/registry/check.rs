//! What a file or folder is, what of it is missing, and how large it is: from configurations and headers, without reading the
//! numbers of large nets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::scan::{self, Sort};
use super::{Catalogue, hub};
use crate::models::ModelError;
use crate::models::embedding::Embedding;
use crate::models::files::checkpoint::Checkpoint;
use crate::models::files::recognise::{self, What};
use crate::models::files::{ModelFiles, Weights, is_weights, why_not};
use crate::models::kernels::bytes_in_memory;
use crate::models::rehearsal::{self, Net};
use crate::models::tokenizer::ClipTokenizer;

const NET_WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
const TEXT_WEIGHTS: &str = "model.safetensors";

/// One set of weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The folder that it is in: `unet`, `vae` …; the file's name for a model in one piece.
    pub name: String,
    /// Numbers.
    pub parameters: u64,
    /// How they are stored: `F16`, or several with a plus sign.
    pub precision: String,
    /// Bytes on disk.
    pub bytes: u64,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where it is.
    pub path: PathBuf,
    /// What it is, in words.
    pub what: String,
    /// What it is, for programs.
    pub sort: Sort,
    /// Its weights.
    pub parts: Vec<Part>,
    /// What it needs and does not have.
    pub missing: Vec<String>,
    /// What else is wrong with it.
    pub problems: Vec<String>,
    /// All numbers.
    pub parameters: u64,
    /// All bytes on disk.
    pub bytes_on_disk: u64,
    /// Bytes of the weights when loaded on the CPU: those of large layers that are stored at half precision stay so, all others have 32
    /// bits.
    pub bytes_in_memory: u64,
}

impl Report {
    fn new(path: &Path, sort: Sort, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            what: what.into(),
            sort,
            parts: Vec::new(),
            missing: Vec::new(),
            problems: Vec::new(),
            parameters: 0,
            bytes_on_disk: 0,
            bytes_in_memory: 0,
        }
    }

    /// Whether it can be used.
    pub fn is_usable(&self) -> bool {
        self.sort != Sort::Unusable && self.missing.is_empty() && self.problems.is_empty()
    }

    fn add(&mut self, name: &str, weights: &Weights) {
        let (mut parameters, mut bytes, mut kinds) = (0u64, 0u64, BTreeMap::new());
        for tensor in weights.names() {
            let Some((kind, length)) = weights.stored_as(tensor) else { continue };
            let numbers = length * 8 / kind.bits().max(1);
            // Tables of embeddings are no layers: they are looked up in 32 bits.
            let is_half = kind.name() == "F16" && !tensor.contains("embedding");
            self.bytes_in_memory += bytes_in_memory(numbers, is_half) as u64;
            let numbers = numbers as u64;
            (parameters, bytes) = (parameters + numbers, bytes + length as u64);
            *kinds.entry(kind.name()).or_insert(0u64) += numbers;
        }
        let mut kinds: Vec<(&str, u64)> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, numbers)| std::cmp::Reverse(*numbers));
        let precision = kinds.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("+");
        self.parameters += parameters;
        self.bytes_on_disk += bytes;
        self.parts.push(Part { name: name.to_owned(), parameters, precision, bytes });
    }

    /// Weights that must be there, and of which `net` must be built.
    fn add_net(&mut self, name: &str, folder: &ModelFiles, file: &str, net: Net) {
        if self.add_file(name, folder, file) {
            self.note(rehearsal::rehearse(net, folder));
        }
    }

    /// Weights that must be there. Whether they are.
    fn add_file(&mut self, name: &str, folder: &ModelFiles, file: &str) -> bool {
        let weights = folder.weights(file);
        if let Ok(weights) = &weights {
            self.add(name, weights);
        }
        self.note(weights.map(drop))
    }

    /// Keeps what went wrong, but for files that are already said to be missing. Whether nothing did.
    fn note(&mut self, result: Result<(), ModelError>) -> bool {
        let Err(error) = result else { return true };
        let is_known =
            matches!(&error, ModelError::MissingFile { path } if self.missing.iter().any(|file| path.ends_with(file)));
        if !is_known {
            self.problems.push(error.to_string());
        }
        false
    }

    fn need(&mut self, folder: &ModelFiles, name: &str, file: &str) {
        if !folder.has(file) {
            self.missing.push(if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") });
        }
    }

    fn need_tokenizer(&mut self, folder: &ModelFiles, name: &str) {
        let is_there = ["tokenizer.json", "vocab.json", "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"]
            .iter()
            .any(|file| folder.has(file));
        if is_there {
            self.note(ClipTokenizer::load(folder).map(drop));
        } else {
            let name = if name.is_empty() { String::new() } else { format!("{name}/") };
            self.missing.push(format!("{name}tokenizer.json, or {name}vocab.json and {name}merges.txt"));
        }
    }
}

/// Looks at `path`; `catalogue` knows where tokenizers are.
pub fn check(path: &Path, catalogue: &Catalogue) -> Report {
    let snapshot = hub::name_of(path).and_then(|_| hub::snapshot(path));
    let path = snapshot.as_deref().unwrap_or(path);
    match () {
        () if path.is_file() => check_file(path, catalogue),
        () if path.is_dir() => check_folder(path),
        () => {
            let mut report = Report::new(path, Sort::Unusable, "neither a file nor a folder");
            report.problems.push("it cannot be opened, or is a pipe or a device".to_owned());
            report
        }
    }
}

fn check_folder(path: &Path) -> Report {
    let files = ModelFiles::Folder(path.to_owned());
    match scan::sort_of_folder(path) {
        Some(Sort::Diffusion) => {
            let mut report = Report::new(path, Sort::Diffusion, "a diffusion model in a folder of diffusers");
            check_diffusion(&mut report, &files);
            report
        }
        Some(Sort::Clip) => {
            let mut report = Report::new(path, Sort::Clip, "a CLIP or SigLIP in a folder");
            let is_open_clip = files.has("open_clip_config.json");
            let file =
                if is_open_clip && !files.has(TEXT_WEIGHTS) { "open_clip_model.safetensors" } else { TEXT_WEIGHTS };
            report.add_net(TEXT_WEIGHTS, &files, file, Net::Clip);
            report.need_tokenizer(&files, "");
            report
        }
        Some(Sort::Lora) => {
            let mut report = Report::new(path, Sort::Lora, "a LoRA in a folder");
            let file = ["adapter_model.safetensors", "pytorch_lora_weights.safetensors"]
                .into_iter()
                .find(|file| files.has(file));
            report.add_file("weights", &files, file.unwrap_or("adapter_model.safetensors"));
            report
        }
        Some(sort) => {
            let mut report = Report::new(path, sort, format!("a {} in a folder of diffusers", sort.name()));
            let net = if sort == Sort::ControlNet { Net::ControlNet } else { Net::Autoencoder };
            report.add_net("weights", &files, NET_WEIGHTS, net);
            report
        }
        None => {
            let found = scan::scan(path);
            let mut report = Report::new(path, Sort::Unusable, "a folder that is no model by itself");
            let usable = found.iter().filter(|one| one.sort != Sort::Unusable).count();
            // One that cannot be understood may be all that is wrong.
            if files.has("config.json") {
                report.note(files.read_json::<Map<String, Value>>("config.json").map(drop));
            }
            report.problems.push(match usable {
                0 => "there is no model in it".to_owned(),
                _ => format!(
                    "it holds {usable} model{}; remember it with `maquette models add` and see `maquette models list`",
                    if usable == 1 { "" } else { "s" }
                ),
            });
            report
        }
    }
}

/// The folders of a diffusion model, on disk or composed.
fn check_diffusion(report: &mut Report, files: &ModelFiles) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Index {
        /// The library and the class.
        text_encoder_2: Value,
    }
    let index: Index = files.read_json("model_index.json").unwrap_or_else(|error| {
        report.note(Err(error));
        Index::default()
    });
    let is_named = index.text_encoder_2.get(0).is_some_and(|library| !library.is_null());
    let has_second = is_named || files.sub("text_encoder_2").is_some();
    let second = ["text_encoder_2", "tokenizer_2"].into_iter().filter(|_| has_second);
    for name in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"].into_iter().chain(second) {
        let Some(folder) = files.sub(name) else {
            report.missing.push(format!("{name}/"));
            continue;
        };
        match name {
            "scheduler" => {
                report.need(&folder, name, "scheduler_config.json");
                report.note(rehearsal::rehearse_sampler(&folder));
            }
            "tokenizer" | "tokenizer_2" => report.need_tokenizer(&folder, name),
            _ => {
                report.need(&folder, name, "config.json");
                let (file, net) = match name {
                    "unet" => (NET_WEIGHTS, Net::Unet),
                    "vae" => (NET_WEIGHTS, Net::Autoencoder),
                    _ => (TEXT_WEIGHTS, Net::TextTower),
                };
                report.add_net(name, &folder, file, net);
            }
        }
    }
}

fn check_file(path: &Path, catalogue: &Catalogue) -> Report {
    let folder = ModelFiles::Folder(path.parent().map(Path::to_owned).unwrap_or_default());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let unusable = |what: &str, problem: String| {
        let mut report = Report::new(path, Sort::Unusable, what);
        report.problems.push(problem);
        report.bytes_on_disk = std::fs::metadata(path).map(|about| about.len()).unwrap_or(0);
        report
    };
    if !is_weights(&name) {
        return unusable("a file in a format that is not read", why_not(path).to_owned());
    }
    let (what, weights) = match recognise::open(&folder, &name) {
        Ok(found) => found,
        Err(error) => return unusable("a file that cannot be read", error.to_string()),
    };
    let (sort, words) = match &what {
        What::Checkpoint(kind) => return check_checkpoint(path, kind.name(), catalogue),
        What::Lora => (Sort::Lora, "a LoRA or one of its kin"),
        What::Embedding => (Sort::Embedding, "a textual inversion"),
        What::Vae => (Sort::Vae, "an autoencoder"),
        What::TinyDecoder => (Sort::Vae, "the decoder of a tiny autoencoder"),
        What::TinyEncoder => (Sort::Unusable, "the encoder of a tiny autoencoder"),
        What::ControlNet => (Sort::ControlNet, "a ControlNet"),
        What::Clip => (Sort::Clip, "a CLIP"),
        What::Other(_) => (Sort::Unusable, "tensors that make no model known here"),
    };
    let mut report = Report::new(path, sort, words);
    report.add(&name, &weights);
    match what {
        What::Other(reason) => report.problems.push(reason),
        What::TinyEncoder => report.problems.push(scan::TINY_ENCODER.to_owned()),
        What::Lora => {
            report.note(weights.are_readable());
        }
        What::Embedding => {
            report.note(Embedding::load(path).map(drop));
        }
        What::Vae | What::TinyDecoder => {
            report.note(rehearsal::rehearse_autoencoder(path));
        }
        What::Clip => {
            report.missing.push("config.json and a tokenizer in the same folder; then name the folder".to_owned())
        }
        What::ControlNet => report
            .missing
            .push(format!("config.json beside it, with the file called {NET_WEIGHTS}; then name the folder")),
        _ => {}
    }
    report
}

fn check_checkpoint(path: &Path, kind: &str, catalogue: &Catalogue) -> Report {
    let mut report = Report::new(path, Sort::Diffusion, format!("{kind} in a single file"));
    let checkpoint = match Checkpoint::open(path) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            report.problems.push(error.to_string());
            return report;
        }
    };
    if checkpoint.channels() == 9 {
        report.what = format!("{kind} for inpainting in a single file");
    }
    let found = catalogue.tokenizer_for(path, checkpoint.vocabulary());
    let tokenizer = found.clone().unwrap_or(ModelFiles::Folder(PathBuf::new()));
    match checkpoint.folder(&tokenizer) {
        Ok(files) => check_diffusion(&mut report, &files),
        Err(error) => report.problems.push(error.to_string()),
    }
    if let Err(error) = found {
        report.missing.retain(|missing| !missing.starts_with("tokenizer"));
        report.missing.push(error.0);
    }
    report
}

#[cfg(test)]
mod tests;
