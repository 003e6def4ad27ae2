//! What the worker runs jobs with.

use crate::base::task::TaskCx;
use crate::job::{JobError, JobOutput, JobSpec};

/// Runs jobs, one at a time and only on the worker thread.
///
/// `run` takes `&self`: a job that reaches a checkpoint lets more urgent jobs run on the same backend before it goes on,
/// so a backend keeps what changes behind interior mutability and holds no borrow of it across a checkpoint.
pub trait Backend {
    /// Runs `spec` to its end.
    ///
    /// # Errors
    /// [`JobError::Cancelled`] soon after the task was asked to stop, anything else if there is no result.
    fn run(&self, spec: &JobSpec, cx: &TaskCx<'_>) -> Result<JobOutput, JobError>;

    /// Drops every loaded model and cache.
    fn release_memory(&self);
}
