//! `maquette models add`, `maquette models list`, and `maquette models check` of what is not built in.

use std::path::{Path, PathBuf};

use super::json;
use super::session::{Failure, say};
use crate::engine::options::EngineOptions;
use crate::registry::{Catalogue, RegistryError, Report, Sort, check as look_at, scan};
use crate::store::presets;

/// Width of the column of names.
const NAMES: usize = 32;

pub(super) fn bad(error: RegistryError) -> Failure {
    Failure::BadInput(error.0)
}

pub(super) fn catalogue(options: &EngineOptions) -> Result<Catalogue, Failure> {
    let (shipped, own) = presets::model_catalogues(options.presets.as_deref()).map_err(Failure::BadInput)?;
    Catalogue::load(shipped, own.as_deref()).map_err(bad)
}

/// Remembers `path` in the user's catalogue.
pub(super) fn add(path: &Path, options: &EngineOptions) -> Result<(), Failure> {
    let folder = options.presets.as_deref().ok_or_else(|| {
        Failure::Failed("this system has no place for a user's files, so nothing can be remembered".to_owned())
    })?;
    let path = std::path::absolute(path)
        .ok()
        .filter(|path| path.exists())
        .ok_or_else(|| Failure::BadInput(format!("there is no such folder or file: {}", path.display())))?;
    let (_, own) = presets::model_catalogues(Some(folder)).map_err(Failure::BadInput)?;
    let own = own.unwrap_or_else(|| {
        "# Models of your own. `maquette models add PATH` writes here; edit it as you like.\n".to_owned()
    });
    let text = Catalogue::with_place(&own, &path).map_err(bad)?;
    let inside = scan(&path);
    let written = presets::write_model_catalogue(folder, &text)
        .map_err(|error| Failure::Failed(format!("cannot write to this folder ({error}): {}", folder.display())))?;
    let usable = inside.iter().filter(|one| one.sort != Sort::Unusable).count();
    say!("{}: {usable} usable of {} found; remembered in {}", path.display(), inside.len(), written.display());
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
        "  {:16} {:9.2} M parameters  {:8} {:10.1} MB on disk, {:.1} MB in memory (32 bits on the CPU)",
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
