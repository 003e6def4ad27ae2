//! The allocator of the program, and when it gives free memory back to the system.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Large temporary tensors go back and forth all the time; the system's allocator would return their pages each time.
/// Not where files are fuzzed: there the sanitizer counts what is asked for.
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`: whether and when free memory goes back to the system. Option 15 in mimalloc's list; the crate has no name
/// for it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How many [`Returning`] there are.
static RETURNING: AtomicUsize = AtomicUsize::new(0);

/// Keeps free memory for what comes next: if it goes back, a net's next layer gets fresh pages, which the system clears first, a sixth
/// of a picture's time. To be called once, at the start.
pub fn keep_free_memory() {
    set_purge_delay(-1);
}

/// While there is one, memory goes back to the system at once when it is free: for the time of loading and dropping weights, whose
/// copies would stay with the program for good.
#[derive(Debug)]
pub struct Returning(());

impl Returning {
    /// From now on.
    #[must_use]
    pub fn begin() -> Self {
        if RETURNING.fetch_add(1, Ordering::Relaxed) == 0 {
            set_purge_delay(0);
        }
        Self(())
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if RETURNING.fetch_sub(1, Ordering::Relaxed) == 1 {
            set_purge_delay(-1);
        }
    }
}

fn set_purge_delay(milliseconds: std::ffi::c_long) {
    #[expect(unsafe_code, reason = "the allocator's options have no safe interface")]
    // Safety: sets a number that the allocator reads when memory is freed.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds);
    }
}
