//! Reading and writing files on background threads: a frame never waits for a disk.
//!
//! Invariants: every task is reported once, also if it panics; of several pictures that are being opened only the one that was
//! asked for last arrives; [`Background::finish_saves`] waits for what is being written, and only for that.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::command::LazyBytes;
use super::library::{LibraryDone, LibraryTask};
use super::models::{self, KnownModel};
use super::resources::{self, Answers, Wanted};
use crate::base::geom::Extent;
use crate::base::pixels::{Mask, Picture};
use crate::engine::Wake;
use crate::job::spec::GenerateSpec;
use crate::registry::Sort;
use crate::store::{pictures, samples};

/// Something to do with a file.
pub(super) enum FileTask {
    Open(PathBuf),
    /// As `Open`; what the picture says of how it was made is wanted, too.
    OpenDropped(PathBuf),
    OpenSample(String),
    /// Opens a picture for the ControlNet of this index.
    OpenControl {
        index: usize,
        path: PathBuf,
    },
    Convert {
        extent: Extent,
        rgba: LazyBytes,
    },
    SavePicture {
        path: PathBuf,
        picture: Picture,
        metadata: Option<Box<(GenerateSpec, u64, String)>>,
    },
    SaveMask {
        path: PathBuf,
        mask: Mask,
    },
    /// Looks for models; the folder is that of the user's presets.
    ReadModels(Option<PathBuf>),
    /// Finds and reads files; the folder is that of the user's presets.
    ReadResources {
        presets: Option<PathBuf>,
        wanted: Vec<Wanted>,
    },
    /// Remembers `path` there.
    AddModels {
        presets: Option<PathBuf>,
        path: PathBuf,
    },
    Library(LibraryTask),
}

impl FileTask {
    /// What is told if it fails.
    fn on_failure(&self) -> Box<dyn FnOnce(String) -> FileDone + Send> {
        match self {
            Self::Library(task) => match task.on_failure() {
                Some(tell) => Box::new(|text| FileDone::Library(tell(text))),
                None => Box::new(|text| FileDone::Failed { text }),
            },
            Self::ReadResources { wanted, .. } => {
                let wanted = wanted.clone();
                let answer = |text: String| wanted.into_iter().map(|wanted| (wanted, Err(text.clone()))).collect();
                Box::new(move |text| FileDone::ResourcesRead(answer(text)))
            }
            Self::ReadModels(_) => Box::new(|text| FileDone::ModelsRead(Err(text))),
            _ => Box::new(|text| FileDone::Failed { text }),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Open(_) | Self::OpenDropped(_) | Self::OpenSample(_) | Self::Convert { .. } => Kind::Open,
            Self::SavePicture { .. } | Self::SaveMask { .. } | Self::AddModels { .. } => Kind::Save,
            Self::ReadModels(_) | Self::ReadResources { .. } | Self::OpenControl { .. } => Kind::Look,
            Self::Library(task) if task.saves() => Kind::Save,
            Self::Library(_) => Kind::Look,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Save,
    Look,
}

/// How it went.
pub(super) enum FileDone {
    Opened {
        picture: Picture,
        name: String,
        /// What it says of how it was made.
        parameters: Option<String>,
    },
    Saved {
        path: PathBuf,
    },
    /// What was found, or why nothing could be looked for.
    ModelsRead(Result<Vec<KnownModel>, String>),
    ResourcesRead(Answers),
    ControlOpened {
        index: usize,
        picture: Picture,
        name: String,
    },
    ModelsAdded {
        text: String,
    },
    Library(LibraryDone),
    Failed {
        text: String,
    },
}

/// What a thread tells of its task, by the number of the task.
struct Report {
    number: u64,
    kind: Kind,
    done: FileDone,
}

/// The threads that read and write.
pub(super) struct Background {
    wake: Wake,
    sender: Sender<Report>,
    receiver: Receiver<Report>,
    /// How many tasks were started: the number of the newest.
    started: u64,
    newest_open: u64,
    saves_under_way: usize,
}

impl Background {
    pub(super) fn new(wake: Wake) -> Self {
        let (sender, receiver) = channel();
        Self { wake, sender, receiver, started: 0, newest_open: 0, saves_under_way: 0 }
    }

    pub(super) fn start(&mut self, task: FileTask) {
        self.started += 1;
        let (number, kind) = (self.started, task.kind());
        match kind {
            Kind::Open => self.newest_open = number,
            Kind::Save => self.saves_under_way += 1,
            Kind::Look => {}
        }
        let (sender, wake) = (self.sender.clone(), self.wake.clone());
        let (on_failure, not_started) = (task.on_failure(), task.on_failure());
        let spawned = std::thread::Builder::new().name("maquette-files".to_owned()).spawn(move || {
            // The window may have closed meanwhile.
            let _ = sender.send(Report { number, kind, done: guarded(|| run(task)).unwrap_or_else(on_failure) });
            wake();
        });
        if let Err(error) = spawned {
            let text = format!("the system cannot start a thread for this file: {error}");
            // The receiver lives in self, so sending cannot fail.
            let _ = self.sender.send(Report { number, kind, done: not_started(text) });
        }
    }

    /// What was done since the last call; a picture that was asked for before another one is left out.
    pub(super) fn poll(&mut self) -> Option<FileDone> {
        while let Ok(report) = self.receiver.try_recv() {
            if let Some(done) = self.take(report) {
                return Some(done);
            }
        }
        None
    }

    /// Waits until everything that is being written is written, for at most `patience`.
    ///
    /// # Errors
    /// What was not written, and why; for the end of the program, when there is no window any more to show it.
    pub(super) fn finish_saves(&mut self, patience: Duration) -> Result<(), Vec<String>> {
        let deadline = Instant::now() + patience;
        let mut failures = Vec::new();
        while self.saves_under_way > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(report) = self.receiver.recv_timeout(left) else {
                failures.push(format!("{} files were not written in time", self.saves_under_way));
                break;
            };
            if let Some(FileDone::Failed { text }) = self.take(report) {
                failures.push(text);
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    fn take(&mut self, report: Report) -> Option<FileDone> {
        if report.kind == Kind::Save {
            self.saves_under_way = self.saves_under_way.saturating_sub(1);
        }
        match report.done {
            FileDone::Opened { .. } if report.number != self.newest_open => None,
            done => Some(done),
        }
    }
}

/// Does `work`; a panic becomes a failure, so that whoever waits for it is told.
fn guarded(work: impl FnOnce() -> Result<FileDone, String>) -> Result<FileDone, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(format!("the program failed at this file ({}); this is a bug, please report it", message(&*panic)))
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown reason".to_owned())
}

fn run(task: FileTask) -> Result<FileDone, String> {
    match task {
        FileTask::Open(path) => open(&path, None),
        FileTask::OpenDropped(path) => open(&path, pictures::read_parameters(&path)),
        FileTask::OpenControl { index, path } => {
            let picture = pictures::read(&path).map_err(|error| error.to_string())?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Ok(FileDone::ControlOpened { index, picture, name })
        }
        FileTask::ReadResources { presets, wanted } => {
            // Whoever waits for them is told in any case.
            let answers = resources::read(presets.as_deref(), wanted.clone())
                .unwrap_or_else(|reason| wanted.into_iter().map(|wanted| (wanted, Err(reason.clone()))).collect());
            Ok(FileDone::ResourcesRead(answers))
        }
        FileTask::OpenSample(name) => {
            let picture = samples::open(&name).map_err(|error| error.to_string())?;
            Ok(FileDone::Opened { picture, name, parameters: None })
        }
        FileTask::Convert { extent, rgba } => {
            let picture = pictures::from_rgba(extent, &rgba.make())
                .ok_or_else(|| "the clipboard's picture is damaged; copy it again".to_owned())?;
            Ok(FileDone::Opened { picture, name: "Pasted picture".to_owned(), parameters: None })
        }
        FileTask::SavePicture { path, picture, metadata } => {
            let metadata = metadata.map(|made| pictures::job_record(&made.0, made.1, &made.2));
            pictures::write_png(&path, &picture, metadata.as_deref()).map_err(|error| error.to_string())?;
            Ok(FileDone::Saved { path })
        }
        FileTask::SaveMask { path, mask } => {
            let picture = Picture::from_fn(mask.extent(), |x, y| [mask.coverage(x, y); 3]);
            pictures::write_png(&path, &picture, None).map_err(|error| error.to_string())?;
            Ok(FileDone::Saved { path })
        }
        FileTask::Library(task) => task.run().map(FileDone::Library),
        FileTask::ReadModels(presets) => Ok(FileDone::ModelsRead(models::read(presets.as_deref()))),
        FileTask::AddModels { presets, path } => {
            let found = models::remember(presets.as_deref(), &path)?.found;
            let usable = found.iter().filter(|one| one.sort != Sort::Unusable).count();
            let text = format!("Remembered {}: {usable} usable of {} found.", path.display(), found.len());
            Ok(FileDone::ModelsAdded { text })
        }
    }
}

fn open(path: &Path, parameters: Option<String>) -> Result<FileDone, String> {
    let picture = pictures::read(path).map_err(|error| error.to_string())?;
    let name = path.file_name().map_or_else(|| "Picture".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(FileDone::Opened { picture, name, parameters })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    fn background() -> Background {
        Background::new(Arc::new(|| ()))
    }

    fn opened(number: u64, name: &str) -> Report {
        let picture = Picture::from_fn(Extent::new(2, 2), |_, _| [0; 3]);
        Report { number, kind: Kind::Open, done: FileDone::Opened { picture, name: name.into(), parameters: None } }
    }

    #[test]
    fn an_older_and_slower_open_does_not_replace_a_newer_one() {
        let mut background = background();
        background.newest_open = 2;
        for report in [opened(2, "new"), opened(1, "old")] {
            background.sender.send(report).unwrap();
        }
        assert!(matches!(background.poll(), Some(FileDone::Opened { name, .. }) if name == "new"));
        assert!(background.poll().is_none());
    }

    #[test]
    fn a_panic_is_reported_as_a_failure() {
        let done = guarded(|| panic!("a scripted panic"));
        assert!(done.is_err_and(|text| text.contains("a scripted panic")));
    }

    #[test]
    fn finishing_waits_for_saves_and_tells_of_those_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        let picture = Picture::from_fn(Extent::new(700, 500), |x, y| [x as u8, y as u8, 9]);
        let save = |path: PathBuf| FileTask::SavePicture { path, picture: picture.clone(), metadata: None };
        let mut background = background();
        let path = folder.path().join("a.png");
        background.start(save(path.clone()));
        assert_eq!(background.finish_saves(Duration::from_secs(20)), Ok(()));
        assert_eq!(pictures::read(&path).unwrap(), picture);
        background.start(save(folder.path().join("missing/b.png")));
        assert_eq!(background.finish_saves(Duration::from_secs(20)).unwrap_err().len(), 1);
    }
}
