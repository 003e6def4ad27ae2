//! The docked panels: where they are, their tabs, and the dividers between them, all within reach of the keyboard.

use egui::{Color32, EventFilter, Frame, Id, Key, Margin, Modifiers, Response, Stroke, Ui, WidgetText};
use egui_tiles::{
    Behavior, Container, Linear, LinearDir, SimplificationOptions, TabState, Tile, TileId, Tiles, Tree, UiResponse,
};

use super::panels;
use super::shell::Cx;
use super::theme::{self, ACCENT};
use crate::engine::Lane;
use crate::workbench::PanelKind;

/// How much of the room of both sides an arrow key moves a divider by.
const DIVIDER_STEP: f32 = 0.03;

/// Where the panels are.
pub(super) struct Layout(Tree<PanelKind>);

impl Default for Layout {
    fn default() -> Self {
        let mut tiles = Tiles::default();
        let mut tabs = |panels: &[PanelKind]| {
            let panes = panels.iter().map(|panel| tiles.insert_pane(*panel)).collect();
            tiles.insert_tab_tile(panes)
        };
        let canvas = tabs(&[PanelKind::Canvas, PanelKind::Compare]);
        let preview = tabs(&[PanelKind::Preview, PanelKind::Jobs, PanelKind::Notices]);
        let prompt = tabs(&[PanelKind::Prompt, PanelKind::Library, PanelKind::Steering, PanelKind::Models]);
        let lens = tabs(&[PanelKind::Lens, PanelKind::ZeroShot]);
        let mut split = |dir, first: TileId, second: TileId, share: f32| {
            tiles.insert_container(Container::Linear(Linear::new_binary(dir, [first, second], share)))
        };
        let left = split(LinearDir::Vertical, canvas, preview, 0.62);
        let right = split(LinearDir::Vertical, prompt, lens, 0.56);
        let root = split(LinearDir::Horizontal, left, right, 0.70);
        Self(Tree::new(egui::Id::unique("panels"), root, tiles))
    }
}

impl Layout {
    /// The layout that was remembered; the default if it is missing, damaged, or lacks a panel.
    pub(super) fn from_json(json: Option<&serde_json::Value>) -> Self {
        let read = json.and_then(|json| serde_json::from_value::<Tree<PanelKind>>(json.clone()).ok());
        let has_all = |tree: &Tree<PanelKind>| PanelKind::ALL.iter().all(|panel| tree.tiles.find_pane(panel).is_some());
        read.filter(has_all).map_or_else(Self::default, Self)
    }

    pub(super) fn to_json(&self) -> Option<serde_json::Value> {
        serde_json::to_value(&self.0).ok()
    }

    /// Shows the panels.
    pub(super) fn show(&mut self, ui: &mut Ui, cx: &mut Cx<'_>) {
        let (tree, scope) = (self.0.id(), ui.scope_id());
        self.0.ui(&mut Panels { cx, tree }, ui);
        if let Some(root) = self.0.root() {
            dividers(ui, &mut self.0.tiles, root, scope);
        }
    }

    pub(super) fn bring_to_front(&mut self, panel: PanelKind) {
        self.0.make_active(|_, tile| matches!(tile, Tile::Pane(pane) if *pane == panel));
    }
}

struct Panels<'a, 'b> {
    cx: &'a mut Cx<'b>,
    tree: egui::Id,
}

impl Behavior<PanelKind> for Panels<'_, '_> {
    fn pane_ui(&mut self, ui: &mut Ui, tile: TileId, panel: &mut PanelKind) -> UiResponse {
        let tokens = theme::tokens(ui);
        let (fill, margin) = if *panel == PanelKind::Canvas { (tokens.canvas, 0) } else { (tokens.panel, 12) };
        Frame::new().fill(fill).inner_margin(Margin::same(margin)).show(ui, |ui| {
            ui.set_min_size(ui.available_size());
            panels::show(*panel, ui, self.cx);
        });
        // A panel with nothing to type into or to press: the keyboard goes to its tab.
        if self.cx.view.take_focus(*panel) {
            ui.memory_mut(|memory| memory.request_focus(tile.egui_id(self.tree)));
        }
        UiResponse::None
    }

    fn tab_title_for_pane(&mut self, panel: &PanelKind) -> WidgetText {
        let count = match panel {
            PanelKind::Notices => self.cx.workbench.notices().len(),
            PanelKind::Jobs => self.cx.workbench.jobs().active().iter().filter(|job| job.lane == Lane::Batch).count(),
            _ => 0,
        };
        let title = panel.title();
        if count > 0 { format!("{title} ({count})").into() } else { title.into() }
    }

    fn on_tab_button(&mut self, _: &mut Tiles<PanelKind>, _: TileId, tab: Response) -> Response {
        if tab.has_focus() {
            let ring = tab.rect.shrink2(egui::vec2(2.0, 4.0));
            let painter = tab.ctx.layer_painter(tab.layer_id).with_clip_rect(tab.interact_rect);
            painter.rect_stroke(ring, 6.0, Stroke::new(1.5, ACCENT), egui::StrokeKind::Inside);
        }
        tab
    }

    /// Only single panels: the strip behind the tabs, by which a whole group could be dragged, would take the keyboard without a name.
    fn is_tile_draggable(&self, tiles: &Tiles<PanelKind>, tile: TileId) -> bool {
        tiles.get(tile).is_some_and(Tile::is_pane)
    }

    fn tab_bar_height(&self, _: &egui::Style) -> f32 {
        32.0
    }

    fn gap_width(&self, _: &egui::Style) -> f32 {
        4.0
    }

    fn tab_title_spacing(&self, _: &egui::Visuals) -> f32 {
        12.0
    }

    fn tab_bar_color(&self, visuals: &egui::Visuals) -> Color32 {
        visuals.faint_bg_color
    }

    fn tab_bg_color(&self, visuals: &egui::Visuals, _: &Tiles<PanelKind>, _: TileId, state: &TabState) -> Color32 {
        if state.active { visuals.panel_fill } else { Color32::TRANSPARENT }
    }

    fn tab_outline_stroke(&self, _: &egui::Visuals, _: &Tiles<PanelKind>, _: TileId, _: &TabState) -> Stroke {
        Stroke::NONE
    }

    fn tab_bar_hline_stroke(&self, _: &egui::Visuals) -> Stroke {
        Stroke::NONE
    }

    fn simplification_options(&self) -> SimplificationOptions {
        SimplificationOptions { all_panes_must_have_tabs: true, ..SimplificationOptions::default() }
    }
}

/// Names the dividers for screen readers and lets the arrow keys move them; the docking library does neither. It tells nobody the
/// names of its widgets either, so they are put together here as it does; the test of names notices if that changes.
fn dividers(ui: &Ui, tiles: &mut Tiles<PanelKind>, tile: TileId, scope: Id) {
    let inside = scope.with(tile).with(egui::IdSalt::new("child"));
    let Some(Tile::Container(container)) = tiles.get_mut(tile) else { return };
    let children: Vec<TileId> = container.children().copied().collect();
    if let Container::Linear(linear) = container {
        for (index, pair) in children.windows(2).enumerate() {
            if let Some(divider) = ui.ctx().read_response(inside.with((tile, "resize", index))) {
                move_by_keys(ui, &divider, linear, [pair[0], pair[1]]);
            }
        }
    }
    for child in children {
        dividers(ui, tiles, child, inside);
    }
}

fn move_by_keys(ui: &Ui, divider: &Response, linear: &mut Linear, [before, after]: [TileId; 2]) {
    divider.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Splitter, true, "Divider between panels"));
    if !divider.has_focus() {
        return;
    }
    ui.painter().rect_filled(divider.rect, 2.0, ACCENT);
    let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(divider.id, filter));
    let (more, less) = match linear.dir {
        LinearDir::Horizontal => (Key::ArrowRight, Key::ArrowLeft),
        LinearDir::Vertical => (Key::ArrowDown, Key::ArrowUp),
    };
    let presses = |key| ui.input_mut(|i| i.count_and_consume_key(Modifiers::NONE, key)) as f32;
    let both = linear.shares[before] + linear.shares[after];
    let share = linear.shares[before] / both + (presses(more) - presses(less)) * DIVIDER_STEP;
    let share = share.clamp(0.1, 0.9) * both;
    linear.shares.set_share(before, share);
    linear.shares.set_share(after, both - share);
}
