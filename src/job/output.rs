//! The answers, one kind for each kind of request.

use serde::{Deserialize, Serialize};

use super::latents::Latents;
use crate::base::pixels::Picture;

/// What a finished job gives back.
#[derive(Debug, Clone, PartialEq)]
pub enum JobOutput {
    /// How prompts are read.
    Tokens {
        /// The prompt.
        prompt: TokenizedText,
        /// The negative prompt.
        negative: TokenizedText,
    },
    /// One map for each phrase.
    Heatmaps(Heatmaps),
    /// Logits and probabilities.
    ZeroShot(ZeroShotTable),
    /// The pictures, in the order of their seeds.
    Pictures(Generated),
    /// Unit-norm rows, one for each input.
    Embeddings(Vec<Vec<f32>>),
    /// Times of the parts.
    Bench(BenchReport),
    /// Figures of the built-in models.
    Quality(QualityReport),
}

/// How long a text is for a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenCount {
    /// Tokens of the text, without the two that mark start and end.
    pub tokens: usize,
    /// How many the model reads at once.
    pub limit: usize,
    /// How often it reads: a longer text is read in chunks.
    pub chunks: usize,
}

/// A prompt as the tokenizers of a model read it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TokenizedText {
    /// Of its longest part at any step, for the first encoder.
    pub count: TokenCount,
    /// The parts that `AND` joins, as they are at the step that was asked for, for each encoder.
    pub parts: Vec<Vec<EncoderTokens>>,
}

/// The tokens of one text for one encoder.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EncoderTokens {
    /// How many tokens it reads at once.
    pub limit: usize,
    /// The chunks that it reads one at a time, without the marks around them.
    pub chunks: Vec<Vec<TokenText>>,
}

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenText {
    /// What it stands for, or its name in the vocabulary if it stands for no text of its own.
    pub text: String,
    /// How much it counts.
    pub weight: f32,
    /// Its place in the prompt, in bytes.
    pub span: std::ops::Range<usize>,
}

/// Similarities over a grid of patches: row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
    /// Cosine similarities, `rows * columns`.
    pub values: Vec<f32>,
}

/// Where one phrase is.
#[derive(Debug, Clone, PartialEq)]
pub struct PhraseMap {
    /// The phrase.
    pub text: String,
    /// Cosine similarity of the phrase and the whole picture.
    pub score: f32,
    /// The same without the marks, if there were any.
    pub score_without_marks: Option<f32>,
    /// Cosine similarity of the phrase and each patch.
    pub grid: Grid,
    /// How many of its tokens the model did not read.
    pub tokens_cut: usize,
}

/// Where phrases are.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmaps {
    /// In the order of the request.
    pub phrases: Vec<PhraseMap>,
}

/// How cosine similarities become logits and probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Scoring {
    /// Logits are scale * cosine. Classes compete: their probabilities add up to 1 (CLIP).
    Softmax {
        /// The model's logit scale.
        scale: f32,
    },
    /// Logits are scale * cosine + bias. Each class has a probability of its own, which no other class changes (SigLIP).
    Sigmoid {
        /// The model's logit scale.
        scale: f32,
        /// The model's logit bias.
        bias: f32,
    },
}

impl Default for Scoring {
    fn default() -> Self {
        Self::Softmax { scale: 100.0 }
    }
}

/// Scores of one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZeroShotImage {
    /// Of the ensemble, by class.
    pub logits: Vec<f32>,
    /// Of the ensemble, by class; they add up to 1 where classes compete ([`Scoring`]).
    pub probabilities: Vec<f32>,
    /// Logits by template, then class.
    pub by_template: Vec<Vec<f32>>,
    /// Probabilities of the ensemble without the marks, if there were any.
    pub probabilities_without_marks: Option<Vec<f32>>,
}

/// Scores of pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZeroShotTable {
    /// As asked.
    pub classes: Vec<String>,
    /// As asked.
    pub templates: Vec<String>,
    /// How probabilities come about.
    #[serde(default)]
    pub scoring: Scoring,
    /// In the order of the request.
    pub images: Vec<ZeroShotImage>,
}

/// New pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Each with the seed that made it.
    pub pictures: Vec<(u64, Picture)>,
    /// What they were decoded from, in the same order; fewer where a picture was kept as it was.
    pub latents: Vec<Latents>,
    /// What a person should know: words that were cut, a size that was rounded.
    pub remarks: Vec<String>,
    /// Identifies the exact weights: hexadecimal SHA-256.
    pub model_hash: String,
}

/// The time of one part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Processor time of all threads.
    pub cpu_seconds: f64,
    /// Time on the clock.
    pub wall_seconds: f64,
    /// The longest time on the clock for which it could neither be stopped nor let more urgent work in.
    #[serde(default)]
    pub longest_stretch_seconds: f64,
    /// How far the part's output is from that in 32 bits, where it computes in fewer: the root mean square of the difference, as a part of
    /// the output's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_error: Option<f64>,
}

impl Timing {
    /// Both, one after the other.
    pub fn and(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            wall_seconds: self.wall_seconds + other.wall_seconds,
            longest_stretch_seconds: self.longest_stretch_seconds.max(other.longest_stretch_seconds),
            relative_error: None,
        }
    }
}

/// The times of a model's parts; a part that the model lacks is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// Threads that computed.
    pub threads: usize,
    /// The most memory the process ever held.
    pub peak_memory_bytes: u64,
    /// Reading the model's files.
    pub load: Option<Timing>,
    /// One prompt through the text tower.
    pub text_encode: Option<Timing>,
    /// One picture through the vision tower.
    pub image_encode: Option<Timing>,
    /// One call of the denoising net with guidance (a batch of two).
    pub denoise_step: Option<Timing>,
    /// One picture from latents.
    pub decode: Option<Timing>,
}

/// What is asked of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

impl Bound {
    /// Whether `value` is as asked.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// One figure of the built-in models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// A stable name.
    pub name: String,
    /// A share from 0 to 1 unless the name ends with a unit.
    pub value: f64,
    /// What is asked of it.
    #[serde(flatten)]
    pub asked: Bound,
    /// How many answers it is the mean of.
    pub count: u32,
}

impl Figure {
    /// A figure of this name.
    pub fn new(name: &str, value: f64, asked: Bound, count: u32) -> Self {
        Self { name: name.to_owned(), value, asked, count }
    }
}

/// How often the judge is right on real scenes, each a share from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeAccuracy {
    /// Scenes of each kind.
    pub count: u32,
    /// The thing of scenes of one.
    pub thing: f64,
    /// Their style.
    pub style: f64,
    /// Their background.
    pub background: f64,
    /// The effect of scenes with one.
    pub effect: f64,
    /// Both things of scenes of two.
    pub two_things_present: f64,
    /// Both, on the right sides.
    pub two_things_sides: f64,
    /// The thing under a mask.
    pub inpaint_thing: f64,
}

/// How good the built-in models are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityReport {
    /// As asked.
    pub scenes: u32,
    /// As asked.
    pub seed: u64,
    /// The figures.
    pub figures: Vec<Figure>,
    /// What the figures of generated pictures rest on; `None` if there was no judge.
    pub judge: Option<JudgeAccuracy>,
    /// Names of figures that need a judge, if there was none.
    pub not_measured: Vec<String>,
}
