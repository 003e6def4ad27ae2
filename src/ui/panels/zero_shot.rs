//! Zero-shot classification of the canvas picture: classes by templates, bars for the ensemble and for each template, and a
//! table of all of them.

use std::ops::Range;

use egui::{Color32, Rect, RichText, Sense, TextEdit, Ui, vec2};

use super::{caption, dimmed_while, empty};
use crate::analysis::zero_shot::probabilities;
use crate::document::{Edit, TextField};
use crate::job::output::{ZeroShotImage, ZeroShotTable};
use crate::job::spec::Combine;
use crate::prompt::library::NamedList;
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};
use crate::workbench::library::LibraryCommand;
use crate::workbench::{Command, PanelKind};

/// Below this width the two lists stand one above the other.
const NARROW: f32 = 300.0;
/// The heat table's cells, and the width of the names of its rows, in points.
const CELL: egui::Vec2 = vec2(64.0, 22.0);
const ROW_NAME: f32 = 176.0;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let library = cx.workbench.library();
    let lists = [
        (TextField::Classes, ["Classes, one a line", "Fill classes from a list"], &library.classes),
        (TextField::Templates, ["Templates with {}, one a line", "Fill templates from a list"], &library.zero_shot),
    ];
    if ui.available_width() < NARROW {
        for (field, names, presets) in lists {
            list(ui, cx, field, names, presets);
        }
    } else {
        ui.columns(2, |columns| {
            for (column, (field, names, presets)) in columns.iter_mut().zip(lists) {
                list(column, cx, field, names, presets);
            }
        });
    }
    ui.horizontal(|ui| {
        let label = caption(ui, "Ensemble");
        let chosen = cx.workbench.document().combine;
        let mut combine = chosen;
        let combo = egui::ComboBox::from_id_salt("ensemble").selected_text(combine.name()).show_ui(ui, |ui| {
            for choice in Combine::ALL {
                ui.selectable_value(&mut combine, choice, choice.name());
            }
        });
        combo.response.labelled_by(label.id);
        if combine != chosen {
            cx.outbox.send(Command::Edit(Edit::SetCombine(combine)));
        }
    });
    let state = cx.workbench.zero_shot();
    if let Some(why) = state.failure() {
        ui.label(RichText::new(why).color(theme::tokens(ui).error));
        return;
    }
    match state.table().and_then(|table| table.images.first().map(|image| (table, image))) {
        Some((table, image)) => {
            dimmed_while(ui, state.is_pending(), "scores", |ui| {
                let order = by_probability(image);
                bars(ui, table, image, &order);
                heat_table(ui, table, image, &order);
            });
        }
        None if cx.workbench.document().canvas.is_none() => empty(ui, "Open a picture to see what it is taken for."),
        None if state.is_pending() => empty(ui, "Looking…"),
        None => empty(ui, "Enter at least one class and one template."),
    }
}

fn list(ui: &mut Ui, cx: &mut Cx<'_>, field: TextField, [name, fill]: [&str; 2], presets: &[NamedList]) {
    let sets = if field == TextField::Classes { cx.workbench.library().class_prompts.as_slice() } else { &[] };
    let label = caption(ui, name);
    let combo = egui::ComboBox::from_id_salt((name, "presets"))
        .selected_text("Fill from a list")
        .wrap_mode(egui::TextWrapMode::Truncate)
        .width(ui.available_width())
        .show_ui(ui, |ui| {
            for preset in presets {
                if ui.selectable_label(false, &preset.name).clicked() {
                    cx.outbox.set_text(field, preset.lines.join("\n"));
                }
            }
            for set in sets {
                if ui.selectable_label(false, format!("{}, with their own texts", set.name)).clicked() {
                    cx.outbox.send(Command::Library(LibraryCommand::UseClassTexts(set.name.clone())));
                }
            }
        });
    combo.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, fill));
    let mut text = cx.workbench.document().text(field).to_owned();
    egui::ScrollArea::vertical().id_salt((name, "lines")).max_height(120.0).show(ui, |ui| {
        let edit = TextEdit::multiline(&mut text).desired_rows(5).desired_width(f32::INFINITY);
        let response = ui.add(edit).labelled_by(label.id);
        if field == TextField::Classes && cx.view.take_focus(PanelKind::ZeroShot) {
            response.request_focus();
        }
        if response.changed() {
            cx.outbox.set_text(field, text);
        }
    });
}

/// The classes, the most probable first.
fn by_probability(image: &ZeroShotImage) -> Vec<usize> {
    let mut order: Vec<usize> = (0..image.probabilities.len()).collect();
    order.sort_by(|a, b| image.probabilities[*b].total_cmp(&image.probabilities[*a]));
    order
}

/// Classes by falling probability: the ensemble as a bar, each template as a tick on it.
fn bars(ui: &mut Ui, table: &ZeroShotTable, image: &ZeroShotImage, order: &[usize]) {
    let tokens = theme::tokens(ui);
    let by_template: Vec<Vec<f32>> = image.by_template.iter().map(|row| probabilities(row, table.scoring)).collect();
    ui.add_space(4.0);
    for class in order.iter().copied().take(8) {
        let share = image.probabilities[class];
        let name = &table.classes[class];
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 24.0), Sense::hover());
        response.widget_info(|| {
            egui::WidgetInfo::labeled(egui::Role::Label, true, format!("{name} {:.1} %", share * 100.0))
        });
        let mut bar = rect;
        bar.set_width(rect.width() * share);
        ui.painter().rect_filled(rect, 4.0, tokens.field);
        ui.painter().rect_filled(bar, 4.0, ACCENT.gamma_multiply(0.55));
        for row in &by_template {
            let x = rect.left() + rect.width() * row[class];
            // At the lower edge, so that a tick does not cross the name.
            let ticks = egui::Rangef::new(rect.bottom() - 6.0, rect.bottom());
            ui.painter().vline(x, ticks, egui::Stroke::new(1.5, tokens.text.gamma_multiply(0.6)));
        }
        let font = egui::TextStyle::Body.resolve(ui.style());
        ui.painter().text(
            rect.left_center() + vec2(8.0, 0.0),
            egui::Align2::LEFT_CENTER,
            name,
            font.clone(),
            tokens.text,
        );
        let bare =
            image.probabilities_without_marks.as_ref().map(|p| format!("  ({:.1} % without marks)", p[class] * 100.0));
        let text = format!("{:.1} %{}", share * 100.0, bare.unwrap_or_default());
        ui.painter().text(rect.right_center() - vec2(8.0, 0.0), egui::Align2::RIGHT_CENTER, text, font, tokens.text);
        response.on_hover_ui(|ui| {
            for (template, row) in table.templates.iter().zip(&by_template) {
                ui.label(format!("{:5.1} %  {template}", row[class] * 100.0));
            }
        });
    }
}

/// Template by class, in the order of the bars: the darker, the more probable within the template. Only what is seen is laid out:
/// there can be hundreds of classes and dozens of templates.
fn heat_table(ui: &mut Ui, table: &ZeroShotTable, image: &ZeroShotImage, order: &[usize]) {
    ui.add_space(4.0);
    caption(ui, "Probability by template (rows) and class (columns), in %");
    egui::ScrollArea::horizontal().show(ui, |ui| {
        let size = vec2(ROW_NAME + order.len() as f32 * CELL.x, (1 + table.templates.len()) as f32 * CELL.y);
        let (all, _) = ui.allocate_exact_size(size, Sense::hover());
        let corner = all.min + vec2(ROW_NAME, CELL.y);
        let seen = ui.clip_rect().intersect(all);
        let columns = overlap(seen.left() - corner.x, seen.right() - corner.x, CELL.x, order.len());
        let rows = overlap(seen.top() - corner.y, seen.bottom() - corner.y, CELL.y, table.templates.len());
        let place = |column: usize, row: usize| {
            Rect::from_min_size(corner + vec2(column as f32 * CELL.x, row as f32 * CELL.y), CELL).shrink(1.0)
        };
        for column in columns.clone() {
            name(ui, place(column, 0).translate(vec2(0.0, -CELL.y)), &table.classes[order[column]]);
        }
        for row in rows {
            let (template, Some(logits)) = (&table.templates[row], image.by_template.get(row)) else { continue };
            let left =
                Rect::from_min_size(all.min + vec2(0.0, (row + 1) as f32 * CELL.y), vec2(ROW_NAME - 8.0, CELL.y));
            name(ui, left, template);
            let shares = probabilities(logits, table.scoring);
            for column in columns.clone() {
                let class = order[column];
                cell(ui, (row, column), place(column, row), [template, &table.classes[class]], shares[class]);
            }
        }
    });
}

/// Which of `count` steps of length `step` lie at least partly between `from` and `to`.
fn overlap(from: f32, to: f32, step: f32, count: usize) -> Range<usize> {
    let edge = |at: f32| (at.max(0.0) as usize).min(count);
    edge((from / step).floor())..edge((to / step).ceil())
}

/// The name of a row or a column, cut where its place ends.
fn name(ui: &mut Ui, place: Rect, text: &str) {
    let layout = egui::Layout::left_to_right(egui::Align::Center);
    ui.scope_builder(egui::UiBuilder::new().max_rect(place).layout(layout), |ui| {
        ui.add(egui::Label::new(RichText::new(text).small()).truncate());
    });
}

fn cell(ui: &Ui, at: (usize, usize), place: Rect, [template, class]: [&str; 2], share: f32) {
    let tokens = theme::tokens(ui);
    let response = ui.interact(place, ui.scope_id().with(("cell", at)), Sense::hover());
    let text = format!("{class}: {:.1} % with \"{template}\"", share * 100.0);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &text));
    let fill: Color32 = tokens.field.lerp_to_gamma(ACCENT, share.sqrt());
    ui.painter().rect_filled(place, 3.0, fill);
    let colour = if share > 0.6 { Color32::WHITE } else { tokens.text };
    let font = egui::TextStyle::Small.resolve(ui.style());
    ui.painter().text(place.center(), egui::Align2::CENTER_CENTER, format!("{:.0}", share * 100.0), font, colour);
    response.on_hover_text(text);
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn only_the_cells_that_are_seen_are_laid_out() {
        assert_eq!(overlap(-30.0, 45.0, 20.0, 100), 0..3);
        assert_eq!(overlap(40.0, 60.0, 20.0, 100), 2..3);
        assert_eq!(overlap(45.0, 9999.0, 20.0, 5), 2..5);
        assert!(overlap(-50.0, -10.0, 20.0, 5).is_empty() && overlap(300.0, 200.0, 20.0, 5).is_empty());
    }
}
