//! How a denoising net is told the time, and what else is added to it: sizes and a pooled text (SDXL), a guidance scale (LCM).

use crate::models::tensors::Tensors;
use candle_core::Tensor;

use super::config::UnetConfig;
use crate::models::error::{ModelError, Result};
use crate::models::kernels::{joined, shifted};
use crate::models::layers::{Linear, linear, linear_no_bias};

/// SDXL's time ids: original height and width, top and left of the crop, target height and width, in pixels; refiners
/// have other numbers of them.
pub type TimeIds = Vec<f64>;

/// What a prompt is for a denoising net.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The states of its tokens, (batch, length, cross-attention width).
    pub states: Tensor,
    /// What nets with added conditioning need.
    pub added: Option<AddedText>,
    /// The guidance scale that a distilled net is told instead of being run twice.
    pub guidance: Option<f64>,
}

/// The added conditioning of SDXL (diffusers' `text_time`).
#[derive(Debug, Clone)]
pub struct AddedText {
    /// Pooled and projected text, (batch, width).
    pub pooled: Tensor,
    /// The same for all of the batch.
    pub time_ids: TimeIds,
}

impl Conditions {
    /// A prompt for nets that need nothing else.
    pub fn plain(states: Tensor) -> Self {
        Self { states, added: None, guidance: None }
    }
}

/// diffusers' `TimestepEmbedding`: two linear layers with SiLU between.
struct TwoLayers {
    first: Linear,
    second: Linear,
}

impl TwoLayers {
    fn load(inputs: usize, width: usize, vb: &Tensors<'_>) -> Result<Self> {
        Ok(Self { first: linear(inputs, width, vb.pp("linear_1"))?, second: linear(width, width, vb.pp("linear_2"))? })
    }

    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.second.forward(&self.first.forward(xs)?.silu()?)
    }
}

/// Pooled text and sizes.
struct Added {
    layers: TwoLayers,
    width_of_number: usize,
    inputs: usize,
}

/// The time embedding of a net.
pub(super) struct TimeEmbedding {
    width: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    layers: TwoLayers,
    added: Option<Added>,
    /// Of LCM: the embedding of the guidance scale, and its width.
    guidance: Option<(Linear, usize)>,
}

impl TimeEmbedding {
    /// Reads `time_embedding` and, where the net has one, `add_embedding`.
    pub(super) fn load(config: &UnetConfig, vb: &Tensors<'_>) -> Result<Self> {
        let width = config.block_out_channels.first().copied().unwrap_or(0);
        let time = vb.pp("time_embedding");
        let added = match config.addition_embed_type.as_deref() {
            None => None,
            Some(_) => {
                let inputs = config.projection_class_embeddings_input_dim.unwrap_or(0);
                let layers = TwoLayers::load(inputs, width * 4, &vb.pp("add_embedding"))?;
                Some(Added { layers, width_of_number: config.addition_time_embed_dim.unwrap_or(0), inputs })
            }
        };
        let guidance = match config.time_cond_proj_dim {
            None => None,
            Some(inputs) => Some((linear_no_bias(inputs, width, time.pp("cond_proj"))?, inputs)),
        };
        Ok(Self {
            width,
            flip_sin_to_cos: config.flip_sin_to_cos,
            freq_shift: config.freq_shift,
            layers: TwoLayers::load(width, width * 4, &time)?,
            added,
            guidance,
        })
    }

    /// (1 or batch, 4 * width), through the SiLU that every residual block begins with.
    pub(super) fn forward(&self, timestep: f64, conditions: &Conditions, like: &Tensor) -> Result<Tensor> {
        let mut time = tensor(self.waves(timestep, self.width), like)?;
        if let Some((projection, width)) = &self.guidance {
            // Guidance scales begin at 1 where they change nothing; diffusers' pipelines tell the net what is beyond that.
            let beyond = conditions.guidance.unwrap_or(1.0) - 1.0;
            time = (time + projection.forward(&tensor(guidance_waves(beyond, *width), like)?)?)?;
        }
        let time = self.layers.forward(&time)?;
        let time = match &self.added {
            None => time,
            Some(added) => shifted(&self.embed_added(added, conditions, like)?, &time)?,
        };
        Ok(time.silu()?)
    }

    fn embed_added(&self, added: &Added, conditions: &Conditions, like: &Tensor) -> Result<Tensor> {
        let missing =
            || ModelError::BadInput("this denoising net needs a pooled text and sizes, as SDXL does".to_owned());
        let AddedText { pooled, time_ids } = conditions.added.as_ref().ok_or_else(missing)?;
        let numbers: Vec<f32> = time_ids.iter().flat_map(|id| self.waves(*id, added.width_of_number)).collect();
        let (batch, text_width) = pooled.dims2()?;
        if text_width + numbers.len() != added.inputs {
            return Err(ModelError::BadInput(format!(
                "this denoising net wants {} added numbers and was given a pooled text of {text_width} and {} for sizes",
                added.inputs,
                numbers.len()
            )));
        }
        let numbers = tensor(numbers, like)?;
        let numbers = numbers.broadcast_as((batch, numbers.dim(1)?))?;
        added.layers.forward(&joined([&pooled.to_dtype(like.dtype())?, &numbers.contiguous()?], 1)?)
    }

    /// diffusers' `get_timestep_embedding`. Sines are computed in 64 bits: in 16 bits their arguments would be off by more than one.
    fn waves(&self, number: f64, width: usize) -> Vec<f32> {
        let half = width / 2;
        let angle = |i: usize| number * (-(10_000f64.ln()) * i as f64 / (half as f64 - self.freq_shift)).exp();
        let sines = (0..half).map(|i| angle(i).sin() as f32);
        let cosines = (0..half).map(|i| angle(i).cos() as f32);
        let rest = std::iter::repeat_n(0.0, width - 2 * half);
        if self.flip_sin_to_cos {
            cosines.chain(sines).chain(rest).collect()
        } else {
            sines.chain(cosines).chain(rest).collect()
        }
    }
}

/// diffusers' `get_guidance_scale_embedding` (`pipeline_latent_consistency_text2img.py`).
fn guidance_waves(scale: f64, width: usize) -> Vec<f32> {
    let half = width / 2;
    let angle = |i: usize| scale * 1000.0 * (-(10_000f64.ln()) * i as f64 / (half as f64 - 1.0)).exp();
    let sines = (0..half).map(|i| angle(i).sin() as f32);
    let cosines = (0..half).map(|i| angle(i).cos() as f32);
    sines.chain(cosines).chain(std::iter::repeat_n(0.0, width - 2 * half)).collect()
}

/// One row of numbers, of the kind and on the device of `like`.
fn tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    let width = values.len();
    Ok(Tensor::from_vec(values, (1, width), like.device())?.to_dtype(like.dtype())?)
}
