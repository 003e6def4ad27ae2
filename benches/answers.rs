//! How soon a large model lets others work: time from a cancel to its event, and from a question of the lens (built-in CLIP, a new
//! phrase each time) to its answer, at moments spread over the steps of a picture that is being made.
//!
//! `cargo bench --bench answers -- MODEL [f32|bf16]`; pictures of 512x512. Times are those of the
//! clock, with as many threads as there are cores, as in the window.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use maquette::base::geom::Extent;
use maquette::engine::options::{DeviceChoice, EngineOptions, Precision};
use maquette::engine::{CandleBackend, Engine, EventKind, InteractiveKind, JobId, Lane};
use maquette::job::nets::OtherNets;
use maquette::job::sampling::Sampling;
use maquette::job::spec::{GenerateSpec, HeatmapMethod, HeatmapSpec, MarkedPicture};
use maquette::job::{JobSpec, ModelRef};
use maquette::store::samples;

/// Questions to the lens.
const ROUNDS: u32 = 30;
/// Cancels; the picture begins anew after each.
const CANCELS: u32 = 10;
/// The moments are spread over this time.
const SPREAD: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some(model) = arguments.first() else {
        println!("answers: no model given, nothing timed; cargo bench --bench answers -- MODEL [f32|bf16]");
        return;
    };
    let precision = if arguments.get(1).is_some_and(|one| one == "bf16") { Precision::Bf16 } else { Precision::F32 };
    let options =
        EngineOptions { device: DeviceChoice::Cpu, precision, yields_to_window: true, ..EngineOptions::default() };
    let mut engine = Engine::spawn(move || CandleBackend::boxed(&options), Arc::new(|| {})).unwrap();
    // The built-in CLIP is in memory and has seen the picture, as in a window that is at work.
    let first = engine.submit(lens(0), Lane::Interactive(InteractiveKind::Heatmap));
    until(&mut engine, first, EventKind::is_terminal);
    let mut answers = Vec::new();
    let mut picture = start(&mut engine, model);
    for round in 0..ROUNDS {
        std::thread::sleep(moment(round));
        if engine.poll().iter().any(|event| event.id == picture && event.kind.is_terminal()) {
            picture = start(&mut engine, model);
        }
        let asked = Instant::now();
        let lens = engine.submit(lens(round + 1), Lane::Interactive(InteractiveKind::Heatmap));
        until(&mut engine, lens, |kind| matches!(kind, EventKind::Finished(_)));
        answers.push(asked.elapsed());
    }
    print("lens, from question to answer", answers);
    let mut cancels = Vec::new();
    for round in 0..CANCELS {
        std::thread::sleep(moment(round));
        let asked = Instant::now();
        engine.cancel(picture);
        until(&mut engine, picture, |kind| matches!(kind, EventKind::Cancelled));
        cancels.push(asked.elapsed());
        picture = start(&mut engine, model);
    }
    engine.cancel(picture);
    print("cancel, from call to event", cancels);
}

/// Moments that fall everywhere into the steps.
fn moment(round: u32) -> Duration {
    SPREAD * (round * 11 % ROUNDS) / ROUNDS
}

fn lens(round: u32) -> JobSpec {
    let image = MarkedPicture { picture: samples::open(samples::names()[0]).unwrap(), marks: Vec::new() };
    let phrases = vec![format!("a red apple, number {round}")];
    JobSpec::Heatmap(HeatmapSpec { model: ModelRef::builtin(), image, phrases, method: HeatmapMethod::Auto })
}

/// A picture that has come to its second step.
fn start(engine: &mut Engine, model: &str) -> JobId {
    let size = Extent::new(512, 512);
    let spec = GenerateSpec {
        model: ModelRef(model.to_owned()),
        prompt: "a red apple on a blue table".to_owned(),
        negative: String::new(),
        sampling: Sampling { steps: 50, guidance: 7.5, size, ..Sampling::default() },
        count: 1,
        init: None,
        noise: None,
        nets: OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    };
    let picture = engine.submit(JobSpec::Generate(spec), Lane::Batch);
    let is_under_way = |kind: &EventKind| match kind {
        EventKind::Progress(progress) => progress.total == 50 && progress.done >= 1,
        other => other.is_terminal(),
    };
    until(engine, picture, is_under_way);
    picture
}

/// Waits for an event of a job.
fn until(engine: &mut Engine, id: JobId, is_it: impl Fn(&EventKind) -> bool) {
    loop {
        let event = engine.wait(PATIENCE).expect("no event for minutes");
        if event.id == id {
            if let EventKind::Failed(error) = &event.kind {
                panic!("{error}");
            }
            if is_it(&event.kind) {
                return;
            }
        }
    }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: {} times, median {:.0} ms, longest {:.0} ms", times.len(), ms(median), ms(longest));
}
