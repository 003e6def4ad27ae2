//! `maquette prompt explain`, `expand` and `convert`: the prompt language without a model.
//!
//! Any text is accepted: what is wrong with it is said in `diagnostics`, and the exit code stays 0. Spans are bytes of the
//! text that was given, from and to.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;

use super::json::{self, SCHEMA};
use super::session::{Failure, say};
use crate::prompt::diagnostic::{Diagnostic, Severity};
use crate::prompt::dialect::{self, Dialect};
use crate::prompt::emphasis::Fragment;
use crate::prompt::expand::{Method, Wanted, expand, is_endless};
use crate::prompt::lint;
use crate::prompt::network::ExtraNetwork;
use crate::prompt::stages::{Stretch, StretchPart};
use crate::store::preferences::UserFolders;
use crate::store::{presets, wildcards};

/// Prompts of all combinations without `--count`.
const MOST_COMBINATIONS: u32 = 100_000;

#[derive(Debug, Subcommand)]
pub(super) enum Prompt {
    /// Show what the encoder gets: schedule, weighted fragments, remarks
    Explain(Explain),
    /// Make prompts from a template with variants, wildcards and variables
    Expand(Expand),
    /// Write a prompt in another program's dialect
    Convert(Convert),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Explain {
    /// The prompt; - stands for what is on standard input
    #[arg(allow_hyphen_values = true, value_parser = given)]
    text: String,
    /// a1111, comfyui, compel, invokeai, novelai or swarmui
    #[arg(long, default_value = "a1111")]
    dialect: Dialect,
    /// Steps of sampling
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    /// A JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Expand {
    /// The template; - stands for what is on standard input
    #[arg(allow_hyphen_values = true, value_parser = given)]
    text: String,
    /// Start of the random numbers (default: a random one, which is printed)
    #[arg(long)]
    seed: Option<u64>,
    /// Prompts to make (default: 1; with --all, all of them)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// Every combination once instead of random ones
    #[arg(long)]
    all: bool,
    /// Folder of wildcard files: txt, yaml, json (default: "wildcards" among your presets)
    #[arg(long)]
    wildcards: Option<PathBuf>,
    /// A JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Convert {
    /// The prompt; - stands for what is on standard input
    #[arg(allow_hyphen_values = true, value_parser = given)]
    text: String,
    /// The dialect that it is written in
    #[arg(long)]
    from: Dialect,
    /// The dialect to write
    #[arg(long)]
    to: Dialect,
    /// A JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// The text that an argument stands for.
fn given(argument: &str) -> Result<String, String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    std::io::read_to_string(std::io::stdin()).map_err(|error| format!("standard input cannot be read: {error}"))
}

pub(super) fn run(command: &Prompt) -> Result<(), Failure> {
    match command {
        Prompt::Explain(args) => explain(args),
        Prompt::Expand(args) => run_expand(args),
        Prompt::Convert(args) => convert(args),
    }
}

#[derive(Serialize)]
struct Explained {
    schema: u32,
    schedule: Vec<ExplainedStretch>,
    extra_networks: Vec<ExplainedNetwork>,
    diagnostics: Vec<Remark>,
}

#[derive(Serialize)]
struct ExplainedStretch {
    until_step: u32,
    parts: Vec<ExplainedPart>,
}

#[derive(Serialize)]
struct ExplainedPart {
    weight: f64,
    text: String,
    fragments: Vec<ExplainedFragment>,
}

#[derive(Serialize)]
struct ExplainedFragment {
    text: String,
    weight: f64,
    span: [usize; 2],
}

#[derive(Serialize)]
struct ExplainedNetwork {
    kind: String,
    name: String,
    weight: f64,
    denoiser_weight: f64,
    args: Vec<String>,
    span: [usize; 2],
}

#[derive(Serialize)]
struct Remark {
    span: [usize; 2],
    severity: Severity,
    code: &'static str,
    message: String,
}

impl From<Stretch> for ExplainedStretch {
    fn from(Stretch { until_step, parts }: Stretch) -> Self {
        Self { until_step, parts: parts.into_iter().map(Into::into).collect() }
    }
}

impl From<StretchPart> for ExplainedPart {
    fn from(StretchPart { weight, text, fragments }: StretchPart) -> Self {
        Self { weight, text, fragments: fragments.into_iter().map(Into::into).collect() }
    }
}

impl From<Fragment> for ExplainedFragment {
    fn from(Fragment { text, weight, span }: Fragment) -> Self {
        Self { text, weight, span: [span.start, span.end] }
    }
}

impl From<ExtraNetwork> for ExplainedNetwork {
    fn from(ExtraNetwork { kind, name, weight, denoiser_weight, args, span }: ExtraNetwork) -> Self {
        Self { kind, name, weight, denoiser_weight, args, span: [span.start, span.end] }
    }
}

impl From<Diagnostic> for Remark {
    fn from(Diagnostic { span, severity, code, message, .. }: Diagnostic) -> Self {
        Self { span: [span.start, span.end], severity, code, message }
    }
}

fn explain(args: &Explain) -> Result<(), Failure> {
    let explanation = dialect::explain(args.dialect, &args.text, args.steps);
    let mut diagnostics = explanation.diagnostics;
    for part in explanation.schedule.iter().flat_map(|stretch| &stretch.parts) {
        lint::weights(&args.text, &part.fragments, &mut diagnostics);
    }
    diagnostics.extend(lint::words(&args.text, ""));
    crate::prompt::diagnostic::tidy(&mut diagnostics);
    if args.json {
        return json::print(&Explained {
            schema: SCHEMA,
            schedule: explanation.schedule.into_iter().map(Into::into).collect(),
            extra_networks: explanation.extra_networks.into_iter().map(Into::into).collect(),
            diagnostics: diagnostics.into_iter().map(Into::into).collect(),
        });
    }
    for stretch in &explanation.schedule {
        say!("until step {}", stretch.until_step);
        for part in &stretch.parts {
            say!("  part of weight {}", part.weight);
            for Fragment { text, weight, .. } in &part.fragments {
                say!("    {weight:>8.4}  {text:?}");
            }
        }
    }
    for ExtraNetwork { kind, name, weight, denoiser_weight, .. } in &explanation.extra_networks {
        say!("{kind} {name}: text encoder {weight}, denoiser {denoiser_weight}");
    }
    say_remarks(&args.text, &diagnostics);
    Ok(())
}

/// Remarks for people: on standard error, with the part of the text that they are about.
fn say_remarks(text: &str, diagnostics: &[Diagnostic]) {
    for Diagnostic { span, severity, message, .. } in diagnostics {
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Hint => "hint",
        };
        let about = text.get(span.clone()).filter(|about| !about.is_empty() && about.len() <= 60);
        let about = about.map_or_else(String::new, |about| format!(" (at \"{about}\")"));
        eprintln!("{severity}: {message}{about}");
    }
}

#[derive(Serialize)]
struct Expanded {
    schema: u32,
    prompts: Vec<String>,
    seed: u64,
    diagnostics: Vec<Remark>,
}

fn run_expand(args: &Expand) -> Result<(), Failure> {
    let (wildcards, warnings) = match &args.wildcards {
        Some(folder) if !folder.is_dir() => {
            return Err(Failure::BadInput(format!("there is no such folder of wildcards: {}", folder.display())));
        }
        Some(folder) => wildcards::read_folder(folder),
        None => {
            let (library, warnings) =
                presets::library(UserFolders::of_system().map(|folders| folders.presets).as_deref());
            (presets::wildcards(&library), warnings)
        }
    };
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    // Seeds fit into what JSON readers take for a whole number.
    let seed = args.seed.unwrap_or_else(|| rand::random::<u64>() >> 12);
    let default = if args.all && !is_endless(&args.text) { MOST_COMBINATIONS } else { 1 };
    let wanted = Wanted {
        method: if args.all { Method::Combinatorial } else { Method::Random },
        seed,
        count: args.count.unwrap_or(default) as usize,
    };
    let expansion = expand(&args.text, &wildcards, wanted);
    if args.all && args.count.is_none() && expansion.prompts.len() >= MOST_COMBINATIONS as usize {
        eprintln!("warning: there are more; only the first {MOST_COMBINATIONS} are made (--count asks for more)");
    }
    if args.json {
        let diagnostics = expansion.diagnostics.into_iter().map(Into::into).collect();
        return json::print(&Expanded { schema: SCHEMA, prompts: expansion.prompts, seed, diagnostics });
    }
    for prompt in &expansion.prompts {
        say!("{prompt}");
    }
    if args.seed.is_none() && !args.all {
        eprintln!("seed {seed}");
    }
    say_remarks(&args.text, &expansion.diagnostics);
    Ok(())
}

#[derive(Serialize)]
struct Converted {
    schema: u32,
    prompt: String,
    diagnostics: Vec<Remark>,
}

fn convert(args: &Convert) -> Result<(), Failure> {
    let (prompt, diagnostics) = dialect::convert(args.from, args.to, &args.text);
    if args.json {
        let diagnostics = diagnostics.into_iter().map(Into::into).collect();
        return json::print(&Converted { schema: SCHEMA, prompt, diagnostics });
    }
    say!("{prompt}");
    say_remarks(&args.text, &diagnostics);
    Ok(())
}
