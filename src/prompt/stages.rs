//! What becomes of a prompt in A1111's dialect on its way to the encoder, stage by stage: comments out, extra networks out,
//! parts at `AND`, a schedule of texts, weighted fragments. Each stage is a value that can be shown.
//!
//! Reading a prompt never fails and takes time linear in its length; the schedule takes that once for each of its steps.
//! Every span counts bytes of the text that the user wrote, also if templates were laid over it or something was drawn first.

use std::ops::Range;

use super::comment;
use super::compose::{self, Part};
use super::diagnostic::{self, Diagnostic};
use super::emphasis::{self, Fragment};
use super::network::{self, ExtraNetwork};
use super::schedule::{Schedule, Timing};
use super::source::Traced;

/// All stages of one prompt.
#[derive(Debug, Clone)]
pub struct Stages {
    /// Where its comments are.
    pub comments: Vec<Range<usize>>,
    /// The text without comments.
    pub without_comments: Traced,
    /// The extra networks, in order.
    pub extra_networks: Vec<ExtraNetwork>,
    /// The text without extra networks.
    pub without_networks: Traced,
    /// The parts between `AND`, at least one.
    pub parts: Vec<Part>,
    /// The schedule of each part.
    pub schedules: Vec<Schedule>,
    /// Remarks of the stages up to the schedules.
    pub diagnostics: Vec<Diagnostic>,
}

/// What holds up to a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// The last step that it holds for, counted from 1.
    pub until_step: u32,
    /// What the encoder gets, part by part.
    pub parts: Vec<StretchPart>,
}

/// One part's text in a stretch of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct StretchPart {
    /// How much the part counts among the parts.
    pub weight: f64,
    /// The text after scheduling, brackets of emphasis still in it.
    pub text: String,
    /// The same without brackets.
    pub fragments: Vec<Fragment>,
}

impl StretchPart {
    fn new(part: &Part, schedule: &Schedule, step: u32, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let text = schedule.at(step);
        let fragments = emphasis::parse_traced(&text, diagnostics);
        Self { weight: part.weight, text: text.text().to_owned(), fragments }
    }
}

impl Stages {
    /// Reads a prompt for one pass of `steps` steps.
    pub fn new(text: &str, steps: u32) -> Self {
        Self::with_timing(text, Timing::of_steps(steps))
    }

    /// Reads a prompt.
    pub fn with_timing(text: &str, timing: Timing) -> Self {
        Self::of(&Traced::new(text), timing)
    }

    /// Reads what templates and choices made of a prompt.
    pub fn of(text: &Traced, timing: Timing) -> Self {
        let mut diagnostics = Vec::new();
        let (without_comments, comments) = comment::strip(text);
        let (without_networks, extra_networks) = network::cut(&without_comments, &mut diagnostics);
        let parts = compose::split(&without_networks, &mut diagnostics);
        let schedules = parts.iter().map(|part| Schedule::new(&part.text, timing, &mut diagnostics)).collect();
        Self { comments, without_comments, extra_networks, without_networks, parts, schedules, diagnostics }
    }

    /// The steps up to which a stretch holds, ascending; the last one is the number of steps.
    pub fn boundaries(&self) -> Vec<u32> {
        let mut all: Vec<u32> =
            self.schedules.iter().flat_map(|schedule| schedule.boundaries().iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the encoder gets at a step, counted from 1.
    pub fn at(&self, step: u32, diagnostics: &mut Vec<Diagnostic>) -> Stretch {
        let parts = self.parts.iter().zip(&self.schedules);
        let parts = parts.map(|(part, schedule)| StretchPart::new(part, schedule, step, diagnostics)).collect();
        Stretch { until_step: step, parts }
    }

    /// What the encoder gets from the first to the last step, and all remarks, in the order of their places.
    pub fn schedule(&self) -> (Vec<Stretch>, Vec<Diagnostic>) {
        let mut diagnostics = self.diagnostics.clone();
        let mut stretches: Vec<Stretch> = Vec::new();
        for until_step in self.boundaries() {
            let mut parts = Vec::with_capacity(self.parts.len());
            for (at, (part, schedule)) in self.parts.iter().zip(&self.schedules).enumerate() {
                // A long text with short alternations says the same many times.
                let same = schedule.same_as(until_step);
                let known = same.and_then(|step| stretches.binary_search_by_key(&step, |one| one.until_step).ok());
                parts.push(match known.and_then(|known| stretches.get(known)?.parts.get(at)) {
                    Some(known) => known.clone(),
                    None => StretchPart::new(part, schedule, until_step, &mut diagnostics),
                });
            }
            stretches.push(Stretch { until_step, parts });
            diagnostic::tidy(&mut diagnostics);
        }
        (stretches, diagnostics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_schedule_says_of_each_step_what_is_read_there(
            text in r"(\[|a|b|\||\||\]|:|:3\]|:\.5\]| AND |\(|\)){0,24}",
            steps in 1_u32..40,
        ) {
            let stages = Stages::new(&text, steps);
            for stretch in stages.schedule().0 {
                prop_assert_eq!(&stretch, &stages.at(stretch.until_step, &mut Vec::new()));
            }
        }
    }
}
