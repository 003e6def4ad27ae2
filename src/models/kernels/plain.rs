//! Plain work on large tensors: sums, and pictures at twice the size. On the CPU in 32 bits on all threads; elsewhere candle's.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Shape, Tensor};

use super::contiguous;
use super::fresh::{Places, written};
use super::gradient::traced;
use super::simd::wide;
use super::turns::{NUMBER, in_turns};
use crate::base::task::TaskCx;
use crate::models::error::Result;

/// Numbers that are added at a time.
const BLOCK: usize = 1 << 16;

fn is_fast(xs: &Tensor) -> bool {
    xs.device().is_cpu() && xs.dtype() == DType::F32
}

/// The sum of two tensors of one shape.
///
/// # Errors
/// If shapes differ, or the task is cancelled.
pub fn sum(xs: &Tensor, ys: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    if !is_fast(xs) || !is_fast(ys) || xs.dims() != ys.dims() || (xs.track_op() && ys.track_op()) {
        return Ok((xs + ys)?);
    }
    let add = |xs: &Tensor, ys: &Tensor| Ok(xs.contiguous()?.apply_op2_no_bwd(&ys.contiguous()?, &Sum { cx })?);
    match ys.track_op() {
        true => traced(ys, |ys| add(xs, ys), |_, gradient| Ok(gradient.clone())),
        false => traced(xs, |xs| add(xs, ys), |_, gradient| Ok(gradient.clone())),
    }
}

/// `xs` + `by`, which is stretched to the shape of `xs`. If only `xs` wants a gradient, none is computed for `by`.
///
/// # Errors
/// If shapes do not fit.
pub fn shifted(xs: &Tensor, by: &Tensor) -> Result<Tensor> {
    if by.track_op() || !xs.device().is_cpu() {
        return Ok(xs.broadcast_add(by)?);
    }
    traced(xs, |xs| Ok(xs.broadcast_add(by)?), |_, gradient| Ok(gradient.clone()))
}

/// The two one after the other along `axis`. If only one wants a gradient, none is computed for the other.
///
/// # Errors
/// If shapes do not fit.
pub fn joined([first, second]: [&Tensor; 2], axis: usize) -> Result<Tensor> {
    let join = |first: &Tensor, second: &Tensor| Ok(Tensor::cat(&[first, second], axis)?);
    let lengths = [first.dim(axis)?, second.dim(axis)?];
    match (first.track_op(), second.track_op()) {
        _ if !first.device().is_cpu() => join(first, second),
        (true, false) => traced(
            first,
            |first| join(first, second),
            move |_, gradient| Ok(gradient.narrow(axis, 0, lengths[0])?.contiguous()?),
        ),
        (false, true) => traced(
            second,
            |second| join(first, second),
            move |_, gradient| Ok(gradient.narrow(axis, lengths[0], lengths[1])?.contiguous()?),
        ),
        _ => join(first, second),
    }
}

struct Sum<'a> {
    cx: &'a TaskCx<'a>,
}

impl CustomOp2 for Sum<'_> {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        xs_layout: &Layout,
        ys: &CpuStorage,
        ys_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (xs, ys) = (contiguous(xs, xs_layout)?, contiguous(ys, ys_layout)?);
        if xs.len() != ys.len() {
            candle_core::bail!("{} numbers cannot be added to {}", xs.len(), ys.len());
        }
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: all three are equally long, and so are their blocks.
        let out = unsafe {
            written(xs.len(), |out| {
                let blocks = out.chunks_mut(BLOCK).zip(xs.chunks(BLOCK)).zip(ys.chunks(BLOCK));
                in_turns(blocks, BLOCK * NUMBER, self.cx, |((out, xs), ys)| {
                    wide(
                        #[inline(always)]
                        || {
                            out.iter_mut().zip(xs).zip(ys).for_each(|((out, x), y)| {
                                out.write(x + y);
                            });
                        },
                    );
                })
            })
        }?;
        Ok((CpuStorage::F32(out), xs_layout.shape().clone()))
    }
}

/// (batch, channels, h, w) -> (batch, channels, 2 h, 2 w): every pixel four times.
///
/// # Errors
/// If there are not four axes, or the task is cancelled.
pub fn doubled(xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    let (batch, channels, height, width) = xs.dims4()?;
    match (is_fast(xs), xs.track_op()) {
        (true, _) => traced(
            xs,
            |xs| Ok(xs.contiguous()?.apply_op1_no_bwd(&Doubled { cx })?),
            move |_, gradient| {
                let pairs = gradient.reshape(&[batch, channels, height, 2, width, 2][..])?;
                Ok(pairs.sum(5)?.sum(3)?)
            },
        ),
        (false, false) => Ok(xs.upsample_nearest2d(2 * height, 2 * width)?),
        // The way back of the operation above is wrong where its input is used elsewhere too.
        (false, true) => {
            let pixels = xs.reshape(&[batch, channels, height, 1, width, 1][..])?;
            let pairs = pixels.broadcast_as(&[batch, channels, height, 2, width, 2][..])?.contiguous()?;
            Ok(pairs.reshape((batch, channels, 2 * height, 2 * width))?)
        }
    }
}

struct Doubled<'a> {
    cx: &'a TaskCx<'a>,
}

impl CustomOp1 for Doubled<'_> {
    fn name(&self) -> &'static str {
        "doubled"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let xs = contiguous(xs, layout)?;
        let area = (height * width).max(1);
        let double = |out: &mut Places, xs: &[f32]| {
            for (rows, xs) in out.chunks_exact_mut(4 * width).zip(xs.chunks_exact(width)) {
                for row in rows.chunks_exact_mut(2 * width) {
                    row.as_chunks_mut::<2>().0.iter_mut().zip(xs).for_each(|(pair, x)| {
                        pair[0].write(*x);
                        pair[1].write(*x);
                    });
                }
            }
        };
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: a plane becomes four times as large, and all places of its rows are written.
        let out = unsafe {
            written(4 * xs.len(), |out| {
                let planes = out.chunks_exact_mut(4 * area).zip(xs.chunks_exact(area));
                in_turns(planes, 4 * area * NUMBER, self.cx, |(out, xs)| double(out, xs))
            })
        }?;
        Ok((CpuStorage::F32(out), (batch, channels, 2 * height, 2 * width).into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::models::rng::TorchRng;
    use candle_core::Device;

    #[test]
    fn equal_candle_to_the_bit() {
        let cx = TaskCx::detached();
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [1, 40, 60, 50]] {
            let random = |seed: u64| {
                let numbers = TorchRng::new(seed).randn(shape.iter().product());
                Tensor::from_vec(numbers, &shape[..], &Device::Cpu).unwrap()
            };
            let (xs, ys) = (random(1), random(2));
            let bits = |t: Tensor| (t.dims().to_vec(), t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            assert_eq!(bits(sum(&xs, &ys, &cx).unwrap()), bits((&xs + &ys).unwrap()));
            let wanted = xs.upsample_nearest2d(2 * shape[2], 2 * shape[3]).unwrap();
            assert_eq!(bits(doubled(&xs, &cx).unwrap()), bits(wanted));
        }
    }
}
