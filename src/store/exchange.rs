//! Library files of other programs on disk: importing into the user's folder, exporting, and saving what the user makes.

use std::path::{Path, PathBuf};

use super::{atomic, presets};
use crate::prompt::exchange::{self, Format};
use crate::prompt::library::Library;
use crate::prompt::tags;

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The format it was in.
    pub format: Format,
    /// What was read.
    pub library: Library,
    /// The files that it is in now.
    pub written: Vec<PathBuf>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

/// Reads a file in the format that its contents show, or in the one that is given.
///
/// # Errors
/// If it cannot be read at all, or its format is not known, with what to do.
pub fn read(file: &Path, format: Option<Format>) -> Result<(Format, Library, Vec<String>), String> {
    let at = |reason: String| format!("{reason}: {}", file.display());
    let (text, warning) = presets::read_text(file).map_err(|reason| at(format!("cannot read this file ({reason})")))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(at("there is nothing in this file".to_owned()));
    }
    let is_strange = |c: char| c == char::REPLACEMENT_CHARACTER || c.is_control() && !c.is_whitespace();
    if text.chars().filter(|c| is_strange(*c)).count() * 4 > text.chars().count() {
        return Err(at("this is no text, so no library can be read from it".to_owned()));
    }
    let format = format.or_else(|| exchange::recognise(&name, &text)).ok_or_else(|| {
        let is_tags = name.to_ascii_lowercase().ends_with(".csv") && tags::is_list(&text);
        at(if is_tags {
            "this is a list of tags to complete; put it into the folder tags of your presets".to_owned()
        } else {
            "this is none of the formats of libraries that are known; name one with --as if it is".to_owned()
        })
    })?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (library, warnings) = exchange::read(format, &stem, &text);
    let warnings = warning.into_iter().chain(warnings.into_iter().map(|warning| at(warning.to_string()))).collect();
    Ok((format, library, warnings))
}

/// Reads a file and keeps what is in it in the folder `to` of the user's presets.
///
/// # Errors
/// As [`read`], or if nothing in it can be used, or the folder cannot be written to.
pub fn import(presets: &Path, file: &Path, format: Option<Format>, to: &str) -> Result<Imported, String> {
    let (format, library, warnings) = read(file, format)?;
    if library.is_empty() {
        let first = warnings.first().map(|warning| format!(" ({warning})")).unwrap_or_default();
        return Err(format!("nothing in it can be used as {}{first}: {}", format.name(), file.display()));
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let written = save(presets, to, &stem, &library)?;
    Ok(Imported { format, library, written, warnings })
}

/// Keeps a library in the folder `to` of the user's presets, in files called `stem`. A file that is there already stays.
///
/// # Errors
/// If the folder cannot be written to, with its path.
pub fn save(presets: &Path, to: &str, stem: &str, library: &Library) -> Result<Vec<PathBuf>, String> {
    let stem = clean(stem);
    let folder: PathBuf = to.split(['/', '\\']).filter(|part| !part.trim().is_empty()).map(clean).collect();
    let mut written = Vec::new();
    let mut put = |kind: &str, name: &str, text: String| -> Result<(), String> {
        let folder = presets.join(kind).join(&folder);
        let path = folder.join(name);
        let path = free(&path);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            atomic::write(&path, text.as_bytes())
        };
        write().map_err(|error| format!("cannot write this file ({error}): {}", path.display()))?;
        written.push(path);
        Ok(())
    };
    for (kind, format, has_any) in [
        ("modifiers", Format::Modifiers, !library.modifiers.is_empty()),
        ("templates", Format::Templates, !library.templates.is_empty()),
        ("wildcards", Format::WildcardsYaml, library.wildcards.len() > 1),
    ] {
        if has_any {
            put(kind, &format!("{stem}.{}", format.ending()), single(format, library))?;
        }
    }
    if !library.styles.is_empty() {
        // The templates of a library are no styles here.
        let styles = Library { styles: library.styles.clone(), ..Library::default() };
        put("styles", &format!("{stem}.toml"), single(Format::Styles, &styles))?;
    }
    if library.wildcards.len() == 1 {
        put("wildcards", &format!("{stem}.yaml"), single(Format::WildcardsYaml, library))?;
    }
    let lists = [Format::ClipText, Format::Cupl, Format::Descriptors];
    for (format, file) in lists
        .into_iter()
        .flat_map(|format| exchange::write(format, library).0.into_iter().map(move |file| (format, file)))
    {
        let (kind, name) = match (format, file.path.split_once('/')) {
            (Format::ClipText, Some((kind, name))) => (format!("zero_shot/{kind}"), name),
            (Format::Descriptors, _) => ("zero_shot/descriptors".to_owned(), file.path.as_str()),
            _ => ("zero_shot/sentences".to_owned(), file.path.as_str()),
        };
        put(&kind, name, file.text)?;
    }
    Ok(written)
}

fn single(format: Format, library: &Library) -> String {
    exchange::write(format, library).0.into_iter().map(|file| file.text).collect()
}

/// Writes what a format has room for. A format of one file is written to `out`, the others into the folder `out`.
///
/// # Errors
/// If there is nothing to write or it cannot be written, with the path.
pub fn export(out: &Path, format: Format, library: &Library) -> Result<(Vec<PathBuf>, Vec<String>), String> {
    let (files, warnings) = exchange::write(format, library);
    if files.is_empty() {
        return Err(format!("the library has nothing to write as {}", format.name()));
    }
    let mut written = Vec::new();
    for file in files {
        let path = if file.path.is_empty() { out.to_owned() } else { out.join(&file.path) };
        let write = || {
            if let Some(folder) = path.parent().filter(|_| !file.path.is_empty()) {
                std::fs::create_dir_all(folder)?;
            }
            // As A1111 does: people's own styles are in there.
            if format == Format::StylesCsv && path.exists() {
                std::fs::copy(&path, path.with_extension("csv.bak"))?;
            }
            atomic::write(&path, file.text.as_bytes())
        };
        write().map_err(|error| format!("cannot write this file ({error}): {}", path.display()))?;
        written.push(path);
    }
    Ok((written, warnings.iter().map(ToString::to_string).collect()))
}

/// A name that is one part of a path on every system.
fn clean(name: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || " -_()".contains(c) { c } else { '-' };
    let clean: String = name.trim().chars().take(80).map(kept).collect();
    if clean.trim_matches(['-', ' ']).is_empty() { "mine".to_owned() } else { clean }
}

/// `path`, or `path` with a number if there is such a file.
fn free(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = (2..10_000).map(|number| path.with_file_name(format!("{stem}-{number}.{ending}")));
    std::iter::once(path.to_owned()).chain(numbered).find(|path| !path.exists()).unwrap_or_else(|| path.to_owned())
}
