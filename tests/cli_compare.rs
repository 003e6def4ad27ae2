//! Grids and words on the command line: the real program, real files, killed and resumed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use maquette::store::pictures;
use maquette::store::runs::Runs;
use serde_json::Value;

/// A home of its own, so that the user's runs are neither seen nor changed.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maquette"));
        for name in ["HOME", "USERPROFILE", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA"] {
            command.env(name, self.path("home"));
        }
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str], part: &str) {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(part) && !message.contains("panicked"), "{arguments:?}: {message}");
    }

    /// The file of runs, wherever the system puts it in this home.
    fn runs_file(&self) -> PathBuf {
        fn find(folder: &Path) -> Option<PathBuf> {
            let entries: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
            let here = entries.iter().find(|path| path.file_name().is_some_and(|name| name == "runs.sqlite")).cloned();
            here.or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path)))
        }
        find(&self.path("home")).unwrap()
    }
}

const PROMPT: [&str; 8] =
    ["--prompt", "a red apple on a blue background", "--seed", "1", "--size", "64x64", "--steps", "2"];

#[test]
fn a_grid_becomes_a_page_a_table_and_pictures_with_their_jobs() {
    let home = Home::new();
    let out = home.text("grid");
    let axes = ["--x", "Prompt S/R: red, green", "--y", "Steps: 1, 2", "--out", &out, "--json"];
    let value = home.json(&[&["compare", "grid"], &PROMPT[..], &axes].concat());
    assert_eq!((value["schema"].as_u64(), value["reused"].as_u64()), (Some(1), Some(0)));
    let cells = value["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 4);
    assert_eq!(cells[3]["prompt"], "a green apple on a blue background");
    for cell in cells {
        let path = PathBuf::from(cell["file"].as_str().unwrap());
        let record: Value = serde_json::from_str(&pictures::read_metadata(&path).unwrap().unwrap()).unwrap();
        assert_eq!(record["job"]["prompt"], cell["prompt"]);
        assert!(cell["score"].as_f64().unwrap().abs() <= 1.0);
    }
    let page = pictures::read(&home.path("grid/grid.png")).unwrap().extent();
    assert!(page.width > 128 && page.height > 128, "{page}");
    let table = std::fs::read_to_string(home.path("grid/grid.csv")).unwrap();
    assert!(table.starts_with("Prompt S/R,Steps,prompt,") && table.lines().count() == 5, "{table}");

    // Another folder: the same requests were answered already.
    let other = home.text("other");
    let again = ["--x", "Prompt S/R: red, green", "--y", "Steps: 2", "--out", &other, "--json"];
    assert_eq!(home.json(&[&["compare", "grid"], &PROMPT[..], &again].concat())["reused"], 2);

    home.refused(
        &[&["compare", "grid"], &PROMPT[..], &axes].concat(),
        "begun in this folder already; go on with --resume",
    );
    let changed = ["--x", "Steps: 3", "--out", &out, "--resume"];
    home.refused(&[&["compare", "grid"], &PROMPT[..], &changed].concat(), "has other axes");
}

#[test]
fn variants_and_wildcards_are_drawn_by_the_seed_of_each_picture() {
    let home = Home::new();
    let prompt =
        ["--prompt", "a {red|green} __animals__", "--size", "64x64", "--steps", "1", "--guidance", "1", "--json"];
    let out = home.text("grid");
    let value = home.json(&[&["compare", "grid", "--x", "Seed: 1-4", "--out", &out], &prompt[..]].concat());
    let of_grid: Vec<&str> =
        value["cells"].as_array().unwrap().iter().map(|cell| cell["prompt"].as_str().unwrap()).collect();
    assert!(of_grid.iter().all(|text| !text.contains(['{', '_'])), "{of_grid:?}");
    let out = home.text("one.png");
    let value = home.json(&[&["generate", "--seed", "1", "--count", "4", "--out", &out], &prompt[..]].concat());
    let record = |file: &Value| {
        let record = pictures::read_metadata(Path::new(file.as_str().unwrap())).unwrap().unwrap();
        serde_json::from_str::<Value>(&record).unwrap()["job"]["prompt"].as_str().unwrap().to_owned()
    };
    let single: Vec<String> = value["files"].as_array().unwrap().iter().map(record).collect();
    assert_eq!(single, of_grid);
}

#[test]
fn a_killed_grid_is_resumed_from_its_folder_alone() {
    let home = Home::new();
    let out = home.text("grid");
    let axes = ["--x", "Seed: 1-4", "--y", "Steps: 2, 3", "--out", &out];
    let arguments = [&["compare", "grid"], &PROMPT[..], &axes].concat();
    let mut child: Child = home.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().starts_with("1 of 8"));
    child.kill().unwrap();
    child.wait().unwrap();
    let done = Runs::open(&home.runs_file()).unwrap().0.list(1).unwrap()[0].clone();
    assert!(done.done >= 1 && done.total == 8, "{done:?}");
    assert!(!home.path("grid/grid.png").exists());

    let value = home.json(&["compare", "grid", "--resume", "--out", &out, "--json"]);
    assert_eq!(value["reused"].as_u64(), Some(done.done as u64));
    assert_eq!(value["cells"].as_array().unwrap().len(), 8);
    assert!(home.path("grid/grid.png").exists());
}

#[test]
fn bad_axes_are_refused_with_what_to_do() {
    let home = Home::new();
    let out = home.text("grid");
    for (axis, part) in [
        ("Stepz: 1", "there is no axis \"Stepz\""),
        ("Steps: 1-", "neither a number nor a range"),
        ("Prompt S/R: dog, cat", "\"dog\" is neither in the prompt"),
    ] {
        home.refused(&[&["compare", "grid"], &PROMPT[..], &["--x", axis, "--out", &out]].concat(), part);
    }
    home.refused(&[&["compare", "grid"], &PROMPT[..], &["--out", &out]].concat(), "at least one axis");
    home.refused(&["compare", "grid", "--x", "Steps: 1", "--out", &out], "--prompt");
    home.refused(&["compare", "grid", "--resume", "--out", &out], "none to resume");
    home.refused(&["compare"], "--classes");
}

#[test]
fn words_tell_what_each_part_does() {
    let home = Home::new();
    let value = home.json(&[&["compare", "words", "--seeds", "1", "--json"], &PROMPT[..]].concat());
    let parts = value["parts"].as_array().unwrap();
    let texts: Vec<&str> = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["a", "red", "apple", "on", "a", "blue", "background"]);
    assert!(parts.iter().all(|part| part["embedding_change"].as_f64().unwrap() >= -1e-6));
    assert!(parts.iter().all(|part| part["score_change"]["count"] == 1 && part["picture_change"]["mean"].is_number()));
    let apple = parts[2]["embedding_change"].as_f64().unwrap();
    assert!(apple > parts[0]["embedding_change"].as_f64().unwrap(), "a noun says more than an article");
    home.refused(&["compare", "words", "--prompt", ""], "the prompt is empty");
}
