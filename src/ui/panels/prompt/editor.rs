//! A text of the prompt with its colours: egui's text field over our own layout, which colours what is laid out already.

use std::ops::Range;
use std::sync::Arc;

use egui::text::{CCursor, CCursorRange};
use egui::{Color32, Galley, TextBuffer, TextEdit, Ui};

use super::{Field, completion, keys, paint, remarks};
use crate::document::{Edit, TextField};
use crate::prompt::highlight::{self, Piece, Role};
use crate::ui::shell::Cx;
use crate::ui::text_layout::{TextLayout, common};
use crate::ui::theme::{self, Tokens};
use crate::workbench::{Command, PanelKind};

/// A text as it was shown last.
#[derive(Default)]
pub(super) struct Editor {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) layout: TextLayout,
    colours: Vec<(usize, Color32)>,
    /// Whether the colours are those of the dark theme.
    is_dark: Option<bool>,
    /// The tab that it was shown in.
    tab: usize,
    /// The text that the document was told to have.
    expected: Option<String>,
    remarks: remarks::Current,
}

impl Editor {
    /// Lays out `text` in its colours.
    fn galley(&mut self, ui: &Ui, text: &str, width: f32) -> Arc<Galley> {
        let is_dark = ui.visuals().dark_mode;
        if self.text != text || self.is_dark != Some(is_dark) {
            self.text = text.to_owned();
            self.pieces = highlight::highlight(text);
            let tokens = theme::tokens(ui);
            self.colours = self.pieces.iter().map(|piece| (piece.span.start, colour(piece, tokens))).collect();
            self.is_dark = Some(is_dark);
        }
        if self.colours.is_empty() {
            self.colours.push((0, theme::tokens(ui).text));
        }
        self.layout.lay_out(ui, text, width, &self.colours)
    }
}

fn colour(piece: &Piece, tokens: &Tokens) -> Color32 {
    match piece.role {
        Role::Text if piece.weight == 0.0 => tokens.faint,
        Role::Text => tokens.text,
        Role::Emphasis | Role::Weight => tokens.weight,
        Role::Schedule => tokens.schedule,
        Role::Keyword => tokens.keyword,
        Role::Network => tokens.network,
        Role::Comment => tokens.faint,
        Role::Wildcard => tokens.wildcard,
        Role::Variant => tokens.variant,
        Role::Variable | Role::Slot => tokens.variable,
    }
}

/// Shows the field; `label` names it.
pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>, field: Field, label: egui::Id) {
    let id = field.id();
    let mut text = cx.workbench.document().text(field.text).to_owned();
    select_what_changed(ui, cx, field, &text);
    if ui.memory(|memory| memory.has_focus(id))
        && let Some(change) = keys::take(ui, cx, field, &text)
    {
        text.clone_from(&change.text);
        select(ui, id, &text, change.selection);
        set_apart(cx, field, change.text);
    }
    let mut editor = std::mem::take(&mut cx.view.prompt.editors[field.index]);
    // Below the text and above the field's ground; its shapes are known only when the text is laid out.
    let ground = ui.painter().add(egui::Shape::Noop);
    let is_completing = cx.view.prompt.completion.as_ref().is_some_and(|open| open.is_for(field));
    let keeps_focus = completion::keep_focus(ui, cx, is_completing);
    let mut layouter = |ui: &Ui, buffer: &dyn TextBuffer, width: f32| editor.galley(ui, buffer.as_str(), width);
    let output = TextEdit::multiline(&mut text)
        .id(id)
        .hint_text(field.hint)
        .desired_rows(field.rows)
        .desired_width(f32::INFINITY)
        .margin(egui::Margin::same(8))
        .background_color(Color32::TRANSPARENT)
        .layouter(&mut layouter)
        .show(ui);
    keeps_focus.restore(ui);
    let response = output.response.response.clone().labelled_by(label);
    let remarks = editor.remarks.of(cx, field, &text);
    let shown = paint::Shown {
        editor: &editor,
        galley: &output.galley,
        at: output.galley_pos,
        response: &response,
        remarks: &remarks,
    };
    let shapes = paint::ground(ui, cx, field, &shown);
    ui.painter().set(ground, egui::Shape::Vec(shapes));
    paint::over(ui, cx, field, &shown);
    let caret = output.cursor_range.map(|range| range.primary.index.0);
    if field.text == TextField::Prompt {
        if cx.view.take_focus(PanelKind::Prompt) {
            response.request_focus();
        }
        if let Some(caret) = caret {
            cx.outbox.send_caret(caret, cx.workbench);
        }
    }
    if response.changed() {
        cx.outbox.set_text(field.text, text.clone());
    }
    let place =
        caret.map(|caret| output.galley.pos_from_cursor(CCursor::new(caret)).translate(output.galley_pos.to_vec2()));
    cx.view.prompt.editors[field.index] = editor;
    completion::follow(ui, cx, field, &text, &response, caret.zip(place));
    remarks::show(ui, cx, field, &text, &remarks);
}

/// After undo and the like, what came or went is selected, as a caret that stayed where it was would be among other words. In
/// another tab, the caret is at the end.
fn select_what_changed(ui: &Ui, cx: &mut Cx<'_>, field: Field, text: &str) {
    let tab = cx.workbench.document().tab;
    let editor = &mut cx.view.prompt.editors[field.index];
    let is_same_tab = std::mem::replace(&mut editor.tab, tab) == tab;
    let is_own = editor.expected.take_if(|expected| *expected == text).is_some();
    if is_own || editor.text == text || editor.is_dark.is_none() || !ui.memory(|memory| memory.has_focus(field.id())) {
        return;
    }
    let changed = match is_same_tab {
        true => {
            let (prefix, suffix) = common(&editor.text, text);
            prefix..text.len() - suffix
        }
        false => text.len()..text.len(),
    };
    select(ui, field.id(), text, changed);
}

/// Replaces the text in a step of its own.
pub(super) fn set_apart(cx: &mut Cx<'_>, field: Field, text: String) {
    cx.view.prompt.editors[field.index].expected = Some(text.clone());
    cx.outbox.send(Command::EditApart(Edit::SetText { field: field.text, text }));
}

/// Selects a range of bytes of `text` in a field.
pub(super) fn select(ui: &Ui, id: egui::Id, text: &str, range: Range<usize>) {
    let cursor = |byte: usize| CCursor::new(text.get(..byte).unwrap_or(text).chars().count());
    let mut state = TextEdit::load_state(ui.ctx(), id).unwrap_or_default();
    state.cursor.set_char_range(Some(CCursorRange::two(cursor(range.start), cursor(range.end))));
    state.store(ui.ctx(), id);
}

/// What is selected in a field, in bytes of `text`; the caret is an empty range.
pub(super) fn selection(ui: &Ui, id: egui::Id, text: &str) -> Range<usize> {
    let range = TextEdit::load_state(ui.ctx(), id).and_then(|state| state.cursor.char_range());
    let Some(range) = range else { return text.len()..text.len() };
    let [start, end] = range.sorted_cursors();
    byte_of(text, start.index.0)..byte_of(text, end.index.0)
}

/// The byte where a character starts.
pub(super) fn byte_of(text: &str, char: usize) -> usize {
    text.char_indices().nth(char).map_or(text.len(), |(at, _)| at)
}
