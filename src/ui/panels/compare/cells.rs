//! One cell of a table, and the names beside them.

use egui::{Align2, Rect, RichText, Sense, Stroke, Ui, vec2};

use super::{move_camera, paint_linked, send};
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};
use crate::workbench::compare::{CompareRequest, Side, Table};

/// Between cells, in points.
pub(super) const GAP: f32 = 6.0;
/// Height of a line of text above or below a cell, in points.
pub(super) const NAME: f32 = 20.0;

/// The name of a row or column, cut where its place ends.
pub(super) fn name(ui: &mut Ui, place: Rect, text: &str, align: Align2) {
    if text.is_empty() || !place.intersects(ui.clip_rect()) {
        return;
    }
    let layout = match align {
        Align2::CENTER_CENTER => egui::Layout::centered_and_justified(egui::Direction::LeftToRight),
        _ => egui::Layout::right_to_left(egui::Align::Center),
    };
    ui.scope_builder(egui::UiBuilder::new().max_rect(place).layout(layout), |ui| {
        ui.add(egui::Label::new(RichText::new(text).small()).truncate()).on_hover_text(text);
    });
}

/// A cell with its score below, and `caption` below that.
pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>, table: &Table, index: usize, place: Rect, caption: &str) {
    let tokens = theme::tokens(ui);
    let view = &table.cells()[index];
    let frame = Rect::from_min_size(place.min, vec2(place.width(), place.width()));
    let response = ui.interact(frame, ui.scope_id().with(("cell", index)), Sense::click_and_drag());
    if response.gained_focus() {
        ui.scroll_to_rect(place, None);
    }
    let is_selected = cx.view.compare.selected == Some(index);
    let label = format!("Cell {}: {}", table.name(index), state(cx, table, index));
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, is_selected, &label));
    ui.painter().rect_filled(frame, 6.0, tokens.field);
    match &view.picture {
        Some(made) => {
            move_camera(ui, cx, &response, made.picture.extent());
            paint_linked(ui, cx, &made.picture, frame, frame);
        }
        None => waiting(ui, cx, table, index, frame),
    }
    if is_selected || response.has_focus() {
        ui.painter().rect_stroke(frame, 6.0, Stroke::new(2.0, ACCENT), egui::StrokeKind::Outside);
    }
    let score = view.score.map_or_else(String::new, |score| format!("{score:.3}"));
    let line = |row: f32| Rect::from_min_size(frame.left_bottom() + vec2(0.0, row * NAME), vec2(frame.width(), NAME));
    name(ui, line(0.0), &score, Align2::CENTER_CENTER);
    name(ui, line(1.0), caption, Align2::CENTER_CENTER);
    if response.clicked() {
        cx.view.compare.selected = (!is_selected).then_some(index);
    }
    let has_picture = view.picture.is_some();
    response.context_menu(|ui| {
        for side in [Side::A, Side::B] {
            let button = egui::Button::new(format!("Compare as {}", side.name()));
            if ui.add_enabled(has_picture, button).clicked() {
                send(cx, CompareRequest::Choose(side, index));
            }
        }
        if ui.button("Use these settings").clicked() {
            send(cx, CompareRequest::UseCell(index));
        }
    });
    response.on_hover_text(format!("{label}\n{}", table.run.cells[index].spec.prompt));
}

/// A cell without a picture: how far it is, or why there is none.
fn waiting(ui: &Ui, cx: &Cx<'_>, table: &Table, index: usize, frame: Rect) {
    let tokens = theme::tokens(ui);
    let is_failed = table.cells()[index].trouble.is_some();
    let colour = if is_failed { tokens.error } else { tokens.faint };
    let text = state(cx, table, index);
    let font = egui::TextStyle::Small.resolve(ui.style());
    let galley = ui.painter().layout(text, font, colour, frame.width() - 12.0);
    let painter = ui.painter().with_clip_rect(frame.intersect(ui.clip_rect()));
    painter.galley(frame.center() - galley.size() * 0.5, galley, colour);
    if let Some(fraction) = fraction(cx, index) {
        let line = Rect::from_min_size(frame.left_bottom() - vec2(0.0, 3.0), vec2(frame.width() * fraction, 3.0));
        ui.painter().rect_filled(line, 1.5, ACCENT);
    }
}

fn fraction(cx: &Cx<'_>, index: usize) -> Option<f32> {
    let compare = cx.workbench.compare();
    let job = compare.job().filter(|_| compare.making() == Some(index))?;
    cx.workbench.jobs().get(job)?.fraction()
}

fn state(cx: &Cx<'_>, table: &Table, index: usize) -> String {
    let view = &table.cells()[index];
    match (&view.trouble, view.score) {
        (Some(why), _) => why.clone(),
        (None, Some(score)) => format!("score {score:.3}"),
        (None, None) if view.picture.is_some() => "made".to_owned(),
        (None, None) if view.is_done() => "being read".to_owned(),
        (None, None) if cx.workbench.compare().making() == Some(index) => "being made".to_owned(),
        (None, None) => "waiting".to_owned(),
    }
}
