//! Two results side by side: what differs in their words, their settings and their pixels.

use std::path::Path;

use crate::base::pixels::Picture;
use crate::job::lora::LoraUse;
use crate::job::nets::ControlSpec;
use crate::job::sampling::RandomSource;
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

/// What a file is called.
fn name(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
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
    let start = |spec: &GenerateSpec| match &spec.init {
        None => "noise".to_owned(),
        Some(init) if init.mask.is_some() => "a masked picture".to_owned(),
        Some(_) => "a picture".to_owned(),
    };
    add("Starts from", start(a), start(b));
    let random = |source: RandomSource| source.id().to_owned();
    add("Random numbers", random(first.rng), random(second.rng));
    let list = |texts: Vec<String>| if texts.is_empty() { "none".to_owned() } else { texts.join(", ") };
    let loras = |spec: &GenerateSpec| {
        let strength = |lora: &LoraUse| match lora.unet_strength == lora.text_strength {
            true => lora.unet_strength.to_string(),
            false => format!("{}, text {}", lora.unet_strength, lora.text_strength),
        };
        list(spec.loras.iter().map(|lora| format!("{} ({})", name(&lora.path), strength(lora))).collect())
    };
    add("LoRAs", loras(a), loras(b));
    let words = |spec: &GenerateSpec| list(spec.embeddings.iter().map(|word| name(&word.path)).collect());
    add("Learned words", words(a), words(b));
    let autoencoder = |spec: &GenerateSpec| or_own(spec.nets.vae.as_ref().map(|vae| vae.0.clone()));
    add("Autoencoder", autoencoder(a), autoencoder(b));
    let controls = |spec: &GenerateSpec| {
        let control = |one: &ControlSpec| {
            format!("{} ({}, {} to {})", name(Path::new(&one.model.0)), one.scale, one.start, one.end)
        };
        list(spec.nets.controls.iter().map(control).collect())
    };
    add("ControlNets", controls(a), controls(b));
    Differences {
        prompt: difference::words(&a.prompt, &b.prompt),
        negative: difference::words(&a.negative, &b.negative),
        settings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::ModelRef;
    use crate::job::lora::EmbeddingUse;
    use crate::job::nets::OtherNets;
    use crate::job::sampling::Sampling;

    #[test]
    fn what_steers_beside_the_words_is_told_apart() {
        let plain = GenerateSpec {
            model: ModelRef::builtin(),
            prompt: "a fox".to_owned(),
            negative: String::new(),
            sampling: Sampling::default(),
            count: 1,
            init: None,
            noise: None,
            nets: OtherNets::default(),
            loras: vec![],
            embeddings: vec![],
        };
        assert_eq!(differences(&plain, &plain).settings, []);
        let mut steered = plain.clone();
        let (path, sha256) = ("loras/ink.safetensors".into(), String::new());
        steered.loras.push(LoraUse { path, sha256, text_strength: 0.5, unet_strength: 0.8 });
        steered.embeddings.push(EmbeddingUse { path: "mood.pt".into(), sha256: String::new() });
        steered.nets.vae = Some(ModelRef("taesd".to_owned()));
        steered.sampling.rng = RandomSource::Cuda;
        let told = |name, first: &str, second: &str| (name, first.to_owned(), second.to_owned());
        let want = [
            told("Random numbers", "cpu", "cuda"),
            told("LoRAs", "none", "ink (0.8, text 0.5)"),
            told("Learned words", "none", "mood"),
            told("Autoencoder", "model's own", "taesd"),
        ];
        assert_eq!(differences(&plain, &steered).settings, want);
    }
}
