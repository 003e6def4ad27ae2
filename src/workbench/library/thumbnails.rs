//! Pictures of what the library's items do to the current prompt, rendered by the user's own model one after the other, so that whatever
//! the user generates meanwhile comes after the one that is being made.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Item;
use super::render::Ground;
use crate::base::pixels::Picture;
use crate::engine::JobId;
use crate::job::spec::GenerateSpec;

/// What an item does, as a picture.
#[derive(Debug, Clone)]
pub struct Thumbnail {
    /// The picture, small.
    pub picture: Picture,
    /// The words that it was made from.
    pub prompt: String,
    /// Whether words, sampling and model are still those that it was made with.
    pub is_current: bool,
}

/// A thumbnail to make: the item, the request, and the key that it is kept under.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::workbench) struct Wanted {
    pub(super) item: Item,
    /// Prompt and negative prompt before anything is drawn from them.
    pub(super) words: (String, String),
    /// What else it depends on.
    pub(super) ground: Arc<Ground>,
    pub(super) spec: GenerateSpec,
    pub(super) key: String,
}

/// What is being rendered.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// What was asked for and is not looked for yet, because files are being read.
    pub(super) asked: Option<Vec<Item>>,
    /// The search for what is to be rendered.
    pub(super) number: u64,
    pub(super) waiting: VecDeque<Wanted>,
    pub(super) job: Option<(JobId, Wanted)>,
    pub(super) done: usize,
    pub(super) total: usize,
}

/// The thumbnails that are known, and those under way.
#[derive(Debug, Default)]
pub struct Thumbnails {
    pub(super) shown: HashMap<Item, Thumbnail>,
    pub(super) run: Option<Run>,
}

impl Thumbnails {
    /// The thumbnail of an item.
    pub fn get(&self, item: &Item) -> Option<&Thumbnail> {
        self.shown.get(item)
    }

    /// How many are done, of how many (0 while that is not known); `None` if nothing is being rendered.
    pub fn progress(&self) -> Option<(usize, usize)> {
        self.run.as_ref().map(|run| (run.done, run.total))
    }

    pub(super) fn all_are_old(&mut self) {
        self.shown.values_mut().for_each(|thumbnail| thumbnail.is_current = false);
    }
}
