//! Pauses inside kernels: work that is shared out over the threads is done a few parts at a time, with a checkpoint between, so that a
//! task is stopped and more urgent work is done at once, however large the tensors.
//!
//! Invariant: parts are the same, and so are the bits of the result, however many are done at a time.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::base::task::TaskCx;
use crate::models::error::ModelError;

/// Multiplications that a thread does between two pauses: some hundredths of a second.
const MULTIPLICATIONS: usize = 1_000_000_000;
/// What it costs to read and write a number, in multiplications.
pub(super) const NUMBER: usize = 64;

/// Does `work` for each of `items`, on all threads; each costs about `each` multiplications.
///
/// # Errors
/// If the task is cancelled.
pub(super) fn in_turns<T: Send>(
    items: impl Iterator<Item = T>,
    each: usize,
    cx: &TaskCx<'_>,
    work: impl Fn(T) + Send + Sync,
) -> candle_core::Result<()> {
    let at_once = (MULTIPLICATIONS / each.max(1)).max(1) * rayon::current_num_threads();
    let mut items = items;
    loop {
        let now: Vec<T> = items.by_ref().take(at_once).collect();
        if now.is_empty() {
            return Ok(());
        }
        cx.checkpoint().map_err(|cancelled| ModelError::from(cancelled).through_candle())?;
        now.into_par_iter().for_each(&work);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::base::cancel::CancelFlag;
    use crate::base::task::{Progress, TaskHost};

    /// Cancels at the checkpoint of this number.
    struct Impatient {
        cancel: CancelFlag,
        left: Cell<usize>,
    }

    impl TaskHost for Impatient {
        fn progress(&self, _: Progress) {}

        fn wants_progress(&self) -> bool {
            false
        }

        fn serve_urgent(&self) {
            self.left.set(self.left.get() - 1);
            if self.left.get() == 0 {
                self.cancel.cancel();
            }
        }
    }

    #[test]
    fn every_item_is_done_once_unless_the_task_is_cancelled() {
        let done = AtomicUsize::new(0);
        let work = |number: usize| {
            done.fetch_add(number, Ordering::Relaxed);
        };
        in_turns(0..=100, MULTIPLICATIONS / 3, &TaskCx::detached(), work).unwrap();
        assert_eq!(done.swap(0, Ordering::Relaxed), 5050);
        let host = Impatient { cancel: CancelFlag::default(), left: Cell::new(2) };
        let error =
            in_turns(0..1_000_000, MULTIPLICATIONS, &TaskCx::new(host.cancel.clone(), &host), work).unwrap_err();
        assert!(matches!(ModelError::from(error), ModelError::Cancelled));
        let turn = rayon::current_num_threads();
        assert_eq!(done.into_inner(), turn * (turn - 1) / 2, "one turn was done");
    }
}
