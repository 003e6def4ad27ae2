//! The picture that forms while the user types, and the pictures that were made on purpose.

use std::time::Duration;

use super::command::PreviewTarget;
use crate::base::pixels::Picture;
use crate::engine::JobId;
use crate::job::spec::GenerateSpec;

/// A picture that was made on purpose, with the request that made it.
#[derive(Debug, Clone)]
pub struct MadePicture {
    /// The picture.
    pub picture: Picture,
    /// Its own seed; the request's is that of the first of its batch.
    pub seed: u64,
    /// The request.
    pub spec: GenerateSpec,
    /// Identifies the weights.
    pub model_hash: String,
}

/// The live picture.
#[derive(Debug, Clone)]
pub struct LivePicture {
    /// As far as it has formed.
    pub picture: Picture,
    /// Whether it is finished.
    pub is_final: bool,
    /// The request.
    pub spec: GenerateSpec,
    /// Which job forms it.
    pub job: JobId,
}

/// The live picture, the made ones and what is under way.
#[derive(Debug, Default)]
pub struct Preview {
    pub(super) target: PreviewTarget,
    pub(super) asked: Option<GenerateSpec>,
    pub(super) job: Option<JobId>,
    pub(super) live: Option<LivePicture>,
    pub(super) failed: Option<String>,
    pub(super) remarks: Vec<String>,
    /// When the request that is not yet submitted was first seen: the start of its debounce.
    pub(super) changed: Option<(GenerateSpec, Duration)>,
    /// Pictures that were asked for and that wait for files to be read.
    pub(super) waiting: Option<u32>,
    pub(super) batches: Vec<(JobId, GenerateSpec)>,
    results: Vec<MadePicture>,
    selected: Option<usize>,
}

/// More made pictures than this are not kept; the oldest go first.
const KEPT: usize = 200;

impl Preview {
    /// What the preview makes.
    pub fn target(&self) -> PreviewTarget {
        self.target
    }

    /// The live picture, if there is one.
    pub fn live(&self) -> Option<&LivePicture> {
        self.live.as_ref()
    }

    /// The job that forms the live picture.
    pub fn job(&self) -> Option<JobId> {
        self.job
    }

    /// Why there is no live picture for what is asked now.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// What the last live picture's request did not quite get: cut words, a rounded size.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The pictures that were made on purpose, oldest first.
    pub fn results(&self) -> &[MadePicture] {
        &self.results
    }

    /// The made picture that is shown instead of the live one.
    pub fn selected(&self) -> Option<usize> {
        self.selected
    }

    /// The picture to show large: the selected result, else the live one.
    pub fn shown(&self) -> Option<&Picture> {
        match self.selected {
            Some(index) => self.results.get(index).map(|made| &made.picture),
            None => self.live.as_ref().map(|live| &live.picture),
        }
    }

    pub(super) fn set_target(&mut self, target: PreviewTarget) {
        self.target = target;
        self.selected = None;
    }

    pub(super) fn select(&mut self, index: Option<usize>) {
        self.selected = index.filter(|index| *index < self.results.len());
    }

    pub(super) fn add_results(&mut self, made: impl IntoIterator<Item = MadePicture>) {
        self.results.extend(made);
        let excess = self.results.len().saturating_sub(KEPT);
        self.results.drain(..excess);
        self.selected = self.results.len().checked_sub(1);
    }

    pub(super) fn clear_results(&mut self) {
        self.results.clear();
        self.selected = None;
    }
}
