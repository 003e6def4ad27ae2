//! Where panels leave their commands; the app dispatches them after the frame is laid out.

use std::cell::RefCell;

use crate::document::{Edit, TextField};
use crate::store::preferences::Preferences;
use crate::workbench::{Action, Command, PanelKind, ViewCommand, Workbench};

/// Commands of one frame, in order.
#[derive(Default)]
pub(super) struct Outbox(RefCell<Vec<Command>>);

impl Outbox {
    pub(super) fn send(&self, command: Command) {
        self.0.borrow_mut().push(command);
    }

    /// Sends what an action stands for, if it makes sense now.
    pub(super) fn act(&self, action: Action, workbench: &Workbench) {
        if let Some(command) = action.resolve(workbench) {
            self.send(command);
            if matches!(action, Action::NewPrompt | Action::DuplicatePrompt) {
                // Who opens a prompt is about to write.
                self.send(Command::View(ViewCommand::Focus(PanelKind::Prompt)));
            }
        }
    }

    pub(super) fn set_text(&self, field: TextField, text: String) {
        self.send(Command::Edit(Edit::SetText { field, text }));
    }

    /// Tells where the caret of the prompt is, if the lens follows it.
    pub(super) fn send_caret(&self, caret: usize, workbench: &Workbench) {
        if workbench.prompt_caret() != caret {
            self.send(Command::PromptCaret(caret));
        }
    }

    /// Sends changed preferences.
    pub(super) fn prefer(&self, workbench: &Workbench, change: impl FnOnce(&mut Preferences)) {
        let mut preferences = workbench.preferences().clone();
        change(&mut preferences);
        self.send(Command::SetPreferences(Box::new(preferences)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn take(&self) -> Vec<Command> {
        self.0.take()
    }
}
