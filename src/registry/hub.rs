//! Hugging Face's cache of models (`huggingface_hub`), read in place and never written: `models--org--name/refs/main` names the
//! commit whose files are in `snapshots/COMMIT`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a folder of the cache begins with.
const HEAD: &str = "models--";

/// The caches that the environment names, or the usual one; only those that are there.
pub(super) fn caches(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || path("HOME").or_else(|| path("USERPROFILE"));
    let usual = || Some(path("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")))?.join("huggingface"));
    let cache = path("HF_HUB_CACHE")
        .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(path("HF_HOME").or_else(usual)?.join("hub")));
    cache.into_iter().filter(|cache| cache.is_dir()).collect()
}

/// The snapshot of the model `name` (`org/name`, or `name` alone) in `cache`.
pub(super) fn find(cache: &Path, name: &str) -> Option<PathBuf> {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '/']);
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 || !parts.iter().all(|part| is_plain(part)) {
        return None;
    }
    snapshot(&cache.join(format!("{HEAD}{}", parts.join("--"))))
}

/// `org/name` of a folder of the cache.
pub(super) fn name_of(folder: &Path) -> Option<String> {
    Some(folder.file_name()?.to_str()?.strip_prefix(HEAD)?.replacen("--", "/", 1))
}

/// The files of a folder of the cache: those of the branch `main`, or of the newest commit.
pub(super) fn snapshot(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder.join("snapshots");
    let commit = std::fs::read_to_string(folder.join("refs/main")).unwrap_or_default();
    let commit = commit.trim();
    if !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric()) && snapshots.join(commit).is_dir() {
        return Some(snapshots.join(commit));
    }
    let entries = std::fs::read_dir(snapshots).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let changed = |path: &PathBuf| path.metadata().and_then(|about| about.modified()).ok();
    entries.filter(|path| path.is_dir()).max_by_key(|path| (changed(path), path.clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_environment_says_where_the_cache_is() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["a", "b/hub", "c/.cache/huggingface/hub", "d/huggingface/hub"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let check = |variables: &[(&str, &str)], want: &str| {
            let get = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| at(value).into_os_string())
            };
            assert_eq!(caches(get), [at(want)], "{variables:?}");
        };
        check(&[("HF_HUB_CACHE", "a"), ("HF_HOME", "b"), ("HOME", "c")], "a");
        check(&[("HF_HOME", "b"), ("HOME", "c")], "b/hub");
        check(&[("HOME", "c")], "c/.cache/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "d"), ("HOME", "c")], "d/huggingface/hub");
        assert!(caches(|_| None).is_empty());
    }

    #[test]
    fn snapshots_are_found_and_names_cannot_leave_the_cache() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("models--org--name");
        for commit in ["abc", "def"] {
            std::fs::create_dir_all(folder.join("snapshots").join(commit)).unwrap();
        }
        assert!(find(root.path(), "org/name").is_some());
        std::fs::create_dir_all(folder.join("refs")).unwrap();
        for commit in ["abc", "def"] {
            std::fs::write(folder.join("refs/main"), format!("{commit}\n")).unwrap();
            assert_eq!(find(root.path(), "org/name"), Some(folder.join("snapshots").join(commit)));
        }
        std::fs::write(folder.join("refs/main"), "../../..").unwrap();
        assert!(find(root.path(), "org/name").unwrap().starts_with(folder.join("snapshots")));
        for name in ["../x", "org/..", "/", "", "a/b/c", "org\\name", "c:/x", "other/name"] {
            assert_eq!(find(root.path(), name), None, "{name}");
        }
        assert_eq!(name_of(&folder).as_deref(), Some("org/name"));
        assert_eq!(name_of(root.path()), None);
    }
}
