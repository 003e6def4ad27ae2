//! A whole diffusion model and what can be asked of it.

use std::cell::OnceCell;

use candle_core::{DType, Device, Tensor};

use super::compose::{crop, from_tensor, latent_mask, paste, region, to_tensor};
use super::conditioning::{Conditioner, Learning, fragments};
use super::guidance::{Guidance, conditions};
use super::latent_preview::LatentPreview;
use super::loras::{Changed, Loras};
use super::sample::{Run, Start, steps_made};
use super::script::all_texts;
use super::text_encoder::Reading;
use super::words::Word;
use crate::base::geom::{Bounds, Extent};
use crate::base::pixels::Picture;
use crate::base::task::{Progress, TaskCx};
use crate::job::latents::Latents;
use crate::job::output::{Generated, TokenCount};
use crate::job::sampling::{Emphasis, Sampling, Schedule};
use crate::job::spec::{GenerateSpec, InitSpec};
use crate::models::diffusion::{Unet, Vae};
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::preprocess::resize;
use crate::models::schedulers::{Method, SchedulerConfig, Walk};

/// Longest side of a generated picture, in pixels.
const MAX_SIDE: u32 = 2048;
/// What identifies a model: everything that its pictures depend on.
const HASHED: [&str; 15] = [
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "text_encoder_2/config.json",
    "text_encoder_2/model.safetensors",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/vocab.json",
    "tokenizer_2/merges.txt",
    "scheduler/scheduler_config.json",
];

/// A diffusion model in diffusers layout, loaded.
pub struct Diffusion {
    files: ModelFiles,
    conditioner: Conditioner,
    unet: Unet,
    vae: Vae,
    scheduler: SchedulerConfig,
    preview_weights: OnceCell<Option<[Vec<f64>; 3]>>,
    hash: OnceCell<String>,
    loras: Loras,
    dtype: DType,
    device: Device,
}

/// The part of the canvas that a run works on.
struct Inpainting<'a> {
    init: &'a InitSpec,
    bounds: Bounds,
    start: Start,
}

impl Inpainting<'_> {
    /// The picture as it would be after no step at all.
    fn unchanged(&self, size: Extent) -> Picture {
        if self.init.mask.is_some() { self.init.picture.clone() } else { resize(&self.init.picture, size) }
    }
}

impl Diffusion {
    /// Reads the folders `unet vae text_encoder tokenizer scheduler`.
    ///
    /// # Errors
    /// If a file is missing or damaged, or asks for something that our nets do not have; if the task is cancelled.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        let folder = |name: &str| {
            cx.checkpoint()?;
            files.sub(name).ok_or_else(|| ModelError::MissingFile { path: files.path_of(name) })
        };
        let (conditioner, unet) =
            (Conditioner::load(files, dtype, device)?, Unet::load(&folder("unet")?, dtype, device)?);
        conditioner.check(unet.config(), &folder("unet")?)?;
        Ok(Self {
            conditioner,
            unet,
            vae: Vae::load(&folder("vae")?, dtype, device)?,
            scheduler: SchedulerConfig::load(&folder("scheduler")?)?,
            preview_weights: OnceCell::new(),
            hash: OnceCell::new(),
            loras: Loras::default(),
            files: files.clone(),
            dtype,
            device: device.clone(),
        })
    }

    /// Lengths of `texts`, with weights of this kind, for the model's own tokenizer: of what is longest at any step.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn count_tokens(&self, texts: &[String], emphasis: Emphasis) -> Result<Vec<TokenCount>> {
        let count = |text: &String| {
            let mut longest = self.conditioner.count(&[])?;
            for fragments in all_texts(text, emphasis) {
                let count = self.conditioner.count(&fragments)?;
                longest = if count.tokens > longest.tokens { count } else { longest };
            }
            Ok(longest)
        };
        texts.iter().map(count).collect()
    }

    /// Makes the pictures of `spec`.
    ///
    /// # Errors
    /// [`ModelError::BadInput`] if a number makes no sense, [`ModelError::Cancelled`] if the task is cancelled.
    pub fn generate(&self, spec: &GenerateSpec, cx: &TaskCx<'_>) -> Result<Generated> {
        let mut remarks = Vec::new();
        let method = self.checked_method(&spec.sampling, &mut remarks)?;
        let size = self.checked_size(spec, &mut remarks)?;
        let changed = Changed { conditioner: &self.conditioner, unet: &self.unet };
        let _active = self.loras.activate(&spec.loras, changed, &mut remarks, cx)?;
        let _words = self.learn_words(spec, &mut remarks, cx)?;
        cx.progress(Progress::steps("Reading the prompt", 0, 0));
        let inpainting = spec.init.as_ref().map(|init| self.prepare_init(init, size, cx)).transpose()?;
        let start = inpainting.as_ref().map(|inpainting| &inpainting.start);
        let steps = steps_made(&Walk::new(method, &self.scheduler, spec.sampling.steps as usize), start);
        let guidance = Guidance::new(spec, (size, steps), &self.conditioner, self.unet.config(), &mut remarks, cx)?;
        let factor = self.vae.factor();
        let preview = LatentPreview::new(&self.vae, &self.preview_weights, self.dtype, &self.device);
        let run = Run {
            unet: &self.unet,
            guidance: &guidance,
            scheduler: &self.scheduler,
            sampling: &spec.sampling,
            method,
            noise: spec.noise.as_ref(),
            shape: [self.vae.latent_channels(), size.height as usize / factor, size.width as usize / factor],
            start,
            preview: &preview,
            device: &self.device,
        };
        let (calls, mut pictures, mut made) = (run.calls(), Vec::new(), Vec::new());
        if calls == 0 {
            remarks.push("the strength is too low for a single step: the picture was kept as it was".to_owned());
        }
        for index in 0..spec.count {
            let seed = spec.sampling.seed.wrapping_add(u64::from(index));
            let picture = match &inpainting {
                Some(inpainting) if calls == 0 => inpainting.unchanged(size),
                _ => {
                    let total = spec.count.saturating_mul(calls);
                    let latents = run.latents(seed, index.saturating_mul(calls), total, cx)?;
                    made.extend(Latents::new(run.shape, latents.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?));
                    self.finish(&latents.to_dtype(self.dtype)?, inpainting.as_ref(), cx)?
                }
            };
            pictures.push((seed, picture));
        }
        Ok(Generated { pictures, latents: made, remarks, model_hash: self.model_hash(cx)? })
    }

    fn learn_words(&self, spec: &GenerateSpec, remarks: &mut Vec<String>, cx: &TaskCx<'_>) -> Result<Learning<'_>> {
        let mut words = Vec::new();
        for wanted in &spec.embeddings {
            let word = Word::load(wanted, cx)?;
            if ![&spec.prompt, &spec.negative].iter().any(|text| word.is_in(text)) {
                remarks.push(format!("no prompt names the embedding {}, so it changed nothing", wanted.path.display()));
            }
            words.push(word);
        }
        self.conditioner.learn(&words)
    }

    /// `picture` through the autoencoder and back. Its sides must be multiples of the autoencoder's factor.
    ///
    /// # Errors
    /// If the sides do not fit, or the task is cancelled.
    pub fn reconstruct(&self, picture: &Picture, cx: &TaskCx<'_>) -> Result<Picture> {
        let latents = self.vae.encode_mean(&to_tensor(picture, self.dtype, &self.device)?, cx)?;
        from_tensor(&self.vae.decode(&latents, cx)?)
    }

    /// The states of a prompt, computed anew: for timing.
    ///
    /// # Errors
    /// If the task is cancelled.
    pub fn text_encode(&self, prompt: &str, cx: &TaskCx<'_>) -> Result<Tensor> {
        let prompt = fragments(prompt, Emphasis::default());
        Ok(self.conditioner.encode_afresh(&prompt, 1, Reading::default(), cx)?.states)
    }

    /// One call of the denoising net with a batch of two at the default size: for timing.
    ///
    /// # Errors
    /// If the task is cancelled.
    pub fn denoise_once(&self, cx: &TaskCx<'_>) -> Result<Tensor> {
        let prompt = self.conditioner.encode(&[], 1, Reading::default(), cx)?;
        let side = (self.unet.config().sample_size.unwrap_or(64) * self.vae.factor()) as u32;
        let sizes = self.conditioner.sizes(Extent::new(side, side));
        let conditions = conditions(&[&prompt, &prompt], sizes.as_ref().map(|sizes| &sizes.prompt), 1.0)?;
        let latents = Tensor::cat(&[&self.blank_latents()?, &self.blank_latents()?], 0)?;
        self.unet.forward(&latents, 500.0, &conditions, None, None, cx)
    }

    /// One picture of the default size from latents: for timing.
    ///
    /// # Errors
    /// If the task is cancelled.
    pub fn decode_once(&self, cx: &TaskCx<'_>) -> Result<Tensor> {
        self.vae.decode(&self.blank_latents()?, cx)
    }

    fn blank_latents(&self) -> Result<Tensor> {
        let side = self.unet.config().sample_size.unwrap_or(64);
        Ok(Tensor::zeros((1, self.vae.latent_channels(), side, side), self.dtype, &self.device)?)
    }

    fn model_hash(&self, cx: &TaskCx<'_>) -> Result<String> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash.clone());
        }
        let hash = self.files.sha256(&HASHED, cx)?;
        Ok(self.hash.get_or_init(|| hash).clone())
    }

    /// The sampler and what it is told; remarks say what it does not do.
    fn checked_method(&self, sampling: &Sampling, remarks: &mut Vec<String>) -> Result<Method> {
        let method = Method::new(sampling, &self.scheduler)?;
        let bad = |text: &str| Err(ModelError::BadInput(text.to_owned()));
        if !(0.0..=1.0).contains(&sampling.guidance_rescale) {
            return bad("the guidance rescale must lie between 0 and 1");
        }
        if !sampling.eta.is_none_or(|eta| (0.0..=1.0).contains(&eta)) {
            return bad("eta, the part of the noise that is fresh, must lie between 0 and 1");
        }
        let name = method.sampler.name();
        if sampling.schedule != Schedule::Default && !method.sampler.takes_schedule() {
            let schedule = sampling.schedule.name();
            remarks.push(format!("{name} visits steps of training, so the schedule {schedule} changed nothing"));
        }
        let most = method.most_steps(&self.scheduler);
        if sampling.steps as usize > most {
            remarks.push(format!("{name} can take no more than {most} steps with this model, so that many were taken"));
        }
        Ok(method)
    }

    /// The size that the model can make which is nearest to the one asked for.
    fn checked_size(&self, spec: &GenerateSpec, remarks: &mut Vec<String>) -> Result<Extent> {
        let Sampling { size, steps, guidance, .. } = &spec.sampling;
        let bad = |text: String| Err(ModelError::BadInput(text));
        if size.shortest() == 0 || size.longest() > MAX_SIDE {
            return bad(format!("a picture of {size} cannot be made; choose sides from 8 to {MAX_SIDE} pixels"));
        }
        if !(1..=Sampling::MAX_STEPS).contains(steps) {
            return bad(format!("{steps} steps make no picture; choose from 1 to {}", Sampling::MAX_STEPS));
        }
        if !guidance.is_finite() {
            return bad("the guidance scale is not a number; choose one from 1 to 20".to_owned());
        }
        if self.unet.config().in_channels != self.vae.latent_channels() {
            return bad("this denoising net wants more channels than latents have; inpainting nets are not supported"
                .to_owned());
        }
        if let Some(noise) = &spec.noise {
            return self.size_of_noise(noise, *size, remarks);
        }
        let multiple = (self.vae.factor() * self.unet.multiple()) as u32;
        let rounded = |side: u32| ((side + multiple / 2) / multiple).max(1) * multiple;
        let possible = Extent::new(rounded(size.width), rounded(size.height));
        if possible != *size {
            remarks.push(format!(
                "the picture was made at {possible}: this model needs sides that are multiples of {multiple}"
            ));
        }
        Ok(possible)
    }

    /// The size of the picture that given noise becomes.
    fn size_of_noise(&self, noise: &Latents, asked: Extent, remarks: &mut Vec<String>) -> Result<Extent> {
        let [channels, height, width] = noise.shape();
        let (factor, multiple) = (self.vae.factor(), self.unet.multiple());
        let fits = channels == self.vae.latent_channels()
            && [height, width].iter().all(|side| side.is_multiple_of(multiple) && side * factor <= MAX_SIDE as usize);
        if !fits {
            return Err(ModelError::BadInput(format!(
                "the noise is {channels}x{height}x{width}; this model wants {} channels, and rows and columns that are \
                 multiples of {multiple}",
                self.vae.latent_channels()
            )));
        }
        let size = Extent::new((width * factor) as u32, (height * factor) as u32);
        if size != asked {
            remarks.push(format!("the picture was made at {size}, the size of the noise"));
        }
        Ok(size)
    }

    fn prepare_init<'a>(&self, init: &'a InitSpec, size: Extent, cx: &TaskCx<'_>) -> Result<Inpainting<'a>> {
        if !(0.0..=1.0).contains(&init.strength) {
            return Err(ModelError::BadInput("the strength must lie between 0 and 1".to_owned()));
        }
        let canvas = init.picture.extent();
        let bounds = match &init.mask {
            Some(mask) if mask.extent() != canvas => {
                let text =
                    format!("the mask is {} but the picture is {canvas}; they must be of one size", mask.extent());
                return Err(ModelError::BadInput(text));
            }
            Some(mask) => match mask.painted_bounds() {
                Some(painted) => region(canvas, painted, size),
                None => return Err(ModelError::BadInput("the mask is empty; paint over what is to change".to_owned())),
            },
            None => canvas.bounds(),
        };
        let seen = resize(&crop(&init.picture, bounds), size);
        let latents = self.vae.encode_mean(&to_tensor(&seen, self.dtype, &self.device)?, cx)?;
        let (_, _, height, width) = latents.dims4()?;
        let mask = init.mask.as_ref().map(|mask| latent_mask(mask, bounds, width, height, self.dtype, &self.device));
        let start = Start { latents, mask: mask.transpose()?, strength: as_written(init.strength) };
        Ok(Inpainting { init, bounds, start })
    }

    fn finish(&self, latents: &Tensor, inpainting: Option<&Inpainting<'_>>, cx: &TaskCx<'_>) -> Result<Picture> {
        let picture = from_tensor(&self.vae.decode(latents, cx)?)?;
        Ok(match inpainting {
            Some(Inpainting { init: InitSpec { picture: canvas, mask: Some(mask), .. }, bounds, .. }) => {
                paste(canvas, &picture, *bounds, mask)
            }
            _ => picture,
        })
    }
}

/// The decimal number that a person wrote: the nearest 32-bit number to 0.7 is a little less, which could cost a step.
fn as_written(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}
