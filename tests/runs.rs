//! The file of runs: what is written is read again, whatever happens to the program or to the file in between.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use maquette::base::geom::Extent;
use maquette::base::pixels::{Mask, Picture};
use maquette::job::ModelRef;
use maquette::job::latents::Latents;
use maquette::job::nets::{ControlSpec, OtherNets};
use maquette::job::sampling::{Sampler, Sampling};
use maquette::job::spec::{GenerateSpec, InitSpec};
use maquette::store::runs::{AxisLabels, CellPicture, NewRun, RunCell, RunId, RunKind, Runs, RunsError};

fn spec(prompt: &str) -> GenerateSpec {
    GenerateSpec {
        model: ModelRef::builtin(),
        prompt: prompt.to_owned(),
        negative: String::new(),
        sampling: Sampling { sampler: Some(Sampler::Heun), guidance: 0.1 + 0.2, ..Sampling::default() },
        count: 1,
        init: None,
        noise: None,
        nets: OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    }
}

fn picture(seed: u8) -> Picture {
    Picture::from_fn(Extent::new(20, 10), |x, y| [x as u8, y as u8, seed])
}

/// A request with everything that is stored beside its JSON.
fn full_spec() -> GenerateSpec {
    let extent = Extent::new(20, 10);
    let coverage: Vec<u8> = (0..200).map(|i| (i % 256) as u8).collect();
    let init = InitSpec { picture: picture(1), mask: Some(Mask::from_coverage(extent, &coverage)), strength: 0.7 };
    let control = ControlSpec { model: "edges".into(), picture: picture(2), scale: 0.8, start: 0.1, end: 0.9 };
    GenerateSpec {
        init: Some(init),
        noise: Latents::new([4, 2, 3], (0..24).map(|i| i as f32 * 0.37 - 3.0).collect()),
        nets: OtherNets { vae: Some("tiny".into()), controls: vec![control] },
        ..spec("a \"fox\", \u{ac00}")
    }
}

fn run_of(specs: &[GenerateSpec]) -> NewRun {
    let cells = specs.iter().enumerate().map(|(x, spec)| RunCell {
        at: [x, 0, 0],
        job: spec.hash(),
        spec: spec.clone(),
        cost: 10.0,
    });
    let labels = specs.iter().map(|spec| spec.prompt.clone()).collect();
    let axes = vec![AxisLabels { name: "Prompt".to_owned(), values: labels }];
    NewRun {
        kind: RunKind::Grid,
        title: "Prompts".to_owned(),
        axes,
        score_text: Some("a fox".to_owned()),
        cells: cells.collect(),
    }
}

fn open(path: &Path) -> Runs {
    let (runs, warning) = Runs::open(path).unwrap();
    assert_eq!(warning, None);
    runs
}

fn made(picture: Picture) -> CellPicture {
    CellPicture { picture, model_sha256: "ab".repeat(32), seconds: 2.5 }
}

#[test]
fn a_run_is_read_as_it_was_written_by_another_opening_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/runs.sqlite");
    let run = run_of(&[spec("a fox"), full_spec()]);
    let id = open(&path).add(&run).unwrap();
    let read = open(&path).run(id).unwrap();
    assert_eq!(read.run, run);
    let hashes: Vec<String> = read.run.cells.iter().map(|cell| cell.spec.hash()).collect();
    assert_eq!(hashes, [run.cells[0].job.clone(), run.cells[1].job.clone()], "the request is the same to the last bit");
}

#[test]
fn a_cell_is_done_when_its_picture_is_there_and_a_picture_serves_all_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let mut runs = open(&path);
    let (first, second) = (run_of(&[spec("a"), spec("b")]), run_of(&[spec("b"), spec("c")]));
    let ids = [runs.add(&first).unwrap(), runs.add(&second).unwrap()];
    assert_eq!(runs.seconds_per_cost("builtin").unwrap(), None);
    let shared = &first.cells[1];
    runs.put_picture(shared, &made(picture(3))).unwrap();
    // Whoever comes second changes nothing.
    runs.put_picture(shared, &made(picture(9))).unwrap();
    runs.put_embedding(&shared.job, "builtin", &[0.5, -1.25]).unwrap();
    runs.put_score(&shared.job, "builtin", "a fox", 0.25).unwrap();

    // Another program, or the same one after it was killed.
    let runs = open(&path);
    assert_eq!(runs.picture(&shared.job).unwrap(), Some(made(picture(3))));
    assert_eq!(runs.picture(&first.cells[0].job).unwrap(), None);
    assert_eq!(runs.embeddings(&shared.job).unwrap(), [("builtin".to_owned(), vec![0.5, -1.25])]);
    assert_eq!(runs.score(&shared.job, "builtin", "a fox").unwrap(), Some(0.25));
    assert_eq!(runs.score(&shared.job, "builtin", "a cat").unwrap(), None);
    assert_eq!(runs.seconds_per_cost("builtin").unwrap(), Some(0.25));
    let listed = runs.list(10).unwrap();
    let summary: Vec<(RunId, usize, usize)> = listed.iter().map(|run| (run.id, run.done, run.total)).collect();
    assert_eq!(summary, [(ids[1], 1, 2), (ids[0], 1, 2)], "newest first");
    assert!(listed[0].made_at > 1_600_000_000);

    let mut runs = runs;
    runs.remove(ids[0]).unwrap();
    assert!(runs.picture(&shared.job).unwrap().is_some(), "the other run still shows it");
    runs.remove(ids[1]).unwrap();
    assert_eq!(runs.picture(&shared.job).unwrap(), None);
    assert_eq!(runs.score(&shared.job, "builtin", "a fox").unwrap(), None);
    assert!(matches!(runs.run(ids[1]), Err(RunsError::Incomplete(_))));
}

#[test]
fn a_run_that_cannot_be_written_whole_is_not_written_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = open(&folder.path().join("runs.sqlite"));
    let mut run = run_of(&[spec("a"), spec("b")]);
    // Two cells in one place.
    run.cells[1].at = run.cells[0].at;
    assert!(matches!(runs.add(&run), Err(RunsError::Failed(_))));
    assert_eq!(runs.list(10).unwrap(), []);
}

#[test]
fn a_damaged_file_is_moved_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    for (round, damage) in [b"this is no database, but a letter".repeat(99), Vec::new()].iter().enumerate() {
        if damage.is_empty() {
            // Pages in the middle of a real file.
            let many: Vec<GenerateSpec> = (0..200).map(|i| spec(&format!("prompt {i}"))).collect();
            open(&path).add(&run_of(&many)).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            assert!(bytes.len() > 20_000, "the log is written back when the file is closed");
            bytes[5_000..18_000].fill(0xa5);
            std::fs::write(&path, bytes).unwrap();
        } else {
            std::fs::write(&path, damage).unwrap();
        }
        let before = std::fs::read(&path).unwrap();
        let (mut runs, warning) = Runs::open(&path).unwrap();
        let warning = warning.unwrap();
        let aside = folder.path().join(format!("runs.sqlite.damaged-{}", round + 1));
        assert!(warning.contains("is damaged") && warning.contains(aside.to_str().unwrap()), "{warning}");
        assert_eq!(std::fs::read(&aside).unwrap(), before, "not a byte is lost");
        let id = runs.add(&run_of(&[spec("a")])).unwrap();
        assert_eq!(runs.run(id).unwrap().run.cells.len(), 1);
        drop(runs);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_file_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    drop(open(&path));
    let later = std::fs::read(&path).unwrap();
    // The version stands in bytes 60 to 63 of the header, big-endian.
    let mut later = later;
    later[60..64].copy_from_slice(&77u32.to_be_bytes());
    std::fs::write(&path, &later).unwrap();
    let error = Runs::open(&path).map(|_| ()).unwrap_err();
    assert!(matches!(error, RunsError::TooNew { version: 77, .. }), "{error}");
    assert!(error.to_string().contains("newer Maquette"));
    assert_eq!(std::fs::read(&path).unwrap()[60..64], [0, 0, 0, 77]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Runs::open(&file.join("runs.sqlite")).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("cannot be opened") && error.contains("runs.sqlite"), "{error}");
}
