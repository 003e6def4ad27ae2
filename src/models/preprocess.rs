//! From pictures to what a vision tower reads: resizing, cropping, scaling, as `preprocessor_config.json` or
//! `open_clip_config.json` says.

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::error::{ModelError, Result};
use super::files::ModelFiles;
use super::resample::{Kernel, resample_part};
use crate::base::geom::{Bounds, Extent};
use crate::base::pixels::Picture;

const FILE: &str = "preprocessor_config.json";
const OPEN_CLIP_FILE: &str = "open_clip_config.json";

/// `picture` at `extent` by antialiased bicubic interpolation, to the byte as Pillow's `Image.resize(BICUBIC)`.
pub fn resize(picture: &Picture, extent: Extent) -> Picture {
    resize_by(picture, extent, Kernel::Bicubic)
}

/// The same by any of Pillow's filters.
pub fn resize_by(picture: &Picture, extent: Extent, kernel: Kernel) -> Picture {
    resize_part(picture, extent, extent.bounds(), kernel)
}

/// The part `part` of `picture` at `extent`; the rest is not computed.
fn resize_part(picture: &Picture, extent: Extent, part: Bounds, kernel: Kernel) -> Picture {
    if extent.area() == 0 || picture.extent().area() == 0 || (picture.extent() == extent && part == extent.bounds()) {
        return picture.clone();
    }
    let rgb = resample_part(picture.rgb(), 3, picture.extent(), extent, part, kernel);
    Picture::from_rgb(part.extent(), rgb).unwrap_or_else(|_| picture.clone())
}

/// What a family of models does where their files do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// The shorter side to the training's size, the middle of the longer one; OpenAI's mean and deviation.
    Clip,
    /// Squeezed to the training's size; mean and deviation 0.5.
    Siglip,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, {\"shortest_edge\": …} or {\"height\": …, \"width\": …}")]
enum Size {
    Side(u32),
    Shortest { shortest_edge: u32 },
    Both { height: u32, width: u32 },
}

#[derive(Debug, Default, Deserialize)]
struct PreprocessorConfig {
    image_processor_type: Option<String>,
    feature_extractor_type: Option<String>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    size: Option<Size>,
    crop_size: Option<Size>,
    do_resize: Option<bool>,
    do_center_crop: Option<bool>,
    do_rescale: Option<bool>,
    do_normalize: Option<bool>,
    rescale_factor: Option<f64>,
    resample: Option<u64>,
}

#[derive(Deserialize)]
struct OpenClip {
    preprocess_cfg: Option<OpenClipConfig>,
}

#[derive(Deserialize)]
struct OpenClipConfig {
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    interpolation: Option<String>,
    resize_mode: Option<String>,
}

/// How a vision tower wants its pictures.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    resize_to: Option<Size>,
    kernel: Kernel,
    crop: Option<Extent>,
    /// torchvision rounds the place of the crop to the nearest even pixel, transformers down.
    rounds_crop: bool,
    scale: f64,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Preprocessor {
    /// Reads how a model wants its pictures; where its files do not say, as is usual in its family for `image_size` pixels.
    ///
    /// # Errors
    /// If a file is there but not usable.
    pub fn load(files: &ModelFiles, image_size: u32, convention: Convention) -> Result<Self> {
        let usual = Self::usual(image_size, convention);
        if files.has(FILE) {
            let config = files.read_json(FILE)?;
            return usual.with_transformers(&config, image_size).map_err(|reason| bad(files, FILE, reason));
        }
        if files.has(OPEN_CLIP_FILE) {
            let OpenClip { preprocess_cfg } = files.read_json(OPEN_CLIP_FILE)?;
            let usual = Self { rounds_crop: true, ..usual };
            return match preprocess_cfg {
                Some(config) => {
                    usual.with_open_clip(&config, image_size).map_err(|reason| bad(files, OPEN_CLIP_FILE, reason))
                }
                None => Ok(usual),
            };
        }
        Ok(usual)
    }

    fn usual(image_size: u32, convention: Convention) -> Self {
        let square = Extent::new(image_size, image_size);
        let both = Size::Both { height: image_size, width: image_size };
        let base = Self {
            resize_to: Some(both),
            kernel: Kernel::Bicubic,
            crop: None,
            rounds_crop: false,
            scale: 1.0 / 255.0,
            mean: [0.5; 3],
            std: [0.5; 3],
        };
        match convention {
            Convention::Siglip => base,
            Convention::Clip => Self {
                resize_to: Some(Size::Side(image_size)),
                crop: Some(square),
                mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
                std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
                ..base
            },
        }
    }

    fn with_transformers(self, config: &PreprocessorConfig, image_size: u32) -> std::result::Result<Self, String> {
        let kind = config.image_processor_type.as_ref().or(config.feature_extractor_type.as_ref());
        let usual = match kind {
            Some(kind) if kind.contains("Siglip") => Self::usual(image_size, Convention::Siglip),
            Some(kind) if kind.contains("CLIP") => Self::usual(image_size, Convention::Clip),
            _ => self,
        };
        let crop = match config.crop_size {
            Some(Size::Side(side) | Size::Shortest { shortest_edge: side }) => Extent::new(side, side),
            Some(Size::Both { height, width }) => Extent::new(width, height),
            None => Extent::new(image_size, image_size),
        };
        let crops = config.do_center_crop.unwrap_or(usual.crop.is_some());
        let normalizes = config.do_normalize.unwrap_or(true);
        let kernel = match config.resample {
            Some(number) => {
                Kernel::from_number(number).ok_or(format!("\"resample\": {number} is no filter of Pillow's"))?
            }
            None => usual.kernel,
        };
        Self {
            resize_to: config.do_resize.unwrap_or(true).then_some(config.size.or(usual.resize_to)).flatten(),
            kernel,
            crop: crops.then_some(crop),
            rounds_crop: false,
            scale: if config.do_rescale.unwrap_or(true) { config.rescale_factor.unwrap_or(usual.scale) } else { 1.0 },
            mean: if normalizes { config.image_mean.unwrap_or(usual.mean) } else { [0.0; 3] },
            std: if normalizes { config.image_std.unwrap_or(usual.std) } else { [1.0; 3] },
        }
        .checked()
    }

    fn with_open_clip(self, config: &OpenClipConfig, image_size: u32) -> std::result::Result<Self, String> {
        let (resize_to, crop) = match config.resize_mode.as_deref() {
            None => (self.resize_to, self.crop),
            Some("shortest") => (Some(Size::Side(image_size)), Some(Extent::new(image_size, image_size))),
            Some("squash") => (Some(Size::Both { height: image_size, width: image_size }), None),
            Some(other) => return Err(format!("Maquette cannot prepare pictures with \"resize_mode\": {other:?}")),
        };
        let kernel = match config.interpolation.as_deref() {
            Some("bilinear") => Kernel::Bilinear,
            _ => Kernel::Bicubic,
        };
        let (mean, std) = (config.mean.unwrap_or(self.mean), config.std.unwrap_or(self.std));
        Self { resize_to, crop, kernel, mean, std, ..self }.checked()
    }

    /// Refuses what would divide by zero or make pictures larger than any memory.
    fn checked(self) -> std::result::Result<Self, String> {
        const LARGEST: u32 = 1 << 14;
        if self.std.contains(&0.0) {
            return Err("the deviation of the pictures holds a zero".to_owned());
        }
        let sides = match self.resize_to {
            Some(Size::Side(side) | Size::Shortest { shortest_edge: side }) => [side; 2],
            Some(Size::Both { height, width }) => [height, width],
            None => [1; 2],
        };
        let crop = self.crop.map_or([1; 2], |crop| [crop.height, crop.width]);
        match sides.into_iter().chain(crop).find(|side| *side == 0 || *side > LARGEST) {
            Some(side) => Err(format!("it wants pictures of {side} pixels")),
            None => Ok(self),
        }
    }

    /// The picture as the tower was trained on it: resized and cropped.
    pub fn fitted(&self, picture: &Picture) -> Picture {
        let extent = picture.extent();
        let target = match self.resize_to {
            None => extent,
            Some(Size::Both { height, width }) => Extent::new(width, height),
            Some(Size::Side(side) | Size::Shortest { shortest_edge: side }) => {
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
            None => resize_by(picture, target, self.kernel),
            // A long and thin picture would be very large before it is cropped.
            Some(crop) if crop.width <= target.width && crop.height <= target.height => {
                let (x0, y0) = (self.offset(target.width - crop.width), self.offset(target.height - crop.height));
                let middle = Bounds { x0, y0, x1: x0 + crop.width, y1: y0 + crop.height };
                resize_part(picture, target, middle, self.kernel)
            }
            Some(crop) => center_crop(&resize_by(picture, target, self.kernel), crop),
        }
    }

    /// Where the middle begins when so many pixels are too many.
    fn offset(&self, excess: u32) -> u32 {
        let half = f64::from(excess) / 2.0;
        if self.rounds_crop { half.round_ties_even() as u32 } else { half as u32 }
    }

    /// (1, 3, height, width), scaled by mean and deviation.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn to_tensor(&self, picture: &Picture, dtype: DType, device: &Device) -> Result<Tensor> {
        let extent = picture.extent();
        let (mean, std, scale) = (self.mean, self.std, self.scale as f32);
        let exact = scale == 1.0 / 255.0;
        let plane = |channel: usize| {
            picture.rgb().iter().skip(channel).step_by(3).map(move |v| {
                let value = if exact { f32::from(*v) / 255.0 } else { f32::from(*v) * scale };
                (value - mean[channel]) / std[channel]
            })
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

fn bad(files: &ModelFiles, file: &str, reason: String) -> ModelError {
    ModelError::BadFile { path: files.path_of(file), reason }
}
