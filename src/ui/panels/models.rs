//! The models on this machine: what they are, how large, what they lack; one click uses one.

use egui::{RichText, Ui};

use super::empty;
use crate::job::ModelRef;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::models::KnownModel;
use crate::workbench::{Action, Command, PanelKind, Sort};

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let models = cx.workbench.models();
    if models.known().is_none() && !models.is_pending() {
        cx.outbox.send(Command::ReadModels);
    }
    ui.horizontal_wrapped(|ui| {
        let add = ui.button(Action::AddModels.text().0).on_hover_text(Action::AddModels.text().1);
        if cx.view.take_focus(PanelKind::Models) {
            add.request_focus();
        }
        if add.clicked() {
            cx.outbox.act(Action::AddModels, cx.workbench);
        }
        if ui.add_enabled(!models.is_pending(), egui::Button::new("Look again")).clicked() {
            cx.outbox.send(Command::ReadModels);
        }
    });
    match models.known() {
        None => empty(ui, "Looking for models…"),
        Some([]) => empty(ui, "No models are known. Add a folder with models."),
        Some(known) => known.iter().for_each(|model| row(ui, model, cx)),
    }
}

fn row(ui: &mut Ui, model: &KnownModel, cx: &Cx<'_>) {
    let tokens = theme::tokens(ui);
    ui.add_space(theme::GRID);
    ui.horizontal(|ui| {
        if let Some((used, command)) = choice(model, cx) {
            let (text, fill) = if used { ("In use", tokens.accent_soft) } else { ("Use", tokens.raised) };
            let response = ui.add(egui::Button::new(text).selected(used).fill(fill).small());
            let label = format!("Use {} as the {} model", model.name, model.sort.name());
            response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, used, &label));
            if response.clicked() && !used {
                cx.outbox.send(command);
            }
        }
        ui.label(RichText::new(&model.name).strong());
        ui.label(RichText::new(model.sort.name()).small().color(tokens.faint));
    });
    ui.add(egui::Label::new(RichText::new(&model.about).small().color(tokens.faint)).truncate());
    let Some(report) = &model.report else { return };
    if report.parameters > 0 {
        let mut kinds: Vec<&str> = report.parts.iter().map(|part| part.precision.as_str()).collect();
        kinds.dedup();
        let text = format!(
            "{}: {:.1} M parameters in {}, {:.0} MB on disk, {:.0} MB in memory",
            report.what,
            report.parameters as f64 / 1e6,
            kinds.join(", "),
            report.bytes_on_disk as f64 / 1e6,
            report.bytes_in_memory as f64 / 1e6
        );
        ui.add(egui::Label::new(RichText::new(text).small()).wrap());
    }
    let missing = report.missing.iter().map(|missing| format!("Missing: {missing}"));
    for problem in missing.chain(report.problems.iter().cloned()) {
        ui.add(egui::Label::new(RichText::new(problem).small().color(tokens.warning)).wrap());
    }
}

/// Whether the model is in use, and what would use it; `None` of what cannot be used by itself.
fn choice(model: &KnownModel, cx: &Cx<'_>) -> Option<(bool, Command)> {
    if model.report.as_ref().is_some_and(|report| !report.is_usable()) {
        return None;
    }
    let mut changed = cx.workbench.preferences().clone();
    let slot: &mut ModelRef = match model.sort {
        Sort::Diffusion => &mut changed.diffusion_model,
        Sort::Clip => &mut changed.clip_model,
        _ => return None,
    };
    let used = *slot == model.reference;
    slot.clone_from(&model.reference);
    Some((used, Command::SetPreferences(Box::new(changed))))
}
