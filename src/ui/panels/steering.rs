//! What steers beside the prompts: LoRAs, ControlNets, and the learned words that there are. Everything chosen here is a part of the
//! document.

use egui::{RichText, Slider, Ui};

use super::{caption, empty};
use crate::document::{ControlChoice, ControlPicture, Edit, LoraChoice, Steering, TextField};
use crate::prompt::{modifier, named};
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::models::KnownModel;
use crate::workbench::{Action, Command, PanelKind, Sort, ViewCommand};

/// Strengths that a slider reaches; further ones can be typed.
const STRENGTHS: std::ops::RangeInclusive<f32> = -1.0..=2.0;
/// Width of the labels before sliders.
const LABELS: f32 = 64.0;
/// Width of the number behind a slider, with the gaps.
const VALUES: f32 = 76.0;
/// Below this width labels stand above their sliders.
const NARROW: f32 = 240.0;
/// The shortest stretch of steps that a ControlNet can be given.
const SHORTEST: f32 = 0.01;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let old = &cx.workbench.document().steering;
    let mut steering = old.clone();
    loras(ui, cx, &mut steering);
    controls(ui, cx, &mut steering);
    if steering != *old {
        cx.outbox.send(Command::Edit(Edit::SetSteering(Box::new(steering))));
    }
    words(ui, cx);
}

/// A heading with a button that adds one of the things of this sort that are known.
fn heading(ui: &mut Ui, cx: &mut Cx<'_>, title: &str, sort: Sort, add: &str) -> Option<KnownModel> {
    let known = cx.workbench.models().known().unwrap_or_default();
    let mut chosen = None;
    ui.add_space(theme::GRID);
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(title).strong());
        let is_first = sort == Sort::Lora;
        let menu = ui.menu_button(add, |ui| {
            ui.set_min_width(200.0);
            let usable =
                |model: &&KnownModel| model.sort == sort && model.report.as_ref().is_none_or(|r| r.is_usable());
            let mut is_empty = true;
            for model in known.iter().filter(usable) {
                is_empty = false;
                if ui.button(&model.name).on_hover_text(&model.about).clicked() {
                    chosen = Some(model.clone());
                    ui.close();
                }
            }
            if is_empty {
                ui.label(format!("No {} is known here.", sort.name()));
            }
            ui.separator();
            if ui.button(Action::AddModels.text().0).on_hover_text(Action::AddModels.text().1).clicked() {
                cx.outbox.act(Action::AddModels, cx.workbench);
                ui.close();
            }
        });
        if is_first && cx.view.take_focus(PanelKind::Steering) {
            menu.response.request_focus();
        }
    });
    chosen
}

fn loras(ui: &mut Ui, cx: &mut Cx<'_>, steering: &mut Steering) {
    if let Some(model) = heading(ui, cx, "LoRAs", Sort::Lora, "Add LoRA…") {
        steering.loras.push(LoraChoice::new(model.name, model.reference.0));
    }
    let mut removed = None;
    for (index, lora) in steering.loras.iter_mut().enumerate() {
        ui.push_id(("lora", index), |ui| {
            if title(ui, &mut lora.is_on, &lora.name, &lora.path.display().to_string()) {
                removed = Some(index);
            }
            ui.add_enabled_ui(lora.is_on, |ui| lora_strengths(ui, lora));
        });
    }
    removed.map(|index| steering.loras.remove(index));
    let named: Vec<_> = cx.workbench.resources().named_loras().collect();
    for (lora, problem) in &named {
        let text = format!("{} at {} by the prompt", lora.name, number(lora.unet_strength));
        ui.label(RichText::new(text).small().color(theme::tokens(ui).faint));
        if let Some(problem) = problem {
            let text = RichText::new(problem).small().color(theme::tokens(ui).warning);
            ui.add(egui::Label::new(text).wrap());
        }
    }
    if steering.loras.is_empty() && named.is_empty() {
        empty(ui, "LoRAs change what the model draws. Add one here, or write <lora:name:0.8> into the prompt.");
    }
}

/// On or off, the name, and a button that takes it away; true if that was pressed.
fn title(ui: &mut Ui, is_on: &mut bool, name: &str, about: &str) -> bool {
    ui.add_space(theme::GRID / 2.0);
    ui.horizontal_wrapped(|ui| {
        ui.checkbox(is_on, name).on_hover_text(about);
        let remove = ui.small_button("Remove");
        remove.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Remove {name}")));
        remove.clicked()
    })
    .inner
}

fn lora_strengths(ui: &mut Ui, lora: &mut LoraChoice) {
    let mut is_apart = lora.text_strength.is_some();
    strength(ui, "Strength", &lora.name, &mut lora.strength);
    if let Some(text_strength) = &mut lora.text_strength {
        strength(ui, "On words", &lora.name, text_strength);
    }
    let help = "How strongly the LoRA works on the reading of the prompt, apart from the drawing.";
    let toggle = ui.checkbox(&mut is_apart, "Other strength on words").on_hover_text(help);
    if toggle.changed() {
        lora.text_strength = is_apart.then_some(lora.strength);
    }
}

fn strength(ui: &mut Ui, label: &str, name: &str, value: &mut f32) {
    let room = ui.available_width();
    let is_narrow = room < NARROW;
    let row = |ui: &mut Ui| {
        // Sliders below each other begin at the same place.
        ui.spacing_mut().slider_width = (room - VALUES - if is_narrow { 0.0 } else { LABELS }).clamp(40.0, 160.0);
        let place = egui::vec2(LABELS, if is_narrow { 0.0 } else { ui.spacing().interact_size.y });
        let layout = egui::Layout::left_to_right(egui::Align::Center);
        let text = ui.allocate_ui_with_layout(place, layout, |ui| {
            ui.set_min_width(LABELS);
            caption(ui, label)
        });
        let slider = Slider::new(value, STRENGTHS).clamping(egui::SliderClamping::Never).max_decimals(2);
        let help = format!("{label} of {name}; 1 is what it was made for.");
        ui.add(slider).labelled_by(text.inner.id).on_hover_text(help);
        *value = if value.is_finite() { value.clamp(-Steering::MOST, Steering::MOST) } else { 1.0 };
    };
    if is_narrow {
        ui.vertical(row)
    } else {
        ui.horizontal(row)
    };
}

fn controls(ui: &mut Ui, cx: &mut Cx<'_>, steering: &mut Steering) {
    if let Some(model) = heading(ui, cx, "ControlNets", Sort::ControlNet, "Add ControlNet…") {
        steering.controls.push(ControlChoice::new(model.name, model.reference));
    }
    let mut removed = None;
    for (index, control) in steering.controls.iter_mut().enumerate() {
        ui.push_id(("control", index), |ui| {
            if title(ui, &mut control.is_on, &control.name, &control.model.0) {
                removed = Some(index);
            }
            ui.add_enabled_ui(control.is_on, |ui| {
                control_picture(ui, cx, index, control);
                strength(ui, "Strength", &control.name, &mut control.scale);
                stretch(ui, control);
            });
        });
    }
    removed.map(|index| steering.controls.remove(index));
    if steering.controls.is_empty() {
        empty(ui, "A ControlNet keeps to the edges, depths or poses of a picture.");
    }
}

fn control_picture(ui: &mut Ui, cx: &Cx<'_>, index: usize, control: &mut ControlChoice) {
    ui.horizontal_wrapped(|ui| {
        caption(ui, "Picture");
        let follows = control.picture == ControlPicture::Canvas;
        let help = "Steers by whatever is on the canvas.";
        if ui.selectable_label(follows, "Canvas").on_hover_text(help).clicked() {
            control.picture = ControlPicture::Canvas;
        }
        let name = match &control.picture {
            ControlPicture::File { name, .. } => name.as_str(),
            ControlPicture::Canvas => "File…",
        };
        let help = "Opens a picture prepared as the ControlNet wants it.";
        if ui.selectable_label(!follows, name).on_hover_text(help).clicked() {
            cx.outbox.send(Command::View(ViewCommand::ControlPictureDialog(index)));
        }
    });
    if control.picture == ControlPicture::Canvas && cx.workbench.document().canvas.is_none() {
        ui.label(RichText::new("There is no picture on the canvas.").small().color(theme::tokens(ui).warning));
    }
}

/// From which to which share of the steps.
fn stretch(ui: &mut Ui, control: &mut ControlChoice) {
    ui.horizontal_wrapped(|ui| {
        let from = caption(ui, "Steps from");
        let latest = (control.end - SHORTEST).max(0.0);
        ui.add(share(&mut control.start, 0.0..=latest)).labelled_by(from.id);
        let to = caption(ui, "to");
        let earliest = (control.start + SHORTEST).min(1.0);
        ui.add(share(&mut control.end, earliest..=1.0)).labelled_by(to.id);
    });
}

/// A share of the steps, in percent.
fn share(value: &mut f32, range: std::ops::RangeInclusive<f32>) -> egui::DragValue<'_> {
    egui::DragValue::new(value)
        .range(range)
        .speed(0.005)
        .custom_formatter(|value, _| format!("{:.0} %", value * 100.0))
        .custom_parser(|text| text.trim().trim_end_matches('%').trim().parse::<f64>().ok().map(|v| v / 100.0))
}

/// The learned words that are known: one click puts one into the prompt, or takes it out.
fn words(ui: &mut Ui, cx: &Cx<'_>) {
    let known = cx.workbench.models().known().unwrap_or_default().iter();
    let known: Vec<&KnownModel> = known.filter(|model| model.sort == Sort::Embedding).collect();
    ui.add_space(theme::GRID);
    ui.label(RichText::new("Embeddings").strong());
    if known.is_empty() {
        empty(ui, "Embeddings are learned words; those in the folders of your models are listed here.");
        return;
    }
    for (field, title) in [(TextField::Prompt, "In the prompt"), (TextField::Negative, "In the negative prompt")] {
        caption(ui, title);
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = egui::vec2(4.0, 4.0);
            let text = cx.workbench.document().text(field);
            for word in &known {
                let is_in = named::names(text, &word.name);
                let fill = if is_in { theme::tokens(ui).accent_soft } else { theme::tokens(ui).raised };
                let chip = ui.add(egui::Button::new(&word.name).selected(is_in).fill(fill).small());
                let label = format!("{} {}", word.name, title.to_lowercase());
                chip.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, is_in, &label));
                if chip.on_hover_text(&word.about).clicked() {
                    let text = modifier::toggle(text, &word.name);
                    cx.outbox.send(Command::Edit(Edit::SetText { field, text }));
                }
            }
        });
    }
}

fn number(value: f32) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
