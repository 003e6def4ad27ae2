//! All figures of the built-in models, measured in one go.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::scene::{Asked, Combinations, Kind, SceneMaker};
use super::words::with_article;
use super::{drawings, looking, making, world};
use crate::analysis::Clip;
use crate::base::task::{Part, Progress, TaskCx};
use crate::job::output::{Bound, Figure, QualityReport};
use crate::job::spec::CheckQualitySpec;
use crate::models::error::{ModelError, Result};
use crate::models::judge::{Heads, Judge};
use crate::pipelines::Diffusion;

/// What is measured, and with what.
pub struct Subjects<'a> {
    /// The CLIP.
    pub clip: &'a Clip,
    /// The diffusion model.
    pub diffusion: &'a Diffusion,
    /// Says what generated pictures show; without it they are not judged.
    pub judge: Option<&'a Judge>,
    /// Bytes of all models in the program.
    pub model_bytes: u64,
    /// Processor time of the process so far.
    pub cpu_seconds: fn() -> f64,
}

/// Measures everything. Scenes have no effect unless a figure is about effects (or about the autoencoder, which must keep them
/// too); each figure has its own scenes.
///
/// # Errors
/// If the task is cancelled, a built-in file is damaged, or the tensor library fails.
pub fn measure(spec: &CheckQualitySpec, subjects: &Subjects<'_>, cx: &TaskCx<'_>) -> Result<QualityReport> {
    let check = Check { spec, subjects, maker: SceneMaker::load()?, cx };
    if let Some(judge) = subjects.judge {
        check.same_world(judge)?;
    }
    let mut figures = looking::figures(&check)?;
    figures.push(making::autoencoder(&check)?);
    let mut accuracy = None;
    if let Some(judge) = subjects.judge {
        let (of_pictures, of_scenes) = making::judged(&check, judge)?;
        figures.extend(of_pictures);
        accuracy = Some(of_scenes);
    }
    let mebibytes =
        (subjects.model_bytes + world::packed_bytes() + drawings::packed_bytes()) as f64 / f64::from(1 << 20);
    figures.push(Figure::new("shipped_mebibytes", mebibytes, Bound::AtMost(64.0), 1));
    figures.push(making::picture_cpu_seconds(&check)?);
    let not_measured = match accuracy {
        Some(_) => Vec::new(),
        None => making::JUDGED.map(|(name, _)| name.to_owned()).to_vec(),
    };
    Ok(QualityReport { scenes: spec.scenes, seed: spec.seed, figures, judge: accuracy, not_measured })
}

/// A measurement under way.
pub(super) struct Check<'a> {
    spec: &'a CheckQualitySpec,
    pub(super) subjects: &'a Subjects<'a>,
    pub(super) maker: SceneMaker,
    cx: &'a TaskCx<'a>,
}

impl Check<'_> {
    /// How many scenes each figure of the CLIP gets.
    pub(super) fn scenes(&self) -> u32 {
        self.spec.scenes
    }

    /// How many pictures are generated for each figure: a quarter, for they take a hundred times as long.
    pub(super) fn pictures(&self) -> u32 {
        (self.spec.scenes / 4).max(1)
    }

    /// The random numbers of one figure: those of another do not depend on how many it draws.
    pub(super) fn random(&self, figure: &str) -> ChaCha8Rng {
        let mut r = ChaCha8Rng::seed_from_u64(self.spec.seed);
        r.set_stream(figure.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(257).wrapping_add(byte.into())));
        r
    }

    /// A noun with its article.
    pub(super) fn article(&self, noun: &str) -> String {
        with_article(self.maker.world(), noun)
    }

    /// Does something `count` times, with progress.
    pub(super) fn each(&self, stage: &str, count: u32, mut run: impl FnMut(&TaskCx<'_>) -> Result<()>) -> Result<()> {
        let part = Part::of(self.cx);
        for done in 0..count {
            self.cx.checkpoint()?;
            self.cx.progress(Progress::steps(stage, done, count));
            run(&part.cx())?;
        }
        Ok(())
    }

    /// The judge's heads must be lists of this world, in its order.
    fn same_world(&self, judge: &Judge) -> Result<()> {
        let (world, none) = (self.maker.world(), "");
        let Heads { thing, style, background, effect } = judge.heads();
        let things = world.things.iter().map(|thing| thing.name.as_str()).chain([none]);
        let effects = world.effects.iter().map(|effect| effect.name.as_str()).chain([none]);
        let is_same = things.eq(thing.iter().map(String::as_str))
            && world.styles.iter().map(|style| &style.name).eq(style)
            && world.backgrounds().into_iter().eq(background.iter().map(String::as_str))
            && effects.eq(effect.iter().map(String::as_str));
        let other = || ModelError::BadInput("the judge knows another world than this program's scenes are of".into());
        is_same.then_some(()).ok_or_else(other)
    }
}

/// A scene of this kind without an effect, at the models' own size.
pub(super) fn plain(kind: Option<Kind>) -> Asked {
    Asked { kind, effect: Some(false), combinations: Combinations::All, side: 128 }
}

/// How many of how many.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    right: u32,
    count: u32,
}

impl Tally {
    pub(super) fn add(&mut self, is_right: bool) {
        self.right += u32::from(is_right);
        self.count += 1;
    }

    pub(super) fn share(self) -> f64 {
        f64::from(self.right) / f64::from(self.count.max(1))
    }

    pub(super) fn figure(self, name: &str, at_least: f64) -> Figure {
        Figure::new(name, self.share(), Bound::AtLeast(at_least), self.count)
    }
}
