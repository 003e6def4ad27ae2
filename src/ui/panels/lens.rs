//! The lens: which phrase, how it is shown, how well it fits the whole picture.

use egui::{RichText, TextEdit, Ui};

use super::{caption, current_map, dimmed_while, empty, percent};
use crate::analysis::heatmap;
use crate::base::colormap::Colormap;
use crate::document::TextField;
use crate::store::preferences::HeatmapScale;
use crate::ui::shell::Cx;
use crate::ui::textures::ABSOLUTE;
use crate::ui::theme;
use crate::workbench::PanelKind;
use crate::workbench::lens::LensMap;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let preferences = cx.workbench.preferences();
    let (mut on, mut follows) = (preferences.lens_on, preferences.lens_follows_prompt);
    ui.horizontal_wrapped(|ui| {
        if ui.checkbox(&mut on, "Show the heatmap").changed() {
            cx.outbox.prefer(cx.workbench, |p| p.lens_on = on);
        }
        if ui
            .checkbox(&mut follows, "Follow the prompt")
            .on_hover_text("Looks for the phrase under the caret of the prompt.")
            .changed()
        {
            cx.outbox.prefer(cx.workbench, |p| p.lens_follows_prompt = follows);
        }
    });
    phrase(ui, cx, follows);
    result(ui, cx);
    looks(ui, cx);
}

fn phrase(ui: &mut Ui, cx: &mut Cx<'_>, follows: bool) {
    let label = caption(ui, "Phrase to find");
    let mut text = cx.workbench.document().text(TextField::LensPhrase).to_owned();
    if follows {
        text = cx.workbench.lens_phrase().to_owned();
    }
    let edit = TextEdit::singleline(&mut text)
        .id(egui::Id::unique("lens phrase"))
        .hint_text("Where in the picture is …")
        .margin(egui::Margin::same(8))
        .desired_width(f32::INFINITY);
    let response = ui.add_enabled(!follows, edit).labelled_by(label.id);
    if !follows && cx.view.take_focus(PanelKind::Lens) {
        response.request_focus();
    }
    if response.changed() {
        cx.outbox.set_text(TextField::LensPhrase, text);
    }
}

fn result(ui: &mut Ui, cx: &Cx<'_>) {
    let lens = cx.workbench.lens();
    let tokens = theme::tokens(ui);
    if let Some(why) = lens.failure() {
        ui.label(RichText::new(why).color(tokens.error));
        return;
    }
    let Some(map) = current_map(cx.workbench) else {
        let text = match (cx.workbench.document().canvas.is_some(), cx.workbench.lens_phrase().is_empty()) {
            (false, _) => "Open a picture to see where a phrase is.",
            (true, true) => "Type a phrase to see where it is.",
            (true, false) => "Looking…",
        };
        empty(ui, text);
        return;
    };
    let (low, high) = heatmap::range(&map.phrase.grid);
    dimmed_while(ui, lens.is_pending(), "score", |ui| score(ui, map, low, high));
    colour_scale(ui, cx, low, high);
    if map.phrase.tokens_cut > 0 {
        let text = format!("The phrase is {} tokens too long; the rest was not read.", map.phrase.tokens_cut);
        ui.label(RichText::new(text).small().color(tokens.warning));
    }
}

fn score(ui: &mut Ui, map: &LensMap, low: f32, high: f32) {
    let tokens = theme::tokens(ui);
    ui.horizontal_wrapped(|ui| {
        ui.label("Whole picture");
        ui.label(RichText::new(format!("{:.3}", map.phrase.score)).monospace().strong());
        if let Some(bare) = map.phrase.score_without_marks {
            ui.label(RichText::new(format!("{bare:.3} without marks")).monospace().color(tokens.faint));
        }
        let patches = RichText::new(format!("patches {low:.3} to {high:.3}")).monospace().color(tokens.faint);
        ui.add(egui::Label::new(patches).extend());
    });
}

fn colour_scale(ui: &mut Ui, cx: &Cx<'_>, low: f32, high: f32) {
    let preferences = cx.workbench.preferences();
    let (low, high) = match preferences.heatmap_scale {
        HeatmapScale::MinMax => (low, high),
        HeatmapScale::Absolute => ABSOLUTE,
    };
    let (rect, response) = ui.allocate_exact_size(egui::vec2(ui.available_width(), 10.0), egui::Sense::hover());
    let strips = 64;
    for strip in 0..strips {
        let at = |i: i32| rect.left() + rect.width() * i as f32 / strips as f32;
        let part = egui::Rect::from_x_y_ranges(at(strip)..=at(strip + 1) + 0.5, rect.y_range());
        let [r, g, b] = preferences.colormap.rgb(strip as f32 / (strips - 1) as f32);
        ui.painter().rect_filled(part, 0.0, egui::Color32::from_rgb(r, g, b));
    }
    let text = format!("Colour scale from {low:.3} to {high:.3}");
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, &text));
    response.on_hover_text(text);
}

fn looks(ui: &mut Ui, cx: &Cx<'_>) {
    let preferences = cx.workbench.preferences();
    // Labels and the number beside a slider take the rest, also in a narrow panel.
    ui.spacing_mut().slider_width = (ui.available_width() - 160.0).clamp(24.0, 120.0);
    egui::Grid::new("lens looks").num_columns(2).spacing([16.0, 8.0]).show(ui, |ui| {
        let mut opacity = preferences.lens_opacity;
        if percent(ui, "Opacity", &mut opacity) {
            cx.outbox.prefer(cx.workbench, |p| p.lens_opacity = opacity);
        }
        ui.end_row();
        let label = caption(ui, "Colours");
        let mut colormap = preferences.colormap;
        let combo = egui::ComboBox::from_id_salt("colour map").selected_text(colormap.name()).show_ui(ui, |ui| {
            for choice in Colormap::ALL {
                ui.selectable_value(&mut colormap, choice, choice.name());
            }
        });
        combo.response.labelled_by(label.id);
        if colormap != preferences.colormap {
            cx.outbox.prefer(cx.workbench, |p| p.colormap = colormap);
        }
        ui.end_row();
        caption(ui, "Scale");
        let mut scale = preferences.heatmap_scale;
        ui.horizontal(|ui| {
            ui.selectable_value(&mut scale, HeatmapScale::MinMax, "Min–max");
            ui.selectable_value(&mut scale, HeatmapScale::Absolute, "Absolute");
        });
        if scale != preferences.heatmap_scale {
            cx.outbox.prefer(cx.workbench, |p| p.heatmap_scale = scale);
        }
        ui.end_row();
        let mut mask = preferences.mask_opacity;
        if percent(ui, "Mask overlay", &mut mask) {
            cx.outbox.prefer(cx.workbench, |p| p.mask_opacity = mask);
        }
        ui.end_row();
    });
    let mut marks = preferences.marks_count;
    let help = "Off: lens and zero-shot see the picture without the coloured marks.";
    if ui.checkbox(&mut marks, "Marks are part of the picture").on_hover_text(help).changed() {
        cx.outbox.prefer(cx.workbench, |p| p.marks_count = marks);
    }
}
