//! Which list a preset file is part of, by its folder and its ending.

use super::{ClassTexts, Library, NamedList, read_modifiers, read_templates};
use crate::prompt::exchange::{
    Warning, class_prompts, easy_diffusion, styles_csv, styles_json, template_lists, wildcards,
};
use crate::prompt::template::lines;

/// Reads the file at `path` inside the presets folder. Files that are no lists (a README, the catalogue of models) give nothing.
pub(super) fn read(path: &str, text: &str) -> (Library, Vec<Warning>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (kind, inside) = path.split_once('/').unwrap_or(("", path));
    let (kind, inside) = match (kind, inside.split_once('/')) {
        ("zero_shot", Some((kind, inside))) => (kind, inside),
        _ => (kind, inside),
    };
    let (folder, file) = inside.rsplit_once('/').unwrap_or(("", inside));
    let (stem, ending) = file.rsplit_once('.').unwrap_or((file, ""));
    let ending = ending.to_ascii_lowercase();
    let mut library = Library::default();
    let mut warnings = Vec::new();
    match (kind, ending.as_str()) {
        ("modifiers", "toml") => (library.modifiers, warnings) = read_modifiers(text),
        ("modifiers", "json") => (library.modifiers, warnings) = easy_diffusion::read(text),
        ("templates", "toml") => (library.templates, warnings) = read_templates(text, "template"),
        ("styles", "toml") => (library.styles, warnings) = read_templates(text, "style"),
        ("styles" | "templates", "csv" | "json") => {
            let read = if ending == "csv" { styles_csv::read(text) } else { styles_json::read(text) };
            warnings = read.1;
            *(if kind == "styles" { &mut library.styles } else { &mut library.templates }) = read.0;
        }
        ("wildcards", "txt" | "yaml" | "yml" | "json") => (library.wildcards, warnings) = wildcards::read(inside, text),
        ("classes", "txt") => library.classes.push(named(stem, text)),
        ("templates", "txt") if path.starts_with("zero_shot/") => library.zero_shot.push(named(stem, text)),
        ("prompts" | "sentences" | "descriptors", "json") => {
            (library.class_prompts, warnings) = class_prompts::read(&title(stem), text);
            let texts = match kind {
                "sentences" => Some(ClassTexts::Sentences),
                "descriptors" => Some(ClassTexts::Descriptors),
                _ => None,
            };
            library.class_prompts.iter_mut().for_each(|set| set.texts = texts.unwrap_or(set.texts));
        }
        _ => {}
    }
    let is_list = ["zero_shot/templates/", "zero_shot/classes/"].iter().any(|folder| path.starts_with(folder));
    if is_list && matches!(ending.as_str(), "json" | "py") {
        let read = if ending == "py" { template_lists::read_python } else { template_lists::read_json };
        (library, warnings) = read(&title(stem), text);
    }
    library.modifiers.iter_mut().for_each(|category| folder.clone_into(&mut category.folder));
    library.templates.iter_mut().chain(&mut library.styles).for_each(|one| folder.clone_into(&mut one.folder));
    (library, warnings)
}

/// The name is the first line's comment if it has one, else the file's name.
fn named(stem: &str, text: &str) -> NamedList {
    let first = text.lines().next().and_then(|line| line.trim().strip_prefix('#')).map(str::trim);
    let name = first.filter(|t| !t.is_empty()).map_or_else(|| title(stem), ToOwned::to_owned);
    NamedList { name, lines: lines(text), is_mine: false }
}

fn title(stem: &str) -> String {
    stem.replace(['_', '-'], " ")
}
