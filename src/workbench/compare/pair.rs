//! Two results side by side: what differs in their words, their settings and their pixels.

use crate::base::pixels::Picture;
use crate::job::spec::GenerateSpec;
use crate::prompt::difference::{self, Side as Piece};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// How the two pictures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PairView {
    /// Beside each other.
    #[default]
    Beside,
    /// One over the other, up to a line.
    Wipe,
    /// How far they are apart.
    Difference,
    /// In turns.
    Flicker,
}

impl PairView {
    /// Every way, in the order of the panel.
    pub const ALL: [Self; 4] = [Self::Beside, Self::Wipe, Self::Difference, Self::Flicker];

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Beside => "Side by side",
            Self::Wipe => "Wipe",
            Self::Difference => "Difference",
            Self::Flicker => "Flicker",
        }
    }
}

/// A result that was put on a side.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// What it is called.
    pub name: String,
    /// The picture.
    pub picture: Picture,
    /// The request that made it.
    pub spec: GenerateSpec,
    /// How well it fits its text.
    pub score: Option<f32>,
}

/// A setting that differs: its name, and its values in the first and in the second.
pub type Setting = (&'static str, String, String);

/// What differs between the two.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Differences {
    /// The pieces of both prompts.
    pub prompt: Vec<(Piece, String)>,
    /// The pieces of both negative prompts.
    pub negative: Vec<(Piece, String)>,
    /// The settings that differ.
    pub settings: Vec<Setting>,
}

/// The two results.
#[derive(Debug, Default)]
pub struct Pair {
    pub(super) view: PairView,
    pub(super) picks: [Option<Pick>; 2],
    pub(super) differences: Option<Differences>,
    /// The number of the newest request for a picture of the difference.
    pub(super) number: u64,
    pub(super) apart: Option<(Option<Picture>, f32)>,
}

impl Pair {
    /// How they are shown.
    pub fn view(&self) -> PairView {
        self.view
    }

    /// The result on a side.
    pub fn pick(&self, side: Side) -> Option<&Pick> {
        self.picks[side as usize].as_ref()
    }

    /// Both, if there are two.
    pub fn both(&self) -> Option<[&Pick; 2]> {
        Some([self.picks[0].as_ref()?, self.picks[1].as_ref()?])
    }

    /// What differs in words and settings, once there are two.
    pub fn differences(&self) -> Option<&Differences> {
        self.differences.as_ref()
    }

    /// How far the pictures are apart: as a picture (`None` if their sizes differ), and the mean of 255; `None` until it is known.
    pub fn apart(&self) -> Option<&(Option<Picture>, f32)> {
        self.apart.as_ref()
    }

    /// Puts a result on a side. Gives both pictures and the number of the request if their difference is to be looked at.
    pub(super) fn choose(&mut self, side: Side, pick: Pick) -> Option<(u64, [Picture; 2])> {
        self.picks[side as usize] = Some(pick);
        (self.differences, self.apart) = (None, None);
        self.number += 1;
        let [a, b] = self.both()?;
        let (pictures, differences) = ([a.picture.clone(), b.picture.clone()], differences(&a.spec, &b.spec));
        self.differences = Some(differences);
        Some((self.number, pictures))
    }
}

fn differences(a: &GenerateSpec, b: &GenerateSpec) -> Differences {
    let mut settings: Vec<Setting> = Vec::new();
    let mut add = |name, first: String, second: String| {
        if first != second {
            settings.push((name, first, second));
        }
    };
    let (first, second) = (&a.sampling, &b.sampling);
    let or_own = |value: Option<String>| value.unwrap_or_else(|| "model's own".to_owned());
    add("Model", a.model.0.clone(), b.model.0.clone());
    add("Seed", first.seed.to_string(), second.seed.to_string());
    add("Steps", first.steps.to_string(), second.steps.to_string());
    add("Guidance", first.guidance.to_string(), second.guidance.to_string());
    add("Guidance rescale", first.guidance_rescale.to_string(), second.guidance_rescale.to_string());
    let sampler =
        |sampler: Option<crate::job::sampling::Sampler>| or_own(sampler.map(|sampler| sampler.name().to_owned()));
    add("Sampler", sampler(first.sampler), sampler(second.sampler));
    add("Schedule", first.schedule.name().to_owned(), second.schedule.name().to_owned());
    add("Eta", or_own(first.eta.map(|eta| eta.to_string())), or_own(second.eta.map(|eta| eta.to_string())));
    let layer = |layer: Option<u32>| or_own(layer.map(|layer| layer.to_string()));
    add("Clip skip", layer(first.clip_skip), layer(second.clip_skip));
    add("Emphasis", first.emphasis.name().to_owned(), second.emphasis.name().to_owned());
    add("Size", first.size.to_string(), second.size.to_string());
    let strength = |spec: &GenerateSpec| spec.init.as_ref().map_or("–".to_owned(), |init| init.strength.to_string());
    add("Strength", strength(a), strength(b));
    Differences {
        prompt: difference::words(&a.prompt, &b.prompt),
        negative: difference::words(&a.negative, &b.negative),
        settings,
    }
}
