//! How a picture is sampled: everything but the words and the model.

use serde::{Deserialize, Serialize};

use crate::base::geom::Extent;

/// How the sampler walks from noise to picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sampler {
    /// Denoising diffusion implicit models (Song et al. 2020), eta 0.
    #[serde(rename = "ddim")]
    Ddim,
    /// Euler's method on the probability-flow ODE (Karras et al. 2022, algorithm 2 without churn).
    #[default]
    #[serde(rename = "euler")]
    Euler,
    /// Euler steps with fresh noise after each: never settles, more varied.
    #[serde(rename = "euler-a")]
    EulerAncestral,
    /// Second-order multistep DPM-Solver++ (Lu et al. 2022): good pictures in few steps.
    #[serde(rename = "dpm++2m")]
    DpmPlusPlus2M,
}

impl Sampler {
    /// Every sampler, in the order of the menus.
    pub const ALL: [Self; 4] = [Self::Euler, Self::EulerAncestral, Self::Ddim, Self::DpmPlusPlus2M];

    /// The name on the command line and in records.
    pub fn id(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-a",
            Self::DpmPlusPlus2M => "dpm++2m",
        }
    }

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Euler => "Euler",
            Self::EulerAncestral => "Euler ancestral",
            Self::DpmPlusPlus2M => "DPM++ 2M",
        }
    }
}

/// No sampler has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no sampler \"{name}\"; choose one of {all}", name = .0, all = Sampler::ALL.map(Sampler::id).join(", "))]
pub struct UnknownSampler(String);

impl std::str::FromStr for Sampler {
    type Err = UnknownSampler;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|s| s.id() == wanted).ok_or_else(|| UnknownSampler(text.to_owned()))
    }
}

/// The parameters of sampling that a person sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// How the sampler walks.
    pub sampler: Sampler,
    /// Calls of the denoising net, 1..=[`Sampling::MAX_STEPS`].
    pub steps: u32,
    /// Classifier-free guidance scale; 1 and below is without guidance (and at half the cost).
    pub guidance: f32,
    /// Start of the noise: the same seed gives the same picture.
    pub seed: u64,
    /// Size of the picture in pixels.
    pub size: Extent,
}

impl Sampling {
    /// More steps than this are refused.
    pub const MAX_STEPS: u32 = 1000;
}

impl Default for Sampling {
    fn default() -> Self {
        Self { sampler: Sampler::default(), steps: 20, guidance: 5.0, seed: 1, size: Extent::new(128, 128) }
    }
}
