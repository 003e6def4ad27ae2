//! Zero-shot classification of the canvas picture: classes by templates, bars for the ensemble and for each template, and a
//! table of all of them.

use egui::{Color32, RichText, Sense, TextEdit, Ui, vec2};

use super::{caption, empty};
use crate::analysis::zero_shot::probabilities;
use crate::document::{Edit, TextField};
use crate::job::output::{ZeroShotImage, ZeroShotTable};
use crate::job::spec::Combine;
use crate::prompt::library::NamedList;
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};
use crate::workbench::Command;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let library = cx.workbench.library();
    ui.columns(2, |columns| {
        list(&mut columns[0], cx, TextField::Classes, "Classes, one a line", &library.classes);
        list(&mut columns[1], cx, TextField::Templates, "Templates with {}, one a line", &library.zero_shot);
    });
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
            bars(ui, table, image);
            heat_table(ui, table, image);
        }
        None if cx.workbench.document().canvas.is_none() => empty(ui, "Open a picture to see what it is taken for."),
        None if state.is_pending() => empty(ui, "Looking…"),
        None => empty(ui, "Enter at least one class and one template."),
    }
}

fn list(ui: &mut Ui, cx: &Cx<'_>, field: TextField, name: &str, presets: &[NamedList]) {
    let label = caption(ui, name);
    egui::ComboBox::from_id_salt((name, "presets"))
        .selected_text("Fill from a list")
        .width(ui.available_width())
        .show_ui(ui, |ui| {
            for preset in presets {
                if ui.selectable_label(false, &preset.name).clicked() {
                    cx.outbox.set_text(field, preset.lines.join("\n"));
                }
            }
        });
    let mut text = cx.workbench.document().text(field).to_owned();
    egui::ScrollArea::vertical().id_salt((name, "lines")).max_height(120.0).show(ui, |ui| {
        let edit = TextEdit::multiline(&mut text).desired_rows(5).desired_width(f32::INFINITY);
        if ui.add(edit).labelled_by(label.id).changed() {
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
fn bars(ui: &mut Ui, table: &ZeroShotTable, image: &ZeroShotImage) {
    let tokens = theme::tokens(ui);
    let by_template: Vec<Vec<f32>> = image.by_template.iter().map(|row| probabilities(row, table.scoring)).collect();
    ui.add_space(4.0);
    for class in by_probability(image).into_iter().take(8) {
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
        let rows =
            table.templates.iter().zip(&by_template).map(|(t, row)| format!("{:5.1} %  {t}", row[class] * 100.0));
        response.on_hover_text(rows.collect::<Vec<_>>().join("\n"));
    }
}

/// Template by class, in the order of the bars: the darker, the more probable within the template.
fn heat_table(ui: &mut Ui, table: &ZeroShotTable, image: &ZeroShotImage) {
    ui.add_space(4.0);
    caption(ui, "Probability by template (rows) and class (columns)");
    egui::ScrollArea::horizontal().show(ui, |ui| {
        egui::Grid::new("heat table").spacing([6.0, 2.0]).show(ui, |ui| {
            ui.label("");
            let order = by_probability(image);
            for class in &order {
                ui.add(egui::Label::new(RichText::new(&table.classes[*class]).small()).extend());
            }
            ui.end_row();
            for (template, logits) in table.templates.iter().zip(&image.by_template) {
                ui.add(egui::Label::new(RichText::new(template).small()).extend());
                let shares = probabilities(logits, table.scoring);
                for class in &order {
                    cell(ui, template, &table.classes[*class], shares[*class]);
                }
                ui.end_row();
            }
        });
    });
}

fn cell(ui: &mut Ui, template: &str, class: &str, share: f32) {
    let tokens = theme::tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(48.0, 20.0), Sense::hover());
    let fill: Color32 = tokens.field.lerp_to_gamma(ACCENT, share.sqrt());
    ui.painter().rect_filled(rect, 3.0, fill);
    let text = if share > 0.6 { Color32::WHITE } else { tokens.text };
    let font = egui::TextStyle::Small.resolve(ui.style());
    ui.painter().text(rect.center(), egui::Align2::CENTER_CENTER, format!("{:.0}", share * 100.0), font, text);
    response.on_hover_text(format!("{class}: {:.1} % with \"{template}\"", share * 100.0));
}
