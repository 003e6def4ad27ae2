//! Layer normalisation (Ba et al. 2016): candle's, which is one pass, with the way back that candle's lacks.

use candle_core::{D, DType, Tensor};
use candle_nn::Module;

use super::gradient::{of_layer_norm, traced};
use crate::models::error::Result;
use crate::models::tensors::Tensors;

/// Layer normalisation over the last axis.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, (width).
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(width: usize, epsilon: f64, vb: &Tensors<'_>) -> Result<Self> {
        Ok(Self { weight: vb.get(width, "weight")?, bias: vb.get(width, "bias")?, epsilon })
    }

    /// Normalised (.., width), of the same shape.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let Self { weight, bias, epsilon } = self;
        let is_frozen = !weight.track_op() && !bias.track_op();
        // candle's is for no more than 32 bits; ours has its way back on the CPU.
        if !is_frozen || xs.dtype() == DType::F64 || (xs.track_op() && !xs.device().is_cpu()) {
            let centred = xs.broadcast_sub(&xs.mean_keepdim(D::Minus1)?)?;
            let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
            let standard = centred.broadcast_div(&(variance + *epsilon)?.sqrt()?)?;
            return Ok(standard.broadcast_mul(weight)?.broadcast_add(bias)?);
        }
        let norm = candle_nn::LayerNorm::new(weight.clone(), bias.clone(), *epsilon);
        let (weight, epsilon) = (weight.clone(), *epsilon);
        traced(xs, |xs| Ok(norm.forward(xs)?), move |xs, gradient| of_layer_norm(xs, &weight, epsilon, gradient))
    }
}
