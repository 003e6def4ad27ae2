//! What stands in the window's panels: one file, one panel.

mod canvas;
mod compare;
mod jobs;
mod lens;
mod library;
mod models;
mod notices;
mod preview;
pub(super) mod prompt;
mod steering;
mod zero_shot;

pub(super) use library::LibraryView;

use egui::{Rect, RichText, Ui};

use super::shell::Cx;
use super::theme;
pub(super) use compare::CompareLooks;

use crate::workbench::lens::LensMap;
use crate::workbench::{PanelKind, Workbench};

/// Shows one panel.
pub(super) fn show(panel: PanelKind, ui: &mut Ui, cx: &mut Cx<'_>) {
    match panel {
        PanelKind::Canvas => return canvas::show(ui, cx),
        // They scroll their parts, not themselves.
        PanelKind::Compare => return compare::show(ui, cx),
        PanelKind::Library => return library::show(ui, cx),
        _ => {}
    }
    egui::ScrollArea::vertical().id_salt(panel.title()).auto_shrink([false, false]).show(ui, |ui| {
        match panel {
            PanelKind::Canvas | PanelKind::Compare | PanelKind::Library => {}
            PanelKind::Prompt => prompt::show(ui, cx),
            PanelKind::Models => models::show(ui, cx),
            PanelKind::Steering => steering::show(ui, cx),
            PanelKind::Lens => lens::show(ui, cx),
            PanelKind::ZeroShot => zero_shot::show(ui, cx),
            PanelKind::Preview => preview::show(ui, cx),
            PanelKind::Jobs => jobs::show(ui, cx),
            PanelKind::Notices => notices::show(ui, cx),
        }
        turn_pages(ui, ui.clip_rect());
    });
}

/// Scrolls by the keys for pages while the keyboard is in this panel, which is seen in `place`.
fn turn_pages(ui: &Ui, place: Rect) {
    let pressed = |key| ui.input(|input| input.modifiers.is_none() && input.key_pressed(key));
    let pages = i8::from(pressed(egui::Key::PageDown)) - i8::from(pressed(egui::Key::PageUp));
    if pages == 0 {
        return;
    }
    let focused = ui.ctx().memory(|memory| memory.focused()).and_then(|id| ui.ctx().read_response(id));
    // What has the keyboard may have been scrolled out of sight: then only its place among the panel's contents tells.
    let is_here = |focused: &egui::Response| match focused.interact_rect.is_positive() {
        true => place.contains(focused.interact_rect.center()),
        false => ui.min_rect().contains(focused.rect.center()),
    };
    if focused.as_ref().is_some_and(is_here) {
        ui.scroll_with_delta(egui::vec2(0.0, -f32::from(pages) * 0.8 * ui.clip_rect().height()));
    }
}

/// A small label above a control; tie the control to it by `labelled_by`.
fn caption(ui: &mut Ui, text: &str) -> egui::Response {
    ui.label(RichText::new(text).small().color(theme::tokens(ui).faint))
}

/// What an empty panel says.
fn empty(ui: &mut Ui, text: &str) {
    ui.add_space(theme::GRID);
    ui.label(RichText::new(text).color(theme::tokens(ui).faint));
}

/// The newest heatmap, if it is of the picture that is on the canvas now.
pub(super) fn current_map(workbench: &Workbench) -> Option<&LensMap> {
    let picture = workbench.document().canvas.as_ref()?.picture.revision();
    workbench.lens().map().filter(|map| map.picture == picture)
}

/// Shows `content` dimmed while newer numbers are on their way; the dimming comes softly, so that quick answers do not flicker.
fn dimmed_while<R>(ui: &mut Ui, pending: bool, salt: &str, content: impl FnOnce(&mut Ui) -> R) -> R {
    let dimming = ui.ctx().animate_bool_with_time(ui.scope_id().with(salt), pending, 0.2);
    ui.scope(|ui| {
        ui.multiply_opacity(1.0 - 0.55 * dimming);
        content(ui)
    })
    .inner
}

/// A slider from 0 to 100 % with its label.
fn percent(ui: &mut Ui, label: &str, value: &mut f32) -> bool {
    let text = caption(ui, label);
    let slider = egui::Slider::new(value, 0.0..=1.0).custom_formatter(|v, _| format!("{:.0} %", v * 100.0));
    ui.add(slider.custom_parser(|t| t.trim().trim_end_matches('%').trim().parse::<f64>().ok().map(|v| v / 100.0)))
        .labelled_by(text.id)
        .changed()
}
