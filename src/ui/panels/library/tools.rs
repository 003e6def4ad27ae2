//! The buttons above the list: what part of it is shown, importing and exporting, thumbnails, measuring.

use egui::containers::menu::{MenuButton, MenuConfig, is_in_menu};
use egui::{PopupCloseBehavior, RichText, Ui};

use super::{LibraryView, Tab, create, filter::Filter, is_liked, shown_modifiers};
use crate::prompt::exchange::Format;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::library::{Item, LibraryCommand};
use crate::workbench::{Action, Command, ViewCommand};

/// Room for the menu alone, and for all that is beside the field for words.
pub(super) const MENU: f32 = 56.0;
pub(super) const ALL: f32 = MENU + PART + 2.0 * 36.0 + 4.0;
/// Width of the list of parts.
const PART: f32 = 108.0;

/// What is beside the field for words; in little room only the menu.
pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>, is_narrow: bool) {
    // As high as the buttons with icons.
    ui.spacing_mut().interact_size.y = 32.0;
    if !is_narrow {
        filter(ui, cx, PART);
        switches(ui, cx);
    }
    menu(ui, "More", |ui| {
        ui.set_min_width(200.0);
        new_and_import(ui, cx);
        ui.menu_button("Export…", |ui| export(ui, cx));
        if has_pictures(cx) && !is_busy(cx) {
            ui.separator();
            pictures(ui, cx);
        }
    });
}

/// In little room: what is shown, in a line below.
pub(super) fn narrow(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(4.0, 4.0);
        ui.spacing_mut().interact_size.y = 32.0;
        let room = ui.available_width() - 2.0 * 36.0;
        let view = &mut cx.view.library;
        let chosen = view.tab;
        let combo = egui::ComboBox::from_id_salt("library tab").width(room * 0.5 - 2.0).truncate();
        let response = combo.selected_text(chosen.title()).show_ui(ui, |ui| {
            for tab in Tab::ALL {
                ui.selectable_value(&mut view.tab, tab, tab.title());
            }
        });
        response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "List of the library"));
        if view.tab != chosen {
            view.filter = Filter::All;
        }
        // What the buttons behind it leave; without that much they go on in another line.
        let rest = ui.available_width() - 2.0 * 36.0 - 4.0;
        filter(ui, cx, rest.max(72.0));
        switches(ui, cx);
    });
}

/// A menu in which a switch can be set: it stays open until something in it is done. Menus in it are like it.
fn menu(ui: &mut Ui, title: &str, contents: impl FnOnce(&mut Ui)) {
    let config = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
    MenuButton::new(title).config(config).ui(ui, contents);
}

/// Whether this button was clicked; then the menu that it is in has done its work.
fn clicked(ui: &mut Ui, title: &str, help: &str) -> bool {
    let clicked = ui.button(title).on_hover_text(help).clicked();
    if clicked && is_in_menu(ui) {
        ui.close();
    }
    clicked
}

fn switches(ui: &mut Ui, cx: &mut Cx<'_>) {
    let view = &mut cx.view.library;
    if cx.icons.button(ui, "star", "Only favourites", view.only_favourites, true).clicked() {
        view.only_favourites = !view.only_favourites;
    }
    if view.tab == Tab::Modifiers
        && cx.icons.button(ui, "rows-3", "Lines about each modifier", !view.is_compact, true).clicked()
    {
        view.is_compact = !view.is_compact;
    }
}

fn new_and_import(ui: &mut Ui, cx: &mut Cx<'_>) {
    if clicked(ui, "New…", "Keeps the selected words of the prompt, or what you type.") {
        create::begin(ui, cx);
    }
    if clicked(ui, "Import…", Action::ImportLibrary.text().1) {
        cx.outbox.act(Action::ImportLibrary, cx.workbench);
    }
}

fn filter(ui: &mut Ui, cx: &mut Cx<'_>, width: f32) {
    let view = &mut cx.view.library;
    let choices = Filter::choices(view.tab, cx.workbench.library());
    let combo = egui::ComboBox::from_id_salt("library part").width(width).height(360.0).truncate();
    let response = combo.selected_text(view.filter.title()).show_ui(ui, |ui| {
        for choice in choices {
            let title = choice.title();
            ui.selectable_value(&mut view.filter, choice, title);
        }
    });
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Part of the library"));
}

fn export(ui: &mut Ui, cx: &mut Cx<'_>) {
    let formats: &[Format] = match cx.view.library.tab {
        Tab::Modifiers => &[Format::Modifiers, Format::EasyDiffusion],
        Tab::Templates => {
            &[Format::Templates, Format::StylesCsv, Format::Fooocus, Format::InvokeAi, Format::InvokeAiPreset]
        }
        Tab::Styles => &[Format::Styles, Format::StylesCsv, Format::Fooocus, Format::InvokeAi, Format::InvokeAiPreset],
        Tab::Wildcards => &[Format::WildcardsYaml, Format::WildcardsJson, Format::WildcardsTxt],
        Tab::ZeroShot => &[Format::ClipJson, Format::ClipPython, Format::ClipText, Format::Cupl, Format::Descriptors],
    };
    ui.set_min_width(220.0);
    let LibraryView { only_mine, .. } = &mut cx.view.library;
    ui.checkbox(only_mine, "Only what is mine");
    ui.separator();
    for format in formats {
        if ui.button(format.name()).clicked() {
            cx.outbox.send(Command::View(ViewCommand::ExportLibraryDialog(*format, *only_mine)));
            ui.close();
        }
    }
}

/// Everything that the list below shows and that can be put on a prompt.
fn shown_items(cx: &Cx<'_>) -> Vec<Item> {
    let library = cx.workbench.library();
    let view = &cx.view.library;
    match view.tab {
        Tab::Modifiers => {
            let shown = library.modifiers.iter().flat_map(|category| shown_modifiers(cx, category));
            shown.map(|one| Item::Modifier(one.text.clone())).collect()
        }
        Tab::Templates | Tab::Styles => {
            let are_styles = view.tab == Tab::Styles;
            let all = if are_styles { &library.styles } else { &library.templates };
            let found = all.iter().filter(|one| {
                view.finds(&[&one.name, &one.about, &one.text, &one.folder]) && view.filter.allows("", &one.folder)
            });
            let items = found
                .map(|one| if are_styles { Item::Style(one.name.clone()) } else { Item::Template(one.name.clone()) });
            items.filter(|item| is_liked(cx, &item.key())).collect()
        }
        Tab::Wildcards | Tab::ZeroShot => Vec::new(),
    }
}

/// Whether what the tab shows can be put on a prompt.
fn has_pictures(cx: &Cx<'_>) -> bool {
    matches!(cx.view.library.tab, Tab::Modifiers | Tab::Templates | Tab::Styles)
}

/// Whether thumbnails are rendered or effects measured.
fn is_busy(cx: &Cx<'_>) -> bool {
    let shelf = cx.workbench.shelf();
    shelf.thumbnails().progress().is_some() || shelf.effects().progress().is_some()
}

/// What renders thumbnails and measures.
fn pictures(ui: &mut Ui, cx: &mut Cx<'_>) {
    let help = "Makes a small picture of what each of the shown ones does to the current prompt, with your model. They are kept.";
    if clicked(ui, "Render thumbnails", help) {
        cx.outbox.send(Command::Library(LibraryCommand::RenderThumbnails(shown_items(cx))));
    }
    if cx.view.library.tab != Tab::Modifiers {
        return;
    }
    let help = "Makes pictures of the same seeds with and without each of the shown modifiers and compares them with the CLIP model.";
    if clicked(ui, "Measure effects", help) {
        let modifiers = shown_items(cx).iter().map(|item| item.name().to_owned()).collect();
        let seeds = cx.view.library.seeds;
        cx.outbox.send(Command::Library(LibraryCommand::Measure { modifiers, seeds }));
    }
    let seeds = &mut cx.view.library.seeds;
    let drag = ui.add(egui::DragValue::new(seeds).range(2..=32).speed(0.1).suffix(" seeds"));
    drag.widget_info(|| egui::WidgetInfo::labeled(egui::Role::SpinButton, true, "Seeds to measure over"));
}

/// How far rendering and measuring are, and what the bars mean once something was measured.
pub(super) fn under_way(ui: &mut Ui, cx: &Cx<'_>) {
    let shelf = cx.workbench.shelf();
    if let Some((done, total)) = shelf.thumbnails().progress() {
        progress(ui, cx, "Thumbnails", (done, 0.0, total), LibraryCommand::StopThumbnails);
    }
    if let Some((done, total)) = shelf.effects().progress() {
        let part = shelf.effects().fraction();
        progress(ui, cx, "Measuring", (done, part, total), LibraryCommand::StopMeasuring);
    }
    if cx.view.library.tab == Tab::Modifiers && shelf.effects().any() {
        let text = "Bars: above, how much the picture changes (a whole bar is what another seed changes); below, how the fit to the prompt does.";
        let text = RichText::new(text).small().color(theme::tokens(ui).faint);
        ui.add(egui::Label::new(text).wrap());
    }
}

/// A bar: so many are done, this share of the one that is under way, of all.
fn progress(ui: &mut Ui, cx: &Cx<'_>, what: &str, (done, part, total): (usize, f32, usize), stop: LibraryCommand) {
    ui.horizontal(|ui| {
        if cx.icons.button(ui, "x", &format!("Stop {}", what.to_lowercase()), false, true).clicked() {
            cx.outbox.send(Command::Library(stop));
        }
        let bar = egui::ProgressBar::new((done as f32 + part) / total.max(1) as f32);
        let text = if total == 0 { format!("{what}: looking…") } else { format!("{what}: {done} of {total}") };
        ui.add(bar.text(text).desired_height(20.0).desired_width(ui.available_width()));
    });
}
