//! What is said about a text, below it, each with its fix where there is one.

use std::ops::Range;
use std::sync::Arc;

use egui::{RichText, Ui};

use super::keys::Change;
use super::{Field, editor};
use crate::document::TextField;
use crate::job::output::TokenText;
use crate::prompt::diagnostic::{Diagnostic, Fix, Severity};
use crate::prompt::lint;
use crate::prompt::reading::Reading;
use crate::ui::shell::Cx;
use crate::ui::text_layout::common;
use crate::ui::theme::{self, Tokens};

/// Remarks that are shown below a text; the others are counted.
const MOST: usize = 5;

/// The remarks on a text, found anew only when it or what is said of it changes.
#[derive(Default)]
pub(super) struct Current {
    of: Option<(String, Arc<Reading>)>,
    /// Words that the tokenizer's answer, which comes later, shows to be cut.
    split: Vec<Diagnostic>,
    remarks: Arc<[Diagnostic]>,
}

impl Current {
    pub(super) fn of(&mut self, cx: &Cx<'_>, field: Field, text: &str) -> Arc<[Diagnostic]> {
        let split = split_words(cx, field, text);
        if let Some(reading) = cx.workbench.reader().reading()
            && !(self.of.as_ref().is_some_and(|(known, of)| known == text && Arc::ptr_eq(of, reading))
                && self.split == split)
        {
            self.remarks = current(cx, field, text).into_iter().chain(split.iter().cloned()).collect();
            self.split = split;
            self.of = Some((text.to_owned(), reading.clone()));
        }
        self.remarks.clone()
    }
}

/// Remarks on the words of a text, unless it has changed since its tokens were counted, that lie across the border of two chunks.
fn split_words(cx: &Cx<'_>, field: Field, text: &str) -> Vec<Diagnostic> {
    let Some(read) = cx.workbench.tokens().filter(|read| read.texts[field.index] == text) else { return Vec::new() };
    let mut found = Vec::new();
    for encoder in read.tokens[field.index].parts.iter().filter_map(|encoders| encoders.first()) {
        let ends = |chunk: &Vec<TokenText>| Some([chunk.first()?.span.clone(), chunk.last()?.span.clone()]);
        let chunks: Vec<_> = encoder.chunks.iter().map_while(ends).collect();
        found.extend(lint::split_words(text, &chunks, encoder.limit));
    }
    found
}

/// The remarks on a field's text as it is now: those on an older text are moved along, and left out where it changed.
fn current(cx: &Cx<'_>, field: Field, text: &str) -> Vec<Diagnostic> {
    let Some(reading) = cx.workbench.reader().reading() else { return Vec::new() };
    let (old, remarks) = match field.text {
        TextField::Prompt => (&reading.question.prompt, &reading.remarks),
        _ => (&reading.question.negative, &reading.negative_remarks),
    };
    if old == text {
        return remarks.clone();
    }
    let moved = Moved::new(old, text);
    let mut found = Vec::new();
    for remark in remarks {
        if let Some(span) = moved.range(&remark.span) {
            // A fix is for the text that it was made for.
            found.push(Diagnostic { span, fix: None, ..remark.clone() });
        }
    }
    found
}

/// Where things are after an edit.
pub(super) struct Moved {
    prefix: usize,
    suffix: usize,
    old: usize,
    new: usize,
}

impl Moved {
    pub(super) fn new(old: &str, new: &str) -> Self {
        let (prefix, suffix) = common(old, new);
        Self { prefix, suffix, old: old.len(), new: new.len() }
    }

    /// The place of what the edit left alone.
    pub(super) fn range(&self, range: &Range<usize>) -> Option<Range<usize>> {
        if range.end <= self.prefix {
            return Some(range.clone());
        }
        let is_behind = range.start + self.suffix >= self.old;
        is_behind.then(|| range.start + self.new - self.old..range.end + self.new - self.old)
    }
}

pub(super) fn colour(severity: Severity, tokens: &Tokens) -> egui::Color32 {
    match severity {
        Severity::Hint => tokens.variable,
        Severity::Warning => tokens.warning,
        Severity::Error => tokens.error,
    }
}

/// The text with the fix of the remark at the caret.
pub(super) fn fix_at(cx: &Cx<'_>, field: Field, text: &str, caret: usize) -> Option<Change> {
    let mut remarks = current(cx, field, text);
    remarks.extend(split_words(cx, field, text));
    let at_caret =
        |remark: &&Diagnostic| remark.span.start <= caret && caret <= remark.span.end && remark.fix.is_some();
    let fix =
        remarks.iter().find(at_caret).or_else(|| remarks.iter().find(|remark| remark.fix.is_some()))?.fix.as_ref()?;
    fixed(text, fix)
}

fn fixed(text: &str, fix: &Fix) -> Option<Change> {
    let (before, after) = (text.get(..fix.span.start)?, text.get(fix.span.end..)?);
    let caret = before.len() + fix.replacement.len();
    Some(Change { text: format!("{before}{}{after}", fix.replacement), selection: caret..caret })
}

/// Shows the remarks; a click on one selects what it is about.
pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>, field: Field, text: &str, remarks: &[Diagnostic]) {
    let tokens = theme::tokens(ui);
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        for remark in remarks.iter().take(MOST) {
            ui.horizontal_top(|ui| {
                ui.label(RichText::new("●").small().color(colour(remark.severity, tokens)));
                ui.vertical(|ui| row(ui, cx, field, text, remark));
            });
        }
        if remarks.len() > MOST {
            let more = format!("and {} more, underlined in the text", remarks.len() - MOST);
            ui.label(RichText::new(more).small().color(tokens.faint));
        }
    });
}

fn row(ui: &mut Ui, cx: &mut Cx<'_>, field: Field, text: &str, remark: &Diagnostic) {
    let tokens = theme::tokens(ui);
    let message = egui::Button::new(RichText::new(&remark.message).small().color(tokens.text)).frame(false).wrap();
    if ui.add(message).on_hover_text("Selects the words that this is about.").clicked() {
        editor::select(ui, field.id(), text, remark.span.clone());
        ui.memory_mut(|memory| memory.request_focus(field.id()));
    }
    if let Some(fix) = &remark.fix
        && ui.add(egui::Button::new(RichText::new(&fix.label).small()).fill(tokens.raised).small()).clicked()
        && let Some(change) = fixed(text, fix)
    {
        editor::select(ui, field.id(), &change.text, change.selection);
        editor::set_apart(cx, field, change.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_move_with_the_text_that_they_are_about() {
        let moved = Moved::new("a fox, foggy", "a big fox, foggy");
        assert_eq!(moved.range(&(7..12)), Some(11..16));
        assert_eq!(moved.range(&(0..1)), Some(0..1));
        assert_eq!(Moved::new("a fox", "a cat").range(&(2..5)), None);
    }
}
