//! The canvas: the picture, the heatmap over it, the mask, the marks, and the tools' pointer work.

use egui::{
    Color32, Event, EventFilter, Key, Modifiers, PointerButton, Rect, Sense, Stroke, StrokeKind, Ui, pos2, vec2,
};

use super::current_map;
use crate::base::geom::{ImagePoint, ImageRect};
use crate::document::Canvas;
use crate::job::annotation::{Mark, MarkColour, MarkShape};
use crate::ui::shell::Cx;
use crate::ui::theme::{self, ACCENT};
use crate::ui::tiles::Slot;
use crate::workbench::tools::{Gesture, Tool};
use crate::workbench::{Action, Command, PanelKind};

/// The colour of the mask overlay.
const MASK: Color32 = Color32::from_rgb(255, 64, 129);
/// How far an arrow key moves the view, in points.
const KEY_PAN: f32 = 48.0;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let panel = ui.available_rect_before_wrap();
    let response = ui.allocate_rect(panel, Sense::click_and_drag());
    let workbench = cx.workbench;
    let Some(canvas) = &workbench.document().canvas else {
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, "Canvas"));
        (cx.view.canvas_rect, cx.view.canvas_extent, cx.view.hovered) = (Some(panel), None, None);
        empty_state(ui, panel, cx);
        return;
    };
    let label = format!("Canvas, {} of {} pixels", canvas.name, canvas.extent());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, &label));
    // Another picture of the same size, an edited one for instance, is looked at from the same place.
    if cx.view.canvas_extent != Some(canvas.extent()) {
        cx.view.canvas_extent = Some(canvas.extent());
        cx.view.camera.fits = true;
    }
    if cx.view.camera.fits {
        cx.view.camera.fit(panel, canvas.extent());
    }
    cx.view.canvas_rect = Some(panel);
    pan_by_keys(ui, &response, cx);
    zoom_and_pan(ui, &response, panel, cx);
    if response.hovered() || workbench.tools().is_drawing() {
        draw_with_tool(ui, &response, panel, cx);
    }
    paint_layers(ui, panel, canvas, cx);
    paint_pointer(ui, &response, panel, cx);
    if response.has_focus() {
        ui.painter().rect_stroke(panel.shrink(1.0), 0.0, Stroke::new(1.5, ACCENT), StrokeKind::Inside);
    }
    if !ui.input(|i| i.raw.hovered_files.is_empty()) {
        ui.painter().rect_stroke(panel.shrink(4.0), 8.0, Stroke::new(2.0, ACCENT), StrokeKind::Inside);
    }
}

fn empty_state(ui: &mut Ui, panel: Rect, cx: &mut Cx<'_>) {
    let place = Rect::from_center_size(panel.center(), vec2(panel.width().min(320.0), 128.0));
    ui.scope_builder(egui::UiBuilder::new().max_rect(place), |ui| {
        ui.vertical_centered(|ui| {
            ui.heading("No picture yet");
            super::empty(ui, "Drop a picture here, paste one, or open a file.");
            let open = ui.button("Open picture…");
            if cx.view.take_focus(PanelKind::Canvas) {
                open.request_focus();
            }
            if open.clicked() {
                cx.outbox.act(Action::Open, cx.workbench);
            }
        });
    });
}

/// While the canvas has the keyboard, the arrow keys move the view instead of the focus; Tab goes on as everywhere.
fn pan_by_keys(ui: &Ui, response: &egui::Response, cx: &mut Cx<'_>) {
    if cx.view.take_focus(PanelKind::Canvas) {
        response.request_focus();
    }
    if !response.has_focus() || cx.view.modal_is_open() {
        return;
    }
    let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let presses = |key| ui.input_mut(|i| i.count_and_consume_key(Modifiers::NONE, key)) as f32;
    let right = presses(Key::ArrowRight) - presses(Key::ArrowLeft);
    let down = presses(Key::ArrowDown) - presses(Key::ArrowUp);
    let by = vec2(right, down) * KEY_PAN;
    if by != vec2(0.0, 0.0) {
        let camera = &mut cx.view.camera;
        camera.center += by / camera.zoom;
        camera.fits = false;
    }
}

fn zoom_and_pan(ui: &Ui, response: &egui::Response, panel: Rect, cx: &mut Cx<'_>) {
    let pointer = ui.input(|i| i.pointer.hover_pos()).filter(|at| response.hovered() && panel.contains(*at));
    if let Some(at) = pointer {
        let (scroll, pinch) = ui.input(|i| (i.smooth_scroll_delta().y, i.zoom_delta()));
        let factor = (0.004 * scroll).exp() * pinch;
        if factor != 1.0 {
            cx.view.camera.zoom_about(factor, at, panel);
        }
    }
    let pans = response.dragged_by(PointerButton::Middle)
        || (response.dragged_by(PointerButton::Primary) && cx.workbench.tools().tool() == Tool::Pan);
    if pans {
        let camera = &mut cx.view.camera;
        camera.center -= response.drag_delta() / camera.zoom;
        camera.fits = false;
    }
    cx.view.hovered = pointer.map(|at| cx.view.camera.image_from_screen(at, panel));
    // The status line is laid out before the canvas: it shows the new place in the next frame.
    if cx.view.hovered != cx.view.hovered_in_status {
        ui.ctx().request_repaint();
    }
}

/// Walks through the frame's pointer events in order, so that fast strokes have no gaps.
fn draw_with_tool(ui: &Ui, response: &egui::Response, panel: Rect, cx: &Cx<'_>) {
    if cx.workbench.tools().tool() == Tool::Pan {
        return;
    }
    let camera = cx.view.camera;
    let place = |at: egui::Pos2| camera.image_from_screen(at, panel);
    let send = |gesture| cx.outbox.send(Command::Gesture(gesture));
    let mut drawing = cx.workbench.tools().is_drawing();
    let mut last = ui.input(|i| i.pointer.latest_pos());
    for event in ui.input(|i| i.events.clone()) {
        match event {
            Event::PointerButton { pos, button: PointerButton::Primary, pressed: true, .. }
                if panel.contains(pos) && response.contains_pointer() =>
            {
                drawing = true;
                send(Gesture::Begin(place(pos)));
            }
            Event::PointerButton { pos, button: PointerButton::Primary, pressed: false, .. } if drawing => {
                drawing = false;
                send(Gesture::End(place(pos)));
            }
            Event::PointerMoved(pos) => {
                last = Some(pos);
                if drawing {
                    send(Gesture::Move(place(pos)));
                }
            }
            Event::PointerGone if drawing => {
                drawing = false;
                if let Some(pos) = last {
                    send(Gesture::End(place(pos)));
                }
            }
            _ => {}
        }
    }
}

fn paint_layers(ui: &Ui, panel: Rect, canvas: &Canvas, cx: &mut Cx<'_>) {
    let painter = ui.painter().with_clip_rect(panel);
    let place = cx.view.camera.screen_from_image(panel, canvas.extent());
    let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    let preferences = cx.workbench.preferences();
    let is_crisp = cx.view.camera.zoom * ui.ctx().pixels_per_point() > 3.0;
    painter.rect_filled(place, 0.0, theme::tokens(ui).panel);
    cx.textures.pictures.paint(Slot::Canvas, &painter, &canvas.picture, place, is_crisp);
    paint_marks(&painter.with_clip_rect(panel.intersect(place)), canvas, panel, cx);
    if let Some(map) = current_map(cx.workbench) {
        let texture = cx.textures.heatmap(map, canvas.extent(), preferences.colormap, preferences.heatmap_scale);
        painter.image(texture, place, uv, Color32::from_white_alpha((preferences.lens_opacity * 255.0) as u8));
    }
    if !canvas.mask.is_empty() {
        let tint = MASK.gamma_multiply(preferences.mask_opacity);
        cx.textures.mask.paint(&painter, &canvas.mask, place, tint);
    }
    painter.rect_stroke(place, 0.0, Stroke::new(1.0, theme::tokens(ui).line), StrokeKind::Outside);
}

fn colour_of(mark: MarkColour) -> Color32 {
    let [r, g, b] = mark.rgb();
    Color32::from_rgba_unmultiplied(r, g, b, MarkColour::ALPHA)
}

/// Marks as they are scored, each one flat layer, and only inside the picture.
fn paint_marks(painter: &egui::Painter, canvas: &Canvas, panel: Rect, cx: &mut Cx<'_>) {
    let camera = cx.view.camera;
    let place = camera.screen_from_image(panel, canvas.extent());
    let screen = |rect: ImageRect| Rect::from_min_max(camera.place(rect.min, panel), camera.place(rect.max, panel));
    let mut strokes = 0;
    for Mark { shape, colour } in &canvas.marks {
        let colour = colour_of(*colour);
        match shape {
            MarkShape::Box { rect } => {
                painter.rect_filled(screen(*rect), 0.0, colour);
            }
            MarkShape::Ellipse { rect } => {
                let rect = screen(*rect);
                painter.add(egui::epaint::EllipseShape::filled(rect.center(), rect.size() * 0.5, colour));
            }
            MarkShape::Brush { points, radius } => {
                let stroke = (points.as_slice(), *radius);
                cx.textures.strokes.paint(strokes, stroke, canvas.extent(), painter, place, colour);
                strokes += 1;
            }
        }
    }
    cx.textures.strokes.keep(strokes);
}

fn paint_pointer(ui: &Ui, response: &egui::Response, panel: Rect, cx: &Cx<'_>) {
    let painter = ui.painter().with_clip_rect(panel);
    let tools = cx.workbench.tools();
    if let Some(band) = tools.rubber_band() {
        let camera = cx.view.camera;
        let rect = Rect::from_min_max(camera.place(band.min, panel), camera.place(band.max, panel));
        if matches!(tools.tool(), Tool::Ellipse | Tool::MarkEllipse) {
            let shape = egui::epaint::EllipseShape::stroke(rect.center(), rect.size() * 0.5, Stroke::new(1.5, ACCENT));
            painter.add(shape);
        } else {
            painter.rect_stroke(rect, 0.0, Stroke::new(1.5, ACCENT), StrokeKind::Middle);
        }
    }
    let Some(at) = ui.input(|i| i.pointer.hover_pos()).filter(|_| response.hovered()) else { return };
    match tools.tool() {
        Tool::Pan => ui.ctx().set_cursor_icon(egui::CursorIcon::Grab),
        tool if tool.has_radius() => {
            let radius = tools.radius() * cx.view.camera.zoom;
            painter.circle_stroke(at, radius + 1.0, Stroke::new(1.0, Color32::from_black_alpha(140)));
            painter.circle_stroke(at, radius, Stroke::new(1.0, Color32::WHITE));
            ui.ctx().set_cursor_icon(egui::CursorIcon::Crosshair);
        }
        _ => ui.ctx().set_cursor_icon(egui::CursorIcon::Crosshair),
    }
    let readout = current_map(cx.workbench).zip(cx.view.hovered).zip(cx.workbench.document().canvas.as_ref());
    if let Some(((map, place), canvas)) = readout
        && let Some(value) = map.value_at(ImagePoint::new(place.x, place.y), canvas.extent())
    {
        let text = format!("{value:.3}");
        let galley = painter.layout_no_wrap(text, egui::TextStyle::Small.resolve(ui.style()), Color32::WHITE);
        let corner = at + vec2(16.0, 16.0);
        let back = Rect::from_min_size(corner, galley.size() + vec2(12.0, 6.0));
        painter.rect_filled(back, 4.0, Color32::from_black_alpha(180));
        painter.galley(corner + vec2(6.0, 3.0), galley, Color32::WHITE);
    }
}
