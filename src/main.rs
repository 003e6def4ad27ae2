//! Arguments to window or command line; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    maquette::base::heap::keep_free_memory();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    maquette::cli::main()
}
