//! `maquette models add`, `maquette models list`, and `maquette models check` of what is not built in.

use std::path::{Path, PathBuf};

use super::json;
use super::session::{Failure, say};
use crate::engine::options::EngineOptions;
use crate::registry::{Catalogue, RegistryError, Report, Sort, check as look_at};
use crate::workbench::models;

/// Width of the column of names.
const NAMES: usize = 32;

pub(super) fn bad(error: RegistryError) -> Failure {
    Failure::BadInput(error.0)
}

pub(super) fn catalogue(options: &EngineOptions) -> Result<Catalogue, Failure> {
    models::catalogue(options.presets.as_deref()).map_err(Failure::BadInput)
}

/// Remembers `path` in the user's catalogue.
pub(super) fn add(path: &Path, options: &EngineOptions) -> Result<(), Failure> {
    let models::Remembered { found, written_to } =
        models::remember(options.presets.as_deref(), path).map_err(Failure::BadInput)?;
    let usable = found.iter().filter(|one| one.sort != Sort::Unusable).count();
    say!("{}: {usable} usable of {} found; remembered in {}", path.display(), found.len(), written_to.display());
    Ok(())
}

/// Lists what is known and what is found.
pub(super) fn list(as_json: bool, options: &EngineOptions) -> Result<(), Failure> {
    let catalogue = catalogue(options)?;
    let found = catalogue.found();
    if as_json {
        let places: Vec<PathBuf> = catalogue.places().map(Path::to_owned).collect();
        return json::print(&json::Models { schema: json::SCHEMA, models: catalogue.entries, found, places });
    }
    for entry in &catalogue.entries {
        say!("{:NAMES$} {:10} {}  [{}]", entry.id, entry.family.name(), entry.title, entry.licence);
    }
    for one in &found {
        let problem = one.problem.as_ref().map(|problem| format!("  ({problem})")).unwrap_or_default();
        say!("{:NAMES$} {:10} {}{problem}", one.name, one.sort.name(), one.path.display());
    }
    Ok(())
}

/// Says what `model` is and what it lacks; fails if it cannot be used.
pub(super) fn check(model: &str, as_json: bool, options: &EngineOptions) -> Result<(), Failure> {
    let catalogue = catalogue(options)?;
    let sorts = [Sort::Diffusion, Sort::Clip, Sort::Lora, Sort::Embedding, Sort::Vae, Sort::ControlNet];
    let located: Vec<Result<PathBuf, RegistryError>> =
        sorts.iter().map(|sort| catalogue.locate(model, *sort)).collect();
    let first = located.iter().position(Result::is_ok).unwrap_or(0);
    let path = located.into_iter().nth(first).unwrap_or_else(|| Ok(PathBuf::from(model))).map_err(bad)?;
    let report = look_at(&path, &catalogue);
    let is_usable = report.is_usable();
    if as_json {
        json::print(&json::ModelReport { schema: json::SCHEMA, usable: is_usable, report: report.clone() })?;
    } else {
        print(&report);
    }
    match is_usable {
        true => Ok(()),
        false => Err(Failure::BadInput(format!("this cannot be used as it is: {}", path.display()))),
    }
}

fn print(report: &Report) {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    say!("{}: {}", report.path.display(), report.what);
    for part in &report.parts {
        let millions = part.parameters as f64 / 1e6;
        say!("  {:16} {millions:9.2} M parameters  {:8} {:10.1} MB", part.name, part.precision, megabytes(part.bytes));
    }
    say!(
        "  {:16} {:9.2} M parameters  {:8} {:10.1} MB on disk, {:.1} MB in memory (on the CPU)",
        "together",
        report.parameters as f64 / 1e6,
        "",
        megabytes(report.bytes_on_disk),
        megabytes(report.bytes_in_memory)
    );
    for missing in &report.missing {
        say!("  missing: {missing}");
    }
    for problem in &report.problems {
        say!("  problem: {problem}");
    }
}
