//! The convolutional parts that denoising net and autoencoder share (diffusers `resnet.py`, `downsampling.py`, `upsampling.py`).

use candle_core::Tensor;
use candle_nn::{Conv2d, Conv2dConfig, GroupNorm, Linear, Module, VarBuilder, conv2d, group_norm, linear};

use crate::models::error::Result;

/// A 3x3 convolution that keeps the size.
pub(super) fn conv3x3(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Conv2d> {
    Ok(conv2d(inputs, outputs, 3, Conv2dConfig { padding: 1, ..Conv2dConfig::default() }, vb)?)
}

/// A 1x1 convolution.
pub(super) fn conv1x1(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Conv2d> {
    Ok(conv2d(inputs, outputs, 1, Conv2dConfig::default(), vb)?)
}

/// diffusers' `ResnetBlock2D`: norm, SiLU, convolution, twice; the time enters between.
pub(super) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
}

/// What residual blocks of one net have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norms {
    pub(super) groups: usize,
    pub(super) epsilon: f64,
    /// Width of the time embedding; `None` in the autoencoder.
    pub(super) time_width: Option<usize>,
}

impl ResnetBlock {
    pub(super) fn load(inputs: usize, outputs: usize, norms: Norms, vb: &VarBuilder<'_>) -> Result<Self> {
        let time = norms.time_width.map(|width| linear(width, outputs, vb.pp("time_emb_proj"))).transpose()?;
        let shortcut = (inputs != outputs).then(|| conv1x1(inputs, outputs, vb.pp("conv_shortcut"))).transpose()?;
        Ok(Self {
            norm1: group_norm(norms.groups, inputs, norms.epsilon, vb.pp("norm1"))?,
            conv1: conv3x3(inputs, outputs, vb.pp("conv1"))?,
            time,
            norm2: group_norm(norms.groups, outputs, norms.epsilon, vb.pp("norm2"))?,
            conv2: conv3x3(outputs, outputs, vb.pp("conv2"))?,
            shortcut,
        })
    }

    /// (batch, inputs, h, w) -> (batch, outputs, h, w); `time` is (batch, time width), already through SiLU.
    pub(super) fn forward(&self, xs: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let mut hidden = self.conv1.forward(&self.norm1.forward(xs)?.silu()?)?;
        if let (Some(projection), Some(time)) = (&self.time, time) {
            let shift = projection.forward(time)?.unsqueeze(2)?.unsqueeze(3)?;
            hidden = hidden.broadcast_add(&shift)?;
        }
        let hidden = self.conv2.forward(&self.norm2.forward(&hidden)?.silu()?)?;
        let kept = match &self.shortcut {
            Some(shortcut) => shortcut.forward(xs)?,
            None => xs.clone(),
        };
        Ok((kept + hidden)?)
    }
}

/// Halves the size by a 3x3 convolution of stride 2.
pub(super) struct Downsample {
    conv: Conv2d,
    /// The autoencoder pads only at the right and the bottom.
    is_asymmetric: bool,
}

impl Downsample {
    pub(super) fn load(channels: usize, is_asymmetric: bool, vb: &VarBuilder<'_>) -> Result<Self> {
        let config = Conv2dConfig { stride: 2, padding: usize::from(!is_asymmetric), ..Conv2dConfig::default() };
        Ok(Self { conv: conv2d(channels, channels, 3, config, vb.pp("conv"))?, is_asymmetric })
    }

    pub(super) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        if self.is_asymmetric {
            let padded = xs.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
            return Ok(self.conv.forward(&padded)?);
        }
        Ok(self.conv.forward(xs)?)
    }
}

/// Doubles the size (or reaches a given one) by repeating pixels, then a 3x3 convolution.
pub(super) struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    pub(super) fn load(channels: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self { conv: conv3x3(channels, channels, vb.pp("conv"))? })
    }

    pub(super) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = xs.dims4()?;
        Ok(self.conv.forward(&xs.upsample_nearest2d(height * 2, width * 2)?)?)
    }
}
