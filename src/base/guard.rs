//! Calls into libraries that panic on odd input: the panic becomes an error, and nothing is printed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `run` gives.
///
/// # Errors
/// What it said when it panicked. What it changed may be half done and should be dropped.
pub fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                others(panic);
            }
        }));
    });
    let was_guarded = IS_GUARDED.replace(true);
    let made = catch_unwind(AssertUnwindSafe(run));
    IS_GUARDED.set(was_guarded);
    made.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_is_an_error_and_the_next_one_is_not_hidden() {
        assert_eq!(guarded(|| 3), Ok(3));
        assert_eq!(guarded(|| -> u8 { panic!("no {}", 1) }), Err("no 1".to_owned()));
        let inner = guarded(|| guarded(|| -> u8 { panic!("inside") }));
        assert_eq!(inner, Ok(Err("inside".to_owned())));
        assert!(!super::IS_GUARDED.get());
    }
}
