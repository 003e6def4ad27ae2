//! The jobs that wait and the jobs that run, shared between the engine's handle and its worker.
//!
//! Two lanes: interactive jobs, of which only the newest of each kind survives, and batch jobs, first come first served.
//! More urgent work may start while less urgent work is at a checkpoint, so several jobs can be running, nested.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::event::JobId;
use crate::base::cancel::CancelFlag;
use crate::job::JobSpec;

/// The kinds of interactive work, most urgent first: each may interrupt those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InteractiveKind {
    /// Token counts of the prompt.
    Tokens,
    /// The lens.
    Heatmap,
    /// Zero-shot scores.
    Scores,
    /// The parts of the prompt.
    Words,
    /// The live preview.
    Preview,
}

/// How a job is treated beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Replaces the older job of its kind and interrupts everything less urgent.
    Interactive(InteractiveKind),
    /// Waits its turn and is never replaced.
    Batch,
}

/// A job taken from the queue to be run.
pub(super) struct Ticket {
    pub(super) id: JobId,
    pub(super) spec: JobSpec,
    pub(super) lane: Lane,
    pub(super) cancel: CancelFlag,
}

/// What the worker should do next.
pub(super) enum Next {
    Run(Box<Ticket>),
    ReleaseMemory,
    Close,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Ticket>,
    running: Vec<(JobId, Lane, CancelFlag)>,
    release: bool,
    closed: bool,
}

impl State {
    fn take_most_urgent(&mut self, more_urgent_than: Option<Lane>) -> Option<Box<Ticket>> {
        let allowed = |lane: Lane| more_urgent_than.is_none_or(|limit| lane < limit);
        let (at, _) =
            self.waiting.iter().enumerate().filter(|(_, ticket)| allowed(ticket.lane)).min_by_key(|(_, t)| t.lane)?;
        let ticket = self.waiting.remove(at)?;
        self.running.push((ticket.id, ticket.lane, ticket.cancel.clone()));
        Some(Box::new(ticket))
    }
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// Adds a job; returns the waiting job that it replaces. A running one that it replaces is told to stop.
    pub(super) fn push(&self, id: JobId, spec: JobSpec, lane: Lane) -> Option<JobId> {
        let mut state = self.lock();
        let mut replaced = None;
        if let Lane::Interactive(_) = lane {
            for (_, _, cancel) in state.running.iter().filter(|(_, running, _)| *running == lane) {
                cancel.cancel();
            }
            if let Some(at) = state.waiting.iter().position(|ticket| ticket.lane == lane) {
                replaced = state.waiting.remove(at).map(|ticket| ticket.id);
            }
        }
        state.waiting.push_back(Ticket { id, spec, lane, cancel: CancelFlag::default() });
        drop(state);
        self.changed.notify_one();
        replaced
    }

    /// Stops a job; true if it was only waiting and is now gone, so that nobody else will report its end.
    pub(super) fn cancel(&self, id: JobId) -> bool {
        let mut state = self.lock();
        if let Some(at) = state.waiting.iter().position(|ticket| ticket.id == id) {
            state.waiting.remove(at);
            return true;
        }
        for (_, _, cancel) in state.running.iter().filter(|(running, _, _)| *running == id) {
            cancel.cancel();
        }
        false
    }

    /// Waits for something to do.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Next::Close;
            }
            if std::mem::take(&mut state.release) {
                return Next::ReleaseMemory;
            }
            if let Some(ticket) = state.take_most_urgent(None) {
                return Next::Run(ticket);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A waiting job that may interrupt one of `lane`, if there is any. Never waits.
    pub(super) fn take_urgent(&self, lane: Lane) -> Option<Box<Ticket>> {
        self.lock().take_most_urgent(Some(lane))
    }

    pub(super) fn ended(&self, id: JobId) {
        self.lock().running.retain(|(running, _, _)| *running != id);
    }

    pub(super) fn request_release(&self) {
        self.lock().release = true;
        self.changed.notify_one();
    }

    /// Stops everything; the worker ends after the job it is in.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        for (_, _, cancel) in &state.running {
            cancel.cancel();
        }
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock, and the state is plain data, so poison carries no news.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
