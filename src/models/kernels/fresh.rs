//! Results that are written once, into memory that is not cleared before: clearing costs as much as writing.

use std::mem::MaybeUninit;

/// Places that have no numbers yet.
pub(super) type Places = [MaybeUninit<f32>];

/// `count` numbers, as `write` puts them. In tests they are none until they are written, so that a place that was left out is seen.
///
/// # Errors
/// Those of `write`.
///
/// # Safety
/// `write` writes every place, unless it fails.
#[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
pub(super) unsafe fn written<E>(count: usize, write: impl FnOnce(&mut Places) -> Result<(), E>) -> Result<Vec<f32>, E> {
    let mut numbers = Vec::with_capacity(count);
    let places = &mut numbers.spare_capacity_mut()[..count];
    if cfg!(any(test, debug_assertions)) {
        places.fill(MaybeUninit::new(f32::NAN));
    }
    write(places)?;
    // Safety: there is room for them, and all are written.
    unsafe { numbers.set_len(count) };
    Ok(numbers)
}

/// Copies numbers to as many places.
#[inline(always)]
pub(super) fn put(numbers: &[f32], places: &mut Places) {
    places.write_copy_of_slice(numbers);
}
