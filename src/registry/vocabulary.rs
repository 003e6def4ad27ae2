//! Finding a tokenizer for a single file, which never holds one: CLIP's, of the right number of tokens, beside the file or in another model.

use std::path::{Path, PathBuf};

use super::scan::{Found, Sort};
use crate::models::files::ModelFiles;
use crate::models::tokenizer::ClipTokenizer;

/// The files of which a folder with a tokenizer has one.
const TELLTALES: [&str; 4] =
    ["vocab.json", "tokenizer.json", "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"];

/// Folders beside the file `path` that may hold one.
pub(super) fn beside(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    vec![path.with_extension("tokenizer"), folder.join("tokenizer"), folder]
}

/// Folders of known models that may hold one.
pub(super) fn of_found(found: &[Found]) -> Vec<PathBuf> {
    let folders = found.iter().map(|one| match one.sort {
        Sort::Diffusion if one.path.is_dir() => one.path.join("tokenizer"),
        _ if one.path.is_dir() => one.path.clone(),
        _ => one.path.parent().map(|folder| folder.join("tokenizer")).unwrap_or_default(),
    });
    folders.collect()
}

/// The first of `folders` with a tokenizer of so many tokens.
pub(super) fn first(folders: Vec<PathBuf>, words: usize) -> Option<ModelFiles> {
    let there =
        folders.into_iter().map(ModelFiles::Folder).filter(|files| TELLTALES.iter().any(|file| files.has(file)));
    let fits = |files: &ModelFiles| ClipTokenizer::load(files).is_ok_and(|tokenizer| tokenizer.vocabulary() == words);
    there.into_iter().find(fits)
}
