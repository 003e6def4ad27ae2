//! `maquette compare words`: which parts of a prompt carry the picture.

use clap::Args as ClapArgs;
use serde::Serialize;

use super::args::Generate;
use super::generate;
use super::json::{self, SCHEMA};
use super::lora;
use super::runs::{self, Runner};
use super::session::{Failure, Session, say};
use crate::job::ModelRef;
use crate::job::spec::EmbedInputs;
use crate::prompt::vary::Grain;
use crate::store::runs::{NewRun, RunKind};
use crate::workbench::grid::words::{self, Measured, PartValue, Spread};
use crate::workbench::grid::{Grid, scoring};

#[derive(Debug, ClapArgs)]
#[command(mut_arg("out", |arg| arg.required(false).default_value(".").hide(true)))]
#[command(mut_arg("count", |arg| arg.hide(true)), mut_arg("noise", |arg| arg.hide(true)), mut_arg("save_latents", |arg| arg.hide(true)))]
pub(super) struct Words {
    /// Seeds to measure on: that many pictures for the prompt and for each part of it; 0 looks at the text alone
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=64))]
    seeds: u32,
    /// Take it apart into words (default: into phrases, if there are several)
    #[arg(long)]
    words: bool,
    /// Model that embeds texts and pictures
    #[arg(long, default_value = "builtin")]
    clip: String,
    #[command(flatten)]
    generate: Generate,
}

#[derive(Serialize)]
struct Answer {
    schema: u32,
    prompt: String,
    seeds: Vec<u64>,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    text: String,
    /// In bytes of the prompt.
    span: [usize; 2],
    embedding_change: Option<f32>,
    score_change: Option<Figure>,
    picture_change: Option<Figure>,
    dead: bool,
}

#[derive(Serialize)]
struct Figure {
    mean: f32,
    deviation: f32,
    count: usize,
}

pub(super) fn run(args: &Words, session: &mut Session) -> Result<(), Failure> {
    let base = generate::prepare(&args.generate, session.options())?;
    let mut files = lora::named_files(session.options())?;
    let wildcards = generate::wildcards(&base, session.options());
    let base = generate::drawn(&args.generate, &base, base.sampling.seed, &mut files, &wildcards)?;
    let prompt = base.prompt.as_str();
    let (grain, parts) = words::parts(prompt, args.words.then_some(Grain::Words));
    if parts.is_empty() {
        return Err(Failure::BadInput("the prompt is empty; write --prompt \"…\"".to_owned()));
    }
    let seeds: Vec<u64> = (0..u64::from(args.seeds)).map(|i| base.sampling.seed.wrapping_add(i)).collect();
    let runs = runs::open(&args.generate.out)?;
    let mut runner = Runner::new(session, runs, ModelRef::from(args.clip.as_str()));
    let embeddings = runner.embed(EmbedInputs::Texts(words::texts(prompt, &parts)))?;
    let mut pictures: Vec<Vec<Measured>> = Vec::new();
    if !seeds.is_empty() {
        let axes = words::axes(grain, &seeds);
        let grid = runs::with_sources(base.sampling.seed, false, |sources| Grid::read(&base, &axes, sources));
        let mut grid = grid.map_err(|error| Failure::BadInput(error.to_string()))?;
        grid.change(|spec| files.fit(spec, lora::chosen(&args.generate))).map_err(Failure::BadInput)?;
        let title = grid.title(prompt);
        let run = grid.into_run(RunKind::Words, title, Some(scoring::plain(prompt)));
        pictures = measure(&mut runner, &run, parts.len() + 1)?;
    }
    let values = words::values(prompt, &parts, &embeddings, &pictures);
    if args.generate.json {
        let parts = values.into_iter().map(answer).collect();
        return json::print(&Answer { schema: SCHEMA, prompt: base.prompt.clone(), seeds, parts });
    }
    values.iter().for_each(say_value);
    Ok(())
}

/// Makes and scores all pictures, seed by seed.
fn measure(runner: &mut Runner<'_>, run: &NewRun, columns: usize) -> Result<Vec<Vec<Measured>>, Failure> {
    runner.runs.add(run)?;
    let mut measured = Vec::new();
    for cell in &run.cells {
        let (made, _) = runner.picture(cell)?;
        let score = runner.score(run, cell, &made)?;
        let embedding = runner.embedding(cell, &made)?;
        measured.push(Measured { score: Some(score), embedding: Some(embedding) });
    }
    Ok(measured.chunks(columns).map(<[Measured]>::to_vec).collect())
}

fn answer(value: PartValue) -> Part {
    let figure = |spread: Spread| Figure { mean: spread.mean, deviation: spread.deviation, count: spread.count };
    Part {
        text: value.text,
        span: [value.span.start, value.span.end],
        embedding_change: value.embedding_change,
        score_change: value.score_change.map(figure),
        picture_change: value.picture_change.map(figure),
        dead: value.is_dead,
    }
}

fn say_value(value: &PartValue) {
    let number = |change: Option<f32>| change.map_or_else(|| "    –".to_owned(), |change| format!("{change:+.3}"));
    let spread = |change: Option<Spread>| {
        change.map_or_else(|| "      –      ".to_owned(), |c| format!("{:+.3} ±{:.3}", c.mean, c.error()))
    };
    let dead = if value.is_dead { "  does nothing" } else { "" };
    say!(
        "{:30}  text {}   score {}   picture {}{dead}",
        value.text,
        number(value.embedding_change),
        spread(value.score_change.map(|c| Spread { mean: -c.mean, ..c })),
        spread(value.picture_change)
    );
}
