//! Keys to actions. Plain keys are left to text fields, all keys to an open dialog; undo and redo are the document's everywhere.

use egui::{Context, Key, KeyboardShortcut, Modifiers};

use super::outbox::Outbox;
use super::view::View;
use crate::workbench::tools::Gesture;
use crate::workbench::{Action, Command, Shortcut, Workbench};

/// Takes the keys of this frame that are shortcuts.
pub(super) fn consume(ctx: &Context, workbench: &Workbench, view: &View, outbox: &Outbox) {
    let typing = ctx.text_edit_focused();
    if workbench.tools().is_drawing() && ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
        outbox.send(Command::Gesture(Gesture::Abort));
    }
    // Those with more modifiers first: Ctrl+Z would also match Ctrl+Shift+Z.
    let mut bound: Vec<(Action, Shortcut)> =
        Action::ALL.iter().filter_map(|action| action.shortcut().map(|shortcut| (*action, shortcut))).collect();
    bound.sort_by_key(|(_, shortcut)| std::cmp::Reverse(shortcut.shift));
    for (action, shortcut) in bound {
        if (typing && !shortcut.ctrl) || (view.modal_is_open() && !reaches_through(action, view)) {
            continue;
        }
        let Some(keys) = egui_shortcut(shortcut) else { continue };
        if ctx.input_mut(|i| i.consume_shortcut(&keys)) {
            outbox.act(action, workbench);
        }
    }
    if !view.modal_is_open() && ctx.input_mut(|i| i.consume_key(Modifiers::COMMAND, Key::Y)) {
        outbox.act(Action::Redo, workbench);
    }
}

/// Whether the key of `action` works while a dialog is open.
fn reaches_through(action: Action, view: &View) -> bool {
    match action {
        Action::Quit => true,
        // The key that opened the palette closes it.
        Action::Palette => view.palette.is_some(),
        _ => false,
    }
}

/// The shortcut of `action` as people read it.
pub(super) fn text(ctx: &Context, action: Action) -> Option<String> {
    action.shortcut().and_then(egui_shortcut).map(|keys| ctx.format_shortcut(&keys))
}

fn egui_shortcut(shortcut: Shortcut) -> Option<KeyboardShortcut> {
    let mut modifiers = Modifiers::NONE;
    modifiers.command = shortcut.ctrl;
    modifiers.shift = shortcut.shift;
    let key = match shortcut.key {
        "0" => Key::Num0,
        "1" => Key::Num1,
        "2" => Key::Num2,
        "3" => Key::Num3,
        name => Key::from_name(name)?,
    };
    Some(KeyboardShortcut::new(modifiers, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shortcut_names_a_key_and_no_two_are_the_same() {
        let mut seen = Vec::new();
        for (action, shortcut) in Action::ALL.iter().filter_map(|a| a.shortcut().map(|s| (a, s))) {
            let keys = egui_shortcut(shortcut);
            assert!(keys.is_some(), "{action:?} names no key");
            assert!(!seen.contains(&keys), "{action:?} has the key of another action");
            seen.push(keys);
        }
    }
}
