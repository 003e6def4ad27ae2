//! Pictures on disk: reading PNG, JPEG and WebP within sane limits, writing PNG with the job that made them inside.
//!
//! Transparent pixels are laid over white: everything downstream sees opaque pictures. EXIF orientation is honoured.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{atomic, user_comment};
use crate::base::geom::Extent;
use crate::base::pixels::{Mask, Picture};
use crate::job::spec::GenerateSpec;

/// Pictures with a longer side than this are refused.
pub const MAX_SIDE: u32 = 8192;
/// Longer texts in PNG files are passed over, in bytes.
const LONGEST_TEXT: usize = 16 << 20;
/// Larger files are refused: no picture of that size needs as much.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// The key of the PNG text chunk that holds the job as JSON.
pub const METADATA_KEY: &str = "maquette";
/// The key under which A1111 and its kin write their text.
const PARAMETERS_KEY: &str = "parameters";

/// Why a picture could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read the picture: {reason}: {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It is not a PNG, JPEG or WebP picture.
    #[error("this is not a PNG, JPEG or WebP picture; convert it and try again: {}", .path.display())]
    NotAPicture {
        /// The file.
        path: PathBuf,
    },
    /// It is cut short or damaged.
    #[error("the picture is damaged or cut short ({reason}); get a whole copy and try again: {}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// It is larger than the program handles.
    #[error("the picture is {extent} pixels; sides of at most {MAX_SIDE} are handled, so make it smaller first: {}", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        extent: Extent,
    },
    /// It could not be written.
    #[error("cannot write the picture: {reason}: {}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Reads a picture. The format is told by the contents, not by the name.
///
/// # Errors
/// See [`PictureError`]; sizes are checked before any pixel is decoded.
pub fn read(path: &Path) -> Result<Picture, PictureError> {
    decode_bytes(&read_bytes(path)?, path)
}

/// Reads a picture from the bytes of a file; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn decode_bytes(bytes: &[u8], path: &Path) -> Result<Picture, PictureError> {
    let decoded = decode(bytes, path)?;
    let extent = Extent::new(decoded.width(), decoded.height());
    let rgb = match decoded.color().has_alpha() {
        true => over_white(decoded.to_rgba8().as_raw()),
        false => decoded.into_rgb8().into_raw(),
    };
    Picture::from_rgb(extent, rgb)
        .map_err(|error| PictureError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// Reads a picture as a mask: white is inside, black is outside; transparent pixels count as outside.
///
/// # Errors
/// As [`read`].
pub fn read_mask(path: &Path) -> Result<Mask, PictureError> {
    let rgba = decode(&read_bytes(path)?, path)?.to_luma_alpha8();
    let coverage: Vec<u8> =
        rgba.as_raw().chunks_exact(2).map(|p| ((u16::from(p[0]) * u16::from(p[1]) + 127) / 255) as u8).collect();
    Ok(Mask::from_coverage(Extent::new(rgba.width(), rgba.height()), &coverage))
}

/// A picture from the four bytes a pixel (straight alpha) that a clipboard gives.
///
/// Returns `None` if the bytes do not fit the size, or a side is longer than [`MAX_SIDE`].
pub fn from_rgba(extent: Extent, rgba: &[u8]) -> Option<Picture> {
    if extent.longest() > MAX_SIDE || rgba.len() != extent.area() * 4 {
        return None;
    }
    Picture::from_rgb(extent, over_white(rgba)).ok()
}

/// What is written into a picture: the request that made it with its own seed, and the exact weights, as JSON.
pub fn job_record(spec: &GenerateSpec, seed: u64, model_hash: &str) -> String {
    let mut job = spec.clone();
    job.sampling.seed = seed;
    job.count = 1;
    serde_json::json!({ "schema": 1, "program": concat!("maquette ", env!("CARGO_PKG_VERSION")), "model_sha256": model_hash, "job": job })
        .to_string()
}

/// `picture` as the bytes of a PNG file; `metadata` goes into its text chunk.
///
/// # Errors
/// If the encoder fails, with its message.
pub fn to_png(picture: &Picture, metadata: Option<&str>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let extent = picture.extent();
    let mut encoder = png::Encoder::new(&mut bytes, extent.width, extent.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    if let Some(text) = metadata {
        // International text: prompts are not Latin-1.
        encoder.add_itxt_chunk(METADATA_KEY.to_owned(), text.to_owned()).map_err(|e| e.to_string())?;
    }
    let mut writer = encoder.write_header().map_err(|e| e.to_string())?;
    writer.write_image_data(picture.rgb()).map_err(|e| e.to_string())?;
    writer.finish().map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Writes `picture` as a PNG file, whole or not at all.
///
/// # Errors
/// [`PictureError::Unwritable`].
pub fn write_png(path: &Path, picture: &Picture, metadata: Option<&str>) -> Result<(), PictureError> {
    let unwritable = |reason: String| PictureError::Unwritable { path: path.to_owned(), reason };
    let bytes = to_png(picture, metadata).map_err(unwritable)?;
    atomic::write(path, &bytes).map_err(|error| unwritable(error.to_string()))
}

/// The text that [`write_png`] put into a PNG file; `None` if there is none.
///
/// # Errors
/// If the file is not a readable PNG.
pub fn read_metadata(path: &Path) -> Result<Option<String>, PictureError> {
    Ok(texts(path)?.into_iter().find(|(key, _)| key == METADATA_KEY).map(|(_, text)| text))
}

/// What a picture file says of how it was made: our own record, else the text of A1111 and its kin. `None` if there is neither.
pub fn read_parameters(path: &Path) -> Option<String> {
    let Ok(texts) = texts(path) else { return read_comment(path) };
    [METADATA_KEY, PARAMETERS_KEY]
        .into_iter()
        .find_map(|key| texts.iter().find(|(known, _)| known == key))
        .map(|(_, text)| text.clone())
}

/// The comment that a JPEG or WebP file has in its EXIF record.
fn read_comment(path: &Path) -> Option<String> {
    let reader = ImageReader::new(Cursor::new(read_bytes(path).ok()?)).with_guessed_format().ok()?;
    let record = reader.into_decoder().ok()?.exif_metadata().ok()??;
    user_comment::read(&record)
}

/// The text chunks of a PNG file: keys and texts.
fn texts(path: &Path) -> Result<Vec<(String, String)>, PictureError> {
    let mut reader = png::Decoder::new(Cursor::new(read_bytes(path)?))
        .read_info()
        .map_err(|e| PictureError::Damaged { path: path.to_owned(), reason: e.to_string() })?;
    let has_texts = |info: &png::Info<'_>| {
        !(info.utf8_text.is_empty()
            && info.uncompressed_latin1_text.is_empty()
            && info.compressed_latin1_text.is_empty())
    };
    // Text chunks may also follow the pixels.
    if !has_texts(reader.info()) {
        let _ = reader.finish();
    }
    let info = reader.info();
    // A few bytes can be a text of gigabytes.
    let international = info.utf8_text.iter().cloned().filter_map(|mut chunk| {
        chunk.decompress_text_with_limit(LONGEST_TEXT).ok()?;
        Some((chunk.keyword.clone(), chunk.get_text().ok()?))
    });
    let latin = info.uncompressed_latin1_text.iter().map(|chunk| (chunk.keyword.clone(), chunk.text.clone()));
    let packed = info.compressed_latin1_text.iter().cloned().filter_map(|mut chunk| {
        chunk.decompress_text_with_limit(LONGEST_TEXT).ok()?;
        Some((chunk.keyword.clone(), chunk.get_text().ok()?))
    });
    Ok(international.chain(latin).chain(packed).collect())
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, PictureError> {
    let unreadable = |reason: String| PictureError::Unreadable { path: path.to_owned(), reason };
    // Devices and pipes may never end.
    let about = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
    if !about.is_file() {
        return Err(unreadable("it is no ordinary file".to_owned()));
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(unreadable("files of at most 1 GiB are handled".to_owned()));
    }
    std::fs::read(path).map_err(|e| unreadable(e.to_string()))
}

fn decode(bytes: &[u8], path: &Path) -> Result<DynamicImage, PictureError> {
    let damaged = |e: image::ImageError| PictureError::Damaged { path: path.to_owned(), reason: e.to_string() };
    let known = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
    let Some(format) = image::guess_format(bytes).ok().filter(|format| known.contains(format)) else {
        return Err(PictureError::NotAPicture { path: path.to_owned() });
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // Our own check of the size comes first, with a better message than the decoder's.
    reader.limits(Limits::no_limits());
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(PictureError::TooLarge { path: path.to_owned(), extent: Extent::new(width, height) });
    }
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

fn over_white(rgba: &[u8]) -> Vec<u8> {
    let blend = |c: u8, a: u8| ((u32::from(c) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8;
    rgba.chunks_exact(4).flat_map(|p| [blend(p[0], p[3]), blend(p[1], p[3]), blend(p[2], p[3])]).collect()
}
