//! Wildcard files on disk.

use std::collections::BTreeMap;
use std::path::Path;

use super::presets;
use crate::prompt::expand::wildcards::Wildcards;

/// Folders inside folders; a link that leads back ends here.
const DEEPEST: usize = 16;

/// Reads all wildcard files of a folder and of those in it, and what could not be read. Hidden folders are left out.
pub fn read_folder(folder: &Path) -> (Wildcards, Vec<String>) {
    let (mut files, mut warnings) = (BTreeMap::new(), Vec::new());
    collect(folder, "", 0, &mut files, &mut warnings);
    let (wildcards, more) = Wildcards::parse(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    warnings.extend(more);
    (wildcards, warnings)
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
    warnings: &mut Vec<String>,
) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return warnings.push(format!("cannot read this folder ({error}): {}", folder.display())),
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let inside = format!("{prefix}{name}");
        if path.is_dir() {
            if depth < DEEPEST && !name.starts_with('.') {
                collect(&path, &format!("{inside}/"), depth + 1, files, warnings);
            }
            continue;
        }
        let is_list = path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| {
            ["txt", "yaml", "yml", "json"].iter().any(|known| known.eq_ignore_ascii_case(ending))
        });
        // Other files may be as long as a disk; devices and pipes have no end.
        if !is_list || !path.is_file() {
            continue;
        }
        match presets::read_text(&path) {
            Ok((text, warning)) => {
                files.insert(inside, text);
                warnings.extend(warning);
            }
            Err(reason) => warnings.push(format!("cannot read this file ({reason}): {}", path.display())),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_has_no_end_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("colours.txt"), "red\nblue\n").unwrap();
        for name in ["endless.txt", "model.safetensors"] {
            std::os::unix::fs::symlink("/dev/zero", folder.path().join(name)).unwrap();
        }
        let (mut files, mut warnings) = (BTreeMap::new(), Vec::new());
        collect(folder.path(), "", 0, &mut files, &mut warnings);
        assert!(files.keys().eq(["colours.txt"]) && warnings.is_empty(), "{files:?} {warnings:?}");
    }
}
