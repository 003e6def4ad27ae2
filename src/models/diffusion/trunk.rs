//! The first half of a denoising net: the way down and the middle. A ControlNet is a second one beside it.

use crate::models::tensors::Tensors;
use candle_core::Tensor;

use super::attention::{SpatialTransformer, TransformerSizes};
use super::blocks::{Downsample, Norms, ResnetBlock};
use super::config::UnetConfig;
use super::time::{Conditions, TimeEmbedding};
use crate::base::task::TaskCx;
use crate::models::error::Result;
use crate::models::hook::Hooks;
use crate::models::kernels::{Geometry, shifted};
use crate::models::layers::Conv3x3;

/// A residual block and the transformer behind it, if there is one.
pub(super) struct Layer {
    pub(super) resnet: ResnetBlock,
    pub(super) transformer: Option<SpatialTransformer>,
}

struct DownBlock {
    layers: Vec<Layer>,
    downsample: Option<Downsample>,
}

struct MidBlock {
    first: ResnetBlock,
    rest: Vec<(SpatialTransformer, ResnetBlock)>,
}

/// What the first half hands to whatever comes after it.
pub(super) struct Halfway {
    /// The time embedding.
    pub(super) time: Tensor,
    /// The middle's output.
    pub(super) middle: Tensor,
    /// What was kept on the way down, first to last.
    pub(super) kept: Vec<Tensor>,
}

/// The first half.
pub(super) struct Trunk {
    time: TimeEmbedding,
    conv_in: Conv3x3,
    down: Vec<DownBlock>,
    mid: Option<MidBlock>,
}

impl Trunk {
    pub(super) fn load(config: &UnetConfig, vb: &Tensors<'_>) -> Result<Self> {
        let first = config.block_out_channels.first().copied().unwrap_or(0);
        let norms = norms(config);
        Ok(Self {
            time: TimeEmbedding::load(config, vb)?,
            conv_in: Conv3x3::load(config.in_channels, first, Geometry::SAME, &vb.pp("conv_in"))?,
            down: build_down(config, norms, &vb.pp("down_blocks"))?,
            mid: build_mid(config, norms, &vb.pp("mid_block"))?,
        })
    }

    /// From latents (batch, in channels, h, w); `hint`, if there is one, is added to the first convolution's output.
    pub(super) fn forward(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditions: &Conditions,
        hint: Option<&Tensor>,
        hooks: &mut Hooks<'_>,
        cx: &TaskCx<'_>,
    ) -> Result<Halfway> {
        let time = self.time.forward(timestep, conditions, latents)?;
        let prompt = &conditions.states;
        let mut xs = self.conv_in.forward_in(latents, cx)?;
        if let Some(hint) = hint {
            xs = shifted(&xs, hint)?;
        }
        let mut kept = vec![xs.clone()];
        for block in &self.down {
            for layer in &block.layers {
                xs = layer.forward(xs, &time, prompt, hooks, cx)?;
                kept.push(xs.clone());
            }
            if let Some(downsample) = &block.downsample {
                xs = downsample.forward(&xs, cx)?;
                kept.push(xs.clone());
            }
        }
        if let Some(mid) = &self.mid {
            xs = mid.first.forward(&xs, Some(&time), cx)?;
            for (transformer, resnet) in &mid.rest {
                xs = resnet.forward(&transformer.forward(&xs, prompt, hooks, cx)?, Some(&time), cx)?;
            }
        }
        Ok(Halfway { time, middle: xs, kept })
    }
}

pub(super) fn norms(config: &UnetConfig) -> Norms {
    let first = config.block_out_channels.first().copied().unwrap_or(0);
    Norms { groups: config.norm_num_groups, epsilon: config.norm_eps, time_width: Some(first * 4) }
}

impl Layer {
    pub(super) fn forward(
        &self,
        mut xs: Tensor,
        time: &Tensor,
        prompt: &Tensor,
        hooks: &mut Hooks<'_>,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        xs = self.resnet.forward(&xs, Some(time), cx)?;
        match &self.transformer {
            Some(transformer) => transformer.forward(&xs, prompt, hooks, cx),
            None => Ok(xs),
        }
    }
}

pub(super) fn transformer(config: &UnetConfig, level: usize, vb: &Tensors<'_>) -> Result<SpatialTransformer> {
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

fn build_down(config: &UnetConfig, norms: Norms, vb: &Tensors<'_>) -> Result<Vec<DownBlock>> {
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

fn build_mid(config: &UnetConfig, norms: Norms, vb: &Tensors<'_>) -> Result<Option<MidBlock>> {
    if config.mid_block_type.is_none() {
        return Ok(None);
    }
    let level = config.block_out_channels.len() - 1;
    let channels = config.block_out_channels.get(level).copied().unwrap_or(0);
    let resnet = |i: usize| ResnetBlock::load(channels, channels, norms, &vb.pp("resnets").pp(i));
    let attention = transformer(config, level, &vb.pp("attentions.0"))?;
    Ok(Some(MidBlock { first: resnet(0)?, rest: vec![(attention, resnet(1)?)] }))
}
