//! The transformer that both towers are made of (transformers `modeling_clip.py`: `CLIPEncoderLayer`; SigLIP's is the same).

use std::ops::Range;

use crate::models::tensors::Tensors;
use candle_core::Tensor;

use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::hook::{Hooks, Seen};
use crate::models::kernels::{Activation, Attending, LayerNorm, attention};
use crate::models::layers::{Linear, linear};

/// The sizes of a tower.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) width: usize,
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
}

pub(super) struct Layer {
    norm1: LayerNorm,
    norm2: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    activation: Activation,
}

impl Layer {
    fn load(sizes: Sizes, vb: &Tensors<'_>) -> Result<Self> {
        let Sizes { width, inner, heads, activation, epsilon, .. } = sizes;
        let attention = vb.pp("self_attn");
        let mlp = vb.pp("mlp");
        Ok(Self {
            norm1: LayerNorm::load(width, epsilon, &vb.pp("layer_norm1"))?,
            norm2: LayerNorm::load(width, epsilon, &vb.pp("layer_norm2"))?,
            query: linear(width, width, attention.pp("q_proj"))?,
            key: linear(width, width, attention.pp("k_proj"))?,
            value: linear(width, width, attention.pp("v_proj"))?,
            output: linear(width, width, attention.pp("out_proj"))?,
            fc1: linear(width, inner, mlp.pp("fc1"))?,
            fc2: linear(inner, width, mlp.pp("fc2"))?,
            heads,
            activation,
        })
    }

    fn forward(&self, xs: &Tensor, is_causal: bool, hooks: &mut Hooks<'_>) -> Result<Tensor> {
        let normed = self.norm1.forward(xs)?;
        let (q, k, v) = (self.query.forward(&normed)?, self.key.forward(&normed)?, self.value.forward(&normed)?);
        let attending = Attending { heads: self.heads, is_causal, is_cross: false };
        let attended = attention(&q, &k, &v, attending, hooks)?;
        let xs = (xs + self.output.forward(&attended)?)?;
        let inner = self.activation.forward(&self.fc1.forward(&self.norm2.forward(&xs)?)?)?;
        Ok((&xs + self.fc2.forward(&inner)?)?)
    }

    /// What attention would give if every token looked only at itself: its own value, projected (MaskCLIP).
    pub(super) fn value_path(&self, xs: &Tensor) -> Result<Tensor> {
        self.output.forward(&self.value.forward(&self.norm1.forward(xs)?)?)
    }
}

pub(super) struct Encoder {
    pub(super) layers: Vec<Layer>,
}

/// The states before and after the last layer, (batch, length, width).
pub(super) struct Encoded {
    pub(super) before_last: Tensor,
    pub(super) last: Tensor,
}

impl Encoder {
    pub(super) fn load(sizes: Sizes, vb: &Tensors<'_>) -> Result<Self> {
        let fits = sizes.width > 0 && sizes.heads > 0 && sizes.width.is_multiple_of(sizes.heads);
        if !fits || sizes.layers == 0 || sizes.inner == 0 {
            return Err(ModelError::BadInput(format!(
                "the configuration asks for {} layers of {} heads over a width of {}",
                sizes.layers, sizes.heads, sizes.width
            )));
        }
        let layers = vb.pp("layers");
        let layers: Result<_> = (0..sizes.layers).map(|i| Layer::load(sizes, &layers.pp(i))).collect();
        Ok(Self { layers: layers? })
    }

    pub(super) fn forward(
        &self,
        xs: Tensor,
        is_causal: bool,
        hooks: &mut Hooks<'_>,
        cx: &TaskCx<'_>,
    ) -> Result<Encoded> {
        let count = self.layers.len();
        let before_last = self.run(xs, 0..count.saturating_sub(1), is_causal, hooks, cx)?;
        let last = self.run(before_last.clone(), count.saturating_sub(1)..count, is_causal, hooks, cx)?;
        Ok(Encoded { before_last, last })
    }

    /// The states behind some of the layers of the states before them.
    pub(super) fn run(
        &self,
        mut xs: Tensor,
        layers: Range<usize>,
        is_causal: bool,
        hooks: &mut Hooks<'_>,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        for layer in self.layers.get(layers).unwrap_or_default() {
            cx.checkpoint()?;
            let site = hooks.next_site(false);
            hooks.look(site, Seen::Before(&xs))?;
            xs = layer.forward(&xs, is_causal, hooks)?;
            hooks.look(site, Seen::After(&xs))?;
        }
        Ok(xs)
    }
}
