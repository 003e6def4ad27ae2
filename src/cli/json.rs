//! The JSON on standard output: a contract. Fields are only ever added; `schema` grows when one changes its meaning.

use serde::Serialize;

use super::session::say;
use crate::job::output::{BenchReport, QualityReport, Scoring, Timing, ZeroShotImage};
use crate::job::spec::GenerateSpec;

/// The version of everything below.
pub(super) const SCHEMA: u32 = 1;

#[derive(Serialize)]
pub(super) struct Generate {
    pub(super) schema: u32,
    pub(super) files: Vec<String>,
    pub(super) seed: u64,
    pub(super) job: GenerateSpec,
    pub(super) model_sha256: String,
    pub(super) remarks: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Heatmap {
    pub(super) schema: u32,
    pub(super) phrases: Vec<Phrase>,
    pub(super) remarks: Vec<String>,
}

#[derive(Serialize, Clone)]
pub(super) struct Phrase {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) min: f32,
    pub(super) max: f32,
    /// Column and row, in pixels of the picture.
    pub(super) peak: [u32; 2],
}

#[derive(Serialize)]
pub(super) struct Compare {
    pub(super) schema: u32,
    pub(super) classes: Vec<String>,
    pub(super) templates: Vec<String>,
    /// `{"kind": "softmax", "scale"}`: logits are scale * cosine, and a picture's probabilities add up to 1 (CLIP).
    /// `{"kind": "sigmoid", "scale", "bias"}`: logits are scale * cosine + bias, and each class has a probability of its own,
    /// 1 / (1 + exp(-logit)), whatever the other classes are (SigLIP).
    pub(super) scoring: Scoring,
    pub(super) images: Vec<ComparedImage>,
}

#[derive(Serialize)]
pub(super) struct ComparedImage {
    pub(super) file: String,
    pub(super) logits: Vec<f32>,
    pub(super) probabilities: Vec<f32>,
    pub(super) by_template: Vec<Vec<f32>>,
}

impl ComparedImage {
    pub(super) fn new(file: String, scores: &ZeroShotImage) -> Self {
        let ZeroShotImage { logits, probabilities, by_template, .. } = scores.clone();
        Self { file, logits, probabilities, by_template }
    }
}

#[derive(Serialize)]
pub(super) struct Bench {
    pub(super) schema: u32,
    pub(super) threads: usize,
    pub(super) peak_memory_bytes: u64,
    pub(super) load: Option<Timing>,
    pub(super) text_encode: Option<Timing>,
    pub(super) image_encode: Option<Timing>,
    pub(super) denoise_step: Option<Timing>,
    pub(super) decode: Option<Timing>,
}

impl From<&BenchReport> for Bench {
    fn from(report: &BenchReport) -> Self {
        let BenchReport { threads, peak_memory_bytes, load, text_encode, image_encode, denoise_step, decode } =
            report.clone();
        Self { schema: SCHEMA, threads, peak_memory_bytes, load, text_encode, image_encode, denoise_step, decode }
    }
}

#[derive(Serialize)]
pub(super) struct Check<'a> {
    pub(super) schema: u32,
    #[serde(flatten)]
    pub(super) report: &'a QualityReport,
}

#[derive(Serialize)]
pub(super) struct Models {
    pub(super) schema: u32,
    /// Known by name.
    pub(super) models: Vec<crate::registry::Entry>,
    /// In the remembered places and in Hugging Face's cache.
    pub(super) found: Vec<crate::registry::Found>,
    /// The remembered places.
    pub(super) places: Vec<std::path::PathBuf>,
}

#[derive(Serialize)]
pub(super) struct ModelReport {
    pub(super) schema: u32,
    #[serde(flatten)]
    pub(super) report: crate::registry::Report,
    pub(super) usable: bool,
}

/// Prints one JSON object.
pub(super) fn print(value: &impl Serialize) -> Result<(), super::session::Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| super::session::Failure::Failed(format!("cannot write JSON: {error}")))?;
    say!("{text}");
    Ok(())
}
