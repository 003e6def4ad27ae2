//! One net for every CLIP and SigLIP: text tower, vision tower, projections or pooling head, scoring.
//!
//! Sizes, activation and pooling come from the model's own configuration; names of tensors are those of transformers or open_clip.

mod config;
mod encoder;
mod names;
mod open_clip;
mod pool;
mod positions;
mod text;
mod timm;
mod vision;

pub use config::{ClipConfig, Head, Pooling, TextConfig, VisionConfig};
pub use text::TextTower;
pub use vision::{VisionOutput, VisionTower};

use crate::models::tensors::Tensors;
use candle_core::{D, DType, Device, Tensor};

use super::error::{ModelError, Result};
use super::files::{ModelFiles, Weights};
use super::preprocess::{Convention, Preprocessor};
use crate::base::task::TaskCx;
use crate::job::output::Scoring;

const WEIGHTS: &str = "model.safetensors";
/// Where weights are looked for: transformers' name, then open_clip's.
const FILES: [&str; 3] = [WEIGHTS, "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"];

/// A whole CLIP or SigLIP.
pub struct ClipModel {
    /// The text tower.
    pub text: TextTower,
    /// The vision tower.
    pub vision: VisionTower,
    scoring: Scoring,
    convention: Convention,
    is_dense: bool,
}

impl ClipModel {
    /// Reads a folder: `config.json` and `model.safetensors` of transformers, or open_clip's `open_clip_config.json` and
    /// `open_clip_model.safetensors`; also one's configuration with the other's weights.
    ///
    /// # Errors
    /// If a file is missing or damaged, or a tensor is missing or of another shape.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        Self::load_in(files, dtype, device, &TaskCx::detached())
    }

    /// As [`Self::load`], with pauses for the task.
    ///
    /// # Errors
    /// As [`Self::load`]; or if the task is cancelled.
    pub fn load_in(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        Self::load_weights(files, &open(files)?, dtype, device, cx)
    }

    /// Whether the folder can be read, and how it wants its pictures; the numbers are not looked at.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(super) fn rehearse(files: &ModelFiles) -> Result<()> {
        let (weights, cx) = (open(files)?.hollow(), TaskCx::detached());
        let model = Self::load_weights(files, &weights, DType::BF16, &Device::Cpu, &cx)?;
        let side = u32::try_from(model.vision.image_size()).unwrap_or(u32::MAX);
        Preprocessor::load(files, side, model.convention).map(drop)
    }

    fn load_weights(
        files: &ModelFiles,
        weights: &Weights,
        dtype: DType,
        device: &Device,
        cx: &TaskCx<'_>,
    ) -> Result<Self> {
        let config = ClipConfig::load(files, weights)?;
        let vb = names::tensors(weights, dtype, device, cx);
        Self::build(&config, weights, &vb).map_err(|error| explain(files, error))
    }

    fn build(config: &ClipConfig, weights: &Weights, vb: &Tensors<'_>) -> Result<Self> {
        let number = |name: &str| -> Result<f32> {
            let value = vb.get((), name)?.to_dtype(DType::F32)?.to_scalar::<f32>()?;
            Ok(value)
        };
        let scale = number("logit_scale")?.exp();
        if !scale.is_finite() {
            return Err(ModelError::BadInput("the logit scale is not finite".to_owned()));
        }
        let is_siglip = config.vision.head == Head::AttentionPool;
        let scoring = match is_siglip || weights.names().any(|name| name.ends_with("logit_bias")) {
            true => Scoring::Sigmoid { scale, bias: number("logit_bias")? },
            false => Scoring::Softmax { scale },
        };
        let projection = if is_siglip { text::SIGLIP_PROJECTION } else { text::PROJECTION };
        Ok(Self {
            text: TextTower::load(&config.text, projection, vb)?,
            vision: VisionTower::load(&config.vision, vb)?,
            scoring,
            convention: if is_siglip { Convention::Siglip } else { Convention::Clip },
            is_dense: config.is_dense,
        })
    }

    /// How cosines become logits and probabilities.
    pub fn scoring(&self) -> Scoring {
        self.scoring
    }

    /// How pictures and texts are prepared where the model's files do not say.
    pub fn convention(&self) -> Convention {
        self.convention
    }

    /// Whether the last layer's patch tokens were trained to carry meaning by themselves.
    pub fn is_dense(&self) -> bool {
        self.is_dense
    }

    /// Unit-norm embeddings (batch, d) of pooled text states (batch, width).
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn project_text(&self, pooled: &Tensor) -> Result<Tensor> {
        unit(&self.text.project(pooled)?)
    }
}

/// `xs` (.., d) divided by its length over the last axis.
///
/// # Errors
/// If the tensor library fails.
pub fn unit(xs: &Tensor) -> Result<Tensor> {
    let xs = xs.to_dtype(DType::F32)?;
    Ok(xs.broadcast_div(&xs.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)?)
}

fn open(files: &ModelFiles) -> Result<Weights> {
    let mut first = None;
    for file in FILES {
        match files.weights(file) {
            // A pickle beside a usable file does not matter; a damaged file does.
            Err(error @ ModelError::MissingFile { .. }) => first = first.or(Some(error)),
            Err(error @ ModelError::BadFile { .. }) if !names_weights(&error) => first = Some(error),
            other => return other,
        }
    }
    Err(first.unwrap_or_else(|| ModelError::MissingFile { path: files.path_of(WEIGHTS) }))
}

/// Whether an error is about weights themselves and not about a pickle in their place.
fn names_weights(error: &ModelError) -> bool {
    matches!(error, ModelError::BadFile { path, .. } if path.extension().is_none_or(|ending| ending != "bin"))
}

/// Other errors while loading are about the configuration: they say so.
pub(crate) fn explain(files: &ModelFiles, error: ModelError) -> ModelError {
    match error {
        ModelError::Tensor(error) => ModelError::BadFile {
            path: files.path_of(WEIGHTS),
            reason: format!("{error}; the configuration does not fit the weights"),
        },
        ModelError::BadInput(reason) => {
            let file = if files.has(config::CONFIG) { config::CONFIG } else { open_clip::CONFIG };
            ModelError::BadFile { path: files.path_of(file), reason }
        }
        other => other,
    }
}
