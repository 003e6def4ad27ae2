//! `maquette compare`: class templates on pictures; its commands are in `grid` and `words`.

use std::path::PathBuf;
use std::sync::Arc;

use super::args::{Compare, CompareClasses, CompareCommand};
use super::json;
use super::session::{self, Failure, Session, say, wrong_answer};
use super::{grid, words};
use crate::job::output::ZeroShotTable;
use crate::job::spec::{MarkedPicture, OwnTexts, ZeroShotSpec};
use crate::job::{JobOutput, JobSpec};
use crate::prompt::exchange::class_prompts;
use crate::prompt::library::ClassPrompts;
use crate::prompt::template::{self, has_class_hole, lines, own_texts_line};

pub(super) fn run(args: &Compare, session: &mut Session) -> Result<(), Failure> {
    match (&args.command, &args.classes) {
        (Some(CompareCommand::Grid(grid)), _) => grid::run(grid, session),
        (Some(CompareCommand::Words(words)), _) => words::run(words, session),
        (None, Some(args)) => classes(args, session),
        (None, None) => {
            Err(Failure::BadInput("name --classes, --templates and --image, or a command: grid, words".to_owned()))
        }
    }
}

fn classes(args: &CompareClasses, session: &mut Session) -> Result<(), Failure> {
    if let Some(out) = &args.out {
        session::check_out(out)?;
    }
    let list = |path: &std::path::Path, what: &str| -> Result<Vec<String>, Failure> {
        let lines = lines(&session::read_text(path)?);
        if lines.is_empty() {
            return Err(Failure::BadInput(format!("this file lists no {what}; write one a line: {}", path.display())));
        }
        Ok(lines)
    };
    let sets = class_texts(&args.class_texts)?;
    let classes = match &args.classes {
        Some(path) => list(path, "classes")?,
        None => sets.iter().take(1).flat_map(|set| set.classes.iter().map(|(class, _)| class.clone())).collect(),
    };
    let templates = args.templates.as_ref().map(|path| list(path, "templates")).transpose()?.unwrap_or_default();
    let own_texts: Result<Vec<OwnTexts>, Failure> = sets.iter().map(|set| texts_of(set, &classes)).collect();
    if let Some(line) = templates.iter().find(|line| template::own_texts(line).is_some()) {
        let message =
            format!("{line} stands for texts in the window's library; here name their file with --class-texts");
        return Err(Failure::BadInput(message));
    }
    for template in templates.iter().filter(|template| !has_class_hole(template)) {
        eprintln!(
            "maquette: note: the template \"{template}\" has no {{}} for the class name, so it cannot tell classes apart"
        );
    }
    let images = session::read_pictures(&args.image)?;
    let spec = ZeroShotSpec {
        model: args.model.as_str().into(),
        images: images.into_iter().map(|picture| MarkedPicture { picture, marks: Vec::new() }).collect(),
        classes,
        templates,
        own_texts: own_texts?,
        combine: args.combine,
    };
    let output = session.run(JobSpec::ZeroShot(spec))?;
    let JobOutput::ZeroShot(table) = &*output else { return Err(wrong_answer()) };
    let files: Vec<String> = args.image.iter().map(|path| path.display().to_string()).collect();
    if let Some(out) = &args.out {
        session::write(out, &csv(table, &files)?)?;
    }
    if args.json {
        let images = files.into_iter().zip(&table.images).map(|(file, scores)| json::ComparedImage::new(file, scores));
        return json::print(&json::Compare {
            schema: json::SCHEMA,
            classes: table.classes.clone(),
            templates: table.templates.clone(),
            scoring: table.scoring,
            images: images.collect(),
        });
    }
    print_table(table, &files);
    Ok(())
}

/// The sets of texts in these files.
fn class_texts(files: &[PathBuf]) -> Result<Vec<ClassPrompts>, Failure> {
    let mut sets = Vec::new();
    for file in files {
        let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let (read, warnings) = class_prompts::read(&name, &session::read_text(file)?);
        for warning in &warnings {
            eprintln!("maquette: note: {}: {warning}", file.display());
        }
        if read.is_empty() {
            let message = "this file has no texts for classes; JSON of the form {\"class\": [\"text\", …]} is expected";
            return Err(Failure::BadInput(format!("{message}: {}", file.display())));
        }
        sets.extend(read);
    }
    Ok(sets)
}

fn texts_of(set: &ClassPrompts, classes: &[String]) -> Result<OwnTexts, Failure> {
    let by_class = set.texts_of(classes).map_err(Failure::BadInput)?;
    Ok(OwnTexts { name: own_texts_line(&set.name), by_class: Arc::new(by_class) })
}

/// One row for each picture, template (and the ensemble) and class.
fn csv(table: &ZeroShotTable, files: &[String]) -> Result<Vec<u8>, Failure> {
    let failed = |error: csv::Error| Failure::Failed(format!("cannot write CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["file", "template", "class", "logit", "probability"]).map_err(failed)?;
    for (file, image) in files.iter().zip(&table.images) {
        let mut rows = |template: &str, logits: &[f32], probabilities: &[f32]| -> Result<(), Failure> {
            for ((class, logit), probability) in table.classes.iter().zip(logits).zip(probabilities) {
                let numbers = [logit.to_string(), probability.to_string()];
                writer.write_record([file, template, class, &numbers[0], &numbers[1]]).map_err(failed)?;
            }
            Ok(())
        };
        rows("(ensemble)", &image.logits, &image.probabilities)?;
        for (template, logits) in table.templates.iter().zip(&image.by_template) {
            rows(template, logits, &crate::analysis::zero_shot::probabilities(logits, table.scoring))?;
        }
    }
    writer.into_inner().map_err(|error| Failure::Failed(format!("cannot write CSV: {error}")))
}

fn print_table(table: &ZeroShotTable, files: &[String]) {
    let width = table.classes.iter().map(|class| class.chars().count()).max().unwrap_or(0);
    for (file, image) in files.iter().zip(&table.images) {
        say!("{file}");
        let mut order: Vec<(&String, f32)> = table.classes.iter().zip(image.probabilities.iter().copied()).collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (class, probability) in order.into_iter().take(10) {
            let bar = "█".repeat((probability * 30.0).round() as usize);
            say!("  {class:width$}  {:5.1} %  {bar}", probability * 100.0);
        }
    }
}
