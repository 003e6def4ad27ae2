//! A folder that is nowhere on disk: its small files are made, its weights are a view of a larger file, the rest is another folder's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{ModelFiles, Weights};
use crate::models::error::{ModelError, Result};

/// What such a folder consists of.
#[derive(Clone)]
pub struct Composed {
    /// The file that it is a view of.
    whole: PathBuf,
    /// Its name inside that view, for messages; empty for the whole.
    name: String,
    texts: BTreeMap<String, Vec<u8>>,
    weights: Option<(String, Weights)>,
    folders: BTreeMap<String, ModelFiles>,
    behind: Option<ModelFiles>,
}

impl std::fmt::Debug for Composed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Composed({})", self.path_of("").display())
    }
}

impl Composed {
    /// An empty folder `name` of a view of `whole`.
    pub(super) fn new(whole: &Path, name: &str) -> Self {
        Self {
            whole: whole.to_owned(),
            name: name.to_owned(),
            texts: BTreeMap::new(),
            weights: None,
            folders: BTreeMap::new(),
            behind: None,
        }
    }

    pub(super) fn with_json(mut self, file: &str, value: &serde_json::Value) -> Self {
        self.texts.insert(file.to_owned(), value.to_string().into_bytes());
        self
    }

    pub(super) fn with_weights(mut self, file: &str, weights: Weights) -> Self {
        self.weights = Some((file.to_owned(), weights));
        self
    }

    pub(super) fn with_folder(mut self, name: &str, folder: ModelFiles) -> Self {
        self.folders.insert(name.to_owned(), folder);
        self
    }

    /// Files that are not made are those of `folder`.
    pub(super) fn before(mut self, folder: ModelFiles) -> Self {
        self.behind = Some(folder);
        self
    }

    pub(super) fn whole(&self) -> &Path {
        &self.whole
    }

    pub(super) fn sub(&self, name: &str) -> Option<ModelFiles> {
        self.folders.get(name).cloned()
    }

    pub(super) fn path_of(&self, file: &str) -> PathBuf {
        self.whole.join(&self.name).join(file)
    }

    pub(super) fn has(&self, file: &str) -> bool {
        let is_weights = self.weights.as_ref().is_some_and(|(name, _)| name == file);
        is_weights || self.texts.contains_key(file) || self.behind.as_ref().is_some_and(|behind| behind.has(file))
    }

    pub(super) fn read(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        match (self.texts.get(file), &self.behind) {
            (Some(text), _) => Ok(Cow::Owned(text.clone())),
            (None, Some(behind)) => behind.read(file),
            (None, None) => Err(ModelError::MissingFile { path: self.path_of(file) }),
        }
    }

    pub(super) fn weights(&self, file: &str) -> Result<Weights> {
        match &self.weights {
            Some((name, weights)) if name == file => Ok(weights.clone()),
            _ => Err(ModelError::MissingFile { path: self.path_of(file) }),
        }
    }
}
