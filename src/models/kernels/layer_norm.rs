//! Layer normalisation (Ba et al. 2016). On the CPU in 32 bits our own, with the way back that candle's lacks; elsewhere candle's.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Shape, Tensor};
use candle_nn::Module;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::fresh::{Places, written};
use super::gradient::{of_layer_norm, traced};
use super::norm::moments;
use super::simd::wide;
use crate::models::error::Result;
use crate::models::tensors::Tensors;

/// Numbers that one thread handles at a time.
const BLOCK: usize = 1 << 15;

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
        if !xs.device().is_cpu() || xs.dtype() != DType::F32 {
            return Ok(candle_nn::LayerNorm::new(weight.clone(), bias.clone(), *epsilon).forward(xs)?);
        }
        let op = Normalise { epsilon: *epsilon };
        let (gain, epsilon) = (weight.clone(), *epsilon);
        traced(
            xs,
            |xs| Ok(xs.contiguous()?.apply_op3_no_bwd(weight, bias, &op)?),
            move |xs, gradient| of_layer_norm(xs, &gain, epsilon, gradient),
        )
    }
}

struct Normalise {
    epsilon: f64,
}

impl CustomOp3 for Normalise {
    fn name(&self) -> &'static str {
        "layer-norm"
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
        let width = weight.len();
        if xs_layout.dims().last() != Some(&width) || bias.len() != width || width == 0 {
            candle_core::bail!("a norm of {width} channels was given {:?}", xs_layout.dims());
        }
        if !xs.len().is_multiple_of(width) {
            candle_core::bail!("{} numbers are no rows of {width}", xs.len());
        }
        let together = (BLOCK / width).max(1) * width;
        let normalise = |out: &mut Places, xs: &[f32]| {
            wide(
                #[inline(always)]
                || {
                    for (out, xs) in out.chunks_exact_mut(width).zip(xs.chunks_exact(width)) {
                        let (mean, scale) = moments(xs, self.epsilon);
                        for ((out, x), (weight, bias)) in out.iter_mut().zip(xs).zip(weight.iter().zip(bias)) {
                            out.write((x - mean) * scale * weight + bias);
                        }
                    }
                },
            );
        };
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: there are as many rows as numbers make up, and all places of a row are written.
        let out = unsafe {
            written(xs.len(), |out| {
                let blocks = out.par_chunks_mut(together).zip(xs.par_chunks(together));
                blocks.for_each(|(out, xs)| normalise(out, xs));
                candle_core::Result::Ok(())
            })
        }?;
        Ok((CpuStorage::F32(out), xs_layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    #[test]
    fn equals_64_bits() {
        for (rows, width) in [(1, 1), (3, 7), (700, 320), (2, 2049)] {
            let random = |mean: f32, shape: &[usize]| Tensor::randn(mean, 2.0, shape, &Device::Cpu).unwrap();
            let (weight, bias, xs) = (random(1.0, &[width]), random(0.0, &[width]), random(30.0, &[2, rows, width]));
            let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let exact = LayerNorm { weight: wide(&weight), bias: wide(&bias), epsilon: 1e-5 };
            let got = LayerNorm { weight, bias, epsilon: 1e-5 }.forward(&xs).unwrap();
            let want = exact.forward(&wide(&xs)).unwrap();
            assert_eq!(got.dims(), want.dims());
            let worst = (wide(&got) - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(worst < 5e-5, "{rows}x{width}: {worst}");
        }
    }
}
