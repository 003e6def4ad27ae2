//! How long our own work takes in each frame, and how soon live panels answer. Slow frames go to the log; with the environment
//! variable `MAQUETTE_FRAME_LOG` set, a summary is printed when the window closes.
//!
//! A frame is timed twice: by the processor time of the window's thread, which is its own work, and by the clock, which
//! also counts the time that the system gave the processor to somebody else.

use std::time::{Duration, Instant};

use crate::base::pixels::Revision;
use crate::workbench::Workbench;

/// A frame of a 60 Hz screen.
const BUDGET: Duration = Duration::from_millis(16);

/// When a frame began.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameStart {
    clock: Instant,
    processor: Duration,
}

impl FrameStart {
    pub(super) fn now() -> Self {
        Self { clock: Instant::now(), processor: thread_time() }
    }
}

/// Processor time of this thread so far.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Without such a clock, time on the wall is the nearest thing.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}

/// Collects times.
#[derive(Default)]
pub(super) struct FrameLog {
    work: Vec<Duration>,
    clock: Vec<Duration>,
    lens: Vec<Duration>,
    previews: Vec<Duration>,
    last_lens: Option<Revision>,
    last_preview: Option<u64>,
}

impl FrameLog {
    /// Takes note of a frame that began at `start`.
    pub(super) fn frame(&mut self, start: FrameStart) {
        let (work, clock) = (thread_time().saturating_sub(start.processor), start.clock.elapsed());
        if work > BUDGET {
            let (work, clock) = (work.as_secs_f64() * 1e3, clock.as_secs_f64() * 1e3);
            tracing::debug!(frame = self.work.len(), work, clock, "slow frame, in milliseconds");
        }
        self.work.push(work);
        self.clock.push(clock);
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
        for (name, times) in [("own work", &mut self.work), ("on the clock", &mut self.clock)] {
            let over = times.iter().filter(|took| **took > BUDGET).count();
            eprintln!("frames, {name}: {}, {over} over 16 ms", summary(times));
        }
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
