//! The parts of the prompt: how far each moves the text and the pictures; what does nothing is grey.

use egui::{RichText, Sense, Ui, vec2};

use super::{duration, send};
use crate::prompt::vary::Grain;
use crate::store::runs::RunKind;
use crate::ui::panels::{caption, dimmed_while, empty};
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};
use crate::workbench::compare::CompareRequest;
use crate::workbench::grid::words::{PartValue, Spread};

/// Width of the texts, in points.
const TEXT: f32 = 150.0;
const BAR: f32 = 18.0;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    controls(ui, cx);
    let words = cx.workbench.compare().words();
    if let Some(why) = words.failure() {
        ui.label(RichText::new(why).color(theme::tokens(ui).error));
    }
    if words.values().is_empty() {
        return empty(ui, "Write a prompt, and see here which of its parts carry the picture.");
    }
    egui::ScrollArea::vertical().id_salt("words").auto_shrink([false, false]).show(ui, |ui| {
        dimmed_while(ui, words.is_pending(), "words", |ui| rows(ui, words.values()));
    });
}

fn controls(ui: &mut Ui, cx: &mut Cx<'_>) {
    let words = cx.workbench.compare().words();
    ui.horizontal_wrapped(|ui| {
        for (grain, name) in [(Grain::Phrases, "Phrases"), (Grain::Words, "Words")] {
            if ui.selectable_label(words.used_grain() == grain, name).clicked() {
                send(cx, CompareRequest::SetGrain(Some(grain)));
            }
        }
        let label = caption(ui, "Seeds");
        let drag = egui::DragValue::new(&mut cx.view.compare.seeds).range(1..=64).speed(0.1);
        ui.add(drag).labelled_by(label.id);
        let seeds = cx.view.compare.seeds;
        let count = (words.values().len() + 1) * seeds as usize;
        let help = "Makes the picture with each part left out in turn, in the background, and looks how much worse it fits the prompt.";
        let button = egui::Button::new(format!("Measure on {count} pictures"));
        if ui.add_enabled(!words.values().is_empty(), button).on_hover_text(help).clicked() {
            send(cx, CompareRequest::MeasureWords(seeds));
        }
        under_way(ui, cx);
    });
}

/// How far the measuring is.
fn under_way(ui: &mut Ui, cx: &Cx<'_>) {
    let Some(table) = cx.workbench.compare().table().filter(|table| table.run.kind == RunKind::Words) else { return };
    if table.is_finished() {
        return;
    }
    let (done, all) = table.progress();
    let left = table.seconds_left().map_or_else(String::new, |seconds| format!(", {} left", duration(seconds)));
    ui.label(RichText::new(format!("{done} of {all}{left}")).color(theme::tokens(ui).faint));
    let (text, request) = match table.is_running() {
        true => ("Pause", CompareRequest::Pause),
        false => ("Resume", CompareRequest::Resume),
    };
    if ui.button(text).clicked() {
        send(cx, request);
    }
}

fn rows(ui: &mut Ui, values: &[PartValue]) {
    let most = |of: &dyn Fn(&PartValue) -> Option<f32>| values.iter().filter_map(of).map(f32::abs).fold(1e-6, f32::max);
    let text = most(&|value| value.embedding_change);
    let score = most(&|value| value.score_change.map(|change| change.mean.abs() + change.error()));
    let picture = most(&|value| value.picture_change.map(|change| change.mean));
    let is_measured = values.iter().any(|value| value.score_change.is_some());
    let tokens = theme::tokens(ui);
    let bars = if is_measured { 3.0 } else { 1.0 };
    let width = ((ui.available_width() - TEXT - 24.0) / bars - 8.0).clamp(60.0, 260.0);
    egui::Grid::new("parts of the prompt").num_columns(4).spacing([8.0, 6.0]).show(ui, |ui| {
        caption(ui, "Without…");
        caption(ui, "the text moves by");
        if is_measured {
            caption(ui, "the fit to the prompt drops by");
            caption(ui, "the picture moves by");
        }
        ui.end_row();
        for value in values {
            let colour = if value.is_dead { tokens.faint.gamma_multiply(0.7) } else { tokens.text };
            let mut shown = RichText::new(&value.text).color(colour);
            if value.is_dead {
                shown = shown.strikethrough();
            }
            ui.allocate_ui(vec2(TEXT, BAR), |ui| {
                ui.set_min_width(TEXT);
                let help = if value.is_dead { "Does nothing that was measured." } else { "Carries the picture." };
                ui.add(egui::Label::new(shown).truncate()).on_hover_text(help);
            });
            let single = |value: f32| Spread { mean: value, deviation: 0.0, count: 1 };
            bar(ui, &value.text, "text", value.embedding_change.map(single), text, width, value.is_dead);
            if is_measured {
                bar(ui, &value.text, "fit", value.score_change, score, width, value.is_dead);
                bar(ui, &value.text, "picture", value.picture_change, picture, width, value.is_dead);
            }
            ui.end_row();
        }
    });
}

/// A bar with the length of the mean, a line for how far it may be off, and the number.
fn bar(ui: &mut Ui, part: &str, what: &str, change: Option<Spread>, most: f32, width: f32, is_dead: bool) {
    let tokens = theme::tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(width, BAR), Sense::hover());
    let Some(change) = change else { return };
    let number = match change.count {
        1 => format!("{:.3}", change.mean),
        _ => format!("{:.3} ± {:.3}", change.mean, change.error()),
    };
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, format!("{part}: {what} {number}")));
    ui.painter().rect_filled(rect, 3.0, tokens.field);
    let length = |value: f32| rect.width() * (value / most).clamp(0.0, 1.0);
    let mut filled = rect;
    filled.set_width(length(change.mean));
    let fill = if is_dead { tokens.hovered } else { ACCENT.gamma_multiply(0.6) };
    ui.painter().rect_filled(filled, 3.0, fill);
    if change.count > 1 {
        let ends =
            [change.mean - change.error(), change.mean + change.error()].map(|value| rect.left() + length(value));
        let y = rect.bottom() - 3.0;
        ui.painter().hline(ends[0]..=ends[1], y, egui::Stroke::new(1.5, tokens.text.gamma_multiply(0.6)));
    }
    let font = egui::TextStyle::Small.resolve(ui.style());
    ui.painter().text(rect.right_center() - vec2(6.0, 0.0), egui::Align2::RIGHT_CENTER, number, font, tokens.text);
}
