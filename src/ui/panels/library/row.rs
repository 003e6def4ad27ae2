//! One thing of the library in a row: its thumbnail, its name, a line about it, what was measured, a star.

use egui::{Color32, FontSelection, Rect, Sense, Stroke, StrokeKind, Ui, WidgetInfo, WidgetText, pos2, vec2};

use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT, GRID};
use crate::ui::tiles::Slot;
use crate::workbench::Command;
use crate::workbench::library::{Item, KnownEffect, LibraryCommand};

const HEIGHT: f32 = 44.0;
const STAR: f32 = 28.0;
/// Of the bars of a measured effect.
const BARS: f32 = 64.0;
/// Below this width the bars stand nowhere: the tooltip says the same.
const NARROW: f32 = 260.0;

/// What a row shows.
pub(super) struct Row<'a> {
    pub(super) item: Option<Item>,
    pub(super) name: &'a str,
    pub(super) about: &'a str,
    /// More about it, for the tooltip.
    pub(super) more: String,
    pub(super) is_on: bool,
    pub(super) effect: Option<&'a KnownEffect>,
}

impl Row<'_> {
    /// Shows it; whether it was clicked.
    pub(super) fn show(self, ui: &mut Ui, cx: &mut Cx<'_>) -> bool {
        let key = self.item.as_ref().map(Item::key).unwrap_or_default();
        self.show_with_key(ui, cx, &key)
    }

    /// The same for what is marked by a key of its own.
    pub(super) fn show_with_key(self, ui: &mut Ui, cx: &mut Cx<'_>, key: &str) -> bool {
        let width = ui.available_width();
        ui.spacing_mut().item_spacing.y = 4.0;
        let (_, rect) = ui.allocate_space(vec2(width, HEIGHT));
        // Its own name, so that the keyboard stays on it when a click changes what is above.
        let response = ui.interact(rect, egui::Id::unique(("library row", key, self.about)), Sense::click());
        if std::mem::take(&mut cx.view.library.wants_first) {
            response.request_focus();
        }
        response.widget_info(|| WidgetInfo::selected(egui::Role::Button, true, self.is_on, self.name));
        if response.gained_focus() {
            response.scroll_to_me(None);
        }
        let star = Rect::from_min_max(pos2(rect.right() - STAR, rect.top()), rect.max);
        let star_clicked = self.star(ui, cx, star, (response.id, key));
        if ui.is_rect_visible(rect) {
            self.paint(ui, cx, rect, &response);
        }
        let clicked = response.clicked();
        if response.hovered() {
            response.on_hover_text(self.help(cx));
        }
        clicked && !star_clicked
    }

    /// All that is known about it.
    fn help(&self, cx: &Cx<'_>) -> String {
        let mut help = vec![self.about.to_owned(), self.more.clone()];
        help.extend(self.effect.map(known_text));
        if let Some(thumbnail) = self.item.as_ref().and_then(|item| cx.workbench.shelf().thumbnails().get(item)) {
            let old = if thumbnail.is_current { "" } else { ", which is not the prompt now" };
            help.push(format!("Thumbnail of: {}{old}", thumbnail.prompt));
        }
        if help.iter().all(String::is_empty) {
            return self.name.to_owned();
        }
        let lines = help.iter().flat_map(|text| text.lines()).filter(|line| !line.is_empty());
        let mut said = Vec::new();
        lines.for_each(|line| {
            if !said.contains(&line) {
                said.push(line);
            }
        });
        said.join("\n")
    }

    fn star(&self, ui: &mut Ui, cx: &Cx<'_>, rect: Rect, (id, key): (egui::Id, &str)) -> bool {
        let is_liked = cx.workbench.preferences().favourites.contains(key);
        let response = ui.interact(rect, id.with("star"), Sense::click());
        let label = format!("Favourite {}", self.name);
        response.widget_info(|| WidgetInfo::selected(egui::Role::Button, true, is_liked, &label));
        if ui.is_rect_visible(rect) {
            if response.hovered() || response.has_focus() {
                let line = Stroke::new(1.0, if response.has_focus() { ACCENT } else { theme::tokens(ui).line });
                ui.painter().rect_stroke(rect.shrink2(vec2(2.0, 8.0)), 6.0, line, StrokeKind::Inside);
            }
            let tokens = theme::tokens(ui);
            let tint = match (is_liked, self.is_on) {
                (true, _) => tokens.warning,
                (false, true) => tokens.text.gamma_multiply(0.6),
                (false, false) => tokens.faint.gamma_multiply(0.45),
            };
            cx.icons.paint(ui, "star", rect, tint);
        }
        let clicked = response.clicked();
        response.on_hover_text(if is_liked { "No favourite any more" } else { "Favourite" });
        if clicked {
            cx.outbox.send(Command::Library(LibraryCommand::ToggleFavourite(key.to_owned())));
        }
        clicked
    }

    fn paint(&self, ui: &Ui, cx: &mut Cx<'_>, rect: Rect, response: &egui::Response) {
        let tokens = theme::tokens(ui);
        let fill = match (self.is_on, response.hovered()) {
            (true, _) => tokens.accent_soft,
            (false, true) => tokens.hovered,
            (false, false) => tokens.raised.gamma_multiply(0.5),
        };
        ui.painter().rect_filled(rect, 6.0, fill);
        if response.has_focus() {
            ui.painter().rect_stroke(rect, 6.0, Stroke::new(1.5, ACCENT), StrokeKind::Inside);
        }
        let mut left = rect.left() + GRID;
        let thumbnail = self.item.as_ref().and_then(|item| cx.workbench.shelf().thumbnails().get(item));
        if let Some(thumbnail) = thumbnail {
            let side = HEIGHT - 6.0;
            let place = Rect::from_min_size(rect.min + vec2(3.0, 3.0), vec2(side, side));
            let size = vec2(thumbnail.picture.extent().width as f32, thumbnail.picture.extent().height as f32);
            let size = size * (side / size.max_elem().max(1.0));
            let inside = Rect::from_center_size(place.center(), size);
            cx.textures.pictures.paint(Slot::Thumbnail, ui.painter(), &thumbnail.picture, inside, false);
            if !thumbnail.is_current {
                ui.painter().rect_filled(inside, 6.0, tokens.panel.gamma_multiply(0.55));
            }
            left = place.right() + GRID;
        }
        let bars = self.effect.filter(|_| rect.width() > NARROW);
        let right = rect.right() - STAR - if bars.is_some() { BARS + GRID } else { 0.0 };
        let line = |text: &str, style: egui::TextStyle, colour: Color32| {
            let text = egui::RichText::new(text.replace('\n', " ")).text_style(style).color(colour);
            WidgetText::from(text).into_galley(
                ui,
                Some(egui::TextWrapMode::Truncate),
                (right - left).max(20.0),
                FontSelection::Default,
            )
        };
        let name = line(self.name, egui::TextStyle::Body, tokens.text);
        if self.about.is_empty() {
            let top = rect.center().y - name.size().y * 0.5;
            ui.painter().galley(pos2(left, top), name, tokens.text);
        } else {
            let about = line(self.about, egui::TextStyle::Small, tokens.faint);
            let height = name.size().y + about.size().y;
            let top = rect.center().y - height * 0.5;
            let below = top + name.size().y;
            ui.painter().galley(pos2(left, top), name, tokens.text);
            ui.painter().galley(pos2(left, below), about, tokens.faint);
        }
        if let Some(known) = bars {
            let place = Rect::from_min_max(
                pos2(right + GRID, rect.top() + 8.0),
                pos2(right + GRID + BARS, rect.bottom() - 8.0),
            );
            effect_bars(ui, place, known);
        }
    }
}

fn known_text(known: &KnownEffect) -> String {
    let old = if known.is_current { "" } else { " Measured with another prompt or other settings." };
    let summary = known.report.summary();
    let mut chars = summary.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("Measured: {first}{}.{old}", chars.as_str())
}

/// Above: how much the picture changes, where the whole width is what another seed changes. Below: how the fit to the prompt changes, to
/// the right for better. Each with the 95 % interval of its mean.
fn effect_bars(ui: &Ui, place: Rect, known: &KnownEffect) {
    let tokens = theme::tokens(ui);
    let colour = if known.is_current { ACCENT } else { tokens.faint };
    let painter = ui.painter();
    let report = &known.report;
    let whole = report.chance.map_or(1.0, |chance| chance.mean).max(1e-6);
    let part = |value: f64| (value / whole).clamp(0.0, 1.0) as f32 * place.width();
    let (top, bottom) = place.split_top_bottom_at_fraction(0.5);
    let bar = |rect: Rect, from: f32, to: f32, low: f32, high: f32, colour: Color32| {
        let middle = rect.center().y;
        painter.rect_filled(Rect::from_x_y_ranges(rect.x_range(), middle - 3.0..=middle + 3.0), 3.0, tokens.field);
        let (from, to) = (from.min(to), from.max(to));
        painter.rect_filled(Rect::from_x_y_ranges(from..=to.max(from + 1.0), middle - 3.0..=middle + 3.0), 3.0, colour);
        let line = Stroke::new(1.0, tokens.text);
        painter.hline(low..=high, middle, line);
        for end in [low, high] {
            painter.vline(end, middle - 3.0..=middle + 3.0, line);
        }
    };
    let left = place.left();
    let change = report.change;
    bar(top, left, left + part(change.mean), left + part(change.low), left + part(change.high), colour);
    // A tenth of the similarity is a lot; the bar ends there.
    let middle = place.center().x;
    let at = |value: f64| middle + (value / 0.1).clamp(-1.0, 1.0) as f32 * place.width() * 0.5;
    let fit = report.fit;
    let fit_colour = if fit.is_clear() { colour } else { tokens.faint };
    bar(bottom, middle, at(fit.mean), at(fit.low), at(fit.high), fit_colour);
    painter.vline(middle, bottom.y_range(), Stroke::new(1.0, tokens.line));
}
