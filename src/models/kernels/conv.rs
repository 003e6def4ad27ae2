//! Convolutions with 3x3 and 1x1 taps. On the CPU our own: in 32 bits by Winograd's filtering where that pays, else by unfolding, and in
//! bf16 by tile registers, where there are some; everywhere else candle's.

use std::sync::Arc;

use crate::models::tensors::Tensors;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};

use super::gradient::{of_conv, traced};
use super::product::{Panels, Pause, ROWS};
use super::tiles::{self, Filters};
use super::word::multiplies_in_bf16;
use super::{contiguous, direct, winograd, with_numbers};
use crate::base::task::TaskCx;
use crate::models::error::Result;

/// Where the kernel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Pixels from one place to the next, on both axes.
    pub stride: usize,
    /// Zeros at the left and the top.
    pub before: usize,
    /// Zeros at the right and the bottom.
    pub after: usize,
}

impl Geometry {
    /// Keeps the size, with 3x3 taps.
    pub const SAME: Self = Self { stride: 1, before: 1, after: 1 };
    /// Keeps the size, with a single tap.
    pub const POINT: Self = Self { stride: 1, before: 0, after: 0 };

    /// How many places there are along `length` pixels.
    fn places(self, length: usize, side: usize) -> usize {
        (length + self.before + self.after).checked_sub(side).map_or(0, |room| room / self.stride + 1)
    }
}

/// A convolution with 3x3 taps.
pub type Conv3x3 = Conv<3>;
/// A convolution with a single tap: the same linear map at every pixel.
pub type Conv1x1 = Conv<1>;

/// A convolution with `SIDE` x `SIDE` taps.
#[derive(Debug)]
pub struct Conv<const SIDE: usize> {
    kernel: Kernel,
    geometry: Geometry,
}

#[derive(Debug)]
enum Kernel {
    /// For the CPU in 32 bits, where the weights are no variables.
    Packed(Arc<Packed>),
    /// (outputs, inputs, SIDE, SIDE) and (outputs).
    Plain { weight: Tensor, bias: Tensor },
}

/// Weights and bias, (outputs).
#[derive(Debug)]
struct Packed {
    weight: Weight,
    bias: Vec<f32>,
    inputs: usize,
}

#[derive(Debug)]
enum Weight {
    /// Panels of rows, (outputs / ROWS, inputs * SIDE * SIDE, ROWS).
    Single(Panels),
    /// In bf16, by tile registers.
    Tiled(Filters),
}

impl Weight {
    /// Of `numbers` (outputs, inputs, taps); `keeps_size` if pictures stay as large as they are.
    fn new(numbers: &[f32], inputs: usize, taps: usize, keeps_size: bool, pause: Pause<'_>) -> Result<Self> {
        Ok(match multiplies_in_bf16() && keeps_size && tiles::are_there() {
            true => Self::Tiled(Filters::new(numbers, inputs, taps, pause)?),
            false => Self::Single(Panels::of_rows(numbers, inputs * taps, pause)?),
        })
    }

    /// The numbers again, (outputs, inputs, taps).
    fn unpacked(&self, outputs: usize, each: usize) -> Vec<f32> {
        match self {
            Self::Single(panels) => panels.unpacked::<ROWS>(outputs, each),
            Self::Tiled(filters) => filters.unpacked(outputs),
        }
    }
}

impl<const SIDE: usize> Conv<SIDE> {
    /// Reads `weight` (outputs, inputs, SIDE, SIDE) and `bias` (outputs).
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(inputs: usize, outputs: usize, geometry: Geometry, vb: &Tensors<'_>) -> Result<Self> {
        let bias = vb.get(outputs, "bias")?;
        Self::packed(&vb.get((outputs, inputs, SIDE, SIDE), "weight")?, Some(&bias), geometry, &|| vb.pause())
    }

    /// As [`Self::load`], for a convolution without bias.
    ///
    /// # Errors
    /// If the weight is missing or of another shape.
    pub fn load_no_bias(inputs: usize, outputs: usize, geometry: Geometry, vb: &Tensors<'_>) -> Result<Self> {
        Self::packed(&vb.get((outputs, inputs, SIDE, SIDE), "weight")?, None, geometry, &|| vb.pause())
    }

    /// Of `weight` (outputs, inputs, SIDE, SIDE) and `bias` (outputs).
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, geometry: Geometry) -> Result<Self> {
        Self::packed(&weight.contiguous()?, bias, geometry, &|| Ok(()))
    }

    fn packed(weight: &Tensor, bias: Option<&Tensor>, geometry: Geometry, pause: Pause<'_>) -> Result<Self> {
        let (outputs, inputs, height, width) = weight.dims4()?;
        let zeros = || Tensor::zeros(outputs, weight.dtype(), weight.device());
        let bias = bias.cloned().map_or_else(zeros, Ok)?;
        if [height, width] != [SIDE; 2] || bias.dims() != [outputs] || inputs == 0 || outputs == 0 {
            let text =
                format!("a {SIDE}x{SIDE} convolution has weights {:?} and biases {:?}", weight.dims(), bias.dims());
            return Err(crate::models::ModelError::BadInput(text));
        }
        let is_frozen = !weight.track_op() && !bias.track_op();
        let kernel = if is_frozen && weight.device().is_cpu() && weight.dtype() == DType::F32 {
            let keeps_size = geometry == if SIDE == 1 { Geometry::POINT } else { Geometry::SAME };
            let weight = with_numbers(weight, |numbers| Weight::new(numbers, inputs, SIDE * SIDE, keeps_size, pause))?;
            Kernel::Packed(Arc::new(Packed { weight, bias: bias.to_vec1()?, inputs }))
        } else {
            Kernel::Plain { weight: weight.clone(), bias: bias.reshape((1, (), 1, 1))? }
        };
        Ok(Self { kernel, geometry })
    }

    /// (batch, inputs, h, w) -> (batch, outputs, h', w').
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward_in(xs, &TaskCx::detached())
    }

    /// As [`Self::forward`], with pauses for the task.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward_in(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        cx.checkpoint()?;
        let Geometry { stride, before, after } = self.geometry;
        match &self.kernel {
            Kernel::Packed(packed) => {
                let geometry = self.geometry;
                let op = Convolve::<SIDE> { packed, geometry, cx };
                let packed = packed.clone();
                traced(
                    xs,
                    |xs| Ok(xs.contiguous()?.apply_op1_no_bwd(&op)?),
                    move |xs, gradient| {
                        let numbers = packed.weight.unpacked(packed.bias.len(), packed.inputs * SIDE * SIDE);
                        of_conv::<SIDE>(&numbers, xs.dims(), geometry, gradient)
                    },
                )
            }
            Kernel::Plain { weight, bias } if before == after => {
                Ok(xs.conv2d(weight, before, stride, 1, 1)?.broadcast_add(bias)?)
            }
            Kernel::Plain { weight, bias } => {
                let padded = xs.pad_with_zeros(2, before, after)?.pad_with_zeros(3, before, after)?;
                Ok(padded.conv2d(weight, 0, stride, 1, 1)?.broadcast_add(bias)?)
            }
        }
    }
}

struct Convolve<'a, const SIDE: usize> {
    packed: &'a Packed,
    geometry: Geometry,
    cx: &'a TaskCx<'a>,
}

impl<const SIDE: usize> CustomOp1 for Convolve<'_, SIDE> {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let (geometry, Packed { weight, bias, inputs }) = (self.geometry, self.packed);
        if channels != *inputs {
            candle_core::bail!("a convolution of {inputs} channels was given {channels}");
        }
        let xs = contiguous(xs, layout)?;
        let (inputs, outputs) = (channels, bias.len());
        let (out_height, out_width) = (geometry.places(height, SIDE), geometry.places(width, SIDE));
        let shape = (batch, outputs, out_height, out_width).into();
        let weight = match weight {
            Weight::Tiled(filters) => {
                let sizes = tiles::Sizes::<SIDE> { batch, inputs, outputs, height, width };
                return Ok((CpuStorage::F32(tiles::convolve(xs, filters, bias, sizes, self.cx)?), shape));
            }
            Weight::Single(panels) => panels,
        };
        let minimal = winograd::Sizes { batch, inputs, outputs, height, width };
        if SIDE == 3 && geometry == Geometry::SAME && minimal.pays() {
            return Ok((CpuStorage::F32(winograd::convolve(xs, weight, bias, minimal, self.cx)?), shape));
        }
        let sizes = direct::Sizes::<SIDE> { geometry, batch, inputs, outputs, height, width, out_height, out_width };
        Ok((CpuStorage::F32(direct::convolve(xs, weight, bias, sizes, self.cx)?), shape))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::multiply_in_bf16;
    use super::*;
    use crate::models::rng::TorchRng;
    use candle_core::Device;

    /// Relative RMS difference from candle in 64 bits.
    fn difference<const SIDE: usize>(
        geometry: Geometry,
        [batch, inputs, outputs]: [usize; 3],
        size: [usize; 2],
    ) -> f64 {
        let mut rng = TorchRng::new(7);
        let mut random =
            |shape: &[usize]| Tensor::from_vec(rng.randn(shape.iter().product()), shape, &Device::Cpu).unwrap();
        let (weight, bias) = (random(&[outputs, inputs, SIDE, SIDE]), random(&[outputs]));
        let xs = random(&[batch, inputs, size[0], size[1]]);
        let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let got = Conv::<SIDE>::new(&weight, Some(&bias), geometry).unwrap().forward(&xs).unwrap();
        let want =
            Conv::<SIDE>::new(&wide(&weight), Some(&wide(&bias)), geometry).unwrap().forward(&wide(&xs)).unwrap();
        assert_eq!(got.dims(), want.dims());
        let energy = |t: Tensor| t.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        (energy((wide(&got) - &want).unwrap()) / energy(want)).sqrt()
    }

    #[test]
    fn equals_candle_at_every_geometry() {
        let same = Geometry::SAME;
        let halving = Geometry { stride: 2, ..same };
        let lopsided = Geometry { stride: 2, before: 0, after: 1 };
        for (geometry, height, width) in [same, halving, lopsided]
            .into_iter()
            .flat_map(|g| [(1, 1), (2, 5), (7, 4), (8, 8), (30, 41), (3, 500)].map(|(h, w)| (g, h, w)))
        {
            if geometry.before == 0 && height.min(width) < 2 {
                continue;
            }
            for channels in [[3, 5, 130], [2, 70, 13], [1, 1, 1]] {
                let worst = difference::<3>(geometry, channels, [height, width]);
                assert!(worst < 2e-6, "{geometry:?} {channels:?} {height}x{width}: {worst}");
            }
        }
        for size in [[1, 1], [7, 19], [16, 16]] {
            let worst = difference::<1>(Geometry::POINT, [2, 40, 331], size);
            assert!(worst < 2e-6, "{size:?}: {worst}");
        }
    }

    #[test]
    fn many_channels_are_summed_block_by_block() {
        for channels in [[2, 200, 50], [1, 1300, 7]] {
            let worst = difference::<3>(Geometry::SAME, channels, [18, 23]);
            assert!(worst < 2e-6, "{channels:?}: {worst}");
            let worst = difference::<3>(Geometry { stride: 2, ..Geometry::SAME }, channels, [18, 23]);
            assert!(worst < 2e-6, "{channels:?}: {worst}");
        }
    }

    #[test]
    fn results_are_the_same_bits_with_any_number_of_threads() {
        let run = |threads: usize, is_in_bf16: bool| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let ones = |shape: &[usize]| TorchRng::new(3).randn(shape.iter().product());
            let tensor = |shape: &[usize]| Tensor::from_vec(ones(shape), shape, &Device::Cpu).unwrap();
            multiply_in_bf16(is_in_bf16);
            let conv = Conv3x3::new(&tensor(&[400, 30, 3, 3]), Some(&tensor(&[400])), Geometry::SAME).unwrap();
            multiply_in_bf16(false);
            pool.install(|| conv.forward(&tensor(&[2, 30, 40, 40])).unwrap().flatten_all().unwrap().to_vec1::<f32>())
                .unwrap()
        };
        for is_in_bf16 in [false, true] {
            assert_eq!(run(1, is_in_bf16), run(3, is_in_bf16));
        }
    }
}
