//! The window's frame: menus above, tools at the left, the docked panels, one line of status below.

use egui::{Color32, Frame, Margin, RichText, Stroke, Ui};

use super::dock::Layout;
use super::icons::Icons;
use super::outbox::Outbox;
use super::panels;
use super::shortcuts;
use super::textures::Textures;
use super::theme::{self, ACCENT, GRID};
use super::view::View;
use crate::job::annotation::MarkColour;
use crate::workbench::notices::Level;
use crate::workbench::tools::{RADIUS_RANGE, Tool};
use crate::workbench::{Action, Command, Workbench};

/// What every panel gets.
pub(super) struct Cx<'a> {
    pub(super) workbench: &'a Workbench,
    pub(super) outbox: &'a Outbox,
    pub(super) view: &'a mut View,
    pub(super) icons: &'a Icons,
    pub(super) textures: &'a mut Textures,
}

/// Shows the window's contents.
pub(super) fn show(ui: &mut Ui, layout: &mut Layout, cx: &mut Cx<'_>) {
    let tokens = theme::tokens(ui);
    let bar = |fill: Color32, x: i8, y: i8| Frame::new().fill(fill).inner_margin(Margin::symmetric(x, y));
    egui::Panel::top("menu").frame(bar(tokens.window, 8, 4)).show_separator_line(false).show(ui, |ui| menu_bar(ui, cx));
    egui::Panel::bottom("status")
        .frame(bar(tokens.window, 12, 4))
        .show_separator_line(false)
        .show(ui, |ui| status(ui, cx));
    egui::Panel::left("tools")
        .frame(bar(tokens.window, 8, 8))
        .exact_size(48.0)
        .resizable(false)
        .show_separator_line(false)
        .show(ui, |ui| rail(ui, cx));
    egui::CentralPanel::default().frame(Frame::new().fill(tokens.window)).show(ui, |ui| {
        layout.show(ui, cx);
    });
}

const MENUS: [(&str, &[Action]); 6] = [
    (
        "File",
        &[Action::Open, Action::OpenSample, Action::SaveCanvas, Action::SaveResult, Action::SaveMask, Action::Quit],
    ),
    (
        "Edit",
        &[
            Action::Undo,
            Action::Redo,
            Action::ClearMask,
            Action::InvertMask,
            Action::RemoveLastMark,
            Action::ClearMarks,
            Action::FindInPrompt,
            Action::ShowEncoder,
            Action::Palette,
        ],
    ),
    (
        "Picture",
        &[
            Action::NewPrompt,
            Action::DuplicatePrompt,
            Action::ClosePrompt,
            Action::NextPrompt,
            Action::ToggleChips,
            Action::Generate,
            Action::GenerateFour,
            Action::NewSeed,
            Action::ToggleSeedLock,
            Action::ToggleLivePreview,
            Action::TargetNewPicture,
            Action::TargetInpaint,
            Action::SendToCanvas,
            Action::CancelAll,
        ],
    ),
    ("Lens", &[Action::ToggleLens, Action::ToggleLensFollow, Action::ToggleMarksCount]),
    (
        "View",
        &[
            Action::Fit,
            Action::ActualSize,
            Action::ZoomIn,
            Action::ZoomOut,
            Action::FocusCanvas,
            Action::FocusPreview,
            Action::FocusPrompt,
            Action::FocusLens,
            Action::FocusLibrary,
            Action::FocusSteering,
            Action::FocusModels,
            Action::FocusZeroShot,
            Action::FocusCompare,
            Action::FocusJobs,
            Action::FocusNotices,
            Action::ThemeSystem,
            Action::ThemeLight,
            Action::ThemeDark,
            Action::ResetLayout,
        ],
    ),
    ("Help", &[Action::ReleaseMemory, Action::About]),
];

fn menu_bar(ui: &mut Ui, cx: &mut Cx<'_>) {
    egui::MenuBar::new().ui(ui, |ui| {
        ui.set_min_height(32.0);
        for (title, actions) in MENUS {
            ui.menu_button(title, |ui| {
                ui.set_min_width(220.0);
                for action in actions {
                    menu_item(ui, *action, cx);
                }
            });
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            for (icon, action) in [("redo-2", Action::Redo), ("undo-2", Action::Undo), ("search", Action::Palette)] {
                icon_action(ui, icon, action, cx);
            }
        });
    });
}

fn menu_item(ui: &mut Ui, action: Action, cx: &Cx<'_>) {
    let is_possible = action.resolve(cx.workbench).is_some();
    let name = match (action, cx.workbench.history().undo_name(), cx.workbench.history().redo_name()) {
        (Action::Undo, Some(name), _) | (Action::Redo, _, Some(name)) => format!("{} {name}", action.text().0),
        _ => action.text().0.to_owned(),
    };
    let keys = shortcuts::text(ui.ctx(), action).unwrap_or_default();
    let button = egui::Button::selectable(action.is_on(cx.workbench).unwrap_or(false), name).shortcut_text(keys);
    let response = ui.add_enabled(is_possible, button).on_hover_text(action.text().1);
    if response.clicked() {
        cx.outbox.act(action, cx.workbench);
        ui.close();
    }
}

/// A button with an icon for an action.
pub(super) fn icon_action(ui: &mut Ui, icon: &'static str, action: Action, cx: &Cx<'_>) {
    let is_possible = action.resolve(cx.workbench).is_some();
    let label = match shortcuts::text(ui.ctx(), action) {
        Some(keys) => format!("{} ({keys})", action.text().0),
        None => action.text().0.to_owned(),
    };
    let is_on = action.is_on(cx.workbench).unwrap_or(false);
    if cx.icons.button(ui, icon, &label, is_on, is_possible).clicked() {
        cx.outbox.act(action, cx.workbench);
    }
}

fn rail(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.spacing_mut().item_spacing.y = 4.0;
    egui::ScrollArea::vertical().show(ui, |ui| {
        for tool in Tool::ALL {
            let icon = match tool {
                Tool::Pan => "hand",
                Tool::Brush => "brush",
                Tool::Eraser => "eraser",
                Tool::Rectangle => "square-dashed",
                Tool::Ellipse => "circle-dashed",
                Tool::MarkBox => "square",
                Tool::MarkEllipse => "circle",
                Tool::MarkBrush => "highlighter",
            };
            if matches!(tool, Tool::Brush | Tool::MarkBox) {
                ui.add_space(GRID);
            }
            icon_action(ui, icon, Action::of_tool(tool), cx);
        }
        ui.add_space(GRID);
        for colour in MarkColour::ALL {
            colour_button(ui, colour, cx);
        }
    });
}

fn colour_button(ui: &mut Ui, colour: MarkColour, cx: &Cx<'_>) {
    let is_on = cx.workbench.tools().colour() == colour;
    let (rect, response) = ui.allocate_exact_size(egui::vec2(32.0, 24.0), egui::Sense::click());
    let label = format!("Mark in {}", colour.name());
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, is_on, &label));
    let [r, g, b] = colour.rgb();
    let radius = if is_on { 9.0 } else { 7.0 };
    ui.painter().circle_filled(rect.center(), radius, Color32::from_rgb(r, g, b));
    if is_on || response.has_focus() {
        ui.painter().circle_stroke(
            rect.center(),
            11.5,
            Stroke::new(1.5, if is_on { theme::tokens(ui).text } else { ACCENT }),
        );
    }
    if response.on_hover_text(label).clicked() {
        cx.outbox.send(Command::SetMarkColour(colour));
    }
}

fn status(ui: &mut Ui, cx: &mut Cx<'_>) {
    let tokens = theme::tokens(ui);
    let faint = |text: String| RichText::new(text).small().color(tokens.faint);
    ui.horizontal(|ui| {
        ui.set_min_height(20.0);
        if let Some(canvas) = &cx.workbench.document().canvas {
            let zoom = cx.view.camera.zoom * ui.ctx().pixels_per_point() * 100.0;
            ui.label(faint(format!("{}   {} px   {zoom:.0} %", canvas.name, canvas.extent())));
        }
        if cx.workbench.tools().tool().has_radius() {
            let mut radius = cx.workbench.tools().radius();
            let label = ui.label(faint("Brush radius".to_owned()));
            let drag = egui::DragValue::new(&mut radius).range(RADIUS_RANGE).speed(0.5).max_decimals(0).suffix(" px");
            if ui.add(drag).labelled_by(label.id).changed() {
                cx.outbox.send(Command::SetBrushRadius(radius));
            }
        }
        // Taken, so that it is gone if the canvas is not shown any more.
        cx.view.hovered_in_status = cx.view.hovered.take();
        if let (Some(at), Some(canvas), Some(map)) =
            (cx.view.hovered_in_status, &cx.workbench.document().canvas, panels::current_map(cx.workbench))
            && let Some(value) = map.value_at(at, canvas.extent())
        {
            ui.label(faint(format!("({:.0}, {:.0})   similarity {value:.3}", at.x.floor(), at.y.floor())));
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if let Some(notice) = cx.workbench.notices().newest() {
                let colour = match notice.level {
                    Level::Info => tokens.faint,
                    Level::Warning => tokens.warning,
                    Level::Error => tokens.error,
                };
                let text = RichText::new(&notice.text).small().color(colour);
                let link = egui::Button::new(text).frame(false).truncate();
                if ui.add(link).on_hover_text(&notice.text).clicked() {
                    cx.outbox.act(Action::FocusNotices, cx.workbench);
                }
            }
        });
    });
}
