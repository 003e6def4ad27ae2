//! The preset files: those that ship inside the program, overridden by those in the user's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::atomic;
use crate::prompt::library::Library;

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/presets");

/// The library from the shipped presets and the user's folder, and what could not be read.
pub fn library(user_folder: Option<&Path>) -> (Library, Vec<String>) {
    let mut files = BTreeMap::new();
    collect_shipped(&SHIPPED, &mut files);
    let mut warnings = Vec::new();
    if let Some(folder) = user_folder {
        collect_folder(folder, folder, &mut files, &mut warnings);
    }
    let (library, more) = Library::parse(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    warnings.extend(more);
    (library, warnings)
}

const MODELS: &str = "models.toml";

/// The shipped catalogue of models as text, and the user's own if there is one.
///
/// # Errors
/// If the user's file is there and cannot be read, with its path.
pub fn model_catalogues(user_folder: Option<&Path>) -> Result<(&'static str, Option<String>), String> {
    let shipped = SHIPPED.get_file(MODELS).and_then(include_dir::File::contents_utf8).unwrap_or_default();
    let Some(path) = user_folder.map(|folder| folder.join(MODELS)).filter(|path| path.exists()) else {
        return Ok((shipped, None));
    };
    match std::fs::read_to_string(&path) {
        Ok(own) => Ok((shipped, Some(own))),
        Err(error) => Err(format!("{error}: {}", path.display())),
    }
}

/// The folder for models of the user's own, beside that of the presets: what is put there is known without being remembered.
pub fn model_folder(user_folder: Option<&Path>) -> Option<PathBuf> {
    user_folder.map(|folder| folder.with_file_name("models"))
}

/// Writes the user's catalogue of models; gives its path.
///
/// # Errors
/// If the folder cannot be made or written to.
pub fn write_model_catalogue(user_folder: &Path, text: &str) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(user_folder)?;
    let path = user_folder.join(MODELS);
    atomic::write(&path, text.as_bytes())?;
    Ok(path)
}

fn collect_shipped(dir: &Dir<'static>, into: &mut BTreeMap<String, String>) {
    for file in dir.files() {
        if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8()) {
            into.insert(path.replace('\\', "/"), text.to_owned());
        }
    }
    for inner in dir.dirs() {
        collect_shipped(inner, into);
    }
}

fn collect_folder(root: &Path, folder: &Path, into: &mut BTreeMap<String, String>, warnings: &mut Vec<String>) {
    // A user without a presets folder has simply written none.
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect_folder(root, &path, into, warnings);
            continue;
        }
        let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str).map(|p| p.replace('\\', "/")) else {
            continue;
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                into.insert(name, text);
            }
            Err(error) => warnings.push(format!("{error}; this preset is left out: {}", path.display())),
        }
    }
}
