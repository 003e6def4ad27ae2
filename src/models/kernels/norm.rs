//! Group normalisation, with SiLU behind it where a net wants that. On the CPU in 32 bits in two passes; elsewhere candle's.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor};
use candle_nn::Module;

use super::fresh::{Places, written};
use super::gradient::{of_group_norm, traced};
use super::simd::{swish, wide};
use super::turns::{NUMBER, in_turns};
use crate::base::task::TaskCx;
use crate::models::error::Result;
use crate::models::tensors::Tensors;

/// Group normalisation (Wu and He 2018) over groups of channels.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// Reads `weight` and `bias`, (channels).
    ///
    /// # Errors
    /// If a tensor is missing or of another shape, or channels do not divide into groups.
    pub fn load(groups: usize, channels: usize, epsilon: f64, vb: &Tensors<'_>) -> Result<Self> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            let text = format!("{channels} channels do not divide into {groups} groups");
            return Err(crate::models::ModelError::BadInput(text));
        }
        Ok(Self { weight: vb.get(channels, "weight")?, bias: vb.get(channels, "bias")?, groups, epsilon })
    }

    /// Normalised (batch, channels, ..), of the same shape.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.run(xs, false, &TaskCx::detached())
    }

    /// The same, and then x * sigmoid(x).
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward_silu(&self, xs: &Tensor) -> Result<Tensor> {
        self.run(xs, true, &TaskCx::detached())
    }

    /// As [`Self::forward_silu`], with pauses for the task.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward_silu_in(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        self.run(xs, true, cx)
    }

    fn run(&self, xs: &Tensor, has_silu: bool, cx: &TaskCx<'_>) -> Result<Tensor> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        let is_frozen = !weight.track_op() && !bias.track_op();
        if is_frozen && xs.device().is_cpu() && xs.dtype() == DType::F32 {
            let op = Normalise { groups: self.groups, epsilon: self.epsilon, has_silu, cx };
            let how = (self.groups, self.epsilon, has_silu);
            return traced(
                xs,
                |xs| Ok(xs.contiguous()?.apply_op3_no_bwd(&self.weight, &self.bias, &op)?),
                move |xs, gradient| of_group_norm(xs, [&weight, &bias], how, gradient),
            );
        }
        let channels = weight.dim(0)?;
        let normed = candle_nn::GroupNorm::new(weight, bias, channels, self.groups, self.epsilon)?.forward(xs)?;
        Ok(if has_silu { normed.silu()? } else { normed })
    }
}

struct Normalise<'a> {
    groups: usize,
    epsilon: f64,
    has_silu: bool,
    cx: &'a TaskCx<'a>,
}

impl CustomOp3 for Normalise<'_> {
    fn name(&self) -> &'static str {
        "group-norm"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        xs_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let slice = |storage, layout: &Layout| super::contiguous(storage, layout);
        let (xs, weight) = (slice(xs, xs_layout)?, slice(weight, weight_layout)?);
        let bias = slice(bias, bias_layout)?;
        let dims = xs_layout.dims();
        let (batch, channels) = (dims.first().copied().unwrap_or(0), dims.get(1).copied().unwrap_or(0));
        if channels != weight.len() || xs.is_empty() {
            candle_core::bail!("a norm of {} channels was given {dims:?}", weight.len());
        }
        let plane = xs.len() / (batch * channels);
        let members = channels / self.groups;
        let (count, epsilon, has_silu) = (self.groups, self.epsilon, self.has_silu);
        let normalise = |index: usize, out: &mut Places, xs: &[f32]| {
            let (mean, scale) = moments(xs, epsilon);
            let first = index % count * members;
            let planes = out.chunks_exact_mut(plane).zip(xs.chunks_exact(plane));
            for ((out, xs), (weight, bias)) in planes.zip(weight[first..].iter().zip(&bias[first..])) {
                let gain = scale * weight;
                let offset = bias - mean * gain;
                wide(
                    #[inline(always)]
                    || {
                        let pairs = out.iter_mut().zip(xs);
                        if has_silu {
                            pairs.for_each(|(out, x)| {
                                out.write(swish(x * gain + offset, 1.0));
                            });
                        } else {
                            pairs.for_each(|(out, x)| {
                                out.write(x * gain + offset);
                            });
                        }
                    },
                );
            }
        };
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: groups are made of whole planes, and all places of a plane are written.
        let out = unsafe {
            written(xs.len(), |out| {
                let groups = out.chunks_mut(members * plane).zip(xs.chunks(members * plane));
                in_turns(groups.enumerate(), members * plane * NUMBER, self.cx, |(index, (out, xs))| {
                    normalise(index, out, xs);
                })
            })
        }?;
        Ok((CpuStorage::F32(out), xs_layout.shape().clone()))
    }
}

/// Mean and 1 / deviation, summed in an order that depends on nothing but the length.
#[inline(always)]
pub(super) fn moments(xs: &[f32], epsilon: f64) -> (f32, f32) {
    let count = xs.len() as f64;
    let mean = wide(
        #[inline(always)]
        || sum(xs, |x| x),
    ) / count;
    let shift = mean as f32;
    let variance = wide(
        #[inline(always)]
        || sum(xs, |x| (x - shift) * (x - shift)),
    ) / count;
    (shift, (1.0 / (variance + epsilon).sqrt()) as f32)
}

/// The sum of `f` over `xs`: blocks in 32 bits, sixteen at a time so that the compiler can use wide registers, then in 64 bits.
#[inline(always)]
fn sum(xs: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    const LANES: usize = 16;
    xs.chunks(LANES * 64)
        .map(|block| {
            let mut lanes = [0f32; LANES];
            let chunks = block.chunks_exact(LANES);
            let rest: f64 = chunks.remainder().iter().map(|x| f64::from(f(*x))).sum();
            for chunk in chunks {
                lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += f(*x));
            }
            rest + lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    #[test]
    fn equals_candle_in_64_bits() {
        for (channels, groups, height, width) in [(8, 4, 3, 5), (12, 1, 1, 1), (6, 6, 40, 31)] {
            let random = |mean: f32, shape: &[usize]| Tensor::randn(mean, 2.0, shape, &Device::Cpu).unwrap();
            let (weight, bias) = (random(1.0, &[channels]), random(0.0, &[channels]));
            let xs = random(30.0, &[2, channels, height, width]);
            let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let exact = GroupNorm { weight: wide(&weight), bias: wide(&bias), groups, epsilon: 1e-5 };
            let norm = GroupNorm { weight, bias, groups, epsilon: 1e-5 };
            let cx = TaskCx::detached();
            for has_silu in [false, true] {
                let (got, want) =
                    (norm.run(&xs, has_silu, &cx).unwrap(), exact.run(&wide(&xs), has_silu, &cx).unwrap());
                let worst = (wide(&got) - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
                assert!(worst < 3e-5, "{channels} in {groups}: {worst}");
            }
        }
    }
}
