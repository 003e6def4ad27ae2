//! Transformers inside convolutional nets (diffusers `Transformer2DModel`, `BasicTransformerBlock`).

use crate::models::tensors::Tensors;
use candle_core::Tensor;

use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::hook::Hooks;
use crate::models::kernels::{Attending, GroupNorm, LayerNorm, attention_in, geglu, sum, turned};
use crate::models::layers::{Conv1x1, Linear, linear, linear_no_bias};

/// The sizes of a transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransformerSizes {
    pub(super) channels: usize,
    pub(super) heads: usize,
    pub(super) layers: usize,
    pub(super) prompt_width: usize,
    pub(super) groups: usize,
    pub(super) is_linear: bool,
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl Attention {
    fn load(channels: usize, context: usize, heads: usize, vb: &Tensors<'_>) -> Result<Self> {
        Ok(Self {
            query: linear_no_bias(channels, channels, vb.pp("to_q"))?,
            key: linear_no_bias(context, channels, vb.pp("to_k"))?,
            value: linear_no_bias(context, channels, vb.pp("to_v"))?,
            output: linear(channels, channels, vb.pp("to_out.0"))?,
            heads,
        })
    }

    fn forward(&self, xs: &Tensor, context: Option<&Tensor>, hooks: &mut Hooks<'_>, cx: &TaskCx<'_>) -> Result<Tensor> {
        let source = context.unwrap_or(xs);
        let (q, k, v) =
            (self.query.forward_in(xs, cx)?, self.key.forward_in(source, cx)?, self.value.forward_in(source, cx)?);
        let attending = Attending { heads: self.heads, is_causal: false, is_cross: context.is_some() };
        self.output.forward_in(&attention_in([&q, &k, &v], attending, hooks, cx)?, cx)
    }
}

struct TransformerBlock {
    norm1: LayerNorm,
    own: Attention,
    norm2: LayerNorm,
    cross: Attention,
    norm3: LayerNorm,
    inner: Linear,
    outer: Linear,
}

impl TransformerBlock {
    fn load(sizes: TransformerSizes, vb: &Tensors<'_>) -> Result<Self> {
        let TransformerSizes { channels, heads, prompt_width, .. } = sizes;
        let norm = |name: &str| LayerNorm::load(channels, 1e-5, &vb.pp(name));
        Ok(Self {
            norm1: norm("norm1")?,
            own: Attention::load(channels, channels, heads, &vb.pp("attn1"))?,
            norm2: norm("norm2")?,
            cross: Attention::load(channels, prompt_width, heads, &vb.pp("attn2"))?,
            norm3: norm("norm3")?,
            inner: linear(channels, channels * 8, vb.pp("ff.net.0.proj"))?,
            outer: linear(channels * 4, channels, vb.pp("ff.net.2"))?,
        })
    }

    fn forward(&self, xs: &Tensor, prompt: &Tensor, hooks: &mut Hooks<'_>, cx: &TaskCx<'_>) -> Result<Tensor> {
        let xs = sum(xs, &self.own.forward(&self.norm1.forward(xs)?, None, hooks, cx)?, cx)?;
        let xs = sum(&xs, &self.cross.forward(&self.norm2.forward(&xs)?, Some(prompt), hooks, cx)?, cx)?;
        // The widest tensor of the net: it goes as soon as it can.
        let inner = geglu(&self.inner.forward_in(&self.norm3.forward(&xs)?, cx)?)?;
        cx.checkpoint()?;
        sum(&xs, &self.outer.forward_in(&inner, cx)?, cx)
    }
}

/// Around the transformer layers: the same weights, laid out for a linear layer or for a 1x1 convolution.
enum Projection {
    Linear(Linear),
    Conv(Conv1x1),
}

impl Projection {
    fn load(sizes: TransformerSizes, vb: Tensors<'_>) -> Result<Self> {
        let channels = sizes.channels;
        Ok(match sizes.is_linear {
            true => Self::Linear(linear(channels, channels, vb)?),
            false => Self::Conv(Conv1x1::load(channels, channels, vb)?),
        })
    }
}

/// diffusers' `Transformer2DModel` with a residual connection around it.
pub(super) struct SpatialTransformer {
    norm: GroupNorm,
    project_in: Projection,
    blocks: Vec<TransformerBlock>,
    project_out: Projection,
}

impl SpatialTransformer {
    pub(super) fn load(sizes: TransformerSizes, vb: &Tensors<'_>) -> Result<Self> {
        if sizes.heads == 0 || !sizes.channels.is_multiple_of(sizes.heads) {
            return Err(ModelError::BadInput(format!(
                "{} channels do not divide into {} attention heads",
                sizes.channels, sizes.heads
            )));
        }
        let blocks = vb.pp("transformer_blocks");
        let blocks: Result<_> = (0..sizes.layers).map(|i| TransformerBlock::load(sizes, &blocks.pp(i))).collect();
        Ok(Self {
            norm: GroupNorm::load(sizes.groups, sizes.channels, 1e-6, &vb.pp("norm"))?,
            project_in: Projection::load(sizes, vb.pp("proj_in"))?,
            blocks: blocks?,
            project_out: Projection::load(sizes, vb.pp("proj_out"))?,
        })
    }

    /// (batch, channels, h, w) and the prompt (batch, length, prompt width) -> (batch, channels, h, w).
    pub(super) fn forward(
        &self,
        xs: &Tensor,
        prompt: &Tensor,
        hooks: &mut Hooks<'_>,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        let (batch, channels, height, width) = xs.dims4()?;
        let sequence = |xs: &Tensor| -> Result<Tensor> { turned(&xs.flatten_from(2)?, cx) };
        let normed = self.norm.forward(xs)?;
        let mut hidden = match &self.project_in {
            Projection::Linear(projection) => projection.forward_in(&sequence(&normed)?, cx)?,
            Projection::Conv(projection) => sequence(&projection.forward_in(&normed, cx)?)?,
        };
        for block in &self.blocks {
            hidden = block.forward(&hidden, prompt, hooks, cx)?;
        }
        let picture =
            |xs: &Tensor| -> Result<Tensor> { Ok(turned(xs, cx)?.reshape((batch, channels, height, width))?) };
        let hidden = match &self.project_out {
            Projection::Linear(projection) => picture(&projection.forward_in(&hidden, cx)?)?,
            Projection::Conv(projection) => projection.forward_in(&picture(&hidden)?, cx)?,
        };
        sum(&hidden, xs, cx)
    }
}

/// Single-headed self-attention of the autoencoder's middle, with a residual connection.
pub(super) struct SelfAttention {
    norm: GroupNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

impl SelfAttention {
    pub(super) fn load(channels: usize, groups: usize, vb: &Tensors<'_>) -> Result<Self> {
        // Older files have other names for the same four matrices, some of them as 1x1 convolutions.
        let projection = |new: &str, old: &str| -> Result<Linear> {
            let vb = if vb.has(&format!("{new}.weight")) { vb.pp(new) } else { vb.pp(old) };
            let weight = match vb.get((channels, channels), "weight") {
                Err(ModelError::BadFile { .. }) => {
                    vb.get((channels, channels, 1, 1), "weight")?.reshape((channels, channels))?
                }
                read => read?,
            };
            Linear::new(&weight, Some(&vb.get(channels, "bias")?))
        };
        Ok(Self {
            norm: GroupNorm::load(groups, channels, 1e-6, &vb.pp("group_norm"))?,
            query: projection("to_q", "query")?,
            key: projection("to_k", "key")?,
            value: projection("to_v", "value")?,
            output: projection("to_out.0", "proj_attn")?,
        })
    }

    pub(super) fn forward(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        let (batch, channels, height, width) = xs.dims4()?;
        let sequence = turned(&self.norm.forward(xs)?.flatten_from(2)?, cx)?;
        let [q, k, v] = [&self.query, &self.key, &self.value].map(|linear| linear.forward_in(&sequence, cx));
        let attending = Attending { heads: 1, is_causal: false, is_cross: false };
        let hidden = attention_in([&q?, &k?, &v?], attending, &mut Hooks::none(), cx)?;
        let hidden = self.output.forward_in(&hidden, cx)?;
        let hidden = turned(&hidden, cx)?.reshape((batch, channels, height, width))?;
        sum(&hidden, xs, cx)
    }
}
