//! The library: modifiers, templates, styles, wildcards and zero-shot lists. One click puts one into use, another takes it out; what a
//! modifier does is said, shown as a picture and measured.

mod create;
mod filter;
mod row;
mod stack;
mod tools;

pub(super) use stack::reminder;

use egui::{RichText, TextEdit, Ui};

use super::empty;
use crate::document::{Edit, TextField};
use crate::prompt::library::{Modifier, ModifierCategory, NamedList, Template, WildcardList};
use crate::prompt::modifier;
use crate::ui::shell::Cx;
use crate::ui::theme;
use crate::workbench::library::{DEFAULT_SEEDS, Draft, Item, LibraryCommand};
use crate::workbench::{Command, PanelKind};
use filter::Filter;
use row::Row;

/// The lists that the panel shows, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tab {
    #[default]
    Modifiers,
    Templates,
    Styles,
    Wildcards,
    ZeroShot,
}

impl Tab {
    const ALL: [Self; 5] = [Self::Modifiers, Self::Templates, Self::Styles, Self::Wildcards, Self::ZeroShot];

    fn title(self) -> &'static str {
        match self {
            Self::Modifiers => "Modifiers",
            Self::Templates => "Templates",
            Self::Styles => "Styles",
            Self::Wildcards => "Wildcards",
            Self::ZeroShot => "Lists",
        }
    }
}

/// Below this height what is on the prompt scrolls with the list.
const LOW: f32 = 360.0;
/// Below this width the tabs are a list to choose from.
const NARROW: f32 = 320.0;

/// What the panel remembers while the window is open.
pub(in crate::ui) struct LibraryView {
    tab: Tab,
    search: String,
    filter: Filter,
    only_favourites: bool,
    /// Names alone, without lines about them.
    is_compact: bool,
    draft: Option<Draft>,
    only_mine: bool,
    seeds: u32,
    /// Whether the first row gets the keyboard.
    wants_first: bool,
    /// How high what is on the prompt was last.
    stack_height: f32,
}

impl Default for LibraryView {
    fn default() -> Self {
        Self {
            tab: Tab::default(),
            search: String::new(),
            filter: Filter::All,
            only_favourites: false,
            is_compact: false,
            draft: None,
            only_mine: false,
            seeds: DEFAULT_SEEDS,
            wants_first: false,
            stack_height: 0.0,
        }
    }
}

pub(super) fn show(ui: &mut Ui, cx: &mut Cx<'_>) {
    let (place, is_low) = (ui.clip_rect(), ui.available_height() < LOW);
    if !is_low && !cx.workbench.document().stack.is_empty() {
        stack_below(ui, cx);
    }
    // Little of the panel, so that the list has room.
    let is_narrow = ui.available_width() < NARROW;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        search(ui, cx, if is_narrow { tools::MENU } else { tools::ALL });
        tools::show(ui, cx, is_narrow);
    });
    if is_narrow {
        tools::narrow(ui, cx);
    } else {
        tabs(ui, cx);
    }
    tools::under_way(ui, cx);
    egui::ScrollArea::vertical().id_salt("library").min_scrolled_height(0.0).auto_shrink([false, false]).show(
        ui,
        |ui| {
            create::show(ui, cx);
            if is_low {
                stack::show(ui, cx);
            }
            lists(ui, cx);
            super::turn_pages(ui, place);
        },
    );
}

/// What is on the prompt, below the list, so that nothing in the list moves when a click in it puts something onto the prompt.
fn stack_below(ui: &mut Ui, cx: &mut Cx<'_>) {
    const GAP: i8 = 6;
    let height = cx.view.library.stack_height.min(0.5 * ui.available_height());
    egui::Panel::bottom("library stack")
        .frame(egui::Frame::new().inner_margin(egui::Margin { top: GAP, ..egui::Margin::ZERO }))
        .show_separator_line(false)
        .resizable(false)
        .exact_size(height + f32::from(GAP))
        .show(ui, |ui| {
            let shown = egui::ScrollArea::vertical()
                .id_salt("stack")
                .min_scrolled_height(0.0)
                .show(ui, |ui| stack::show(ui, cx));
            if (shown.content_size.y - cx.view.library.stack_height).abs() > 0.5 {
                cx.view.library.stack_height = shown.content_size.y;
                ui.ctx().request_discard("the stack has another height");
            }
        });
}

/// The list that is chosen.
fn lists(ui: &mut Ui, cx: &mut Cx<'_>) {
    cx.view.modifiers.follow(&cx.workbench.document().prompt, cx.workbench.library());
    let any = match cx.view.library.tab {
        Tab::Modifiers => modifiers(ui, cx),
        Tab::Templates => templates(ui, cx, false),
        Tab::Styles => templates(ui, cx, true),
        Tab::Wildcards => wildcards(ui, cx),
        Tab::ZeroShot => zero_shot(ui, cx),
    };
    let wanted_first = std::mem::take(&mut cx.view.library.wants_first);
    if !any {
        elsewhere(ui, cx, wanted_first);
    }
}

/// Nothing fits in this list: leads to those in which something does, at once if the keyboard is to go there.
fn elsewhere(ui: &mut Ui, cx: &mut Cx<'_>, at_once: bool) {
    let found = |tab: &Tab| Some((*tab, found(cx, *tab))).filter(|(_, count)| *count > 0);
    let others = Tab::ALL.iter().filter(|tab| **tab != cx.view.library.tab);
    let others: Vec<(Tab, usize)> = match cx.view.library.search.trim() {
        "" => Vec::new(),
        _ => others.filter_map(found).collect(),
    };
    let Some((first, _)) = others.first().copied() else {
        return empty(ui, "Nothing fits. Change the words above, or choose all.");
    };
    let mut chosen = at_once.then_some(first);
    empty(ui, "Nothing fits here, but elsewhere in the library:");
    ui.horizontal_wrapped(|ui| {
        for (tab, count) in others {
            if ui.button(format!("{}: {count}", tab.title())).clicked() {
                chosen = Some(tab);
            }
        }
    });
    if let Some(tab) = chosen {
        let view = &mut cx.view.library;
        (view.tab, view.filter, view.only_favourites, view.wants_first) = (tab, Filter::All, false, true);
        ui.ctx().request_repaint();
    }
}

/// How much of a list the words above find, in all its parts.
fn found(cx: &Cx<'_>, tab: Tab) -> usize {
    let (view, library) = (&cx.view.library, cx.workbench.library());
    let templates = |all: &[Template]| all.iter().filter(|one| view.finds_template(one)).count();
    match tab {
        Tab::Modifiers => {
            let all =
                library.modifiers.iter().flat_map(|category| category.modifiers.iter().map(move |one| (category, one)));
            all.filter(|(category, one)| view.finds_modifier(category, one)).count()
        }
        Tab::Templates => templates(&library.templates),
        Tab::Styles => templates(&library.styles),
        Tab::Wildcards => library.wildcards.iter().filter(|(name, list)| view.finds_wildcard(name, list)).count(),
        Tab::ZeroShot => {
            let lists =
                library.zero_shot.iter().chain(&library.classes).map(|list| (&list.name, view.finds_any(&list.lines)));
            let sets = library
                .class_prompts
                .iter()
                .map(|set| (&set.name, set.classes.iter().any(|(class, _)| view.finds(&[class]))));
            lists.chain(sets).filter(|(name, holds)| *holds || view.finds(&[name])).count()
        }
    }
}

/// The field for words to look for; it leaves `room` to its right.
fn search(ui: &mut Ui, cx: &mut Cx<'_>, room: f32) {
    let (rect, label) = ui.allocate_exact_size(egui::vec2(20.0, 32.0), egui::Sense::hover());
    label.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, "Search the library"));
    cx.icons.paint(ui, "search", rect, theme::tokens(ui).faint);
    let search = TextEdit::singleline(&mut cx.view.library.search).hint_text("Search").margin(egui::Margin::same(8));
    let width = (ui.available_width() - room).max(60.0);
    let search = ui.add(search.desired_width(width)).labelled_by(label.id);
    // Enter and the arrow downwards go on to what was found.
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    if search.lost_focus() && pressed(egui::Key::Enter) || search.has_focus() && pressed(egui::Key::ArrowDown) {
        cx.view.library.wants_first = true;
    }
    if cx.view.take_focus(PanelKind::Library) {
        search.request_focus();
    }
}

fn tabs(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(2.0, 2.0);
        for tab in Tab::ALL {
            let title = RichText::new(tab.title()).small();
            if ui.selectable_label(cx.view.library.tab == tab, title).clicked() {
                (cx.view.library.tab, cx.view.library.filter) = (tab, Filter::All);
            }
        }
    });
}

impl LibraryView {
    fn finds(&self, texts: &[&str]) -> bool {
        let wanted = self.search.trim().to_lowercase();
        wanted.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&wanted))
    }

    fn finds_any(&self, lines: &[String]) -> bool {
        lines.iter().any(|line| self.finds(&[line]))
    }

    fn finds_modifier(&self, category: &ModifierCategory, one: &Modifier) -> bool {
        self.finds(&[&one.text, &one.about, &category.name])
    }

    fn finds_template(&self, one: &Template) -> bool {
        self.finds(&[&one.name, &one.about, &one.text, &one.folder])
    }

    fn finds_wildcard(&self, name: &str, list: &WildcardList) -> bool {
        self.finds(&[name]) || list.values.iter().any(|value| self.finds(&[&value.text]))
    }
}

/// Whether it is to be shown though only favourites are.
fn is_liked(cx: &Cx<'_>, key: &str) -> bool {
    !cx.view.library.only_favourites || cx.workbench.preferences().favourites.contains(key)
}

/// The modifiers of a category that are to be shown.
fn shown_modifiers<'a>(cx: &Cx<'_>, category: &'a ModifierCategory) -> Vec<&'a Modifier> {
    let view = &cx.view.library;
    if !view.filter.allows(&category.name, &category.folder) {
        return Vec::new();
    }
    let is_shown =
        |one: &&Modifier| view.finds_modifier(category, one) && is_liked(cx, &format!("modifier {}", one.text));
    category.modifiers.iter().filter(is_shown).collect()
}

fn modifiers(ui: &mut Ui, cx: &mut Cx<'_>) -> bool {
    let workbench = cx.workbench;
    let mut any = false;
    for category in &workbench.library().modifiers {
        let shown = shown_modifiers(cx, category);
        if shown.is_empty() {
            continue;
        }
        any = true;
        heading(ui, &category.name, shown.iter().all(|one| one.builtin), category.is_mine);
        if cx.view.library.is_compact {
            ui.horizontal_wrapped(|ui| {
                ui.spacing_mut().item_spacing = egui::vec2(4.0, 4.0);
                shown.iter().for_each(|one| chip(ui, cx, one));
            });
            continue;
        }
        for one in shown {
            let row = Row {
                item: Some(Item::Modifier(one.text.clone())),
                name: &one.text,
                about: &one.about,
                more: String::new(),
                is_on: is_active(cx, one),
                effect: workbench.shelf().effects().get(&one.text),
            };
            if row.show(ui, cx) {
                cx.outbox.send(Command::ToggleModifier(one.text.clone()));
            }
        }
    }
    any
}

fn is_active(cx: &Cx<'_>, one: &Modifier) -> bool {
    match one.negative {
        true => modifier::contains(&cx.workbench.document().negative, &one.text),
        false => cx.view.modifiers.contains(&one.text),
    }
}

fn chip(ui: &mut Ui, cx: &Cx<'_>, one: &Modifier) {
    let is_on = is_active(cx, one);
    let fill = if is_on { theme::tokens(ui).accent_soft } else { theme::tokens(ui).raised };
    let mut response = ui.add(egui::Button::new(one.text.as_str()).selected(is_on).fill(fill).small());
    if !one.about.is_empty() {
        response = response.on_hover_text(&one.about);
    }
    if response.clicked() {
        cx.outbox.send(Command::ToggleModifier(one.text.clone()));
    }
}

fn templates(ui: &mut Ui, cx: &mut Cx<'_>, are_styles: bool) -> bool {
    let workbench = cx.workbench;
    let library = workbench.library();
    let all: &[Template] = if are_styles { &library.styles } else { &library.templates };
    let mut any = false;
    for template in all {
        let item = if are_styles { Item::Style(template.name.clone()) } else { Item::Template(template.name.clone()) };
        let view = &cx.view.library;
        if !view.finds_template(template) || !view.filter.allows("", &template.folder) || !is_liked(cx, &item.key()) {
            continue;
        }
        any = true;
        let about = if template.about.is_empty() { &template.text } else { &template.about };
        let row = Row {
            name: &template.name,
            about,
            more: details(template),
            is_on: workbench.document().stack.iter().any(|applied| item.is(applied)),
            effect: None,
            item: Some(item.clone()),
        };
        if row.show(ui, cx) {
            cx.outbox.send(Command::Library(LibraryCommand::Toggle(item)));
        }
    }
    any
}

/// What a template would do, for the tooltip.
fn details(template: &Template) -> String {
    let mut lines = vec![template.text.clone()];
    if !template.negative.is_empty() {
        lines.push(format!("Negative: {}", template.negative));
    }
    if !template.settings.is_empty() {
        lines.push(format!("Sets {}.", template.settings.describe()));
    }
    let origin = match (template.builtin, template.is_mine) {
        (_, true) => Some("Yours."),
        (true, false) => Some("Known to the built-in models."),
        (false, false) => None,
    };
    lines.extend(origin.map(ToOwned::to_owned));
    lines.join("\n")
}

fn wildcards(ui: &mut Ui, cx: &mut Cx<'_>) -> bool {
    let workbench = cx.workbench;
    let mut any = false;
    for (name, list) in &workbench.library().wildcards {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let view = &cx.view.library;
        let key = format!("wildcard {name}");
        if !view.finds_wildcard(name, list) || !view.filter.allows("", folder) || !is_liked(cx, &key) {
            continue;
        }
        any = true;
        let texts: Vec<&str> = list.values.iter().take(40).map(|value| value.text.as_str()).collect();
        let row = Row {
            item: None,
            name,
            about: &format!(
                "{} options: {}",
                list.values.len(),
                texts.iter().take(6).copied().collect::<Vec<_>>().join(", ")
            ),
            more: texts.join("\n"),
            is_on: workbench.document().prompt.contains(&format!("__{name}__")),
            effect: None,
        };
        if row.show_with_key(ui, cx, &key) {
            cx.outbox.send(Command::Library(LibraryCommand::InsertWildcard(name.clone())));
        }
    }
    any
}

fn zero_shot(ui: &mut Ui, cx: &mut Cx<'_>) -> bool {
    let library = cx.workbench.library();
    let lists =
        [("Templates", TextField::Templates, &library.zero_shot), ("Classes", TextField::Classes, &library.classes)];
    let mut any = false;
    for (title, field, lists) in lists {
        let set = |_: &NamedList, text| Command::Edit(Edit::SetText { field, text });
        any |= named_lists(ui, cx, title, field, (lists, &set));
    }
    let sets: Vec<NamedList> = library
        .class_prompts
        .iter()
        .map(|set| NamedList {
            name: set.name.clone(),
            lines: set.classes.iter().map(|(class, _)| class.clone()).collect(),
            is_mine: set.is_mine,
        })
        .collect();
    let set = |list: &NamedList, _| Command::Library(LibraryCommand::UseClassTexts(list.name.clone()));
    any | named_lists(ui, cx, "Classes with texts of their own", TextField::Classes, (&sets, &set))
}

/// Lists, and what a click on one with these lines does.
type Lists<'a> = (&'a [NamedList], &'a dyn Fn(&NamedList, String) -> Command);

fn named_lists(ui: &mut Ui, cx: &mut Cx<'_>, title: &str, field: TextField, (lists, click): Lists<'_>) -> bool {
    let is_shown = |list: &&NamedList| {
        let view = &cx.view.library;
        let is_found = view.finds(&[&list.name]) || view.finds_any(&list.lines);
        is_found && is_liked(cx, &format!("list {}", list.name))
    };
    let shown: Vec<&NamedList> = lists.iter().filter(is_shown).collect();
    if shown.is_empty() {
        return false;
    }
    heading(ui, title, false, false);
    for list in shown {
        let text = list.lines.join("\n");
        let row = Row {
            item: None,
            name: &list.name,
            about: &format!(
                "{}: {}",
                list.lines.len(),
                list.lines.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
            ),
            more: list.lines.iter().take(40).cloned().collect::<Vec<_>>().join("\n"),
            is_on: cx.workbench.document().text(field).trim() == text.trim(),
            effect: None,
        };
        if row.show_with_key(ui, cx, &format!("list {}", list.name)) {
            cx.outbox.send(click(list, text));
        }
    }
    true
}

fn heading(ui: &mut Ui, name: &str, builtin: bool, is_mine: bool) {
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        ui.label(RichText::new(name).strong());
        let note = match (builtin, is_mine) {
            (true, _) => "known to the built-in models",
            (false, true) => "yours",
            (false, false) => return,
        };
        ui.label(RichText::new(note).small().color(theme::tokens(ui).faint));
    });
}
