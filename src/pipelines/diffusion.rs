//! A whole diffusion model and what can be asked of it.

use std::cell::OnceCell;

use candle_core::{DType, Device, Tensor};

use super::beside::{Beside, joined};
use super::compose::{from_tensor, to_tensor};
use super::conditioning::{Conditioner, Learning, fragments};
use super::control::{self, Stage};
use super::denoiser::Steered;
use super::guidance::{Guidance, conditions};
use super::inpaint::{Inpainting, NetKind, Reader};
use super::latent_preview::{self, LatentPreview};
use super::loras::{Changed, Loras};
use super::sample::{Run, steps_made};
use super::text_encoder::Reading;
use super::tokens;
use super::words::Word;
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::base::task::{Progress, TaskCx};
use crate::job::latents::Latents;
use crate::job::output::{Generated, TokenizedText};
use crate::job::sampling::{Emphasis, Sampling, Schedule};
use crate::job::spec::{CountTokensSpec, GenerateSpec};
use crate::models::diffusion::{Autoencoder, Codec, TinyVae, Unet, UnetConfig};
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::part::Part;
use crate::models::rng::TorchRng;
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
    unet: Part<Unet>,
    unet_config: UnetConfig,
    kind: NetKind,
    vae: Autoencoder,
    /// A tiny autoencoder beside the model: for previews.
    sketcher: Option<TinyVae>,
    beside: Beside,
    /// Bytes that decoding may need before it is done in tiles.
    vae_memory: u64,
    /// Whether parts are given back as soon as a job needs them no more.
    frees_parts: bool,
    scheduler: SchedulerConfig,
    preview_weights: OnceCell<Option<[Vec<f64>; 3]>>,
    hash: OnceCell<String>,
    loras: Loras,
    dtype: DType,
    device: Device,
}

impl Diffusion {
    /// Reads the folders `unet vae text_encoder tokenizer scheduler`; and a tiny autoencoder for previews, if the folder has one: a folder
    /// `taesd`, or `taesd_decoder.safetensors`. The weights of text towers and denoising net are read when they are first needed; see
    /// [`Self::keeping_parts`].
    ///
    /// # Errors
    /// If a file is missing or damaged, or asks for something that our nets do not have; if the task is cancelled.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        let folder = |name: &str| {
            cx.checkpoint()?;
            files.sub(name).ok_or_else(|| ModelError::MissingFile { path: files.path_of(name) })
        };
        let kind = NetKind::of(&folder("unet")?.read_json("config.json")?)?;
        let unet_files = folder("unet")?;
        let (conditioner, unet_config) = (Conditioner::load(files, dtype, device)?, Unet::config_of(&unet_files)?);
        conditioner.check(&unet_config, &unet_files)?;
        let unet_device = device.clone();
        let vae = Autoencoder::load(&folder("vae")?, dtype, device, cx)?;
        Ok(Self {
            conditioner,
            unet: Part::new(move |cx| Unet::load_in(&unet_files, dtype, &unet_device, cx)),
            unet_config,
            kind,
            sketcher: latent_preview::sketcher(files, vae.latent_channels(), dtype, device, cx)?,
            vae,
            beside: Beside::new(dtype, device),
            vae_memory: u64::MAX,
            frees_parts: true,
            scheduler: SchedulerConfig::load(&folder("scheduler")?)?,
            preview_weights: OnceCell::new(),
            hash: OnceCell::new(),
            loras: Loras::default(),
            files: files.clone(),
            dtype,
            device: device.clone(),
        })
    }

    /// The same; pictures that its autoencoder would need more than about `bytes` of memory for are made in tiles, with a remark.
    pub fn with_vae_memory(self, bytes: u64) -> Self {
        Self { vae_memory: bytes, ..self }
    }

    /// The same with all parts read, which it keeps: for one job after the other. Otherwise a job's text towers and autoencoder are given back
    /// before its denoising net is read, and that before decoding: less memory, and they are read again when they are needed.
    ///
    /// # Errors
    /// If weights are damaged, or the task is cancelled.
    pub fn keeping_parts(self, cx: &TaskCx<'_>) -> Result<Self> {
        self.conditioner.towers(cx)?;
        self.unet.get(cx)?;
        Ok(Self { frees_parts: false, ..self })
    }

    /// How the model's own tokenizers read prompt and negative prompt.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn tokens(&self, spec: &CountTokensSpec) -> Result<(TokenizedText, TokenizedText)> {
        let read = |text: &str, is_negative| tokens::read(&self.conditioner, text, is_negative, spec);
        Ok((read(&spec.prompt, false)?, read(&spec.negative, true)?))
    }

    /// Makes the pictures of `spec`.
    ///
    /// # Errors
    /// [`ModelError::BadInput`] if a number makes no sense, [`ModelError::Cancelled`] if the task is cancelled.
    pub fn generate(&self, spec: &GenerateSpec, cx: &TaskCx<'_>) -> Result<Generated> {
        let mut remarks = Vec::new();
        let method = self.checked_method(&spec.sampling, &mut remarks)?;
        let brought = self.beside.vae(spec.nets.vae.as_ref(), &self.vae, cx)?;
        let vae = brought.as_ref().map_or(&self.vae, |brought| &brought.net);
        let size = self.checked_size(spec, vae, &mut remarks)?;
        let changed = Changed { conditioner: &self.conditioner, unet: &self.unet };
        let active = self.loras.activate(&spec.loras, changed, &mut remarks, cx)?;
        let _words = self.learn_words(spec, &mut remarks, cx)?;
        cx.progress(Progress::steps("Reading the prompt", 0, 0));
        let factor = vae.factor();
        let [height, width] = [size.height, size.width].map(|side| side as usize / factor);
        let codec = Codec::within(vae, height, width, self.vae_memory);
        remark_tiles(&codec, self.vae_memory, &mut remarks);
        let reader = Reader { vae: codec, kind: self.kind, dtype: self.dtype, device: &self.device };
        let inpainting = Inpainting::prepare(spec.init.as_ref(), size, &reader, cx)?;
        let start = inpainting.as_ref().map(|inpainting| &inpainting.start);
        let steps = steps_made(&Walk::new(method, &self.scheduler, spec.sampling.steps as usize), start);
        let guidance = Guidance::new(spec, (size, steps), &self.conditioner, &self.unet_config, &mut remarks, cx)?;
        if self.frees_parts {
            self.conditioner.release();
        }
        let shape = [vae.latent_channels(), height, width];
        let stage = Stage {
            unet: &self.unet_config,
            size,
            shape,
            inpainting: inpainting.as_ref(),
            dtype: self.dtype,
            device: &self.device,
        };
        let nets = self.beside.controls(&spec.nets.controls, cx)?;
        let controls = control::prepare(&spec.nets.controls, &nets, &stage, cx)?;
        let tiny = match vae {
            Autoencoder::Tiny(tiny) => Some(tiny),
            Autoencoder::Kl(_) => self.sketcher.as_ref(),
        };
        let preview = LatentPreview::new(&self.vae, tiny, &self.preview_weights, self.dtype, &self.device);
        let told = inpainting.as_ref().and_then(|inpainting| inpainting.told.as_ref());
        let run = Run {
            steered: Steered { told, controls: &controls },
            guidance: &guidance,
            scheduler: &self.scheduler,
            sampling: &spec.sampling,
            method,
            noise: spec.noise.as_ref(),
            shape,
            start,
            preview: &preview,
            device: &self.device,
        };
        let (mut pictures, mut made) = (Vec::new(), Vec::new());
        match &inpainting {
            Some(inpainting) if run.calls() == 0 => {
                remarks.push("the strength is too low for a single step: the picture was kept as it was".to_owned());
                pictures
                    .extend((0..spec.count).map(|index| (spec.sampling.seed_of(index), inpainting.unchanged(size))));
            }
            _ => {
                if self.frees_parts {
                    vae.release();
                }
                let all = self.denoised(&run, spec.count, cx);
                drop(active);
                if self.frees_parts {
                    self.unet.release();
                }
                for (index, latents) in (0..).zip(all?) {
                    made.extend(Latents::new(shape, latents.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?));
                    check_finite(&latents, "the denoising net's")?;
                    let picture = finish(&codec, &latents.to_dtype(self.dtype)?, inpainting.as_ref(), cx)?;
                    pictures.push((spec.sampling.seed_of(index), picture));
                }
            }
        }
        let mut others = brought.iter().map(|net| net.hash(cx)).collect::<Result<Vec<_>>>()?;
        others.extend(nets.iter().map(|net| net.hash(cx)).collect::<Result<Vec<_>>>()?);
        Ok(Generated { pictures, latents: made, remarks, model_hash: joined(self.model_hash(cx)?, &others) })
    }

    /// The latents of `count` pictures.
    fn denoised(&self, run: &Run<'_>, count: u32, cx: &TaskCx<'_>) -> Result<Vec<Tensor>> {
        cx.progress(Progress::steps("Loading the model", 0, 0));
        let (unet, calls) = (self.unet.get(cx)?, run.calls());
        let latents = |index: u32| {
            let (done, total) = (index.saturating_mul(calls), count.saturating_mul(calls));
            run.latents(&unet, run.sampling.seed_of(index), done, total, cx)
        };
        (0..count).map(latents).collect()
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
        let [height, width] = self.trained_on().map(|side| (side * self.vae.factor()) as u32);
        let sizes = self.conditioner.sizes(Extent::new(width, height));
        let conditions = conditions(&[&prompt, &prompt], sizes.as_ref().map(|sizes| &sizes.prompt), 1.0)?;
        let latents = self.noise(2, self.unet_config.in_channels)?;
        self.unet.get(cx)?.forward(&latents, 500.0, &conditions, None, None, cx)
    }

    /// One picture of the default size from latents: for timing.
    ///
    /// # Errors
    /// If the task is cancelled.
    pub fn decode_once(&self, cx: &TaskCx<'_>) -> Result<Tensor> {
        self.vae.decode(&self.noise(1, self.vae.latent_channels())?, cx)
    }

    fn noise(&self, batch: usize, channels: usize) -> Result<Tensor> {
        let [height, width] = self.trained_on();
        let noise = TorchRng::new(0).randn(batch * channels * height * width);
        Ok(Tensor::from_vec(noise, (batch, channels, height, width), &self.device)?.to_dtype(self.dtype)?)
    }

    /// Rows and columns of latents at the default size.
    fn trained_on(&self) -> [usize; 2] {
        self.unet_config.trained_on().unwrap_or([64; 2])
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
    fn checked_size(&self, spec: &GenerateSpec, vae: &Autoencoder, remarks: &mut Vec<String>) -> Result<Extent> {
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
        let (made, read) = (self.unet_config.out_channels, vae.latent_channels());
        if made != read {
            return bad(format!(
                "the denoising net makes latents of {made} channels and the autoencoder reads {read}; they are not of one family"
            ));
        }
        if let Some(noise) = &spec.noise {
            return self.size_of_noise(noise, vae, *size, remarks);
        }
        let multiple = vae.factor() as u32;
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
    fn size_of_noise(
        &self,
        noise: &Latents,
        vae: &Autoencoder,
        asked: Extent,
        remarks: &mut Vec<String>,
    ) -> Result<Extent> {
        let [channels, height, width] = noise.shape();
        let (factor, wanted) = (vae.factor(), vae.latent_channels());
        let most = MAX_SIDE as usize / factor;
        if channels != wanted || [height, width].iter().any(|side| !(1..=most).contains(side)) {
            return Err(ModelError::BadInput(format!(
                "the noise is {channels}x{height}x{width}; this model wants {wanted} channels, and at most {most} rows and columns"
            )));
        }
        let size = Extent::new((width * factor) as u32, (height * factor) as u32);
        if size != asked {
            remarks.push(format!("the picture was made at {size}, the size of the noise"));
        }
        Ok(size)
    }
}

fn remark_tiles(codec: &Codec<'_>, memory: u64, remarks: &mut Vec<String>) {
    if let Some(side) = codec.tile_pixels() {
        remarks.push(format!(
            "the autoencoder worked in tiles of {side} pixels to keep to {} MB of memory, which changes pixels a little \
             (--vae-memory allows it more)",
            memory >> 20
        ));
    }
}

/// Refuses what is no longer numbers.
fn check_finite(tensor: &Tensor, whose: &str) -> Result<()> {
    let sum = tensor.to_dtype(DType::F32)?.abs()?.max_all()?.to_scalar::<f32>()?;
    // The largest of numbers among which one is none is not reliable; a sum is.
    let total = tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
    if sum.is_finite() && total.is_finite() {
        return Ok(());
    }
    Err(ModelError::BadInput(format!(
        "{whose} numbers grew beyond all bounds, so there is no picture: try a guidance scale below 20, another sampler, or --precision \
         f32; if that does not help, the model's weights or its scheduler_config.json are damaged"
    )))
}

/// The picture of `latents`, on the canvas if a run began there.
fn finish(
    codec: &Codec<'_>,
    latents: &Tensor,
    inpainting: Option<&Inpainting<'_>>,
    cx: &TaskCx<'_>,
) -> Result<Picture> {
    let decoded = codec.decode(latents, cx)?;
    check_finite(&decoded, "the autoencoder's")?;
    let picture = from_tensor(&decoded)?;
    Ok(match inpainting {
        Some(inpainting) => inpainting.finish(picture),
        None => picture,
    })
}
