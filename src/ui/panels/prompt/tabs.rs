//! The prompts of the document as tabs.

use egui::{RichText, Ui};

use crate::document::Edit;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::{Action, Command};

/// Letters of a prompt that its tab shows.
const LONGEST: usize = 16;

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let document = cx.workbench.document();
    let tokens = theme::tokens(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(4.0, 4.0);
        for index in 0..document.prompt_count() {
            let prompt = document.prompt_of_tab(index).unwrap_or_default();
            let is_chosen = index == document.tab;
            let fill = if is_chosen { tokens.accent_soft } else { tokens.raised };
            let response =
                ui.add(egui::Button::new(RichText::new(title(prompt)).small()).selected(is_chosen).fill(fill));
            let label = format!("Prompt {} of {}", index + 1, document.prompt_count());
            response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Tab, true, is_chosen, &label));
            let hover = if prompt.is_empty() { "An empty prompt" } else { prompt };
            if response.on_hover_ui(|ui| drop(ui.label(hover))).clicked() && !is_chosen {
                cx.outbox.send(Command::EditApart(Edit::SelectPrompt(index)));
            }
        }
        if document.prompt_count() > 1 {
            button(ui, cx, "×", Action::ClosePrompt);
        }
        button(ui, cx, "+", Action::NewPrompt);
        button(ui, cx, "Chips", Action::ToggleChips);
    });
}

fn button(ui: &mut Ui, cx: &Cx<'_>, text: &str, action: Action) -> egui::Response {
    let is_on = action.is_on(cx.workbench).unwrap_or(false);
    let fill = if is_on { theme::tokens(ui).accent_soft } else { egui::Color32::TRANSPARENT };
    let response = ui.add(egui::Button::new(RichText::new(text).small()).fill(fill));
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, is_on, action.text().0));
    let response = response.on_hover_text(action.text().0);
    if response.clicked() {
        cx.outbox.act(action, cx.workbench);
    }
    response
}

/// The first words of a prompt.
fn title(prompt: &str) -> String {
    // A word or two more than fit.
    let words = prompt.split_whitespace().take(LONGEST).collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST) {
        _ if words.is_empty() => "Empty".to_owned(),
        Some((at, _)) => format!("{}…", words.get(..at).unwrap_or_default().trim_end()),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tab_shows_the_first_words() {
        assert_eq!(title(" a red\nfox "), "a red fox");
        assert_eq!(title("an old lighthouse at sea"), "an old lighthous…");
        assert_eq!(title(" \n"), "Empty");
    }
}
