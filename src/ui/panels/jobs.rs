//! What runs and what waits, with progress, time left and a way to stop it.

use std::time::Duration;

use egui::{RichText, Ui};

use super::empty;
use crate::engine::Lane;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::jobs::{ActiveJob, JobState};
use crate::workbench::{Action, Command, PanelKind};

/// Live jobs shorter than this are not shown: they would only flicker.
const BRIEF: Duration = Duration::from_millis(300);

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let now = cx.workbench.now();
    let is_shown = |job: &&ActiveJob| job.lane == Lane::Batch || now.saturating_sub(job.submitted) > BRIEF;
    let jobs: Vec<&ActiveJob> = cx.workbench.jobs().active().iter().filter(is_shown).collect();
    if jobs.is_empty() {
        empty(ui, "Nothing runs. Generate a picture to see its progress here.");
        return;
    }
    let cancel_all = ui.button("Cancel all");
    if cx.view.take_focus(PanelKind::Jobs) {
        cancel_all.request_focus();
    }
    if cancel_all.clicked() {
        cx.outbox.act(Action::CancelAll, cx.workbench);
    }
    for job in jobs {
        row(ui, job, now, cx);
    }
}

fn row(ui: &mut Ui, job: &ActiveJob, now: Duration, cx: &Cx<'_>) {
    let tokens = theme::tokens(ui);
    ui.horizontal(|ui| {
        ui.label(RichText::new(job.name).strong());
        let live = if job.lane == Lane::Batch { "" } else { "live" };
        ui.label(RichText::new(live).small().color(tokens.faint));
        ui.add(egui::Label::new(RichText::new(&job.detail).color(tokens.faint)).truncate());
    });
    ui.horizontal(|ui| {
        let label = format!("Cancel {} {}", job.name, job.detail);
        if cx.icons.button(ui, "x", &label, false, true).clicked() {
            cx.outbox.send(Command::Cancel(job.id));
        }
        match &job.state {
            JobState::Waiting => {
                ui.label(RichText::new("Waits its turn").color(tokens.faint));
            }
            JobState::Running { progress, .. } => {
                let left = job.time_left(now).map(|left| format!("   {:.0} s left", left.as_secs_f64().ceil()));
                let steps = if progress.total > 0 {
                    format!(" {} of {}", progress.done, progress.total)
                } else {
                    String::new()
                };
                let text = format!("{}{steps}{}", progress.stage, left.unwrap_or_default());
                let bar = egui::ProgressBar::new(job.fraction().unwrap_or(0.0)).text(text).desired_height(20.0);
                ui.add(bar.desired_width(ui.available_width()));
            }
        }
    });
}
