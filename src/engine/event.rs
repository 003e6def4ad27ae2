//! What the engine tells of its jobs.

use std::sync::Arc;

use crate::base::task::Progress;
use crate::job::{JobError, JobOutput};

/// Names a submitted job; never used twice by one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// Something happened to a job.
#[derive(Debug, Clone)]
pub struct Event {
    /// To which.
    pub id: JobId,
    /// What.
    pub kind: EventKind,
}

/// What can happen to a job. The last three are terminal: each job gets exactly one of them, and nothing after it.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The worker took it up.
    Started,
    /// It came further; at most 20 times a second.
    Progress(Progress),
    /// It ended well.
    Finished(Arc<JobOutput>),
    /// It ended badly.
    Failed(JobError),
    /// It was stopped, or replaced by a newer one.
    Cancelled,
}

impl EventKind {
    /// Whether nothing comes after it.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Failed(_) | Self::Cancelled)
    }
}
