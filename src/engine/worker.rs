//! The worker thread's loop: take a job, run it guarded against panics, report its end.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::event::{Event, EventKind, JobId};
use super::queue::{Lane, Next, Queue, Ticket};
use crate::base::task::{Progress, TaskCx, TaskHost};
use crate::job::JobError;

/// Progress comes at most 20 times a second.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

pub(super) struct Outlet {
    pub(super) events: Sender<Event>,
    pub(super) wake: super::Wake,
}

impl Outlet {
    fn send(&self, id: JobId, kind: EventKind) {
        // The engine's handle may be gone at the end of the program; nobody misses the event then.
        let _ = self.events.send(Event { id, kind });
        (self.wake)();
    }
}

type MadeBackend = Result<Box<dyn Backend>, JobError>;

pub(super) fn run(queue: &Queue, outlet: &Outlet, make_backend: impl FnOnce() -> MadeBackend) {
    let made = catch_unwind(AssertUnwindSafe(make_backend)).unwrap_or_else(|panic| Err(panic_error(&*panic)));
    let worker = Worker { queue, outlet, backend: made };
    loop {
        match queue.next() {
            Next::Run(ticket) => worker.run(*ticket),
            Next::ReleaseMemory => worker.release_memory(),
            Next::Close => return,
        }
    }
}

struct Worker<'a> {
    queue: &'a Queue,
    outlet: &'a Outlet,
    backend: MadeBackend,
}

impl Worker<'_> {
    fn run(&self, ticket: Ticket) {
        let id = ticket.id;
        self.outlet.send(id, EventKind::Started);
        let host = Host { worker: self, id, lane: ticket.lane, last_progress: Cell::new(None) };
        let cx = TaskCx::new(ticket.cancel.clone(), &host);
        let result = match &self.backend {
            Ok(backend) => catch_unwind(AssertUnwindSafe(|| backend.run(&ticket.spec, &cx))).unwrap_or_else(|panic| {
                // The backend may have been left in the middle of a change: start afresh.
                self.release_memory();
                Err(panic_error(&*panic))
            }),
            Err(error) => Err(error.clone()),
        };
        self.queue.ended(id);
        let kind = match result {
            _ if ticket.cancel.is_cancelled() => EventKind::Cancelled,
            Ok(output) => EventKind::Finished(Arc::new(output)),
            Err(JobError::Cancelled) => EventKind::Cancelled,
            Err(error) => EventKind::Failed(error),
        };
        self.outlet.send(id, kind);
    }

    fn release_memory(&self) {
        if let Ok(backend) = &self.backend
            && catch_unwind(AssertUnwindSafe(|| backend.release_memory())).is_err()
        {
            tracing::error!("releasing the models panicked");
        }
    }
}

/// One running job's view of the worker.
struct Host<'a> {
    worker: &'a Worker<'a>,
    id: JobId,
    lane: Lane,
    last_progress: Cell<Option<Instant>>,
}

impl TaskHost for Host<'_> {
    fn progress(&self, progress: Progress) {
        if self.wants_progress() {
            self.last_progress.set(Some(Instant::now()));
            self.worker.outlet.send(self.id, EventKind::Progress(progress));
        }
    }

    fn wants_progress(&self) -> bool {
        self.last_progress.get().is_none_or(|last| last.elapsed() >= PROGRESS_INTERVAL)
    }

    fn serve_urgent(&self) {
        while let Some(ticket) = self.worker.queue.take_urgent(self.lane) {
            self.worker.run(*ticket);
        }
    }
}

fn panic_error(payload: &(dyn Any + Send)) -> JobError {
    let message = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    JobError::Panic { message }
}
