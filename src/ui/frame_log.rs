//! How long our own work takes in each frame, and how soon live panels answer. Slow frames go to the log; with the environment
//! variable `MAQUETTE_FRAME_LOG` set, a summary is printed when the window closes.

use std::time::{Duration, Instant};

use crate::base::pixels::Revision;
use crate::workbench::Workbench;

/// A frame of a 60 Hz screen.
const BUDGET: Duration = Duration::from_millis(16);

/// Collects times.
#[derive(Default)]
pub(super) struct FrameLog {
    frames: Vec<Duration>,
    lens: Vec<Duration>,
    previews: Vec<Duration>,
    last_lens: Option<Revision>,
    last_preview: Option<u64>,
}

impl FrameLog {
    /// Takes note of a frame that began at `start`.
    pub(super) fn frame(&mut self, start: Instant) {
        let took = start.elapsed();
        if took > BUDGET {
            tracing::debug!(milliseconds = took.as_secs_f64() * 1e3, "slow frame");
        }
        self.frames.push(took);
    }

    /// Takes note of answers that came since the last frame.
    pub(super) fn answers(&mut self, workbench: &Workbench) {
        if let Some(map) = workbench.lens().map()
            && self.last_lens != Some(map.revision)
        {
            self.last_lens = Some(map.revision);
            self.lens.push(map.took);
        }
        if let (Some(job), Some(live)) = (workbench.preview().job(), workbench.preview().live())
            && self.last_preview != Some(job.0)
            && live.job == job
        {
            self.last_preview = Some(job.0);
            self.previews.push(live.took);
        }
    }

    /// The summary, if it was asked for.
    pub(super) fn print(&mut self) {
        if std::env::var_os("MAQUETTE_FRAME_LOG").is_none() {
            return;
        }
        let over = self.frames.iter().filter(|took| **took > BUDGET).count();
        eprintln!("frames: {}, {over} over 16 ms", summary(&mut self.frames));
        eprintln!("lens, from the change to the heatmap: {}", summary(&mut self.lens));
        eprintln!("preview, from the change to the first picture: {}", summary(&mut self.previews));
    }
}

fn summary(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at =
        |share: f64| times.get(((times.len().saturating_sub(1)) as f64 * share) as usize).copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "{} times, median {:.1} ms, 99 % {:.1} ms, longest {:.1} ms",
        times.len(),
        ms(at(0.5)),
        ms(at(0.99)),
        ms(at(1.0))
    )
}
