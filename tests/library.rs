//! The library on disk and on the command line: files of other programs come in, damaged ones as far as they can be read, and go out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use maquette::prompt::exchange::{self, Format};
use maquette::prompt::library::Library;
use maquette::store::{exchange as files, presets};
use proptest::prelude::*;
use serde_json::Value;

const STYLES: &str =
    "\u{feff}name,prompt,negative_prompt\r\nSoft,\"{prompt}, soft\",\"hard, cold\"\r\nPlain,plain,\r\n";
const FOOOCUS: &str = r#"[{"name": "Soft", "prompt": "{prompt}, soft", "negative_prompt": "hard"}, {"name": "Plain", "prompt": "plain"}]"#;
const INVOKE: &str = r#"[{"name": "Soft", "positive_prompt": "{prompt}, soft", "negative_prompt": "hard"}]"#;
const PRESET: &str =
    r#"{"name": "Soft", "type": "user", "preset_data": {"positive_prompt": "{prompt}, soft", "negative_prompt": "x"}}"#;
const EASY: &str = r#"[{"category": "Light", "modifiers": [{"modifier": "soft", "previews": []}, {"modifier": "hard", "previews": []}]}]"#;
const CUPL: &str =
    r#"{"hen": ["A hen is a small bird.", "A hen has feathers."], "ox": ["An ox is large and strong."]}"#;
const DESCRIPTORS: &str = r#"{"hen": ["two legs", "a red comb"], "school bus": ["a yellow body", "large windows"]}"#;
const PYTHON: &str = "TEMPLATES = (\n    lambda c: f'a photo of a {c}.',\n    lambda c: f'a drawing of a {c}.',\n)\n";

/// A file's name, what stands in it, and the format that it should be taken for.
const SAMPLES: [(&str, &str, Format); 16] = [
    ("styles.csv", STYLES, Format::StylesCsv),
    ("sdxl_styles.json", FOOOCUS, Format::Fooocus),
    ("invoke.json", INVOKE, Format::InvokeAi),
    ("preset.json", PRESET, Format::InvokeAiPreset),
    ("modifiers.json", EASY, Format::EasyDiffusion),
    ("colours.txt", "red\n2::blue\n__animals__\n", Format::WildcardsTxt),
    ("all.yaml", "colours: [red, blue]\nanimals:\n  cats: [lion]\n", Format::WildcardsYaml),
    (
        "all.json",
        r#"{"colours": ["red", "blue"], "animals": {"cats": ["lion", {"text": "lynx", "weight": 2}]}}"#,
        Format::WildcardsJson,
    ),
    ("templates.txt", "a photo of a {}.\na drawing of a {c}.\n", Format::ClipText),
    ("templates.json", r#"{"cifar10": ["a photo of a {c}.", "a {c}"], "pets": ["a {c}, a pet"]}"#, Format::ClipJson),
    ("templates.py", PYTHON, Format::ClipPython),
    ("cupl_prompts.json", CUPL, Format::Cupl),
    ("descriptors.json", DESCRIPTORS, Format::Descriptors),
    (
        "a.toml",
        "[[category]]\nname = \"Light\"\nmodifiers = [{ text = \"soft\", about = \"Blurs.\" }]\n",
        Format::Modifiers,
    ),
    ("b.toml", "[[template]]\nname = \"A\"\ntext = \"{subject}, {light=soft}\"\nsteps = 30\n", Format::Templates),
    ("c.toml", "[[style]]\nname = \"B\"\ntext = \"{prompt}, soft\"\n", Format::Styles),
];

#[test]
fn every_format_is_recognised_read_and_written_so_that_it_is_read_again() {
    for (name, text, format) in SAMPLES {
        assert_eq!(exchange::recognise(name, text), Some(format), "{name}");
        let stem = name.split('.').next().unwrap();
        let (library, warnings) = exchange::read(format, stem, text);
        assert_eq!(warnings, vec![], "{name}");
        assert!(!library.is_empty(), "{name}");
        let (written, warnings) = exchange::write(format, &library);
        assert_eq!(warnings, vec![], "{name}");
        let mut again = Library::default();
        for file in &written {
            let stem = file.path.rsplit('/').next().unwrap().split('.').next().filter(|stem| !stem.is_empty());
            again.add(exchange::read(format, stem.unwrap_or(stem_of(name)), &file.text).0);
        }
        assert_eq!(again, library, "{name}: {written:?}");
    }
    assert_eq!(
        exchange::recognise("photo.png", "\u{fffd}PNG"),
        Some(Format::WildcardsTxt),
        "any text is a list of lines"
    );
    assert_eq!(exchange::recognise("x.json", "[1, 2]"), Some(Format::WildcardsJson));
    assert_eq!(exchange::recognise("x.csv", "a,b\n1,2\n"), None);
}

fn stem_of(name: &str) -> &str {
    name.split('.').next().unwrap()
}

#[test]
fn a_damaged_file_of_each_kind_loads_what_can_be_loaded_and_says_what_could_not() {
    for (name, text, format) in SAMPLES {
        // Cut short in the middle of its last entry, and with a line of rubbish in the middle.
        let whole = exchange::read(format, "x", text).0;
        let cut: String = text.trim_end().chars().take(text.trim_end().chars().count() - 6).collect();
        let (library, warnings) = exchange::read(format, "x", &cut);
        // A list that ends early is still a list of these formats.
        let is_by_line = matches!(format, Format::WildcardsTxt | Format::ClipText | Format::WildcardsYaml);
        assert!(is_by_line || format == Format::StylesCsv || !warnings.is_empty(), "{name} says nothing of: {cut}");
        let keeps_something =
            !matches!(format, Format::InvokeAiPreset | Format::Modifiers | Format::Templates | Format::Styles);
        assert!(!keeps_something || !library.is_empty(), "{name} keeps nothing of: {cut}");
        assert!(library != whole || !warnings.is_empty(), "{name} is said to be whole: {cut}");
    }
    let toml = "[[style]]\nname = \"A\"\ntext = \"a\"\n\n[[style]]\nname = \"B\"\ntext = \"b\n\n[[style]]\nname = \"C\"\ntext = \"c\"\n";
    let (library, warnings) = exchange::read(Format::Styles, "x", toml);
    let names: Vec<&str> = library.styles.iter().map(|style| style.name.as_str()).collect();
    assert_eq!(names, ["A", "C"]);
    assert!(warnings[0].to_string().starts_with("line 7:"), "{warnings:?}");
}

proptest! {
    #[test]
    fn no_text_is_too_odd_for_any_format(text in "(?s)([\\[\\]{}(),:\"'\n#=]|name|prompt|\\[\\[style\\]\\]|lambda c: f|modifiers|a|.){0,80}", at in 0usize..16) {
        let format = Format::ALL[at];
        let (library, _) = exchange::read(format, "x", &text);
        let _ = exchange::write(format, &library);
        let _ = exchange::recognise("x", &text);
    }

    #[test]
    fn a_sample_with_a_piece_cut_out_is_read(at in 0usize..16, from in 0usize..200, length in 0usize..40) {
        let (_, text, format) = SAMPLES[at];
        let kept = |(place, _): &(usize, char)| *place < from || *place >= from + length;
        let text: String = text.chars().enumerate().filter(kept).map(|(_, c)| c).collect();
        let _ = exchange::read(format, "x", &text);
    }
}

#[test]
fn what_is_imported_is_in_the_library_and_nothing_is_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let (own, from) = (root.path().join("presets"), root.path().join("from"));
    std::fs::create_dir_all(&from).unwrap();
    for (name, text, format) in SAMPLES {
        std::fs::write(from.join(name), text).unwrap();
        let done = files::import(&own, &from.join(name), None, "from others").unwrap();
        assert_eq!((done.format, done.warnings), (format, vec![]), "{name}");
        assert!(done.written.iter().all(|path| path.exists()), "{name}");
    }
    let (library, warnings) = presets::library(Some(&own));
    assert_eq!(warnings, Vec::<String>::new());
    let mine = library.only_mine();
    let styles: Vec<&str> = mine.styles.iter().map(|style| style.name.as_str()).collect();
    assert!(styles.contains(&"Soft") && styles.contains(&"Plain") && styles.contains(&"B"), "{styles:?}");
    assert_eq!(mine.styles[0].folder, "from others");
    assert_eq!(mine.templates[0].settings.steps, Some(30));
    assert!(mine.wildcards.contains_key("from others/animals/cats"), "{:?}", mine.wildcards.keys());
    let sets: Vec<&str> = mine.class_prompts.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(sets.len(), 2, "{sets:?}");
    assert!(mine.zero_shot.iter().any(|list| list.name == "cifar10" && list.lines.len() == 2));
    // Once more: beside the first, not over it.
    let first = files::import(&own, &from.join("styles.csv"), None, "").unwrap().written;
    let second = files::import(&own, &from.join("styles.csv"), None, "../../escape").unwrap().written;
    assert!(first[0] != second[0] && second[0].starts_with(&own), "{second:?}");
    // What cannot be used says so.
    std::fs::write(from.join("odd.csv"), "a,b\n1,2\n").unwrap();
    assert!(files::import(&own, &from.join("odd.csv"), None, "").unwrap_err().contains("none of the formats"));
    std::fs::write(from.join("empty.json"), "[]").unwrap();
    let error = files::import(&own, &from.join("empty.json"), Some(Format::Fooocus), "").unwrap_err();
    assert!(error.contains("nothing in it can be used"), "{error}");
    std::fs::write(from.join("latin.csv"), b"name,prompt\nCaf\xe9,x\n").unwrap();
    let done = files::import(&own, &from.join("latin.csv"), None, "").unwrap();
    assert!(done.warnings[0].contains("line 2") && done.warnings[0].contains("UTF-8"), "{:?}", done.warnings);
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn maquette(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maquette"));
        command
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("HOME", self.0.path());
        command.args(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.maquette(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["schema"], 1);
        value
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_command_line_imports_lists_and_exports() {
    let home = Home::new();
    let damaged = home.write("styles.csv", "name,prompt,negative_prompt\nMine,\"{prompt}, soft\",hard\n,no name,\n");
    let output = home.maquette(&["library", "import", &damaged, "--to", "old ones"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("line 3: a style without a name"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("imported 1 style as A1111 styles.csv"));
    let listed = home.json(&["library", "list", "--json"]);
    let mine = listed["styles"].as_array().unwrap().iter().find(|style| style["name"] == "Mine").unwrap();
    assert_eq!((&mine["folder"], &mine["mine"]), (&"old ones".into(), &true.into()));
    assert!(listed["modifiers"].as_array().unwrap().len() >= 300);
    let text = String::from_utf8(home.maquette(&["library", "list"]).stdout).unwrap();
    assert!(text.contains("  foggy: ") && text.contains("__animals__"));

    let out = home.path("out.json").display().to_string();
    let output = home.maquette(&["library", "export", "--format", "fooocus", "--mine", &out]);
    assert!(output.status.success());
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(written, serde_json::json!([{"name": "Mine", "prompt": "{prompt}, soft", "negative_prompt": "hard"}]));
    let folder = home.path("lists").display().to_string();
    assert!(home.maquette(&["library", "export", "--format", "wildcards-txt", &folder]).status.success());
    assert!(Path::new(&folder).join("animals.txt").exists() && Path::new(&folder).join("scenes/portrait.txt").exists());

    let dry = home.json(&["library", "import", &out, "--dry-run", "--json"]);
    assert_eq!((&dry["format"], &dry["files"]), (&"fooocus".into(), &serde_json::json!([])));
    for (arguments, part) in [
        (vec!["library", "import", "/nowhere/x.csv"], "cannot read this file"),
        (vec!["library", "import", out.as_str(), "--as", "magic"], "there is no format \"magic\""),
        (vec!["library", "export", "--format", "styles-csv", "/nowhere/x.csv"], "no such folder"),
        (vec!["library", "effect", " ", "--prompt", "x"], "the modifier is empty"),
    ] {
        let output = home.maquette(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    // The user's wildcards are there for prompts, on top of those that ship.
    let own = home.write("mood.txt", "# mine\nglum\n");
    assert!(home.maquette(&["library", "import", &own]).status.success());
    let expanded = home.json(&["prompt", "expand", "__mood__ {a|b}", "--all", "--json"]);
    assert_eq!(expanded["prompts"], serde_json::json!(["glum a", "glum b"]));
}

#[cfg(target_os = "linux")]
#[test]
fn an_effect_is_measured_over_the_same_seeds() {
    let home = Home::new();
    let measure = |modifier: &str| {
        let arguments = ["--prompt", "a red apple", "--seeds", "3", "--steps", "4", "--json"];
        home.json(&[&["library", "effect", modifier][..], &arguments[..]].concat())
    };
    let value = measure("black and white photo");
    assert_eq!(value["seeds"], serde_json::json!([1, 2, 3]));
    assert_eq!((value["change"]["count"].as_u64(), value["chance"]["count"].as_u64()), (Some(3), Some(3)));
    let change = value["change"]["mean"].as_f64().unwrap();
    assert!(change > 0.0 && change < 2.0, "{value}");
    assert_eq!(measure("black and white photo"), value, "the same command gives the same numbers");
    // Words that the prompt has already are taken out to measure them.
    let value = measure("a red apple");
    assert_eq!(value["prompt"], "");
}
