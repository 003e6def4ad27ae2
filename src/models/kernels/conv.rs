//! 3x3 convolution. On the CPU in 32 bits: strips of the picture are unfolded into columns and multiplied by the weights, two to
//! five times as fast as candle's own; everywhere else candle's.
//!
//! Invariant: strips are cut by the sizes alone, so that results are the same bits whatever the number of threads.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor};
use candle_nn::VarBuilder;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::contiguous;
use crate::models::error::Result;

/// Side of the kernel.
const SIDE: usize = 3;
/// Pixels of a strip: its columns should stay in the processor's cache.
const STRIP: usize = 384;
/// Output channels that are computed together where a picture is a single strip.
const CHANNELS: usize = 64;

/// Where the kernel goes.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Pixels from one place to the next, on both axes.
    pub stride: usize,
    /// Zeros at the left and the top.
    pub before: usize,
    /// Zeros at the right and the bottom.
    pub after: usize,
}

impl Geometry {
    /// Keeps the size.
    pub const SAME: Self = Self { stride: 1, before: 1, after: 1 };

    /// Side of the kernel.
    pub const SIDE: usize = SIDE;

    /// How many places there are along `length` pixels.
    pub fn places(self, length: usize) -> usize {
        (length + self.before + self.after).saturating_sub(SIDE) / self.stride + 1
    }
}

/// A 3x3 convolution with bias.
#[derive(Debug)]
pub struct Conv3x3 {
    weight: Tensor,
    bias: Tensor,
    geometry: Geometry,
}

impl Conv3x3 {
    /// Reads `weight` (outputs, inputs, 3, 3) and `bias` (outputs).
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(inputs: usize, outputs: usize, geometry: Geometry, vb: &VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get((outputs, inputs, SIDE, SIDE), "weight")?.contiguous()?;
        Ok(Self { weight, bias: vb.get(outputs, "bias")?.contiguous()?, geometry })
    }

    /// As [`Self::load`], for a convolution without bias.
    ///
    /// # Errors
    /// If the weight is missing or of another shape.
    pub fn load_no_bias(inputs: usize, outputs: usize, geometry: Geometry, vb: &VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get((outputs, inputs, SIDE, SIDE), "weight")?.contiguous()?;
        let bias = Tensor::zeros(outputs, weight.dtype(), weight.device())?;
        Ok(Self { weight, bias, geometry })
    }

    /// Where the kernel goes.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Multiplications for each place.
    pub fn cost(&self) -> usize {
        self.weight.elem_count()
    }

    /// The same for parts of pictures that bring their border along: no zeros are put around them.
    pub fn without_border(&self) -> Self {
        let geometry = Geometry { before: 0, after: 0, ..self.geometry };
        Self { weight: self.weight.clone(), bias: self.bias.clone(), geometry }
    }

    /// (batch, inputs, h, w) -> (batch, outputs, h', w').
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let Geometry { stride, before, after } = self.geometry;
        if xs.device().is_cpu() && xs.dtype() == DType::F32 {
            return Ok(xs.contiguous()?.apply_op3_no_bwd(&self.weight, &self.bias, &Unfolded(self.geometry))?);
        }
        let padded = if before == after {
            xs.conv2d(&self.weight, before, stride, 1, 1)?
        } else {
            xs.pad_with_zeros(2, before, after)?.pad_with_zeros(3, before, after)?.conv2d(
                &self.weight,
                0,
                stride,
                1,
                1,
            )?
        };
        Ok(padded.broadcast_add(&self.bias.reshape((1, (), 1, 1))?)?)
    }
}

struct Unfolded(Geometry);

/// Sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    geometry: Geometry,
    inputs: usize,
    height: usize,
    width: usize,
    out_height: usize,
    out_width: usize,
}

/// A part of the work: some rows of some pictures, and some of the output channels.
struct Part {
    first_picture: usize,
    pictures: usize,
    first_row: usize,
    rows: usize,
    first_channel: usize,
    channels: usize,
}

impl CustomOp3 for Unfolded {
    fn name(&self) -> &'static str {
        "conv3x3"
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
        let (batch, inputs, height, width) = xs_layout.shape().dims4()?;
        let (outputs, expected, _, _) = weight_layout.shape().dims4()?;
        if inputs != expected {
            candle_core::bail!("a convolution of {expected} channels was given {inputs}");
        }
        let (xs, weight) = (contiguous(xs, xs_layout)?, contiguous(weight, weight_layout)?);
        let bias = contiguous(bias, bias_layout)?;
        let (out_height, out_width) = (self.0.places(height), self.0.places(width));
        let sizes = Sizes { geometry: self.0, inputs, height, width, out_height, out_width };
        let parts = parts(batch, outputs, sizes);
        let area = out_height * out_width;
        let computed: Vec<Vec<f32>> = (0..parts.len())
            .into_par_iter()
            .map(|index| {
                let part = &parts[index];
                let volume = inputs * height * width;
                let pictures = &xs[part.first_picture * volume..][..part.pictures * volume];
                multiply(part, &unfold(part, pictures, sizes), weight, bias, sizes)
            })
            .collect();
        let mut out = vec![0f32; batch * outputs * area];
        for (part, values) in parts.iter().zip(&computed) {
            let pixels = part.rows * out_width;
            for (index, row) in values.chunks_exact(pixels).enumerate() {
                let (channel, picture) = (index / part.pictures, index % part.pictures);
                let plane = (part.first_picture + picture) * outputs + part.first_channel + channel;
                out[plane * area + part.first_row * out_width..][..pixels].copy_from_slice(row);
            }
        }
        Ok((CpuStorage::F32(out), (batch, outputs, out_height, out_width).into()))
    }
}

fn parts(batch: usize, outputs: usize, sizes: Sizes) -> Vec<Part> {
    let rows = (STRIP / sizes.out_width.max(1)).clamp(1, sizes.out_height.max(1));
    // Unfolding anew for each block of channels pays only where there would be too few parts to share out.
    let channels = if sizes.out_height <= rows { CHANNELS.max(outputs.div_ceil(4)) } else { outputs };
    // Small pictures go together: reading the weights costs more than the pictures do.
    let area = sizes.out_height * sizes.out_width;
    let together = (STRIP / area.max(1)).clamp(1, batch.max(1));
    let mut parts = Vec::new();
    for first_picture in (0..batch).step_by(together) {
        for first_row in (0..sizes.out_height).step_by(rows) {
            for first_channel in (0..outputs).step_by(channels.max(1)) {
                parts.push(Part {
                    first_picture,
                    pictures: together.min(batch - first_picture),
                    first_row,
                    rows: rows.min(sizes.out_height - first_row),
                    first_channel,
                    channels: channels.min(outputs - first_channel),
                });
            }
        }
    }
    parts
}

/// The columns of a part, (inputs * 9, pictures * rows * out width): what each weight is multiplied by at each place.
fn unfold(part: &Part, pictures: &[f32], sizes: Sizes) -> Vec<f32> {
    let Sizes { geometry: Geometry { stride, before, .. }, inputs, height, width, out_width, .. } = sizes;
    let pixels = part.rows * out_width;
    let mut columns = vec![0f32; inputs * SIDE * SIDE * part.pictures * pixels];
    for (index, column) in columns.chunks_exact_mut(pixels).enumerate() {
        let (picture, index) = (index % part.pictures, index / part.pictures);
        let (channel, ky, kx) = (index / (SIDE * SIDE), index / SIDE % SIDE, index % SIDE);
        let plane = &pictures[(picture * inputs + channel) * height * width..][..height * width];
        // Places whose pixel lies left of the picture, and the first whose pixel lies right of it.
        let first = before.saturating_sub(kx).div_ceil(stride).min(out_width);
        let end = (width + before).saturating_sub(kx).div_ceil(stride).clamp(first, out_width);
        for (row, out) in column.chunks_exact_mut(out_width).enumerate() {
            let y = (part.first_row + row) * stride + ky;
            if y < before || y - before >= height || first == end {
                continue;
            }
            let line = &plane[(y - before) * width..][..width];
            let source = &line[first * stride + kx - before..];
            let out = &mut out[first..end];
            if stride == 1 {
                out.copy_from_slice(&source[..out.len()]);
            } else {
                out.iter_mut().zip(source.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
            }
        }
    }
    columns
}

/// Weights times columns plus bias, (channels, pictures * rows * out width).
fn multiply(part: &Part, columns: &[f32], weight: &[f32], bias: &[f32], sizes: Sizes) -> Vec<f32> {
    let (depth, pixels) = (sizes.inputs * SIDE * SIDE, part.pictures * part.rows * sizes.out_width);
    let bias = &bias[part.first_channel..][..part.channels];
    let weight = &weight[part.first_channel * depth..][..part.channels * depth];
    let mut out = vec![0f32; part.channels * pixels];
    out.chunks_exact_mut(pixels).zip(bias).for_each(|(row, bias)| row.fill(*bias));
    assert!(columns.len() == depth * pixels && out.len() == part.channels * pixels);
    #[expect(unsafe_code, reason = "the matrix product takes pointers")]
    // Safety: the three slices have exactly the sizes that are passed on, checked above, and `out` overlaps no other.
    unsafe {
        gemm::gemm(
            part.channels,
            pixels,
            depth,
            out.as_mut_ptr(),
            1,
            pixels as isize,
            true,
            weight.as_ptr(),
            1,
            depth as isize,
            columns.as_ptr(),
            1,
            pixels as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    #[test]
    fn equals_candle_at_every_geometry() {
        let same = Geometry::SAME;
        let halving = Geometry { stride: 2, ..same };
        let lopsided = Geometry { stride: 2, before: 0, after: 1 };
        for (geometry, height, width) in [same, halving, lopsided]
            .into_iter()
            .flat_map(|g| [(1, 1), (2, 5), (7, 4), (8, 8), (30, 41), (3, 500)].map(|(h, w)| (g, h, w)))
        {
            let random = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap();
            let conv = Conv3x3 { weight: random(&[130, 5, 3, 3]), bias: random(&[130]), geometry };
            let xs = random(&[3, 5, height, width]);
            if geometry.before == 0 && height.min(width) < 2 {
                continue;
            }
            let got = conv.forward(&xs).unwrap();
            let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let exact = Conv3x3 { weight: wide(&conv.weight), bias: wide(&conv.bias), geometry };
            let want = exact.forward(&wide(&xs)).unwrap();
            assert_eq!(got.dims(), want.dims());
            let worst = (wide(&got) - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(worst < 2e-5, "{geometry:?} {height}x{width}: {worst}");
        }
    }
}
