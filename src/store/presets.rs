//! The preset files: those that ship inside the program, overridden by those in the user's folder.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::atomic;
use crate::job::sampling::Sampler;
use crate::prompt::expand::wildcards::Wildcards;
use crate::prompt::library::{Library, Template};

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/presets");

/// The library from the shipped presets with the user's folder on top, and what could not be read.
pub fn library(user_folder: Option<&Path>) -> (Library, Vec<String>) {
    let mut warnings = Vec::new();
    let mut mine = BTreeMap::new();
    if let Some(folder) = user_folder {
        collect_folder(folder, folder, 0, &mut mine, &mut warnings);
    }
    let mut shipped = BTreeMap::new();
    collect_shipped(&SHIPPED, &mut shipped);
    // A file of the same path replaces a shipped one.
    shipped.retain(|path, _| !mine.contains_key(path));
    let parse = |files: &BTreeMap<String, String>, warnings: &mut Vec<String>| {
        let (library, more) = Library::parse(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        warnings.extend(more);
        library
    };
    let mut library = parse(&shipped, &mut warnings);
    library.add(parse(&mine, &mut warnings).of_the_user());
    for template in library.templates.iter_mut().chain(&mut library.styles) {
        check_sampler(template, &mut warnings);
    }
    (library, warnings)
}

fn check_sampler(template: &mut Template, warnings: &mut Vec<String>) {
    let Some(sampler) = &template.settings.sampler else { return };
    if let Err(error) = sampler.parse::<Sampler>() {
        warnings.push(format!("{error}; \"{}\" is used without it", template.name));
        template.settings.sampler = None;
    }
}

/// All wildcards of a library, for expansion.
pub fn wildcards(library: &Library) -> Wildcards {
    Wildcards::from_lists(library.wildcards.iter().map(|(name, list)| (name.clone(), list.values.clone())).collect())
}

/// The wildcards that ship with those of the user's folder on top, and what could not be read.
pub fn all_wildcards(user_folder: Option<&Path>) -> (Wildcards, Vec<String>) {
    let mut shipped = BTreeMap::new();
    collect_shipped(&SHIPPED, &mut shipped);
    let lists = shipped.iter().filter_map(|(path, text)| Some((path.strip_prefix("wildcards/")?, text.as_str())));
    let (shipped, mut warnings) = Wildcards::parse(lists);
    let mut lists = shipped.into_lists();
    if let Some(folder) = user_folder.map(|folder| folder.join("wildcards")).filter(|folder| folder.is_dir()) {
        let (mine, more) = super::wildcards::read_folder(&folder);
        lists.extend(mine.into_lists());
        warnings.extend(more);
    }
    (Wildcards::from_lists(lists), warnings)
}

/// A number that changes when a file in the folder does: its name, size or time.
pub fn fingerprint(folder: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash_folder(folder, 0, &mut hasher);
    hasher.finish()
}

fn hash_folder(folder: &Path, depth: usize, hasher: &mut DefaultHasher) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(about) = std::fs::metadata(&path) else { continue };
        path.hash(hasher);
        if about.is_dir() {
            if depth < DEEPEST {
                hash_folder(&path, depth + 1, hasher);
            }
            continue;
        }
        about.len().hash(hasher);
        about.modified().ok().hash(hasher);
    }
}

/// Folders inside folders; a link that leads back ends here.
const DEEPEST: usize = 16;
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

fn collect_folder(
    root: &Path,
    folder: &Path,
    depth: usize,
    into: &mut BTreeMap<String, String>,
    warnings: &mut Vec<String>,
) {
    // A user without a presets folder has simply written none.
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root).ok().and_then(Path::to_str).map(|p| p.replace('\\', "/"));
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let Some(name) = name.filter(|_| !is_hidden) else { continue };
        if path.is_dir() {
            if depth < DEEPEST {
                collect_folder(root, &path, depth + 1, into, warnings);
            }
            continue;
        }
        match read_text(&path) {
            Ok((text, warning)) => {
                warnings.extend(warning);
                into.insert(name, text);
            }
            Err(error) => warnings.push(format!("{error}; this preset is left out: {}", path.display())),
        }
    }
}

/// A larger file is no list that somebody wrote.
const LARGEST: u64 = 64 << 20;

/// The text of a file, in UTF-8 or in UTF-16 with its mark; bytes that are neither are replaced and zero characters left out, with
/// a warning.
///
/// # Errors
/// If it cannot be read, or is larger than any list, with the reason.
pub fn read_text(path: &Path) -> Result<(String, Option<String>), String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("this is no file".to_owned());
    }
    if about.len() > LARGEST {
        return Err(format!("it has more than {} MB", LARGEST >> 20));
    }
    let (text, warning) = decode(std::fs::read(path).map_err(|error| error.to_string())?);
    Ok((text, warning.map(|warning| format!("{warning}: {}", path.display()))))
}

/// The text that bytes stand for, and what is odd about them.
fn decode(bytes: Vec<u8>) -> (String, Option<String>) {
    let line_at = |before: &[u8]| before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let units = |from: fn([u8; 2]) -> u16| {
        let pairs = bytes.get(2..).unwrap_or_default().chunks_exact(2);
        pairs
            .map(|pair| from([pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)]))
            .collect::<Vec<_>>()
    };
    let (text, warning) = match bytes.get(..2) {
        Some([0xff, 0xfe]) => (String::from_utf16_lossy(&units(u16::from_le_bytes)), None),
        Some([0xfe, 0xff]) => (String::from_utf16_lossy(&units(u16::from_be_bytes)), None),
        _ => match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let sound = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
                let warning = format!("line {}: not all of it is UTF-8; such letters are replaced", line_at(sound));
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(warning))
            }
        },
    };
    let Some(zero) = text.find('\0') else { return (text, warning) };
    let line = line_at(text.as_bytes().get(..zero).unwrap_or_default());
    let warning = warning.unwrap_or_else(|| format!("line {line}: there are zero characters in it; they are left out"));
    (text.replace('\0', ""), Some(warning))
}
