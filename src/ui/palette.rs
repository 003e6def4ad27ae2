//! The command palette: finds any action by its words and runs it, by keyboard alone if you like.

use egui::{Context, Key, Modifiers, RichText};

use super::shell::Cx;
use super::{shortcuts, theme};
use crate::workbench::Action;

/// What was typed and which hit is chosen.
#[derive(Default)]
pub(super) struct Palette {
    query: String,
    chosen: usize,
}

/// Shows the palette if it is open.
pub(super) fn show(ctx: &Context, cx: &mut Cx<'_>) {
    let Some(mut palette) = cx.view.palette.take() else { return };
    let mut run = None;
    let mut close = ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape));
    let down = ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::ArrowDown));
    let up = ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::ArrowUp));
    let enter = ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Enter));
    let found = hits(&palette.query, cx);
    palette.chosen = palette.chosen.min(found.len().saturating_sub(1));
    if down && palette.chosen + 1 < found.len() {
        palette.chosen += 1;
    }
    if up {
        palette.chosen = palette.chosen.saturating_sub(1);
    }
    let modal = theme::modal(ctx, "palette").show(ctx, |ui| {
        ui.set_width(460.0_f32.min(ui.ctx().content_rect().width() - 48.0));
        let label = ui.label(RichText::new("Command palette").small().color(theme::tokens(ui).faint));
        let edit =
            egui::TextEdit::singleline(&mut palette.query).hint_text("Type a command").desired_width(f32::INFINITY);
        let response = ui.add(edit).labelled_by(label.id);
        response.request_focus();
        if response.changed() {
            palette.chosen = 0;
        }
        egui::ScrollArea::vertical().max_height(340.0).show(ui, |ui| {
            for (index, action) in found.iter().enumerate() {
                let (name, help) = action.text();
                let keys = shortcuts::text(ui.ctx(), *action).unwrap_or_default();
                let button = egui::Button::selectable(index == palette.chosen, name).shortcut_text(keys);
                let response = ui.add_sized([ui.available_width(), 28.0], button).on_hover_text(help);
                if index == palette.chosen && (down || up) {
                    response.scroll_to_me(None);
                }
                if response.clicked() || (enter && index == palette.chosen) {
                    run = Some(*action);
                }
            }
            if found.is_empty() {
                ui.label(RichText::new("No command has these words.").color(theme::tokens(ui).faint));
            }
        });
    });
    close |= modal.backdrop_response.clicked();
    if let Some(action) = run {
        cx.outbox.act(action, cx.workbench);
        close = true;
    }
    if !close {
        cx.view.palette = Some(palette);
    }
}

/// The actions that make sense now and have all the words of `query` in name or help, best first.
fn hits(query: &str, cx: &Cx<'_>) -> Vec<Action> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let rank = |action: &Action| -> Option<usize> {
        let (name, help) = action.text();
        let (name, help) = (name.to_lowercase(), help.to_lowercase());
        words
            .iter()
            .map(|word| match name.find(word.as_str()) {
                Some(at) => Some(at),
                None => help.contains(word.as_str()).then_some(100),
            })
            .sum()
    };
    let possible = Action::ALL.iter().filter(|a| **a != Action::Palette && a.resolve(cx.workbench).is_some());
    let mut found: Vec<(usize, Action)> = possible.filter_map(|a| rank(a).map(|r| (r, *a))).collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, action)| action).collect()
}
