//! User stories on the workbench with a scripted backend: what live panels ask, cancelling, panics, undo, files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use maquette::base::geom::{Extent, ImagePoint};
use maquette::base::pixels::Picture;
use maquette::base::task::{Progress, TaskCx};
use maquette::document::{Canvas, Document, Edit, TextField};
use maquette::engine::mock::{MockBackend, plausible_output};
use maquette::engine::{Backend, Engine, EventKind, InteractiveKind, JobId, Lane};
use maquette::job::nets::OtherNets;
use maquette::job::spec::{CountTokensSpec, GenerateSpec};
use maquette::job::{JobError, JobOutput, JobSpec, ModelRef};
use maquette::prompt::library::Library;
use maquette::store::preferences::Preferences;
use maquette::workbench::tools::{Gesture, Tool};
use maquette::workbench::{Command, FileCommand, Parts, PreviewTarget, Workbench};

const PATIENCE: Duration = Duration::from_secs(20);

fn engine(script: impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Send + 'static) -> Engine {
    let make = move || Ok(Box::new(MockBackend::new(script)) as Box<dyn Backend>);
    Engine::spawn(make, Arc::new(|| ())).unwrap()
}

fn generate(prompt: &str, steps: u32) -> JobSpec {
    let sampling = maquette::job::sampling::Sampling { steps, ..Default::default() };
    JobSpec::Generate(GenerateSpec {
        model: ModelRef::builtin(),
        prompt: prompt.into(),
        negative: String::new(),
        sampling,
        count: 1,
        init: None,
        noise: None,
        nets: OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    })
}

fn tokens() -> JobSpec {
    JobSpec::CountTokens(CountTokensSpec {
        model: ModelRef::builtin(),
        prompt: "a b".into(),
        negative: String::new(),
        emphasis: Default::default(),
        steps: 20,
        step: 1,
    })
}

/// All events until each of `jobs` has ended.
fn until_ended(engine: &mut Engine, jobs: &[JobId]) -> Vec<(JobId, EventKind)> {
    let (mut events, start) = (Vec::new(), Instant::now());
    let ended = |events: &[(JobId, EventKind)], job: &JobId| events.iter().any(|(id, k)| id == job && k.is_terminal());
    while !jobs.iter().all(|job| ended(&events, job)) {
        assert!(start.elapsed() < PATIENCE, "no end in sight: {events:?}");
        events.extend(engine.wait(Duration::from_millis(20)).map(|event| (event.id, event.kind)));
    }
    events.extend(engine.poll().into_iter().map(|event| (event.id, event.kind)));
    events
}

fn endings(events: &[(JobId, EventKind)], job: JobId) -> Vec<&EventKind> {
    events.iter().filter(|(id, kind)| *id == job && kind.is_terminal()).map(|(_, kind)| kind).collect()
}

/// A job that never ends unless it is told to.
fn endless(cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
    loop {
        cx.checkpoint()?;
        std::thread::yield_now();
    }
}

#[test]
fn interactive_work_runs_inside_a_batch_job() {
    let mut engine = engine(|spec, cx| match spec {
        JobSpec::Generate(_) => endless(cx),
        spec => plausible_output(spec, cx),
    });
    let batch = engine.submit(generate("slow", 1), Lane::Batch);
    let quick = engine.submit(tokens(), Lane::Interactive(InteractiveKind::Tokens));
    let events = until_ended(&mut engine, &[quick]);
    assert!(matches!(endings(&events, quick)[..], [EventKind::Finished(_)]));
    assert!(endings(&events, batch).is_empty(), "the batch job still runs");
    engine.cancel(batch);
    let events = until_ended(&mut engine, &[batch]);
    assert!(matches!(endings(&events, batch)[..], [EventKind::Cancelled]));
}

#[test]
fn of_each_interactive_kind_the_newest_wins_and_every_job_ends_once() {
    let mut engine = engine(|spec, cx| match spec {
        JobSpec::Generate(spec) if spec.prompt != "last" => endless(cx),
        spec => plausible_output(spec, cx),
    });
    let lane = Lane::Interactive(InteractiveKind::Preview);
    let mut jobs: Vec<JobId> = (0..20).map(|i| engine.submit(generate(&i.to_string(), 1), lane)).collect();
    let last = engine.submit(generate("last", 3), lane);
    jobs.push(last);
    let events = until_ended(&mut engine, &jobs);
    for job in &jobs {
        let ends = endings(&events, *job);
        assert_eq!(ends.len(), 1, "{job:?} ended {} times", ends.len());
        assert_eq!(matches!(ends[0], EventKind::Finished(_)), *job == last);
    }
}

#[test]
fn batch_jobs_are_never_replaced_and_a_queued_one_can_be_cancelled() {
    let mut engine = engine(|spec, cx| match spec {
        JobSpec::Generate(spec) if spec.prompt == "endless" => endless(cx),
        spec => plausible_output(spec, cx),
    });
    let first = engine.submit(generate("endless", 1), Lane::Batch);
    let queued = engine.submit(generate("queued", 1), Lane::Batch);
    let third = engine.submit(generate("third", 1), Lane::Batch);
    engine.cancel(queued);
    engine.cancel(first);
    let events = until_ended(&mut engine, &[first, queued, third]);
    assert!(matches!(endings(&events, queued)[..], [EventKind::Cancelled]));
    assert!(!events.iter().any(|(id, kind)| *id == queued && matches!(kind, EventKind::Started)));
    assert!(matches!(endings(&events, third)[..], [EventKind::Finished(_)]));
}

#[test]
fn a_panic_ends_its_job_alone_and_releases_the_models() {
    let released = Arc::new(AtomicUsize::new(0));
    let counter = released.clone();
    let make = move || {
        let script = |spec: &JobSpec, cx: &TaskCx<'_>| match spec {
            JobSpec::Generate(spec) if spec.prompt == "boom" => panic!("a scripted panic"),
            spec => plausible_output(spec, cx),
        };
        let backend = MockBackend::new(script).with_release(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        Ok(Box::new(backend) as Box<dyn Backend>)
    };
    let mut engine = Engine::spawn(make, Arc::new(|| ())).unwrap();
    let bad = engine.submit(generate("boom", 1), Lane::Batch);
    let good = engine.submit(generate("fine", 1), Lane::Batch);
    let events = until_ended(&mut engine, &[bad, good]);
    match endings(&events, bad)[..] {
        [EventKind::Failed(JobError::Panic { message })] => assert_eq!(message, "a scripted panic"),
        ref other => panic!("{other:?}"),
    }
    assert!(matches!(endings(&events, good)[..], [EventKind::Finished(_)]));
    assert_eq!(released.load(Ordering::SeqCst), 1);
}

#[test]
fn progress_comes_at_most_twenty_times_a_second() {
    let mut engine = engine(|spec, cx| {
        let start = Instant::now();
        let mut done = 0;
        while start.elapsed() < Duration::from_millis(300) {
            cx.checkpoint()?;
            done += 1;
            cx.progress(Progress::steps("Working", done, u32::MAX));
        }
        plausible_output(spec, cx)
    });
    let submitted = Instant::now();
    let job = engine.submit(tokens(), Lane::Batch);
    let events = until_ended(&mut engine, &[job]);
    let reports = events.iter().filter(|(_, kind)| matches!(kind, EventKind::Progress(_))).count();
    // However late the threads are scheduled, reports are at least 50 ms apart.
    let most = submitted.elapsed().as_millis() / 50 + 1;
    assert!((1..=most).contains(&(reports as u128)), "{reports} reports, at most {most}");
}

#[test]
fn dropping_the_engine_stops_what_runs() {
    let mut engine = engine(|_, cx| endless(cx));
    let job = engine.submit(generate("endless", 1), Lane::Batch);
    while !engine.poll().iter().any(|event| event.id == job) {
        std::thread::yield_now();
    }
    drop(engine);
}

fn document() -> Document {
    let picture = Picture::from_fn(Extent::new(96, 64), |x, y| [x as u8, y as u8, 9]);
    Document { canvas: Some(Canvas::new(picture, "test.png")), prompt: "a fox".into(), ..Document::default() }
}

fn workbench(
    document: Document,
    script: impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Send + 'static,
) -> Workbench {
    Workbench::new(Parts {
        engine: engine(script),
        wake: Arc::new(|| ()),
        document,
        preferences: Preferences::default(),
        folders: None,
        library: Library::default(),
        warnings: Vec::new(),
    })
}

/// Updates the workbench until `done` holds; time passes by 50 ms an update.
fn settle(workbench: &mut Workbench, now: &mut Duration, done: impl Fn(&Workbench) -> bool) {
    let start = Instant::now();
    while !done(workbench) {
        assert!(start.elapsed() < PATIENCE, "the workbench never got there");
        *now += Duration::from_millis(50);
        workbench.update(*now);
        std::thread::yield_now();
    }
}

fn has_final_preview(workbench: &Workbench) -> bool {
    workbench.preview().live().is_some_and(|live| live.is_final) && workbench.preview().job().is_none()
}

fn send(workbench: &mut Workbench, now: Duration, command: Command) {
    workbench.dispatch(command, now);
}

fn text(field: TextField, text: &str) -> Command {
    Command::Edit(Edit::SetText { field, text: text.into() })
}

#[test]
fn typing_makes_the_preview_and_the_lens_follow() {
    let mut workbench = workbench(document(), plausible_output);
    let mut now = Duration::ZERO;
    settle(&mut workbench, &mut now, has_final_preview);
    send(&mut workbench, now, text(TextField::Prompt, "a cat"));
    send(&mut workbench, now, text(TextField::LensPhrase, "tail"));
    let follows = |w: &Workbench| {
        w.lens().map().is_some_and(|map| map.phrase.text == "tail")
            && w.preview().live().is_some_and(|live| live.is_final && live.spec.prompt == "a cat")
    };
    settle(&mut workbench, &mut now, follows);
    assert_eq!(workbench.tokens().map(|read| read.tokens[0].count.tokens), Some(2));
}

#[test]
fn the_lens_looks_for_what_the_prompt_says_at_the_caret() {
    let mut workbench = workbench(document(), plausible_output);
    let mut now = Duration::ZERO;
    let followed = Preferences { lens_follows_prompt: true, ..workbench.preferences().clone() };
    send(&mut workbench, now, Command::SetPreferences(Box::new(followed)));
    let prompt = "a cat, a ({tall|tall}:1.3) tower <lora:none:1>, snow";
    send(&mut workbench, now, text(TextField::Prompt, prompt));
    for (caret, phrase) in [(3, "a cat"), (20, "a tall tower"), (45, "a tall tower"), (99, "snow")] {
        send(&mut workbench, now, Command::PromptCaret(caret));
        settle(&mut workbench, &mut now, |w| w.lens().map().is_some_and(|map| map.phrase.text == phrase));
    }
}

#[test]
fn a_burst_of_typing_asks_only_for_what_is_newest() {
    let prompts = Arc::new(Mutex::new(Vec::new()));
    let seen = prompts.clone();
    let mut workbench = workbench(document(), move |spec, cx| {
        if let JobSpec::Generate(spec) = spec {
            seen.lock().unwrap().push(spec.prompt.clone());
        }
        plausible_output(spec, cx)
    });
    let mut now = Duration::ZERO;
    settle(&mut workbench, &mut now, has_final_preview);
    for end in 1..="a red house".len() {
        now += Duration::from_millis(30);
        send(&mut workbench, now, text(TextField::Prompt, &"a red house"[..end]));
        workbench.update(now);
    }
    settle(&mut workbench, &mut now, |w| {
        w.preview().live().is_some_and(|l| l.is_final && l.spec.prompt == "a red house")
    });
    assert_eq!(*prompts.lock().unwrap(), ["a fox", "a red house"]);
}

#[test]
fn inpainting_changes_only_what_is_painted_and_undo_brings_everything_back() {
    let mut workbench = workbench(document(), plausible_output);
    let mut now = Duration::ZERO;
    let before = workbench.document().clone();
    send(&mut workbench, now, Command::SetTool(Tool::Brush));
    send(&mut workbench, now, Command::SetBrushRadius(6.0));
    for gesture in [
        Gesture::Begin(ImagePoint::new(20.0, 20.0)),
        Gesture::Move(ImagePoint::new(40.0, 30.0)),
        Gesture::End(ImagePoint::new(50.0, 30.0)),
    ] {
        send(&mut workbench, now, Command::Gesture(gesture));
    }
    let canvas = workbench.document().canvas.clone().unwrap();
    assert!(!canvas.mask.is_empty());
    send(&mut workbench, now, Command::SetPreviewTarget(PreviewTarget::Inpaint));
    settle(&mut workbench, &mut now, |w| has_final_preview(w) && w.preview().live().unwrap().spec.init.is_some());
    send(&mut workbench, now, Command::SendToCanvas(None));
    let changed = workbench.document().canvas.clone().unwrap().picture;
    assert_ne!(changed, canvas.picture);
    for (x, y) in (0..64).flat_map(|y| (0..96).map(move |x| (x, y))).filter(|(x, y)| canvas.mask.coverage(*x, *y) == 0)
    {
        assert_eq!(changed.pixel(x, y), canvas.picture.pixel(x, y));
    }
    send(&mut workbench, now, Command::Undo);
    send(&mut workbench, now, Command::Undo);
    assert_eq!(*workbench.document(), before);
    send(&mut workbench, now, Command::Redo);
    send(&mut workbench, now, Command::Redo);
    assert_eq!(workbench.document().canvas.as_ref().unwrap().picture, changed);
}

#[test]
fn escape_takes_a_stroke_back_and_leaves_no_undo_step() {
    let mut workbench = workbench(document(), plausible_output);
    let before = workbench.document().clone();
    let now = Duration::ZERO;
    send(&mut workbench, now, Command::SetTool(Tool::MarkBrush));
    send(&mut workbench, now, Command::Gesture(Gesture::Begin(ImagePoint::new(5.0, 5.0))));
    send(&mut workbench, now, Command::Gesture(Gesture::Move(ImagePoint::new(25.0, 5.0))));
    assert_ne!(*workbench.document(), before);
    send(&mut workbench, now, Command::Gesture(Gesture::Abort));
    assert_eq!(*workbench.document(), before);
    assert_eq!(workbench.history().undo_name(), None);
}

#[test]
fn failures_become_notices_and_work_goes_on() {
    let mut workbench = workbench(document(), |spec, cx| match spec {
        JobSpec::Heatmap(_) => panic!("a scripted panic"),
        JobSpec::Generate(spec) if spec.prompt == "missing" => {
            Err(JobError::ModelMissing { model: "m".into(), reason: "there is no such folder".into() })
        }
        spec => plausible_output(spec, cx),
    });
    let mut now = Duration::ZERO;
    send(&mut workbench, now, text(TextField::LensPhrase, "fox"));
    send(&mut workbench, now, text(TextField::Prompt, "missing"));
    settle(&mut workbench, &mut now, |w| w.notices().len() == 2);
    send(&mut workbench, now, text(TextField::Prompt, "fine"));
    settle(&mut workbench, &mut now, |w| has_final_preview(w) && w.preview().failure().is_none());
}

#[test]
fn a_file_that_is_no_picture_becomes_a_notice_and_the_canvas_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.png");
    std::fs::write(&path, "these are words").unwrap();
    let mut workbench = workbench(document(), plausible_output);
    let mut now = Duration::ZERO;
    let before = workbench.document().canvas.clone();
    send(&mut workbench, now, Command::File(FileCommand::Open(path)));
    settle(&mut workbench, &mut now, |w| !w.notices().is_empty());
    assert_eq!(workbench.document().canvas, before);
    assert!(workbench.notices().newest().unwrap().text.contains("not a PNG, JPEG or WebP"));
}

#[test]
fn made_pictures_are_saved_with_the_job_that_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fox.png");
    let mut workbench = workbench(document(), plausible_output);
    let mut now = Duration::ZERO;
    send(&mut workbench, now, Command::Generate { count: 2 });
    settle(&mut workbench, &mut now, |w| w.preview().results().len() == 2);
    send(&mut workbench, now, Command::File(FileCommand::SaveResult(1, path.clone())));
    settle(&mut workbench, &mut now, |w| !w.notices().is_empty());
    let record = maquette::store::pictures::read_metadata(&path).unwrap().unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["job"]["prompt"], "a fox");
    assert_eq!(record["job"]["sampling"]["seed"], workbench.preview().results()[1].seed);
    assert_eq!(maquette::store::pictures::read(&path).unwrap(), workbench.preview().results()[1].picture);
}

#[test]
fn undo_in_the_middle_of_a_stroke_takes_the_stroke_back_and_nothing_else() {
    let mut workbench = workbench(document(), plausible_output);
    let now = Duration::ZERO;
    send(&mut workbench, now, text(TextField::Prompt, "a cat"));
    let before = workbench.document().clone();
    send(&mut workbench, now, Command::SetTool(Tool::MarkBrush));
    send(&mut workbench, now, Command::Gesture(Gesture::Begin(ImagePoint::new(5.0, 5.0))));
    send(&mut workbench, now, Command::Gesture(Gesture::Move(ImagePoint::new(25.0, 5.0))));
    send(&mut workbench, now, Command::Undo);
    assert_eq!(*workbench.document(), before);
    // The button is still down: its moves belong to no stroke any more.
    send(&mut workbench, now, Command::Gesture(Gesture::Move(ImagePoint::new(30.0, 9.0))));
    send(&mut workbench, now, Command::Gesture(Gesture::End(ImagePoint::new(30.0, 9.0))));
    assert_eq!(*workbench.document(), before);
    assert!(workbench.notices().is_empty());
}

#[test]
fn the_same_picture_opened_again_keeps_its_heatmap() {
    let mut workbench = workbench(document(), plausible_output);
    let mut now = Duration::ZERO;
    send(&mut workbench, now, text(TextField::LensPhrase, "fox"));
    settle(&mut workbench, &mut now, |w| w.lens().map().is_some());
    let shown = workbench.document().canvas.clone().unwrap();
    let again = Picture::from_rgb(shown.extent(), shown.picture.rgb().to_vec()).unwrap();
    send(&mut workbench, now, Command::Edit(Edit::OpenPicture { picture: again, name: "again.png".into() }));
    workbench.update(now);
    let canvas = workbench.document().canvas.as_ref().unwrap();
    assert_eq!(workbench.lens().map().unwrap().picture, canvas.picture.revision());
}

#[test]
fn generating_makes_the_picture_that_was_previewed_and_then_throws_the_dice() {
    let mut workbench = workbench(document(), plausible_output);
    let mut now = Duration::ZERO;
    settle(&mut workbench, &mut now, has_final_preview);
    let previewed = workbench.document().sampling.seed;
    send(&mut workbench, now, Command::Generate { count: 1 });
    settle(&mut workbench, &mut now, |w| w.preview().results().len() == 1);
    assert_eq!(workbench.preview().results()[0].seed, previewed);
    assert_ne!(workbench.document().sampling.seed, previewed);
}

#[test]
fn a_live_job_that_is_stopped_says_so_until_something_changes() {
    let mut workbench = workbench(document(), |spec, cx| match spec {
        JobSpec::Generate(spec) if spec.prompt == "a fox" => endless(cx),
        spec => plausible_output(spec, cx),
    });
    let mut now = Duration::ZERO;
    settle(&mut workbench, &mut now, |w| w.jobs().active().iter().any(|job| job.name == "Generate"));
    send(&mut workbench, now, Command::CancelAll);
    settle(&mut workbench, &mut now, |w| w.preview().failure().is_some_and(|text| text.starts_with("Stopped")));
    send(&mut workbench, now, text(TextField::Prompt, "a cat"));
    settle(&mut workbench, &mut now, |w| has_final_preview(w) && w.preview().failure().is_none());
}

#[test]
fn a_modifier_is_a_step_of_its_own_however_soon_it_follows_typing() {
    let mut workbench = workbench(document(), plausible_output);
    let now = Duration::ZERO;
    send(&mut workbench, now, text(TextField::Prompt, "a cat"));
    send(&mut workbench, now, Command::ToggleModifier("foggy".into()));
    send(&mut workbench, now, text(TextField::Prompt, "a cat, foggy!"));
    send(&mut workbench, now, Command::Undo);
    assert_eq!(workbench.document().prompt, "a cat, foggy");
    send(&mut workbench, now, Command::Undo);
    assert_eq!(workbench.document().prompt, "a cat");
}
