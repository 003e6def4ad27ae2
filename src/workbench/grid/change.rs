//! What one value of an axis does to a request.

use std::ops::Range;

use crate::base::geom::Extent;
use crate::job::ModelRef;
use crate::job::sampling::{Emphasis, Sampler, Schedule};
use crate::job::spec::GenerateSpec;
use crate::prompt::{modifier, template, vary};

/// A change to a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Nothing,
    Steps(u32),
    Guidance(f32),
    GuidanceRescale(f32),
    Seed(u64),
    Sampler(Sampler),
    Schedule(Schedule),
    Eta(f32),
    ClipSkip(u32),
    Emphasis(Emphasis),
    Size(Extent),
    Strength(f32),
    Model(ModelRef),
    Prompt(String),
    Negative(String),
    Replace { from: String, to: String },
    Order(Vec<String>),
    Weight { phrase: String, weight: f64 },
    Modifier(String),
    Template(String),
    LeaveOut(Range<usize>),
}

impl Change {
    pub(super) fn apply(&self, spec: &mut GenerateSpec) {
        let (sampling, prompt) = (&mut spec.sampling, &mut spec.prompt);
        match self {
            Self::Nothing => {}
            Self::Steps(steps) => sampling.steps = *steps,
            Self::Guidance(guidance) => sampling.guidance = *guidance,
            Self::GuidanceRescale(rescale) => sampling.guidance_rescale = *rescale,
            Self::Seed(seed) => sampling.seed = *seed,
            Self::Sampler(sampler) => sampling.sampler = Some(*sampler),
            Self::Schedule(schedule) => sampling.schedule = *schedule,
            Self::Eta(eta) => sampling.eta = Some(*eta),
            Self::ClipSkip(layer) => sampling.clip_skip = Some(*layer),
            Self::Emphasis(emphasis) => sampling.emphasis = *emphasis,
            Self::Size(size) => sampling.size = *size,
            Self::Strength(strength) => {
                if let Some(init) = &mut spec.init {
                    init.strength = *strength;
                }
            }
            Self::Model(model) => spec.model = model.clone(),
            Self::Prompt(text) => prompt.clone_from(text),
            Self::Negative(text) => spec.negative.clone_from(text),
            Self::Replace { from, to } => {
                *prompt = prompt.replace(from.as_str(), to);
                spec.negative = spec.negative.replace(from.as_str(), to);
            }
            Self::Order(tokens) => *prompt = vary::reorder(prompt, tokens),
            Self::Weight { phrase, weight } => {
                if let Some(weighted) = vary::with_weight(prompt, phrase, *weight) {
                    *prompt = weighted;
                }
            }
            Self::Modifier(text) => *prompt = modifier::add(prompt, text),
            Self::Template(text) => *prompt = template::fill_subject(text, prompt),
            Self::LeaveOut(part) => *prompt = vary::without(prompt, part),
        }
    }
}
