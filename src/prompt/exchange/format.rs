//! The formats by name, which of them a text is in, and reading and writing by format.

use super::{Warning, class_prompts, csv, easy_diffusion, json, styles_csv, styles_json, template_lists, wildcards};
use crate::prompt::library::{ClassTexts, Library, read_modifiers, read_templates, write_modifiers, write_templates};
use crate::prompt::template::has_class_hole;

/// A format of library files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// AUTOMATIC1111's `styles.csv`.
    StylesCsv,
    /// JSON of Fooocus and of twri's sdxl_prompt_styler.
    Fooocus,
    /// JSON list of InvokeAI.
    InvokeAi,
    /// InvokeAI's own exports.
    InvokeAiPreset,
    /// Easy Diffusion's `modifiers.json`.
    EasyDiffusion,
    /// One wildcard, an option a line.
    WildcardsTxt,
    /// Wildcards by name.
    WildcardsYaml,
    /// Wildcards by name.
    WildcardsJson,
    /// Zero-shot templates or class names, one a line.
    ClipText,
    /// Zero-shot templates or class names by data set.
    ClipJson,
    /// Zero-shot templates or class names as a list of Python.
    ClipPython,
    /// Sentences by class.
    Cupl,
    /// Features by class.
    Descriptors,
    /// This program's modifiers.
    Modifiers,
    /// This program's templates.
    Templates,
    /// This program's styles.
    Styles,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path inside a folder of files; empty for a format that takes a single file.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

/// No format has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no format \"{name}\"; choose one of {all}", name = .0, all = Format::ALL.map(Format::id).join(", "))]
pub struct UnknownFormat(String);

impl Format {
    /// Every format.
    pub const ALL: [Self; 16] = [
        Self::StylesCsv,
        Self::Fooocus,
        Self::InvokeAi,
        Self::InvokeAiPreset,
        Self::EasyDiffusion,
        Self::WildcardsTxt,
        Self::WildcardsYaml,
        Self::WildcardsJson,
        Self::ClipText,
        Self::ClipJson,
        Self::ClipPython,
        Self::Cupl,
        Self::Descriptors,
        Self::Modifiers,
        Self::Templates,
        Self::Styles,
    ];

    /// The name on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Self::StylesCsv => "styles-csv",
            Self::Fooocus => "fooocus",
            Self::InvokeAi => "invokeai",
            Self::InvokeAiPreset => "invokeai-preset",
            Self::EasyDiffusion => "easy-diffusion",
            Self::WildcardsTxt => "wildcards-txt",
            Self::WildcardsYaml => "wildcards-yaml",
            Self::WildcardsJson => "wildcards-json",
            Self::ClipText => "clip-text",
            Self::ClipJson => "clip-json",
            Self::ClipPython => "clip-python",
            Self::Cupl => "cupl",
            Self::Descriptors => "descriptors",
            Self::Modifiers => "modifiers",
            Self::Templates => "templates",
            Self::Styles => "styles",
        }
    }

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::StylesCsv => "A1111 styles.csv",
            Self::Fooocus => "Fooocus or twri styles (JSON)",
            Self::InvokeAi => "InvokeAI styles (JSON)",
            Self::InvokeAiPreset => "InvokeAI style presets (JSON)",
            Self::EasyDiffusion => "Easy Diffusion modifiers (JSON)",
            Self::WildcardsTxt => "wildcard (text)",
            Self::WildcardsYaml => "wildcards (YAML)",
            Self::WildcardsJson => "wildcards (JSON)",
            Self::ClipText => "CLIP templates or classes (text)",
            Self::ClipJson => "CLIP templates or classes (JSON)",
            Self::ClipPython => "CLIP templates or classes (Python)",
            Self::Cupl => "class prompts of CuPL (JSON)",
            Self::Descriptors => "class descriptors (JSON)",
            Self::Modifiers => "Maquette modifiers (TOML)",
            Self::Templates => "Maquette templates (TOML)",
            Self::Styles => "Maquette styles (TOML)",
        }
    }

    /// The ending of its files, without the dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::StylesCsv => "csv",
            Self::WildcardsTxt | Self::ClipText => "txt",
            Self::WildcardsYaml => "yaml",
            Self::ClipPython => "py",
            Self::Modifiers | Self::Templates | Self::Styles => "toml",
            _ => "json",
        }
    }

    /// Whether it takes a file for each list, so that it is written into a folder.
    pub fn is_folder(self) -> bool {
        matches!(self, Self::WildcardsTxt | Self::ClipText | Self::Cupl | Self::Descriptors)
    }
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim().to_ascii_lowercase();
        let wanted = if wanted == "twri" { "fooocus" } else { wanted.as_str() };
        Self::ALL.into_iter().find(|format| format.id() == wanted).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

/// Reads a text; `name` is the file's name without its ending, for lists that have none of their own.
pub fn read(format: Format, name: &str, text: &str) -> (Library, Vec<Warning>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut library = Library::default();
    let warnings;
    match format {
        Format::StylesCsv => (library.styles, warnings) = styles_csv::read(text),
        Format::Fooocus | Format::InvokeAi | Format::InvokeAiPreset => {
            (library.styles, warnings) = styles_json::read(text);
        }
        Format::EasyDiffusion => (library.modifiers, warnings) = easy_diffusion::read(text),
        Format::WildcardsTxt | Format::WildcardsYaml | Format::WildcardsJson => {
            (library.wildcards, warnings) = wildcards::read(&format!("{name}.{}", format.ending()), text);
        }
        Format::ClipText => return template_lists::read_text(name, text),
        Format::ClipJson => return template_lists::read_json(name, text),
        Format::ClipPython => return template_lists::read_python(name, text),
        Format::Cupl | Format::Descriptors => {
            (library.class_prompts, warnings) = class_prompts::read(name, text);
            let texts = if format == Format::Cupl { ClassTexts::Sentences } else { ClassTexts::Descriptors };
            library.class_prompts.iter_mut().for_each(|prompts| prompts.texts = texts);
        }
        Format::Modifiers => (library.modifiers, warnings) = read_modifiers(text),
        Format::Templates => (library.templates, warnings) = read_templates(text, "template"),
        Format::Styles => (library.styles, warnings) = read_templates(text, "style"),
    }
    (library, warnings)
}

/// The files of a library in a format: what the format is for, and nothing else.
pub fn write(format: Format, library: &Library) -> (Vec<File>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let single = |text: String| vec![File { path: String::new(), text }];
    // The formats of other programs know one kind of template.
    let looks = || library.styles.iter().chain(&library.templates);
    let files = match format {
        Format::StylesCsv => single(styles_csv::write(looks(), &mut warnings)),
        Format::Fooocus => single(styles_json::write(looks(), styles_json::Shape::Fooocus, &mut warnings)),
        Format::InvokeAi => single(styles_json::write(looks(), styles_json::Shape::InvokeAi, &mut warnings)),
        Format::InvokeAiPreset => single(styles_json::write(looks(), styles_json::Shape::Preset, &mut warnings)),
        Format::EasyDiffusion => single(easy_diffusion::write(&library.modifiers)),
        Format::WildcardsTxt => wildcards::write_txt(&library.wildcards, &mut warnings),
        Format::WildcardsYaml => single(wildcards::write_yaml(&library.wildcards)),
        Format::WildcardsJson => single(wildcards::write_json(&library.wildcards)),
        Format::ClipText => template_lists::write_text(library, &mut warnings),
        Format::ClipJson => single(template_lists::write_json(library)),
        Format::ClipPython => single(template_lists::write_python(library)),
        Format::Cupl => class_prompts::write(&library.class_prompts, ClassTexts::Sentences),
        Format::Descriptors => class_prompts::write(&library.class_prompts, ClassTexts::Descriptors),
        Format::Modifiers => single(write_modifiers(&library.modifiers)),
        Format::Templates => single(write_templates(&library.templates, "template")),
        Format::Styles => single(write_templates(&library.styles, "style")),
    };
    (files, warnings)
}

/// The format of a text, by what stands in it; `file` is the file's name, which decides where the text could be either.
/// `None` if it is none of them.
pub fn recognise(file: &str, text: &str) -> Option<Format> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = file.to_ascii_lowercase();
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    let start = text.trim_start();
    let has_block = |name: &str| text.lines().any(|line| line.trim_end() == format!("[[{name}]]"));
    for (name, format) in [("category", Format::Modifiers), ("template", Format::Templates), ("style", Format::Styles)]
    {
        if has_block(name) {
            return Some(format);
        }
    }
    if template_lists::looks_like_python(text) {
        return Some(Format::ClipPython);
    }
    if start.starts_with(['{', '[']) && ending != "txt" && !matches!(ending, "yaml" | "yml") {
        return of_json(&file, text);
    }
    if has_style_header(text) {
        return Some(Format::StylesCsv);
    }
    if matches!(ending, "yaml" | "yml") {
        return Some(Format::WildcardsYaml);
    }
    if matches!(ending, "csv" | "toml" | "json" | "py") || start.is_empty() {
        return None;
    }
    let lines = crate::prompt::template::lines(text);
    let with_hole = lines.iter().filter(|line| has_class_hole(line)).count();
    // Most wildcards have no holes, most templates have one.
    Some(if with_hole * 2 > lines.len() || file.contains("class") { Format::ClipText } else { Format::WildcardsTxt })
}

fn has_style_header(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let (rows, _) = csv::read(first);
    let Some(row) = rows.first() else { return false };
    let has = |name: &str| row.fields.iter().any(|field| field.trim().eq_ignore_ascii_case(name));
    has("name") && (has("prompt") || has("text") || has("negative_prompt"))
}

fn of_json(file: &str, text: &str) -> Option<Format> {
    let (node, _) = json::read(text);
    let node = node?;
    let first = match &node.json {
        json::Json::List(items) => items.iter().find(|item| matches!(item.json, json::Json::Map(_))),
        json::Json::Map(_) => Some(&node),
        _ => None,
    };
    let has = |name: &str| first.is_some_and(|entry| entry.get(name).is_some());
    if template_lists::is_notebook(&node) {
        return Some(Format::ClipPython);
    }
    if has("preset_data") {
        return Some(Format::InvokeAiPreset);
    }
    if has("modifiers") {
        return Some(Format::EasyDiffusion);
    }
    if has("positive_prompt") {
        return Some(Format::InvokeAi);
    }
    if has("name") && (has("prompt") || has("negative_prompt")) {
        return Some(Format::Fooocus);
    }
    if matches!(node.json, json::Json::List(_)) && first.is_some() {
        // Options with weights.
        return (has("text") || has("content")).then_some(Format::WildcardsJson);
    }
    let mut texts = Vec::new();
    let mut named = 0;
    collect(&node, "", &mut |name, text| {
        named += usize::from(!name.is_empty() && text.to_lowercase().contains(&name.to_lowercase()));
        texts.push(text.to_owned());
    });
    let share = |holds: &dyn Fn(&str) -> bool| texts.iter().filter(|text| holds(text)).count() * 2 > texts.len();
    let is_sentence = |text: &str| text.split_whitespace().count() > 3 && text.ends_with('.');
    let features =
        ["a ", "an ", "the ", "has ", "is ", "usually ", "often ", "may ", "long ", "short ", "which ", "with "];
    let is_feature = |text: &str| features.iter().any(|start| text.starts_with(start));
    Some(match () {
        () if file.contains("wildcard") => Format::WildcardsJson,
        () if share(&|text| has_class_hole(text)) || file.contains("class") => Format::ClipJson,
        () if file.contains("descriptor") => Format::Descriptors,
        () if file.contains("cupl") || named * 2 > texts.len() || share(&is_sentence) => Format::Cupl,
        () if share(&is_feature) => Format::Descriptors,
        () => Format::WildcardsJson,
    })
}

/// Every text below `node`, with the name of the list it is in.
fn collect(node: &json::Node, name: &str, found: &mut impl FnMut(&str, &str)) {
    match &node.json {
        json::Json::Text(text) => found(name, text),
        json::Json::List(items) => items.iter().for_each(|item| collect(item, name, found)),
        json::Json::Map(entries) => entries.iter().for_each(|(name, inner)| collect(inner, name, found)),
        _ => {}
    }
}
