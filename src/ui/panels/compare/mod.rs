//! Comparing: a grid that fills while you look, two results side by side, the parts of the prompt, earlier runs.

mod cells;
mod pair;
mod runs;
mod setup;
mod table;
mod words;

use egui::{Rect, Ui, Vec2, pos2, vec2};

use crate::base::geom::Extent;
use crate::store::runs::RunId;
use crate::ui::shell::Cx;
use crate::workbench::compare::{CompareRequest, CompareView};
use crate::workbench::{Command, PanelKind};

/// How far the pictures of a table can be enlarged.
const MOST_ZOOM: f32 = 32.0;
/// A panel that is lower than this, in points, scrolls as a whole.
const LOW: f32 = 360.0;

/// Where all pictures of a table look: the same part of each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LinkedCamera {
    /// Times the size at which the whole picture fits.
    zoom: f32,
    /// What is in the middle, as shares of the picture's sides.
    center: Vec2,
}

impl Default for LinkedCamera {
    fn default() -> Self {
        Self { zoom: 1.0, center: vec2(0.5, 0.5) }
    }
}

impl LinkedCamera {
    /// Where a picture of `extent` is on the screen if it is seen through `frame`.
    fn place(&self, frame: Rect, extent: Extent) -> Rect {
        let size = self.size(frame, extent);
        Rect::from_min_size(frame.center() - self.center * size, size)
    }

    fn size(&self, frame: Rect, extent: Extent) -> Vec2 {
        let full = vec2(extent.width.max(1) as f32, extent.height.max(1) as f32);
        full * (frame.width() / full.x).min(frame.height() / full.y) * self.zoom
    }

    fn zoom_by(&mut self, factor: f32) {
        self.zoom = (self.zoom * factor).clamp(1.0, MOST_ZOOM);
        self.keep_inside();
    }

    /// Enlarges and keeps what is under `at` where it is.
    fn zoom_about(&mut self, factor: f32, at: egui::Pos2, frame: Rect, extent: Extent) {
        let before = (at - frame.center()) / self.size(frame, extent);
        self.zoom = (self.zoom * factor).clamp(1.0, MOST_ZOOM);
        self.center += before - (at - frame.center()) / self.size(frame, extent);
        self.keep_inside();
    }

    fn pan(&mut self, by: Vec2, frame: Rect, extent: Extent) {
        self.center -= by / self.size(frame, extent);
        self.keep_inside();
    }

    /// Never more beside the picture than needs be.
    fn keep_inside(&mut self) {
        let margin = 0.5 / self.zoom;
        let clamp = |share: f32| share.clamp(margin.min(0.5), (1.0 - margin).max(0.5));
        self.center = vec2(clamp(self.center.x), clamp(self.center.y));
    }
}

/// How the panel looks; nothing that a result depends on.
#[derive(Debug)]
pub(in crate::ui) struct CompareLooks {
    camera: LinkedCamera,
    /// Of a cell of the table, in points.
    side: f32,
    page: usize,
    selected: Option<usize>,
    /// Where the line of the wipe is, as a share of the width.
    wipe: f32,
    /// Seeds for measuring words.
    seeds: u32,
    /// The run that is about to be removed.
    removing: Option<RunId>,
    /// Whether the axes are shown although there is a table.
    shows_axes: bool,
    /// The run whose table was shown last.
    shown: Option<RunId>,
}

impl Default for CompareLooks {
    fn default() -> Self {
        let camera = LinkedCamera::default();
        Self {
            camera,
            side: 128.0,
            page: 0,
            selected: None,
            wipe: 0.5,
            seeds: 4,
            removing: None,
            shows_axes: true,
            shown: None,
        }
    }
}

impl CompareLooks {
    /// The cells of a table are what is to be seen.
    fn show_table(&mut self) {
        (self.page, self.selected, self.shows_axes) = (0, None, false);
    }

    /// Shows the table when it is another one than before, whatever brought it.
    fn follow(&mut self, table: Option<RunId>) {
        if table.is_some() && self.shown != table {
            self.show_table();
        }
        self.shown = table;
    }
}

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let shown = cx.workbench.compare().view();
    ui.horizontal_wrapped(|ui| {
        for view in CompareView::ALL {
            let unfinished = cx.workbench.compare().paused().count();
            let text = match view {
                CompareView::Runs if unfinished > 0 => format!("{} ({unfinished} paused)", view.name()),
                _ => view.name().to_owned(),
            };
            let response = ui.selectable_label(shown == view, text);
            if shown == view && cx.view.take_focus(PanelKind::Compare) {
                response.request_focus();
            }
            if response.clicked() {
                send(cx, CompareRequest::Show(view));
            }
        }
    });
    match shown {
        CompareView::Grid => grid(ui, cx),
        CompareView::Pair => pair::show(ui, cx),
        CompareView::Words => words::show(ui, cx),
        CompareView::Runs => runs::show(ui, cx),
    }
}

fn grid(ui: &mut Ui, cx: &mut Cx<'_>) {
    let table = cx.workbench.compare().table().map(|table| table.id);
    cx.view.compare.follow(table);
    if table.is_none() {
        egui::ScrollArea::vertical().id_salt("grid setup").auto_shrink([false, false]).show(ui, |ui| {
            setup::show(ui, cx);
            runs::unfinished(ui, cx);
        });
        return;
    }
    // In a low panel all of it scrolls, so that the table keeps some height.
    if ui.available_height() < LOW {
        egui::ScrollArea::vertical().id_salt("low grid").auto_shrink([false, false]).show(ui, |ui| {
            above(ui, cx);
            table::show(ui, cx, LOW * 0.75);
        });
    } else {
        above(ui, cx);
        let height = ui.available_height();
        table::show(ui, cx, height);
    }
}

fn above(ui: &mut Ui, cx: &mut Cx<'_>) {
    let text = if cx.view.compare.shows_axes { "Hide axes" } else { "Show axes" };
    if cx.view.compare.shows_axes {
        setup::show(ui, cx);
    }
    table::bar(ui, cx, text);
}

fn send(cx: &Cx<'_>, request: CompareRequest) {
    cx.outbox.send(Command::Compare(request));
}

/// A time as people say it.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "under a second".to_owned(),
        s if s < 90.0 => format!("{:.0} s", s.ceil()),
        s if s < 90.0 * 60.0 => format!("{:.0} min", (s / 60.0).ceil()),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The picture's part of a frame that all pictures of a table show.
fn paint_linked(ui: &Ui, cx: &mut Cx<'_>, picture: &crate::base::pixels::Picture, frame: Rect, clip: Rect) {
    let place = cx.view.compare.camera.place(frame, picture.extent());
    let is_crisp = place.width() * ui.ctx().pixels_per_point() > picture.extent().width as f32 * 3.0;
    let painter = ui.painter_at(clip.intersect(frame).intersect(ui.clip_rect()));
    cx.textures.pictures.paint(crate::ui::tiles::Slot::Thumbnail, &painter, picture, place, is_crisp);
}

/// Moves the linked view by what the pointer does in a frame.
fn move_camera(ui: &Ui, cx: &mut Cx<'_>, response: &egui::Response, extent: Extent) {
    let camera = &mut cx.view.compare.camera;
    if response.dragged() {
        camera.pan(response.drag_delta(), response.rect, extent);
    }
    if response.double_clicked() {
        *camera = LinkedCamera::default();
    }
    let zoom = ui.input(|i| i.zoom_delta());
    if zoom != 1.0 && response.hovered() {
        let at = ui.input(|i| i.pointer.hover_pos()).unwrap_or(pos2(0.0, 0.0));
        camera.zoom_about(zoom, at, response.rect, extent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pictures_show_the_same_part() {
        let frame = Rect::from_min_size(pos2(100.0, 50.0), vec2(200.0, 200.0));
        let other = Rect::from_min_size(pos2(400.0, 50.0), vec2(200.0, 200.0));
        let extent = Extent::new(512, 512);
        let mut camera = LinkedCamera::default();
        assert_eq!(camera.place(frame, extent), frame);
        let anchor = pos2(150.0, 100.0);
        camera.zoom_about(4.0, anchor, frame, extent);
        let share = |at: egui::Pos2, place: Rect| (at - place.min) / place.size();
        let before = vec2(0.25, 0.25);
        assert!((share(anchor, camera.place(frame, extent)) - before).length() < 0.01);
        let beside = camera.place(other, Extent::new(128, 128));
        assert!((share(anchor + vec2(300.0, 0.0), beside) - before).length() < 0.01, "the other cell moved with it");
        camera.pan(vec2(9999.0, 0.0), frame, extent);
        assert!((camera.place(frame, extent).left() - frame.left()).abs() < 0.01, "no further than the edge");
        camera.zoom_by(0.0);
        assert_eq!(camera.place(frame, extent), frame);
    }

    #[test]
    fn times_are_short() {
        assert_eq!([0.2, 12.1, 600.0, 9000.0].map(duration), ["under a second", "13 s", "10 min", "2.5 h"]);
    }
}
