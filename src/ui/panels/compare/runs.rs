//! Earlier runs: those that are not finished, and all of them.

use egui::{RichText, Ui};

use super::send;
use crate::store::runs::RunSummary;
use crate::ui::panels::empty;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::compare::CompareRequest;

/// The runs that can be taken up again.
pub(super) fn unfinished(ui: &mut Ui, cx: &mut Cx<'_>) {
    let open: Vec<&RunSummary> = cx.workbench.compare().paused().collect();
    if open.is_empty() {
        return;
    }
    ui.add_space(theme::GRID);
    ui.label(RichText::new("Paused").strong());
    for run in open {
        row(ui, cx, run);
    }
}

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let runs = cx.workbench.compare().runs();
    if runs.is_empty() {
        return empty(ui, "Nothing was made yet. Grids and pictures that you make are listed here.");
    }
    egui::ScrollArea::vertical().id_salt("runs").auto_shrink([false, false]).show(ui, |ui| {
        for run in runs {
            row(ui, cx, run);
        }
    });
}

fn row(ui: &mut Ui, cx: &mut Cx<'_>, run: &RunSummary) {
    let tokens = theme::tokens(ui);
    let is_shown = cx.workbench.compare().table().is_some_and(|table| table.id == run.id);
    let is_unfinished = run.done < run.total;
    let is_paused = cx.workbench.compare().paused().any(|paused| paused.id == run.id);
    ui.horizontal(|ui| {
        ui.set_min_height(32.0);
        if is_paused && labelled(ui, "Resume", &format!("Resume {}", run.title)) {
            cx.view.compare.show_table();
            send(cx, CompareRequest::TakeUp(run.id));
        }
        if labelled(ui, if is_shown { "Shown" } else { "Open" }, &format!("Open {}", run.title)) {
            cx.view.compare.show_table();
            send(cx, CompareRequest::Open(run.id));
        }
        if cx.view.compare.removing == Some(run.id) {
            if labelled(ui, "Remove for good", &format!("Remove {} for good", run.title)) {
                send(cx, CompareRequest::Remove(run.id));
                cx.view.compare.removing = None;
            }
            if ui.button("Keep").clicked() {
                cx.view.compare.removing = None;
            }
        } else if cx.icons.button(ui, "x", &format!("Remove {}", run.title), false, true).clicked() {
            cx.view.compare.removing = Some(run.id);
        }
        let state = match is_unfinished {
            true => format!("{} of {}", run.done, run.total),
            false => run.total.to_string(),
        };
        ui.label(RichText::new(format!("{state}   {}", ago(run.made_at))).small().color(tokens.faint));
        ui.add(egui::Label::new(&run.title).truncate()).on_hover_text(&run.title);
    });
}

/// A small button whose name says what it is for.
fn labelled(ui: &mut Ui, text: &str, label: &str) -> bool {
    let response = ui.add(egui::Button::new(text));
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, label));
    response.clicked()
}

fn ago(made_at: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match now.saturating_sub(made_at) {
        0..60 => "just now".to_owned(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}
