//! One command's dealings with the engine and the disk, and how failures become messages and exit codes.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::base::pixels::Picture;
use crate::engine::options::EngineOptions;
use crate::engine::{CandleBackend, Engine, EventKind, Lane};
use crate::job::{JobError, JobOutput, JobSpec};
use crate::store::atomic;
use crate::store::latents::LatentsError;
use crate::store::pictures::{self, PictureError};

/// Prints a line on standard output. Whoever reads it may have heard enough (`| head`): that ends the program, quietly.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::session::say_line(format_args!($($text)*)) };
}
pub(super) use say;

pub(super) fn say_line(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}") {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            _ => eprintln!("maquette: cannot write to standard output: {error}"),
        }
    }
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// What was given cannot be used: exit code 2.
    BadInput(String),
    /// It went wrong all the same: exit code 1.
    Failed(String),
}

impl Failure {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::BadInput(text) | Self::Failed(text) => text,
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::BadInput(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        let text = error.to_string();
        if error.is_bad_input() { Self::BadInput(text) } else { Self::Failed(text) }
    }
}

impl From<PictureError> for Failure {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::Unwritable { .. } => Self::Failed(error.to_string()),
            _ => Self::BadInput(error.to_string()),
        }
    }
}

impl From<LatentsError> for Failure {
    fn from(error: LatentsError) -> Self {
        match error {
            LatentsError::Unwritable { .. } => Self::Failed(error.to_string()),
            LatentsError::Unreadable { .. } => Self::BadInput(error.to_string()),
        }
    }
}

/// The engine, started when the first job needs it.
pub(super) struct Session {
    options: EngineOptions,
    engine: Option<Engine>,
}

impl Session {
    pub(super) fn new(options: EngineOptions) -> Self {
        Self { options, engine: None }
    }

    /// How its engine computes.
    pub(super) fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Runs a job to its end; progress goes to stderr if a person is watching.
    pub(super) fn run(&mut self, spec: JobSpec) -> Result<Arc<JobOutput>, Failure> {
        let is_watched = std::io::stderr().is_terminal();
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => {
                let options = self.options.clone();
                Engine::spawn(move || CandleBackend::boxed(&options), Arc::new(|| ()))
                    .map_err(|error| Failure::Failed(format!("the system cannot start a thread: {error}")))?
            }
        };
        let job = engine.submit(spec, Lane::Batch);
        let result = loop {
            let Some(event) = engine.wait(Duration::from_secs(3600)) else { continue };
            match event.kind {
                _ if event.id != job => {}
                EventKind::Started => {}
                EventKind::Progress(progress) => {
                    if is_watched && progress.total > 0 {
                        eprint!("\r{} {} of {}   ", progress.stage, progress.done, progress.total);
                    }
                }
                EventKind::Finished(output) => break Ok(output),
                EventKind::Failed(error) => break Err(Failure::from(error)),
                EventKind::Cancelled => break Err(Failure::Failed("the job was cancelled".to_owned())),
            }
        };
        if is_watched {
            eprint!("\r{:60}\r", "");
        }
        self.engine = Some(engine);
        result
    }
}

/// A job gave an answer of another kind than its request: a bug.
pub(super) fn wrong_answer() -> Failure {
    Failure::Failed("the engine gave an answer of the wrong kind; this is a bug in Maquette".to_owned())
}

/// Sets how many threads compute; must come before the first computation.
pub(super) fn set_threads(threads: Option<usize>) -> Result<(), Failure> {
    // Our own kernels share out what is large. candle's pool for element-wise work would spin beside them, waiting: a third more
    // processor time for a denoising step of the built-in model.
    set_variable("CANDLE_NUM_THREADS", 1);
    let Some(threads) = threads else { return Ok(()) };
    set_variable("RAYON_NUM_THREADS", threads);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Failure::Failed(format!("cannot compute with {threads} threads: {error}")))
}

/// candle reads its settings from the environment, once, when it first needs them; there is no other way to tell it.
fn set_variable(name: &str, value: usize) {
    #[expect(unsafe_code, reason = "setting a variable is unsafe while other threads run")]
    // Safety: called from `set_threads` alone, before any other thread is started.
    unsafe {
        std::env::set_var(name, value.to_string());
    }
}

/// Refuses early what could not be written later.
pub(super) fn check_out(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Failure::BadInput(format!("there is no such folder to write to: {}", folder.display())));
    }
    if path.is_dir() {
        return Err(Failure::BadInput(format!("this is a folder; name a file in it: {}", path.display())));
    }
    Ok(())
}

pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::BadInput(format!("cannot read this file ({error}): {}", path.display())))
}

pub(super) fn read_pictures(paths: &[PathBuf]) -> Result<Vec<Picture>, Failure> {
    paths.iter().map(|path| Ok(pictures::read(path)?)).collect()
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    atomic::write(path, bytes)
        .map_err(|error| Failure::Failed(format!("cannot write this file ({error}): {}", path.display())))
}

/// `path` with `suffix` before its ending: `a/b.png` and `7` give `a/b-7.png`.
pub(super) fn numbered(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = path.extension().map_or_else(|| "png".to_owned(), |ending| ending.to_string_lossy().into_owned());
    path.with_file_name(format!("{stem}-{suffix}.{ending}"))
}
