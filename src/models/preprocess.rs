//! From pictures to what a vision tower reads: Pillow's resizing, cropping, scaling, as `preprocessor_config.json` says.

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::error::{ModelError, Result};
use super::files::ModelFiles;
use super::resample::{Kernel, resample_part};
use crate::base::geom::{Bounds, Extent};
use crate::base::pixels::Picture;

/// `picture` at `extent` by antialiased bicubic interpolation, to the byte as Pillow's `Image.resize(BICUBIC)`.
pub fn resize(picture: &Picture, extent: Extent) -> Picture {
    resize_part(picture, extent, extent.bounds())
}

/// The part `part` of `picture` at `extent`; the rest is not computed.
fn resize_part(picture: &Picture, extent: Extent, part: Bounds) -> Picture {
    if extent.area() == 0 || picture.extent().area() == 0 || (picture.extent() == extent && part == extent.bounds()) {
        return picture.clone();
    }
    let rgb = resample_part(picture.rgb(), 3, picture.extent(), extent, part, Kernel::Bicubic);
    Picture::from_rgb(part.extent(), rgb).unwrap_or_else(|_| picture.clone())
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
