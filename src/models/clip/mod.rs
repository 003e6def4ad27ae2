//! One net for every CLIP in Hugging Face layout: text tower, vision tower, projections.
//!
//! Sizes, activation and pooling come from `config.json`; fields that it lacks have transformers' defaults.

mod config;
mod encoder;
mod text;
mod vision;

pub use config::{ClipConfig, TextConfig, VisionConfig};
pub use text::TextTower;
pub use vision::{VisionOutput, VisionTower};

use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Linear, Module, VarBuilder, linear_no_bias};

use super::error::{ModelError, Result};
use super::files::ModelFiles;

const WEIGHTS: &str = "model.safetensors";

/// A whole CLIP.
pub struct ClipModel {
    /// The text tower.
    pub text: TextTower,
    /// The vision tower.
    pub vision: VisionTower,
    text_projection: Linear,
    visual_projection: Linear,
    logit_scale: f32,
    is_dense: bool,
}

impl ClipModel {
    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// If a file is missing or damaged, or a tensor is missing or of another shape.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        let config: ClipConfig = files.read_json("config.json")?;
        let vb = files.tensors(WEIGHTS, dtype, device)?;
        Self::build(&config, &vb).map_err(|error| explain(files, error))
    }

    fn build(config: &ClipConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let projection = |name: &str, width: usize| linear_no_bias(width, config.projection_dim, vb.pp(name));
        let scale = vb.get((), "logit_scale")?.to_dtype(DType::F32)?.to_scalar::<f32>()?;
        Ok(Self {
            text: TextTower::load(&config.text_config, &vb.pp("text_model"))?,
            vision: VisionTower::load(&config.vision_config, &vb.pp("vision_model"))?,
            text_projection: projection("text_projection", config.text_config.hidden_size)?,
            visual_projection: projection("visual_projection", config.vision_config.hidden_size)?,
            logit_scale: scale.exp(),
            is_dense: config.maquette.dense,
        })
    }

    /// What cosines are multiplied by to become logits.
    pub fn logit_scale(&self) -> f32 {
        self.logit_scale
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
        unit(&self.text_projection.forward(pooled)?)
    }

    /// Unit-norm embeddings (.., d) of normed vision states (.., width).
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn project_vision(&self, states: &Tensor) -> Result<Tensor> {
        unit(&self.visual_projection.forward(states)?)
    }
}

/// `xs` (.., d) divided by its length over the last axis.
fn unit(xs: &Tensor) -> Result<Tensor> {
    let xs = xs.to_dtype(DType::F32)?;
    Ok(xs.broadcast_div(&xs.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)?)
}

/// Tensor errors while loading are about the file: they say so.
pub(crate) fn explain(files: &ModelFiles, error: ModelError) -> ModelError {
    match error {
        ModelError::Tensor(error) => ModelError::BadFile {
            path: files.path_of(WEIGHTS),
            reason: format!("{error}; the configuration does not fit the weights"),
        },
        other => other,
    }
}
