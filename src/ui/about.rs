//! What the program is, under which licence, and whose work is in it.

use egui::{Context, RichText, Ui};

use super::shell::Cx;
use super::theme;

/// The one list of what is not ours; the dialog shows its table.
const NOTICES: &str = include_str!("../../THIRD_PARTY_NOTICES.md");

/// Shows the dialog if it is open.
pub(super) fn show(ctx: &Context, cx: &mut Cx<'_>) {
    if !cx.view.about_open {
        return;
    }
    let modal = theme::modal(ctx, "about").show(ctx, |ui| {
        ui.set_width(480.0_f32.min(ui.ctx().content_rect().width() - 48.0));
        ui.heading(concat!("Maquette ", env!("CARGO_PKG_VERSION")));
        ui.label(
            "A prompt-engineering workbench for vision-language models. All models run on this machine; the program opens no \
             network connection.",
        );
        ui.label("Licensed under MIT or Apache-2.0, as you choose. The work of others in it:");
        let height = (ui.ctx().content_rect().height() - 280.0).clamp(96.0, 320.0);
        egui::ScrollArea::vertical().max_height(height).show(ui, |ui| {
            for [what, place, licence] in sources() {
                source(ui, &what, &place, &licence);
            }
        });
        ui.label(
            RichText::new("The Rust crates in it have licences of their own; `cargo metadata` lists them.")
                .small()
                .color(theme::tokens(ui).faint),
        );
        let close = ui.button("Close");
        if std::mem::take(&mut cx.view.about_wants_focus) {
            close.request_focus();
        }
        close.clicked()
    });
    cx.view.about_open = !(modal.inner || modal.should_close());
}

fn source(ui: &mut Ui, what: &str, place: &str, licence: &str) {
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.add(egui::Label::new(RichText::new(what).strong()).wrap());
        let text = RichText::new(format!("{licence} · {place}")).small().color(theme::tokens(ui).faint);
        ui.add(egui::Label::new(text).wrap());
    });
}

/// The rows of the table: what, where, licence.
fn sources() -> impl Iterator<Item = [String; 3]> {
    let rows = NOTICES.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.filter_map(|row| {
        let cells: Vec<String> = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        cells.try_into().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_named_with_its_licence() {
        let rows = NOTICES.lines().filter(|line| line.starts_with('|')).count() - 2;
        let sources: Vec<_> = sources().collect();
        assert_eq!(sources.len(), rows);
        assert!(sources.iter().flatten().all(|cell| !cell.is_empty()));
        assert!(sources.iter().any(|[what, _, licence]| what.contains("Twemoji") && licence.contains("CC-BY")));
    }
}
