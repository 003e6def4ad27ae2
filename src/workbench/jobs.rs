//! The jobs as a person sees them: what waits, what runs and how far it is, what was made lately.

use std::time::Duration;

use crate::base::task::Progress;
use crate::engine::{JobId, Lane};

/// Where a job stands.
#[derive(Debug, Clone)]
pub enum JobState {
    /// In the queue.
    Waiting,
    /// With the worker.
    Running {
        /// When it was taken up.
        since: Duration,
        /// How far it is.
        progress: Progress,
    },
}

/// A job that has not ended.
#[derive(Debug, Clone)]
pub struct ActiveJob {
    /// Its name for the engine.
    pub id: JobId,
    /// What kind of job it is.
    pub name: &'static str,
    /// What it works on: the prompt, say.
    pub detail: String,
    /// Live or batch.
    pub lane: Lane,
    /// When it was submitted.
    pub submitted: Duration,
    /// Where it stands.
    pub state: JobState,
}

impl ActiveJob {
    /// How long it will still take, judged by its pace so far; `None` if it is too early to tell.
    pub fn time_left(&self, now: Duration) -> Option<Duration> {
        let JobState::Running { since, progress } = &self.state else { return None };
        let done = progress.fraction().filter(|f| *f > 0.0)?;
        Some(now.saturating_sub(*since).mul_f32((1.0 - done).max(0.0) / done))
    }

    /// The finished share, if it is known.
    pub fn fraction(&self) -> Option<f32> {
        match &self.state {
            JobState::Waiting => None,
            JobState::Running { progress, .. } => progress.fraction(),
        }
    }
}

/// The jobs that have not ended, oldest first.
#[derive(Debug, Default)]
pub struct Jobs {
    active: Vec<ActiveJob>,
}

impl Jobs {
    /// The jobs that wait or run, oldest first.
    pub fn active(&self) -> &[ActiveJob] {
        &self.active
    }

    /// The job of this name, if it has not ended.
    pub fn get(&self, id: JobId) -> Option<&ActiveJob> {
        self.active.iter().find(|job| job.id == id)
    }

    pub(super) fn submitted(&mut self, id: JobId, name: &'static str, detail: String, lane: Lane, now: Duration) {
        self.active.push(ActiveJob { id, name, detail, lane, submitted: now, state: JobState::Waiting });
    }

    pub(super) fn started(&mut self, id: JobId, now: Duration) {
        if let Some(job) = self.active.iter_mut().find(|job| job.id == id) {
            job.state = JobState::Running { since: now, progress: Progress::default() };
        }
    }

    pub(super) fn progressed(&mut self, id: JobId, made: &Progress) {
        if let Some(ActiveJob { state: JobState::Running { progress, .. }, .. }) =
            self.active.iter_mut().find(|job| job.id == id)
        {
            progress.clone_from(made);
        }
    }

    pub(super) fn ended(&mut self, id: JobId) -> Option<ActiveJob> {
        let at = self.active.iter().position(|job| job.id == id)?;
        Some(self.active.remove(at))
    }
}
