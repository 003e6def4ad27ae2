//! A net that steers a denoising net by a picture: edges, depth, poses (diffusers `ControlNetModel`; Zhang et al. 2023).

use crate::models::tensors::Tensors;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::blocks::conv1x1;
use super::config::UnetConfig;
use super::time::Conditions;
use super::trunk::{Halfway, Trunk};
use super::unet::UNSUPPORTED;
use super::{WEIGHTS, explain, refuse, unsupported};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::hook::Hooks;
use crate::models::kernels::{Conv1x1, Conv3x3, Geometry, shifted};

/// What a ControlNet's `config.json` says beyond a denoising net's.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct HintConfig {
    conditioning_channels: usize,
    conditioning_embedding_out_channels: Vec<usize>,
    controlnet_conditioning_channel_order: String,
    global_pool_conditions: bool,
}

impl Default for HintConfig {
    fn default() -> Self {
        Self {
            conditioning_channels: 3,
            conditioning_embedding_out_channels: vec![16, 32, 96, 256],
            controlnet_conditioning_channel_order: "rgb".to_owned(),
            global_pool_conditions: false,
        }
    }
}

/// What is added to a denoising net's first half.
#[derive(Debug, Clone)]
pub struct Residuals {
    middle: Tensor,
    kept: Vec<Tensor>,
}

impl Residuals {
    /// Those of several ControlNets together.
    ///
    /// # Errors
    /// If they are of nets of different shapes.
    pub fn sum(all: &[Self]) -> Result<Option<Self>> {
        let Some((first, rest)) = all.split_first() else { return Ok(None) };
        let mut total = first.clone();
        for other in rest {
            (total.middle, total.kept) = other.added_to(&total.middle, &total.kept)?;
        }
        Ok(Some(total))
    }

    /// The middle and what was kept, with the residuals.
    pub(super) fn added_to(&self, middle: &Tensor, kept: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        if kept.len() != self.kept.len() {
            return Err(ModelError::BadInput(
                "the ControlNet does not fit the denoising net; use one of its family".to_owned(),
            ));
        }
        let kept: Result<Vec<Tensor>> = kept.iter().zip(&self.kept).map(|(a, b)| shifted(a, b)).collect();
        Ok((shifted(middle, &self.middle)?, kept?))
    }
}

/// The picture's own small net (diffusers `ControlNetConditioningEmbedding`).
struct Hint {
    conv_in: Conv3x3,
    blocks: Vec<Conv3x3>,
    conv_out: Conv3x3,
}

impl Hint {
    fn load(config: &HintConfig, outputs: usize, vb: &Tensors<'_>) -> Result<Self> {
        let channels = &config.conditioning_embedding_out_channels;
        let (first, last) = (channels.first().copied().unwrap_or(0), channels.last().copied().unwrap_or(0));
        let halving = Geometry { stride: 2, ..Geometry::SAME };
        let mut blocks = Vec::new();
        for (index, pair) in channels.windows(2).enumerate() {
            let block = |i: usize| vb.pp("blocks").pp(2 * index + i);
            blocks.push(Conv3x3::load(pair[0], pair[0], Geometry::SAME, &block(0))?);
            blocks.push(Conv3x3::load(pair[0], pair[1], halving, &block(1))?);
        }
        Ok(Self {
            conv_in: Conv3x3::load(config.conditioning_channels, first, Geometry::SAME, &vb.pp("conv_in"))?,
            blocks,
            conv_out: Conv3x3::load(last, outputs, Geometry::SAME, &vb.pp("conv_out"))?,
        })
    }

    fn forward(&self, picture: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        let mut xs = self.conv_in.forward_in(picture, cx)?.silu()?;
        for block in &self.blocks {
            xs = block.forward_in(&xs, cx)?.silu()?;
        }
        self.conv_out.forward_in(&xs, cx)
    }
}

/// A ControlNet.
pub struct ControlNet {
    config: UnetConfig,
    trunk: Trunk,
    hint: Hint,
    kept: Vec<Conv1x1>,
    middle: Conv1x1,
}

impl ControlNet {
    /// Reads a ControlNet's folder.
    ///
    /// # Errors
    /// If a file is missing or damaged, or asks for something that this net does not have.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        Self::load_in(files, dtype, device, &TaskCx::detached())
    }

    /// As [`Self::load`], with pauses for the task.
    ///
    /// # Errors
    /// As [`Self::load`]; or if the task is cancelled.
    pub fn load_in(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        let config: UnetConfig = files.read_json("config.json")?;
        let hint: HintConfig = files.read_json("config.json")?;
        refuse(files, &UNSUPPORTED)?;
        config.check(files)?;
        if hint.controlnet_conditioning_channel_order != "rgb" {
            return Err(unsupported(
                files,
                "controlnet_conditioning_channel_order",
                &hint.controlnet_conditioning_channel_order,
            ));
        }
        if hint.global_pool_conditions {
            return Err(unsupported(files, "global_pool_conditions", "true"));
        }
        let vb = files.tensors(WEIGHTS, dtype, device, cx)?;
        Self::build(config, &hint, &vb).map_err(|error| explain(files, error))
    }

    fn build(config: UnetConfig, hint: &HintConfig, vb: &Tensors<'_>) -> Result<Self> {
        let first = config.block_out_channels.first().copied().unwrap_or(0);
        let last = config.block_out_channels.last().copied().unwrap_or(0);
        let mut widths = vec![first];
        for (level, width) in config.block_out_channels.iter().enumerate() {
            let halves = usize::from(level + 1 < config.block_out_channels.len());
            widths.extend(std::iter::repeat_n(*width, config.layers_per_block.at(level) + halves));
        }
        let blocks = vb.pp("controlnet_down_blocks");
        let kept: Result<_> =
            widths.iter().enumerate().map(|(i, width)| conv1x1(*width, *width, &blocks.pp(i))).collect();
        Ok(Self {
            trunk: Trunk::load(&config, vb)?,
            hint: Hint::load(hint, first, &vb.pp("controlnet_cond_embedding"))?,
            kept: kept?,
            middle: conv1x1(last, last, &vb.pp("controlnet_mid_block"))?,
            config,
        })
    }

    /// Whether it was made for denoising nets like `net`.
    ///
    /// # Errors
    /// If not, with what differs.
    pub fn check_fits(&self, net: &UnetConfig) -> Result<()> {
        let own = &self.config;
        let per_level = |config: &UnetConfig| -> Vec<usize> {
            (0..config.block_out_channels.len()).map(|level| config.layers_per_block.at(level)).collect()
        };
        let differ = |what: &str, own: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
            Err(ModelError::BadInput(format!(
                "this ControlNet was made for models of another family: {what} {own:?} where the model has {theirs:?}; use one \
                 that was made for this model's family"
            )))
        };
        if own.cross_attention_dim != net.cross_attention_dim {
            return differ("it reads prompts of width", &own.cross_attention_dim, &net.cross_attention_dim);
        }
        if own.in_channels != net.out_channels {
            return differ("its latents have channels", &own.in_channels, &net.out_channels);
        }
        if own.block_out_channels != net.block_out_channels {
            return differ("its blocks have channels", &own.block_out_channels, &net.block_out_channels);
        }
        if per_level(own) != per_level(net) {
            return differ("its blocks have layers", &per_level(own), &per_level(net));
        }
        if own.addition_embed_type != net.addition_embed_type {
            return differ("its added conditioning is", &own.addition_embed_type, &net.addition_embed_type);
        }
        Ok(())
    }

    /// What [`Self::forward`] reads of a picture (1 or batch, 3, 8 h, 8 w) in 0..=1: (1 or batch, width, h, w).
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn hint(&self, picture: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        self.hint.forward(picture, cx)
    }

    /// The residuals for latents (batch, 4, h, w) at `timestep`, steered by a picture's [`Self::hint`], times `scale`.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditions: &Conditions,
        hint: &Tensor,
        scale: f64,
        cx: &TaskCx<'_>,
    ) -> Result<Residuals> {
        let Halfway { middle, kept, .. } =
            self.trunk.forward(latents, timestep, conditions, Some(hint), &mut Hooks::none(), cx)?;
        let kept: Result<Vec<Tensor>> =
            kept.iter().zip(&self.kept).map(|(xs, conv)| Ok((conv.forward_in(xs, cx)? * scale)?)).collect();
        Ok(Residuals { middle: (self.middle.forward(&middle)? * scale)?, kept: kept? })
    }
}
