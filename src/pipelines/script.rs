//! What the prompts of a job say at each step, in A1111's dialect: parts joined by `AND`, words that change on the way, weights.

use super::conditioning::verbatim;
use crate::job::sampling::Emphasis;
use crate::job::spec::GenerateSpec;
use crate::prompt::comment;
use crate::prompt::emphasis::{self, Fragment};
use crate::prompt::network::ExtraNetwork;
use crate::prompt::schedule::{Schedule, Timing};
use crate::prompt::source::Traced;
use crate::prompt::stages::Stages;

/// Weighted fragments of one of the prompts that steer together, and how strongly it steers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Words {
    pub(super) fragments: Vec<Fragment>,
    pub(super) weight: f64,
}

/// Each with the last step that it holds for, counted from 1; ascending, at least one.
pub(super) type Spans<T> = Vec<(usize, T)>;

/// The words of a job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Script {
    pub(super) prompt: Spans<Vec<Words>>,
    pub(super) negative: Spans<Vec<Fragment>>,
}

impl Script {
    /// Reads the prompts of `spec` for a run of `steps` steps; remarks say what of them has no effect.
    pub(super) fn new(spec: &GenerateSpec, steps: usize, remarks: &mut Vec<String>) -> Self {
        let (emphasis, steps) = (spec.sampling.emphasis, u32::try_from(steps.max(1)).unwrap_or(u32::MAX));
        let stages = Stages::new(&spec.prompt, steps);
        for ExtraNetwork { kind, name, .. } in &stages.extra_networks {
            let is_used = |path: &std::path::Path| path.file_stem().is_some_and(|stem| *stem == **name);
            if !spec.loras.iter().any(|lora| is_used(&lora.path)) {
                remarks.push(format!("<{kind}:{name}…> in the prompt loads nothing: there are no networks of this kind here, or none was given"));
            }
        }
        Self { prompt: prompt(&stages, emphasis), negative: negative(&spec.negative, steps, emphasis) }
    }

    /// All texts that there are to encode.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[Fragment]> {
        let prompts = self.prompt.iter().flat_map(|(_, parts)| parts).map(|words| words.fragments.as_slice());
        prompts.chain(self.negative.iter().map(|(_, fragments)| fragments.as_slice()))
    }
}

fn prompt(stages: &Stages, emphasis: Emphasis) -> Spans<Vec<Words>> {
    let (stretches, _) = stages.schedule();
    let spans = stretches.into_iter().map(|stretch| {
        let parts = stretch.parts.into_iter().map(|part| {
            let fragments = if emphasis == Emphasis::None { verbatim(&part.text) } else { part.fragments };
            Words { fragments, weight: part.weight }
        });
        (stretch.until_step as usize, parts.collect())
    });
    spans.collect()
}

/// A negative prompt has one part and loads nothing.
fn negative(text: &str, steps: u32, emphasis: Emphasis) -> Spans<Vec<Fragment>> {
    let mut ignored = Vec::new();
    let (text, _) = comment::strip(&Traced::new(text));
    let schedule = Schedule::new(&text, Timing::of_steps(steps), &mut ignored);
    let spans = schedule.boundaries().iter().map(|until| {
        let text = schedule.at(*until);
        let fragments = match emphasis {
            Emphasis::None => verbatim(text.text()),
            _ => emphasis::parse_traced(&text, &mut ignored),
        };
        (*until as usize, fragments)
    });
    spans.collect()
}

/// All texts that a prompt has at some step.
pub(super) fn all_texts(text: &str, is_negative: bool, steps: u32, emphasis: Emphasis) -> Vec<Vec<Fragment>> {
    if is_negative {
        return negative(text, steps, emphasis).into_iter().map(|(_, fragments)| fragments).collect();
    }
    let spans = prompt(&Stages::new(text, steps), emphasis);
    spans.into_iter().flat_map(|(_, parts)| parts).map(|words| words.fragments).collect()
}

/// A negative prompt at a step, counted from 1.
pub(super) fn negative_text(text: &str, steps: u32, step: u32) -> Traced {
    let (text, _) = comment::strip(&Traced::new(text));
    Schedule::new(&text, Timing::of_steps(steps), &mut Vec::new()).at(step)
}
