//! How long our own work takes in each frame, and how soon live panels answer. Slow frames go to the log; with the environment
//! variable `MAQUETTE_FRAME_LOG` set, a summary is printed when the window closes.
//!
//! A frame is timed twice: by the processor time of the window's thread, which is its own work, and by the clock, which
//! also counts the time that the system gave the processor to somebody else. An answer is timed by the clock, from the start of
//! the frame that got the key to the end of the layout of the frame that shows the new heatmap or the first new picture.
//!
//! # Limitations
//! Tessellation and upload to the graphics card come after layout, in eframe, and are in none of the times.

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
    /// Of the frames whose input changed something: a key that was typed, a drag.
    input_work: Vec<Duration>,
    /// Whether this frame's did.
    has_input: bool,
    clock: Vec<Duration>,
    lens: Vec<Duration>,
    previews: Vec<Duration>,
    /// The frame whose input the next commands come from.
    input: Option<FrameStart>,
    lens_question: Asked<(String, Option<Revision>)>,
    preview_question: Asked<String>,
    /// The newest job that was there before the preview's question.
    jobs_before: u64,
}

/// What a live panel is asked, and since when it owes the answer.
#[derive(Default)]
struct Asked<Q> {
    question: Option<Q>,
    since: Option<Instant>,
}

impl<Q: PartialEq> Asked<Q> {
    /// Whether this is another question than the last.
    fn ask(&mut self, question: Q, start: FrameStart) -> bool {
        let is_new = self.question.as_ref() != Some(&question);
        if is_new {
            // What is asked at the start of the program nobody has typed, and it waits for the models to load.
            let since = self.question.is_some().then_some(start.clock);
            *self = Self { question: Some(question), since };
        }
        is_new
    }
}

impl FrameLog {
    /// Takes note that the frame that began at `start` had input that is carried out in the next.
    pub(super) fn input(&mut self, start: FrameStart) {
        self.input = Some(start);
        self.has_input = true;
    }

    /// Takes note of what the live panels are asked after the commands of a frame that began at `start`.
    pub(super) fn questions(&mut self, workbench: &Workbench, start: FrameStart) {
        let start = self.input.take().unwrap_or(start);
        let document = workbench.document();
        let picture = document.canvas.as_ref().map(|canvas| canvas.picture.revision());
        self.lens_question.ask((workbench.lens_phrase().to_owned(), picture), start);
        if self.preview_question.ask(document.prompt.clone(), start) {
            let preview = workbench.preview();
            let shown = preview.live().map(|live| live.job.0);
            self.jobs_before = shown.max(preview.job().map(|job| job.0)).unwrap_or(0);
        }
    }

    /// Takes note of a frame that began at `start` and is laid out now, and of the answers in it.
    pub(super) fn frame(&mut self, start: FrameStart, workbench: &Workbench) {
        let (work, clock) = (thread_time().saturating_sub(start.processor), start.clock.elapsed());
        let has_input = std::mem::take(&mut self.has_input);
        let (work_ms, clock_ms) = (work.as_secs_f64() * 1e3, clock.as_secs_f64() * 1e3);
        if work > BUDGET {
            tracing::debug!(frame = self.work.len(), work_ms, clock_ms, has_input, "slow frame");
        } else {
            tracing::trace!(frame = self.work.len(), work_ms, clock_ms, has_input, "frame");
        }
        self.work.push(work);
        if has_input {
            self.input_work.push(work);
        }
        self.clock.push(clock);
        let Asked { question, since } = &mut self.lens_question;
        let answers = |(phrase, picture): &(String, Option<Revision>)| {
            workbench.lens().map().is_some_and(|map| map.phrase.text == phrase.trim() && Some(map.picture) == *picture)
        };
        if let Some(asked) = since.take_if(|_| question.as_ref().is_some_and(answers)) {
            self.lens.push(asked.elapsed());
        }
        let is_shown = workbench.preview().live().is_some_and(|live| live.job.0 > self.jobs_before);
        if let Some(asked) = self.preview_question.since.take_if(|_| is_shown) {
            self.previews.push(asked.elapsed());
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
        eprintln!("frames with input, own work: {}", summary(&mut self.input_work));
        eprintln!("lens, from the key to the heatmap: {}", summary(&mut self.lens));
        eprintln!("preview, from the key to the first picture: {}", summary(&mut self.previews));
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
