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

/// Stretches of the schedule that are shown; an alternation has one for each step.
const MOST_STRETCHES: usize = 24;
/// Tokens of a text that are shown.
const MOST_TOKENS: usize = 600;

/// What is open.
#[derive(Default)]
pub(super) struct EncoderView {
    /// Whether the tokens of each encoder are shown.
    tokens: bool,
}

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    egui::CollapsingHeader::new("What the encoder gets").id_salt("encoder").show(ui, |ui| {
        let Some(reading) = cx.workbench.reader().reading() else {
            super::super::empty(ui, "Nothing has been read yet.");
            return;
        };
        drawn(ui, reading);
        schedule(ui, reading);
        networks(ui, reading);
        chunks(ui, cx);
    });
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

fn schedule(ui: &mut Ui, reading: &Reading) {
    let mut from = 1;
    let several = reading.schedule.len() > 1;
    for stretch in reading.schedule.iter().take(MOST_STRETCHES) {
        let title = match several {
            true if from == stretch.until_step => format!("Step {from}"),
            true => format!("Steps {from} to {}", stretch.until_step),
            false => "Weighted fragments".to_owned(),
        };
        caption(ui, &title);
        parts(ui, stretch);
        from = stretch.until_step + 1;
    }
    if reading.schedule.len() > MOST_STRETCHES {
        let more = format!("and {} more changes", reading.schedule.len() - MOST_STRETCHES);
        ui.label(RichText::new(more).small().color(theme::tokens(ui).faint));
    }
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
