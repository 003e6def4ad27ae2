//! The convolutional parts that denoising net and autoencoder share (diffusers `resnet.py`, `downsampling.py`, `upsampling.py`).

use crate::models::tensors::Tensors;
use candle_core::Tensor;

use crate::base::task::TaskCx;
use crate::models::error::Result;
use crate::models::kernels::{self, Geometry, GroupNorm, doubled, shifted, sum};
use crate::models::layers::{Conv1x1, Conv3x3, Linear, linear};

/// A 1x1 convolution.
pub(super) fn conv1x1(inputs: usize, outputs: usize, vb: &Tensors<'_>) -> Result<kernels::Conv1x1> {
    kernels::Conv1x1::load(inputs, outputs, Geometry::POINT, vb)
}

/// diffusers' `ResnetBlock2D`: norm, SiLU, convolution, twice; the time enters between.
pub(super) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv3x3,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv3x3,
    shortcut: Option<Conv1x1>,
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
    pub(super) fn load(inputs: usize, outputs: usize, norms: Norms, vb: &Tensors<'_>) -> Result<Self> {
        let time = norms.time_width.map(|width| linear(width, outputs, vb.pp("time_emb_proj"))).transpose()?;
        let shortcut =
            (inputs != outputs).then(|| Conv1x1::load(inputs, outputs, vb.pp("conv_shortcut"))).transpose()?;
        let conv1 = Conv3x3::load(inputs, outputs, Geometry::SAME, &vb.pp("conv1"))?;
        Ok(Self {
            norm1: GroupNorm::load(norms.groups, inputs, norms.epsilon, &vb.pp("norm1"))?,
            conv1,
            time,
            norm2: GroupNorm::load(norms.groups, outputs, norms.epsilon, &vb.pp("norm2"))?,
            conv2: Conv3x3::load(outputs, outputs, Geometry::SAME, &vb.pp("conv2"))?,
            shortcut,
        })
    }

    /// (batch, inputs, h, w) -> (batch, outputs, h, w); `time` is (batch, time width), already through SiLU.
    pub(super) fn forward(&self, xs: &Tensor, time: Option<&Tensor>, cx: &TaskCx<'_>) -> Result<Tensor> {
        // One name for all: each is given back when the next one is there.
        let mut hidden = self.conv1.forward_in(&self.norm1.forward_silu_in(xs, cx)?, cx)?;
        if let (Some(projection), Some(time)) = (&self.time, time) {
            let shift = projection.forward(time)?.unsqueeze(2)?.unsqueeze(3)?;
            hidden = shifted(&hidden, &shift)?;
        }
        hidden = self.norm2.forward_silu_in(&hidden, cx)?;
        hidden = self.conv2.forward_in(&hidden, cx)?;
        let kept = match &self.shortcut {
            Some(shortcut) => shortcut.forward_in(xs, cx)?,
            None => xs.clone(),
        };
        sum(&kept, &hidden, cx)
    }
}

/// Halves the size by a 3x3 convolution of stride 2.
pub(super) struct Downsample {
    conv: Conv3x3,
}

impl Downsample {
    /// The autoencoder (`is_asymmetric`) pads only at the right and the bottom.
    pub(super) fn load(channels: usize, is_asymmetric: bool, vb: &Tensors<'_>) -> Result<Self> {
        let geometry = Geometry { stride: 2, before: usize::from(!is_asymmetric), after: 1 };
        Ok(Self { conv: Conv3x3::load(channels, channels, geometry, &vb.pp("conv"))? })
    }

    pub(super) fn forward(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        self.conv.forward_in(xs, cx)
    }
}

/// Doubles the size (or reaches a given one) by repeating pixels, then a 3x3 convolution.
pub(super) struct Upsample {
    conv: Conv3x3,
}

impl Upsample {
    pub(super) fn load(channels: usize, vb: &Tensors<'_>) -> Result<Self> {
        Ok(Self { conv: Conv3x3::load(channels, channels, Geometry::SAME, &vb.pp("conv"))? })
    }

    pub(super) fn forward(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        self.conv.forward_in(&doubled(xs, cx)?, cx)
    }

    /// The same to `height` and `width`, which are twice those of `xs`, or one less.
    pub(super) fn forward_to(&self, xs: &Tensor, height: usize, width: usize, cx: &TaskCx<'_>) -> Result<Tensor> {
        // The convolution must see nothing behind the last line.
        let xs = doubled(xs, cx)?.narrow(2, 0, height)?.narrow(3, 0, width)?;
        self.conv.forward_in(&xs, cx)
    }
}
