//! The rules of the house that a compiler does not know: who may import whom, file headers, file length, no leftovers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

/// Module, and the modules that it may import. Lower layers first; siblings only where they are named.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("job", &["base"]),
    ("prompt", &["base"]),
    ("document", &["base", "job", "prompt"]),
    ("models", &["base", "job"]),
    ("registry", &["base", "job", "models"]),
    ("store", &["base", "job", "prompt"]),
    ("pipelines", &["base", "job", "models", "prompt"]),
    ("analysis", &["base", "job", "models", "prompt"]),
    ("quality", &["base", "job", "models", "pipelines", "analysis"]),
    ("engine", &["base", "job", "models", "pipelines", "analysis", "quality", "registry", "store"]),
    ("workbench", &["base", "job", "document", "prompt", "store", "registry", "engine"]),
    ("ui", &["analysis", "base", "job", "document", "prompt", "store", "models", "engine", "workbench"]),
    (
        "cli",
        &["analysis", "base", "document", "job", "prompt", "store", "registry", "models", "engine", "ui", "workbench"],
    ),
];

/// Crate, and the modules that may use it.
const CRATES: &[(&str, &[&str])] = &[
    ("egui", &["ui"]),
    ("eframe", &["ui"]),
    ("egui_tiles", &["ui"]),
    ("rfd", &["ui"]),
    ("candle_core", &["models", "pipelines", "analysis", "engine"]),
    ("candle_nn", &["models", "pipelines", "analysis", "engine"]),
    ("tokenizers", &["models", "pipelines", "analysis", "engine"]),
    ("rusqlite", &["store"]),
    ("ureq", &["registry"]),
    ("reqwest", &["registry"]),
];

const LONGEST_FILE: usize = 500;
const LONGEST_MAIN: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The top module that a file of `src` belongs to; "" for `lib.rs` and `main.rs`.
fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split_once('/').map_or("", |(module, _)| module)
}

/// What is wrong with one file.
fn problems(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |line: usize, what: String| found.push(format!("{path}:{}: {what}", line + 1));
    if !text.starts_with("//!") {
        add(0, "begin the file with a //! header that says what it is".into());
    }
    let longest = if path == "src/main.rs" { LONGEST_MAIN } else { LONGEST_FILE };
    if text.lines().count() > longest {
        add(longest, format!("the file is longer than {longest} lines; split it"));
    }
    let module = module_of(path);
    let allowed = MAY_IMPORT.iter().find(|(name, _)| *name == module);
    if !module.is_empty() && allowed.is_none() {
        add(0, format!("the module {module} is not in the import table of tests/tidy.rs"));
    }
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some((_, allowed)) = allowed {
            for imported in code.split("crate::").skip(1).map(first_word) {
                if !imported.is_empty() && imported != module && !allowed.contains(&imported) {
                    add(number, format!("{module} must not import {imported}; move what is shared to a lower layer"));
                }
            }
        }
        for (name, users) in CRATES {
            if uses_crate(code, name) && !module.is_empty() && !users.contains(&module) {
                add(number, format!("only {} may use {name}", users.join(", ")));
            }
        }
        for leftover in ["todo!(", "unimplemented!(", "coming soon", "FIXME", "/home/", "/root/", "dbg!("] {
            if line.contains(leftover) {
                add(number, format!("\"{leftover}\" does not belong into finished code"));
            }
        }
    }
    found
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Whether `code` names the crate in a path: `egui::` but not `my_egui::` or `crate::egui`.
fn uses_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn every_source_file_keeps_the_rules() {
    let mut found = Vec::new();
    for path in rust_files(&root().join("src")) {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        found.extend(problems(&name, &std::fs::read_to_string(&path).unwrap()));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn breaking_a_rule_is_noticed() {
    let check = |path: &str, text: &str, part: &str| {
        let found = problems(path, text);
        assert!(found.iter().any(|problem| problem.contains(part)), "{part:?} is not among {found:?}");
    };
    check("src/base/x.rs", "//! x\nuse crate::job::JobSpec;\n", "base must not import job");
    check("src/models/x.rs", "//! x\nfn f(ui: &mut egui::Ui) {}\n", "only ui may use egui");
    check("src/ui/x.rs", "//! x\nuse candle_core::Tensor;\n", "may use candle_core");
    check("src/base/x.rs", "fn f() {}\n", "//! header");
    check("src/base/x.rs", &format!("//! x\n{}", "\n".repeat(600)), "longer than 500");
    check("src/main.rs", &format!("//! x\n{}", "\n".repeat(61)), "longer than 60");
    check("src/new/x.rs", "//! x\n", "not in the import table");
    check("src/base/x.rs", "//! x\nfn f() { todo!() }\n", "todo!(");
    assert_eq!(problems("src/ui/x.rs", "//! x\nuse crate::job::JobSpec; // crate::cli\n"), Vec::<String>::new());
}

#[test]
fn nothing_unexpected_stands_at_the_top_level() {
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "assets",
        "presets",
        "tests",
        "benches",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "THIRD_PARTY_NOTICES.md",
        "rustfmt.toml",
        "target",
    ];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || known.contains(&name.as_str()), "{name} has no place at the top level");
    }
}
