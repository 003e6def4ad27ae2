//! A backend without models, for tests: a script decides what each job does; by default it answers plausibly.

use super::backend::Backend;
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::base::task::{Progress, TaskCx};
use crate::job::output::{
    BenchReport, Bound, EncoderTokens, Figure, Generated, Grid, Heatmaps, JudgeAccuracy, PhraseMap, QualityReport,
    Scoring, Timing, TokenCount, TokenText, TokenizedText, ZeroShotImage, ZeroShotTable,
};
use crate::job::spec::{EmbedInputs, GenerateSpec, HeatmapSpec, ZeroShotSpec};
use crate::job::{JobError, JobOutput, JobSpec};

type Script = dyn Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Send;

/// Runs its script instead of nets.
pub struct MockBackend {
    script: Box<Script>,
    on_release: Box<dyn Fn() + Send>,
}

impl MockBackend {
    /// A backend that does what `script` says.
    pub fn new(script: impl Fn(&JobSpec, &TaskCx<'_>) -> Result<JobOutput, JobError> + Send + 'static) -> Self {
        Self { script: Box::new(script), on_release: Box::new(|| ()) }
    }

    /// A backend that answers every job with [`plausible_output`].
    pub fn plausible() -> Self {
        Self::new(plausible_output)
    }

    /// Calls `on_release` whenever memory is to be released.
    #[must_use]
    pub fn with_release(mut self, on_release: impl Fn() + Send + 'static) -> Self {
        self.on_release = Box::new(on_release);
        self
    }
}

impl Backend for MockBackend {
    fn run(&self, spec: &JobSpec, cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
        (self.script)(spec, cx)
    }

    fn release_memory(&self) {
        (self.on_release)();
    }
}

/// An answer of the right shape that depends on the request alone.
///
/// # Errors
/// [`JobError::Cancelled`] if the task is asked to stop.
pub fn plausible_output(spec: &JobSpec, cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
    cx.checkpoint()?;
    Ok(match spec {
        JobSpec::CountTokens(spec) => {
            JobOutput::Tokens { prompt: words(&spec.prompt), negative: words(&spec.negative) }
        }
        JobSpec::Heatmap(spec) => JobOutput::Heatmaps(heatmaps(spec)),
        JobSpec::ZeroShot(spec) => JobOutput::ZeroShot(zero_shot(spec)),
        JobSpec::Generate(spec) => JobOutput::Pictures(generated(spec, cx)?),
        JobSpec::Embed(spec) => {
            let rows = match &spec.inputs {
                EmbedInputs::Images(images) => images.len(),
                EmbedInputs::Texts(texts) => texts.len(),
            };
            JobOutput::Embeddings(vec![vec![0.5; 4]; rows])
        }
        JobSpec::Bench(_) => {
            let timing = Some(Timing {
                cpu_seconds: 0.02,
                wall_seconds: 0.01,
                longest_stretch_seconds: 0.001,
                relative_error: None,
            });
            JobOutput::Bench(BenchReport {
                threads: 2,
                peak_memory_bytes: 1 << 20,
                load: timing,
                text_encode: timing,
                image_encode: timing,
                denoise_step: timing,
                decode: timing,
            })
        }
        JobSpec::CheckQuality(spec) => JobOutput::Quality(QualityReport {
            scenes: spec.scenes,
            seed: spec.seed,
            figures: vec![Figure::new("zero_shot_top1", 0.9, Bound::AtLeast(0.92), spec.scenes)],
            judge: Some(JudgeAccuracy {
                count: spec.scenes,
                thing: 0.9,
                style: 0.9,
                background: 0.9,
                effect: 0.9,
                two_things_present: 0.9,
                two_things_sides: 0.9,
                inpaint_thing: 0.9,
            }),
            not_measured: Vec::new(),
        }),
    })
}

/// Each word is a token; 75 make a chunk.
fn words(text: &str) -> TokenizedText {
    let token = |word: &str| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        TokenText { text: word.to_owned(), weight: 1.0, span: start..start + word.len() }
    };
    let tokens: Vec<TokenText> = text.split_whitespace().map(token).collect();
    let chunks: Vec<Vec<TokenText>> = tokens.chunks(75).map(<[_]>::to_vec).collect();
    let count = TokenCount { tokens: tokens.len(), limit: 75, chunks: chunks.len().max(1) };
    TokenizedText { count, parts: vec![vec![EncoderTokens { limit: 75, chunks }]] }
}

fn heatmaps(spec: &HeatmapSpec) -> Heatmaps {
    let has_marks = !spec.image.marks.is_empty();
    let phrases = spec.phrases.iter().map(|text| {
        let peak = text.len() % 16;
        let values =
            (0..256).map(|i| 0.3 - 0.02 * ((i % 16) as f32 - peak as f32).hypot((i / 16) as f32 - 8.0)).collect();
        PhraseMap {
            text: text.clone(),
            score: 0.25,
            score_without_marks: has_marks.then_some(0.2),
            grid: Grid { rows: 16, columns: 16, values },
            tokens_cut: 0,
        }
    });
    Heatmaps { phrases: phrases.collect() }
}

fn zero_shot(spec: &ZeroShotSpec) -> ZeroShotTable {
    let logits: Vec<f32> = spec.classes.iter().map(|class| class.len() as f32).collect();
    let sum: f32 = logits.iter().map(|v| v.exp()).sum();
    let probabilities: Vec<f32> = logits.iter().map(|v| v.exp() / sum).collect();
    let images = spec.images.iter().map(|image| ZeroShotImage {
        logits: logits.clone(),
        probabilities: probabilities.clone(),
        by_template: vec![logits.clone(); spec.templates.len() + spec.own_texts.len()],
        probabilities_without_marks: (!image.marks.is_empty()).then(|| probabilities.clone()),
    });
    ZeroShotTable {
        classes: spec.classes.clone(),
        templates: spec.templates.iter().chain(spec.own_texts.iter().map(|own| &own.name)).cloned().collect(),
        scoring: Scoring::default(),
        images: images.collect(),
    }
}

fn generated(spec: &GenerateSpec, cx: &TaskCx<'_>) -> Result<Generated, JobError> {
    let mut pictures = Vec::new();
    for seed in spec.sampling.seed..spec.sampling.seed.saturating_add(spec.count.into()) {
        for step in 1..=spec.sampling.steps {
            cx.checkpoint()?;
            let preview = cx.wants_progress().then(|| flat(spec, seed));
            let progress = Progress { preview, ..Progress::steps("Denoising", step, spec.sampling.steps) };
            cx.progress(progress);
        }
        pictures.push((seed, flat(spec, seed)));
    }
    Ok(Generated { pictures, latents: Vec::new(), remarks: Vec::new(), model_hash: "0".repeat(64) })
}

/// One colour from prompt and seed; with an init picture only the masked pixels take it.
fn flat(spec: &GenerateSpec, seed: u64) -> Picture {
    let hash = spec.prompt.bytes().fold(seed, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
    let colour = [hash as u8, (hash >> 8) as u8, (hash >> 16) as u8];
    let extent = spec.init.as_ref().map_or(spec.sampling.size, |init| init.picture.extent());
    flat_over(spec, extent, colour)
}

fn flat_over(spec: &GenerateSpec, extent: Extent, colour: [u8; 3]) -> Picture {
    Picture::from_fn(extent, |x, y| {
        let kept = spec.init.as_ref().filter(|init| init.mask.as_ref().is_some_and(|mask| mask.coverage(x, y) == 0));
        kept.and_then(|init| init.picture.pixel(x, y)).unwrap_or(colour)
    })
}
