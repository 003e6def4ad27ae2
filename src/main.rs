//! Arguments to window or command line; nothing else.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    let file = std::env::args_os().nth(1).map(Into::into);
    match maquette::ui::run(file, Default::default()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("maquette: {error:#}");
            ExitCode::FAILURE
        }
    }
}
