//! Reading and writing files on background threads: a frame never waits for a disk.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::base::geom::Extent;
use crate::base::pixels::{Mask, Picture};
use crate::engine::Wake;
use crate::job::spec::GenerateSpec;
use crate::store::{pictures, samples};

/// Something to do with a file.
pub(super) enum FileTask {
    Open(PathBuf),
    OpenSample(String),
    Convert { extent: Extent, rgba: Vec<u8> },
    SavePicture { path: PathBuf, picture: Picture, metadata: Option<Box<(GenerateSpec, u64, String)>> },
    SaveMask { path: PathBuf, mask: Mask },
}

/// How it went.
pub(super) enum FileDone {
    Opened { picture: Picture, name: String },
    Saved { path: PathBuf },
    Failed { text: String },
}

/// The threads that read and write.
pub(super) struct Background {
    wake: Wake,
    sender: Sender<FileDone>,
    receiver: Receiver<FileDone>,
}

impl Background {
    pub(super) fn new(wake: Wake) -> Self {
        let (sender, receiver) = channel();
        Self { wake, sender, receiver }
    }

    pub(super) fn start(&self, task: FileTask) {
        let (sender, wake) = (self.sender.clone(), self.wake.clone());
        let spawned = std::thread::Builder::new().name("maquette-files".to_owned()).spawn(move || {
            let done = run(task).unwrap_or_else(|text| FileDone::Failed { text });
            // The window may have closed meanwhile.
            let _ = sender.send(done);
            wake();
        });
        if let Err(error) = spawned {
            let text = format!("the system cannot start a thread for this file: {error}");
            // The receiver lives in self, so sending cannot fail.
            let _ = self.sender.send(FileDone::Failed { text });
        }
    }

    pub(super) fn poll(&self) -> Option<FileDone> {
        self.receiver.try_recv().ok()
    }
}

fn run(task: FileTask) -> Result<FileDone, String> {
    match task {
        FileTask::Open(path) => {
            let picture = pictures::read(&path).map_err(|error| error.to_string())?;
            let name =
                path.file_name().map_or_else(|| "Picture".to_owned(), |name| name.to_string_lossy().into_owned());
            Ok(FileDone::Opened { picture, name })
        }
        FileTask::OpenSample(name) => {
            let picture = samples::open(&name).map_err(|error| error.to_string())?;
            Ok(FileDone::Opened { picture, name })
        }
        FileTask::Convert { extent, rgba } => {
            let picture = pictures::from_rgba(extent, &rgba)
                .ok_or_else(|| "the clipboard's picture is damaged; copy it again".to_owned())?;
            Ok(FileDone::Opened { picture, name: "Pasted picture".to_owned() })
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
    }
}
