//! LoRA files: small additions to the layers of a loaded model (Hu et al. 2021), of every naming and of most kinds.
//!
//! A [`Lora`] is read for one model and then put into its layers' slots and taken out again, at any strength, while the model stays
//! as it is.
//!
//! # Limitations
//! DoRA, GLoRA, OFT and Tucker decompositions are refused by name.

mod factors;
mod keys;
mod scales;

pub use keys::Net;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::{DType, Device};

use self::keys::Names;
use self::scales::Scales;
use super::diffusion::Unet;
use super::error::{ModelError, Result};
use super::files::ModelFiles;
use super::layers::{Adaptable, Branch};
use super::tensors::Tensors;
use crate::base::task::TaskCx;

/// What a folder of a LoRA calls its weights (PEFT, diffusers).
const IN_FOLDERS: [&str; 4] =
    ["adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin", "pytorch_lora_weights.bin"];
/// Parts of names that tell a kind that is not read.
const REFUSED: [(&str, &str); 6] = [
    ("dora_scale", "a DoRA"),
    ("lora_magnitude_vector", "a DoRA"),
    (".oft_", "an OFT"),
    (".a1.weight", "a GLoRA"),
    (".lora_B.bias", "a LoRA with biases"),
    (".diff", "a difference of whole layers"),
];

/// The nets of a loaded model that a LoRA can change.
pub struct Nets<'a> {
    /// The denoising net.
    pub unet: &'a Unet,
    /// The layers of each text tower.
    pub text: Vec<&'a [Adaptable]>,
}

impl Nets<'_> {
    fn layer(&self, net: Net, index: usize) -> Option<&Adaptable> {
        match net {
            Net::Unet => self.unet.adaptable().get(index),
            Net::Text(tower) => self.text.get(tower)?.get(index),
        }
    }

    /// Empties the slots of all layers.
    pub fn clear(&self) {
        self.text.iter().copied().chain([self.unet.adaptable()]).flatten().for_each(Adaptable::clear);
    }
}

/// A LoRA, read for one model.
pub struct Lora {
    additions: Vec<Addition>,
    /// How many layers it changes, and names of those that the model does not have.
    layers: usize,
    unknown: Vec<String>,
}

struct Addition {
    net: Net,
    index: usize,
    scale: f64,
    branch: Rc<Branch>,
}

impl Lora {
    /// Reads `path`, a file or a folder with one, for the model that `nets` are of.
    ///
    /// # Errors
    /// If it is no LoRA, is damaged, of a kind that is not read, or made for another kind of model; if the task is cancelled.
    pub fn load(path: &Path, nets: &Nets<'_>, cx: &TaskCx<'_>) -> Result<Self> {
        let bad = |reason: String| ModelError::BadFile { path: path.to_owned(), reason };
        let (files, file) = locate(path)?;
        let weights = files.weights(&file)?;
        let scales = Scales::load(&files, &file, &weights)?;
        if let Some((_, kind)) = REFUSED.iter().find(|(part, _)| weights.names().any(|name| name.contains(part))) {
            return Err(bad(format!(
                "this is {kind}, which Maquette cannot read; use a LoRA, LoCon, LoHa or LoKr, or merge it into a model with the program \
                 that made it"
            )));
        }
        let names = Names::new(nets.unet.adaptable(), &nets.text, nets.unet.config().layers_per_block.at(0));
        let mut modules: BTreeMap<String, Vec<(&'static str, &str)>> = BTreeMap::new();
        let mut strangers = Vec::new();
        for name in weights.names() {
            match keys::split(name) {
                Some((module, part)) => modules.entry(module).or_default().push((part, name)),
                None => strangers.push(name.to_owned()),
            }
        }
        if modules.is_empty() {
            return Err(bad("this is no LoRA: none of its tensors is a part of one".to_owned()));
        }
        let explain = |error: ModelError| match error {
            ModelError::BadInput(text) => {
                let base = weights.metadata().remove("ss_base_model_version").unwrap_or_default();
                let base = if base.is_empty() { String::new() } else { format!(" (it says for {base:?})") };
                bad(format!("{text}; it was made for another kind of model{base}: choose one of this model's kind"))
            }
            other => other,
        };
        let vb = weights.tensors(DType::F32, &Device::Cpu, cx);
        let (layers, mut additions) = (modules.len() + strangers.len(), Vec::new());
        let mut unknown = strangers;
        for (module, parts) in modules {
            let found = names.find(&module).and_then(|(net, index)| Some((net, index, nets.layer(net, index)?)));
            match found {
                Some((net, index, layer)) => {
                    let (scale, branch) = read(&vb, layer, &parts, &scales, net).map_err(explain)?;
                    additions.push(Addition { net, index, scale, branch: Rc::new(branch) });
                }
                None => unknown.push(module),
            }
        }
        if additions.is_empty() {
            let example = unknown.first().cloned().unwrap_or_default();
            return Err(explain(ModelError::BadInput(format!(
                "none of its {layers} layers is in this model (for example {example})"
            ))));
        }
        unknown.sort();
        Ok(Self { additions, layers, unknown })
    }

    /// The file with the weights of the LoRA `path`: itself, or one in that folder. No numbers are read.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn file(path: &Path) -> Result<PathBuf> {
        let (files, file) = locate(path)?;
        files.weights(&file)?;
        Ok(files.path_of(&file))
    }

    /// What of it the model has no place for, in words; `None` if nothing.
    pub fn remark(&self) -> Option<String> {
        let example = self.unknown.first()?;
        Some(format!(
            "{} of its {} layers are not in this model and were left out, for example {example}",
            self.unknown.len(),
            self.layers
        ))
    }

    /// Whether it changes a text tower.
    pub fn changes_text(&self) -> bool {
        self.additions.iter().any(|addition| addition.net != Net::Unet)
    }

    /// Adds it to the model that it was read for.
    pub fn add(&self, nets: &Nets<'_>, text_strength: f64, unet_strength: f64) {
        for Addition { net, index, scale, branch } in &self.additions {
            let strength = if *net == Net::Unet { unet_strength } else { text_strength };
            if let (true, Some(layer)) = (strength != 0.0, nets.layer(*net, *index)) {
                layer.add(strength * scale, branch);
            }
        }
    }
}

/// The folder and the name in it of the weights that `path` means.
fn locate(path: &Path) -> Result<(ModelFiles, String)> {
    let bad = |reason: String| ModelError::BadFile { path: path.to_owned(), reason };
    if path.is_dir() {
        let files = ModelFiles::Folder(path.to_owned());
        let found = IN_FOLDERS.into_iter().find(|name| files.has(name)).map(str::to_owned);
        let found = found.ok_or_else(|| bad(format!("this folder has no {}", IN_FOLDERS[..2].join(" and no "))))?;
        return Ok((files, found));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !path.is_file() {
        return Err(super::files::no_file(path));
    }
    if !super::files::is_weights(&name) {
        return Err(bad(super::files::why_not(path).to_owned()));
    }
    let parent = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok((ModelFiles::Folder(parent), name))
}

/// What is added to `layer`, and how strongly at a strength of one.
fn read(
    vb: &Tensors<'_>,
    layer: &Adaptable,
    named: &[(&'static str, &str)],
    scales: &Scales,
    net: Net,
) -> Result<(f64, Branch)> {
    let mut parts = factors::Parts::new();
    for (part, name) in named {
        parts.insert(part, vb.get_unchecked(name)?);
    }
    let alpha = parts.remove("alpha").map(|alpha| alpha.flatten_all()?.to_vec1::<f32>()).transpose()?;
    let alpha = alpha.and_then(|alpha| alpha.first().copied()).map(f64::from);
    let (branch, rank) = factors::branch(layer, &parts)?;
    Ok((scales.scale(net, layer.path(), alpha, rank)?, branch))
}
