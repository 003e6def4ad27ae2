//! Noise and latents in safetensors files: what other programs give and take to compare pictures number by number.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::atomic;
use crate::job::latents::Latents;

/// The tensor with the noise, (1, channels, height, width).
const NOISE: &str = "noise";
/// The tensor with the latents, (1, channels, height, width).
const LATENTS: &str = "latents";
/// Longer files hold no noise of one picture.
const MAX_BYTES: u64 = 1 << 28;
/// Longer headers list more than the noise of one picture; a header takes ten times its size in memory.
const MAX_HEADER: u64 = 1 << 20;

/// A file of latents cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LatentsError {
    /// It is not there, or not what it should be.
    #[error("cannot read noise: {reason}: {path}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be written.
    #[error("cannot write latents: {reason}: {path}", path = path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The noise in `path`.
///
/// # Errors
/// [`LatentsError::Unreadable`].
pub fn read_noise(path: &Path) -> Result<Latents, LatentsError> {
    let unreadable = |reason: String| LatentsError::Unreadable { path: path.to_owned(), reason };
    let about = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    // Devices and pipes may never end.
    if !about.is_file() {
        return Err(unreadable("it is no ordinary file".to_owned()));
    }
    if about.len() > MAX_BYTES {
        return Err(unreadable("the file is too large for the noise of one picture".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header > MAX_HEADER {
        return Err(unreadable(format!(
            "it is not a safetensors file of noise alone (its header would have {header} bytes); save the tensor \"{NOISE}\" by itself"
        )));
    }
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| unreadable(format!("it is not a whole safetensors file ({error})")))?;
    let view = file.tensor(NOISE).map_err(|_| unreadable(format!("it has no tensor \"{NOISE}\"")))?;
    let [1, channels, height, width] = *view.shape() else {
        let shape = view.shape();
        return Err(unreadable(format!("\"{NOISE}\" has the shape {shape:?} and not (1, channels, height, width)")));
    };
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).filter_map(|b| b.try_into().ok()).map(f32::from_le_bytes).collect(),
        Dtype::F64 => {
            data.chunks_exact(8).filter_map(|b| b.try_into().ok()).map(|b| f64::from_le_bytes(b) as f32).collect()
        }
        other => return Err(unreadable(format!("\"{NOISE}\" holds {other:?}; save it as 32-bit numbers"))),
    };
    if !values.iter().all(|value| value.is_finite()) {
        return Err(unreadable(format!("\"{NOISE}\" holds something that is not a number")));
    }
    Latents::new([channels, height, width], values).ok_or_else(|| unreadable(format!("\"{NOISE}\" is empty")))
}

/// Writes `latents` to `path`, whole or not at all.
///
/// # Errors
/// [`LatentsError::Unwritable`].
pub fn write(path: &Path, latents: &Latents) -> Result<(), LatentsError> {
    let unwritable = |reason: String| LatentsError::Unwritable { path: path.to_owned(), reason };
    let bytes: Vec<u8> = latents.values().iter().flat_map(|value| value.to_le_bytes()).collect();
    let [channels, height, width] = latents.shape();
    let view = TensorView::new(Dtype::F32, vec![1, channels, height, width], &bytes)
        .map_err(|error| unwritable(error.to_string()))?;
    let file = safetensors::serialize([(LATENTS, view)], None).map_err(|error| unwritable(error.to_string()))?;
    atomic::write(path, &file).map_err(|error| unwritable(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_tensors_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noise.safetensors");
        let header = format!("{{{}}}", " ".repeat(MAX_HEADER as usize));
        std::fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()).unwrap();
        let said = read_noise(&path).unwrap_err().to_string();
        assert!(said.contains("not a safetensors file of noise alone"), "{said}");
    }
}
