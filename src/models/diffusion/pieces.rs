//! Operations in pieces: what would keep the processor for long is done piece by piece with a checkpoint between, so that a task is
//! stopped and more urgent work is done at once, however large the picture.
//!
//! Invariant: pieces change no bit. Every number of a result is the same sum, in the same order, as if all were done at once.
//! Only on the CPU and in 32 bits; elsewhere operations are done whole.

use candle_core::{DType, Tensor};
use candle_nn::{Conv2d, Module};

use crate::base::task::TaskCx;
use crate::models::error::Result;
use crate::models::hook::Hooks;
use crate::models::kernels::{Attending, Conv3x3, Geometry, GroupNorm, attention};

/// Multiplications that take one thread some 20 to 40 ms.
const PIECE: usize = 2_000_000_000;
/// Numbers that one thread normalises, adds or copies in that time.
const NUMBERS: usize = 8 << 20;
/// Rows are cut at multiples of this, in narrow and in wide pictures, queries at multiples of [`QUERIES`]: kernels work on so many
/// of them at a time.
const ROWS: [usize; 2] = [12, 4];
/// From here on pictures are wide.
const WIDE: usize = 160;
const QUERIES: usize = 64;
/// What a score costs besides its two products, in multiplications for each head: exponentials.
const SCORE: usize = 40;

fn is_cut(xs: &Tensor) -> bool {
    xs.device().is_cpu() && xs.dtype() == DType::F32
}

/// How many units of work that cost `each` make a piece, as a multiple of `grain`.
fn units(each: usize, grain: usize) -> usize {
    let budget = PIECE * rayon::current_num_threads();
    (budget / each.max(1) / grain).max(1) * grain
}

/// Joins what `make` gives for each of `batch` items and each `at_once` of `length` units along axis `dim`: item, first unit, units.
fn joined(
    (batch, length, at_once): (usize, usize, usize),
    dim: usize,
    cx: &TaskCx<'_>,
    make: impl Fn(usize, usize, usize) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut whole: Option<Tensor> = None;
    for item in 0..batch {
        for from in (0..length).step_by(at_once.max(1)) {
            cx.checkpoint()?;
            let count = at_once.min(length - from);
            let piece = make(item, from, count)?.contiguous()?;
            if batch == 1 && count == length {
                return Ok(piece);
            }
            let target = match &whole {
                Some(whole) => whole,
                None => {
                    let side = |(axis, side): (usize, &usize)| match axis {
                        0 => batch,
                        axis if axis == dim => length,
                        _ => *side,
                    };
                    let shape: Vec<usize> = piece.dims().iter().enumerate().map(side).collect();
                    whole.insert(Tensor::zeros(shape, piece.dtype(), piece.device())?)
                }
            };
            target.narrow(0, item, 1)?.slice_set(&piece, dim, from)?;
        }
    }
    whole.ok_or_else(|| candle_core::Error::Msg("nothing to work on".to_owned()).into())
}

/// `conv` of (batch, inputs, h, w).
pub(super) fn conv3x3(conv: &Conv3x3, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    let (_, _, height, _) = xs.dims4()?;
    conv_of(conv, xs, height, 1, cx)
}

/// `conv` of (batch, inputs, h, w) at twice the size: pixels are repeated.
pub(super) fn conv3x3_doubled(conv: &Conv3x3, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    let (_, _, height, _) = xs.dims4()?;
    conv_of(conv, xs, 2 * height, 2, cx)
}

/// `conv` of `xs` enlarged `by` times to `height` rows.
fn conv_of(conv: &Conv3x3, xs: &Tensor, height: usize, by: usize, cx: &TaskCx<'_>) -> Result<Tensor> {
    let (batch, _, low, width) = xs.dims4()?;
    let geometry = conv.geometry();
    let enlarged = |xs: &Tensor| -> Result<Tensor> {
        let (_, _, height, _) = xs.dims4()?;
        Ok(if by == 1 { xs.clone() } else { xs.upsample_nearest2d(height * by, width * by)? })
    };
    let (rows, columns) = (geometry.places(height), geometry.places(width * by));
    let row = conv.cost() * columns;
    if !is_cut(xs) || batch * rows * row <= PIECE * rayon::current_num_threads() {
        cx.checkpoint()?;
        return conv.forward(&enlarged(xs)?);
    }
    let bare = conv.without_border();
    joined((batch, rows, units(row, ROWS[usize::from(columns >= WIDE)])), 2, cx, |item, from, count| {
        let xs = xs.narrow(0, item, 1)?;
        let needed = Needed::of(from, count, geometry, height);
        // The rows before enlarging, then of them enlarged the needed ones.
        let (first, end) = (needed.first / by, needed.end.div_ceil(by).min(low));
        let part = enlarged(&xs.narrow(2, first, end - first)?.contiguous()?)?;
        let part = part.narrow(2, needed.first - first * by, needed.end - needed.first)?;
        let part = part.pad_with_zeros(2, needed.above, needed.below)?;
        bare.forward(&part.pad_with_zeros(3, geometry.before, geometry.after)?)
    })
}

/// The rows that some rows of a convolution's result are made of.
#[derive(Debug, PartialEq, Eq)]
struct Needed {
    first: usize,
    end: usize,
    /// Rows of zeros.
    above: usize,
    /// Rows of zeros.
    below: usize,
}

impl Needed {
    fn of(from: usize, count: usize, geometry: Geometry, height: usize) -> Self {
        let Geometry { stride, before, .. } = geometry;
        // Counted from the first row of zeros.
        let (first, end) = (from * stride, (from + count - 1) * stride + Geometry::SIDE);
        Self {
            first: first.saturating_sub(before).min(height),
            end: end.saturating_sub(before).min(height),
            above: before.saturating_sub(first),
            below: end.saturating_sub(before + height),
        }
    }
}

/// A 1x1 convolution of (batch, inputs, h, w).
pub(super) fn conv1x1(conv: &Conv2d, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    if !is_cut(xs) {
        cx.checkpoint()?;
        return Ok(conv.forward(xs)?);
    }
    // As a product of matrices it takes a fraction of candle's time for any convolution.
    let (batch, _, height, width) = xs.dims4()?;
    let weight = conv.weight().flatten_from(1)?;
    let (outputs, inputs) = weight.dims2()?;
    let at_once = (PIECE / (outputs * inputs * width).max(1)).max(1);
    joined((batch, height, at_once), 2, cx, |item, from, count| {
        let part = xs.narrow(0, item, 1)?.narrow(2, from, count)?.reshape((inputs, count * width))?;
        let mut out = weight.matmul(&part)?;
        if let Some(bias) = conv.bias() {
            out = out.broadcast_add(&bias.unsqueeze(1)?)?;
        }
        Ok(out.reshape((1, outputs, count, width))?)
    })
}

/// Group normalisation and SiLU of (batch, channels, h, w).
pub(super) fn norm_silu(norm: &GroupNorm, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    let (batch, channels, height, width) = xs.dims4()?;
    let group = channels / norm.groups().max(1) * height * width;
    if !is_cut(xs) || xs.elem_count() <= NUMBERS {
        cx.checkpoint()?;
        return norm.forward_silu(xs);
    }
    let groups = (NUMBERS * rayon::current_num_threads() / group.max(1)).clamp(1, norm.groups());
    let members = channels / norm.groups();
    joined((batch, channels, groups * members), 1, cx, |item, from, count| {
        let part = norm.part(from / members, count / members)?;
        part.forward_silu(&xs.narrow(0, item, 1)?.narrow(1, from, count)?)
    })
}

/// The sum of two tensors (batch, channels, h, w) of one shape.
pub(super) fn sum(xs: &Tensor, ys: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    let (batch, channels, height, width) = xs.dims4()?;
    cx.checkpoint()?;
    if !is_cut(xs) || xs.elem_count() <= NUMBERS || xs.dims() != ys.dims() {
        return Ok((xs + ys)?);
    }
    let at_once = (NUMBERS / (height * width).max(1)).max(1);
    joined((batch, channels, at_once), 1, cx, |item, from, count| {
        let part = |xs: &Tensor| xs.narrow(0, item, 1)?.narrow(1, from, count);
        Ok((part(xs)? + part(ys)?)?)
    })
}

/// What `layers` makes of each row of (batch, length, width), at a cost of `each` multiplications a row.
pub(super) fn rows(
    xs: &Tensor,
    each: usize,
    cx: &TaskCx<'_>,
    layers: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (batch, length, _) = xs.dims3()?;
    if !is_cut(xs) || batch * length * each <= PIECE {
        cx.checkpoint()?;
        return layers(xs);
    }
    let at_once = (PIECE / each.max(1) / QUERIES).max(1) * QUERIES;
    joined((batch, length, at_once), 1, cx, |item, from, count| {
        layers(&xs.narrow(0, item, 1)?.narrow(1, from, count)?.contiguous()?)
    })
}

/// [`attention`]; whole where a hook looks.
pub(super) fn attend(
    [q, k, v]: [&Tensor; 3],
    attending: Attending,
    hooks: &mut Hooks<'_>,
    cx: &TaskCx<'_>,
) -> Result<Tensor> {
    let ((batch, queries, channels), (_, keys, _)) = (q.dims3()?, k.dims3()?);
    let each = keys * (2 * channels + SCORE * attending.heads);
    let is_small = batch * queries * each <= PIECE * rayon::current_num_threads();
    if is_small || !is_cut(q) || attending.is_causal || hooks.is_watched() {
        cx.checkpoint()?;
        return attention(q, k, v, attending, hooks);
    }
    joined((batch, queries, units(each, QUERIES)), 1, cx, |item, from, count| {
        let [q, k, v] = [q.narrow(0, item, 1)?.narrow(1, from, count)?, k.narrow(0, item, 1)?, v.narrow(0, item, 1)?];
        attention(&q, &k, &v, attending, &mut Hooks::none())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;

    use candle_core::Device;
    use candle_nn::VarBuilder;

    use super::*;
    use crate::models::rng::TorchRng;

    fn random(seed: u64, shape: &[usize]) -> Tensor {
        let numbers = TorchRng::new(seed).randn(shape.iter().product());
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    fn weights(tensors: &[(&str, Tensor)]) -> VarBuilder<'static> {
        let tensors: HashMap<String, Tensor> =
            tensors.iter().map(|(name, t)| ((*name).to_owned(), t.clone())).collect();
        VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
    }

    /// Numbers of bits: equal means equal.
    fn bits(tensor: &Tensor) -> (Vec<usize>, Vec<u32>) {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        (tensor.dims().to_vec(), values.into_iter().map(f32::to_bits).collect())
    }

    /// With one thread, so that a piece is as small as it gets.
    fn alone<T: Send>(run: impl Fn() -> T + Send + Sync) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(run)
    }

    #[test]
    fn pieces_of_convolutions_change_no_bit() {
        let same = Geometry::SAME;
        let halving = Geometry { stride: 2, ..same };
        let lopsided = Geometry { stride: 2, before: 0, after: 1 };
        for (geometry, inputs, outputs, batch, height, width) in [
            (same, 320, 320, 2, 64, 64),
            (same, 480, 320, 1, 50, 70),
            (same, 200, 256, 1, 31, 300),
            (halving, 320, 320, 2, 90, 100),
            (lopsided, 256, 256, 1, 129, 131),
        ] {
            let vb = weights(&[
                ("weight", (random(1, &[outputs, inputs, 3, 3]) * 0.02).unwrap()),
                ("bias", random(2, &[outputs])),
            ]);
            let conv = Conv3x3::load(inputs, outputs, geometry, &vb).unwrap();
            let xs = random(3, &[batch, inputs, height, width]);
            let (cut, whole) =
                alone(|| (conv3x3(&conv, &xs, &TaskCx::detached()).unwrap(), conv.forward(&xs).unwrap()));
            assert!(bits(&cut) == bits(&whole), "{geometry:?} {inputs} {height}x{width}");
            if geometry.stride == 1 {
                let low = xs.narrow(2, 0, height / 2).unwrap().narrow(3, 0, width / 2).unwrap().contiguous().unwrap();
                let doubled = low.upsample_nearest2d(height / 2 * 2, width / 2 * 2).unwrap();
                let (cut, whole) = alone(|| {
                    (conv3x3_doubled(&conv, &low, &TaskCx::detached()).unwrap(), conv.forward(&doubled).unwrap())
                });
                assert!(bits(&cut) == bits(&whole), "doubled {inputs} {height}x{width}");
            }
        }
    }

    #[test]
    fn pieces_of_everything_else_change_no_bit() {
        let cx = TaskCx::detached();
        let xs = random(4, &[2, 24, 460, 470]);
        let vb = weights(&[("weight", random(5, &[24])), ("bias", random(6, &[24]))]);
        let norm = GroupNorm::load(8, 24, 1e-6, &vb).unwrap();
        let ys = random(7, &[2, 24, 460, 470]);
        alone(|| {
            let cx = TaskCx::detached();
            assert!(bits(&norm_silu(&norm, &xs, &cx).unwrap()) == bits(&norm.forward_silu(&xs).unwrap()));
            assert!(bits(&sum(&xs, &ys, &cx).unwrap()) == bits(&(&xs + &ys).unwrap()));
        });
        let vb = weights(&[("weight", random(8, &[600, 512, 1, 1])), ("bias", random(9, &[600]))]);
        let conv = candle_nn::conv2d(512, 600, 1, candle_nn::Conv2dConfig::default(), vb).unwrap();
        let xs = random(10, &[2, 512, 70, 60]);
        let whole = xs.narrow(2, 0, 30).unwrap().contiguous().unwrap();
        let cut = conv1x1(&conv, &xs, &cx).unwrap().narrow(2, 0, 30).unwrap();
        assert!(bits(&cut) == bits(&conv1x1(&conv, &whole, &cx).unwrap()));
        let off = (conv.forward(&xs).unwrap() - conv1x1(&conv, &xs, &cx).unwrap()).unwrap().abs().unwrap();
        assert!(off.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-3);
        let vb = weights(&[("weight", random(11, &[1000, 800])), ("bias", random(12, &[1000]))]);
        let linear = candle_nn::linear(800, 1000, vb).unwrap();
        let xs = random(13, &[2, 1700, 800]);
        let cut = rows(&xs, 800_000, &cx, |xs| Ok(linear.forward(xs)?)).unwrap();
        assert!(bits(&cut) == bits(&linear.forward(&xs).unwrap()));
        let [q, k, v] = [14, 15, 16].map(|seed| random(seed, &[2, 1500, 128]));
        let attending = Attending { heads: 8, is_causal: false, is_cross: false };
        alone(|| {
            let cx = TaskCx::detached();
            let cut = attend([&q, &k, &v], attending, &mut Hooks::none(), &cx).unwrap();
            assert!(bits(&cut) == bits(&attention(&q, &k, &v, attending, &mut Hooks::none()).unwrap()));
        });
    }

    #[test]
    fn rows_that_are_needed() {
        let same = Geometry::SAME;
        assert_eq!(Needed::of(0, 2, same, 9), Needed { first: 0, end: 3, above: 1, below: 0 });
        assert_eq!(Needed::of(4, 2, same, 9), Needed { first: 3, end: 7, above: 0, below: 0 });
        assert_eq!(Needed::of(8, 1, same, 9), Needed { first: 7, end: 9, above: 0, below: 1 });
        let lopsided = Geometry { stride: 2, before: 0, after: 1 };
        assert_eq!(Needed::of(3, 1, lopsided, 8), Needed { first: 6, end: 8, above: 0, below: 1 });
    }
}
