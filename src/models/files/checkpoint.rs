//! Stable Diffusion in a single file, as its training code and most programs save it: recognised by its tensors, shown as
//! the folder that diffusers would make of it. Nothing is copied: folders and names are views of the mapped file.
//!
//! # Limitations
//! A file does not say how its denoising net is to be asked. Stable Diffusion 2 is taken for one that predicts velocity unless the
//! file, its name or a `.yaml` beside it says otherwise.

mod configs;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::weights::Renaming;
use super::{Composed, ModelFiles, Weights, ldm};
use crate::models::error::{ModelError, Result};

const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";
const NET_WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
const TEXT_WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
/// What latents of Stable Diffusion 1 and 2 are multiplied by.
const SCALING_FACTOR: f64 = 0.18215;

/// Which Stable Diffusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1.x.
    Sd1,
    /// 2.x.
    Sd2,
    /// XL.
    Sdxl,
}

impl Kind {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "Stable Diffusion 1",
            Self::Sd2 => "Stable Diffusion 2",
            Self::Sdxl => "Stable Diffusion XL",
        }
    }
}

/// A text tower inside a file.
#[derive(Clone, Copy)]
struct Tower {
    folder: &'static str,
    prefix: &'static str,
    is_open_clip: bool,
}

const CLIP_L: Tower = Tower { folder: "text_encoder", prefix: "cond_stage_model.transformer.", is_open_clip: false };
const OPEN_CLIP: Tower = Tower { folder: "text_encoder", prefix: "cond_stage_model.model.", is_open_clip: true };
const XL_FIRST: Tower =
    Tower { folder: "text_encoder", prefix: "conditioner.embedders.0.transformer.", is_open_clip: false };
const XL_SECOND: Tower =
    Tower { folder: "text_encoder_2", prefix: "conditioner.embedders.1.model.", is_open_clip: true };

/// Parts of names that tell models of other families.
const OTHERS: [(&str, &str); 14] = [
    ("conditioner.embedders.0.model.", "the refiner of Stable Diffusion XL; use the base model"),
    ("edm_mean", "Playground 2.5"),
    ("joint_blocks.0.", "Stable Diffusion 3"),
    ("double_blocks.0.", "FLUX or one of its kind"),
    ("single_stream_modulation.", "FLUX 2"),
    ("double_layers.0.", "AuraFlow"),
    ("cap_embedder.0.", "Lumina 2"),
    ("head.modulation", "Wan"),
    ("patchify_proj.", "LTX-Video"),
    ("clip_txt_mapper.", "Stable Cascade"),
    ("motion_modules.", "a motion module of AnimateDiff"),
    ("control_model.", "a ControlNet; it goes with --control"),
    ("lora_down.weight", "a LoRA; it goes with --lora"),
    ("lora_A.weight", "a LoRA; it goes with --lora"),
];

/// A single file, recognised.
pub struct Checkpoint {
    path: PathBuf,
    weights: Weights,
    kind: Kind,
    towers: Vec<Tower>,
}

impl Checkpoint {
    /// Opens `path` and finds out what it is.
    ///
    /// # Errors
    /// If it is no safetensors file, or not a whole Stable Diffusion that our nets can run; the message says what it is instead.
    pub fn open(path: &Path) -> Result<Self> {
        let name = super::file_name(path);
        if !super::is_weights(&name) {
            return Err(ModelError::BadFile { path: path.to_owned(), reason: super::why_not(path).to_owned() });
        }
        let folder = ModelFiles::Folder(path.parent().map(Path::to_owned).unwrap_or_default());
        let weights = folder.weights(&name)?;
        let bad = |reason: String| ModelError::BadFile { path: path.to_owned(), reason };
        let (kind, towers) = recognise(&weights).map_err(bad)?;
        Ok(Self { path: path.to_owned(), weights, kind, towers })
    }

    /// Which Stable Diffusion it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Channels that its denoising net reads: 4, or 9 for an inpainting model.
    pub fn channels(&self) -> usize {
        let shape = self.weights.shape(&format!("{UNET}input_blocks.0.0.weight"));
        shape.and_then(|shape| shape.get(1)).copied().unwrap_or(0)
    }

    /// Token ids that its first text tower knows: its tokenizer must have as many.
    pub fn vocabulary(&self) -> usize {
        let Some(tower) = self.towers.first() else { return 0 };
        let names = [
            "text_model.embeddings.token_embedding.weight",
            "embeddings.token_embedding.weight",
            "token_embedding.weight",
        ];
        let shape = names.iter().find_map(|name| self.weights.shape(&format!("{}{name}", tower.prefix)));
        shape.and_then(|shape| shape.first()).copied().unwrap_or(0)
    }

    /// The folder that diffusers would make of it; `tokenizer` is one that fits, which no file contains.
    ///
    /// # Errors
    /// If the sizes of its parts make no sense.
    pub fn folder(&self, tokenizer: &ModelFiles) -> Result<ModelFiles> {
        let bad = |reason: String| ModelError::BadFile { path: self.path.clone(), reason };
        let new = |name: &str| Composed::new(&self.path, name);
        let shared = |composed: Composed| ModelFiles::Composed(Arc::new(composed));
        let layers = configs::layers(&self.weights, UNET);
        let unet = inside(&self.weights, UNET, |name| {
            let (module, kind) = name.rsplit_once('.')?;
            Some(Renaming::Whole(format!("{}.{kind}", ldm::unet(module, '.', layers)?)))
        });
        let levels = configs::vae_levels(&self.weights, VAE);
        let vae = inside(&self.weights, VAE, |name| ldm::vae(name, levels).map(Renaming::Whole));
        let predicts_velocity = self.predicts_velocity();
        let unet_config = configs::unet(&self.weights, UNET, self.kind, predicts_velocity).map_err(bad)?;
        let mut whole = new("")
            .with_json("model_index.json", &self.index())
            .with_folder("unet", shared(new("unet").with_json(CONFIG, &unet_config).with_weights(NET_WEIGHTS, unet)))
            .with_folder(
                "vae",
                shared(
                    new("vae")
                        .with_json(CONFIG, &configs::vae(&vae, self.scaling_factor()).map_err(bad)?)
                        .with_weights(NET_WEIGHTS, vae),
                ),
            )
            .with_folder(
                "scheduler",
                shared(new("scheduler").with_json("scheduler_config.json", &self.scheduler(predicts_velocity))),
            );
        for tower in &self.towers {
            let view = self.text(*tower);
            // Stable Diffusion 2 was trained on the states before the last layer: diffusers leaves that layer away.
            let surplus = usize::from(self.kind == Kind::Sd2);
            let config = configs::text(&view, tower.is_open_clip, surplus).map_err(bad)?;
            let length = config.get("max_position_embeddings").cloned().unwrap_or_default();
            let folder = new(tower.folder).with_json(CONFIG, &config).with_weights(TEXT_WEIGHTS, view);
            let name = tower.folder.replace("text_encoder", "tokenizer");
            let words = new(&name)
                .with_json("tokenizer_config.json", &configs::tokenizer(tower.is_open_clip, &length))
                .with_json("special_tokens_map.json", &json!({}))
                .before(tokenizer.clone());
            whole = whole.with_folder(tower.folder, shared(folder)).with_folder(&name, shared(words));
        }
        Ok(shared(whole))
    }

    fn scaling_factor(&self) -> f64 {
        if self.kind == Kind::Sdxl { 0.13025 } else { SCALING_FACTOR }
    }

    /// The tensors of a text tower under transformers' names.
    fn text(&self, tower: Tower) -> Weights {
        inside(&self.weights, tower.prefix, |name| match tower.is_open_clip {
            false => Some(Renaming::Whole(match name.starts_with("text_model.") || name == "text_projection.weight" {
                true => name.to_owned(),
                false => format!("text_model.{name}"),
            })),
            true => ldm::text(name).map(|text| match text {
                ldm::Text::Whole(name) => Renaming::Whole(name),
                ldm::Text::Turned(name) => Renaming::Turned(name),
                ldm::Text::Thirds(names) => Renaming::Thirds(names),
            }),
        })
    }

    fn index(&self) -> serde_json::Value {
        match self.kind {
            Kind::Sdxl => json!({"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": true}),
            Kind::Sd1 | Kind::Sd2 => json!({"_class_name": "StableDiffusionPipeline"}),
        }
    }

    fn predicts_velocity(&self) -> bool {
        if self.weights.has("v_pred") {
            return true;
        }
        let yaml = super::read_small(&self.path.with_extension("yaml")).unwrap_or_default();
        let yaml = String::from_utf8_lossy(&yaml);
        if let Some((_, value)) =
            yaml.lines().filter_map(|line| line.split_once(':')).find(|(k, _)| k.trim() == "parameterization")
        {
            return value.trim().trim_matches(['"', '\'']) == "v";
        }
        let says = self.weights.metadata().get("modelspec.prediction_type").cloned().unwrap_or_default();
        match says.as_str() {
            "v" => true,
            "epsilon" => false,
            _ => self.kind == Kind::Sd2 && !super::file_name(&self.path).to_lowercase().contains("base"),
        }
    }

    /// The scheduler of the model's first publication.
    fn scheduler(&self, predicts_velocity: bool) -> serde_json::Value {
        let class = match self.kind {
            Kind::Sd1 => "PNDMScheduler",
            Kind::Sd2 => "DDIMScheduler",
            Kind::Sdxl => "EulerDiscreteScheduler",
        };
        json!({
            "_class_name": class,
            "num_train_timesteps": 1000,
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "prediction_type": if predicts_velocity { "v_prediction" } else { "epsilon" },
            "timestep_spacing": "leading",
            "steps_offset": 1,
            "set_alpha_to_one": false,
            "skip_prk_steps": true,
            "clip_sample": false,
            "interpolation_type": "linear",
            "rescale_betas_zero_snr": self.weights.has("ztsnr"),
        })
    }
}

/// The folder of an autoencoder in the single file `path`, which may be all of a file or a part of a whole model, in the names of its
/// training code or of diffusers. By what latents are scaled is not in it: the folder says what Stable Diffusion 1 has.
///
/// # Errors
/// If there is none, or its sizes make no sense.
pub fn autoencoder(path: &Path, weights: &Weights) -> Result<ModelFiles> {
    const FIRST: &str = "encoder.conv_in.weight";
    let bad = |reason: String| ModelError::BadFile { path: path.to_owned(), reason };
    let prefix = weights.names().filter_map(|name| name.strip_suffix(FIRST)).min_by_key(|prefix| prefix.len());
    let prefix = prefix.ok_or_else(|| bad("there is no autoencoder in it".to_owned()))?.to_owned();
    let is_renamed = weights.names().any(|name| name.contains("encoder.down_blocks.0."));
    let levels = configs::vae_levels(weights, &prefix);
    let view = inside(weights, &prefix, |name| match is_renamed {
        true => Some(Renaming::Whole(name.to_owned())),
        false => ldm::vae(name, levels).map(Renaming::Whole),
    });
    let config = configs::vae(&view, SCALING_FACTOR).map_err(bad)?;
    Ok(ModelFiles::Composed(Arc::new(
        Composed::new(path, "").with_json(CONFIG, &config).with_weights(NET_WEIGHTS, view),
    )))
}

/// The tensors below `prefix`, renamed.
fn inside(weights: &Weights, prefix: &str, rename: impl Fn(&str) -> Option<Renaming>) -> Weights {
    weights.view(|name| rename(name.strip_prefix(prefix)?))
}

/// Which Stable Diffusion these tensors are.
///
/// # Errors
/// If they are none that our nets can run whole: why.
pub fn kind(weights: &Weights) -> std::result::Result<Kind, String> {
    recognise(weights).map(|(kind, _)| kind)
}

/// What the file is, by its tensors; or why it cannot be used.
fn recognise(weights: &Weights) -> std::result::Result<(Kind, Vec<Tower>), String> {
    let mut heads = HashSet::new();
    let prefixes = [UNET, VAE, CLIP_L.prefix, OPEN_CLIP.prefix, XL_FIRST.prefix, XL_SECOND.prefix];
    for name in weights.names() {
        if let Some((_, what)) = OTHERS.iter().find(|(part, _)| name.contains(part)) {
            return Err(format!(
                "this is {what}. As a model Maquette runs Stable Diffusion 1, 2 and XL, from a folder of diffusers or a single file"
            ));
        }
        heads.extend(prefixes.into_iter().filter(|prefix| name.starts_with(prefix)));
    }
    let has = |prefix: &str| heads.contains(prefix);
    if !weights.has(&format!("{UNET}input_blocks.0.0.weight")) {
        return Err("this is no whole Stable Diffusion: it has no denoising net under the names of the original code. A file of \
                    diffusers or transformers belongs into its folder: name that folder"
            .to_owned());
    }
    let (kind, towers) = match () {
        () if has(XL_FIRST.prefix) && has(XL_SECOND.prefix) => (Kind::Sdxl, vec![XL_FIRST, XL_SECOND]),
        () if has(OPEN_CLIP.prefix) => (Kind::Sd2, vec![OPEN_CLIP]),
        () if has(CLIP_L.prefix) => (Kind::Sd1, vec![CLIP_L]),
        () => {
            return Err("this file holds no text tower, only other parts of a model; use a whole checkpoint".to_owned());
        }
    };
    if !has(VAE) {
        return Err("this file holds no autoencoder (first_stage_model); use a whole checkpoint".to_owned());
    }
    match weights.shape(&format!("{UNET}input_blocks.0.0.weight")).and_then(|shape| shape.get(1)) {
        Some(4 | 9) => Ok((kind, towers)),
        Some(5) => Err("this denoising net also reads a depth map, which Maquette does not give it".to_owned()),
        Some(7) => Err("this is an upscaler, which Maquette does not run".to_owned()),
        Some(8) => Err("this is InstructPix2Pix, which Maquette does not run".to_owned()),
        _ => Err("the first layer of its denoising net has a shape that no Stable Diffusion has".to_owned()),
    }
}
