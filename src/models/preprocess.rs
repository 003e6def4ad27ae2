//! From pictures to what a vision tower reads: Pillow's resizing, cropping, scaling, as `preprocessor_config.json` says.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use serde::Deserialize;

use super::error::{ModelError, Result};
use super::files::ModelFiles;
use crate::base::geom::{Bounds, Extent};
use crate::base::pixels::Picture;

/// Pillow's fixed-point precision for 8-bit pictures (`Resample.c`: 32 - 8 - 2).
const PRECISION_BITS: u32 = 22;
/// Fewer rows are not worth another thread.
const ROWS_AT_ONCE: usize = 16;

/// `picture` at `extent` by antialiased bicubic interpolation, to the byte as Pillow's `Image.resize(BICUBIC)`
/// (Pillow `src/libImaging/Resample.c`: a = -0.5, support scaled with the reduction, horizontal pass first).
pub fn resize(picture: &Picture, extent: Extent) -> Picture {
    resize_part(picture, extent, extent.bounds())
}

/// The part `part` of `picture` at `extent`; the rest is not computed.
fn resize_part(picture: &Picture, extent: Extent, part: Bounds) -> Picture {
    if extent.area() == 0 || picture.extent().area() == 0 || (picture.extent() == extent && part == extent.bounds()) {
        return picture.clone();
    }
    let from = picture.extent();
    let (width, height) = (from.width as usize, from.height as usize);
    let (new_width, new_height) = (part.extent().width as usize, part.extent().height as usize);
    let columns = Filter::bicubic(width, extent.width as usize, part.x0 as usize..part.x1 as usize);
    let mut wide = vec![0u8; new_width * height * 3];
    let rows = picture.rgb().par_chunks_exact(width * 3);
    rows.zip(wide.par_chunks_exact_mut(new_width * 3)).with_min_len(ROWS_AT_ONCE).for_each(|(row, out)| {
        for (taps, pixel) in columns.taps().zip(out.chunks_exact_mut(3)) {
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = taps.sum(|at| row[at * 3 + channel]);
            }
        }
    });
    let rows = Filter::bicubic(height, extent.height as usize, part.y0 as usize..part.y1 as usize);
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
    fn bicubic(from: usize, to: usize, wanted: Range<usize>) -> Self {
        let scale = from as f64 / to as f64;
        let filter_scale = scale.max(1.0);
        let support = 2.0 * filter_scale;
        let stride = support.ceil() as usize * 2 + 1;
        let (mut windows, mut weights) = (Vec::with_capacity(wanted.len()), Vec::with_capacity(wanted.len() * stride));
        for output in wanted {
            let center = (output as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let last = ((center + support + 0.5) as usize).min(from);
            let exact: Vec<f64> = (first..last).map(|at| cubic((at as f64 - center + 0.5) / filter_scale)).collect();
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

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Side(u32),
    Shortest { shortest_edge: u32 },
    Both { height: u32, width: u32 },
}

#[derive(Debug, Deserialize)]
struct PreprocessorConfig {
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    size: Option<Size>,
    crop_size: Option<Size>,
    do_center_crop: Option<bool>,
}

/// How a vision tower wants its pictures.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    resize_to: Size,
    crop: Option<Extent>,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Preprocessor {
    /// Reads `preprocessor_config.json`; without it, OpenAI's values for a tower of `image_size` pixels.
    ///
    /// # Errors
    /// If the file is there but not usable.
    pub fn load(files: &ModelFiles, image_size: u32) -> Result<Self> {
        let file = "preprocessor_config.json";
        let config = if files.has(file) { Some(files.read_json::<PreprocessorConfig>(file)?) } else { None };
        let get = |pick: fn(&PreprocessorConfig) -> Option<[f32; 3]>| config.as_ref().and_then(pick);
        let crop = match config.as_ref().and_then(|c| c.crop_size) {
            Some(Size::Side(side) | Size::Shortest { shortest_edge: side }) => Extent::new(side, side),
            Some(Size::Both { height, width }) => Extent::new(width, height),
            None => Extent::new(image_size, image_size),
        };
        let crops = config.as_ref().and_then(|c| c.do_center_crop).unwrap_or(true);
        if get(|c| c.image_std).is_some_and(|std| std.contains(&0.0)) {
            return Err(ModelError::BadFile { path: files.path_of(file), reason: "image_std holds a zero".to_owned() });
        }
        Ok(Self {
            resize_to: config.as_ref().and_then(|c| c.size).unwrap_or(Size::Side(image_size)),
            crop: crops.then_some(crop),
            mean: get(|c| c.image_mean).unwrap_or([0.481_454_66, 0.457_827_5, 0.408_210_73]),
            std: get(|c| c.image_std).unwrap_or([0.268_629_54, 0.261_302_6, 0.275_777_1]),
        })
    }

    /// The picture as the tower was trained on it: resized and cropped.
    pub fn fitted(&self, picture: &Picture) -> Picture {
        let extent = picture.extent();
        let target = match self.resize_to {
            Size::Both { height, width } => Extent::new(width, height),
            Size::Side(side) | Size::Shortest { shortest_edge: side } => {
                // As transformers: the longer side is cut down to a whole number, not rounded.
                let long = |long: u32, short: u32| (u64::from(side) * u64::from(long) / u64::from(short.max(1))) as u32;
                if extent.width <= extent.height {
                    Extent::new(side, long(extent.height, extent.width))
                } else {
                    Extent::new(long(extent.width, extent.height), side)
                }
            }
        };
        match self.crop {
            None => resize(picture, target),
            // A long and thin picture would be very large before it is cropped.
            Some(crop) if crop.width <= target.width && crop.height <= target.height => {
                let (x0, y0) = ((target.width - crop.width) / 2, (target.height - crop.height) / 2);
                let middle = Bounds { x0, y0, x1: x0 + crop.width, y1: y0 + crop.height };
                resize_part(picture, target, middle)
            }
            Some(crop) => center_crop(&resize(picture, target), crop),
        }
    }

    /// (1, 3, height, width), scaled by mean and deviation.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn to_tensor(&self, picture: &Picture, dtype: DType, device: &Device) -> Result<Tensor> {
        let extent = picture.extent();
        let (mean, std) = (self.mean, self.std);
        let plane = |channel: usize| {
            picture
                .rgb()
                .iter()
                .skip(channel)
                .step_by(3)
                .map(move |v| (f32::from(*v) / 255.0 - mean[channel]) / std[channel])
        };
        let values: Vec<f32> = plane(0).chain(plane(1)).chain(plane(2)).collect();
        let shape = (1, 3, extent.height as usize, extent.width as usize);
        Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
    }
}

/// The middle of `picture`; black where it is smaller than `crop`.
fn center_crop(picture: &Picture, crop: Extent) -> Picture {
    let extent = picture.extent();
    if extent == crop {
        return picture.clone();
    }
    let offset = |have: u32, want: u32| (i64::from(have) - i64::from(want)).div_euclid(2);
    let (dx, dy) = (offset(extent.width, crop.width), offset(extent.height, crop.height));
    Picture::from_fn(crop, |x, y| {
        let at = |v: u32, d: i64| u32::try_from(i64::from(v) + d).ok();
        at(x, dx).zip(at(y, dy)).and_then(|(x, y)| picture.pixel(x, y)).unwrap_or([0; 3])
    })
}

/// The size at which a picture is read for a map: all of it, its shape kept as well as patches allow, about
/// `side * side` pixels, sides whole numbers of patches.
pub fn lens_extent(picture: Extent, side: u32, patch: u32) -> Extent {
    let shape = f64::from(picture.width) / f64::from(picture.height.max(1));
    let patches = f64::from(side) / f64::from(patch);
    let cells = |ideal: f64| (ideal.round().clamp(1.0, 4.0 * patches) as u32) * patch;
    Extent::new(cells(patches * shape.sqrt()), cells(patches / shape.sqrt()))
}
