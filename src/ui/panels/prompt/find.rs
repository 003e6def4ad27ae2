//! Finding words in the two texts: a field above them, and the places shown in the texts.

use std::ops::Range;

use egui::{Key, Modifiers, RichText, TextEdit, Ui};

use super::{FIELDS, Field, editor};
use crate::prompt::find;
use crate::ui::shell::Cx;
use crate::ui::theme;

/// What is looked for.
#[derive(Default)]
pub(super) struct Find {
    text: String,
    /// The place that Enter goes on from, counted through both texts.
    current: usize,
    pub(super) wants_focus: bool,
    /// The texts and the words that were looked through, and the places in each.
    seen: Option<([String; 2], String)>,
    found: [Vec<Range<usize>>; 2],
}

impl Find {
    fn follow(&mut self, texts: [&str; 2]) {
        let is_same = self.seen.as_ref().is_some_and(|(known, wanted)| {
            *wanted == self.text && known.iter().zip(texts).all(|(known, text)| known == text)
        });
        if !is_same {
            self.found = texts.map(|text| find::all(text, &self.text));
            self.seen = Some((texts.map(ToOwned::to_owned), self.text.clone()));
            self.current = self.current.min(self.count().saturating_sub(1));
        }
    }

    fn count(&self) -> usize {
        self.found.iter().map(Vec::len).sum()
    }

    /// The text and the range of the current place.
    fn place(&self) -> Option<(usize, Range<usize>)> {
        let all =
            self.found.iter().enumerate().flat_map(|(field, ranges)| ranges.iter().map(move |range| (field, range)));
        all.into_iter().nth(self.current).map(|(field, range)| (field, range.clone()))
    }
}

/// The places in a field's text, and whether each is the current one.
pub(super) fn places(cx: &Cx<'_>, field: Field, text: &str) -> Vec<(Range<usize>, bool)> {
    let Some(find) = &cx.view.prompt.find else { return Vec::new() };
    // Places in another text than the one that is shown would be in the wrong words.
    let is_shown = find.seen.as_ref().is_some_and(|(texts, _)| texts[field.index] == text);
    let current = find.place();
    let is_current =
        |range: &Range<usize>| current.as_ref().is_some_and(|(at, place)| *at == field.index && place == range);
    let found = find.found[field.index].iter().filter(|_| is_shown);
    found.map(|range| (range.clone(), is_current(range))).collect()
}

fn button(ui: &mut Ui, sign: &str, label: &str, is_enabled: bool) -> bool {
    let response = ui.add_enabled(is_enabled, egui::Button::new(RichText::new(sign).small()));
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, is_enabled, label));
    response.on_hover_text(label).clicked()
}

/// Shows the field while something is looked for.
pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let Some(mut find) = cx.view.prompt.find.take() else { return };
    let document = cx.workbench.document();
    find.follow([&document.prompt, &document.negative]);
    let id = egui::Id::unique("find in prompt");
    let has_focus = ui.memory(|memory| memory.has_focus(id));
    let pressed = |modifiers, key| has_focus && ui.input_mut(|input| input.consume_key(modifiers, key));
    let mut back = pressed(Modifiers::SHIFT, Key::Enter);
    let mut on = pressed(Modifiers::NONE, Key::Enter);
    let mut is_closed = false;
    ui.horizontal_wrapped(|ui| {
        let label = ui.label(RichText::new("Find").small().color(theme::tokens(ui).faint));
        let edit = TextEdit::singleline(&mut find.text).id(id).hint_text("Words in the prompts").desired_width(120.0);
        let response = ui.add(edit).labelled_by(label.id);
        response.widget_info(|| {
            let mut info = egui::WidgetInfo::labeled(egui::Role::TextInput, true, "Find in prompt");
            info.current_text_value = Some(find.text.clone());
            info
        });
        // Escape takes the keyboard away before anybody sees it.
        is_closed |= response.lost_focus() && ui.input(|input| input.key_pressed(Key::Escape));
        if std::mem::take(&mut find.wants_focus) {
            response.request_focus();
        }
        let count = find.count();
        let shown = if count == 0 { "none".to_owned() } else { format!("{} of {count}", find.current + 1) };
        if !find.text.is_empty() {
            ui.label(RichText::new(shown).small().color(theme::tokens(ui).faint));
        }
        back |= button(ui, "⏴", "Previous place", count > 0);
        on |= button(ui, "⏵", "Next place", count > 0);
        is_closed |= button(ui, "×", "Close the search", true);
    });
    let count = find.count();
    if count > 0 && (on || back) {
        find.current = if on { (find.current + 1) % count } else { (find.current + count - 1) % count };
    }
    if is_closed {
        // What was found is selected, so that it can be changed.
        let place = find.place().and_then(|(index, range)| Some((FIELDS.get(index)?, range)));
        let (field, range) = place.map_or((FIELDS[0], None), |(field, range)| (*field, Some(range)));
        if let Some(range) = range {
            editor::select(ui, field.id(), cx.workbench.document().text(field.text), range);
        }
        ui.memory_mut(|memory| memory.request_focus(field.id()));
        return;
    }
    find.follow([&document.prompt, &document.negative]);
    cx.view.prompt.find = Some(find);
}
