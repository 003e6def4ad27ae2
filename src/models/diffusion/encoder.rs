//! The convolutional encoder of diffusers (`models/autoencoders/vae.py`, `Encoder`): half of the autoencoder, and the judge's body.

use crate::models::tensors::Tensors;
use candle_core::Tensor;

use super::attention::SelfAttention;
use super::blocks::{Downsample, Norms, ResnetBlock};
use crate::base::task::TaskCx;
use crate::models::error::Result;
use crate::models::kernels::{Conv3x3, Geometry, GroupNorm};

/// What an encoder is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Channels of each block, highest resolution first; each block but the last halves the size.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each block.
    pub layers_per_block: usize,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// Self-attention in the middle.
    pub has_attention: bool,
}

/// Two residual blocks at the lowest resolution, with attention between them if the net has it.
pub(super) struct Middle {
    first: ResnetBlock,
    attention: Option<SelfAttention>,
    second: ResnetBlock,
}

impl Middle {
    pub(super) fn load(channels: usize, has_attention: bool, norms: Norms, vb: &Tensors<'_>) -> Result<Self> {
        let resnet = |i: usize| ResnetBlock::load(channels, channels, norms, &vb.pp("resnets").pp(i));
        let attention = has_attention.then(|| SelfAttention::load(channels, norms.groups, &vb.pp("attentions.0")));
        Ok(Self { first: resnet(0)?, attention: attention.transpose()?, second: resnet(1)? })
    }

    pub(super) fn forward(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        let mut xs = self.first.forward(xs, None, cx)?;
        if let Some(attention) = &self.attention {
            xs = attention.forward(&xs, cx)?;
        }
        self.second.forward(&xs, None, cx)
    }
}

struct EncoderBlock {
    resnets: Vec<ResnetBlock>,
    downsample: Option<Downsample>,
}

/// The layers at both ends of an encoder or a decoder.
pub(super) struct Ends {
    pub(super) conv_in: Conv3x3,
    pub(super) norm_out: GroupNorm,
    pub(super) conv_out: Conv3x3,
}

impl Ends {
    /// Norm, SiLU and convolution at the end.
    pub(super) fn last(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        self.conv_out.forward_in(&self.norm_out.forward_silu_in(xs, cx)?, cx)
    }
}

/// The encoder.
pub struct Encoder {
    ends: Ends,
    blocks: Vec<EncoderBlock>,
    middle: Middle,
}

impl Encoder {
    /// Reads the tensors `conv_in`, `down_blocks`, `mid_block`, `conv_norm_out` and `conv_out`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape, or the task is cancelled.
    pub fn load(config: &EncoderConfig, vb: &Tensors<'_>) -> Result<Self> {
        let (norms, channels) = (norms(config.norm_num_groups), &config.block_out_channels);
        let (first, last) = (channels.first().copied().unwrap_or(0), channels.last().copied().unwrap_or(0));
        let mut inputs = first;
        let mut blocks = Vec::new();
        for (level, &outputs) in channels.iter().enumerate() {
            let vb = vb.pp("down_blocks").pp(level);
            let mut resnets = Vec::new();
            for i in 0..config.layers_per_block {
                resnets.push(ResnetBlock::load(inputs, outputs, norms, &vb.pp("resnets").pp(i))?);
                inputs = outputs;
            }
            let halves = level + 1 < channels.len();
            let downsample = halves.then(|| Downsample::load(outputs, true, &vb.pp("downsamplers.0"))).transpose()?;
            blocks.push(EncoderBlock { resnets, downsample });
        }
        let ends = Ends {
            conv_in: Conv3x3::load(config.inputs, first, Geometry::SAME, &vb.pp("conv_in"))?,
            norm_out: GroupNorm::load(norms.groups, last, norms.epsilon, &vb.pp("conv_norm_out"))?,
            conv_out: Conv3x3::load(last, config.outputs, Geometry::SAME, &vb.pp("conv_out"))?,
        };
        Ok(Self { ends, blocks, middle: Middle::load(last, config.has_attention, norms, &vb.pp("mid_block"))? })
    }

    /// (batch, inputs, h, w) -> (batch, outputs, h / factor, w / factor).
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        let mut xs = self.ends.conv_in.forward_in(xs, cx)?;
        for block in &self.blocks {
            for resnet in &block.resnets {
                xs = resnet.forward(&xs, None, cx)?;
            }
            if let Some(downsample) = &block.downsample {
                xs = downsample.forward(&xs, cx)?;
            }
        }
        self.ends.last(&self.middle.forward(&xs, cx)?, cx)
    }
}

/// The epsilon of these nets is fixed in diffusers' code.
pub(super) fn norms(groups: usize) -> Norms {
    Norms { groups, epsilon: 1e-6, time_width: None }
}
