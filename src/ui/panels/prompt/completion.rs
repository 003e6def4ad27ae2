//! The list below the caret of what could be meant. It opens while words are typed; arrow keys choose, Tab and Enter take,
//! Escape closes.

use egui::{EventFilter, Key, Modifiers, Rect, RichText, Ui};

use super::keys::Change;
use super::{Field, editor};
use crate::prompt::complete::{self, Candidate, Kind, Sources, Typed};
use crate::ui::shell::Cx;
use crate::ui::theme;

/// Entries of the list.
const MOST: usize = 8;

/// The list.
pub(super) struct Completion {
    field: usize,
    typed: Typed,
    list: Vec<Candidate>,
    chosen: usize,
    /// Where it was shown.
    rect: Option<Rect>,
}

impl Completion {
    pub(super) fn is_for(&self, field: Field) -> bool {
        self.field == field.index
    }

    /// The text with the chosen one in place of what was typed.
    fn accepted(&self, text: &str) -> Option<Change> {
        let candidate = self.list.get(self.chosen)?;
        let span = self.typed.span.clone();
        let (before, after) = (text.get(..span.start)?, text.get(span.end..)?);
        let caret = before.len() + candidate.insert.len();
        Some(Change { text: format!("{before}{}{after}", candidate.insert), selection: caret..caret })
    }
}

/// Takes the keys that are the list's while it is open.
pub(super) fn take_keys(ui: &Ui, cx: &mut Cx<'_>, field: Field, text: &str) -> Option<Change> {
    let open = cx.view.prompt.completion.as_mut().filter(|open| open.is_for(field))?;
    let presses = |key| ui.input_mut(|input| input.count_and_consume_key(Modifiers::NONE, key));
    let count = open.list.len();
    open.chosen = (open.chosen + presses(Key::ArrowDown) + count - presses(Key::ArrowUp) % count) % count;
    let takes = presses(Key::Tab) + presses(Key::Enter) > 0;
    let closes = presses(Key::Escape) > 0;
    if !takes && !closes {
        return None;
    }
    let change = open.accepted(text).filter(|_| takes);
    cx.view.prompt.completion = None;
    change
}

/// What the text field's keeping of the keyboard was before.
pub(super) struct FocusRule(Option<egui::SurrenderFocusOn>);

impl FocusRule {
    pub(super) fn restore(self, ui: &Ui) {
        if let Some(rule) = self.0 {
            ui.ctx().options_mut(|options| options.input_options.surrender_focus_on = rule);
        }
    }
}

/// A click on the list must not take the keyboard from the text.
pub(super) fn keep_focus(ui: &Ui, cx: &Cx<'_>, is_open: bool) -> FocusRule {
    let rect = cx.view.prompt.completion.as_ref().filter(|_| is_open).and_then(|open| open.rect);
    let is_over = rect.zip(ui.ctx().pointer_interact_pos()).is_some_and(|(rect, at)| rect.contains(at));
    let before = is_over.then(|| ui.ctx().options(|options| options.input_options.surrender_focus_on));
    if is_over {
        ui.ctx().options_mut(|options| options.input_options.surrender_focus_on = egui::SurrenderFocusOn::Never);
    }
    FocusRule(before)
}

/// Opens, moves and closes the list after the field was shown; `caret` is the character and its place on the screen.
pub(super) fn follow(
    ui: &mut Ui,
    cx: &mut Cx<'_>,
    field: Field,
    text: &str,
    response: &egui::Response,
    caret: Option<(usize, Rect)>,
) {
    let is_here = cx.view.prompt.completion.as_ref().is_some_and(|open| open.is_for(field));
    let Some((caret, place)) = caret.filter(|_| response.has_focus()) else {
        if is_here {
            cx.view.prompt.completion = None;
        }
        return;
    };
    let byte = editor::byte_of(text, caret);
    if response.changed() {
        cx.view.prompt.completion = open_at(cx, field, text, byte);
    } else if is_here && cx.view.prompt.completion.as_ref().is_some_and(|open| open.typed.span.end != byte) {
        cx.view.prompt.completion = None;
    }
    let Some(mut open) = cx.view.prompt.completion.take_if(|open| open.is_for(field)) else { return };
    // While the list is open, Tab and Escape are its own.
    let filter = EventFilter { tab: true, escape: true, horizontal_arrows: true, vertical_arrows: true };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let clicked = list(ui, &mut open, place);
    if let Some(index) = clicked {
        open.chosen = index;
        if let Some(change) = open.accepted(text) {
            editor::select(ui, field.id(), &change.text, change.selection);
            editor::set_apart(cx, field, change.text);
        }
        return;
    }
    cx.view.prompt.completion = Some(open);
}

fn open_at(cx: &Cx<'_>, field: Field, text: &str, byte: usize) -> Option<Completion> {
    let typed = complete::typed_at(text, byte)?;
    let known = cx.workbench.reader().known();
    let library = cx.workbench.library();
    let modifiers: Vec<(String, String)> = match typed.kind {
        Kind::Word => {
            let all = library.modifiers.iter();
            all.flat_map(|category| category.modifiers.iter().map(|known| (known.text.clone(), category.name.clone())))
                .collect()
        }
        _ => Vec::new(),
    };
    let sources = Sources {
        modifiers: &modifiers,
        wildcards: &known.wildcards,
        loras: &known.loras,
        embeddings: &known.embeddings,
        tags: &known.tags,
    };
    let list = complete::candidates(&typed, &sources, MOST);
    (!list.is_empty()).then_some(Completion { field: field.index, typed, list, chosen: 0, rect: None })
}

/// Shows the list below the caret; gives the entry that was clicked.
fn list(ui: &Ui, open: &mut Completion, caret: Rect) -> Option<usize> {
    let tokens = theme::tokens(ui);
    let area = egui::Area::new(egui::Id::unique("completion"))
        .order(egui::Order::Foreground)
        .fixed_pos(caret.left_bottom() + egui::vec2(-8.0, 4.0))
        .constrain(true);
    let shown = area.show(ui.ctx(), |ui| {
        egui::Frame::popup(ui.style()).inner_margin(4).show(ui, |ui| {
            ui.set_width(300.0_f32.min(ui.ctx().content_rect().width() - 32.0));
            ui.spacing_mut().item_spacing.y = 0.0;
            let mut clicked = None;
            for (index, candidate) in open.list.iter().enumerate() {
                let detail = RichText::new(&candidate.detail).small().color(tokens.faint);
                let button = egui::Button::selectable(index == open.chosen, candidate.label.as_str())
                    .right_text(detail)
                    .truncate()
                    .min_size(egui::vec2(ui.available_width(), 24.0));
                let response = ui.add(button);
                response.widget_info(|| {
                    let label = format!("Complete {}", candidate.label);
                    egui::WidgetInfo::selected(egui::Role::Button, true, index == open.chosen, label)
                });
                if response.clicked() {
                    clicked = Some(index);
                }
            }
            clicked
        })
    });
    open.rect = Some(shown.response.rect);
    shown.inner.inner
}
