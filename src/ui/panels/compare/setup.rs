//! The axes of the next grid, checked while they are typed.

use egui::{Color32, RichText, TextEdit, Ui};

use super::{duration, send};
use crate::ui::panels::caption;
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};
use crate::workbench::compare::{CompareRequest, Plan};
use crate::workbench::grid::{AxisKind, AxisText};

const NAMES: [&str; 3] = ["Columns", "Rows", "Pages"];

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    for (index, axis) in cx.workbench.compare().axes().clone().into_iter().enumerate() {
        one(ui, cx, index, axis);
    }
    ui.horizontal_wrapped(|ui| {
        let plan = cx.workbench.compare().plan();
        let ready = matches!(plan, Some(Ok(_)));
        let begin = egui::Button::new(RichText::new("Make grid").color(Color32::WHITE)).fill(ACCENT);
        if ui
            .add_enabled(ready, begin)
            .on_hover_text("Makes the pictures in the background, the cheapest first.")
            .clicked()
        {
            send(cx, CompareRequest::Begin);
            cx.view.compare.show_table();
        }
        let tokens = theme::tokens(ui);
        let is_typed = cx.workbench.compare().axes().iter().any(|axis| !axis.text.trim().is_empty());
        match plan {
            Some(Ok(plan)) => ui.label(RichText::new(count(plan)).color(tokens.faint)),
            Some(Err(text)) => ui.add(egui::Label::new(RichText::new(text).color(tokens.error)).wrap()),
            None if is_typed => ui.label(RichText::new("Looking at the axes…").color(tokens.faint)),
            None => ui.label(RichText::new("Type values for at least one axis.").color(tokens.faint)),
        };
    });
}

fn count(plan: &Plan) -> String {
    let all = plan.grid.cells.len();
    let mut text = if all == 1 { "1 picture".to_owned() } else { format!("{all} pictures") };
    if plan.existing > 0 {
        text.push_str(&format!(", {} of them made already", plan.existing));
    }
    match plan.seconds {
        _ if plan.existing == all => {}
        Some(seconds) => text.push_str(&format!(", about {}", duration(seconds))),
        None => text.push_str("; how long it takes is known after the first"),
    }
    text
}

fn one(ui: &mut Ui, cx: &Cx<'_>, index: usize, axis: AxisText) {
    let name = NAMES[index];
    ui.horizontal(|ui| {
        let label =
            ui.add_sized([56.0, 24.0], egui::Label::new(RichText::new(name).small().color(theme::tokens(ui).faint)));
        let mut kind = axis.kind;
        let combo =
            egui::ComboBox::from_id_salt(("axis", index)).width(132.0).selected_text(kind.name()).show_ui(ui, |ui| {
                for choice in AxisKind::ALL {
                    ui.selectable_value(&mut kind, choice, choice.name());
                }
            });
        combo.response.labelled_by(label.id);
        let mut text = axis.text.clone();
        let edit = TextEdit::singleline(&mut text).hint_text(kind.hint()).margin(egui::Margin::symmetric(8, 4));
        ui.add(edit.desired_width(f32::INFINITY)).labelled_by(label.id);
        if kind != axis.kind || text != axis.text {
            send(cx, CompareRequest::SetAxis(index, AxisText { kind, text }));
        }
    });
    if index == 2 {
        let mut text = cx.workbench.compare().score_text().to_owned();
        ui.horizontal(|ui| {
            let label = caption(ui, "Score by");
            let edit = TextEdit::singleline(&mut text)
                .hint_text("each picture's own prompt")
                .margin(egui::Margin::symmetric(8, 4));
            if ui.add(edit.desired_width(f32::INFINITY)).labelled_by(label.id).changed() {
                send(cx, CompareRequest::SetScoreText(text));
            }
        });
    }
}
