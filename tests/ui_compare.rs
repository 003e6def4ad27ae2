//! Comparing in the window: grids that are paused, dropped, taken up again and exported; two results; the parts of a prompt.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod window;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use maquette::base::task::TaskCx;
use maquette::document::TextField;
use maquette::engine::mock::plausible_output;
use maquette::job::spec::EmbedInputs;
use maquette::job::{JobError, JobOutput, JobSpec};
use maquette::store::pictures;
use maquette::store::preferences::Preferences;
use maquette::workbench::Command;
use maquette::workbench::compare::{CompareRequest, CompareView, Side, Table};
use maquette::workbench::grid::AxisText;
use maquette::workbench::library::{Item, LibraryCommand};
use window::{Window, app, command, folders, wait_for as wait};

/// A window without the live picture, whose jobs would be counted, too.
fn window<'a>(
    root: &Path,
    script: impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Clone + Send + 'static,
) -> Window<'a> {
    let preferences = Preferences { live_preview: false, ..Preferences::default() };
    window::window([1360.0, 1000.0], Some(folders(root)), preferences, script)
}

fn table<'b>(harness: &'b Window<'_>) -> &'b Table {
    app(harness).workbench().compare().table().unwrap()
}

fn click(harness: &mut Window<'_>, label: &str) {
    harness.get_by_role_and_label(Role::Button, label).click();
    harness.run_steps(3);
}

fn type_axis(harness: &mut Window<'_>, name: &str, values: &str) {
    harness.get_by_role_and_label(Role::TextInput, name).focus();
    harness.step();
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.event(egui::Event::Text(values.to_owned()));
    harness.run_steps(2);
}

/// Chooses what differs along an axis.
fn choose_axis(harness: &mut Window<'_>, name: &str, kind: &str) {
    harness.get_by_role_and_label(Role::ComboBox, name).click();
    harness.run_steps(3);
    harness.get_by_role_and_label(Role::Button, kind).click();
    harness.run_steps(3);
}

/// Embeddings that mean something: a text is where its words are ("nice" is nowhere), a picture is where its colour is.
fn embed(inputs: &EmbedInputs) -> Vec<Vec<f32>> {
    let unit = |mut v: Vec<f32>| {
        let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        v.iter_mut().for_each(|x| *x /= length);
        v
    };
    match inputs {
        EmbedInputs::Texts(texts) => texts
            .iter()
            .map(|text| {
                let mut vector = vec![1.0, 0.5, 0.5, 0.5];
                for word in text.split([' ', ',']).filter(|word| !word.is_empty() && *word != "nice") {
                    vector[word.len() % 4] += word.bytes().map(f32::from).sum::<f32>() / 400.0;
                }
                unit(vector)
            })
            .collect(),
        EmbedInputs::Images(images) => images
            .iter()
            .map(|image| unit(image.pixel(0, 0).unwrap().iter().map(|c| f32::from(*c)).chain([40.0]).collect()))
            .collect(),
    }
}

fn answer(spec: &JobSpec, cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
    match spec {
        JobSpec::Embed(spec) => Ok(JobOutput::Embeddings(embed(&spec.inputs))),
        spec => plausible_output(spec, cx),
    }
}

/// Waits until it is stopped, at checkpoints.
fn never(cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
    loop {
        cx.checkpoint()?;
        std::thread::yield_now();
    }
}

/// The main story: a 3 by 3 grid, paused, the program dropped, started again on the same folder, resumed, finished, exported.
#[test]
fn a_grid_is_paused_survives_a_restart_and_is_exported() {
    let root = tempfile::tempdir().unwrap();
    let made: Arc<Mutex<Vec<(u32, u64)>>> = Arc::default();
    let (seen, limit) = (made.clone(), 4);
    let mut harness = window(root.path(), move |spec, cx| {
        if let JobSpec::Generate(spec) = spec {
            if seen.lock().unwrap().len() == limit {
                return never(cx);
            }
            seen.lock().unwrap().push((spec.sampling.steps, spec.sampling.seed));
        }
        answer(spec, cx)
    });
    command(&mut harness, "Show compare");
    type_axis(&mut harness, "Columns", "three");
    wait(&mut harness, |h| h.query_by_label_contains("Steps: \"three\" is neither a number nor a range").is_some());
    type_axis(&mut harness, "Columns", "6, 2-4 (+2)");
    choose_axis(&mut harness, "Rows", "Seed");
    type_axis(&mut harness, "Rows", "1-3");
    wait(&mut harness, |h| h.query_by_label_contains("9 pictures").is_some());
    click(&mut harness, "Make grid");
    wait(&mut harness, |h| {
        let compare = app(h).workbench().compare();
        compare.table().is_some_and(|t| t.cells().iter().filter(|c| c.score.is_some()).count() == 4)
            && compare.making().is_some()
    });
    assert_eq!(*made.lock().unwrap(), [(2, 1), (2, 2), (2, 3), (4, 1)], "the cheapest first");
    click(&mut harness, "Pause");
    wait(&mut harness, |h| app(h).workbench().jobs().active().is_empty());
    assert!(!table(&harness).is_running());
    harness.run_steps(20);
    assert!(app(&harness).workbench().jobs().active().is_empty(), "nothing goes on behind the pause");
    // Resuming and pausing in quick succession ends as it was asked last.
    for _ in 0..2 {
        click(&mut harness, "Resume");
        wait(&mut harness, |h| app(h).workbench().compare().making().is_some());
        request(&mut harness, CompareRequest::Pause);
        request(&mut harness, CompareRequest::Resume);
        wait(&mut harness, |h| app(h).workbench().compare().making().is_some());
        harness.run_steps(20);
        assert!(table(&harness).is_running());
        click(&mut harness, "Pause");
    }
    wait(&mut harness, |h| app(h).workbench().jobs().active().is_empty());
    drop(harness);

    let again = Arc::new(AtomicUsize::new(0));
    let count = again.clone();
    let mut harness = window(root.path(), move |spec, cx| {
        count.fetch_add(usize::from(matches!(spec, JobSpec::Generate(_))), Ordering::SeqCst);
        answer(spec, cx)
    });
    command(&mut harness, "Show compare");
    wait(&mut harness, |h| h.query_by_label("Paused").is_some());
    let summary = app(&harness).workbench().compare().runs()[0].clone();
    let said = format!("A run is paused and can be resumed: {}.", summary.title);
    assert!(app(&harness).workbench().notices().iter().any(|notice| notice.text == said), "it is said at the start");
    assert_eq!((summary.done, summary.total), (4, 9));
    click(&mut harness, &format!("Resume {}", summary.title));
    wait(&mut harness, |h| {
        let table = app(h).workbench().compare().table();
        table.is_some_and(|table| table.cells().iter().all(|cell| cell.picture.is_some() && cell.score.is_some()))
    });
    assert_eq!(again.load(Ordering::SeqCst), 5, "what was made is not made again");
    // The scores are in the file, too, as soon as the thread that keeps it has written them.
    let stored = maquette::store::runs::Runs::open(&folders(root.path()).runs_file()).unwrap().0;
    wait(&mut harness, |h| {
        let mut cells = table(h).run.cells.iter().zip(table(h).cells());
        cells.all(|(cell, view)| {
            let wanted = ("builtin".to_owned(), cell.spec.prompt.clone(), view.score.unwrap());
            stored.scores(&cell.job).unwrap() == [wanted]
        })
    });

    click(&mut harness, "Best first");
    let order = table(&harness).by_score();
    let scores: Vec<f32> = order.iter().map(|index| table(&harness).cells()[*index].score.unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]) && scores[0] > scores[8], "{scores:?}");
    let rect = |h: &Window<'_>, index: usize| {
        let start = format!("Cell {}:", table(h).name(index));
        h.get_by(|node| node.label().is_some_and(|label| label.starts_with(&start))).rect()
    };
    let places = [rect(&harness, order[0]), rect(&harness, order[1])];
    assert!(places[0].min.y <= places[1].min.y && places[0].min != places[1].min, "the best one stands first");

    // Zooming is in step: only the linked view changes, the cells stay where they are.
    click(&mut harness, "Zoom into all cells");
    assert!(harness.query_by_label("Whole pictures").is_some());
    assert_eq!(rect(&harness, order[0]), places[0]);
    click(&mut harness, "Whole pictures");

    click(&mut harness, "Export…");
    let path = root.path().join("out.png");
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.event(egui::Event::Text(path.display().to_string()));
    harness.run_steps(2);
    harness.key_press(Key::Enter);
    wait(&mut harness, |h| app(h).workbench().notices().newest().is_some_and(|n| n.text.contains("out.csv")));
    let page = pictures::read(&path).unwrap();
    assert!(page.extent().width > 3 * 128 && page.extent().height > 3 * 128, "{}", page.extent());
    let mut rows = csv::Reader::from_path(root.path().join("out.csv")).unwrap();
    assert_eq!(rows.headers().unwrap().iter().take(2).collect::<Vec<_>>(), ["Steps", "Seed"]);
    let records: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 9);
    assert_eq!(records.iter().filter(|row| &row[0] == "6" && &row[9] == "2").count(), 1);
    assert!(records.iter().all(|row| row[11].parse::<f32>().is_ok()), "every row has a score");

    // The same grid anew: everything is there already.
    click(&mut harness, "Show axes");
    type_axis(&mut harness, "Columns", "2, 4, 6");
    choose_axis(&mut harness, "Rows", "Seed");
    type_axis(&mut harness, "Rows", "1-3");
    wait(&mut harness, |h| h.query_by_label_contains("9 pictures, 9 of them made already").is_some());
    click(&mut harness, "Make grid");
    wait(&mut harness, |h| app(h).workbench().compare().runs().len() == 2 && table(h).is_finished());
    assert_eq!(again.load(Ordering::SeqCst), 5);
}

fn request(harness: &mut Window<'_>, request: CompareRequest) {
    let app = harness.state_mut().as_mut().unwrap();
    app.send(maquette::workbench::Command::Compare(request));
    harness.run_steps(2);
}

fn begin(harness: &mut Window<'_>, axes: &[&str]) {
    for (index, axis) in axes.iter().enumerate() {
        request(harness, CompareRequest::SetAxis(index, axis.parse::<AxisText>().unwrap()));
    }
    wait(harness, |h| matches!(app(h).workbench().compare().plan(), Some(Ok(_))));
    request(harness, CompareRequest::Begin);
    wait(harness, |h| app(h).workbench().compare().table().is_some());
}

#[test]
fn the_lens_stays_live_while_a_grid_is_made() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window(root.path(), |spec, cx| match spec {
        JobSpec::Generate(_) => never(cx),
        spec => answer(spec, cx),
    });
    begin(&mut harness, &["Seed: 1, 2"]);
    wait(&mut harness, |h| app(h).workbench().compare().making().is_some());
    let phrase = harness.get_by_role_and_label(Role::TextInput, "Phrase to find");
    phrase.focus();
    phrase.type_text("!");
    wait(&mut harness, |h| app(h).workbench().lens().map().is_some_and(|map| map.phrase.text.contains('!')));
    assert!(app(&harness).workbench().compare().making().is_some());
    command(&mut harness, "Cancel all jobs");
    wait(&mut harness, |h| app(h).workbench().compare().job().is_none());
    assert!(!table(&harness).is_running(), "cancelling pauses");
}

#[test]
fn a_cell_that_fails_does_not_stop_the_others_and_is_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let fails = Arc::new(AtomicUsize::new(1));
    let left = fails.clone();
    let mut harness = window(root.path(), move |spec, cx| match spec {
        JobSpec::Generate(spec) if spec.sampling.steps == 2 && left.load(Ordering::SeqCst) > 0 => {
            Err(JobError::BadJob("a scripted failure".to_owned()))
        }
        spec => answer(spec, cx),
    });
    command(&mut harness, "Show compare");
    begin(&mut harness, &["Steps: 1-3"]);
    wait(&mut harness, |h| table(h).progress().0 == 2 && app(h).workbench().compare().job().is_none());
    assert!(table(&harness).cells()[1].trouble.as_ref().unwrap().contains("scripted failure"));
    assert!(harness.query_by_label_contains("1 failed").is_some());
    fails.store(0, Ordering::SeqCst);
    click(&mut harness, "Resume");
    wait(&mut harness, |h| table(h).is_finished());
}

#[test]
fn a_damaged_file_of_runs_gives_a_notice_and_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let garbage = b"not a database at all ".repeat(500);
    std::fs::write(folders(root.path()).runs_file(), &garbage).unwrap();
    let mut harness = window(root.path(), answer);
    wait(&mut harness, |h| app(h).workbench().notices().iter().any(|notice| notice.text.contains("is damaged")));
    assert_eq!(std::fs::read(root.path().join("runs.sqlite.damaged-1")).unwrap(), garbage);
    begin(&mut harness, &["Seed: 1-2"]);
    wait(&mut harness, |h| table(h).is_finished());
}

#[test]
fn two_results_are_put_side_by_side_with_what_differs() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window(root.path(), answer);
    command(&mut harness, "Show compare");
    command(&mut harness, "Generate four");
    wait(&mut harness, |h| app(h).workbench().compare().runs().len() == 1);
    request(&mut harness, CompareRequest::Show(CompareView::Runs));
    let title = app(&harness).workbench().compare().runs()[0].title.clone();
    click(&mut harness, &format!("Open {title}"));
    wait(&mut harness, |h| {
        app(h).workbench().compare().table().is_some_and(|t| t.cells().iter().all(|c| c.score.is_some()))
    });
    for (index, side) in [(0, Side::A), (2, Side::B)] {
        let name = table(&harness).name(index);
        harness.get_by(|node| node.label().is_some_and(|label| label.starts_with(&format!("Cell {name}:")))).click();
        harness.run_steps(3);
        click(&mut harness, &format!("Compare as {}", side.name()));
    }
    assert_eq!(app(&harness).workbench().compare().view(), CompareView::Pair);
    let pair = app(&harness).workbench().compare().pair();
    let settings: Vec<&str> = pair.differences().unwrap().settings.iter().map(|(name, ..)| *name).collect();
    assert_eq!(settings, ["Seed"]);
    assert!(harness.query_by_label("Prompt: the same").is_some());
    wait(&mut harness, |h| {
        app(h).workbench().compare().pair().apart().is_some_and(|(picture, mean)| picture.is_some() && *mean > 0.0)
    });
    for (view, part) in [("Wipe", "A: Seed"), ("Difference", "Difference of A and B"), ("Side by side", "B: Seed")] {
        click(&mut harness, view);
        assert!(harness.query_by_label_contains(part).is_some(), "{view}");
    }
    click(&mut harness, "Flicker");
    assert!(
        harness.query_by_label_contains("A: Seed").is_some() != harness.query_by_label_contains("B: Seed").is_some()
    );

    // Another cell's settings become those of the document, in one step of undo; its prompt has the templates already.
    let item = Item::Template("Flat illustration".to_owned());
    harness.state_mut().as_mut().unwrap().send(Command::Library(LibraryCommand::Toggle(item)));
    harness.run_steps(2);
    assert_eq!(app(&harness).workbench().document().stack.len(), 1);
    let before = app(&harness).workbench().document().clone();
    request(&mut harness, CompareRequest::UseCell(1));
    let seed = table(&harness).run.cells[1].spec.sampling.seed;
    assert_eq!(app(&harness).workbench().document().sampling.seed, seed);
    assert!(app(&harness).workbench().document().stack.is_empty());
    command(&mut harness, "Undo");
    assert_eq!(*app(&harness).workbench().document(), before);
}

#[test]
fn words_that_do_nothing_are_found_at_once_and_measured_on_pictures() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = window(root.path(), answer);
    command(&mut harness, "Show compare");
    let prompt = harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt");
    prompt.focus();
    harness.step();
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.event(egui::Event::Text("a wolf, winter, nice".to_owned()));
    harness.run_steps(3);
    assert_eq!(app(&harness).workbench().document().text(TextField::Prompt), "a wolf, winter, nice");
    click(&mut harness, "Words");
    wait(&mut harness, |h| {
        let words = app(h).workbench().compare().words();
        words.values().len() == 3 && words.values().iter().all(|value| value.embedding_change.is_some())
    });
    let dead: Vec<bool> =
        app(&harness).workbench().compare().words().values().iter().map(|value| value.is_dead).collect();
    assert_eq!(dead, [false, false, true]);
    assert!(harness.query_by_label_contains("nice: text 0.000").is_some());
    click(&mut harness, "Measure on 16 pictures");
    wait(&mut harness, |h| {
        let words = app(h).workbench().compare().words();
        words.values().iter().all(|value| value.score_change.is_some_and(|change| change.count == 4))
    });
    assert!(harness.query_by_label_contains("winter: picture ").is_some());
}
