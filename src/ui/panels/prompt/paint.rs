//! What is painted below and above the words of a prompt: the ground of weighted words, places that were found, underlines of
//! remarks, borders of chunks; and what the pointer is told about them.

use std::ops::Range;

use egui::{Color32, Galley, Pos2, Rect, RichText, Shape, Stroke, Ui, pos2};

use super::editor::{Editor, byte_of};
use super::{Field, find, remarks};
use crate::prompt::diagnostic::Diagnostic;
use crate::prompt::highlight::Role;
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};

/// Height of the waves under a remark, and half their length, in points.
const WAVE: (f32, f32) = (1.5, 2.5);
/// A border is told about from this far away, in points.
const NEAR: f32 = 4.0;

/// A field as it was laid out in this frame.
pub(super) struct Shown<'a> {
    pub(super) editor: &'a Editor,
    pub(super) galley: &'a Galley,
    pub(super) at: Pos2,
    pub(super) response: &'a egui::Response,
    pub(super) remarks: &'a [Diagnostic],
}

impl Shown<'_> {
    /// Where a range of bytes is on the screen, as far as it can be seen.
    fn places(&self, ui: &Ui, range: Range<usize>) -> Vec<Rect> {
        let clip = ui.clip_rect();
        let seen = clip.top() - self.at.y..clip.bottom() - self.at.y;
        let places = self.editor.layout.places(range, self.galley, seen).into_iter();
        places.map(|rect| rect.translate(self.at.to_vec2())).collect()
    }

    /// The byte under the pointer.
    fn hovered(&self) -> Option<(Pos2, usize)> {
        let at = self.response.hover_pos()?;
        let cursor = self.galley.cursor_from_pos(at - self.at);
        Some((at, byte_of(&self.editor.text, cursor.index.0)))
    }
}

/// What is below the words.
pub(super) fn ground(ui: &Ui, cx: &Cx<'_>, field: Field, shown: &Shown<'_>) -> Vec<Shape> {
    let tokens = theme::tokens(ui);
    let radius = ui.visuals().widgets.inactive.corner_radius;
    let mut shapes = vec![Shape::rect_filled(shown.response.rect, radius, tokens.field)];
    let seen = seen(ui, shown);
    for piece in shown.editor.pieces.iter().filter(|piece| piece.role == Role::Text && piece.weight != 1.0) {
        if piece.span.end < seen.start || piece.span.start > seen.end {
            continue;
        }
        let colour = weight_ground(piece.weight, tokens.more, tokens.less);
        let places = shown.places(ui, piece.span.clone()).into_iter();
        shapes.extend(places.map(|place| Shape::rect_filled(place.shrink2(egui::vec2(0.0, 1.0)), 3.0, colour)));
    }
    for (range, is_current) in find::places(cx, field, &shown.editor.text) {
        let colour = if is_current { tokens.warning.gamma_multiply(0.6) } else { tokens.warning.gamma_multiply(0.25) };
        shapes.extend(shown.places(ui, range).into_iter().map(|place| Shape::rect_filled(place, 2.0, colour)));
    }
    shapes
}

/// The bytes that can be seen, roughly.
fn seen(ui: &Ui, shown: &Shown<'_>) -> Range<usize> {
    let clip = ui.clip_rect();
    let byte = |at: Pos2| byte_of(&shown.editor.text, shown.galley.cursor_from_pos(at - shown.at).index.0);
    byte(pos2(shown.at.x, clip.top()))..byte(pos2(clip.right(), clip.bottom()))
}

/// The further from 1, the stronger.
fn weight_ground(weight: f32, more: Color32, less: Color32) -> Color32 {
    let distance = if weight > 0.0 { weight.ln().abs() } else { 2.0 };
    let colour = if weight > 1.0 { more } else { less };
    colour.gamma_multiply((0.10 + 0.5 * distance).min(0.55))
}

/// What is above the words, and what the pointer is told.
pub(super) fn over(ui: &Ui, cx: &Cx<'_>, field: Field, shown: &Shown<'_>) {
    let tokens = theme::tokens(ui);
    let painter = ui.painter_at(shown.response.rect.intersect(ui.clip_rect()));
    for remark in shown.remarks {
        let stroke = Stroke::new(1.2, remarks::colour(remark.severity, tokens));
        for place in shown.places(ui, widened(remark, &shown.editor.text)) {
            painter.add(Shape::line(wave(place), stroke));
        }
    }
    let borders = borders(cx, field, &shown.editor.text);
    let mut near = None;
    for border in &borders {
        for place in shown.places(ui, border.at..border.at + 1).iter().take(1) {
            let x = place.left() - 1.0;
            let line = [pos2(x, place.top() + 1.0), pos2(x, place.bottom() - 1.0)];
            painter.line_segment(line, Stroke::new(1.5, ACCENT));
            painter.add(Shape::convex_polygon(
                vec![line[0], line[0] + egui::vec2(5.0, 0.0), line[0] + egui::vec2(0.0, 5.0)],
                ACCENT,
                Stroke::NONE,
            ));
            let at = shown.response.hover_pos().filter(|at| (at.x - x).abs() < NEAR && place.y_range().contains(at.y));
            near = near.or(at.map(|_| border));
        }
    }
    tell(shown, near);
}

fn tell(shown: &Shown<'_>, near: Option<&Border>) {
    let Some((_, byte)) = shown.hovered() else { return };
    let touched: Vec<&Diagnostic> =
        shown.remarks.iter().filter(|remark| remark.span.start <= byte && byte <= remark.span.end).collect();
    if let Some(border) = near {
        let when = border.step.map(|step| format!(" at step {step}")).unwrap_or_default();
        let text = format!(
            "Chunk {} begins here{when}: the model reads {} tokens at a time, and words in different chunks do not know of each other.",
            border.chunk, border.limit
        );
        shown.response.clone().on_hover_text_at_pointer(text);
    } else if !touched.is_empty() {
        shown.response.clone().on_hover_ui_at_pointer(|ui| {
            ui.set_max_width(360.0);
            for remark in touched {
                ui.colored_label(remarks::colour(remark.severity, theme::tokens(ui)), &remark.message);
                if let Some(fix) = &remark.fix {
                    ui.label(RichText::new(format!("Alt+Enter: {}", fix.label)).small());
                }
            }
        });
    }
}

/// At least one character.
fn widened(remark: &Diagnostic, text: &str) -> Range<usize> {
    let end = remark.span.end.min(text.len());
    match remark.span.start < end {
        true => remark.span.start..end,
        false => {
            let start = text.get(..end).and_then(|before| before.char_indices().next_back()).map_or(0, |(at, _)| at);
            start..end
        }
    }
}

fn wave(place: Rect) -> Vec<Pos2> {
    let (height, half) = WAVE;
    let count = ((place.width() / half) as usize).max(2);
    let point = |index: usize| {
        let x = place.left() + place.width() * index as f32 / count as f32;
        pos2(x, place.bottom() - 1.0 - if index.is_multiple_of(2) { 0.0 } else { height })
    };
    (0..=count).map(point).collect()
}

/// Where another chunk begins.
struct Border {
    at: usize,
    chunk: usize,
    limit: usize,
    /// At which step, if the prompt changes on the way.
    step: Option<u32>,
}

fn borders(cx: &Cx<'_>, field: Field, text: &str) -> Vec<Border> {
    let Some(read) = cx.workbench.tokens() else { return Vec::new() };
    let old = &read.texts[field.index];
    let moved = remarks::Moved::new(old, text);
    let changes = cx.workbench.reader().reading().is_some_and(|reading| reading.schedule.len() > 1);
    let step = changes.then_some(read.step);
    let mut found = Vec::new();
    for encoder in read.tokens[field.index].parts.iter().filter_map(|encoders| encoders.first()) {
        for (index, chunk) in encoder.chunks.iter().enumerate().skip(1) {
            // A chunk that begins in the words of a template begins at no typed word.
            let first = chunk.first().filter(|token| !token.span.is_empty());
            let first = first.and_then(|token| moved.range(&token.span));
            found.extend(first.map(|span| Border { at: span.start, chunk: index + 1, limit: encoder.limit, step }));
        }
    }
    found
}
