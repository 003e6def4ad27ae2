//! "What the encoder gets": what becomes of the prompt on its way, stage by stage, as it is typed.

use egui::text::{LayoutJob, TextFormat};
use egui::{RichText, Ui};

use super::caption;
use crate::job::output::EncoderTokens;
use crate::prompt::lint;
use crate::prompt::reading::Reading;
use crate::prompt::stages::{Stretch, StretchPart};
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::Command;

/// Stretches of the schedule that are shown; an alternation has one for each step.
const MOST_STRETCHES: usize = 24;
/// Tokens of a text that are shown.
const MOST_TOKENS: usize = 600;

/// What is open.
#[derive(Default)]
pub(super) struct EncoderView {
    /// Whether the tokens of each encoder are shown.
    tokens: bool,
    /// Whether it is to be opened and to get the keyboard.
    pub(super) wants_focus: bool,
    /// Whether it is moved to the top of the panel while it opens.
    is_opening: bool,
}

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let wanted = std::mem::take(&mut cx.view.prompt.encoder.wants_focus);
    let header = egui::CollapsingHeader::new("What the encoder gets").id_salt("encoder").open(wanted.then_some(true));
    let shown = header.show(ui, |ui| {
        let Some(reading) = cx.workbench.reader().reading() else {
            super::super::empty(ui, "Nothing has been read yet.");
            return;
        };
        applied(ui, reading);
        drawn(ui, reading);
        schedule(ui, cx, reading);
        networks(ui, reading);
        chunks(ui, cx);
    });
    let view = &mut cx.view.prompt.encoder;
    if wanted {
        shown.header_response.request_focus();
    }
    let was_opened = shown.header_response.clicked() && shown.openness < 0.5;
    view.is_opening |= wanted || was_opened;
    if view.is_opening {
        // What was asked for is seen without scrolling.
        let at_once = egui::style::ScrollAnimation::none();
        ui.scroll_to_rect_animation(shown.header_response.rect, Some(egui::Align::TOP), at_once);
        view.is_opening = wanted || was_opened || shown.openness < 1.0;
    }
}

/// What each template and style makes of what the ones before it made.
fn applied(ui: &mut Ui, reading: &Reading) {
    if reading.layers.is_empty() {
        return;
    }
    caption(ui, "Templates and styles applied, one over the other");
    let tokens = theme::tokens(ui);
    let font = egui::TextStyle::Small.resolve(ui.style());
    let mut before = &reading.question.negative;
    for (name, [prompt, negative]) in &reading.layers {
        let mut job = LayoutJob::default();
        job.append(&format!("{name}: "), 0.0, TextFormat::simple(font.clone(), tokens.keyword));
        job.append(prompt, 0.0, TextFormat::simple(font.clone(), tokens.text));
        if negative != before {
            job.append(&format!("\nWithout: {negative}"), 0.0, TextFormat::simple(font.clone(), tokens.faint));
        }
        before = negative;
        ui.add(egui::Label::new(job).wrap());
    }
}

fn drawn(ui: &mut Ui, reading: &Reading) {
    if reading.drawn.is_empty() {
        return;
    }
    caption(ui, "Drawn from variants and wildcards, for this seed and the next three");
    for (offset, prompt) in reading.drawn.iter().enumerate() {
        let seed = reading.question.seed.saturating_add(offset as u64);
        let colour = if offset == 0 { theme::tokens(ui).text } else { theme::tokens(ui).faint };
        ui.add(egui::Label::new(RichText::new(format!("{seed}: {prompt}")).small().color(colour)).wrap());
    }
}

fn schedule(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading) {
    let count = reading.schedule.len();
    let step = cx.workbench.tokens_step();
    let chosen = reading.schedule.iter().position(|stretch| step <= stretch.until_step);
    if count > 1 {
        choice(ui, cx, step);
    }
    let mut from = 1;
    for (index, stretch) in reading.schedule.iter().enumerate() {
        let is_chosen = chosen == Some(index);
        if index < MOST_STRETCHES || is_chosen {
            match count {
                1 => drop(caption(ui, "Weighted fragments")),
                _ if ui
                    .selectable_label(is_chosen, RichText::new(steps(from, stretch.until_step)).small())
                    .on_hover_text("Shows the tokens and the chunk borders of these steps.")
                    .clicked() =>
                {
                    cx.outbox.send(Command::ShowTokensAt(from));
                }
                _ => {}
            }
            parts(ui, stretch);
        }
        from = stretch.until_step + 1;
    }
    if count > MOST_STRETCHES {
        let more = format!("and {} more changes", count - MOST_STRETCHES);
        ui.label(RichText::new(more).small().color(theme::tokens(ui).faint));
    }
}

/// The step whose tokens are shown, for prompts that change on the way.
fn choice(ui: &mut Ui, cx: &Cx<'_>, step: u32) {
    let steps = cx.workbench.document().sampling.steps.max(1);
    ui.horizontal(|ui| {
        let label = caption(ui, "Tokens and chunk borders at step");
        let mut chosen = step;
        let value = egui::DragValue::new(&mut chosen).range(1..=steps).speed(0.1);
        if ui.add(value).labelled_by(label.id).changed() {
            cx.outbox.send(Command::ShowTokensAt(chosen));
        }
        caption(ui, &format!("of {steps}"));
    });
}

fn steps(from: u32, until: u32) -> String {
    if from == until { format!("Step {from}") } else { format!("Steps {from} to {until}") }
}

fn parts(ui: &mut Ui, stretch: &Stretch) {
    for part in &stretch.parts {
        if stretch.parts.len() > 1 || part.weight != 1.0 {
            let weight = format!("A prompt of its own, weight {}", lint::short(part.weight));
            ui.label(RichText::new(weight).small().color(theme::tokens(ui).keyword));
        }
        ui.add(egui::Label::new(fragments(ui, part)).wrap());
    }
}

/// The fragments of a part, one after the other, each with its weight.
fn fragments(ui: &Ui, part: &StretchPart) -> LayoutJob {
    let tokens = theme::tokens(ui);
    let font = egui::TextStyle::Small.resolve(ui.style());
    let mut job = LayoutJob::default();
    for fragment in &part.fragments {
        if fragment.is_break() {
            job.append(" BREAK ", 0.0, TextFormat::simple(font.clone(), tokens.keyword));
            continue;
        }
        let mut words = TextFormat::simple(font.clone(), tokens.text);
        if fragment.weight != 1.0 {
            words.background = tokens.raised;
        }
        job.append(&fragment.text, 0.0, words);
        if fragment.weight != 1.0 && !fragment.text.trim().is_empty() {
            let weight = format!(" {} ", lint::short(fragment.weight));
            job.append(&weight, 0.0, TextFormat::simple(font.clone(), tokens.weight));
        }
    }
    if job.is_empty() {
        job.append("(nothing)", 0.0, TextFormat::simple(font, tokens.faint));
    }
    job
}

fn networks(ui: &mut Ui, reading: &Reading) {
    if reading.networks.is_empty() {
        return;
    }
    caption(ui, "Extra networks");
    for network in &reading.networks {
        let text = format!(
            "{} {}: text encoder {}, denoiser {}",
            network.kind,
            network.name,
            lint::short(network.weight),
            lint::short(network.denoiser_weight)
        );
        ui.label(RichText::new(text).small());
    }
}

/// Chunks, and on demand the tokens of each encoder side by side.
fn chunks(ui: &mut Ui, cx: &mut Cx<'_>) {
    let Some(read) = cx.workbench.tokens() else { return };
    let open = &mut cx.view.prompt.encoder.tokens;
    ui.checkbox(open, "Tokens of each encoder");
    for (name, tokens) in ["Prompt", "Negative prompt"].into_iter().zip(&read.tokens) {
        for (index, encoders) in tokens.parts.iter().enumerate() {
            let part = if tokens.parts.len() > 1 { format!(", part {}", index + 1) } else { String::new() };
            let lengths = encoders.first().map(|encoder| {
                let lengths: Vec<String> = encoder.chunks.iter().map(|chunk| chunk.len().to_string()).collect();
                format!("{name}{part}: chunks of {} tokens, at most {}", lengths.join(" + "), encoder.limit)
            });
            caption(ui, &lengths.unwrap_or_default());
            if *open {
                ui.columns(encoders.len().max(1), |columns| {
                    for (column, encoder) in columns.iter_mut().zip(encoders) {
                        side(column, encoder);
                    }
                });
            }
        }
    }
}

fn side(ui: &mut Ui, encoder: &EncoderTokens) {
    let tokens = theme::tokens(ui);
    let font = egui::TextStyle::Small.resolve(ui.style());
    let mut left = MOST_TOKENS;
    for chunk in &encoder.chunks {
        let mut job = LayoutJob::default();
        for (index, token) in chunk.iter().take(left).enumerate() {
            let mut format =
                TextFormat::simple(font.clone(), if token.weight == 1.0 { tokens.text } else { tokens.weight });
            // Neighbours differ, so that a word of several tokens can be told from several words.
            format.background = if index.is_multiple_of(2) { tokens.raised } else { tokens.hovered };
            job.append(&token.text, 0.0, format);
            job.append(" ", 0.0, TextFormat::simple(font.clone(), tokens.text));
        }
        left = left.saturating_sub(chunk.len());
        ui.add(egui::Label::new(job).wrap());
    }
}
