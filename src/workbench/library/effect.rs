//! How much a modifier does: the same seeds with it and without it, seen by a CLIP.
//!
//! A [`Measurement`] is a chain of jobs: pictures without, pictures with, embeddings of all of them and of the texts. It asks for one job
//! after the other and knows no engine, so that window and command line drive it alike.
//!
//! - *fit*: how much better the pictures fit the prompt with the modifier (change of the cosine similarity). For a modifier of the
//!   negative prompt: how much more they fit the modifier itself, so that less is what was wanted.
//! - *rest*: the same for the prompt without the modifier: what it costs or gives the rest of the prompt.
//! - *change*: distance of the two pictures of a seed, 1 - cosine. *Chance* is the distance between seeds, to compare with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tasks::{Beside, Scene, Settler};
use crate::base::pixels::Picture;
use crate::base::statistics::Spread;
use crate::document::Document;
use crate::job::spec::{EmbedInputs, EmbedSpec, GenerateSpec};
use crate::job::{JobOutput, JobSpec, ModelRef};
use crate::prompt::library::Library;
use crate::prompt::modifier;
use crate::store::cache;
use crate::store::preferences::Preferences;
use crate::workbench::command::PreviewTarget;
use crate::workbench::grid::scoring;
use crate::workbench::named::NamedFiles;
use crate::workbench::prepare;

/// What a modifier does, over a few seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectReport {
    /// The modifier.
    pub modifier: String,
    /// The prompt that it was added to.
    pub prompt: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Change of the fit to the prompt with the modifier.
    pub fit: Spread,
    /// Change of the fit to the prompt without it.
    pub rest: Spread,
    /// Distance of the pictures of a seed.
    pub change: Spread,
    /// Distance of the pictures of two seeds without the modifier; `None` with a single seed.
    pub chance: Option<Spread>,
}

impl EffectReport {
    /// The change as a share of the change that another seed makes; `None` if that is not known.
    pub fn share_of_chance(&self) -> Option<f64> {
        self.chance.filter(|chance| chance.mean > 1e-6).map(|chance| self.change.mean / chance.mean)
    }

    /// In a sentence.
    pub fn summary(&self) -> String {
        let share = match self.share_of_chance() {
            Some(share) => format!("changes the picture {:.0} % as much as another seed", share * 100.0),
            None => format!("changes the picture by {:.3}", self.change.mean),
        };
        let fit = match (self.fit.is_clear(), self.fit.mean > 0.0) {
            (false, _) => "no clear change of the fit to the prompt".to_owned(),
            (true, up) => {
                format!("the fit to the prompt goes {} by {:.3}", if up { "up" } else { "down" }, self.fit.mean.abs())
            }
        };
        format!("{share}; {fit} ({} seeds)", self.seeds.len())
    }
}

/// Embeddings of the pictures without a modifier: the same for every modifier of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    spec: GenerateSpec,
    clip: ModelRef,
    embeddings: Vec<Vec<f32>>,
}

enum Stage {
    Without,
    EmbedWithout(Vec<Picture>),
    With,
    EmbedWith(Vec<Picture>),
    Texts,
    Done,
}

/// The jobs that measure one modifier.
pub struct Measurement {
    modifier: String,
    without: GenerateSpec,
    with: GenerateSpec,
    /// What is compared with: of the fit, of the rest.
    texts: [String; 2],
    clip: ModelRef,
    stage: Stage,
    embeddings_without: Vec<Vec<f32>>,
    embeddings_with: Vec<Vec<f32>>,
    report: Option<EffectReport>,
}

impl Measurement {
    /// Of `modifier` on a document, over `seeds` seeds from that of the document on. LoRAs and learned words that prompts name are
    /// found among `files`.
    ///
    /// # Errors
    /// If one of them is not found or cannot be read.
    pub fn new(
        document: Document,
        preferences: Preferences,
        library: Library,
        modifier: &str,
        seeds: u32,
        files: &mut NamedFiles,
    ) -> Result<Self, String> {
        let (library, beside, known) = (Arc::new(library), Beside::default(), Vec::new());
        let scene = Scene { document, preferences, library, seeds, beside, known };
        Self::of(&scene, modifier, &mut Settler::new(&scene, files), None)
    }

    /// The same in a scene, with what is known already.
    pub(super) fn of(
        scene: &Scene,
        modifier: &str,
        settler: &mut Settler<'_>,
        known: Option<&Baseline>,
    ) -> Result<Self, String> {
        let Scene { document, preferences, library, seeds, .. } = scene;
        let negative = library.modifier(modifier).is_some_and(|known| known.negative);
        let mut without = document.clone();
        let words = if negative { &mut without.negative } else { &mut without.prompt };
        *words = modifier::remove(words, modifier);
        let mut with = without.clone();
        let words = if negative { &mut with.negative } else { &mut with.prompt };
        *words = modifier::add(words, modifier);
        let mut spec = |document: &Document| {
            let count = (*seeds).clamp(1, 64);
            let spec = prepare::generate(document, preferences, PreviewTarget::NewPicture, count);
            let mut spec = spec.map_err(|missing| missing.to_string())?;
            settler.settle(&mut spec)?;
            Ok::<_, String>(spec)
        };
        let (without, with) = (spec(&without)?, spec(&with)?);
        let fit = if negative { modifier.to_owned() } else { with.prompt.clone() };
        let texts = [scoring::plain(&fit), scoring::plain(&without.prompt)];
        let clip = preferences.clip_model.clone();
        let known = known.filter(|known| known.spec == without && known.clip == clip);
        Ok(Self {
            modifier: modifier.to_owned(),
            stage: if known.is_some() { Stage::With } else { Stage::Without },
            embeddings_without: known.map(|known| known.embeddings.clone()).unwrap_or_default(),
            embeddings_with: Vec::new(),
            without,
            with,
            texts,
            clip,
            report: None,
        })
    }

    /// The modifier that is measured.
    pub fn modifier(&self) -> &str {
        &self.modifier
    }

    /// Names what it finds, among everything that was ever measured.
    pub fn key(&self) -> String {
        cache::key(&(&self.without, &self.with, &self.clip), &[&self.without.model, &self.clip])
    }

    /// The share that is done, from 0 to 1: making the pictures takes almost all of the time.
    pub fn fraction(&self) -> f32 {
        match (&self.stage, self.embeddings_without.is_empty()) {
            (Stage::Without, _) => 0.0,
            (Stage::EmbedWithout(_), _) | (Stage::With, false) => 0.5,
            (Stage::With, true) => 0.0,
            (Stage::EmbedWith(_) | Stage::Texts, _) => 0.95,
            (Stage::Done, _) => 1.0,
        }
    }

    /// The next job; `None` when all is done.
    pub fn next(&self) -> Option<JobSpec> {
        let embed = |inputs| JobSpec::Embed(EmbedSpec { model: self.clip.clone(), inputs });
        match &self.stage {
            Stage::Without => Some(JobSpec::Generate(self.without.clone())),
            Stage::With => Some(JobSpec::Generate(self.with.clone())),
            Stage::EmbedWithout(pictures) | Stage::EmbedWith(pictures) => {
                Some(embed(EmbedInputs::Images(pictures.clone())))
            }
            Stage::Texts => Some(embed(EmbedInputs::Texts(self.texts.to_vec()))),
            Stage::Done => None,
        }
    }

    /// Takes the answer of [`Measurement::next`]; an answer of another kind ends it without a report.
    pub fn take(&mut self, output: &JobOutput) {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = match (stage, output) {
            (Stage::Without, JobOutput::Pictures(made)) => Stage::EmbedWithout(pictures(made)),
            (Stage::With, JobOutput::Pictures(made)) => Stage::EmbedWith(pictures(made)),
            (Stage::EmbedWithout(_), JobOutput::Embeddings(rows)) => {
                self.embeddings_without.clone_from(rows);
                Stage::With
            }
            (Stage::EmbedWith(_), JobOutput::Embeddings(rows)) => {
                self.embeddings_with.clone_from(rows);
                Stage::Texts
            }
            (Stage::Texts, JobOutput::Embeddings(rows)) => {
                self.report = self.conclude(rows);
                Stage::Done
            }
            _ => Stage::Done,
        };
    }

    /// What was found, when all is done.
    pub fn report(&self) -> Option<&EffectReport> {
        self.report.as_ref()
    }

    /// What other modifiers of the same prompt need not make again.
    pub fn baseline(&self) -> Option<Baseline> {
        let embeddings = self.embeddings_without.clone();
        (!embeddings.is_empty()).then(|| Baseline { spec: self.without.clone(), clip: self.clip.clone(), embeddings })
    }

    fn conclude(&self, texts: &[Vec<f32>]) -> Option<EffectReport> {
        let [fit, rest] = texts else { return None };
        let (before, after) = (&self.embeddings_without, &self.embeddings_with);
        let gain = |text: &Vec<f32>| -> Vec<f64> {
            before.iter().zip(after).map(|(before, after)| dot(after, text) - dot(before, text)).collect()
        };
        let change: Vec<f64> = before.iter().zip(after).map(|(before, after)| 1.0 - dot(before, after)).collect();
        let pairs =
            before.iter().enumerate().flat_map(|(at, one)| before.iter().skip(at + 1).map(move |two| (one, two)));
        let chance: Vec<f64> = pairs.map(|(one, two)| 1.0 - dot(one, two)).collect();
        let first = self.without.sampling.seed;
        Some(EffectReport {
            modifier: self.modifier.clone(),
            prompt: self.without.prompt.clone(),
            seeds: (0..change.len() as u64).map(|offset| first.saturating_add(offset)).collect(),
            fit: Spread::of(&gain(fit))?,
            rest: Spread::of(&gain(rest))?,
            change: Spread::of(&change)?,
            chance: Spread::of(&chance),
        })
    }
}

fn pictures(made: &crate::job::output::Generated) -> Vec<Picture> {
    made.pictures.iter().map(|(_, picture)| picture.clone()).collect()
}

/// Of unit-norm rows: their cosine similarity.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// What the panel shows of a modifier, if it was measured: the report and whether it is of the prompt as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownEffect {
    /// What was found.
    pub report: EffectReport,
    /// Whether prompt, sampling and models are still those that it was measured with.
    pub is_current: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::geom::Extent;
    use crate::job::output::Generated;

    fn answer(spec: &JobSpec) -> JobOutput {
        match spec {
            JobSpec::Generate(spec) => JobOutput::Pictures(Generated {
                pictures: (0..u64::from(spec.count))
                    .map(|i| {
                        let foggy = u8::from(spec.prompt.contains("foggy"));
                        (spec.sampling.seed + i, Picture::from_fn(Extent::new(1, 1), |_, _| [i as u8, foggy, 0]))
                    })
                    .collect(),
                latents: vec![],
                remarks: vec![],
                model_hash: String::new(),
            }),
            JobSpec::Embed(EmbedSpec { inputs: EmbedInputs::Images(pictures), .. }) => JobOutput::Embeddings(
                pictures
                    .iter()
                    .map(|picture| match picture.rgb() {
                        [0, 0, _] => vec![1.0, 0.0],
                        [_, 0, _] => vec![0.8, 0.6],
                        [0, _, _] => vec![0.6, 0.8],
                        _ => vec![0.0, 1.0],
                    })
                    .collect(),
            ),
            _ => JobOutput::Embeddings(vec![vec![0.0, 1.0], vec![1.0, 0.0]]),
        }
    }

    fn scene(prompt: &str, seeds: u32) -> Scene {
        Scene {
            document: Document { prompt: prompt.to_owned(), ..Document::default() },
            preferences: Preferences::default(),
            library: Arc::default(),
            seeds,
            beside: Beside::default(),
            known: Vec::new(),
        }
    }

    #[test]
    fn texts_are_plain_and_prompts_are_not() {
        let (scene, mut files) = (scene("a (red:1.2) fox", 1), NamedFiles::default());
        let made = Measurement::of(&scene, "(foggy:1.1)", &mut Settler::new(&scene, &mut files), None).unwrap();
        assert_eq!(made.texts, ["a red fox, foggy", "a red fox"]);
        assert_eq!(made.with.prompt, "a (red:1.2) fox, (foggy:1.1)");
    }

    #[test]
    fn the_numbers_are_those_of_the_definition() {
        let measure = |known: Option<&Baseline>| {
            let scene = scene("a fox, foggy", 2);
            let mut files = NamedFiles::default();
            let mut settler = Settler::new(&scene, &mut files);
            let mut measurement = Measurement::of(&scene, "foggy", &mut settler, known).unwrap();
            let mut jobs = 0;
            while let Some(spec) = measurement.next() {
                measurement.take(&answer(&spec));
                jobs += 1;
            }
            (measurement, jobs)
        };
        let (measurement, jobs) = measure(None);
        let report = measurement.report().unwrap();
        assert_eq!((report.prompt.as_str(), report.seeds.as_slice(), jobs), ("a fox", &[1, 2][..], 5));
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        near(report.fit.mean, ((0.8 - 0.0) + (1.0 - 0.6)) / 2.0);
        near(report.rest.mean, ((0.6 - 1.0) + (0.0 - 0.8)) / 2.0);
        near(report.change.mean, ((1.0 - 0.6) + (1.0 - 0.6)) / 2.0);
        near(report.chance.unwrap().mean, 1.0 - 0.8);
        near(report.share_of_chance().unwrap(), 2.0);
        // Another modifier of the same prompt needs only its own pictures.
        let (again, jobs) = measure(measurement.baseline().as_ref());
        assert_eq!((again.report(), jobs), (Some(report), 3));
        assert_eq!(again.key(), measurement.key());
    }
}
