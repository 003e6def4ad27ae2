//! `maquette models check`: how good the built-in models are, or what any other model is and what it lacks.

use super::args::Check;
use super::json;
use super::session::{Failure, Session, say, wrong_answer};
use crate::engine::options::EngineOptions;
use crate::job::output::{Bound, JudgeAccuracy, QualityReport};
use crate::job::spec::CheckQualitySpec;
use crate::job::{JobOutput, JobSpec, ModelRef};

pub(super) fn run(args: &Check, session: &mut Session, options: &EngineOptions) -> Result<(), Failure> {
    if args.model != ModelRef::builtin().0 {
        return super::models::check(&args.model, args.json, options);
    }
    let spec = CheckQualitySpec { scenes: args.scenes, seed: args.seed, judge: args.judge.clone() };
    let output = session.run(JobSpec::CheckQuality(spec))?;
    let JobOutput::Quality(report) = &*output else { return Err(wrong_answer()) };
    if args.json {
        return json::print(&json::Check { schema: json::SCHEMA, report });
    }
    print_table(report);
    Ok(())
}

fn print_table(report: &QualityReport) {
    let width = report.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
    say!("{:width$}  {:>8}  {:>10}  {:>6}", "figure", "value", "asked", "count");
    for figure in &report.figures {
        let asked = match figure.asked {
            Bound::AtLeast(bound) => format!(">= {bound}"),
            Bound::AtMost(bound) => format!("<= {bound}"),
        };
        let mark = if figure.asked.is_met(figure.value) { "" } else { "  missed" };
        say!("{:width$}  {:8.3}  {asked:>10}  {:6}{mark}", figure.name, figure.value, figure.count);
    }
    let Some(judge) = &report.judge else {
        say!(
            "\nNot measured, for want of a judge of generated pictures: {}. Train one (assets/models/train/train_judge.py) and name \
             its folder with --judge.",
            report.not_measured.join(", ")
        );
        return;
    };
    let JudgeAccuracy { count, thing, style, background, effect, .. } = judge;
    let JudgeAccuracy { two_things_present, two_things_sides, inpaint_thing, .. } = judge;
    say!("\nThe judge of the generated pictures, on {count} real scenes of each kind:");
    say!(
        "thing {thing:.3}, style {style:.3}, background {background:.3}, effect {effect:.3}, two things present \
         {two_things_present:.3}, on their sides {two_things_sides:.3}, thing under a mask {inpaint_thing:.3}"
    );
}
