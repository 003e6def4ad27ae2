//! Watching the user's folder of presets on a thread of its own: whatever changes in it is read again.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::engine::Wake;
use crate::prompt::library::Library;
use crate::store::presets;

/// How often it looks: cheap, since only names, sizes and times are compared.
const PERIOD: Duration = Duration::from_secs(1);

/// The thread ends with it.
pub(super) struct Watcher {
    nudge: Sender<()>,
    read: Receiver<(Library, Vec<String>)>,
}

impl Watcher {
    /// Watches `folder`, which need not exist yet; `None` if the system cannot start a thread.
    pub(super) fn new(folder: PathBuf, wake: Wake) -> Option<Self> {
        let ((nudge, nudged), (sender, read)) = (channel::<()>(), channel());
        let spawned = std::thread::Builder::new().name("maquette-presets".to_owned()).spawn(move || {
            let mut known = presets::fingerprint(&folder);
            loop {
                match nudged.recv_timeout(PERIOD) {
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                }
                let now = presets::fingerprint(&folder);
                if now != known {
                    known = now;
                    // The window may have closed meanwhile.
                    let _ = sender.send(presets::library(Some(&folder)));
                    wake();
                }
            }
        });
        match spawned {
            Ok(_) => Some(Self { nudge, read }),
            Err(error) => {
                tracing::warn!(%error, "the user's presets are not watched");
                None
            }
        }
    }

    /// Has it look at once.
    pub(super) fn look(&self) {
        // If the thread is gone there is nothing to nudge.
        let _ = self.nudge.send(());
    }

    /// The newest library, if something changed.
    pub(super) fn poll(&self) -> Option<(Library, Vec<String>)> {
        self.read.try_iter().last()
    }
}
