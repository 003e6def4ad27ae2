//! The denoising net (diffusers `UNet2DConditionModel`): one net for SD 1.x, SD 2.x, SDXL, LCM and our own.
//!
//! # Limitations
//! No class embedding and no added conditioning but SDXL's: such configurations are refused by name.

use crate::models::tensors::Tensors;
use candle_core::{DType, Device, Tensor};

use super::blocks::{Norms, ResnetBlock, Upsample};
use super::config::UnetConfig;
use super::controlnet::Residuals;
use super::time::Conditions;
use super::trunk::{Halfway, Layer, Trunk, norms, transformer};
use super::{WEIGHTS, explain, refuse, unsupported};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::hook::{AttentionHook, Hooks};
use crate::models::kernels::{Geometry, GroupNorm, joined};
use crate::models::layers::{self, Adaptable, Conv3x3};

/// Settings and the only value that they may have besides null and false.
pub(super) const UNSUPPORTED: [(&str, &str); 22] = [
    ("act_fn", "silu"),
    ("addition_embed_type", "text_time"),
    ("attention_type", "default"),
    ("center_input_sample", "false"),
    ("class_embed_type", "null"),
    ("conv_in_kernel", "3"),
    ("conv_out_kernel", "3"),
    ("cross_attention_norm", "null"),
    ("downsample_padding", "1"),
    ("dual_cross_attention", "false"),
    ("encoder_hid_dim", "null"),
    ("encoder_hid_dim_type", "null"),
    ("mid_block_only_cross_attention", "false"),
    ("mid_block_scale_factor", "1"),
    ("mid_block_type", "UNetMidBlock2DCrossAttn"),
    ("num_class_embeds", "null"),
    ("only_cross_attention", "false"),
    ("resnet_time_scale_shift", "default"),
    ("reverse_transformer_layers_per_block", "null"),
    ("time_embedding_act_fn", "null"),
    ("time_embedding_type", "positional"),
    ("timestep_post_act", "null"),
];

struct UpBlock {
    layers: Vec<Layer>,
    upsample: Option<Upsample>,
}

/// The denoising net.
pub struct Unet {
    config: UnetConfig,
    trunk: Trunk,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv3x3,
    adaptable: Vec<Adaptable>,
}

impl Unet {
    /// Reads a `unet/` folder.
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
        let config = Self::config_of(files)?;
        let vb = files.tensors(WEIGHTS, dtype, device, cx)?;
        let built = layers::gather(|| Self::build(config, &vb)).map_err(|error| explain(files, error));
        built.map(|(net, adaptable)| Self { adaptable, ..net })
    }

    /// What a folder holds, for [`Self::load`]; its weights are not read yet.
    ///
    /// # Errors
    /// If a file is missing, or asks for something that this net does not have.
    pub fn config_of(files: &ModelFiles) -> Result<UnetConfig> {
        let config: UnetConfig = files.read_json("config.json")?;
        refuse(files, &UNSUPPORTED)?;
        config.check(files)?;
        let up = config.up_block_types.iter().find(|n| !["CrossAttnUpBlock2D", "UpBlock2D"].contains(&n.as_str()));
        if let Some(kind) = up {
            return Err(unsupported(files, "block type", kind));
        }
        if config.up_block_types.len() != config.block_out_channels.len() {
            return Err(unsupported(files, "up_block_types", "a list of another length than block_out_channels"));
        }
        files.weights(WEIGHTS)?;
        Ok(config)
    }

    fn build(config: UnetConfig, vb: &Tensors<'_>) -> Result<Self> {
        let first = config.block_out_channels.first().copied().unwrap_or(0);
        Ok(Self {
            trunk: Trunk::load(&config, vb)?,
            up: build_up(&config, norms(&config), &vb.pp("up_blocks"))?,
            norm_out: GroupNorm::load(config.norm_num_groups, first, config.norm_eps, &vb.pp("conv_norm_out"))?,
            conv_out: Conv3x3::load(first, config.out_channels, Geometry::SAME, &vb.pp("conv_out"))?,
            adaptable: Vec::new(),
            config,
        })
    }

    /// What it was built from.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// The layers that a LoRA can change.
    pub fn adaptable(&self) -> &[Adaptable] {
        &self.adaptable
    }

    /// The net's output (batch, out channels, h, w) for latents (batch, in channels, h, w) at `timestep`.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditions: &Conditions,
        residuals: Option<&Residuals>,
        hook: Option<&mut dyn AttentionHook>,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        let mut hooks = Hooks::new(hook);
        let Halfway { time, middle: mut xs, mut kept } =
            self.trunk.forward(latents, timestep, conditions, None, &mut hooks, cx)?;
        if let Some(residuals) = residuals {
            (xs, kept) = residuals.added_to(&xs, &kept)?;
        }
        for block in &self.up {
            for layer in &block.layers {
                let skip =
                    kept.pop().ok_or_else(|| ModelError::BadInput("the net's halves do not match".to_owned()))?;
                xs = joined([&xs, &skip], 1)?;
                drop(skip);
                xs = layer.forward(xs, &time, &conditions.states, &mut hooks, cx)?;
            }
            if let Some(upsample) = &block.upsample {
                // Where a side was odd on the way down, its double is one too many.
                xs = match kept.last().map(Tensor::dims4).transpose()? {
                    Some((_, _, height, width)) => upsample.forward_to(&xs, height, width, cx)?,
                    None => upsample.forward(&xs, cx)?,
                };
            }
        }
        self.conv_out.forward_in(&self.norm_out.forward_silu_in(&xs, cx)?, cx)
    }
}

fn build_up(config: &UnetConfig, norms: Norms, vb: &Tensors<'_>) -> Result<Vec<UpBlock>> {
    let channels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
    let levels = channels.len();
    let mut inputs = channels.first().copied().unwrap_or(0);
    let mut blocks = Vec::new();
    for (index, (&outputs, kind)) in channels.iter().zip(&config.up_block_types).enumerate() {
        let vb = vb.pp(index);
        let level = levels - 1 - index;
        let skip_in = channels.get(index + 1).copied().unwrap_or(outputs);
        let count = config.layers_per_block.at(level) + 1;
        let mut layers = Vec::new();
        for i in 0..count {
            let skip = if i + 1 == count { skip_in } else { outputs };
            let from = if i == 0 { inputs } else { outputs };
            let resnet = ResnetBlock::load(from + skip, outputs, norms, &vb.pp("resnets").pp(i))?;
            let attends = kind.starts_with("CrossAttn");
            let transformer = attends.then(|| transformer(config, level, &vb.pp("attentions").pp(i))).transpose()?;
            layers.push(Layer { resnet, transformer });
        }
        let is_last = index + 1 == levels;
        let upsample = (!is_last).then(|| Upsample::load(outputs, &vb.pp("upsamplers.0"))).transpose()?;
        blocks.push(UpBlock { layers, upsample });
        inputs = outputs;
    }
    Ok(blocks)
}
