//! Pixels that are cheap to clone: pictures share their bytes, masks share their tiles (copy on write).
//!
//! Invariants: a picture never changes once made; every change of a mask gives it a new revision, so that equal
//! revisions mean equal pixels. Reading and writing of files is `store`'s.

mod mask;
mod picture;

pub use mask::{Mask, Paint};
pub use picture::{Picture, WrongLength};

use std::sync::atomic::{AtomicU64, Ordering};

/// Tells two states of something apart without comparing pixels; unique within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision(u64);

impl Revision {
    /// A revision that was never given out before.
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
