//! L4: one worker thread that runs jobs, and the queue in front of it.
//!
//! Invariants: submitting never blocks; of each interactive kind only the newest request survives; every submitted job
//! gets exactly one terminal event; a panic ends one job, not the worker. Models are loaded and dropped on the worker
//! thread only. Knows nothing of documents and windows.

mod accounting;
mod backend;
mod bench;
mod candle_backend;
mod event;
pub mod mock;
pub mod options;
mod queue;
mod worker;

pub use backend::Backend;
pub use candle_backend::CandleBackend;
pub use event::{Event, EventKind, JobId};
pub use queue::{InteractiveKind, Lane};

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::job::{JobError, JobSpec};
use queue::Queue;

/// How long closing waits for the job that is running; a net's block is shorter than this on any sensible machine.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(700);

/// Called from the worker thread whenever there is an event to poll.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The handle to the worker thread. Dropping it cancels everything and ends the thread.
pub struct Engine {
    queue: Arc<Queue>,
    events: Receiver<Event>,
    event_sender: Sender<Event>,
    wake: Wake,
    next_id: u64,
    thread: Option<std::thread::JoinHandle<()>>,
    thread_ended: Receiver<()>,
}

impl Engine {
    /// Starts the worker thread; `make_backend` runs on it, `wake` is called from it after each event.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn spawn(
        make_backend: impl FnOnce() -> Result<Box<dyn Backend>, JobError> + Send + 'static,
        wake: Wake,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (event_sender, events) = channel();
        let (ended, thread_ended) = channel();
        let outlet = worker::Outlet { events: event_sender.clone(), wake: wake.clone() };
        let workers_queue = queue.clone();
        let thread = std::thread::Builder::new()
            .name("maquette-worker".to_owned())
            // Backward passes and deep nets recurse; the default of 2 MiB is tight for them.
            .stack_size(16 << 20)
            .spawn(move || {
                worker::run(&workers_queue, &outlet, make_backend);
                // Nobody may be listening any more; that is fine.
                let _ = ended.send(());
            })?;
        Ok(Self { queue, events, event_sender, wake, next_id: 0, thread: Some(thread), thread_ended })
    }

    /// Queues a job. An interactive job replaces the one of its kind that waits or runs.
    pub fn submit(&mut self, spec: JobSpec, lane: Lane) -> JobId {
        self.next_id += 1;
        let id = JobId(self.next_id);
        if let Some(superseded) = self.queue.push(id, spec, lane) {
            self.send(superseded, EventKind::Cancelled);
        }
        id
    }

    /// Stops a job, waiting or running. Does nothing if it has already ended.
    pub fn cancel(&self, id: JobId) {
        if self.queue.cancel(id) {
            self.send(id, EventKind::Cancelled);
        }
    }

    /// Everything that happened since the last call, in order.
    pub fn poll(&mut self) -> Vec<Event> {
        self.events.try_iter().collect()
    }

    /// Waits up to `timeout` for the next event: for programs without a window.
    pub fn wait(&mut self, timeout: Duration) -> Option<Event> {
        self.events.recv_timeout(timeout).ok()
    }

    /// Drops all loaded models as soon as the worker is between jobs.
    pub fn release_memory(&self) {
        self.queue.request_release();
    }

    fn send(&self, id: JobId, kind: EventKind) {
        // The receiver lives in self, so sending cannot fail.
        let _ = self.event_sender.send(Event { id, kind });
        (self.wake)();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.queue.close();
        let Some(thread) = self.thread.take() else { return };
        if self.thread_ended.recv_timeout(CLOSE_TIMEOUT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the worker is still inside a computation; leaving it to the end of the process");
            return;
        }
        if thread.join().is_err() {
            tracing::error!("the worker thread panicked outside a job");
        }
    }
}
