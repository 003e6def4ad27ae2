//! The prompt and the negative prompt, with the length that the model's own tokenizer counts.

use egui::{RichText, TextEdit, Ui};

use super::caption;
use crate::document::TextField;
use crate::job::output::TokenCount;
use crate::prompt::phrase;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::{Command, PanelKind};

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let counts = cx.workbench.token_counts();
    field(ui, cx, TextField::Prompt, "Prompt", "What the picture shows", 4, counts.map(|c| c.0));
    field(ui, cx, TextField::Negative, "Negative prompt", "What it should not show", 2, counts.map(|c| c.1));
    for remark in cx.workbench.preview().remarks() {
        ui.label(RichText::new(remark).small().color(theme::tokens(ui).warning));
    }
    super::library::reminder(ui, cx);
    active_modifiers(ui, cx);
}

fn field(
    ui: &mut Ui,
    cx: &mut Cx<'_>,
    which: TextField,
    name: &str,
    hint: &str,
    rows: usize,
    count: Option<TokenCount>,
) {
    let mut text = cx.workbench.document().text(which).to_owned();
    let label = ui
        .horizontal(|ui| {
            let label = caption(ui, name);
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| token_count(ui, count));
            label
        })
        .inner;
    let output = TextEdit::multiline(&mut text)
        .id(egui::Id::unique(name))
        .hint_text(hint)
        .desired_rows(rows)
        .desired_width(f32::INFINITY)
        .margin(egui::Margin::same(8))
        .show(ui);
    let response = output.response.response.labelled_by(label.id);
    if which == TextField::Prompt {
        if cx.view.take_focus(PanelKind::Prompt) {
            response.request_focus();
        }
        if let Some(range) = output.cursor_range {
            cx.outbox.send_caret(range.primary.index.0, cx.workbench);
        }
    }
    if response.changed() {
        cx.outbox.set_text(which, text);
    }
}

fn token_count(ui: &mut Ui, count: Option<TokenCount>) {
    let tokens = theme::tokens(ui);
    let Some(TokenCount { tokens: length, limit, chunks }) = count else { return };
    let text = match chunks {
        1 => format!("{length} of {limit} tokens"),
        _ => format!("{length} tokens in {chunks} chunks of {limit}"),
    };
    let response = ui.label(RichText::new(text).small().color(tokens.faint));
    if chunks > 1 {
        response.on_hover_text(format!(
            "The model reads {limit} tokens at a time, so words in different chunks do not know of each other."
        ));
    }
}

/// The modifiers of the library that are in the prompt: one click takes one out.
fn active_modifiers(ui: &mut Ui, cx: &mut Cx<'_>) {
    let prompt = &cx.workbench.document().prompt;
    cx.view.modifiers.follow(prompt, cx.workbench.library());
    let known = cx.workbench.library().modifiers.iter().flat_map(|category| &category.modifiers);
    let active: Vec<&String> = known.map(|known| &known.text).filter(|text| cx.view.modifiers.contains(text)).collect();
    if active.is_empty() {
        if phrase::phrases(prompt).next().is_some() {
            super::empty(ui, "Modifiers and templates are in the library, on the tab above.");
        }
        return;
    }
    caption(ui, "Modifiers in the prompt");
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(4.0, 4.0);
        for text in active {
            let chip = egui::Button::new(format!("{text}  ×")).fill(theme::tokens(ui).accent_soft).small();
            let response = ui.add(chip);
            let label = format!("Take {text} out of the prompt");
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &label));
            if response.on_hover_text(label).clicked() {
                cx.outbox.send(Command::ToggleModifier(text.clone()));
            }
        }
    });
}
