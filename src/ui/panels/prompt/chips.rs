//! The phrases of a text as chips: a click switches one on or off, dragging moves it, the right button gives it a weight. The
//! text stays the truth; every change is one step of it.

use egui::{Key, Modifiers, Rect, RichText, Sense, Stroke, Ui, pos2};

use super::{Field, editor};
use crate::prompt::chips::{Chip, Chips};
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};

/// More chips than this are not shown.
const MOST: usize = 200;
/// Letters of a phrase that its chip shows.
const LONGEST: usize = 40;
/// What the slider reaches.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.0..=2.0;

/// The chips as they were read last, and what is being done with them.
#[derive(Default)]
pub(super) struct ChipsView {
    text: String,
    chips: Chips,
    /// The weight of the slider that is being dragged.
    weight: Option<(usize, f64)>,
}

/// A change of the text.
enum Change {
    Toggle(usize),
    Move(usize, usize),
    Weigh(usize, f64),
    Remove(usize),
}

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>, field: Field) {
    let mut view = std::mem::take(&mut cx.view.prompt.chips[field.index]);
    let text = cx.workbench.document().text(field.text);
    if view.text != *text {
        view.chips = Chips::read(text);
        view.text = text.to_owned();
    }
    let mut change = None;
    let mut rects = Vec::new();
    let mut dragged = None;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(4.0, 4.0);
        for (index, chip) in view.chips.list().iter().enumerate().take(MOST) {
            let response = button(ui, chip);
            rects.push(response.rect);
            if response.clicked() {
                change = Some(Change::Toggle(index));
            }
            if response.dragged() || response.drag_stopped() {
                dragged = Some((index, response.drag_stopped()));
            }
            change = change.take().or_else(|| keys(ui, &response, index, chip, view.chips.list().len()));
            let weight = &mut view.weight;
            response.context_menu(|ui| {
                if let Some(chosen) = menu(ui, index, chip, weight) {
                    change = Some(chosen);
                }
            });
        }
        if view.chips.list().len() > MOST {
            let more = format!("and {} more phrases", view.chips.list().len() - MOST);
            ui.label(RichText::new(more).small().color(theme::tokens(ui).faint));
        }
    });
    if let Some((from, is_dropped)) = dragged
        && let Some(pointer) = ui.ctx().pointer_interact_pos()
    {
        let to = place_of(&rects, pointer);
        mark(ui, &rects, to);
        ui.ctx().set_cursor_icon(egui::CursorIcon::Grabbing);
        // The place is counted with the chip still where it was.
        let to = if to > from { to - 1 } else { to };
        if is_dropped && to != from {
            change = Some(Change::Move(from, to));
        }
    }
    if let Some(change) = change {
        let chips = view.chips.clone();
        let changed = match change {
            Change::Toggle(index) => chips.toggled(index),
            Change::Move(from, to) => chips.moved(from, to),
            Change::Weigh(index, weight) => chips.weighted(index, weight),
            Change::Remove(index) => chips.removed(index),
        };
        if let Some(text) = changed {
            editor::set_apart(cx, field, text);
        }
    }
    cx.view.prompt.chips[field.index] = view;
}

fn button(ui: &mut Ui, chip: &Chip) -> egui::Response {
    let tokens = theme::tokens(ui);
    let (words, weight) = chip.parts();
    let mut shown = short(words);
    if weight != 1.0 {
        shown = format!("{shown}  {weight:.2}");
    }
    let text = RichText::new(shown).small().color(if chip.is_on { tokens.text } else { tokens.faint });
    let text = if chip.is_on { text } else { text.strikethrough() };
    let fill = match (chip.is_on, weight) {
        (false, _) => tokens.window,
        (true, weight) if weight > 1.0 => {
            tokens.raised.lerp_to_gamma(tokens.more, ((weight - 1.0) * 0.5).min(0.6) as f32)
        }
        (true, weight) if weight < 1.0 => {
            tokens.raised.lerp_to_gamma(tokens.less, ((1.0 - weight) * 0.7).min(0.6) as f32)
        }
        (true, _) => tokens.raised,
    };
    let response = ui.add(egui::Button::new(text).fill(fill).small().sense(Sense::click_and_drag()));
    let label = format!("Phrase {words}");
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, chip.is_on, &label));
    response.on_hover_text(
        "Click: on or off. Drag: another place. Right button: weight.\nCtrl+Up, Ctrl+Down: weight. Alt+Left, Alt+Right: place.",
    )
}

/// What the keys do to the chip that has the keyboard.
fn keys(ui: &Ui, chip: &egui::Response, index: usize, of: &Chip, count: usize) -> Option<Change> {
    if !chip.has_focus() {
        return None;
    }
    let pressed = |modifiers, key| ui.input_mut(|input| input.consume_key(modifiers, key));
    let weight = of.parts().1;
    if pressed(Modifiers::COMMAND, Key::ArrowUp) {
        return Some(Change::Weigh(index, weight + 0.1));
    }
    if pressed(Modifiers::COMMAND, Key::ArrowDown) {
        return Some(Change::Weigh(index, weight - 0.1));
    }
    if pressed(Modifiers::ALT, Key::ArrowLeft) && index > 0 {
        return Some(Change::Move(index, index - 1));
    }
    if pressed(Modifiers::ALT, Key::ArrowRight) && index + 1 < count {
        return Some(Change::Move(index, index + 1));
    }
    pressed(Modifiers::NONE, Key::Delete).then_some(Change::Remove(index))
}

fn menu(ui: &mut Ui, index: usize, chip: &Chip, dragged: &mut Option<(usize, f64)>) -> Option<Change> {
    let mut change = None;
    let (words, weight) = chip.parts();
    let mut value = dragged.filter(|(at, _)| *at == index).map_or(weight, |(_, value)| value);
    let label = ui.label(RichText::new(format!("Weight of {}", short(words))).small());
    let slider = ui.add_enabled(chip.is_on, egui::Slider::new(&mut value, WEIGHTS).step_by(0.05)).labelled_by(label.id);
    if slider.dragged() {
        *dragged = Some((index, value));
    } else if slider.drag_stopped() || slider.changed() {
        *dragged = None;
        change = Some(Change::Weigh(index, value));
    }
    if ui.button(if chip.is_on { "Switch off" } else { "Switch on" }).clicked() {
        change = Some(Change::Toggle(index));
        ui.close();
    }
    if ui.button("Remove").clicked() {
        change = Some(Change::Remove(index));
        ui.close();
    }
    change
}

fn short(words: &str) -> String {
    let words = words.replace('\n', " ");
    match words.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", words.get(..at).unwrap_or_default()),
        None => words,
    }
}

/// The chip before which something dropped at `pointer` goes; their number for the end.
fn place_of(rects: &[Rect], pointer: egui::Pos2) -> usize {
    let is_before = |rect: &Rect| pointer.y < rect.top() || (pointer.y <= rect.bottom() && pointer.x < rect.center().x);
    rects.iter().position(is_before).unwrap_or(rects.len())
}

fn mark(ui: &Ui, rects: &[Rect], to: usize) {
    let x = match (rects.get(to), rects.last()) {
        (Some(rect), _) => Some((rect.left() - 2.0, rect)),
        (None, Some(rect)) => Some((rect.right() + 2.0, rect)),
        (None, None) => None,
    };
    if let Some((x, rect)) = x {
        ui.painter().line_segment([pos2(x, rect.top()), pos2(x, rect.bottom())], Stroke::new(2.0, ACCENT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_goes_before_the_chip_whose_left_half_it_hits() {
        let rect = |x: f32, y: f32| Rect::from_min_size(pos2(x, y), egui::vec2(40.0, 20.0));
        let rects = [rect(0.0, 0.0), rect(50.0, 0.0), rect(0.0, 25.0)];
        for (x, y, wanted) in
            [(5.0, 5.0, 0), (30.0, 5.0, 1), (95.0, 5.0, 2), (5.0, 30.0, 2), (35.0, 30.0, 3), (5.0, 90.0, 3)]
        {
            assert_eq!(place_of(&rects, pos2(x, y)), wanted, "{x} {y}");
        }
    }
}
