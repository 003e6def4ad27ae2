//! What can be made again and is kept because it took a while: thumbnails and measured effects, each under the hash of the request
//! that it answers.

use std::path::{Path, PathBuf};

use image::imageops;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{atomic, pictures};
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::job::ModelRef;

/// Longer side of a thumbnail, in pixels.
pub const THUMBNAIL_SIDE: u32 = 128;
/// So many files of a kind are kept; then the oldest quarter goes.
const MOST_FILES: usize = 4000;

/// Names what answers `request`: the hash of its JSON and of the state of the models that it names.
pub fn key(request: &impl Serialize, models: &[&ModelRef]) -> String {
    let mut hash = Sha256::new();
    // A request that cannot be written is no request; all are plain values.
    hash.update(serde_json::to_vec(request).unwrap_or_default());
    for model in models {
        hash.update(stamp(model));
    }
    format!("{:x}", hash.finalize())
}

/// Changes when the model does: the program's version for its own models, size and time of a file, time of a folder.
fn stamp(model: &ModelRef) -> String {
    let about = std::fs::metadata(&model.0).ok();
    let seconds = about.as_ref().and_then(|about| about.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok());
    match (about, seconds) {
        (Some(about), Some(time)) => format!("{model} {} {}", about.len(), time.as_secs()),
        _ => format!("{model} {}", env!("CARGO_PKG_VERSION")),
    }
}

/// The thumbnail under `key`, if there is one.
pub fn thumbnail(cache: &Path, key: &str) -> Option<Picture> {
    pictures::read(&thumbnail_path(cache, key)).ok()
}

/// Makes a thumbnail of `picture` and keeps it under `key` with the job that made it inside.
///
/// # Errors
/// If it cannot be written, with the path; the thumbnail is given all the same.
pub fn keep_thumbnail(cache: &Path, key: &str, picture: &Picture, record: &str) -> (Picture, Result<(), String>) {
    let small = scaled(picture);
    let path = thumbnail_path(cache, key);
    let write = || -> Result<(), String> {
        make_room(&path).map_err(|error| error.to_string())?;
        pictures::write_png(&path, &small, Some(record)).map_err(|error| error.to_string())
    };
    let written = write().map_err(|reason| format!("a thumbnail was not kept ({reason}): {}", path.display()));
    (small, written)
}

/// The value under `key` of a kind, if there is one that makes sense.
pub fn value<T: DeserializeOwned>(cache: &Path, kind: &str, key: &str) -> Option<T> {
    let text = std::fs::read_to_string(cache.join(kind).join(format!("{key}.json"))).ok()?;
    serde_json::from_str(&text).ok()
}

/// Keeps a value under `key` of a kind.
///
/// # Errors
/// If it cannot be written, with the path.
pub fn keep_value(cache: &Path, kind: &str, key: &str, value: &impl Serialize) -> Result<(), String> {
    let path = cache.join(kind).join(format!("{key}.json"));
    let write = || -> std::io::Result<()> {
        make_room(&path)?;
        atomic::write(&path, &serde_json::to_vec(value).map_err(std::io::Error::other)?)
    };
    write().map_err(|error| format!("a measurement was not kept ({error}): {}", path.display()))
}

fn thumbnail_path(cache: &Path, key: &str) -> PathBuf {
    cache.join("thumbnails").join(format!("{key}.png"))
}

/// Makes the folder of `path`, and room in it.
fn make_room(path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    if files.len() >= MOST_FILES {
        files.sort();
        for (_, old) in files.iter().take(MOST_FILES / 4) {
            // Another window may have removed it.
            let _ = std::fs::remove_file(old);
        }
    }
    Ok(())
}

/// `picture` at the size of a thumbnail; a smaller one stays as it is.
fn scaled(picture: &Picture) -> Picture {
    let extent = picture.extent();
    let longest = extent.longest();
    if longest <= THUMBNAIL_SIDE {
        return picture.clone();
    }
    let side = |side: u32| (side * THUMBNAIL_SIDE / longest).max(1);
    let small = Extent::new(side(extent.width), side(extent.height));
    let image = image::RgbImage::from_raw(extent.width, extent.height, picture.rgb().to_vec());
    let image = image.map(|image| imageops::thumbnail(&image, small.width, small.height).into_raw());
    image.and_then(|rgb| Picture::from_rgb(small, rgb).ok()).unwrap_or_else(|| picture.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_kept_is_found_under_its_own_key_alone() {
        let root = tempfile::tempdir().unwrap();
        let cache = root.path();
        let model = ModelRef::builtin();
        let (one, two) = (key(&("a fox", 1), &[&model]), key(&("a fox", 2), &[&model]));
        let picture = Picture::from_fn(Extent::new(512, 256), |x, _| [x as u8, 0, 9]);
        let (small, written) = keep_thumbnail(cache, &one, &picture, "{}");
        assert_eq!((written, small.extent()), (Ok(()), Extent::new(128, 64)));
        assert_eq!(thumbnail(cache, &one), Some(small));
        assert_eq!(thumbnail(cache, &two), None);
        keep_value(cache, "effects", &one, &vec![1.5, 2.0]).unwrap();
        assert_eq!(value::<Vec<f64>>(cache, "effects", &one), Some(vec![1.5, 2.0]));
        std::fs::write(cache.join(format!("effects/{two}.json")), "[1.5,").unwrap();
        assert_eq!(value::<Vec<f64>>(cache, "effects", &two), None);
    }

    #[test]
    fn another_file_under_the_same_path_is_another_model() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model.safetensors");
        let model = ModelRef(path.display().to_string());
        std::fs::write(&path, "one").unwrap();
        let before = key(&1, &[&model]);
        std::fs::write(&path, "other").unwrap();
        assert_ne!(before, key(&1, &[&model]));
    }
}
