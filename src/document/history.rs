//! Undo and redo: the states that a document was in, sharing what did not change.
//!
//! A gesture (one drag) is one step however many edits it takes; aborting it restores the state before it. Typing into one
//! field without a pause is one step. The oldest states go first when they cost too much memory.

use std::time::Duration;

use super::{Document, Edit, EditError};

/// Edits of one kind closer together than this become one step.
const MERGE_WINDOW: Duration = Duration::from_millis(1200);
/// What the kept states may cost.
const DEFAULT_BUDGET: usize = 256 << 20;

#[derive(Debug, Clone)]
struct State {
    document: Document,
    /// What was done after it, for the menu.
    name: &'static str,
    /// The bytes that it does not share with the state after it.
    cost: usize,
}

/// A document with its past and its future.
#[derive(Debug)]
pub struct History {
    document: Document,
    undo: Vec<State>,
    redo: Vec<State>,
    gesture: Option<Document>,
    last_edit: Option<(Edit, Duration)>,
    budget_bytes: usize,
}

impl History {
    /// A history that starts at `document`.
    pub fn new(document: Document) -> Self {
        Self { document, undo: vec![], redo: vec![], gesture: None, last_edit: None, budget_bytes: DEFAULT_BUDGET }
    }

    /// The document as it is now.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Makes a change at time `now` (since any fixed moment). A change that changes nothing is no step.
    ///
    /// # Errors
    /// If the document refuses the edit; nothing changes then.
    pub fn apply(&mut self, edit: Edit, now: Duration) -> Result<(), EditError> {
        let mut changed = self.document.clone();
        changed.apply(&edit)?;
        if changed == self.document {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.document, changed);
        if self.gesture.is_some() {
            self.last_edit = Some((edit, now));
            return Ok(());
        }
        self.redo.clear();
        // What adds or takes away a part is a step of its own: changing the part afterwards is another.
        let is_of_its_own = matches!(&edit, Edit::SetSteering(new) if !new.has_the_parts_of(&before.steering));
        let merges = self.last_edit.as_ref().is_some_and(|(earlier, at)| {
            edit.merges_with(earlier) && now.saturating_sub(*at) < MERGE_WINDOW && !self.undo.is_empty()
        });
        if !merges {
            self.push_undo(before, edit.name());
        }
        self.last_edit = (!is_of_its_own).then_some((edit, now));
        Ok(())
    }

    /// Whatever comes next is a step of its own, however soon it comes.
    pub fn end_run(&mut self) {
        if self.gesture.is_none() {
            self.last_edit = None;
        }
    }

    /// Starts a gesture; the edits until its end are one step.
    pub fn begin_gesture(&mut self) {
        if self.gesture.is_none() {
            self.gesture = Some(self.document.clone());
            self.last_edit = None;
        }
    }

    /// Ends a gesture and keeps what it did.
    pub fn end_gesture(&mut self) {
        let Some(before) = self.gesture.take() else { return };
        let name = self.last_edit.take().map_or("edit", |(edit, _)| edit.name());
        if before != self.document {
            self.redo.clear();
            self.push_undo(before, name);
        }
    }

    /// Ends a gesture and takes back what it did.
    pub fn abort_gesture(&mut self) {
        if let Some(before) = self.gesture.take() {
            self.document = before;
            self.last_edit = None;
        }
    }

    /// Whether a gesture is under way.
    pub fn in_gesture(&self) -> bool {
        self.gesture.is_some()
    }

    /// What [`History::undo`] would take back.
    pub fn undo_name(&self) -> Option<&'static str> {
        self.undo.last().map(|state| state.name)
    }

    /// What [`History::redo`] would do again.
    pub fn redo_name(&self) -> Option<&'static str> {
        self.redo.last().map(|state| state.name)
    }

    /// Goes one step back; ends a gesture first. False if there is none.
    pub fn undo(&mut self) -> bool {
        self.end_gesture();
        self.last_edit = None;
        let Some(State { document, name, .. }) = self.undo.pop() else { return false };
        self.redo.push(State { document: std::mem::replace(&mut self.document, document), name, cost: 0 });
        true
    }

    /// Goes one step forward again. False if there is none.
    pub fn redo(&mut self) -> bool {
        self.end_gesture();
        self.last_edit = None;
        let Some(State { document, name, .. }) = self.redo.pop() else { return false };
        let before = std::mem::replace(&mut self.document, document);
        let cost = before.bytes_not_shared_with(&self.document);
        self.undo.push(State { document: before, name, cost });
        true
    }

    fn push_undo(&mut self, document: Document, name: &'static str) {
        let cost = document.bytes_not_shared_with(&self.document);
        self.undo.push(State { document, name, cost });
        let mut total: usize = self.undo.iter().map(|state| state.cost).sum();
        let mut dropped = 0;
        while total > self.budget_bytes && dropped + 1 < self.undo.len() {
            total -= self.undo[dropped].cost;
            dropped += 1;
        }
        self.undo.drain(..dropped);
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
