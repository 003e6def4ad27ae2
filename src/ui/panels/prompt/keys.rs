//! Keys that mean something of their own in the prompt: completion, more or less weight, a fix; and text that is pasted and
//! holds parameters.

use std::ops::Range;

use egui::{Event, Key, Modifiers, Ui};

use super::{Field, completion, editor, remarks};
use crate::prompt::nudge::nudge;
use crate::ui::shell::Cx;
use crate::workbench::Command;
use crate::workbench::proposal::Proposal;

/// How much Ctrl+Up adds to a weight.
const STEP: f64 = 0.1;

/// A text in place of the one that is shown, and what is selected in it, in bytes.
pub(super) struct Change {
    pub(super) text: String,
    pub(super) selection: Range<usize>,
}

/// Takes the keys of this frame before the text field sees them. Only for the field that has the keyboard.
pub(super) fn take(ui: &Ui, cx: &mut Cx<'_>, field: Field, text: &str) -> Option<Change> {
    take_parameters(ui, cx);
    if let Some(change) = completion::take_keys(ui, cx, field, text) {
        return Some(change);
    }
    let presses = |modifiers, key| ui.input_mut(|input| input.count_and_consume_key(modifiers, key));
    let up = presses(Modifiers::COMMAND, Key::ArrowUp) as f64;
    let down = presses(Modifiers::COMMAND, Key::ArrowDown) as f64;
    if up != down {
        let nudged = nudge(text, editor::selection(ui, field.id(), text), (up - down) * STEP)?;
        return Some(Change { text: nudged.text, selection: nudged.selection });
    }
    if presses(Modifiers::ALT, Key::Enter) > 0 {
        return remarks::fix_at(cx, field, text, editor::selection(ui, field.id(), text).start);
    }
    None
}

/// Pasted text that holds parameters is shown as what it would change, instead of going into the prompt.
fn take_parameters(ui: &Ui, cx: &Cx<'_>) {
    let document = cx.workbench.document();
    let changes_something = |text: &str| {
        let read = Proposal::read("the clipboard", text, document);
        read.is_some_and(|proposal| !proposal.changes(document).is_empty())
    };
    let pasted = ui.input_mut(|input| {
        let found =
            input.events.iter().position(|event| matches!(event, Event::Paste(text) if changes_something(text)));
        found.map(|at| input.events.remove(at))
    });
    if let Some(Event::Paste(text)) = pasted {
        cx.outbox.send(Command::Propose { source: "the clipboard".to_owned(), text });
    }
}
