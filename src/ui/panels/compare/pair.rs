//! Two results side by side: wipe, difference, flicker, and what differs in words and settings.

use std::time::Duration;

use egui::text::LayoutJob;
use egui::{Color32, Rect, RichText, Sense, Stroke, TextFormat, Ui, vec2};

use super::{move_camera, paint_linked, send};
use crate::prompt::difference::Side as Piece;
use crate::ui::panels::{caption, empty};
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::compare::{CompareRequest, Pair, PairView, Pick, Side};

/// Between two pictures that take turns.
const TURN: Duration = Duration::from_millis(600);
/// Height that is left for the words below the pictures, in points.
const WORDS: f32 = 132.0;
const GAP: f32 = 8.0;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let pair = cx.workbench.compare().pair();
    let Some([a, b]) = pair.both() else {
        let missing = match (pair.pick(Side::A), pair.pick(Side::B)) {
            (Some(pick), None) => format!("A is {}. Now choose B.", pick.name),
            (None, Some(pick)) => format!("B is {}. Now choose A.", pick.name),
            _ => "Choose two results: a cell of a grid, or a picture of the preview with the right mouse button."
                .to_owned(),
        };
        return empty(ui, &missing);
    };
    ui.horizontal_wrapped(|ui| {
        for view in PairView::ALL {
            if ui.selectable_label(pair.view() == view, view.name()).clicked() {
                send(cx, CompareRequest::SetPairView(view));
            }
        }
        if pair.view() == PairView::Wipe {
            let slider = egui::Slider::new(&mut cx.view.compare.wipe, 0.0..=1.0).show_value(false);
            ui.add(slider).widget_info(|| egui::WidgetInfo::labeled(egui::Role::Slider, true, "Line of the wipe"));
        }
        if let Some((picture, mean)) = pair.apart() {
            let text = match picture {
                Some(_) => format!("mean difference {mean:.1} of 255"),
                None => "different sizes".to_owned(),
            };
            ui.label(RichText::new(text).small().color(theme::tokens(ui).faint));
        }
    });
    let height = (ui.available_height() - WORDS).max(120.0);
    let (room, _) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
    pictures(ui, cx, pair, [a, b], room);
    egui::ScrollArea::vertical()
        .id_salt("differences")
        .auto_shrink([false, false])
        .show(ui, |ui| words(ui, pair, [a, b]));
}

fn pictures(ui: &mut Ui, cx: &mut Cx<'_>, pair: &Pair, [a, b]: [&Pick; 2], room: Rect) {
    match pair.view() {
        PairView::Beside => {
            let half = vec2((room.width() - GAP) / 2.0, room.height());
            let left = Rect::from_min_size(room.min, half);
            let right = Rect::from_min_size(room.min + vec2(half.x + GAP, 0.0), half);
            one(ui, cx, "A", a, left, left);
            one(ui, cx, "B", b, right, right);
        }
        PairView::Wipe => wipe(ui, cx, [a, b], room),
        PairView::Flicker => {
            let turn = (ui.input(|i| i.time) / TURN.as_secs_f64()) as u64;
            ui.ctx().request_repaint_after(TURN);
            let (name, pick) = if turn.is_multiple_of(2) { ("A", a) } else { ("B", b) };
            one(ui, cx, name, pick, room, room);
        }
        PairView::Difference => match pair.apart() {
            Some((Some(picture), _)) => {
                let response = ui.interact(room, ui.scope_id().with("difference"), Sense::click_and_drag());
                response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, "Difference of A and B"));
                move_camera(ui, cx, &response, picture.extent());
                paint_linked(ui, cx, picture, room, room);
            }
            Some((None, _)) => {
                note(ui, room, "Pictures of different sizes have no difference. Look at them side by side.")
            }
            None => note(ui, room, "Looking for the difference…"),
        },
    }
}

fn one(ui: &mut Ui, cx: &mut Cx<'_>, name: &str, pick: &Pick, frame: Rect, clip: Rect) {
    let response = ui.interact(clip, ui.scope_id().with(("side", name)), Sense::click_and_drag());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, format!("{name}: {}", pick.name)));
    move_camera(ui, cx, &response, pick.picture.extent());
    paint_linked(ui, cx, &pick.picture, frame, clip);
    let colour = if name == "A" { removed(ui) } else { added(ui) };
    let at = clip.left_top() + vec2(6.0, 6.0);
    let badge = Rect::from_min_size(at, vec2(20.0, 20.0));
    ui.painter().rect_filled(badge, 4.0, Color32::from_black_alpha(170));
    let font = egui::TextStyle::Body.resolve(ui.style());
    let colour = colour.lerp_to_gamma(Color32::WHITE, 0.4);
    ui.painter().text(badge.center(), egui::Align2::CENTER_CENTER, name, font, colour);
}

/// A left of the line, B right of it.
fn wipe(ui: &mut Ui, cx: &mut Cx<'_>, [a, b]: [&Pick; 2], room: Rect) {
    let x = room.left() + room.width() * cx.view.compare.wipe;
    let (mut left, mut right) = (room, room);
    (left.max.x, right.min.x) = (x, x);
    one(ui, cx, "A", a, room, left);
    one(ui, cx, "B", b, room, right);
    ui.painter().vline(x, room.y_range(), Stroke::new(2.0, Color32::WHITE));
    let handle = Rect::from_center_size(egui::pos2(x, room.center().y), vec2(14.0, room.height()));
    let response = ui
        .interact(handle, ui.scope_id().with("wipe"), Sense::drag())
        .on_hover_cursor(egui::CursorIcon::ResizeHorizontal);
    if response.dragged() {
        cx.view.compare.wipe = (cx.view.compare.wipe + response.drag_delta().x / room.width().max(1.0)).clamp(0.0, 1.0);
    }
}

fn note(ui: &Ui, room: Rect, text: &str) {
    let font = egui::TextStyle::Body.resolve(ui.style());
    ui.painter().text(room.center(), egui::Align2::CENTER_CENTER, text, font, theme::tokens(ui).faint);
}

fn words(ui: &mut Ui, pair: &Pair, [a, b]: [&Pick; 2]) {
    let Some(differences) = pair.differences() else { return };
    let score = |pick: &Pick| pick.score.map_or_else(String::new, |score| format!("   score {score:.3}"));
    ui.horizontal_wrapped(|ui| {
        ui.colored_label(removed(ui), format!("A  {}{}", a.name, score(a)));
        ui.colored_label(added(ui), format!("B  {}{}", b.name, score(b)));
    });
    for (name, pieces) in [("Prompt", &differences.prompt), ("Negative prompt", &differences.negative)] {
        if pieces.iter().all(|(_, text)| text.trim().is_empty()) {
            continue;
        }
        let same = pieces.iter().all(|(side, _)| *side == Piece::Both);
        caption(ui, &if same { format!("{name}: the same") } else { name.to_owned() });
        ui.add(egui::Label::new(text(ui, pieces)).wrap());
    }
    if differences.settings.is_empty() {
        caption(ui, "Settings: the same");
        return;
    }
    egui::Grid::new("settings that differ").num_columns(3).spacing([16.0, 4.0]).show(ui, |ui| {
        for (name, first, second) in &differences.settings {
            caption(ui, name);
            ui.colored_label(removed(ui), first);
            ui.colored_label(added(ui), second);
            ui.end_row();
        }
    });
}

fn text(ui: &Ui, pieces: &[(Piece, String)]) -> LayoutJob {
    let mut job = LayoutJob::default();
    let font = egui::TextStyle::Body.resolve(ui.style());
    for (side, piece) in pieces {
        let mut format = TextFormat::simple(font.clone(), theme::tokens(ui).text);
        match side {
            Piece::Both => {}
            Piece::First => {
                format.color = removed(ui);
                format.strikethrough = Stroke::new(1.0, removed(ui));
            }
            Piece::Second => {
                format.color = added(ui);
                format.background = added(ui).gamma_multiply(0.15);
            }
        }
        job.append(piece, 0.0, format);
    }
    job
}

/// Orange and blue: told apart by everybody.
fn removed(ui: &Ui) -> Color32 {
    theme::tokens(ui).warning
}

fn added(ui: &Ui) -> Color32 {
    if ui.visuals().dark_mode { Color32::from_rgb(120, 170, 255) } else { Color32::from_rgb(30, 84, 190) }
}
