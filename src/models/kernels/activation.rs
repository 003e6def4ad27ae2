//! Activations, by the names that `config.json` files use. On the CPU in 32 bits in one pass; elsewhere candle's.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Shape, Tensor};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};
use serde::Deserialize;

use super::fresh::{Places, written};
use super::simd::{gelu, swish, wide};
use crate::models::error::Result;

/// Numbers that one thread handles at a time.
const BLOCK: usize = 1 << 15;

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
        if is_fast(xs) {
            return Ok(xs.contiguous()?.apply_op1_no_bwd(&Elementwise(self))?);
        }
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
    if !xs.dim(D::Minus1)?.is_multiple_of(2) {
        return Err(crate::models::ModelError::BadInput("GEGLU needs an even number of channels".to_owned()));
    }
    if is_fast(xs) {
        return Ok(xs.contiguous()?.apply_op1_no_bwd(&Geglu)?);
    }
    let half = xs.dim(D::Minus1)? / 2;
    Ok((xs.narrow(D::Minus1, 0, half)? * xs.narrow(D::Minus1, half, half)?.gelu_erf()?)?)
}

/// candle's operations know their way back.
fn is_fast(xs: &Tensor) -> bool {
    xs.device().is_cpu() && xs.dtype() == DType::F32 && !xs.track_op()
}

struct Elementwise(Activation);

impl CustomOp1 for Elementwise {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let xs = super::contiguous(xs, layout)?;
        let activate = |out: &mut Places, xs: &[f32]| match self.0 {
            Activation::QuickGelu => map(xs, out, |x| swish(x, 1.702)),
            Activation::Gelu => map(xs, out, gelu),
            // x (1 + tanh u) / 2 is x * sigmoid(2 u).
            Activation::GeluTanh => map(xs, out, |x| swish(x, 1.595_769 * (1.0 + 0.044_715 * x * x))),
            Activation::Silu => map(xs, out, |x| swish(x, 1.0)),
        };
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: blocks of both are equally long, and every number of a block is mapped.
        let out = unsafe {
            written(xs.len(), |out| {
                out.par_chunks_mut(BLOCK).zip(xs.par_chunks(BLOCK)).for_each(|(out, xs)| activate(out, xs));
                candle_core::Result::Ok(())
            })
        }?;
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

#[inline(always)]
fn map(xs: &[f32], out: &mut Places, f: impl Fn(f32) -> f32) {
    wide(
        #[inline(always)]
        || {
            out.iter_mut().zip(xs).for_each(|(out, x)| {
                out.write(f(*x));
            });
        },
    );
}

struct Geglu;

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let xs = super::contiguous(xs, layout)?;
        let mut dims = layout.dims().to_vec();
        let width = dims.pop().unwrap_or(0) / 2;
        dims.push(width);
        if width == 0 {
            return Ok((CpuStorage::F32(Vec::new()), dims.into()));
        }
        let gated = |out: &mut Places, xs: &[f32]| {
            for (out, xs) in out.chunks_exact_mut(width).zip(xs.chunks_exact(2 * width)) {
                let (values, gates) = xs.split_at(width);
                wide(
                    #[inline(always)]
                    || {
                        let inputs = values.iter().zip(gates);
                        out.iter_mut().zip(inputs).for_each(|(out, (value, gate))| {
                            out.write(value * gelu(*gate));
                        });
                    },
                );
            }
        };
        let rows = (BLOCK / width).max(1);
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: blocks are whole rows, of which those of the input are twice as long, and all places of a row are written.
        let out = unsafe {
            written(xs.len() / 2, |out| {
                let blocks = out.par_chunks_mut(rows * width).zip(xs.par_chunks(rows * width * 2));
                blocks.for_each(|(out, xs)| gated(out, xs));
                candle_core::Result::Ok(())
            })
        }?;
        Ok((CpuStorage::F32(out), dims.into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    fn assert_close(got: &Tensor, want: &Tensor) {
        assert_eq!(got.dims(), want.dims());
        let difference = (got.to_dtype(DType::F64).unwrap() - want).unwrap().abs().unwrap();
        let relative = (difference / (want.abs().unwrap() + 1.0).unwrap()).unwrap();
        let worst = relative.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        assert!(worst < 4e-6, "{worst}");
    }

    #[test]
    fn one_pass_equals_candle_in_64_bits() {
        // More than one block, and a length that no register divides.
        let xs = Tensor::randn(0f32, 3.0, (5, 131, 78), &Device::Cpu).unwrap();
        let wide = xs.to_dtype(DType::F64).unwrap();
        for activation in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            assert_close(&activation.forward(&xs).unwrap(), &activation.forward(&wide).unwrap());
        }
        assert_close(&geglu(&xs).unwrap(), &geglu(&wide).unwrap());
        assert!(geglu(&Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap()).is_err());
    }
}
