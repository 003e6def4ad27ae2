//! L6: the command line: the same engine without a window. Text for people, `--json` for programs, errors on stderr.
//!
//! Exit codes: 0 fine, 1 failure, 2 bad usage or bad input. A file is written whole or not at all; of several pictures each
//! is written as soon as it is made.

mod args;
mod check;
mod compare;
mod generate;
mod grid;
mod heatmap;
mod json;
mod library;
mod lora;
mod models;
mod nets;
mod others;
mod prompt;
mod runs;
mod session;
mod tour;
mod tour_report;
mod words;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, Models};
use session::{Failure, Session};

/// Runs what the process was asked for.
pub fn main() -> ExitCode {
    // clap prints its own message and leaves with 2 on bad usage, with 0 after --help.
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("maquette: {}", failure.message());
            failure.exit_code()
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    let options = args.engine_options();
    if let (Some(file), Some(_)) = (&args.file, &args.command) {
        let text = format!("a picture for the window and a command do not go together: {}", file.display());
        return Err(Failure::BadInput(text));
    }
    session::set_threads(options.threads)?;
    let mut session = Session::new(options.clone());
    match args.command {
        None => return window(args.file, options),
        Some(Command::Tour(tour)) => tour::run(&tour, &mut session)?,
        Some(Command::Generate(generate)) => generate::run(&generate, &mut session)?,
        Some(Command::Heatmap(heatmap)) => heatmap::run(&heatmap, &mut session)?,
        Some(Command::Compare(compare)) => compare::run(&compare, &mut session)?,
        Some(Command::Embed(embed)) => others::embed(&embed, &mut session)?,
        Some(Command::Bench(bench)) => others::bench(&bench, &mut session)?,
        Some(Command::Prompt { command }) => prompt::run(&command)?,
        Some(Command::Library { command }) => library::run(&command, &mut session)?,
        Some(Command::Models { command: Models::List { json } }) => models::list(json, &options)?,
        Some(Command::Models { command: Models::Add { path } }) => models::add(&path, &options)?,
        Some(Command::Models { command: Models::Check(check) }) => check::run(&check, &mut session, &options)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn window(
    file: Option<std::path::PathBuf>,
    options: crate::engine::options::EngineOptions,
) -> Result<ExitCode, Failure> {
    let displays = ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"];
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if cfg!(target_os = "linux") && !displays.into_iter().any(is_set) {
        let text = "there is no display for a window; without one, try `cargo run --release -- tour --out DIR`";
        return Err(Failure::Failed(text.to_owned()));
    }
    if let Some(path) = file.as_ref().filter(|path| !path.exists()) {
        return Err(Failure::BadInput(format!("there is no such file: {}", path.display())));
    }
    crate::ui::run(file, options).map_err(|error| Failure::Failed(format!("{error:#}")))
}
