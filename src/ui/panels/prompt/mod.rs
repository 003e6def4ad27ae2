//! The prompt and the negative prompt: tabs, editors with colours and remarks, chips, and what the encoder gets.

mod chips;
mod completion;
mod editor;
mod encoder;
mod find;
mod keys;
mod paint;
mod remarks;
mod tabs;

use egui::{RichText, Ui};

use super::caption;
use crate::document::TextField;
use crate::job::output::TokenCount;
use crate::prompt::phrase;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::Command;

/// What the panel remembers from frame to frame.
#[derive(Default)]
pub(in crate::ui) struct PromptView {
    editors: [editor::Editor; 2],
    chips: [chips::ChipsView; 2],
    completion: Option<completion::Completion>,
    find: Option<find::Find>,
    encoder: encoder::EncoderView,
}

impl PromptView {
    /// Shows the field for words to find, or puts the keyboard there.
    pub(in crate::ui) fn open_find(&mut self) {
        self.find.get_or_insert_default().wants_focus = true;
    }

    /// Opens what the encoder gets, and puts the keyboard there.
    pub(in crate::ui) fn open_encoder(&mut self) {
        self.encoder.wants_focus = true;
    }
}

/// One of the two texts.
#[derive(Clone, Copy)]
struct Field {
    text: TextField,
    index: usize,
    name: &'static str,
    hint: &'static str,
    rows: usize,
}

const FIELDS: [Field; 2] = [
    Field { text: TextField::Prompt, index: 0, name: "Prompt", hint: "What the picture shows", rows: 4 },
    Field { text: TextField::Negative, index: 1, name: "Negative prompt", hint: "What it should not show", rows: 2 },
];

impl Field {
    fn id(self) -> egui::Id {
        egui::Id::unique(self.name)
    }
}

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    tabs::show(ui, cx);
    find::show(ui, cx);
    for field in FIELDS {
        let label = ui
            .horizontal(|ui| {
                let label = caption(ui, field.name);
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    let tokens = cx.workbench.tokens();
                    token_count(ui, tokens.map(|read| read.tokens[field.index].count));
                });
                label
            })
            .inner;
        editor::show(ui, cx, field, label.id);
        if cx.workbench.preferences().prompt_chips {
            chips::show(ui, cx, field);
        }
    }
    for remark in cx.workbench.preview().remarks() {
        ui.label(RichText::new(remark).small().color(theme::tokens(ui).warning));
    }
    super::library::reminder(ui, cx);
    active_modifiers(ui, cx);
    encoder::show(ui, cx);
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
