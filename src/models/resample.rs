//! Making pictures larger and smaller exactly as Pillow does (`src/libImaging/Resample.c`), by any of its filters: widths first, then
//! heights, with whole bytes between. (torchvision does the same; Pillow 13 takes heights first where that is faster, which differs by
//! a rounding where no value is cut off.)

use std::f64::consts::PI;
use std::ops::Range;

use rayon::prelude::*;

use crate::base::geom::{Bounds, Extent};
use crate::base::pixels::Picture;

/// Pillow's fixed-point precision for 8-bit pictures (`Resample.c`: 32 - 8 - 2).
const PRECISION_BITS: u32 = 22;
/// Fewer rows are not worth another thread.
const ROWS_AT_ONCE: usize = 16;

/// A way to make pictures larger or smaller, numbered as in Pillow and in `preprocessor_config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resample {
    /// The nearest pixel.
    Nearest,
    /// A windowed sinc of three lobes.
    Lanczos,
    /// A triangle.
    Bilinear,
    /// A cubic with a = -0.5.
    #[default]
    Bicubic,
    /// The mean of a pixel's own area.
    Box,
    /// A windowed sinc of one lobe.
    Hamming,
}

impl Resample {
    /// By Pillow's number.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming]
            .get(usize::try_from(number).ok()?)
            .copied()
    }

    /// Pixels to each side that count.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// How much a pixel at distance `x` counts.
    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        match self {
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => cubic(x),
            Self::Hamming if x.abs() < 1.0 => sinc(x) * (0.54 + 0.46 * (x * PI).cos()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Hamming | Self::Lanczos => 0.0,
        }
    }
}

/// `picture` at `extent` by antialiased bicubic interpolation, to the byte as Pillow's `Image.resize(BICUBIC)`
/// (Pillow `src/libImaging/Resample.c`: a = -0.5, support scaled with the reduction, horizontal pass first).
pub fn resize(picture: &Picture, extent: Extent) -> Picture {
    resize_part(picture, extent, extent.bounds(), Resample::Bicubic)
}

/// The same by any filter.
pub fn resize_by(picture: &Picture, extent: Extent, resample: Resample) -> Picture {
    resize_part(picture, extent, extent.bounds(), resample)
}

/// The part `part` of `picture` at `extent`; the rest is not computed.
pub(super) fn resize_part(picture: &Picture, extent: Extent, part: Bounds, resample: Resample) -> Picture {
    if extent.area() == 0 || picture.extent().area() == 0 || (picture.extent() == extent && part == extent.bounds()) {
        return picture.clone();
    }
    let from = picture.extent();
    if resample == Resample::Nearest {
        let at = |at: u32, from: u32, to: u32| ((f64::from(at) + 0.5) * f64::from(from) / f64::from(to)) as u32;
        return Picture::from_fn(part.extent(), |x, y| {
            let (x, y) = (at(x + part.x0, from.width, extent.width), at(y + part.y0, from.height, extent.height));
            picture.pixel(x.min(from.width - 1), y.min(from.height - 1)).unwrap_or_default()
        });
    }
    let (width, height) = (from.width as usize, from.height as usize);
    let (new_width, new_height) = (part.extent().width as usize, part.extent().height as usize);
    let columns = Filter::new(resample, width, extent.width as usize, part.x0 as usize..part.x1 as usize);
    let mut wide = vec![0u8; new_width * height * 3];
    let rows = picture.rgb().par_chunks_exact(width * 3);
    rows.zip(wide.par_chunks_exact_mut(new_width * 3)).with_min_len(ROWS_AT_ONCE).for_each(|(row, out)| {
        for (taps, pixel) in columns.taps().zip(out.chunks_exact_mut(3)) {
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = taps.sum(|at| row[at * 3 + channel]);
            }
        }
    });
    let rows = Filter::new(resample, height, extent.height as usize, part.y0 as usize..part.y1 as usize);
    let stride = new_width * 3;
    let mut rgb = vec![0u8; stride * new_height];
    let taps: Vec<Taps<'_>> = rows.taps().collect();
    taps.par_iter().zip(rgb.par_chunks_exact_mut(stride)).with_min_len(ROWS_AT_ONCE).for_each(|(taps, out)| {
        for (column, value) in out.iter_mut().enumerate() {
            *value = taps.sum(|at| wide[at * stride + column]);
        }
    });
    Picture::from_rgb(part.extent(), rgb).unwrap_or_else(|_| picture.clone())
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
    /// For the outputs `wanted` of all `to`.
    fn new(resample: Resample, from: usize, to: usize, wanted: Range<usize>) -> Self {
        let scale = from as f64 / to as f64;
        let filter_scale = scale.max(1.0);
        let support = resample.support() * filter_scale;
        let stride = support.ceil() as usize * 2 + 1;
        let (mut windows, mut weights) = (Vec::with_capacity(wanted.len()), Vec::with_capacity(wanted.len() * stride));
        for output in wanted {
            let center = (output as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let last = ((center + support + 0.5) as usize).min(from);
            let exact: Vec<f64> =
                (first..last).map(|at| resample.weight((at as f64 - center + 0.5) / filter_scale)).collect();
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
