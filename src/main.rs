//! Arguments to window or command line; nothing else.

use std::process::ExitCode;

/// Large temporary tensors go back and forth all the time; the system's allocator would return their pages each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`: whether and when free memory goes back to the system. If it does, a net's next layer gets fresh pages,
/// which the system clears first: a sixth of a picture's time. Option 15 in mimalloc's list; the crate has no name for it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    #[expect(unsafe_code, reason = "the allocator's options have no safe interface")]
    // Safety: sets a number that the allocator reads when memory is freed.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    maquette::cli::main()
}
