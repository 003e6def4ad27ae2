//! Activations, by the names that `config.json` files use.

use candle_core::Tensor;
use serde::Deserialize;

use crate::models::error::Result;

/// An element-wise activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Activation {
    /// x * sigmoid(1.702 x), as OpenAI's CLIP has it.
    #[default]
    #[serde(rename = "quick_gelu")]
    QuickGelu,
    /// x * Phi(x), exactly.
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh approximation of it.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluTanh,
    /// x * sigmoid(x).
    #[serde(rename = "silu", alias = "swish")]
    Silu,
}

impl Activation {
    /// Applies it to any shape.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn forward(self, xs: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::QuickGelu => (xs * candle_nn::ops::sigmoid(&(xs * 1.702)?)?)?,
            Self::Gelu => xs.gelu_erf()?,
            Self::GeluTanh => xs.gelu()?,
            Self::Silu => xs.silu()?,
        })
    }
}

/// Splits the last axis (2 n) into value and gate and gives value * gelu(gate), (.., n), with the exact GELU as diffusers.
///
/// # Errors
/// If the last axis is odd.
pub fn geglu(xs: &Tensor) -> Result<Tensor> {
    let parts = xs.chunk(2, candle_core::D::Minus1)?;
    let [value, gate] = parts.as_slice() else {
        return Err(crate::models::ModelError::BadInput("GEGLU needs an even number of channels".to_owned()));
    };
    Ok((value * gate.gelu_erf()?)?)
}
