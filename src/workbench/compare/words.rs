//! The parts of the current prompt: how far each moves the text, and what was measured of it on pictures.

use std::ops::Range;

use crate::engine::JobId;
use crate::job::ModelRef;
use crate::prompt::vary::Grain;
use crate::workbench::grid::words::PartValue;

/// The parts and what is known of them.
#[derive(Debug, Default)]
pub struct Words {
    pub(super) grain: Option<Grain>,
    pub(super) asked: Option<(ModelRef, Vec<String>)>,
    pub(super) job: Option<JobId>,
    pub(super) prompt: String,
    pub(super) used: Grain,
    pub(super) parts: Vec<Range<usize>>,
    pub(super) embeddings: Vec<Vec<f32>>,
    pub(super) failed: Option<String>,
    pub(super) values: Vec<PartValue>,
}

impl Words {
    /// How finely the prompt is to be taken apart; by itself if `None`.
    pub fn grain(&self) -> Option<Grain> {
        self.grain
    }

    /// How finely it was.
    pub fn used_grain(&self) -> Grain {
        self.used
    }

    /// The prompt that was taken apart.
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// The parts, in the order of the prompt.
    pub fn values(&self) -> &[PartValue] {
        &self.values
    }

    /// Whether newer figures are on their way.
    pub fn is_pending(&self) -> bool {
        self.job.is_some()
    }

    /// Why there are no figures.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}
