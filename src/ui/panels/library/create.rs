//! A small form that keeps something new in the user's library, begun with the selected words of the prompt.

use egui::{Frame, Margin, RichText, Stroke, TextEdit, Ui};

use super::Tab;
use crate::prompt::phrase;
use crate::ui::panels::caption;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::Command;
use crate::workbench::library::{Draft, DraftKind, LibraryCommand};

/// The text field of the prompt, by the name that its panel gives it.
const PROMPT_FIELD: &str = "Prompt";

/// Opens the form for what the tab shows.
pub(super) fn begin(ui: &Ui, cx: &mut Cx<'_>) {
    let kind = match cx.view.library.tab {
        Tab::Modifiers | Tab::ZeroShot => DraftKind::Modifier,
        Tab::Templates => DraftKind::Template,
        Tab::Styles => DraftKind::Style,
        Tab::Wildcards => DraftKind::Wildcard,
    };
    let mut draft = Draft { kind, text: chosen_words(ui, cx), ..Draft::default() };
    match kind {
        DraftKind::Modifier => draft.name = "My modifiers".to_owned(),
        DraftKind::Style if !draft.text.is_empty() => draft.text = format!("{{prompt}}, {}", draft.text),
        DraftKind::Style | DraftKind::Template | DraftKind::Wildcard => {}
    }
    cx.view.library.draft = Some(draft);
}

/// The selected words of the prompt, or the phrase that the caret stands in.
fn chosen_words(ui: &Ui, cx: &Cx<'_>) -> String {
    let prompt = &cx.workbench.document().prompt;
    let state = TextEdit::load_state(ui.ctx(), egui::Id::unique(PROMPT_FIELD));
    let range = state.and_then(|state| state.cursor.char_range()).map(|range| range.as_sorted_char_range());
    let selected: String = match range {
        Some(range) => prompt.chars().skip(range.start.0).take(range.end.0 - range.start.0).collect(),
        None => String::new(),
    };
    if selected.trim().is_empty() {
        return phrase::phrase_at(prompt, cx.workbench.prompt_caret()).to_owned();
    }
    selected.trim().trim_matches(',').trim().to_owned()
}

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let Some(mut draft) = cx.view.library.draft.take() else { return };
    let tokens = theme::tokens(ui);
    let mut is_done = false;
    Frame::new().stroke(Stroke::new(1.0, tokens.line)).corner_radius(8.0).inner_margin(Margin::same(8)).show(
        ui,
        |ui| {
            ui.set_min_width(ui.available_width());
            ui.horizontal_wrapped(|ui| {
                for (kind, name) in [
                    (DraftKind::Modifier, "Modifier"),
                    (DraftKind::Template, "Template"),
                    (DraftKind::Style, "Style"),
                    (DraftKind::Wildcard, "Wildcard"),
                ] {
                    if ui.selectable_label(draft.kind == kind, name).clicked() {
                        draft.kind = kind;
                    }
                }
            });
            fields(ui, &mut draft);
            ui.horizontal_wrapped(|ui| {
                let keep = egui::Button::new("Keep").fill(tokens.accent_soft);
                if ui.add_enabled(draft.is_complete(), keep).clicked() {
                    cx.outbox.send(Command::Library(LibraryCommand::Create(draft.clone())));
                    is_done = true;
                }
                is_done |= ui.button("Discard").clicked();
            });
        },
    );
    if !is_done {
        cx.view.library.draft = Some(draft);
    }
}

fn fields(ui: &mut Ui, draft: &mut Draft) {
    let kind = draft.kind;
    let name = if kind == DraftKind::Modifier { "Category" } else { "Name" };
    line(ui, name, "", &mut draft.name);
    let (label, hint, rows) = match kind {
        DraftKind::Modifier => ("Words", "soft window light", 1),
        DraftKind::Template => ("Text", "a photo of {subject}, {light=soft light}", 3),
        DraftKind::Style => ("Text", "{prompt}, watercolour", 3),
        DraftKind::Wildcard => ("Options, one a line", "red", 4),
    };
    let shown = caption(ui, label);
    let edit = TextEdit::multiline(&mut draft.text).hint_text(hint).desired_rows(rows).margin(Margin::same(8));
    ui.add(edit.desired_width(f32::INFINITY)).labelled_by(shown.id);
    if matches!(kind, DraftKind::Template | DraftKind::Style) {
        line(ui, "Negative", "", &mut draft.negative);
    }
    if kind != DraftKind::Wildcard {
        line(ui, "What it does", "One line, for later", &mut draft.about);
    }
    line(ui, "Folder", "None", &mut draft.folder);
    if matches!(kind, DraftKind::Template | DraftKind::Style) {
        let text = "{subject} is where the prompt goes; {light=soft light} is a hole that can be filled differently each time.";
        ui.add(egui::Label::new(RichText::new(text).small().color(theme::tokens(ui).faint)).wrap());
    }
}

fn line(ui: &mut Ui, label: &str, hint: &str, text: &mut String) {
    let shown = caption(ui, label);
    let edit = TextEdit::singleline(text).hint_text(hint).margin(Margin::same(6));
    ui.add(edit.desired_width(f32::INFINITY)).labelled_by(shown.id);
}
