//! Parameters that came from outside, by the clipboard or inside a picture: what they would change, before anything changes.
//!
//! Read are A1111's infotext and the records that this program writes into its own pictures.

use serde::Deserialize;

use crate::base::geom::Extent;
use crate::document::{Document, Edit, TextField};
use crate::job::sampling::{Emphasis, RandomSource, Sampler, Sampling, Schedule};
use crate::prompt::infotext::Infotext;

/// Sides of pictures beyond this are no sizes.
const LONGEST_SIDE: u32 = 8192;

/// What can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The prompt.
    Prompt,
    /// The negative prompt.
    Negative,
    /// The templates and styles over the prompt, which the text to be taken over has in it.
    Stack,
    /// The number of steps.
    Steps,
    /// The sampler.
    Sampler,
    /// The noise levels.
    Schedule,
    /// The guidance scale.
    Guidance,
    /// The seed.
    Seed,
    /// Whose random numbers the seed starts.
    RandomSource,
    /// The size.
    Size,
    /// The layer of the text towers.
    ClipSkip,
    /// What weights do.
    Emphasis,
}

impl Field {
    /// Every field, in the order of the dialog.
    pub const ALL: [Self; 12] = [
        Self::Prompt,
        Self::Negative,
        Self::Stack,
        Self::Steps,
        Self::Sampler,
        Self::Schedule,
        Self::Guidance,
        Self::Seed,
        Self::RandomSource,
        Self::Size,
        Self::ClipSkip,
        Self::Emphasis,
    ];

    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "Prompt",
            Self::Negative => "Negative prompt",
            Self::Stack => "Templates and styles",
            Self::Steps => "Steps",
            Self::Sampler => "Sampler",
            Self::Schedule => "Schedule",
            Self::Guidance => "Guidance scale",
            Self::Seed => "Seed",
            Self::RandomSource => "Random numbers",
            Self::Size => "Size",
            Self::ClipSkip => "CLIP skip",
            Self::Emphasis => "Emphasis",
        }
    }
}

/// One thing that would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub field: Field,
    /// As it is.
    pub from: String,
    /// As it would be.
    pub to: String,
}

/// Parameters and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// "the clipboard", or the name of a file.
    pub source: String,
    /// The text as it came.
    pub text: String,
    prompt: String,
    negative: String,
    sampling: Sampling,
    /// Parameters that nothing here answers to.
    pub ignored: Vec<String>,
}

/// The record in our own pictures, as far as it is taken over.
#[derive(Deserialize)]
struct Record {
    job: Job,
}

#[derive(Deserialize)]
struct Job {
    prompt: String,
    #[serde(default)]
    negative: String,
    sampling: Sampling,
}

impl Proposal {
    /// Reads a text; `None` if it holds no parameters. What it does not say stays as in `document`.
    pub fn read(source: &str, text: &str, document: &Document) -> Option<Self> {
        let (prompt, negative, sampling, ignored) = match serde_json::from_str::<Record>(text) {
            Ok(Record { job }) => (job.prompt, job.negative, job.sampling, Vec::new()),
            Err(_) => {
                let info = Infotext::parse(text)?;
                let (sampling, ignored) = sampling(&info, &document.sampling);
                (info.prompt, info.negative, sampling, ignored)
            }
        };
        Some(Self { source: source.to_owned(), text: text.to_owned(), prompt, negative, sampling, ignored })
    }

    /// What would change in `document`.
    pub fn changes(&self, document: &Document) -> Vec<Change> {
        let change = |field: Field| {
            if field == Field::Stack {
                // What is taken over has its templates in the prompt already.
                let names: Vec<&str> = document.stack.iter().map(|applied| applied.template.name.as_str()).collect();
                return (!names.is_empty()).then(|| Change { field, from: names.join(", "), to: "none".to_owned() });
            }
            let now = shown(field, &document.prompt, &document.negative, &document.sampling);
            let then = shown(field, &self.prompt, &self.negative, &self.sampling);
            (now != then).then_some(Change { field, from: now, to: then })
        };
        Field::ALL.into_iter().filter_map(change).collect()
    }

    /// The edits that make it so, but for the fields `without`.
    pub fn edits(&self, document: &Document, without: &[Field]) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut sampling = document.sampling.clone();
        for field in Field::ALL.into_iter().filter(|field| !without.contains(field)) {
            match field {
                Field::Prompt => edits.push(Edit::SetText { field: TextField::Prompt, text: self.prompt.clone() }),
                Field::Negative => {
                    edits.push(Edit::SetText { field: TextField::Negative, text: self.negative.clone() })
                }
                Field::Stack if document.stack.is_empty() => {}
                Field::Stack => edits.push(Edit::SetStack(Vec::new())),
                Field::Steps => sampling.steps = self.sampling.steps,
                Field::Sampler => sampling.sampler = self.sampling.sampler,
                Field::Schedule => sampling.schedule = self.sampling.schedule,
                Field::Guidance => sampling.guidance = self.sampling.guidance,
                Field::Seed => sampling.seed = self.sampling.seed,
                Field::RandomSource => sampling.rng = self.sampling.rng,
                Field::Size => sampling.size = self.sampling.size,
                Field::ClipSkip => sampling.clip_skip = self.sampling.clip_skip,
                Field::Emphasis => sampling.emphasis = self.sampling.emphasis,
            }
        }
        edits.push(Edit::SetSampling(sampling));
        edits
    }
}

/// A field as people read it.
fn shown(field: Field, prompt: &str, negative: &str, sampling: &Sampling) -> String {
    match field {
        Field::Prompt => prompt.to_owned(),
        Field::Negative => negative.to_owned(),
        Field::Stack => String::new(),
        Field::Steps => sampling.steps.to_string(),
        Field::Sampler => sampling.sampler.map_or(Sampler::MODELS_OWN, Sampler::name).to_owned(),
        Field::Schedule => sampling.schedule.name().to_owned(),
        Field::Guidance => sampling.guidance.to_string(),
        Field::Seed => sampling.seed.to_string(),
        Field::RandomSource => match sampling.rng {
            RandomSource::Cpu => "as PyTorch on the CPU".to_owned(),
            RandomSource::Cuda => "as PyTorch on CUDA".to_owned(),
        },
        Field::Size => format!("{} px", sampling.size),
        Field::ClipSkip => sampling.clip_skip.map_or_else(|| "the model's own".to_owned(), |layer| layer.to_string()),
        Field::Emphasis => sampling.emphasis.name().to_owned(),
    }
}

/// Sampling as an infotext has it, and what of it could not be taken over.
fn sampling(info: &Infotext, now: &Sampling) -> (Sampling, Vec<String>) {
    let mut sampling = now.clone();
    let mut ignored = Vec::new();
    let named_by_sampler = info.field("Schedule type").is_none();
    for (name, value) in &info.fields {
        let taken = match name.as_str() {
            "Steps" => {
                set(&mut sampling.steps, number(value).filter(|steps| (1..=Sampling::MAX_STEPS).contains(steps)))
            }
            "CFG scale" => set(&mut sampling.guidance, number(value).filter(|scale: &f32| scale.is_finite())),
            "Seed" => set(&mut sampling.seed, number(value)),
            "Size" => set(&mut sampling.size, size(value)),
            "Sampler" => sampler(value, named_by_sampler).is_some_and(|(sampler, schedule)| {
                sampling.sampler = Some(sampler);
                if named_by_sampler {
                    sampling.schedule = schedule;
                }
                true
            }),
            "Schedule type" => set(&mut sampling.schedule, schedule(value)),
            "Clip skip" => set(&mut sampling.clip_skip, number(value).filter(|layer| *layer > 0).map(Some)),
            "RNG" => set(&mut sampling.rng, rng(value)),
            "Emphasis" => set(&mut sampling.emphasis, emphasis(value)),
            // What only says where it came from.
            "Model hash" | "Model" | "Version" | "VAE" | "VAE hash" => true,
            _ => false,
        };
        if !taken {
            ignored.push(format!("{name}: {value}"));
        }
    }
    // A1111 writes these only where they are not its usual ones, which are not ours.
    if info.field("Seed").is_some() && info.field("RNG").is_none() {
        sampling.rng = RandomSource::Cuda;
    }
    if info.field("Steps").is_some() {
        if info.field("Clip skip").is_none() {
            sampling.clip_skip = None;
        }
        if info.field("Emphasis").is_none() {
            sampling.emphasis = Emphasis::A1111;
        }
    }
    (sampling, ignored)
}

fn set<T>(place: &mut T, value: Option<T>) -> bool {
    let is_some = value.is_some();
    if let Some(value) = value {
        *place = value;
    }
    is_some
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// "512x768".
fn size(text: &str) -> Option<Extent> {
    let (width, height) = text.split_once(['x', '×'])?;
    let side = |text: &str| number(text).filter(|side| (8..=LONGEST_SIDE).contains(side));
    Some(Extent::new(side(width)?, side(height)?))
}

/// A1111's names of samplers; older ones have the noise levels behind them.
fn sampler(text: &str, may_have_schedule: bool) -> Option<(Sampler, Schedule)> {
    let mut name = text.trim();
    let mut levels = Schedule::Default;
    for (ending, schedule) in [(" Karras", Schedule::Karras), (" Exponential", Schedule::Exponential)] {
        if let Some(rest) = name.strip_suffix(ending).filter(|_| may_have_schedule) {
            (name, levels) = (rest, schedule);
        }
    }
    let known = match name {
        "Euler a" => Sampler::EulerAncestral,
        "PLMS" => Sampler::Pndm,
        name => Sampler::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(name))?,
    };
    Some((known, levels))
}

fn schedule(text: &str) -> Option<Schedule> {
    match text.trim() {
        "Automatic" => Some(Schedule::Default),
        name => Schedule::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(name)),
    }
}

fn rng(text: &str) -> Option<RandomSource> {
    match text.trim() {
        "CPU" => Some(RandomSource::Cpu),
        "GPU" | "NV" => Some(RandomSource::Cuda),
        _ => None,
    }
}

fn emphasis(text: &str) -> Option<Emphasis> {
    match text.trim() {
        "Original" => Some(Emphasis::A1111),
        "No norm" => Some(Emphasis::A1111NoNorm),
        "Ignore" => Some(Emphasis::Ignore),
        "None" => Some(Emphasis::None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const INFO: &str = "a fox, (red:1.2)\nNegative prompt: text\nSteps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 42, \
                        Size: 512x768, Model hash: abc, Hires upscale: 2";

    fn names(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|change| format!("{} {}->{}", change.field.name(), change.from, change.to)).collect()
    }

    #[test]
    fn an_infotext_says_what_would_change() {
        let document = Document { prompt: "a cat".into(), ..Document::default() };
        let proposal = Proposal::read("the clipboard", INFO, &document).unwrap();
        assert_eq!(
            names(&proposal.changes(&document)),
            [
                "Prompt a cat->a fox, (red:1.2)",
                "Negative prompt ->text",
                "Steps 20->30",
                "Sampler Model's own->DPM++ 2M",
                "Schedule Default->Karras",
                "Guidance scale 5->7.5",
                "Seed 1->42",
                "Random numbers as PyTorch on the CPU->as PyTorch on CUDA",
                "Size 128x128 px->512x768 px",
            ]
        );
        assert_eq!(proposal.ignored, ["Hires upscale: 2"]);
        assert_eq!(Proposal::read("x", "a fox, red", &document), None);
    }

    #[test]
    fn what_is_taken_over_is_what_was_shown() {
        let mut document = Document::default();
        let proposal = Proposal::read("x", INFO, &document).unwrap();
        for edit in proposal.edits(&document.clone(), &[Field::Size, Field::Negative]) {
            document.apply(&edit).unwrap();
        }
        let left: Vec<Field> = proposal.changes(&document).iter().map(|change| change.field).collect();
        assert_eq!(left, [Field::Negative, Field::Size]);
    }

    #[test]
    fn templates_are_not_laid_over_a_prompt_that_has_its_own() {
        let template = crate::prompt::library::Template {
            name: "Sketch".to_owned(),
            text: "a sketch of {subject}".to_owned(),
            ..Default::default()
        };
        let applied = crate::prompt::stack::Applied::new(template, false);
        let mut document = Document { stack: vec![applied], ..Document::default() };
        let proposal = Proposal::read("x", INFO, &document).unwrap();
        let change = &proposal.changes(&document)[2];
        assert_eq!((change.field.name(), change.from.as_str()), ("Templates and styles", "Sketch"));
        for edit in proposal.edits(&document.clone(), &[]) {
            document.apply(&edit).unwrap();
        }
        assert!(document.stack.is_empty() && proposal.changes(&document).is_empty());
    }

    #[test]
    fn our_own_records_are_read() {
        let sampling = Sampling { seed: 7, steps: 3, ..Sampling::default() };
        let record =
            serde_json::json!({"schema": 1, "job": {"prompt": "a", "negative": "b", "sampling": sampling, "count": 1}});
        let proposal = Proposal::read("p.png", &record.to_string(), &Document::default()).unwrap();
        assert_eq!((proposal.prompt.as_str(), proposal.sampling.seed), ("a", 7));
    }

    #[test]
    fn other_names_of_samplers_are_known() {
        assert_eq!(sampler("Euler a", true), Some((Sampler::EulerAncestral, Schedule::Default)));
        assert_eq!(sampler("DPM++ SDE Karras", true), Some((Sampler::DpmPlusPlusSde, Schedule::Karras)));
        assert_eq!(sampler("Magic", true), None);
        assert_eq!((size("512x768"), size("1x1"), size("x")), (Some(Extent::new(512, 768)), None, None));
    }
}
