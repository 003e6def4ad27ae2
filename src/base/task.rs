//! What a long computation gets to see of the world: whether to stop, whom to tell how far it is, when to let others in.
//!
//! Invariant: a net calls [`TaskCx::checkpoint`] every few hundredths of a second, so that cancelling and serving shorter work never
//! waits longer; [`Stretches`] measures it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::base::cancel::{CancelFlag, Cancelled};
use crate::base::pixels::Picture;

/// How far a task is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// What is being done, as a person would say it: "Denoising".
    pub stage: String,
    /// Finished steps of this stage.
    pub done: u32,
    /// All steps of this stage; 0 while unknown.
    pub total: u32,
    /// A first look at the result.
    pub preview: Option<Picture>,
}

impl Progress {
    /// `done` of `total` steps of `stage`, with nothing to look at yet.
    pub fn steps(stage: &str, done: u32, total: u32) -> Self {
        Self { stage: stage.to_owned(), done, total, preview: None }
    }

    /// The finished share, from 0 to 1; `None` while unknown.
    pub fn fraction(&self) -> Option<f32> {
        (self.total > 0).then(|| self.done as f32 / self.total as f32)
    }
}

/// The other end of a [`TaskCx`]: the engine, or nobody.
pub trait TaskHost {
    /// Takes note of progress; may drop some of it to keep to its own rate.
    fn progress(&self, progress: Progress);
    /// Whether progress reported now would be passed on: lets a task skip making a preview that nobody will see.
    fn wants_progress(&self) -> bool;
    /// Runs whatever is more urgent than this task, then returns.
    fn serve_urgent(&self);
}

struct Nobody;

impl TaskHost for Nobody {
    fn progress(&self, _: Progress) {}
    fn wants_progress(&self) -> bool {
        false
    }
    fn serve_urgent(&self) {}
}

/// A piece of a longer task: it stops when the task stops and lets the same work in, but keeps its progress to itself.
pub struct Part<'a>(&'a TaskCx<'a>);

impl<'a> Part<'a> {
    /// A piece of the task that `cx` was handed to.
    pub fn of(cx: &'a TaskCx<'a>) -> Self {
        Self(cx)
    }

    /// What the piece is handed.
    pub fn cx(&self) -> TaskCx<'_> {
        TaskCx::new(self.0.cancel.clone(), self)
    }
}

impl TaskHost for Part<'_> {
    fn progress(&self, _: Progress) {}

    fn wants_progress(&self) -> bool {
        false
    }

    fn serve_urgent(&self) {
        self.0.host.serve_urgent();
    }
}

/// A piece of a task whose checkpoints are timed.
pub struct Stretches<'a> {
    task: &'a TaskCx<'a>,
    since: Cell<Instant>,
    longest: Cell<Duration>,
}

impl<'a> Stretches<'a> {
    /// A piece of the task that `cx` was handed to, which begins now.
    pub fn of(cx: &'a TaskCx<'a>) -> Self {
        Self { task: cx, since: Cell::new(Instant::now()), longest: Cell::default() }
    }

    /// What the piece is handed.
    pub fn cx(&self) -> TaskCx<'_> {
        TaskCx::new(self.task.cancel.clone(), self)
    }

    /// The longest time, up to now, for which the task could neither be stopped nor let others in.
    pub fn longest(&self) -> Duration {
        self.longest.get().max(self.since.get().elapsed())
    }
}

impl TaskHost for Stretches<'_> {
    fn progress(&self, _: Progress) {}

    fn wants_progress(&self) -> bool {
        false
    }

    fn serve_urgent(&self) {
        self.longest.set(self.longest());
        self.task.host.serve_urgent();
        self.since.set(Instant::now());
    }
}

/// A piece of a task that also stops at the first pause after which nobody needs it any more.
pub struct Until<'a> {
    task: &'a TaskCx<'a>,
    is_needless: &'a dyn Fn() -> bool,
    cancel: CancelFlag,
}

impl<'a> Until<'a> {
    /// A piece of the task that `cx` was handed to, which stops as soon as `is_needless`: what runs in its pauses may have made it so.
    pub fn of(cx: &'a TaskCx<'a>, is_needless: &'a dyn Fn() -> bool) -> Self {
        Self { task: cx, is_needless, cancel: CancelFlag::default() }
    }

    /// What the piece is handed.
    pub fn cx(&self) -> TaskCx<'_> {
        TaskCx::new(self.cancel.clone(), self)
    }
}

impl TaskHost for Until<'_> {
    fn progress(&self, progress: Progress) {
        self.task.progress(progress);
    }

    fn wants_progress(&self) -> bool {
        self.task.wants_progress()
    }

    fn serve_urgent(&self) {
        self.task.host.serve_urgent();
        if self.task.cancel.is_cancelled() || (self.is_needless)() {
            self.cancel.cancel();
        }
    }
}

/// Handed to every long computation.
pub struct TaskCx<'a> {
    cancel: CancelFlag,
    host: &'a dyn TaskHost,
}

impl<'a> TaskCx<'a> {
    /// A context for a task that `host` runs and `cancel` stops.
    pub fn new(cancel: CancelFlag, host: &'a dyn TaskHost) -> Self {
        Self { cancel, host }
    }

    /// A context for a task that nobody watches or stops.
    pub fn detached() -> TaskCx<'static> {
        TaskCx { cancel: CancelFlag::default(), host: &Nobody }
    }

    /// Lets more urgent work run, then says whether this task is still wanted.
    ///
    /// # Errors
    /// [`Cancelled`] once somebody asked the task to stop; pass it on at once.
    pub fn checkpoint(&self) -> Result<(), Cancelled> {
        self.host.serve_urgent();
        if self.cancel.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Tells how far the task is.
    pub fn progress(&self, progress: Progress) {
        self.host.progress(progress);
    }

    /// Whether progress reported now would be seen.
    pub fn wants_progress(&self) -> bool {
        self.host.wants_progress()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Default)]
    struct Counting {
        told: Cell<u32>,
        served: Cell<u32>,
    }

    impl TaskHost for Counting {
        fn progress(&self, _: Progress) {
            self.told.set(self.told.get() + 1);
        }

        fn wants_progress(&self) -> bool {
            true
        }

        fn serve_urgent(&self) {
            self.served.set(self.served.get() + 1);
        }
    }

    #[test]
    fn stretches_are_counted_from_checkpoint_to_checkpoint() {
        let host = Counting::default();
        let task = TaskCx::new(CancelFlag::default(), &host);
        let stretches = Stretches::of(&task);
        let cx = stretches.cx();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(3) {}
        assert_eq!(cx.checkpoint(), Ok(()));
        let longest = stretches.longest();
        assert!(longest >= Duration::from_millis(3));
        (0..100).for_each(|_| assert_eq!(cx.checkpoint(), Ok(())));
        assert!(stretches.longest() >= longest);
        assert_eq!((host.served.get(), host.told.get()), (101, 0));
    }

    #[test]
    fn a_piece_stops_when_it_is_needless_or_its_task_stops() {
        let (cancel, host) = (CancelFlag::default(), Counting::default());
        let task = TaskCx::new(cancel.clone(), &host);
        let is_needless = || host.served.get() >= 2;
        let piece = Until::of(&task, &is_needless);
        piece.cx().progress(Progress::default());
        assert_eq!([piece.cx().checkpoint(), piece.cx().checkpoint()], [Ok(()), Err(Cancelled)]);
        assert_eq!((host.told.get(), host.served.get(), piece.cx().wants_progress()), (1, 2, true));
        let never = || false;
        let piece = Until::of(&task, &never);
        assert_eq!(piece.cx().checkpoint(), Ok(()));
        cancel.cancel();
        assert_eq!(piece.cx().checkpoint(), Err(Cancelled));
    }

    #[test]
    fn a_part_stops_and_yields_with_its_task_and_is_silent() {
        let (cancel, host) = (CancelFlag::default(), Counting::default());
        let task = TaskCx::new(cancel.clone(), &host);
        let part = Part::of(&task);
        part.cx().progress(Progress::default());
        assert_eq!(part.cx().checkpoint(), Ok(()));
        assert_eq!((host.told.get(), host.served.get(), part.cx().wants_progress()), (0, 1, false));
        cancel.cancel();
        assert_eq!(part.cx().checkpoint(), Err(Cancelled));
    }
}
