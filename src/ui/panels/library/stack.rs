//! The templates and styles on the prompt: their order, their holes, and what comes of it.

use egui::{Align, Frame, Layout, Margin, RichText, Stroke, Ui, vec2};

use crate::prompt::template;
use crate::ui::panels::caption;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::library::LibraryCommand;
use crate::workbench::{Action, Command};

/// Side of a button with an icon.
const BUTTON: f32 = 32.0;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let document = cx.workbench.document();
    if document.stack.is_empty() {
        return;
    }
    let tokens = theme::tokens(ui);
    Frame::new().stroke(Stroke::new(1.0, tokens.line)).corner_radius(8.0).inner_margin(Margin::same(8)).show(
        ui,
        |ui| {
            ui.set_min_width(ui.available_width());
            caption(ui, "On the prompt, from the first to the last");
            for index in 0..document.stack.len() {
                row(ui, cx, index);
            }
            let (prompt, negative) = document.words();
            caption(ui, "The model gets");
            let shown = |text: &str| if text.is_empty() { "(nothing)".to_owned() } else { text.to_owned() };
            ui.add(egui::Label::new(shown(&prompt)).wrap().selectable(true));
            if !negative.is_empty() {
                ui.add(egui::Label::new(RichText::new(format!("Without: {negative}")).color(tokens.faint)).wrap());
            }
            ui.horizontal_wrapped(|ui| {
                for (name, action) in
                    [("Write into the prompt", Action::WriteStack), ("Take off all", Action::ClearStack)]
                {
                    if ui.button(name).on_hover_text(action.text().1).clicked() {
                        cx.outbox.act(action, cx.workbench);
                    }
                }
            });
        },
    );
}

/// A line below the prompt that says which templates and styles are on it; a click leads to the library.
pub(in crate::ui::panels) fn reminder(ui: &mut Ui, cx: &Cx<'_>) {
    let counted = cx.workbench.document().stack.iter().filter(|applied| !applied.is_off);
    let names: Vec<&str> = counted.map(|applied| applied.template.name.as_str()).collect();
    if names.is_empty() {
        return;
    }
    let text = RichText::new(format!("Under {}", names.join(", "))).small().color(theme::tokens(ui).faint);
    let response = ui.add(egui::Button::new(text).frame(false).truncate());
    if response.on_hover_text(format!("The model gets: {}", cx.workbench.document().words().0)).clicked() {
        cx.outbox.act(Action::FocusLibrary, cx.workbench);
    }
}

fn row(ui: &mut Ui, cx: &mut Cx<'_>, index: usize) {
    let stack = &cx.workbench.document().stack;
    let Some(applied) = stack.get(index) else { return };
    let name = &applied.template.name;
    let send = |cx: &Cx<'_>, command: LibraryCommand| cx.outbox.send(Command::Library(command));
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        let mut counts = !applied.is_off;
        let checkbox = ui.checkbox(&mut counts, "").on_hover_text("Leave it out for now");
        let label = format!("Use {name}");
        checkbox.widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, counts, &label));
        if checkbox.changed() {
            send(cx, LibraryCommand::SwitchOff(index, !counts));
        }
        let room = (ui.available_width() - 3.0 * BUTTON).max(40.0);
        ui.allocate_ui_with_layout(vec2(room, BUTTON), Layout::left_to_right(Align::Center), |ui| {
            ui.set_min_width(room);
            let text = RichText::new(name);
            let text = if applied.is_off { text.color(theme::tokens(ui).faint).strikethrough() } else { text };
            ui.add(egui::Label::new(text).truncate()).on_hover_text(&applied.template.text);
        });
        let last = stack.len().saturating_sub(1);
        let button = |ui: &mut Ui, icon, what: &str, possible: bool, command: LibraryCommand| {
            if cx.icons.button(ui, icon, what, false, possible).clicked() && possible {
                send(cx, command);
            }
        };
        let up = LibraryCommand::MoveInStack { from: index, to: index.saturating_sub(1) };
        button(ui, "chevron-up", &format!("Move {name} up"), index > 0, up);
        let down = LibraryCommand::MoveInStack { from: index, to: index + 1 };
        button(ui, "chevron-down", &format!("Move {name} down"), index < last, down);
        button(ui, "x", &format!("Take off {name}"), true, LibraryCommand::TakeOff(index));
    });
    let negative = &applied.template.negative;
    for slot in template::slots(&format!("{}\n{negative}", applied.template.text)) {
        ui.horizontal(|ui| {
            ui.add_space(28.0);
            let label = caption(ui, &slot.name);
            let mut value = applied.values.get(&slot.name).unwrap_or(&slot.default).clone();
            let edit = egui::TextEdit::singleline(&mut value).hint_text(&slot.default);
            if ui.add(edit.desired_width(f32::INFINITY)).labelled_by(label.id).changed() {
                send(cx, LibraryCommand::FillSlot { index, name: slot.name, value });
            }
        });
    }
}
