//! The sample pictures that ship inside the program.

use include_dir::{Dir, include_dir};

use super::pictures::{self, PictureError};
use crate::base::pixels::Picture;

static SAMPLES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/samples");

/// The file names of all sample pictures, sorted.
pub fn names() -> Vec<&'static str> {
    let files = SAMPLES.files().filter_map(|file| file.path().to_str());
    let mut names: Vec<&str> = files.filter(|name| name.ends_with(".png")).collect();
    names.sort_unstable();
    names
}

/// The sample picture of this file name.
///
/// # Errors
/// If there is none.
pub fn open(name: &str) -> Result<Picture, PictureError> {
    let file = SAMPLES.get_file(name).ok_or_else(|| PictureError::Unreadable {
        path: name.into(),
        reason: format!("there is no such sample; the samples are {}", names().join(", ")),
    })?;
    pictures::decode_bytes(file.contents(), name.as_ref())
}
