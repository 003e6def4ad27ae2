//! The requests. One value each, holding everything that the result depends on.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::annotation::Mark;
use super::latents::Latents;
use super::lora::{EmbeddingUse, LoraUse};
use super::model::ModelRef;
use super::nets::OtherNets;
use super::sampling::{Emphasis, Sampling};
use crate::base::pixels::{Mask, Picture};

/// A request to the engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// How long prompts are for the model's own tokenizer.
    CountTokens(CountTokensSpec),
    /// Where in a picture phrases are.
    Heatmap(HeatmapSpec),
    /// Which class a picture shows, by template.
    ZeroShot(ZeroShotSpec),
    /// New pictures from words.
    Generate(GenerateSpec),
    /// Unit-norm embeddings of pictures or texts.
    Embed(EmbedSpec),
    /// How long the parts of a model take.
    Bench(BenchSpec),
    /// How good the built-in models are.
    CheckQuality(CheckQualitySpec),
}

impl JobSpec {
    /// What a person calls this job.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CountTokens(_) => "Count tokens",
            Self::Heatmap(_) => "Heatmap",
            Self::ZeroShot(_) => "Zero-shot",
            Self::Generate(spec) if spec.init.as_ref().is_some_and(|init| init.mask.is_some()) => "Inpaint",
            Self::Generate(_) => "Generate",
            Self::Embed(_) => "Embed",
            Self::Bench(_) => "Bench",
            Self::CheckQuality(_) => "Check",
        }
    }
}

/// Prompts to count the tokens of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CountTokensSpec {
    /// Whose tokenizer.
    pub model: ModelRef,
    /// A prompt.
    pub prompt: String,
    /// A negative prompt: it has one part and names no extra networks.
    pub negative: String,
    /// What weights in them do; it decides whether brackets are words.
    pub emphasis: Emphasis,
    /// Steps of the sampler, for schedules.
    pub steps: u32,
    /// The step whose words are split into tokens, counted from 1.
    pub step: u32,
}

/// A picture with the marks that are to be seen on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MarkedPicture {
    /// The picture without marks.
    pub picture: Picture,
    /// Drawn over it in this order.
    pub marks: Vec<Mark>,
}

/// How patch similarities are read out of a vision tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeatmapMethod {
    /// What suits the model: `patch` for models trained for it, `maskclip` for all others.
    #[default]
    Auto,
    /// The last layer's patch tokens, projected as the class token is.
    Patch,
    /// The last layer's value path without its attention (MaskCLIP, Zhou et al. 2022).
    MaskClip,
}

impl HeatmapMethod {
    /// Every method.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Patch, Self::MaskClip];

    /// The name on the command line and in records.
    pub fn id(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Patch => "patch",
            Self::MaskClip => "maskclip",
        }
    }
}

/// No method has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no heatmap method \"{name}\"; choose one of {all}", name = .0, all = HeatmapMethod::ALL.map(HeatmapMethod::id).join(", "))]
pub struct UnknownMethod(String);

impl std::str::FromStr for HeatmapMethod {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|m| m.id() == wanted).ok_or_else(|| UnknownMethod(text.to_owned()))
    }
}

/// Phrases to find in a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeatmapSpec {
    /// A CLIP-like model.
    pub model: ModelRef,
    /// Where to look.
    pub image: MarkedPicture,
    /// What to look for.
    pub phrases: Vec<String>,
    /// How to look.
    pub method: HeatmapMethod,
}

/// How the answers of several templates become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// Mean of the unit-norm text embeddings, made unit-norm again (Radford et al. 2021).
    #[default]
    Embedding,
    /// Mean of the logits.
    Logit,
    /// Mean of the probabilities.
    Probability,
    /// Largest logit.
    Max,
}

impl Combine {
    /// Every way, in the order of the menus.
    pub const ALL: [Self; 4] = [Self::Embedding, Self::Logit, Self::Probability, Self::Max];

    /// The name on the command line and in records.
    pub fn id(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Logit => "logit",
            Self::Probability => "probability",
            Self::Max => "max",
        }
    }

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "Mean embedding",
            Self::Logit => "Mean logit",
            Self::Probability => "Mean probability",
            Self::Max => "Largest logit",
        }
    }
}

/// Nothing combines templates by this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("templates cannot be combined by \"{name}\"; choose one of {all}", name = .0, all = Combine::ALL.map(Combine::id).join(", "))]
pub struct UnknownCombine(String);

impl std::str::FromStr for Combine {
    type Err = UnknownCombine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|c| c.id() == wanted).ok_or_else(|| UnknownCombine(text.to_owned()))
    }
}

/// Classes and templates to compare on pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ZeroShotSpec {
    /// A CLIP-like model.
    pub model: ModelRef,
    /// The pictures.
    pub images: Vec<MarkedPicture>,
    /// Class names.
    pub classes: Vec<String>,
    /// Templates with `{}` where the class name goes; one without it is used as it is.
    pub templates: Vec<String>,
    /// What is written for each class alone; each set counts as one more template.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own_texts: Vec<OwnTexts>,
    /// How the templates become one answer.
    pub combine: Combine,
}

/// Texts for single classes, as of CuPL (Pratt et al. 2022) or Menon and Vondrick 2022.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwnTexts {
    /// What to call them beside the templates.
    pub name: String,
    /// For each class at least one text. Its embedding is the mean of theirs, made unit-norm again.
    pub by_class: Arc<Vec<Vec<String>>>,
}

/// A picture to start from instead of pure noise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InitSpec {
    /// The picture; resized to the size of the sampling if it differs.
    pub picture: Picture,
    /// What to repaint; everything if `None`. Of the picture's size.
    pub mask: Option<Mask>,
    /// How far to noise the picture first: 0 keeps it, 1 forgets it.
    pub strength: f32,
}

/// Pictures to make.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerateSpec {
    /// A diffusion model.
    pub model: ModelRef,
    /// What to show.
    pub prompt: String,
    /// What to steer away from. No text at all is no negative prompt, which is not everywhere the same as a text without words: SDXL's pipelines
    /// make zeros of it.
    pub negative: String,
    /// How to sample.
    pub sampling: Sampling,
    /// How many; picture `i` has seed `sampling.seed + i`.
    pub count: u32,
    /// Where to start from.
    pub init: Option<InitSpec>,
    /// The first noise, of unit variance, instead of the seed's; it decides the size of the picture. Later noise is the
    /// seed's from its start, as in diffusers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<Latents>,
    /// Nets beside the model's own.
    #[serde(flatten)]
    pub nets: OtherNets,
    /// The LoRA files that change the model meanwhile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraUse>,
    /// The learned words that the prompts may name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<EmbeddingUse>,
}

impl GenerateSpec {
    /// Tells requests apart: the SHA-256 of everything that the picture depends on, in hexadecimal. Pictures, masks and noise count by
    /// their own hashes, a model by its name.
    pub fn hash(&self) -> String {
        // Serialising plain values cannot fail; if it ever did, the request's own text would still tell it apart.
        let record = serde_json::to_string(self).unwrap_or_else(|_| format!("{self:?}"));
        format!("{:x}", Sha256::digest(record))
    }
}

/// Pictures or texts to embed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbedSpec {
    /// A CLIP-like model.
    pub model: ModelRef,
    /// What to embed.
    pub inputs: EmbedInputs,
}

/// What to embed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbedInputs {
    /// Pictures.
    Images(Vec<Picture>),
    /// Texts.
    Texts(Vec<String>),
}

/// What to time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchSpec {
    /// The model: CLIP parts are timed if it has a CLIP, diffusion parts if it has a diffusion model.
    pub model: ModelRef,
    /// Runs of each part; the fastest counts.
    pub repeats: u32,
}

/// What to measure the built-in models on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckQualitySpec {
    /// Scenes for each figure of the CLIP; a quarter as many pictures are generated for each figure of the diffusion model.
    pub scenes: u32,
    /// Start of the random numbers that the scenes and prompts are drawn with.
    pub seed: u64,
    /// Folder of the judge of generated pictures; that of the program if there is none.
    pub judge: Option<PathBuf>,
}
