//! How a picture is sampled: everything but the words and the model.

use serde::{Deserialize, Serialize};

use crate::base::geom::Extent;

/// How the sampler walks from noise to picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sampler {
    /// Denoising diffusion implicit models (Song et al. 2020).
    #[serde(rename = "ddim")]
    Ddim,
    /// Pseudo numerical methods (Liu et al. 2022): what Stable Diffusion 1 came with.
    #[serde(rename = "pndm")]
    Pndm,
    /// Euler's method on the probability-flow ODE (Karras et al. 2022, algorithm 2 without churn).
    #[serde(rename = "euler")]
    Euler,
    /// Euler steps with fresh noise after each: never settles, more varied.
    #[serde(rename = "euler-a")]
    EulerAncestral,
    /// Heun's method (Karras et al. 2022, algorithm 1): two calls of the net a step, accurate.
    #[serde(rename = "heun")]
    Heun,
    /// Multistep DPM-Solver++ (Lu et al. 2022): good pictures in few steps.
    #[serde(rename = "dpm++2m")]
    DpmPlusPlus2M,
    /// The same on the diffusion SDE: fresh noise in each step.
    #[serde(rename = "dpm++2m-sde")]
    DpmPlusPlus2MSde,
    /// Single-step DPM-Solver++ on the diffusion SDE: two calls of the net and fresh noise twice a step.
    #[serde(rename = "dpm++sde")]
    DpmPlusPlusSde,
    /// Unified predictor and corrector (Zhao et al. 2023).
    #[serde(rename = "unipc")]
    UniPc,
    /// For latent consistency models (Luo et al. 2023): a few steps with fresh noise between.
    #[serde(rename = "lcm")]
    Lcm,
    /// For trajectory consistency models (Zheng et al. 2024): a few steps with some fresh noise between.
    #[serde(rename = "tcd")]
    Tcd,
}

impl Sampler {
    /// Every sampler, in the order of the menus.
    pub const ALL: [Self; 11] = [
        Self::Euler,
        Self::EulerAncestral,
        Self::Heun,
        Self::DpmPlusPlus2M,
        Self::DpmPlusPlus2MSde,
        Self::DpmPlusPlusSde,
        Self::UniPc,
        Self::Ddim,
        Self::Pndm,
        Self::Lcm,
        Self::Tcd,
    ];
    /// What people see where the model's own `scheduler_config.json` decides.
    pub const MODELS_OWN: &'static str = "Model's own";

    /// The name on the command line and in records.
    pub fn id(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Pndm => "pndm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-a",
            Self::Heun => "heun",
            Self::DpmPlusPlus2M => "dpm++2m",
            Self::DpmPlusPlus2MSde => "dpm++2m-sde",
            Self::DpmPlusPlusSde => "dpm++sde",
            Self::UniPc => "unipc",
            Self::Lcm => "lcm",
            Self::Tcd => "tcd",
        }
    }

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Pndm => "PNDM",
            Self::Euler => "Euler",
            Self::EulerAncestral => "Euler ancestral",
            Self::Heun => "Heun",
            Self::DpmPlusPlus2M => "DPM++ 2M",
            Self::DpmPlusPlus2MSde => "DPM++ 2M SDE",
            Self::DpmPlusPlusSde => "DPM++ SDE",
            Self::UniPc => "UniPC",
            Self::Lcm => "LCM",
            Self::Tcd => "TCD",
        }
    }

    /// Whether it walks along noise levels of any kind; the others visit training steps, and a [`Schedule`] changes nothing.
    pub fn takes_schedule(self) -> bool {
        !matches!(self, Self::Ddim | Self::Pndm | Self::Lcm | Self::Tcd)
    }
}

/// Which noise levels a sampler visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Those of the model's `scheduler_config.json`: its spacing of training steps, its `use_karras_sigmas` and so on.
    #[default]
    Default,
    /// Evenly in the seventh root of sigma (Karras et al. 2022, equation 5), as diffusers' `use_karras_sigmas`.
    Karras,
    /// Evenly in the logarithm of sigma, as diffusers' `use_exponential_sigmas`.
    Exponential,
    /// Evenly in training steps from the last to the first, fractions included, whatever the model's own spacing: "Uniform" of
    /// A1111, `get_sigmas` of k-diffusion.
    Uniform,
}

impl Schedule {
    /// Every schedule, in the order of the menus.
    pub const ALL: [Self; 4] = [Self::Default, Self::Karras, Self::Exponential, Self::Uniform];

    /// The name on the command line and in records.
    pub fn id(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Karras => "karras",
            Self::Exponential => "exponential",
            Self::Uniform => "uniform",
        }
    }

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::Karras => "Karras",
            Self::Exponential => "Exponential",
            Self::Uniform => "Uniform",
        }
    }
}

/// Whose random numbers the noise is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RandomSource {
    /// PyTorch's generator on the CPU (Mersenne Twister): what diffusers' examples use.
    #[default]
    Cpu,
    /// PyTorch's generator on CUDA (Philox): what A1111 uses unless told otherwise. Computed here, on any device.
    Cuda,
}

impl RandomSource {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Cuda];

    /// The name on the command line and in records.
    pub fn id(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// What the weight of a part of a prompt does to the states of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Emphasis {
    /// They are multiplied, and the mean of all is brought back to what it was ("Original" of A1111).
    #[default]
    A1111,
    /// They are multiplied and no more ("No norm" of A1111).
    #[serde(rename = "a1111-no-norm")]
    A1111NoNorm,
    /// They go away from those of the empty prompt, or towards them.
    #[serde(rename = "comfyui")]
    ComfyUi,
    /// As ComfyUI; below 1, the prompt without that part is blended in.
    Compel,
    /// Nothing; the brackets do not count.
    Ignore,
    /// Nothing: brackets are words.
    None,
}

impl Emphasis {
    /// Every kind, in the order of the menus.
    pub const ALL: [Self; 6] = [Self::A1111, Self::A1111NoNorm, Self::ComfyUi, Self::Compel, Self::Ignore, Self::None];

    /// The name on the command line and in records.
    pub fn id(self) -> &'static str {
        match self {
            Self::A1111 => "a1111",
            Self::A1111NoNorm => "a1111-no-norm",
            Self::ComfyUi => "comfyui",
            Self::Compel => "compel",
            Self::Ignore => "ignore",
            Self::None => "none",
        }
    }

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::A1111 => "A1111",
            Self::A1111NoNorm => "A1111, no norm",
            Self::ComfyUi => "ComfyUI",
            Self::Compel => "Compel",
            Self::Ignore => "Ignored",
            Self::None => "Brackets are words",
        }
    }
}

impl std::str::FromStr for Emphasis {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        find("emphasis", text, &Self::ALL, Self::id)
    }
}

/// Nothing has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} \"{name}\"; choose one of {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

/// The one of `all` with the name `text`.
fn find<T: Copy>(what: &'static str, text: &str, all: &[T], id: fn(T) -> &'static str) -> Result<T, UnknownName> {
    let wanted = text.trim().to_ascii_lowercase();
    all.iter().copied().find(|one| id(*one) == wanted).ok_or_else(|| {
        let known = all.iter().map(|one| id(*one)).collect::<Vec<_>>().join(", ");
        UnknownName { what, name: text.to_owned(), known }
    })
}

impl std::str::FromStr for Sampler {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        find("sampler", text, &Self::ALL, Self::id)
    }
}

impl std::str::FromStr for Schedule {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        find("schedule", text, &Self::ALL, Self::id)
    }
}

impl std::str::FromStr for RandomSource {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        find("random number generator", text, &Self::ALL, Self::id)
    }
}

/// The parameters of sampling that a person sets. Records of older versions lack the newer fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// How the sampler walks; as the model's own `scheduler_config.json` says if `None`.
    #[serde(default)]
    pub sampler: Option<Sampler>,
    /// Which noise levels it visits.
    #[serde(default)]
    pub schedule: Schedule,
    /// Steps of the sampler, 1..=[`Sampling::MAX_STEPS`]; some call the denoising net twice a step.
    pub steps: u32,
    /// Classifier-free guidance scale; 1 and below is without guidance (and at half the cost).
    pub guidance: f32,
    /// How far guidance is brought back to the contrast of the prompt alone, 0..=1 (Lin et al. 2023, equation 16).
    #[serde(default)]
    pub guidance_rescale: f32,
    /// How much of the noise is fresh for samplers that leave it open, 0..=1: DDIM (0 if `None`) and TCD (0.3 if `None`).
    #[serde(default)]
    pub eta: Option<f32>,
    /// Start of the noise: the same seed gives the same picture.
    pub seed: u64,
    /// What the seed is the start of.
    #[serde(default)]
    pub rng: RandomSource,
    /// Size of the picture in pixels.
    pub size: Extent,
    /// The layer of the text towers whose states steer the picture, counted from the last, which is 1; the model's own if `None`.
    #[serde(default)]
    pub clip_skip: Option<u32>,
    /// What weights in the prompts do.
    #[serde(default)]
    pub emphasis: Emphasis,
}

impl Sampling {
    /// More steps than this are refused.
    pub const MAX_STEPS: u32 = 1000;

    /// The seed of picture `index` of several.
    pub fn seed_of(&self, index: u32) -> u64 {
        self.seed.wrapping_add(u64::from(index))
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            sampler: None,
            schedule: Schedule::default(),
            steps: 20,
            guidance: 5.0,
            guidance_rescale: 0.0,
            eta: None,
            seed: 1,
            rng: RandomSource::default(),
            size: Extent::new(128, 128),
            clip_skip: None,
            emphasis: Emphasis::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_older_versions_can_be_read() {
        let old = r#"{"sampler":"dpm++2m","steps":7,"guidance":3.5,"seed":9,"size":{"width":64,"height":32}}"#;
        let read: Sampling = serde_json::from_str(old).unwrap_or_default();
        let want = Sampling {
            sampler: Some(Sampler::DpmPlusPlus2M),
            steps: 7,
            guidance: 3.5,
            seed: 9,
            size: Extent::new(64, 32),
            ..Sampling::default()
        };
        assert_eq!(read, want);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for sampler in Sampler::ALL {
            assert_eq!(sampler.id().parse(), Ok(sampler));
            assert_eq!(serde_json::to_value(sampler).ok(), Some(sampler.id().into()));
        }
        for schedule in Schedule::ALL {
            assert_eq!(schedule.id().parse(), Ok(schedule));
            assert_eq!(serde_json::to_value(schedule).ok(), Some(schedule.id().into()));
        }
        for emphasis in Emphasis::ALL {
            assert_eq!(emphasis.id().parse(), Ok(emphasis));
            assert_eq!(serde_json::to_value(emphasis).ok(), Some(emphasis.id().into()));
        }
        let error = "magic".parse::<Sampler>().map_err(|error| error.to_string());
        assert!(
            error.is_err_and(|text| text.contains("there is no sampler \"magic\"") && text.contains("dpm++2m-sde"))
        );
    }
}
