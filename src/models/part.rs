//! A net that is read when it is first needed, and can be given back until it is needed again.

use std::cell::RefCell;
use std::rc::Rc;

use super::error::Result;
use crate::base::heap::Returning;
use crate::base::task::{TaskCx, Until};

/// Reads a net.
type Load<T> = Box<dyn Fn(&TaskCx<'_>) -> Result<T>>;

/// One net of a model.
pub struct Part<T> {
    net: RefCell<Option<Rc<T>>>,
    load: Load<T>,
}

impl<T> Part<T> {
    /// The net that `load` reads; it is not read yet.
    pub fn new(load: impl Fn(&TaskCx<'_>) -> Result<T> + 'static) -> Self {
        Self { net: RefCell::default(), load: Box::new(load) }
    }

    /// The net, read if it is not here. If another job reads it in a pause of this one's reading, that one's is taken and this reading
    /// ends there.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn get(&self, cx: &TaskCx<'_>) -> Result<Rc<T>> {
        let here = || self.net.borrow().clone();
        if let Some(net) = here() {
            return Ok(net);
        }
        let _returning = Returning::begin();
        // Nothing is borrowed meanwhile: at a pause, another job may want the same net. That one cannot wait for this one, which goes
        // on only when it has ended.
        let loaded = (self.load)(&Until::of(cx, &|| self.net.borrow().is_some()).cx());
        if let Some(net) = here() {
            return Ok(net);
        }
        let loaded = Rc::new(loaded?);
        *self.net.borrow_mut() = Some(loaded.clone());
        Ok(loaded)
    }

    /// Gives the net back, as soon as nobody uses it.
    pub fn release(&self) {
        let _returning = Returning::begin();
        self.net.take();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::cancel::CancelFlag;
    use crate::base::task::{Progress, TaskHost};
    use crate::models::ModelError;
    use std::cell::Cell;

    /// Wants the same net at its second pause.
    struct Nested<'a> {
        part: &'a Part<u32>,
        pauses: Cell<u32>,
    }

    impl TaskHost for Nested<'_> {
        fn progress(&self, _: Progress) {}

        fn wants_progress(&self) -> bool {
            false
        }

        fn serve_urgent(&self) {
            self.pauses.set(self.pauses.get() + 1);
            if self.pauses.get() == 2 {
                self.part.get(&TaskCx::detached()).unwrap();
            }
        }
    }

    #[test]
    fn is_not_read_to_the_end_if_a_job_in_a_pause_has_read_it() {
        let finished = Rc::new(Cell::new(0));
        let counted = finished.clone();
        let part = Part::new(move |cx| {
            (0..10).try_for_each(|_| cx.checkpoint())?;
            counted.set(counted.get() + 1);
            Ok(counted.get())
        });
        let host = Nested { part: &part, pauses: Cell::new(0) };
        let cancel = CancelFlag::default();
        let cx = TaskCx::new(cancel.clone(), &host);
        assert_eq!((*part.get(&cx).unwrap(), finished.get(), host.pauses.get()), (1, 1, 2));
        part.release();
        cancel.cancel();
        assert!(matches!(part.get(&cx), Err(ModelError::Cancelled)), "who is stopped has nothing");
        assert_eq!((finished.get(), host.pauses.get()), (1, 3));
    }

    #[test]
    fn is_read_once_until_it_is_given_back() {
        let reads = Rc::new(Cell::new(0));
        let counted = reads.clone();
        let part = Part::new(move |_| {
            counted.set(counted.get() + 1);
            Ok(counted.get())
        });
        let cx = TaskCx::detached();
        assert_eq!(reads.get(), 0);
        let first = part.get(&cx).unwrap();
        assert_eq!((*first, *part.get(&cx).unwrap()), (1, 1));
        part.release();
        assert_eq!((*first, *part.get(&cx).unwrap()), (1, 2));
    }
}
