//! A model's files: a folder on disk, one embedded in the program, or one composed from a single file. Nothing else in the project opens model files.
//!
//! Weights are read from safetensors and from what `torch.save` wrote; pickles are never executed. Every error names the file. No file, however
//! damaged or hostile, causes a panic or an allocation larger than itself.

pub mod checkpoint;
mod composed;
mod header;
pub(super) mod json;
pub mod ldm;
mod pickle;
pub mod recognise;
mod stand_in;
mod variants;
mod weights;

pub use composed::Composed;
pub use header::Kind as Precision;
pub use weights::{Naming, Place, Weights};

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::models::tensors::Tensors;
use candle_core::{DType, Device};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};

/// Longer files are no settings, tokenizers or lists of words, in bytes.
const LONGEST_TEXT: u64 = 1 << 28;

/// Whether `name` ends as safetensors or files of `torch.save` do.
pub fn is_weights(name: &str) -> bool {
    name.to_lowercase().ends_with(".safetensors") || is_pickled(name)
}

fn is_pickled(name: &str) -> bool {
    let name = name.to_lowercase();
    [".ckpt", ".pt", ".pth", ".bin"].iter().any(|ending| name.ends_with(ending))
}

/// Why a file that [`is_weights`] does not know is not read.
pub fn why_not(path: &Path) -> &'static str {
    match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf")) {
        true => "this is a GGUF file; Maquette reads models as .safetensors",
        false => "this is no safetensors file",
    }
}

/// What to do about a pickled file that cannot be read.
fn conversion(path: &Path) -> String {
    format!(
        "Get it as .safetensors, or convert it with these lines of Python:\n    import torch, safetensors.torch\n    \
             data = torch.load(\"{name}\", map_location=\"cpu\", weights_only=True)\n    \
             data = data.get(\"state_dict\", data)\n    \
             data = {{k: v.contiguous().clone() for k, v in data.items() if isinstance(v, torch.Tensor)}}\n    \
             safetensors.torch.save_file(data, \"{stem}.safetensors\")",
        name = file_name(path),
        stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
    )
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Why `path`, which is no file, cannot be read as one: pipes and devices may never end.
pub(super) fn no_file(path: &Path) -> ModelError {
    let path = path.to_owned();
    let reason = match () {
        () if path.is_dir() => "this is a folder; name a file",
        () if path.exists() => "this is no file but a pipe or a device; name a file",
        () => return ModelError::MissingFile { path },
    };
    ModelError::BadFile { path, reason: reason.to_owned() }
}

/// All of a file of settings or words.
fn read_small(path: &Path) -> Result<Vec<u8>> {
    let bad = |reason: String| ModelError::BadFile { path: path.to_owned(), reason };
    let about = match std::fs::metadata(path) {
        Ok(about) if about.is_file() => about,
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(bad(error.to_string())),
        _ => return Err(no_file(path)),
    };
    if about.len() > LONGEST_TEXT {
        return Err(bad(format!(
            "it has {} bytes, more than any file of settings or words: download it again",
            about.len()
        )));
    }
    std::fs::read(path).map_err(|error| bad(error.to_string()))
}

/// The SHA-256 of one file, in hexadecimal.
///
/// # Errors
/// If it cannot be read, or the task is cancelled.
pub fn sha256_of(path: &Path, cx: &TaskCx<'_>) -> Result<String> {
    let mut hash = Sha256::new();
    hash_file(path, &mut hash, cx)?;
    Ok(format!("{:x}", hash.finalize()))
}

fn hash_file(path: &Path, hash: &mut Sha256, cx: &TaskCx<'_>) -> Result<()> {
    if !path.is_file() {
        return Err(no_file(path));
    }
    let bad = |error: std::io::Error| ModelError::BadFile { path: path.to_owned(), reason: error.to_string() };
    hash_pieces(&mut std::fs::File::open(path).map_err(bad)?, hash, cx)?.map_err(bad)
}

/// A model's files may be larger than the memory and take seconds.
fn hash_pieces(bytes: &mut dyn Read, hash: &mut Sha256, cx: &TaskCx<'_>) -> Result<std::io::Result<()>> {
    let mut piece = vec![0; 4 << 20];
    loop {
        cx.checkpoint()?;
        match bytes.read(&mut piece) {
            Ok(0) => return Ok(Ok(())),
            Ok(count) => hash.update(piece.get(..count).unwrap_or_default()),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// A folder of model files. Cheap to clone.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    /// A folder on disk.
    Folder(PathBuf),
    /// A folder inside the program.
    Embedded(&'static include_dir::Dir<'static>),
    /// A folder that is nowhere: a view of a single file.
    Composed(Arc<Composed>),
}

impl ModelFiles {
    /// The folder `name` inside this one; it need not exist.
    pub fn sub(&self, name: &str) -> Option<Self> {
        match self {
            Self::Folder(path) => {
                let path = path.join(name);
                path.is_dir().then_some(Self::Folder(path))
            }
            Self::Embedded(dir) => dir.get_dir(dir.path().join(name)).map(Self::Embedded),
            Self::Composed(composed) => composed.sub(name),
        }
    }

    /// Where `file` is, for messages.
    pub fn path_of(&self, file: &str) -> PathBuf {
        match self {
            Self::Folder(path) => path.join(file),
            Self::Embedded(dir) => Path::new("(built in)").join(dir.path()).join(file),
            Self::Composed(composed) => composed.path_of(file),
        }
    }

    /// Whether `file` is there.
    pub fn has(&self, file: &str) -> bool {
        match self {
            Self::Folder(path) => path.join(file).is_file(),
            Self::Embedded(dir) => dir.get_file(dir.path().join(file)).is_some(),
            Self::Composed(composed) => composed.has(file),
        }
    }

    /// The bytes of `file`, one of settings or words.
    ///
    /// # Errors
    /// If it is not there, cannot be read, or is too long to be one.
    pub fn read(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        match self {
            Self::Folder(path) => read_small(&path.join(file)).map(Cow::Owned),
            Self::Composed(composed) => composed.read(file),
            Self::Embedded(dir) => dir
                .get_file(dir.path().join(file))
                .map(|found| Cow::Borrowed(found.contents()))
                .ok_or_else(|| ModelError::MissingFile { path: self.path_of(file) }),
        }
    }

    /// `file`, read as a JSON object.
    ///
    /// # Errors
    /// If it is not there or is not the object that was expected.
    pub fn read_json<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        json::from_slice(&self.read(file)?).map_err(|reason| ModelError::BadFile { path: self.path_of(file), reason })
    }

    /// The tensors of `file` (safetensors; a variant, in parts or pickled if only that is there).
    ///
    /// # Errors
    /// If the file is not there, cut short, or not what its name says.
    pub fn weights(&self, file: &str) -> Result<Weights> {
        match self {
            Self::Composed(composed) => composed.weights(file),
            Self::Folder(_) | Self::Embedded(_) => Weights::open(self, file),
        }
    }

    /// The same folder, whose `file` is [`Weights::hollow`].
    ///
    /// # Errors
    /// As [`Self::weights`].
    pub(super) fn hollow(&self, file: &str) -> Result<Self> {
        let folder = Composed::new(&self.path_of(""), "").before(self.clone());
        Ok(Self::Composed(Arc::new(folder.with_weights(file, self.weights(file)?.hollow()))))
    }

    /// The tensors of `file` by its own names, converted to `dtype` on `device` as they are asked for.
    ///
    /// # Errors
    /// As [`Self::weights`].
    pub fn tensors<'a>(&self, file: &str, dtype: DType, device: &Device, cx: &'a TaskCx<'a>) -> Result<Tensors<'a>> {
        Ok(self.weights(file)?.tensors(dtype, device, cx))
    }

    /// The SHA-256 over the names and bytes of `files`, in hexadecimal; missing files are skipped, and for weights that are in parts or
    /// at half precision those files are taken. Of a model in a single file it is that file's.
    ///
    /// # Errors
    /// If a file that is there cannot be read, or the task is cancelled.
    pub fn sha256(&self, files: &[&str], cx: &TaskCx<'_>) -> Result<String> {
        if let Self::Composed(composed) = self {
            return sha256_of(composed.whole(), cx);
        }
        let mut hash = Sha256::new();
        let all = files.iter().flat_map(|file| weights::all_found(self, file));
        for file in all.filter(|file| self.has(file)) {
            let file = file.as_str();
            hash.update(file.as_bytes());
            match self {
                Self::Embedded(_) | Self::Composed(_) => hash.update(self.read(file)?),
                Self::Folder(_) => hash_file(&self.path_of(file), &mut hash, cx)?,
            }
        }
        Ok(format!("{:x}", hash.finalize()))
    }
}
