//! The picture that forms while you type, how it is sampled, and the pictures that were made on purpose.

use egui::{Color32, RichText, Sense, Ui, vec2};

use super::{caption, empty, percent};
use crate::base::geom::Extent;
use crate::document::Edit;
use crate::job::sampling::{Emphasis, Sampler, Sampling, Schedule};
use crate::ui::shell::{Cx, icon_action};
use crate::ui::theme::{self, ACCENT};
use crate::ui::tiles::Slot;
use crate::workbench::compare::{CompareRequest, Side};
use crate::workbench::{Action, Command, PanelKind, PreviewTarget, ViewCommand};

/// Below this width the picture stands above the controls instead of beside them.
const NARROW: f32 = 560.0;
/// Layers of the smallest text towers in use.
const MOST_SKIPPED: u32 = 12;
/// The sizes that can be picked.
const SIZES: [(u32, u32); 6] = [(128, 128), (160, 128), (128, 160), (192, 192), (256, 256), (512, 512)];

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    if ui.available_width() < NARROW {
        picture(ui, cx, 220.0);
        controls(ui, cx);
        results(ui, cx);
        return;
    }
    ui.horizontal_top(|ui| {
        let side = (ui.available_height() - 8.0).clamp(160.0, 360.0);
        ui.allocate_ui(vec2(side, side), |ui| ui.vertical(|ui| picture(ui, cx, side)));
        ui.add_space(8.0);
        ui.vertical(|ui| {
            controls(ui, cx);
            results(ui, cx);
        });
    });
}

fn picture(ui: &mut Ui, cx: &mut Cx<'_>, side: f32) {
    let tokens = theme::tokens(ui);
    let preview = cx.workbench.preview();
    let (frame, response) = ui.allocate_exact_size(vec2(side, side), Sense::hover());
    let nothing = preview.failure().unwrap_or("Type a prompt, and a picture forms here.");
    let label = if preview.shown().is_some() { "Preview picture" } else { nothing };
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, label));
    ui.painter().rect_filled(frame, 8.0, tokens.field);
    match preview.shown() {
        Some(shown) => {
            let size = vec2(shown.extent().width as f32, shown.extent().height as f32);
            let size = size * (frame.width() / size.x).min(frame.height() / size.y);
            let place = egui::Rect::from_center_size(frame.center(), size);
            cx.textures.pictures.paint(Slot::Preview, ui.painter(), shown, place, false);
        }
        None => {
            let galley = ui.painter().layout(
                nothing.to_owned(),
                egui::TextStyle::Body.resolve(ui.style()),
                tokens.faint,
                side - 32.0,
            );
            ui.painter().galley(frame.center() - galley.size() * 0.5, galley, tokens.faint);
        }
    }
    let job = preview.job().and_then(|id| cx.workbench.jobs().get(id));
    if let Some(fraction) = job.and_then(|job| job.fraction()) {
        let line = egui::Rect::from_min_size(frame.left_bottom() - vec2(0.0, 3.0), vec2(side * fraction, 3.0));
        ui.painter().rect_filled(line, 1.5, ACCENT);
    }
    if preview.shown().is_some()
        && let Some(text) = preview.failure()
    {
        ui.label(RichText::new(text).small().color(tokens.warning));
    }
}

fn controls(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.horizontal_wrapped(|ui| {
        let target = cx.workbench.preview().target();
        for (choice, name) in [(PreviewTarget::NewPicture, "New picture"), (PreviewTarget::Inpaint, "Inpaint mask")] {
            let response = ui.selectable_label(target == choice, name);
            if target == choice && cx.view.take_focus(PanelKind::Preview) {
                response.request_focus();
            }
            if response.clicked() {
                cx.outbox.send(Command::SetPreviewTarget(choice));
            }
        }
        let mut live = cx.workbench.preferences().live_preview;
        if ui.checkbox(&mut live, "Live").on_hover_text("Lets a picture form while you type.").changed() {
            cx.outbox.prefer(cx.workbench, |p| p.live_preview = live);
        }
    });
    let old = &cx.workbench.document().sampling;
    let mut sampling = old.clone();
    egui::Grid::new("sampling").num_columns(4).spacing([12.0, 8.0]).show(ui, |ui| {
        sampling_rows(ui, cx, &mut sampling);
    });
    if sampling != *old {
        cx.outbox.send(Command::Edit(Edit::SetSampling(sampling)));
    }
    if cx.workbench.preview().target() == PreviewTarget::Inpaint {
        ui.horizontal(|ui| {
            let mut strength = cx.workbench.document().strength;
            if percent(ui, "Strength", &mut strength) {
                cx.outbox.send(Command::Edit(Edit::SetStrength(strength)));
            }
        });
    }
    ui.horizontal_wrapped(|ui| {
        let generate = egui::Button::new(RichText::new("Generate").color(Color32::WHITE)).fill(ACCENT);
        if ui.add(generate).on_hover_text(Action::Generate.text().1).clicked() {
            cx.outbox.act(Action::Generate, cx.workbench);
        }
        if ui.button("Generate four").clicked() {
            cx.outbox.act(Action::GenerateFour, cx.workbench);
        }
        let can_send = Action::SendToCanvas.resolve(cx.workbench).is_some();
        if ui.add_enabled(can_send, egui::Button::new("Send to canvas")).clicked() {
            cx.outbox.act(Action::SendToCanvas, cx.workbench);
        }
        if let Some(save) = Action::SaveResult.resolve(cx.workbench)
            && ui.button(Action::SaveResult.text().0).on_hover_text(Action::SaveResult.text().1).clicked()
        {
            cx.outbox.send(save);
        }
    });
}

fn sampling_rows(ui: &mut Ui, cx: &Cx<'_>, sampling: &mut Sampling) {
    let label = caption(ui, "Steps");
    ui.add(egui::DragValue::new(&mut sampling.steps).range(1..=200).speed(0.2)).labelled_by(label.id);
    let label = caption(ui, "Guidance");
    ui.add(egui::DragValue::new(&mut sampling.guidance).range(0.0..=30.0).speed(0.05).max_decimals(1))
        .labelled_by(label.id);
    ui.end_row();
    let label = caption(ui, "Sampler");
    let combo = egui::ComboBox::from_id_salt("sampler")
        .width(130.0)
        .selected_text(sampler_name(sampling.sampler))
        .show_ui(ui, |ui| {
            for choice in std::iter::once(None).chain(Sampler::ALL.map(Some)) {
                ui.selectable_value(&mut sampling.sampler, choice, sampler_name(choice));
            }
        });
    combo.response.labelled_by(label.id);
    schedule(ui, sampling);
    ui.end_row();
    let label = caption(ui, "Size");
    let combo =
        egui::ComboBox::from_id_salt("size").width(90.0).selected_text(sampling.size.to_string()).show_ui(ui, |ui| {
            for (width, height) in SIZES {
                let size = Extent::new(width, height);
                ui.selectable_value(&mut sampling.size, size, size.to_string());
            }
        });
    combo.response.labelled_by(label.id);
    let label = caption(ui, "Seed");
    ui.horizontal(|ui| {
        ui.add(egui::DragValue::new(&mut sampling.seed).speed(1.0)).labelled_by(label.id);
        ui.spacing_mut().item_spacing.x = 0.0;
        icon_action(ui, "dices", Action::NewSeed, cx);
        let icon = if cx.workbench.preferences().seed_locked { "lock" } else { "lock-open" };
        icon_action(ui, icon, Action::ToggleSeedLock, cx);
    });
    ui.end_row();
    reading(ui, sampling);
    ui.end_row();
}

/// How the text towers read the prompts.
fn reading(ui: &mut Ui, sampling: &mut Sampling) {
    let label = caption(ui, "Weights");
    let combo = egui::ComboBox::from_id_salt("emphasis").width(130.0).selected_text(sampling.emphasis.name()).show_ui(
        ui,
        |ui| {
            for choice in Emphasis::ALL {
                ui.selectable_value(&mut sampling.emphasis, choice, choice.name());
            }
        },
    );
    combo.response.labelled_by(label.id).on_hover_text("What brackets like (this:1.3) do to the words in them.");
    let label = caption(ui, "CLIP skip");
    let mut layer = sampling.clip_skip.unwrap_or(0);
    let shown = egui::DragValue::new(&mut layer)
        .range(0..=MOST_SKIPPED)
        .speed(0.05)
        .custom_formatter(|layer, _| if layer < 1.0 { "own".to_owned() } else { layer.to_string() });
    let help = "Which layer of the text tower counts, from the last, which is 1; the model's own if you choose none.";
    ui.add(shown).labelled_by(label.id).on_hover_text(help);
    sampling.clip_skip = (layer > 0).then_some(layer);
}

fn sampler_name(sampler: Option<Sampler>) -> &'static str {
    sampler.map_or(Sampler::MODELS_OWN, Sampler::name)
}

fn schedule(ui: &mut Ui, sampling: &mut Sampling) {
    let label = caption(ui, "Schedule");
    let takes = sampling.sampler.is_none_or(Sampler::takes_schedule);
    ui.add_enabled_ui(takes, |ui| {
        let shown = if takes { sampling.schedule } else { Schedule::Default };
        let combo =
            egui::ComboBox::from_id_salt("schedule").width(90.0).selected_text(shown.name()).show_ui(ui, |ui| {
                for choice in Schedule::ALL {
                    ui.selectable_value(&mut sampling.schedule, choice, choice.name());
                }
            });
        let help = "Which noise levels are visited; the default is the model's own choice.";
        combo.response.labelled_by(label.id).on_hover_text(help);
    });
}

fn results(ui: &mut Ui, cx: &mut Cx<'_>) {
    let preview = cx.workbench.preview();
    if preview.results().is_empty() {
        empty(ui, "Pictures that you generate are kept here for this session.");
        return;
    }
    ui.horizontal(|ui| {
        caption(ui, "Generated in this session");
        if ui.small_button("Forget all").clicked() {
            cx.outbox.send(Command::ClearResults);
        }
    });
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(8.0, 8.0);
        for (index, made) in preview.results().iter().enumerate().rev() {
            let is_selected = preview.selected() == Some(index);
            let (rect, response) = ui.allocate_exact_size(vec2(64.0, 64.0), Sense::click());
            let label = format!("Picture of seed {}", made.seed);
            response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, is_selected, &label));
            let size = vec2(made.picture.extent().width as f32, made.picture.extent().height as f32);
            let size = size * (rect.width() / size.x).min(rect.height() / size.y);
            let place = egui::Rect::from_center_size(rect.center(), size);
            ui.painter().rect_filled(rect, 6.0, theme::tokens(ui).field);
            cx.textures.pictures.paint(Slot::Thumbnail, ui.painter(), &made.picture, place, false);
            if is_selected || response.has_focus() {
                ui.painter().rect_stroke(rect, 6.0, egui::Stroke::new(2.0, ACCENT), egui::StrokeKind::Outside);
            }
            let help = format!("Seed {}: {}", made.seed, made.spec.prompt);
            response.context_menu(|ui| {
                if ui.button("Send to canvas").clicked() {
                    cx.outbox.send(Command::SendToCanvas(Some(index)));
                }
                if ui.button(Action::SaveResult.text().0).clicked() {
                    cx.outbox.send(Command::View(ViewCommand::SaveResultDialog(index)));
                }
                for side in [Side::A, Side::B] {
                    if ui.button(format!("Compare as {}", side.name())).clicked() {
                        cx.outbox.send(Command::Compare(CompareRequest::ChooseResult(side, index)));
                    }
                }
            });
            if response.on_hover_text(help).clicked() {
                cx.outbox.send(Command::SelectResult((!is_selected).then_some(index)));
            }
        }
    });
}
