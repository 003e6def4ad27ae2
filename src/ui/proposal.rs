//! The dialog that shows what parameters from outside would change, before anything changes.

use egui::{Context, RichText, Ui};

use super::shell::Cx;
use super::theme;
use crate::document::{Edit, TextField};
use crate::workbench::Command;
use crate::workbench::proposal::{Change, Field, Proposal};

/// Letters of a value that a row shows.
const LONGEST: usize = 160;
/// Bytes of a value that stands beside its name.
const ONE_LINE: usize = 32;

/// What is not to be taken over.
#[derive(Default)]
pub(super) struct ProposalView {
    without: Vec<Field>,
    is_open: bool,
}

/// Shows the dialog while something is proposed.
pub(super) fn show(ctx: &Context, cx: &mut Cx<'_>) {
    let Some(proposal) = cx.workbench.proposal() else {
        cx.view.proposal = ProposalView::default();
        return;
    };
    let opens = !std::mem::replace(&mut cx.view.proposal.is_open, true);
    let modal = theme::modal(ctx, "proposal").show(ctx, |ui| {
        ui.set_width(560.0_f32.min(ui.ctx().content_rect().width() - 48.0));
        ui.heading("Take over these settings?");
        let about = format!("They come from {}. Nothing changes until you take them over.", proposal.source);
        ui.label(RichText::new(about).color(theme::tokens(ui).faint));
        let changes = proposal.changes(cx.workbench.document());
        let most = ui.ctx().content_rect().height() * 0.5;
        egui::ScrollArea::vertical().max_height(most).auto_shrink([false, true]).show(ui, |ui| {
            for change in &changes {
                row(ui, change, &mut cx.view.proposal.without);
            }
            if !proposal.ignored.is_empty() {
                let text = format!("Not taken over: {}", proposal.ignored.join(", "));
                ui.add(egui::Label::new(RichText::new(text).small().color(theme::tokens(ui).faint)).wrap());
            }
        });
        buttons(ui, cx, proposal, opens);
    });
    if modal.should_close() {
        cx.outbox.send(Command::DropProposal);
    }
}

fn row(ui: &mut Ui, change: &Change, without: &mut Vec<Field>) {
    let tokens = theme::tokens(ui);
    let mut is_wanted = !without.contains(&change.field);
    let colour = if is_wanted { tokens.text } else { tokens.faint };
    let from = RichText::new(short(&change.from)).small().color(tokens.faint).strikethrough();
    let to = if change.to.is_empty() { "(nothing)".to_owned() } else { short(&change.to) };
    let to = RichText::new(to).small().color(colour);
    let is_long = change.from.len().max(change.to.len()) > ONE_LINE;
    ui.horizontal(|ui| {
        if ui.checkbox(&mut is_wanted, change.field.name()).changed() {
            match is_wanted {
                true => without.retain(|field| *field != change.field),
                false => without.push(change.field),
            }
        }
        if !is_long {
            if !change.from.is_empty() {
                ui.label(from.clone());
            }
            ui.label(to.clone());
        }
    });
    if is_long {
        ui.indent(change.field, |ui| {
            if !change.from.is_empty() {
                ui.add(egui::Label::new(from).wrap());
            }
            ui.add(egui::Label::new(to).wrap());
        });
    }
}

fn buttons(ui: &mut Ui, cx: &Cx<'_>, proposal: &Proposal, opens: bool) {
    ui.horizontal(|ui| {
        let apply = ui.add(egui::Button::new("Apply").fill(theme::tokens(ui).accent_soft));
        if opens {
            apply.request_focus();
        }
        if apply.clicked() {
            cx.outbox.send(Command::ApplyProposal(cx.view.proposal.without.clone()));
        }
        if ui.button("Insert as text").on_hover_text("Puts the text itself into the prompt, at the caret.").clicked() {
            let prompt = &cx.workbench.document().prompt;
            let caret = prompt.char_indices().nth(cx.workbench.prompt_caret()).map_or(prompt.len(), |(at, _)| at);
            let mut text = prompt.clone();
            text.insert_str(caret, &proposal.text);
            cx.outbox.send(Command::EditApart(Edit::SetText { field: TextField::Prompt, text }));
            cx.outbox.send(Command::DropProposal);
        }
        if ui.button("Cancel").clicked() {
            cx.outbox.send(Command::DropProposal);
        }
    });
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
