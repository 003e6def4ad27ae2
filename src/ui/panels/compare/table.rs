//! The table of a run: what is done with it, and its cells by rows and columns or by score.

use egui::{Rect, RichText, Ui, vec2};

use super::cells::{self, GAP, NAME};
use super::{LinkedCamera, duration, send};
use crate::ui::panels::empty;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::compare::{CompareRequest, Side, Sort, Table};
use crate::workbench::{Command, ViewCommand};

/// Room for the names of rows, in points.
const ROW_NAME: f32 = 110.0;

/// What can be done with the run.
pub(super) fn bar(ui: &mut Ui, cx: &mut Cx<'_>, axes: &str) {
    let Some(table) = cx.workbench.compare().table() else { return };
    ui.horizontal_wrapped(|ui| {
        if ui.button(axes).clicked() {
            cx.view.compare.shows_axes = !cx.view.compare.shows_axes;
        }
        run_button(ui, cx, table);
        for (sort, name) in [(Sort::Grid, "Rows and columns"), (Sort::Score, "Best first")] {
            if ui.selectable_label(cx.workbench.compare().sort() == sort, name).clicked() {
                send(cx, CompareRequest::SortBy(sort));
            }
        }
        looks(ui, cx);
        if ui
            .button("Export…")
            .on_hover_text("Writes the pictures with labels as PNG, and the numbers as CSV.")
            .clicked()
        {
            cx.outbox.send(Command::View(ViewCommand::ExportGridDialog));
        }
    });
    progress(ui, table);
    pages(ui, cx, table);
    selected(ui, cx, table);
}

fn run_button(ui: &mut Ui, cx: &Cx<'_>, table: &Table) {
    let failed = table.cells().iter().any(|cell| cell.trouble.is_some());
    if table.is_running() && !table.is_finished() {
        if ui
            .button("Pause")
            .on_hover_text("What is made stays; the grid can be resumed, also after a restart.")
            .clicked()
        {
            send(cx, CompareRequest::Pause);
        }
    } else if (!table.is_finished() || failed || table.unscored().is_some()) && ui.button("Resume").clicked() {
        send(cx, CompareRequest::Resume);
    }
}

/// Size of the cells, and what part of the pictures they show.
fn looks(ui: &mut Ui, cx: &mut Cx<'_>) {
    let looks = &mut cx.view.compare;
    for (text, label, factor) in [("−", "Zoom out of all cells", 0.8), ("+", "Zoom into all cells", 1.25)] {
        let button = ui.button(text).on_hover_text(label);
        button.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, label));
        if button.clicked() {
            looks.camera.zoom_by(factor);
        }
    }
    if looks.camera != LinkedCamera::default() && ui.button("Whole pictures").clicked() {
        looks.camera = LinkedCamera::default();
    }
    ui.spacing_mut().slider_width = 72.0;
    let slider = egui::Slider::new(&mut looks.side, 64.0..=512.0).show_value(false);
    let slider = ui
        .add(slider)
        .on_hover_text("Size of the cells. Ctrl and the wheel zoom into all of them, dragging moves them.");
    slider.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Slider, true, "Size of the cells"));
}

fn progress(ui: &mut Ui, table: &Table) {
    let (done, all) = table.progress();
    let failed = table.cells().iter().filter(|cell| cell.trouble.is_some()).count();
    let mut text = format!("{}   {done} of {all}", table.run.title);
    if failed > 0 {
        text.push_str(&format!("   {failed} failed"));
    }
    if table.is_finished() {
        ui.label(RichText::new(text).strong());
    } else {
        let state = match (table.is_running(), table.seconds_left()) {
            (false, _) => "   paused".to_owned(),
            (true, Some(seconds)) => format!("   {} left", duration(seconds)),
            (true, None) => String::new(),
        };
        let bar =
            egui::ProgressBar::new(done as f32 / all.max(1) as f32).desired_height(20.0).text(format!("{text}{state}"));
        ui.add(bar.desired_width(ui.available_width()));
    }
    if let Some(why) = table.unscored() {
        ui.label(RichText::new(format!("Pictures are not scored: {why}")).small().color(theme::tokens(ui).warning));
    }
}

fn pages(ui: &mut Ui, cx: &mut Cx<'_>, table: &Table) {
    let names = table.labels(2);
    cx.view.compare.page = cx.view.compare.page.min(names.len().saturating_sub(1));
    if names.len() < 2 || cx.workbench.compare().sort() == Sort::Score {
        return;
    }
    ui.horizontal_wrapped(|ui| {
        for (page, name) in names.iter().enumerate() {
            if ui.selectable_label(cx.view.compare.page == page, name).clicked() {
                cx.view.compare.page = page;
            }
        }
    });
}

/// The cell that was clicked: what it is, and what can be done with it.
fn selected(ui: &mut Ui, cx: &mut Cx<'_>, table: &Table) {
    let index = cx.view.compare.selected.filter(|index| *index < table.cells().len());
    let Some(index) = index else {
        // As high as what stands here once there is one, so that the cells do not jump away from the pointer.
        ui.allocate_ui(vec2(ui.available_width(), 24.0), |ui| {
            ui.set_min_height(24.0);
            ui.label(
                RichText::new("Click a cell to see what it is, and to compare it.").color(theme::tokens(ui).faint),
            );
        });
        ui.label(
            RichText::new("Ctrl and the wheel zoom into all cells at once; dragging moves them.")
                .small()
                .color(theme::tokens(ui).faint),
        );
        return;
    };
    let (cell, view) = (&table.run.cells[index], &table.cells()[index]);
    let score = view.score.map_or_else(String::new, |score| format!("   score {score:.3}"));
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(format!("{}{score}", table.name(index))).strong());
        for side in [Side::A, Side::B] {
            if ui
                .add_enabled(view.picture.is_some(), egui::Button::new(format!("Compare as {}", side.name())))
                .clicked()
            {
                send(cx, CompareRequest::Choose(side, index));
            }
        }
        let help = "Puts the prompt and the settings of this cell into the prompt and the preview.";
        if ui.button("Use these settings").on_hover_text(help).clicked() {
            send(cx, CompareRequest::UseCell(index));
        }
    });
    let text = view.trouble.as_deref().unwrap_or(&cell.spec.prompt);
    let colour = if view.trouble.is_some() { theme::tokens(ui).error } else { theme::tokens(ui).faint };
    ui.add(egui::Label::new(RichText::new(text).small().color(colour)).truncate());
}

/// The cells, in an area of this height that scrolls both ways.
pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>, height: f32) {
    let Some(table) = cx.workbench.compare().table() else { return };
    if table.cells().is_empty() {
        return empty(ui, "This run has no cells.");
    }
    let area = egui::ScrollArea::both().id_salt("grid cells").auto_shrink([false, false]);
    area.max_height(height.max(120.0)).min_scrolled_height(height.max(120.0)).show(ui, |ui| {
        match cx.workbench.compare().sort() {
            Sort::Grid => by_place(ui, cx, table),
            Sort::Score => by_score(ui, cx, table),
        }
    });
}

fn by_place(ui: &mut Ui, cx: &mut Cx<'_>, table: &Table) {
    let (columns, rows) = (table.labels(0), table.labels(1));
    let cell = vec2(cx.view.compare.side, cx.view.compare.side + NAME);
    let left = if rows.iter().all(String::is_empty) { 0.0 } else { ROW_NAME };
    let size = vec2(left + columns.len() as f32 * (cell.x + GAP), NAME + rows.len() as f32 * (cell.y + GAP));
    let (all, _) = ui.allocate_exact_size(size, egui::Sense::hover());
    let corner = all.min + vec2(left, NAME);
    // The keyboard goes on to what is just out of sight.
    let seen = ui.clip_rect().expand2(cell + vec2(GAP, GAP));
    let place = |x: usize, y: usize| {
        Rect::from_min_size(corner + vec2(x as f32 * (cell.x + GAP), y as f32 * (cell.y + GAP)), cell)
    };
    if left > 0.0 {
        let names: Vec<&str> = table.run.axes.iter().take(2).rev().map(|axis| axis.name.as_str()).collect();
        let at = Rect::from_min_size(all.min, vec2(left - GAP, NAME));
        cells::name(ui, at, &names.join(" / "), egui::Align2::RIGHT_CENTER);
    }
    for (x, name) in columns.iter().enumerate() {
        let at = Rect::from_min_size(place(x, 0).min - vec2(0.0, NAME), vec2(cell.x, NAME));
        cells::name(ui, at, name, egui::Align2::CENTER_CENTER);
    }
    for (y, name) in rows.iter().enumerate() {
        let at = Rect::from_min_size(egui::pos2(all.left(), place(0, y).top()), vec2(left - GAP, cell.x));
        cells::name(ui, at, name, egui::Align2::RIGHT_CENTER);
        for x in 0..columns.len() {
            let at = place(x, y);
            if let Some(index) = table.at([x, y, cx.view.compare.page])
                && at.intersects(seen)
            {
                cells::show(ui, cx, table, index, at, "");
            }
        }
    }
}

fn by_score(ui: &mut Ui, cx: &mut Cx<'_>, table: &Table) {
    let cell = vec2(cx.view.compare.side, cx.view.compare.side + 2.0 * NAME);
    let in_a_row = ((ui.available_width() / (cell.x + GAP)) as usize).max(1);
    let order = table.by_score();
    let rows = order.len().div_ceil(in_a_row);
    let size = vec2(in_a_row as f32 * (cell.x + GAP), rows as f32 * (cell.y + GAP));
    let (all, _) = ui.allocate_exact_size(size, egui::Sense::hover());
    // The keyboard goes on to what is just out of sight.
    let seen = ui.clip_rect().expand2(cell + vec2(GAP, GAP));
    for (position, index) in order.into_iter().enumerate() {
        let step = vec2((position % in_a_row) as f32 * (cell.x + GAP), (position / in_a_row) as f32 * (cell.y + GAP));
        let at = Rect::from_min_size(all.min + step, cell);
        if at.intersects(seen) {
            let values: Vec<&str> = table.values(index).collect();
            cells::show(ui, cx, table, index, at, &values.join("  "));
        }
    }
}
