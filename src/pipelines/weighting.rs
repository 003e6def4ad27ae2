//! What the weights of a prompt's fragments do to the states of its tokens.
//!
//! Each program has its own idea: A1111 multiplies (`emphasis.py`), ComfyUI goes away from the empty prompt (`sd1_clip.py`), Compel
//! does that too and blends in the prompt without what counts less than 1 (`embeddings_provider.py`).

use std::f64::consts::FRAC_PI_2;

use candle_core::{DType, Tensor};

use crate::job::sampling::Emphasis;
use crate::models::error::Result;
use crate::models::hook::{AttentionHook, Site};

/// Compel takes smaller weights as this one.
const LEAST: f64 = 1e-5;
/// Added to the score of what must not be looked at; in 16 bits as good as minus infinity, too.
const HIDDEN: f32 = -30_000.0;

/// States (1, length, width) with a weight for each position. `empty` gives those of an empty chunk.
pub(super) fn weighted(
    states: Tensor,
    weights: &[f64],
    emphasis: Emphasis,
    empty: &dyn Fn() -> Result<Tensor>,
) -> Result<Tensor> {
    if weights.iter().all(|weight| *weight == 1.0) {
        return Ok(states);
    }
    let dtype = states.dtype();
    let wide = states.to_dtype(DType::F32)?;
    let changed = match emphasis {
        Emphasis::A1111 => {
            let scaled = wide.broadcast_mul(&column(weights, &wide)?)?;
            let ratio = mean(&wide)? / mean(&scaled)?;
            (scaled * if ratio.is_finite() { ratio } else { 1.0 })?
        }
        Emphasis::A1111NoNorm => wide.broadcast_mul(&column(weights, &wide)?)?,
        Emphasis::ComfyUi | Emphasis::Compel => away_from(&empty()?.to_dtype(DType::F32)?, &wide, weights)?,
        Emphasis::Ignore | Emphasis::None => return Ok(states),
    };
    Ok(changed.to_dtype(dtype)?)
}

/// empty + weight * (states - empty), exactly the states where the weight is 1.
fn away_from(empty: &Tensor, states: &Tensor, weights: &[f64]) -> Result<Tensor> {
    let more: Vec<f64> = weights.iter().map(|weight| weight - 1.0).collect();
    Ok((states + (states - empty)?.broadcast_mul(&column(&more, states)?)?)?)
}

/// One number for each position, (1, length, 1).
fn column(values: &[f64], like: &Tensor) -> Result<Tensor> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    Ok(Tensor::from_vec(values, (1, like.dim(1)?, 1), like.device())?)
}

fn mean(states: &Tensor) -> Result<f64> {
    let values: Vec<f32> = states.flatten_all()?.to_vec1()?;
    Ok(values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64)
}

/// Compel's weights.
pub(super) struct Blend<'a> {
    /// Of each position.
    pub(super) weights: &'a [f64],
    /// Of each fragment of the whole prompt; 1 for those without tokens.
    pub(super) fragments: &'a [f64],
}

impl Blend<'_> {
    /// `states` (1, length, width) with these weights. `without` gives the states of the chunk when nothing looks at a fragment, or
    /// `None` if the chunk has nothing of it.
    pub(super) fn applied(
        &self,
        states: &Tensor,
        empty: &dyn Fn() -> Result<Tensor>,
        without: &dyn Fn(usize) -> Result<Option<Tensor>>,
    ) -> Result<Tensor> {
        let lifted = |states: Tensor| weighted(states, self.weights, Emphasis::Compel, empty);
        let base = lifted(states.clone())?;
        let (mut sum, mut total) = (base.clone(), 1.0);
        for (index, weight) in self.fragments.iter().enumerate().filter(|(_, weight)| **weight < 1.0) {
            let share = ((1.0 - weight.max(LEAST)) * FRAC_PI_2).tan();
            let part = without(index)?.map_or_else(|| Ok(base.clone()), lifted)?;
            sum = (sum + (part * share)?)?;
            total += share;
        }
        if total == 1.0 { Ok(base) } else { Ok((sum / total)?) }
    }
}

/// Keeps attention from looking at some positions.
pub(super) struct Masked {
    bias: Tensor,
}

impl Masked {
    /// For states like these; true where nothing looks.
    pub(super) fn new(masked: &[bool], like: &Tensor) -> Result<Self> {
        let bias: Vec<f32> = masked.iter().map(|masked| if *masked { HIDDEN } else { 0.0 }).collect();
        let bias = Tensor::from_vec(bias, (1, 1, 1, masked.len()), like.device())?;
        Ok(Self { bias: bias.to_dtype(like.dtype())? })
    }
}

impl AttentionHook for Masked {
    fn wants(&self, _: Site) -> bool {
        false
    }

    fn bias(&self, _: Site) -> Option<&Tensor> {
        Some(&self.bias)
    }

    fn observe(&mut self, _: Site, _: &Tensor) -> Result<()> {
        Ok(())
    }
}
