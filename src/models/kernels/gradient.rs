//! The way back through the kernels: gradients by what goes into them, from gradients by what comes out (reverse mode).
//!
//! A kernel runs as it always does; only where somebody asked for a gradient, its result is handed on together with the way back.
//! Invariant: weights are no part of a kernel's graph, so that no gradient is ever computed for them. A layer whose weights are
//! themselves variables is one of candle's.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp3, D, Layout, Shape, Storage, Tensor};

use super::attention::{Attending, causal_bias, merge, split};
use super::conv::{Conv, Geometry};
use super::linear::Linear;
use super::product::Panels;
use crate::models::error::{ModelError, Result};

/// Scores that are held at a time on the way back through attention.
const SCORES: usize = 1 << 22;

/// What `forward` makes of `xs`. If a gradient by `xs` is wanted, `back` makes it of `xs` and the gradient by the result; it has no
/// way of its own back.
pub(super) fn traced(
    xs: &Tensor,
    forward: impl FnOnce(&Tensor) -> Result<Tensor>,
    back: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !xs.track_op() {
        return forward(xs);
    }
    let out = Known::new(forward(&xs.detach())?);
    Ok(xs.apply_op1(Traced { out, back })?)
}

/// A result that has been computed already.
struct Known(Mutex<Option<Tensor>>);

impl Known {
    fn new(out: Tensor) -> Self {
        Self(Mutex::new(Some(out)))
    }

    /// Its numbers; asked for once.
    fn take(&self) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(out) = out else { candle_core::bail!("a kernel's result was asked for twice") };
        let out = out.force_contiguous()?;
        let (storage, layout) = out.storage_and_layout();
        match &*storage {
            Storage::Cpu(numbers) => Ok((numbers.clone(), layout.shape().clone())),
            _ => candle_core::bail!("kernels with gradients run on the CPU"),
        }
    }
}

struct Traced<B> {
    out: Known,
    back: B,
}

impl<B: Fn(&Tensor, &Tensor) -> Result<Tensor>> CustomOp1 for Traced<B> {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        self.out.take()
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        (self.back)(&xs.detach(), gradient).map(Some).map_err(ModelError::through_candle)
    }
}

/// `out`, which is the attention of queries, keys and values, with the way back to those of them that want a gradient.
pub(super) fn traced_attention([q, k, v]: [&Tensor; 3], out: Tensor, attending: Attending) -> Result<Tensor> {
    Ok(q.apply_op3(k, v, TracedAttention { out: Known::new(out), attending })?)
}

struct TracedAttention {
    out: Known,
    attending: Attending,
}

impl CustomOp3 for TracedAttention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.out.take()
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let all = of_attention([&q.detach(), &k.detach(), &v.detach()], gradient, self.attending);
        let [by_q, by_k, by_v] = all.map_err(ModelError::through_candle)?;
        let wanted = |xs: &Tensor, gradient: Tensor| xs.track_op().then_some(gradient);
        Ok((wanted(q, by_q), wanted(k, by_k), wanted(v, by_v)))
    }
}

/// Through softmax(q k' / sqrt(width)) v, a few queries at a time, for each head (Dao et al. 2022, appendix B): the scores are
/// computed anew, so that nothing of their size is kept from the way there.
fn of_attention([q, k, v]: [&Tensor; 3], gradient: &Tensor, attending: Attending) -> Result<[Tensor; 3]> {
    let heads = |xs: &Tensor| split(xs, attending.heads);
    let (q, k, v, gradient) = (heads(q)?, heads(k)?, heads(v)?, heads(gradient)?);
    let (batch, heads, queries, width) = q.dims4()?;
    let scale = 1.0 / (width as f64).sqrt();
    let together = (SCORES / (batch * heads * k.dim(2)?).max(1)).clamp(1, queries.max(1));
    let (keys_t, values_t) = (k.t()?, v.t()?);
    let (mut by_q, mut by_k, mut by_v) = (Vec::new(), k.zeros_like()?, v.zeros_like()?);
    for first in (0..queries).step_by(together) {
        let here = |xs: &Tensor| xs.narrow(2, first, together.min(queries - first))?.contiguous();
        let (q, gradient) = ((here(&q)? * scale)?, here(&gradient)?);
        let mut scores = q.matmul(&keys_t)?;
        if attending.is_causal {
            scores = scores.broadcast_add(&causal_bias(&scores, first)?)?;
        }
        let shares = candle_nn::ops::softmax_last_dim(&scores)?;
        let by_shares = gradient.matmul(&values_t)?;
        let mean = (&shares * &by_shares)?.sum_keepdim(D::Minus1)?;
        let by_scores = (&shares * by_shares.broadcast_sub(&mean)?)?;
        by_q.push((by_scores.matmul(&k)? * scale)?);
        by_k = (by_k + by_scores.t()?.matmul(&q)?)?;
        by_v = (by_v + shares.t()?.matmul(&gradient)?)?;
    }
    Ok([merge(&Tensor::cat(&by_q, 2)?)?, merge(&by_k)?, merge(&by_v)?])
}

impl Panels {
    /// The weights (outputs, depth) that were packed in panels of `WIDTH` outputs.
    pub(super) fn unpacked<const WIDTH: usize>(&self, outputs: usize, depth: usize) -> Vec<f32> {
        let (mut weight, mut buffer) = (vec![0f32; outputs * depth], Vec::new());
        for (panel, rows) in weight.chunks_mut(WIDTH * depth).enumerate() {
            let packed = self.get(panel * WIDTH * depth, WIDTH * depth, &mut buffer);
            for (lane, row) in rows.chunks_exact_mut(depth).enumerate() {
                row.iter_mut().zip(packed.iter().skip(lane).step_by(WIDTH)).for_each(|(to, from)| *to = *from);
            }
        }
        weight
    }
}

/// Through a linear layer of this many inputs and weights (outputs, inputs), from the gradient (.., outputs).
pub(super) fn of_linear(numbers: Vec<f32>, inputs: usize, gradient: &Tensor) -> Result<Tensor> {
    let outputs = gradient.dim(D::Minus1)?;
    let weight = Tensor::from_vec(numbers, (outputs, inputs), gradient.device())?;
    Linear::new(&weight.t()?.contiguous()?, None)?.forward(gradient)
}

/// Through a convolution with weights `forward` (outputs, inputs, taps) of pictures of these sides (batch, inputs, h, w): the same
/// taps, turned round, over the gradient, with zeros where the convolution took steps of more than a pixel.
pub(super) fn of_conv<const SIDE: usize>(
    forward: &[f32],
    dims: &[usize],
    geometry: Geometry,
    gradient: &Tensor,
) -> Result<Tensor> {
    let Geometry { stride, before, .. } = geometry;
    let (batch, outputs, rows, columns) = gradient.dims4()?;
    let [_, inputs, height, width] = *dims else { return Err(ModelError::BadInput(format!("no pictures: {dims:?}"))) };
    let taps = SIDE * SIDE;
    let mut turned = vec![0f32; forward.len()];
    for (at, taps_there) in forward.chunks_exact(taps).enumerate() {
        let (output, input) = (at / inputs, at % inputs);
        let to = &mut turned[(input * outputs + output) * taps..][..taps];
        to.iter_mut().rev().zip(taps_there).for_each(|(to, from)| *to = *from);
    }
    let turned = Tensor::from_vec(turned, (inputs, outputs, SIDE, SIDE), gradient.device())?;
    let spread = gradient.reshape(&[batch, outputs, rows, 1, columns, 1][..])?;
    let spread = spread.pad_with_zeros(3, 0, stride - 1)?.pad_with_zeros(5, 0, stride - 1)?;
    let spread = spread.reshape((batch, outputs, rows * stride, columns * stride))?;
    let lead = SIDE - 1 - before;
    // What is missing at the ends; where the last step left pixels over, more than `lead`.
    let cut = |xs: Tensor, axis: usize, length: usize| -> Result<Tensor> {
        let wanted = length + SIDE - 1 - lead;
        let here = xs.dim(axis)?;
        Ok(if here > wanted { xs.narrow(axis, 0, wanted)? } else { xs.pad_with_zeros(axis, 0, wanted - here)? })
    };
    let spread = cut(cut(spread, 2, height)?, 3, width)?;
    Conv::<SIDE>::new(&turned, None, Geometry { stride: 1, before: lead, after: 0 })?.forward(&spread)
}

/// Through (xs - mean) / deviation over the last axis; `gradient` makes the gradient by that, of that.
fn of_standardising(xs: &Tensor, epsilon: f64, gradient: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let centred = xs.broadcast_sub(&xs.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    let standard = centred.broadcast_div(&deviation)?;
    let gradient = gradient(&standard)?;
    let along = (&gradient * &standard)?.mean_keepdim(D::Minus1)?;
    let level = gradient.mean_keepdim(D::Minus1)?;
    let free = (gradient.broadcast_sub(&level)? - standard.broadcast_mul(&along)?)?;
    Ok(free.broadcast_div(&deviation)?)
}

/// Through a layer norm with this gain (width) over the last axis.
pub(super) fn of_layer_norm(xs: &Tensor, weight: &Tensor, epsilon: f64, gradient: &Tensor) -> Result<Tensor> {
    of_standardising(xs, epsilon, |_| Ok(gradient.broadcast_mul(weight)?))
}

/// Through a group norm of `groups` with this gain and offset (channels), and SiLU behind it if `has_silu`.
pub(super) fn of_group_norm(
    xs: &Tensor,
    [weight, bias]: [&Tensor; 2],
    (groups, epsilon, has_silu): (usize, f64, bool),
    gradient: &Tensor,
) -> Result<Tensor> {
    let (batch, channels) = (xs.dim(0)?, xs.dim(1)?);
    let grouped = xs.reshape((batch, groups, ()))?;
    let by_channel = |xs: &Tensor| xs.reshape((batch, channels, ()));
    let column = |xs: &Tensor| xs.reshape((1, channels, 1));
    let through = of_standardising(&grouped, epsilon, |standard| {
        let mut gradient = by_channel(gradient)?;
        if has_silu {
            let ys = by_channel(standard)?.broadcast_mul(&column(weight)?)?.broadcast_add(&column(bias)?)?;
            let share = candle_nn::ops::sigmoid(&ys)?;
            let slope = ((&ys * (1.0 - &share)?)? + 1.0)?;
            gradient = ((gradient * share)? * slope)?;
        }
        Ok(gradient.broadcast_mul(&column(weight)?)?.reshape(grouped.shape())?)
    });
    Ok(through?.reshape(xs.shape())?)
}
