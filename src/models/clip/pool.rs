//! SigLIP's head: a learned query attends to all patches, an MLP follows (transformers `SiglipMultiheadAttentionPoolingHead`).

use crate::models::tensors::Tensors;
use candle_core::Tensor;

use super::encoder::Sizes;
use crate::models::error::Result;
use crate::models::hook::Hooks;
use crate::models::kernels::{Activation, Attending, LayerNorm, Linear, attention};

pub(super) struct PoolHead {
    /// The learned query, projected for attention: (1, 1, width).
    query: Tensor,
    key: Linear,
    value: Linear,
    output: Linear,
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    activation: Activation,
}

impl PoolHead {
    pub(super) fn load(sizes: Sizes, vb: &Tensors<'_>) -> Result<Self> {
        let Sizes { width, inner, heads, activation, epsilon, .. } = sizes;
        let attention = vb.pp("attention");
        let probe = vb.get((1, 1, width), "probe")?;
        Ok(Self {
            query: Linear::load(width, width, &attention.pp("q_proj"))?.forward(&probe)?,
            key: Linear::load(width, width, &attention.pp("k_proj"))?,
            value: Linear::load(width, width, &attention.pp("v_proj"))?,
            output: Linear::load(width, width, &attention.pp("out_proj"))?,
            norm: LayerNorm::load(width, epsilon, &vb.pp("layernorm"))?,
            fc1: Linear::load(width, inner, &vb.pp("mlp.fc1"))?,
            fc2: Linear::load(inner, width, &vb.pp("mlp.fc2"))?,
            heads,
            activation,
        })
    }

    /// One embedding (batch, width) of normed states (batch, tokens, width).
    pub(super) fn forward(&self, states: &Tensor, hooks: &mut Hooks<'_>) -> Result<Tensor> {
        let (batch, _, width) = states.dims3()?;
        let (k, v) = (self.key.forward(states)?, self.value.forward(states)?);
        let q = self.query.broadcast_as((batch, 1, width))?.contiguous()?;
        let attending = Attending { heads: self.heads, is_causal: false, is_cross: true };
        Ok(self.finish(&attention(&q, &k, &v, attending, hooks)?)?.squeeze(1)?)
    }

    /// One embedding for each state, as if there were no other: then attention gives that state's value. (batch, tokens, width).
    pub(super) fn each(&self, states: &Tensor) -> Result<Tensor> {
        self.finish(&self.value.forward(states)?)
    }

    fn finish(&self, attended: &Tensor) -> Result<Tensor> {
        let xs = self.output.forward(attended)?;
        let inner = self.activation.forward(&self.fc1.forward(&self.norm.forward(&xs)?)?)?;
        Ok((&xs + self.fc2.forward(&inner)?)?)
    }
}
