//! Scaled dot-product attention with an optional bias, open to a hook.

use candle_core::{D, DType, Device, Tensor};

use crate::models::error::Result;
use crate::models::hook::Hooks;

/// (batch, length, heads * width) -> (batch, heads, length, width), contiguous.
///
/// # Errors
/// If the channels do not divide by `heads`.
pub fn split_heads(xs: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, length, channels) = xs.dims3()?;
    Ok(xs.reshape((batch, length, heads, channels / heads))?.transpose(1, 2)?.contiguous()?)
}

/// (batch, heads, length, width) -> (batch, length, heads * width).
///
/// # Errors
/// If the tensor library fails.
pub fn merge_heads(xs: &Tensor) -> Result<Tensor> {
    let (batch, heads, length, width) = xs.dims4()?;
    Ok(xs.transpose(1, 2)?.reshape((batch, length, heads * width))?)
}

/// softmax(q k' / sqrt(width) + bias) v for q (batch, heads, queries, width), k and v (batch, heads, keys, width).
/// `bias` and the hook's own bias broadcast to (batch, heads, queries, keys).
///
/// # Errors
/// If shapes do not fit, or the hook stops the net.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    bias: Option<&Tensor>,
    hooks: &mut Hooks<'_>,
    is_cross: bool,
) -> Result<Tensor> {
    let site = hooks.enter(is_cross);
    let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
    let mut scores = (q * scale)?.matmul(&k.t()?)?;
    if let Some(bias) = bias {
        scores = scores.broadcast_add(bias)?;
    }
    if let Some(bias) = hooks.bias(site) {
        scores = scores.broadcast_add(bias)?;
    }
    let probabilities = candle_nn::ops::softmax_last_dim(&scores)?;
    hooks.observe(site, &probabilities)?;
    Ok(probabilities.matmul(v)?)
}

/// The bias (1, 1, length, length) that hides later positions from earlier ones.
///
/// # Errors
/// If the tensor library fails.
pub fn causal_bias(length: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let values: Vec<f32> =
        (0..length * length).map(|i| if i % length > i / length { f32::NEG_INFINITY } else { 0.0 }).collect();
    Ok(Tensor::from_vec(values, (1, 1, length, length), device)?.to_dtype(dtype)?)
}
