//! A model's files: a folder on disk, or one embedded in the program. Nothing else in the project opens model files.
//!
//! Weights are read from safetensors only; pickled files are never executed. Every error names the file. No file, however
//! damaged or hostile, causes a panic or an allocation larger than itself.

mod header;
mod weights;

pub use weights::{Naming, Place, Weights};

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};

/// A folder of model files. Cheap to clone.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    /// A folder on disk.
    Folder(PathBuf),
    /// A folder inside the program.
    Embedded(&'static include_dir::Dir<'static>),
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
        }
    }

    /// Where `file` is, for messages.
    pub fn path_of(&self, file: &str) -> PathBuf {
        match self {
            Self::Folder(path) => path.join(file),
            Self::Embedded(dir) => Path::new("(built in)").join(dir.path()).join(file),
        }
    }

    /// Whether `file` is there.
    pub fn has(&self, file: &str) -> bool {
        match self {
            Self::Folder(path) => path.join(file).is_file(),
            Self::Embedded(dir) => dir.get_file(dir.path().join(file)).is_some(),
        }
    }

    /// The bytes of `file`.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub fn read(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        match self {
            Self::Folder(path) => {
                let path = path.join(file);
                std::fs::read(&path).map(Cow::Owned).map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => ModelError::MissingFile { path },
                    _ => ModelError::BadFile { path, reason: error.to_string() },
                })
            }
            Self::Embedded(dir) => dir
                .get_file(dir.path().join(file))
                .map(|found| Cow::Borrowed(found.contents()))
                .ok_or_else(|| ModelError::MissingFile { path: self.path_of(file) }),
        }
    }

    /// `file`, read as JSON.
    ///
    /// # Errors
    /// If it is not there or is not the JSON that was expected.
    pub fn read_json<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        serde_json::from_slice(&self.read(file)?)
            .map_err(|error| ModelError::BadFile { path: self.path_of(file), reason: error.to_string() })
    }

    /// The tensors of `file` (safetensors; in parts or at half precision if only that is there).
    ///
    /// # Errors
    /// If the file is not there, cut short, or not safetensors.
    pub fn weights(&self, file: &str) -> Result<Weights> {
        Weights::open(self, file)
    }

    /// The tensors of `file` by its own names, converted to `dtype` on `device` as they are asked for.
    ///
    /// # Errors
    /// As [`Self::weights`].
    pub fn tensors(&self, file: &str, dtype: DType, device: &Device) -> Result<VarBuilder<'static>> {
        Ok(self.weights(file)?.builder(dtype, device))
    }

    /// The SHA-256 over the names and bytes of `files`, in hexadecimal; missing files are skipped, and for weights that are in parts or
    /// at half precision those files are taken.
    ///
    /// # Errors
    /// If a file that is there cannot be read, or the task is cancelled.
    pub fn sha256(&self, files: &[&str], cx: &TaskCx<'_>) -> Result<String> {
        let mut hash = Sha256::new();
        let all = files.iter().flat_map(|file| weights::all_found(self, file));
        for file in all.filter(|file| self.has(file)) {
            let file = file.as_str();
            hash.update(file.as_bytes());
            match self {
                Self::Embedded(_) => self.hash_pieces(file, &mut &*self.read(file)?, &mut hash, cx)?,
                Self::Folder(_) => {
                    let path = self.path_of(file);
                    let mut opened = std::fs::File::open(&path)
                        .map_err(|error| ModelError::BadFile { path, reason: error.to_string() })?;
                    self.hash_pieces(file, &mut opened, &mut hash, cx)?;
                }
            }
        }
        Ok(format!("{:x}", hash.finalize()))
    }

    /// A model's files may be larger than the memory and take seconds.
    fn hash_pieces(&self, file: &str, bytes: &mut dyn Read, hash: &mut Sha256, cx: &TaskCx<'_>) -> Result<()> {
        let mut piece = vec![0; 4 << 20];
        loop {
            cx.checkpoint()?;
            let bad =
                |error: std::io::Error| ModelError::BadFile { path: self.path_of(file), reason: error.to_string() };
            match bytes.read(&mut piece).map_err(bad)? {
                0 => return Ok(()),
                count => hash.update(piece.get(..count).unwrap_or_default()),
            }
        }
    }
}
