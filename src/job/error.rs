//! Why a job gave no result. Plain values: no type of the tensor library gets out.

/// Why a job gave no result. Every message says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Somebody asked it to stop, or a newer request took its place.
    #[error("cancelled")]
    Cancelled,
    /// No such model.
    #[error("model \"{model}\" is not usable: {reason}")]
    ModelMissing {
        /// As asked for.
        model: String,
        /// What was looked for and not found, and what to do.
        reason: String,
    },
    /// The machine has not enough memory.
    #[error("not enough memory while {during}; choose a smaller size or a smaller model")]
    OutOfMemory {
        /// What was being done.
        during: String,
    },
    /// The request itself cannot be met.
    #[error("{0}")]
    BadJob(String),
    /// A computation failed.
    #[error("{during} failed: {details}")]
    Inference {
        /// What was being done.
        during: String,
        /// What the tensor library said.
        details: String,
    },
    /// A bug: the job panicked.
    #[error("the job stopped because of a bug in Maquette ({message}); other jobs go on")]
    Panic {
        /// The panic's message.
        message: String,
    },
}

impl JobError {
    /// Whether the input is to blame rather than the machine or the program.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::ModelMissing { .. } | Self::BadJob(_))
    }
}

impl From<crate::base::cancel::Cancelled> for JobError {
    fn from(_: crate::base::cancel::Cancelled) -> Self {
        Self::Cancelled
    }
}
