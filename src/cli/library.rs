//! `maquette library import`, `export`, `list` and `effect`: what prompts are made from, without the window.
//!
//! Importing accepts any text of a known format: what cannot be read is said on standard error, with line or entry, and the exit code
//! stays 0 as long as something was read.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;

use super::json::{self, SCHEMA};
use super::lora;
use super::session::{Failure, Session, check_out, say, wrong_answer};
use crate::base::geom::Extent;
use crate::base::statistics::Spread;
use crate::document::Document;
use crate::job::ModelRef;
use crate::prompt::exchange::Format;
use crate::prompt::library::{ClassTexts, Library, Settings, Template};
use crate::store::preferences::{Preferences, UserFolders};
use crate::store::{exchange, presets};
use crate::workbench::library::Measurement;

#[derive(Debug, Subcommand)]
pub(super) enum LibraryCommand {
    /// Read a file of this or another program into your library; its format is told by what stands in it
    Import(Import),
    /// Write the library in the format of this or another program
    Export(Export),
    /// List everything in it
    List(List),
    /// Measure what a modifier does to a prompt: pictures of the same seeds with and without it, compared by a CLIP
    Effect(Box<Effect>),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Import {
    /// The file
    file: PathBuf,
    /// Read it as this: styles-csv, fooocus (also twri), invokeai, invokeai-preset, easy-diffusion, wildcards-txt, wildcards-yaml,
    /// wildcards-json, clip-text, clip-json, clip-python, cupl, descriptors, modifiers, templates or styles
    #[arg(long = "as", value_name = "FORMAT")]
    format: Option<Format>,
    /// Folder of the library to keep it in
    #[arg(long, default_value = "")]
    to: String,
    /// Say what is in the file, but keep nothing
    #[arg(long)]
    dry_run: bool,
    /// A JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Export {
    /// As for import; wildcards-txt, clip-text, cupl and descriptors write a folder of files
    #[arg(long)]
    format: Format,
    /// Leave out what ships with the program
    #[arg(long)]
    mine: bool,
    /// File or folder to write
    out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Effect {
    /// The modifier, of the library or not
    modifier: String,
    /// The prompt to add it to
    #[arg(long)]
    prompt: String,
    /// The negative prompt
    #[arg(long, default_value = "")]
    negative: String,
    /// Seeds to measure over
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    seeds: u32,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of sampling
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    /// Classifier-free guidance scale
    #[arg(long, default_value_t = 5.0)]
    guidance: f32,
    /// WIDTHxHEIGHT in pixels (default: 128x128)
    #[arg(long)]
    size: Option<Extent>,
    /// The diffusion model
    #[arg(long, default_value = "builtin")]
    model: String,
    /// The CLIP that compares
    #[arg(long, default_value = "builtin")]
    clip: String,
    /// A JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &LibraryCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        LibraryCommand::Import(args) => import(args),
        LibraryCommand::Export(args) => export(args),
        LibraryCommand::List(args) => list(args),
        LibraryCommand::Effect(args) => effect(args, session),
    }
}

fn users_presets() -> Option<PathBuf> {
    UserFolders::of_system().map(|folders| folders.presets)
}

#[derive(Serialize)]
struct Imported {
    schema: u32,
    format: &'static str,
    files: Vec<String>,
    warnings: Vec<String>,
    #[serde(flatten)]
    library: Listed,
}

fn import(args: &Import) -> Result<(), Failure> {
    let (format, library, files, warnings) = if args.dry_run {
        let (format, library, warnings) = exchange::read(&args.file, args.format).map_err(Failure::BadInput)?;
        (format, library, Vec::new(), warnings)
    } else {
        let no_place = "this system has no place for a user's files, so nothing can be imported".to_owned();
        let presets = users_presets().ok_or(Failure::Failed(no_place))?;
        let done = exchange::import(&presets, &args.file, args.format, &args.to).map_err(Failure::BadInput)?;
        (done.format, done.library, done.written, done.warnings)
    };
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    let files = files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    if args.json {
        return json::print(&Imported {
            schema: SCHEMA,
            format: format.id(),
            files,
            warnings,
            library: listed(&library),
        });
    }
    let read = if args.dry_run { "found" } else { "imported" };
    say!("{read} {} as {}", library.describe(), format.name());
    files.iter().for_each(|file| say!("{file}"));
    Ok(())
}

fn export(args: &Export) -> Result<(), Failure> {
    if !args.format.is_folder() {
        check_out(&args.out)?;
    } else if args.out.is_file() {
        let text = format!("{} writes several files; name a folder: {}", args.format.id(), args.out.display());
        return Err(Failure::BadInput(text));
    }
    let library = users_library();
    let library = if args.mine { library.only_mine() } else { library };
    let (written, warnings) = exchange::export(&args.out, args.format, &library).map_err(Failure::Failed)?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    written.iter().for_each(|path| say!("{}", path.display()));
    Ok(())
}

fn users_library() -> Library {
    let (library, warnings) = presets::library(users_presets().as_deref());
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    library
}

#[derive(Serialize)]
struct ListedLibrary {
    schema: u32,
    #[serde(flatten)]
    library: Listed,
}

#[derive(Serialize)]
struct Listed {
    modifiers: Vec<ListedModifier>,
    templates: Vec<ListedTemplate>,
    styles: Vec<ListedTemplate>,
    wildcards: Vec<ListedWildcard>,
    zero_shot_templates: Vec<ListedLines>,
    classes: Vec<ListedLines>,
    class_prompts: Vec<ListedClassPrompts>,
}

#[derive(Serialize)]
struct ListedModifier {
    text: String,
    category: String,
    about: String,
    folder: String,
    builtin: bool,
    negative: bool,
}

#[derive(Serialize)]
struct ListedTemplate {
    name: String,
    text: String,
    negative: String,
    about: String,
    folder: String,
    builtin: bool,
    mine: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guidance: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Extent>,
}

#[derive(Serialize)]
struct ListedWildcard {
    name: String,
    mine: bool,
    options: Vec<ListedOption>,
}

#[derive(Serialize)]
struct ListedOption {
    text: String,
    weight: f64,
}

#[derive(Serialize)]
struct ListedLines {
    name: String,
    mine: bool,
    lines: Vec<String>,
}

#[derive(Serialize)]
struct ListedClassPrompts {
    name: String,
    kind: &'static str,
    mine: bool,
    classes: serde_json::Map<String, serde_json::Value>,
}

fn listed(library: &Library) -> Listed {
    let lines = |lists: &[crate::prompt::library::NamedList]| -> Vec<ListedLines> {
        let lists = lists.iter();
        lists.map(|one| ListedLines { name: one.name.clone(), mine: one.is_mine, lines: one.lines.clone() }).collect()
    };
    let modifiers = library.modifiers.iter().flat_map(|category| {
        category.modifiers.iter().map(|one| ListedModifier {
            text: one.text.clone(),
            category: category.name.clone(),
            about: one.about.clone(),
            folder: category.folder.clone(),
            builtin: one.builtin,
            negative: one.negative,
        })
    });
    let wildcards = library.wildcards.iter().map(|(name, list)| ListedWildcard {
        name: name.clone(),
        mine: list.is_mine,
        options: list.values.iter().map(|one| ListedOption { text: one.text.clone(), weight: one.weight }).collect(),
    });
    let class_prompts = library.class_prompts.iter().map(|set| ListedClassPrompts {
        name: set.name.clone(),
        kind: match set.texts {
            ClassTexts::Sentences => "sentences",
            ClassTexts::Descriptors => "descriptors",
        },
        mine: set.is_mine,
        classes: set.classes.iter().map(|(class, texts)| (class.clone(), texts.clone().into())).collect(),
    });
    Listed {
        modifiers: modifiers.collect(),
        templates: library.templates.iter().map(template).collect(),
        styles: library.styles.iter().map(template).collect(),
        wildcards: wildcards.collect(),
        zero_shot_templates: lines(&library.zero_shot),
        classes: lines(&library.classes),
        class_prompts: class_prompts.collect(),
    }
}

fn template(one: &Template) -> ListedTemplate {
    let Template { name, text, negative, about, folder, builtin, is_mine, settings } = one.clone();
    let Settings { model, sampler, steps, guidance, size } = settings;
    ListedTemplate {
        name,
        text,
        negative,
        about,
        folder,
        builtin,
        mine: is_mine,
        model,
        sampler,
        steps,
        guidance,
        size,
    }
}

fn list(args: &List) -> Result<(), Failure> {
    let library = users_library();
    if args.json {
        return json::print(&ListedLibrary { schema: SCHEMA, library: listed(&library) });
    }
    for category in &library.modifiers {
        say!("modifiers: {}", category.name);
        for one in &category.modifiers {
            say!("  {}{}", one.text, if one.about.is_empty() { String::new() } else { format!(": {}", one.about) });
        }
    }
    for (title, templates) in [("templates", &library.templates), ("styles", &library.styles)] {
        say!("{title}");
        templates.iter().for_each(|one| say!("  {}: {}", one.name, one.text));
    }
    say!("wildcards");
    library.wildcards.iter().for_each(|(name, list)| say!("  __{name}__: {} options", list.values.len()));
    for (title, lists) in [("zero-shot templates", &library.zero_shot), ("classes", &library.classes)] {
        say!("{title}");
        lists.iter().for_each(|list| say!("  {}: {}", list.name, list.lines.len()));
    }
    library.class_prompts.iter().for_each(|set| say!("class prompts: {} ({} classes)", set.name, set.classes.len()));
    Ok(())
}

#[derive(Serialize)]
struct Measured {
    schema: u32,
    modifier: String,
    prompt: String,
    model: String,
    clip: String,
    seeds: Vec<u64>,
    /// Change of the cosine similarity of the pictures and the prompt with the modifier.
    fit: Spread,
    /// The same for the prompt without it.
    rest: Spread,
    /// 1 - cosine of the two pictures of a seed.
    change: Spread,
    /// 1 - cosine of the pictures of two seeds without it.
    chance: Option<Spread>,
    /// `change` as a share of `chance`.
    share_of_chance: Option<f64>,
    summary: String,
}

fn effect(args: &Effect, session: &mut Session) -> Result<(), Failure> {
    let mut document = Document { prompt: args.prompt.clone(), negative: args.negative.clone(), ..Document::default() };
    document.sampling.seed = args.seed;
    document.sampling.steps = args.steps;
    document.sampling.guidance = args.guidance;
    document.sampling.size = args.size.unwrap_or(document.sampling.size);
    let preferences = Preferences {
        diffusion_model: ModelRef(args.model.clone()),
        clip_model: ModelRef(args.clip.clone()),
        ..Preferences::default()
    };
    if args.modifier.trim().is_empty() {
        return Err(Failure::BadInput("the modifier is empty; say which words to measure".to_owned()));
    }
    let mut files = lora::named_files(session.options())?;
    let (library, modifier) = (users_library(), args.modifier.trim());
    let mut measurement = Measurement::new(document, preferences, library, modifier, args.seeds, &mut files)
        .map_err(Failure::BadInput)?;
    while let Some(spec) = measurement.next() {
        measurement.take(&*session.run(spec)?);
    }
    let report = measurement.report().cloned().ok_or_else(wrong_answer)?;
    let summary = report.summary();
    if args.json {
        return json::print(&Measured {
            schema: SCHEMA,
            share_of_chance: report.share_of_chance(),
            modifier: report.modifier,
            prompt: report.prompt,
            model: args.model.clone(),
            clip: args.clip.clone(),
            seeds: report.seeds,
            fit: report.fit,
            rest: report.rest,
            change: report.change,
            chance: report.chance,
            summary,
        });
    }
    let line = |name: &str, spread: &Spread| {
        say!("{name:<34} {:>8.4}   95 % interval {:>8.4} to {:>7.4}", spread.mean, spread.low, spread.high);
    };
    say!("\"{}\" {summary}", report.modifier);
    line("fit to the prompt with it", &report.fit);
    line("fit to the prompt without it", &report.rest);
    line("change of the picture (1 - cosine)", &report.change);
    if let Some(chance) = &report.chance {
        line("the same between seeds", chance);
    }
    Ok(())
}
