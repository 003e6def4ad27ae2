//! The denoising net (diffusers `UNet2DConditionModel`): one net for SD 1.x, SD 2.x and our own.
//!
//! # Limitations
//! No added conditioning (SDXL), no class or guidance embedding: such configurations are refused by name.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module, VarBuilder, linear};

use super::attention::{SpatialTransformer, TransformerSizes};
use super::blocks::{Downsample, Norms, ResnetBlock, Upsample};
use super::config::UnetConfig;
use super::{WEIGHTS, explain, refuse, unsupported};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::hook::{AttentionHook, Hooks};
use crate::models::kernels::{Conv3x3, Geometry, GroupNorm};

/// Settings and the only value that they may have besides null and false.
const UNSUPPORTED: [(&str, &str); 19] = [
    ("act_fn", "silu"),
    ("addition_embed_type", "null"),
    ("attention_type", "default"),
    ("center_input_sample", "false"),
    ("class_embed_type", "null"),
    ("conv_in_kernel", "3"),
    ("conv_out_kernel", "3"),
    ("cross_attention_norm", "null"),
    ("downsample_padding", "1"),
    ("dual_cross_attention", "false"),
    ("encoder_hid_dim_type", "null"),
    ("mid_block_only_cross_attention", "false"),
    ("mid_block_type", "UNetMidBlock2DCrossAttn"),
    ("num_class_embeds", "null"),
    ("only_cross_attention", "false"),
    ("resnet_time_scale_shift", "default"),
    ("reverse_transformer_layers_per_block", "null"),
    ("time_cond_proj_dim", "null"),
    ("time_embedding_type", "positional"),
];

/// A residual block and the transformer behind it, if there is one.
struct Layer {
    resnet: ResnetBlock,
    transformer: Option<SpatialTransformer>,
}

struct DownBlock {
    layers: Vec<Layer>,
    downsample: Option<Downsample>,
}

struct UpBlock {
    layers: Vec<Layer>,
    upsample: Option<Upsample>,
}

struct MidBlock {
    first: ResnetBlock,
    rest: Vec<(SpatialTransformer, ResnetBlock)>,
}

/// The denoising net.
pub struct Unet {
    config: UnetConfig,
    time1: Linear,
    time2: Linear,
    conv_in: Conv3x3,
    down: Vec<DownBlock>,
    mid: Option<MidBlock>,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv3x3,
}

impl Unet {
    /// Reads a `unet/` folder.
    ///
    /// # Errors
    /// If a file is missing or damaged, or asks for something that this net does not have.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        let config: UnetConfig = files.read_json("config.json")?;
        refuse(files, &UNSUPPORTED)?;
        let known = |name: &String, kinds: [&str; 2]| kinds.contains(&name.as_str());
        let down = config.down_block_types.iter().find(|n| !known(n, ["CrossAttnDownBlock2D", "DownBlock2D"]));
        let up = config.up_block_types.iter().find(|n| !known(n, ["CrossAttnUpBlock2D", "UpBlock2D"]));
        if let Some(kind) = down.or(up) {
            return Err(unsupported(files, "block type", kind));
        }
        let levels = config.block_out_channels.len();
        if levels == 0 || config.down_block_types.len() != levels || config.up_block_types.len() != levels {
            return Err(unsupported(files, "block_out_channels", "lists of different lengths"));
        }
        if config.norm_num_groups == 0 {
            return Err(unsupported(files, "norm_num_groups", "0"));
        }
        let vb = files.tensors(WEIGHTS, dtype, device)?;
        Self::build(config, &vb).map_err(|error| explain(files, error))
    }

    fn build(config: UnetConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let first = config.block_out_channels.first().copied().unwrap_or(0);
        let time = first * 4;
        let norms = Norms { groups: config.norm_num_groups, epsilon: config.norm_eps, time_width: Some(time) };
        Ok(Self {
            time1: linear(first, time, vb.pp("time_embedding.linear_1"))?,
            time2: linear(time, time, vb.pp("time_embedding.linear_2"))?,
            conv_in: Conv3x3::load(config.in_channels, first, Geometry::SAME, &vb.pp("conv_in"))?,
            down: build_down(&config, norms, &vb.pp("down_blocks"))?,
            mid: build_mid(&config, norms, &vb.pp("mid_block"))?,
            up: build_up(&config, norms, &vb.pp("up_blocks"))?,
            norm_out: GroupNorm::load(config.norm_num_groups, first, config.norm_eps, &vb.pp("conv_norm_out"))?,
            conv_out: Conv3x3::load(first, config.out_channels, Geometry::SAME, &vb.pp("conv_out"))?,
            config,
        })
    }

    /// What it was built from.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Sides of latents must be multiples of this.
    pub fn multiple(&self) -> usize {
        1 << (self.config.block_out_channels.len() - 1)
    }

    /// The net's output (batch, out channels, h, w) for latents (batch, in channels, h, w) at `timestep`, prompted by
    /// states (batch, length, cross-attention width).
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: f64,
        prompt: &Tensor,
        hook: Option<&mut dyn AttentionHook>,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        let mut hooks = Hooks::new(hook);
        let time = self.embed_time(timestep, latents)?;
        let mut xs = self.conv_in.forward(latents)?;
        let mut kept = vec![xs.clone()];
        for block in &self.down {
            for layer in &block.layers {
                cx.checkpoint()?;
                xs = layer.forward(&xs, &time, prompt, &mut hooks)?;
                kept.push(xs.clone());
            }
            if let Some(downsample) = &block.downsample {
                xs = downsample.forward(&xs)?;
                kept.push(xs.clone());
            }
        }
        if let Some(mid) = &self.mid {
            cx.checkpoint()?;
            xs = mid.first.forward(&xs, Some(&time))?;
            for (transformer, resnet) in &mid.rest {
                xs = resnet.forward(&transformer.forward(&xs, prompt, &mut hooks)?, Some(&time))?;
            }
        }
        for block in &self.up {
            for layer in &block.layers {
                cx.checkpoint()?;
                let skip =
                    kept.pop().ok_or_else(|| ModelError::BadInput("the net's halves do not match".to_owned()))?;
                xs = layer.forward(&Tensor::cat(&[&xs, &skip], 1)?, &time, prompt, &mut hooks)?;
            }
            if let Some(upsample) = &block.upsample {
                xs = upsample.forward(&xs)?;
            }
        }
        self.conv_out.forward(&self.norm_out.forward_silu(&xs)?)
    }

    /// diffusers' `Timesteps` and `TimestepEmbedding`, through the SiLU that every residual block begins with. The sines are
    /// computed in 64 bits: in 16 bits their arguments would be off by more than one.
    fn embed_time(&self, timestep: f64, like: &Tensor) -> Result<Tensor> {
        let width = self.config.block_out_channels.first().copied().unwrap_or(0);
        let half = width / 2;
        let angle = |i: usize| timestep * (-(10_000f64.ln()) * i as f64 / (half as f64 - self.config.freq_shift)).exp();
        let sines = (0..half).map(|i| angle(i).sin() as f32);
        let cosines = (0..half).map(|i| angle(i).cos() as f32);
        let values: Vec<f32> =
            if self.config.flip_sin_to_cos { cosines.chain(sines).collect() } else { sines.chain(cosines).collect() };
        let values = Tensor::from_vec(values, (1, half * 2), like.device())?.to_dtype(like.dtype())?;
        Ok(self.time2.forward(&self.time1.forward(&values)?.silu()?)?.silu()?)
    }
}

impl Layer {
    fn forward(&self, xs: &Tensor, time: &Tensor, prompt: &Tensor, hooks: &mut Hooks<'_>) -> Result<Tensor> {
        let xs = self.resnet.forward(xs, Some(time))?;
        match &self.transformer {
            Some(transformer) => transformer.forward(&xs, prompt, hooks),
            None => Ok(xs),
        }
    }
}

fn transformer(config: &UnetConfig, level: usize, vb: &VarBuilder<'_>) -> Result<SpatialTransformer> {
    let sizes = TransformerSizes {
        channels: config.block_out_channels.get(level).copied().unwrap_or(0),
        heads: config.heads(level),
        layers: config.transformer_layers_per_block.at(level),
        prompt_width: config.cross_attention_dim,
        groups: config.norm_num_groups,
        is_linear: config.use_linear_projection,
    };
    SpatialTransformer::load(sizes, vb)
}

fn build_down(config: &UnetConfig, norms: Norms, vb: &VarBuilder<'_>) -> Result<Vec<DownBlock>> {
    let channels = &config.block_out_channels;
    let mut inputs = channels.first().copied().unwrap_or(0);
    let mut blocks = Vec::new();
    for (level, (&outputs, kind)) in channels.iter().zip(&config.down_block_types).enumerate() {
        let vb = vb.pp(level);
        let mut layers = Vec::new();
        for i in 0..config.layers_per_block.at(level) {
            let resnet = ResnetBlock::load(inputs, outputs, norms, &vb.pp("resnets").pp(i))?;
            let attends = kind.starts_with("CrossAttn");
            let transformer = attends.then(|| transformer(config, level, &vb.pp("attentions").pp(i))).transpose()?;
            layers.push(Layer { resnet, transformer });
            inputs = outputs;
        }
        let is_last = level + 1 == channels.len();
        let downsample = (!is_last).then(|| Downsample::load(outputs, false, &vb.pp("downsamplers.0"))).transpose()?;
        blocks.push(DownBlock { layers, downsample });
    }
    Ok(blocks)
}

fn build_mid(config: &UnetConfig, norms: Norms, vb: &VarBuilder<'_>) -> Result<Option<MidBlock>> {
    if config.mid_block_type.is_none() {
        return Ok(None);
    }
    let level = config.block_out_channels.len() - 1;
    let channels = config.block_out_channels.get(level).copied().unwrap_or(0);
    let resnet = |i: usize| ResnetBlock::load(channels, channels, norms, &vb.pp("resnets").pp(i));
    let attention = transformer(config, level, &vb.pp("attentions.0"))?;
    Ok(Some(MidBlock { first: resnet(0)?, rest: vec![(attention, resnet(1)?)] }))
}

fn build_up(config: &UnetConfig, norms: Norms, vb: &VarBuilder<'_>) -> Result<Vec<UpBlock>> {
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
