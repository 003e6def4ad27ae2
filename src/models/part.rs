//! A net that is read when it is first needed, and can be given back until it is needed again.

use std::cell::RefCell;
use std::rc::Rc;

use super::error::Result;
use crate::base::heap::Returning;
use crate::base::task::TaskCx;

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

    /// The net, read if it is not here.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn get(&self, cx: &TaskCx<'_>) -> Result<Rc<T>> {
        if let Some(net) = &*self.net.borrow() {
            return Ok(net.clone());
        }
        let _returning = Returning::begin();
        // Nothing is borrowed meanwhile: at a pause, another job may want the same net.
        let loaded = Rc::new((self.load)(cx)?);
        Ok(self.net.borrow_mut().get_or_insert(loaded).clone())
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
    use std::cell::Cell;

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
