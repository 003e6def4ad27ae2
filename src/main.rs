//! Arguments to window or command line; nothing else.

use std::process::ExitCode;

/// Large temporary tensors go back and forth all the time; the system's allocator would return their pages each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    maquette::cli::main()
}
