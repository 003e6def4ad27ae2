//! Modifiers by category and prompt templates: one click adds, another takes out.

use egui::{RichText, TextEdit, Ui};

use super::caption;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::{Command, PanelKind};

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let label = caption(ui, "Search the library");
    let search = TextEdit::singleline(&mut cx.view.library_search).hint_text("Words").margin(egui::Margin::same(8));
    let search = ui.add(search.desired_width(f32::INFINITY)).labelled_by(label.id);
    if cx.view.take_focus(PanelKind::Library) {
        search.request_focus();
    }
    let wanted = cx.view.library_search.trim().to_lowercase();
    let matches = |text: &str| wanted.is_empty() || text.to_lowercase().contains(&wanted);
    cx.view.modifiers.follow(&cx.workbench.document().prompt, cx.workbench.library());
    for category in &cx.workbench.library().modifiers {
        let shown: Vec<&String> = category.modifiers.iter().filter(|text| matches(text)).collect();
        if shown.is_empty() {
            continue;
        }
        heading(ui, &category.name, category.builtin);
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = egui::vec2(4.0, 4.0);
            for text in shown {
                let is_on = cx.view.modifiers.contains(text);
                let fill = if is_on { theme::tokens(ui).accent_soft } else { theme::tokens(ui).raised };
                let response = ui.add(egui::Button::new(text.as_str()).selected(is_on).fill(fill).small());
                if response.clicked() {
                    cx.outbox.send(Command::ToggleModifier(text.clone()));
                }
            }
        });
    }
    let templates = cx.workbench.library().templates.iter().enumerate();
    let templates: Vec<_> = templates.filter(|(_, t)| matches(&t.name) || matches(&t.text)).collect();
    if !templates.is_empty() {
        heading(ui, "Templates", false);
    }
    for (index, template) in templates {
        let text = RichText::new(&template.name);
        let button =
            egui::Button::new(text).right_text(RichText::new(if template.builtin { "built-in" } else { "" }).small());
        let response = ui.add_sized([ui.available_width(), 28.0], button);
        if response.on_hover_text(format!("Puts the prompt in place of {{subject}}:\n{}", template.text)).clicked() {
            cx.outbox.send(Command::ApplyTemplate(index));
        }
    }
}

fn heading(ui: &mut Ui, name: &str, builtin: bool) {
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        ui.label(RichText::new(name).strong());
        if builtin {
            ui.label(RichText::new("known to the built-in models").small().color(theme::tokens(ui).faint));
        }
    });
}
