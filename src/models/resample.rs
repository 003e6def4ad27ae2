//! Resizing of 8-bit pictures, to the byte as Pillow's `Image.resize` (Pillow `src/libImaging/Resample.c`: support scaled with
//! the reduction, weights in fixed point, a rounding between the passes). As in Pillow 13, widths come first, unless the height shrinks
//! by more than twice what the width does; older ones and torchvision always take widths first, which differs by that rounding.

use std::ops::Range;

use rayon::prelude::*;

use crate::base::geom::{Bounds, Extent};

/// Pillow's fixed-point precision for 8-bit pictures (`Resample.c`: 32 - 8 - 2).
const PRECISION_BITS: u32 = 22;
/// Fewer rows are not worth another thread.
const ROWS_AT_ONCE: usize = 16;

/// How pixels are weighted by their distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// The nearest pixel alone.
    Nearest,
    /// Windowed sinc over three pixels.
    Lanczos,
    /// A triangle.
    Bilinear,
    /// Cubic with a = -0.5.
    Bicubic,
    /// Equal weights.
    Box,
    /// Windowed sinc over one pixel.
    Hamming,
}

impl Kernel {
    /// By Pillow's number, as `preprocessor_config.json` files have it.
    pub fn from_number(number: u64) -> Option<Self> {
        let all = [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];
        all.get(usize::try_from(number).ok()?).copied()
    }

    /// The distance beyond which weights are zero.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming if x.abs() < 1.0 => sinc(x) * (0.54 + 0.46 * (x * std::f64::consts::PI).cos()),
            Self::Bicubic => cubic(x),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Hamming | Self::Lanczos => 0.0,
        }
    }
}

/// `bytes`, rows of pixels of `channels` bytes, brought from one size to another. Colours with an alpha channel must be
/// premultiplied. Both sizes must have an area.
pub fn resample(bytes: &[u8], channels: usize, from: Extent, to: Extent, kernel: Kernel) -> Vec<u8> {
    resample_part(bytes, channels, from, to, to.bounds(), kernel)
}

/// As [`resample`], but only the part `part` of the result; the rest is not computed.
pub fn resample_part(bytes: &[u8], channels: usize, from: Extent, to: Extent, part: Bounds, kernel: Kernel) -> Vec<u8> {
    let columns = Filter::new(from.width as usize, to.width as usize, part.x0 as usize..part.x1 as usize, kernel);
    let rows = Filter::new(from.height as usize, to.height as usize, part.y0 as usize..part.y1 as usize, kernel);
    let shrinks = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (lower, narrower) = (shrinks(from.height, to.height), shrinks(from.width, to.width));
    let (before, after) = (from.width as usize * channels, part.extent().width as usize * channels);
    match lower > 0 && lower > 2 * narrower {
        true => columns.widths(&rows.heights(bytes, before), channels, before, after),
        false => rows.heights(&columns.widths(bytes, channels, before, after), after),
    }
}

struct Filter {
    /// First input and number of inputs of each output.
    windows: Vec<(usize, usize)>,
    /// Fixed-point weights, `stride` for each output.
    weights: Vec<i32>,
    stride: usize,
}

struct Taps<'a> {
    first: usize,
    weights: &'a [i32],
}

impl Taps<'_> {
    fn sum(&self, pixel: impl Fn(usize) -> u8) -> u8 {
        let half = 1i32 << (PRECISION_BITS - 1);
        let sum = self.weights.iter().enumerate().fold(half, |sum, (i, w)| sum + i32::from(pixel(self.first + i)) * w);
        (sum >> PRECISION_BITS).clamp(0, 255) as u8
    }
}

impl Filter {
    /// Rows of `before` bytes brought to `after` bytes.
    fn widths(&self, bytes: &[u8], channels: usize, before: usize, after: usize) -> Vec<u8> {
        let mut out = vec![0u8; bytes.len() / before * after];
        let rows = bytes.par_chunks_exact(before).zip(out.par_chunks_exact_mut(after));
        rows.with_min_len(ROWS_AT_ONCE).for_each(|(row, out)| {
            for (taps, pixel) in self.taps().zip(out.chunks_exact_mut(channels)) {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = taps.sum(|at| row[at * channels + channel]);
                }
            }
        });
        out
    }

    /// Another number of rows of `stride` bytes.
    fn heights(&self, bytes: &[u8], stride: usize) -> Vec<u8> {
        let taps: Vec<Taps<'_>> = self.taps().collect();
        let mut out = vec![0u8; stride * taps.len()];
        taps.par_iter().zip(out.par_chunks_exact_mut(stride)).with_min_len(ROWS_AT_ONCE).for_each(|(taps, out)| {
            for (column, value) in out.iter_mut().enumerate() {
                *value = taps.sum(|at| bytes[at * stride + column]);
            }
        });
        out
    }

    /// For the outputs `wanted` of all `to`.
    fn new(from: usize, to: usize, wanted: Range<usize>, kernel: Kernel) -> Self {
        let scale = from as f64 / to as f64;
        if kernel == Kernel::Nearest {
            let nearest = |at: usize| (((at as f64 + 0.5) * scale) as usize).min(from.saturating_sub(1));
            let windows: Vec<(usize, usize)> = wanted.map(|at| (nearest(at), 1)).collect();
            return Self { weights: vec![1 << PRECISION_BITS; windows.len()], windows, stride: 1 };
        }
        let filter_scale = scale.max(1.0);
        let support = kernel.support() * filter_scale;
        let stride = support.ceil() as usize * 2 + 1;
        let (mut windows, mut weights) = (Vec::with_capacity(wanted.len()), Vec::with_capacity(wanted.len() * stride));
        for output in wanted {
            let center = (output as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let last = ((center + support + 0.5) as usize).min(from);
            let exact: Vec<f64> =
                (first..last).map(|at| kernel.weight((at as f64 - center + 0.5) / filter_scale)).collect();
            let total: f64 = exact.iter().sum();
            windows.push((first, exact.len()));
            let fixed = exact.iter().map(|w| (w / total * f64::from(1u32 << PRECISION_BITS)).round() as i32);
            weights.extend(fixed.chain(std::iter::repeat(0)).take(stride));
        }
        Self { windows, weights, stride }
    }

    fn taps(&self) -> impl Iterator<Item = Taps<'_>> {
        self.windows
            .iter()
            .zip(self.weights.chunks_exact(self.stride))
            .map(|((first, count), weights)| Taps { first: *first, weights: weights.get(..*count).unwrap_or(weights) })
    }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Pillow 13.0's `resize((5, 6), BICUBIC)` makes of the picture below; with widths first, 21 numbers are others.
    const TALL: [u8; 90] = [
        120, 120, 125, 131, 118, 142, 124, 126, 128, 115, 131, 159, 116, 135, 131, 132, 116, 118, 136, 122, 99, 142,
        141, 132, 152, 117, 115, 134, 119, 116, 134, 124, 126, 103, 145, 128, 117, 126, 123, 117, 135, 123, 127, 130,
        133, 138, 133, 133, 140, 123, 139, 122, 117, 121, 152, 123, 124, 155, 117, 124, 135, 121, 125, 138, 127, 127,
        135, 121, 131, 110, 127, 119, 98, 128, 129, 130, 116, 111, 105, 151, 116, 140, 142, 140, 122, 150, 100, 136,
        131, 112,
    ];

    #[test]
    fn tall_pictures_lose_their_height_first_as_in_pillow() {
        let (from, to) = (Extent::new(7, 61), Extent::new(5, 6));
        let byte = |x: u32, y: u32, c: u32| ((x * 37 + y * 59 + c * 83 + (x * y) % 7 * 29) % 256) as u8;
        let row = |y: u32| (0..7).flat_map(move |x| (0..3).map(move |c| byte(x, y, c)));
        let picture: Vec<u8> = (0..61).flat_map(row).collect();
        assert_eq!(resample(&picture, 3, from, to, Kernel::Bicubic), TALL);
        let part = Bounds { x0: 1, y0: 2, x1: 4, y1: 5 };
        let rows = TALL.chunks(15).skip(2).take(3).flat_map(|row| row[3..12].to_vec());
        assert_eq!(resample_part(&picture, 3, from, to, part, Kernel::Bicubic), rows.collect::<Vec<_>>());
    }
}
