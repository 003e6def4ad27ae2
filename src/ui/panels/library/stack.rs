//! The templates and styles on the prompt: their order, their holes, and what comes of it.

use egui::{Align, CursorIcon, Frame, Layout, Margin, Rect, Response, RichText, Sense, Stroke, Ui, vec2};

use crate::prompt::stack::Applied;
use crate::prompt::template;
use crate::ui::panels::caption;
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};
use crate::workbench::library::LibraryCommand;
use crate::workbench::{Action, Command};

/// Side of a button with an icon.
const BUTTON: f32 = 32.0;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let document = cx.workbench.document();
    if document.stack.is_empty() {
        return;
    }
    // Where there is little room, it is the list's: what the model gets is said by the prompt.
    let is_narrow = ui.available_width() < super::NARROW;
    let tokens = theme::tokens(ui);
    Frame::new().stroke(Stroke::new(1.0, tokens.line)).corner_radius(8.0).inner_margin(Margin::same(8)).show(
        ui,
        |ui| {
            ui.set_min_width(ui.available_width());
            if !is_narrow {
                caption(ui, "On the prompt, from the first to the last");
            }
            rows(ui, cx);
            let (prompt, negative) = document.words();
            let line = |ui: &mut Ui, text: String| {
                ui.add(egui::Label::new(RichText::new(&text).small().color(tokens.faint)).truncate())
                    .on_hover_text(text);
            };
            if !is_narrow {
                line(ui, format!("The model gets: {}", if prompt.is_empty() { "(nothing)" } else { &prompt }));
                if !negative.is_empty() {
                    line(ui, format!("Without: {negative}"));
                }
            }
            ui.horizontal_wrapped(|ui| {
                let names =
                    if is_narrow { ["Write in", "Take off"] } else { ["Write into the prompt", "Take off all"] };
                for (name, action) in names.into_iter().zip([Action::WriteStack, Action::ClearStack]) {
                    let button = egui::Button::new(name);
                    let button = if is_narrow { button.small() } else { button };
                    if ui.add(button).on_hover_text(action.text().1).clicked() {
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

/// All rows; a name that is dragged takes its template to another place.
fn rows(ui: &mut Ui, cx: &mut Cx<'_>) {
    let (mut rects, mut dragged) = (Vec::new(), None);
    for (index, applied) in cx.workbench.document().stack.iter().enumerate() {
        let shown = ui.scope(|ui| row(ui, cx, index, applied));
        rects.push(shown.response.rect);
        if shown.inner.dragged() || shown.inner.drag_stopped() {
            dragged = Some((index, shown.inner.drag_stopped()));
        }
    }
    let Some(((from, is_dropped), pointer)) = dragged.zip(ui.ctx().pointer_interact_pos()) else { return };
    ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
    let before = place_of(&rects, pointer.y);
    mark(ui, &rects, before);
    // The place is counted with the row still where it was.
    let to = if before > from { before - 1 } else { before };
    if is_dropped && to != from {
        cx.outbox.send(Command::Library(LibraryCommand::MoveInStack { from, to }));
    }
}

/// The row before which something dropped at a height goes; their number for the end.
fn place_of(rects: &[Rect], y: f32) -> usize {
    rects.iter().position(|rect| y < rect.center().y).unwrap_or(rects.len())
}

/// A line where a row would go.
fn mark(ui: &Ui, rects: &[Rect], before: usize) {
    let y = rects.get(before).map(|rect| rect.top() - 2.0).or(rects.last().map(|rect| rect.bottom() + 2.0));
    if let Some((y, rect)) = y.zip(rects.first()) {
        ui.painter().hline(rect.x_range(), y, Stroke::new(2.0, ACCENT));
    }
}

/// One of them; gives its name.
fn row(ui: &mut Ui, cx: &Cx<'_>, index: usize, applied: &Applied) -> Response {
    let stack = &cx.workbench.document().stack;
    let name = &applied.template.name;
    let send = |cx: &Cx<'_>, command: LibraryCommand| cx.outbox.send(Command::Library(command));
    let handle = ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        ui.spacing_mut().interact_size.y = BUTTON;
        let mut counts = !applied.is_off;
        let checkbox = ui.checkbox(&mut counts, "").on_hover_text("Leave it out for now");
        let label = format!("Use {name}");
        checkbox.widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, counts, &label));
        if checkbox.changed() {
            send(cx, LibraryCommand::SwitchOff(index, !counts));
        }
        let room = (ui.available_width() - 3.0 * BUTTON).max(40.0);
        let shown = ui.allocate_ui_with_layout(vec2(room, BUTTON), Layout::left_to_right(Align::Center), |ui| {
            ui.set_min_width(room);
            let text = RichText::new(name);
            let text = if applied.is_off { text.color(theme::tokens(ui).faint).strikethrough() } else { text };
            let label = egui::Label::new(text).truncate().selectable(false).sense(Sense::drag());
            let help = format!("{}\nDrag to another place.", applied.template.text);
            ui.add(label).on_hover_cursor(CursorIcon::Grab).on_hover_text(help)
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
        shown.inner
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
    handle.inner
}
