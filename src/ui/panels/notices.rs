//! What went wrong and what to do about it, newest first.

use egui::{RichText, Ui};

use super::empty;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::notices::{Level, Notice};
use crate::workbench::{Command, PanelKind};

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    if cx.workbench.notices().is_empty() {
        empty(ui, "Nothing to report.");
        return;
    }
    let clear_all = ui.button("Clear all");
    if cx.view.take_focus(PanelKind::Notices) {
        clear_all.request_focus();
    }
    if clear_all.clicked() {
        cx.outbox.send(Command::ClearNotices);
    }
    for notice in cx.workbench.notices().iter().rev() {
        row(ui, notice, cx);
    }
}

fn row(ui: &mut Ui, notice: &Notice, cx: &Cx<'_>) {
    let tokens = theme::tokens(ui);
    let (icon, tint) = match notice.level {
        Level::Info => ("info", tokens.faint),
        Level::Warning => ("triangle-alert", tokens.warning),
        Level::Error => ("circle-x", tokens.error),
    };
    ui.horizontal_top(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(20.0, 20.0), egui::Sense::hover());
        cx.icons.paint(ui, icon, rect, tint);
        ui.vertical(|ui| {
            let times = if notice.count > 1 { format!("  ({} times)", notice.count) } else { String::new() };
            ui.add(egui::Label::new(format!("{}{times}", notice.text)).wrap());
            ui.horizontal(|ui| {
                if let Some(fix) = notice.fix
                    && ui.small_button(fix.text().0).clicked()
                {
                    cx.outbox.act(fix, cx.workbench);
                }
                let dismiss = ui.add(egui::Button::new(RichText::new("Dismiss").small()).small());
                if dismiss.clicked() {
                    cx.outbox.send(Command::DismissNotice(notice.id));
                }
            });
        });
    });
}
