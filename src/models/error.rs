//! What can go wrong between a file and a tensor.

use std::path::PathBuf;

use crate::base::cancel::Cancelled;

/// What can go wrong in reading or running a net.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A file that the model needs is not there.
    #[error("the model has no file {}", .path.display())]
    MissingFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file is there but cannot be used.
    #[error("cannot use {}: {reason}", .path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// The input does not suit the net.
    #[error("{0}")]
    BadInput(String),
    /// The tensor library failed.
    #[error("{0}")]
    Tensor(candle_core::Error),
}

/// The result of reading or running a net.
pub type Result<T> = std::result::Result<T, ModelError>;

impl From<Cancelled> for ModelError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<candle_core::Error> for ModelError {
    /// Errors that `ModelError::through_candle` disguised come out as what they were.
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::Io(error) => match error.downcast::<Self>() {
                Ok(own) => own,
                Err(error) => Self::Tensor(candle_core::Error::Io(error)),
            },
            error => Self::Tensor(error),
        }
    }
}

impl ModelError {
    /// For our code that candle calls (weights are read through its `VarBuilder`): an error that loses nothing on its way.
    pub(super) fn through_candle(self) -> candle_core::Error {
        candle_core::Error::Io(std::io::Error::other(self))
    }
}
