//! `maquette compare grid`: a prompt and settings in variants, as pictures, a page with labels, and a table.

use std::path::Path;

use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};

use super::args::Generate;
use super::generate;
use super::json::{self, SCHEMA};
use super::lora;
use super::runs::{self, Runner};
use super::session::{self, Failure, Session, say};
use crate::base::pixels::Picture;
use crate::job::ModelRef;
use crate::store::pictures;
use crate::store::runs::{NewRun, RunId, RunKind, Runs};
use crate::store::sheet::{self, CellFacts};
use crate::workbench::grid::{AxisText, Grid as Cells};

/// Where a folder says which run it shows.
const RECORD: &str = "grid.json";

#[derive(Debug, ClapArgs)]
#[command(mut_arg("prompt", |arg| arg.required(false).default_value("")))]
#[command(mut_arg("out", |arg| arg.help("Folder for the pictures, the page and the table; made if it is missing").value_name("DIR")))]
#[command(mut_arg("json", |arg| arg.help("A JSON object on standard output")))]
#[command(mut_arg("count", |arg| arg.hide(true)), mut_arg("noise", |arg| arg.hide(true)), mut_arg("save_latents", |arg| arg.hide(true)))]
pub(super) struct Grid {
    /// What differs from column to column: "Steps: 5, 10", "Guidance: 1-9 [5]", "Prompt S/R: red, blue", "Seed: 1-4" …
    #[arg(long, value_name = "AXIS")]
    x: Option<AxisText>,
    /// What differs from row to row
    #[arg(long, value_name = "AXIS")]
    y: Option<AxisText>,
    /// What differs from page to page
    #[arg(long, value_name = "AXIS")]
    z: Option<AxisText>,
    /// Go on with the grid that was begun in the folder
    #[arg(long)]
    resume: bool,
    /// Model that scores how well a picture fits its prompt
    #[arg(long, default_value = "builtin")]
    clip: String,
    /// Text to score all pictures by (default: each by its own prompt)
    #[arg(long)]
    score_text: Option<String>,
    #[command(flatten)]
    generate: Generate,
}

/// What the folder remembers.
#[derive(Serialize, Deserialize)]
struct Record {
    schema: u32,
    run: RunId,
}

#[derive(Serialize)]
struct Answer {
    schema: u32,
    run: RunId,
    axes: Vec<crate::store::runs::AxisLabels>,
    /// Pictures that were there before.
    reused: usize,
    cells: Vec<AnswerCell>,
    pages: Vec<String>,
    table: String,
}

#[derive(Serialize)]
struct AnswerCell {
    at: [usize; 3],
    file: String,
    prompt: String,
    job: String,
    score: Option<f32>,
    seconds: Option<f64>,
    error: Option<String>,
}

pub(super) fn run(args: &Grid, session: &mut Session) -> Result<(), Failure> {
    let folder = args.generate.out.as_path();
    let cells_folder = folder.join("cells");
    std::fs::create_dir_all(&cells_folder)
        .map_err(|error| Failure::BadInput(format!("this folder cannot be made ({error}): {}", folder.display())))?;
    let mut runs = runs::open(folder)?;
    let (id, run) = begin(args, session, &mut runs, folder)?;
    let mut runner = Runner::new(session, runs, ModelRef::from(args.clip.as_str()));
    let mut made: Vec<Option<Picture>> = vec![None; run.cells.len()];
    let mut facts = vec![CellFacts::default(); run.cells.len()];
    let mut reused = 0;
    for (number, index) in Runner::order(&run).into_iter().enumerate() {
        let cell = &run.cells[index];
        match one(&mut runner, &run, index, &cells_folder) {
            Ok((picture, fact, is_new)) => {
                reused += usize::from(!is_new);
                if !args.generate.json {
                    let score = fact.score.map_or(String::new(), |score| format!("  score {score:.3}"));
                    let how = if is_new { "" } else { "  (there already)" };
                    say!("{} of {}  {}{score}{how}", number + 1, run.cells.len(), fact.file);
                }
                (made[index], facts[index]) = (Some(picture), fact);
            }
            Err(failure) => {
                eprintln!("maquette: {}: {}", named(&run, cell.at), failure.message());
                facts[index].trouble = failure.message().to_owned();
            }
        }
    }
    let written = sheet::write(&run, &made, &facts, &folder.join("grid.png")).map_err(Failure::Failed)?;
    let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    report(args, id, &run, &facts, reused, &written)?;
    match facts.iter().filter(|fact| !fact.trouble.is_empty()).count() {
        0 => Ok(()),
        failed => Err(Failure::Failed(format!(
            "{failed} of {} pictures could not be made; the others are in {}. --resume tries again",
            facts.len(),
            folder.display()
        ))),
    }
}

fn read(args: &Grid, session: &Session) -> Result<NewRun, Failure> {
    let axes: Vec<AxisText> = [&args.x, &args.y, &args.z].into_iter().flatten().cloned().collect();
    if args.generate.prompt.is_empty() && !axes.iter().any(|axis| axis.kind == crate::workbench::grid::AxisKind::Prompt)
    {
        return Err(Failure::BadInput("write what to show: --prompt \"…\"".to_owned()));
    }
    let base = generate::prepare(&args.generate, session.options())?;
    let grid = runs::with_sources(base.sampling.seed, true, |sources| Cells::read(&base, &axes, sources));
    let mut grid = grid.map_err(|error| Failure::BadInput(error.to_string()))?;
    let (mut files, chosen) = (lora::named_files(session.options())?, lora::chosen(&args.generate));
    grid.change(|spec| files.fit(spec, chosen)).map_err(Failure::BadInput)?;
    let title = grid.title(&base.prompt);
    Ok(grid.into_run(RunKind::Grid, title, args.score_text.clone()))
}

/// The run to work on: a new one, or the one that the folder was begun with.
fn begin(args: &Grid, session: &Session, runs: &mut Runs, folder: &Path) -> Result<(RunId, NewRun), Failure> {
    let path = folder.join(RECORD);
    let begun = match std::fs::read(&path) {
        Ok(bytes) => {
            let record: Record = serde_json::from_slice(&bytes).map_err(|error| {
                Failure::BadInput(format!("this file is damaged ({error}); remove it: {}", path.display()))
            })?;
            Some(record.run)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::BadInput(format!("cannot read this file ({error}): {}", path.display()))),
    };
    let asks = args.x.is_some() || args.y.is_some() || args.z.is_some();
    match begun {
        Some(_) if !args.resume => Err(Failure::BadInput(format!(
            "a grid was begun in this folder already; go on with --resume, or name another folder: {}",
            folder.display()
        ))),
        Some(id) => {
            let run = runs.run(id)?.run;
            if asks && read(args, session)?.axes != run.axes {
                let text = "the grid that was begun in this folder has other axes; leave them out to go on with it, or name another folder";
                return Err(Failure::BadInput(format!("{text}: {}", folder.display())));
            }
            Ok((id, run))
        }
        None if args.resume && !asks => Err(Failure::BadInput(format!(
            "no grid was begun in this folder, so there is none to resume: {}",
            folder.display()
        ))),
        None => {
            let run = read(args, session)?;
            let id = runs.add(&run)?;
            let record = serde_json::to_vec_pretty(&Record { schema: SCHEMA, run: id });
            session::write(&path, &record.map_err(|error| Failure::Failed(error.to_string()))?)?;
            Ok((id, run))
        }
    }
}

/// One cell: its picture, also as a file, and its score.
fn one(
    runner: &mut Runner<'_>,
    run: &NewRun,
    index: usize,
    folder: &Path,
) -> Result<(Picture, CellFacts, bool), Failure> {
    let cell = &run.cells[index];
    let (made, is_new) = runner.picture(cell)?;
    let [x, y, z] = cell.at.map(|at| at + 1);
    let path = folder.join(format!("x{x}-y{y}-z{z}.png"));
    let record = pictures::job_record(&cell.spec, cell.spec.sampling.seed, &made.model_sha256);
    pictures::write_png(&path, &made.picture, Some(&record))?;
    let score = runner.score(run, cell, &made)?;
    let facts = CellFacts {
        score: Some(score),
        seconds: Some(made.seconds),
        file: path.display().to_string(),
        trouble: String::new(),
    };
    Ok((made.picture, facts, is_new))
}

fn named(run: &NewRun, at: [usize; 3]) -> String {
    let values =
        run.axes.iter().zip(at).filter_map(|(axis, at)| Some(format!("{} {}", axis.name, axis.values.get(at)?)));
    values.collect::<Vec<_>>().join(", ")
}

fn report(
    args: &Grid,
    id: RunId,
    run: &NewRun,
    facts: &[CellFacts],
    reused: usize,
    written: &[String],
) -> Result<(), Failure> {
    if !args.generate.json {
        let mut best: Vec<usize> = (0..facts.len()).filter(|i| facts[*i].score.is_some()).collect();
        best.sort_by(|a, b| facts[*b].score.unwrap_or(-1.0).total_cmp(&facts[*a].score.unwrap_or(-1.0)));
        if let Some(best) = best.first() {
            say!("best score: {}", named(run, run.cells[*best].at));
        }
        written.iter().for_each(|path| say!("{path}"));
        return Ok(());
    }
    let cells = run.cells.iter().zip(facts).map(|(cell, fact)| AnswerCell {
        at: cell.at,
        file: fact.file.clone(),
        prompt: cell.spec.prompt.clone(),
        job: cell.job.clone(),
        score: fact.score,
        seconds: fact.seconds,
        error: Some(fact.trouble.clone()).filter(|text| !text.is_empty()),
    });
    let (table, pages) =
        written.split_last().map_or((String::new(), Vec::new()), |(table, pages)| (table.clone(), pages.to_vec()));
    json::print(&Answer {
        schema: SCHEMA,
        run: id,
        axes: run.axes.clone(),
        reused,
        cells: cells.collect(),
        pages,
        table,
    })
}
