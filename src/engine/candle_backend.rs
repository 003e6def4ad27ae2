//! The backend with real models: loads what a job asks for, keeps one CLIP and one diffusion model, runs the job.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::{DType, Device};

use super::accounting::{cpu_seconds, total_memory_bytes};
use super::backend::Backend;
use super::bench;
use super::options::{DeviceChoice, EngineOptions, Precision};
use crate::analysis::Clip;
use crate::base::heap::Returning;
use crate::base::task::{Progress, TaskCx, Until};
use crate::job::spec::{CheckQualitySpec, CountTokensSpec};
use crate::job::{JobError, JobOutput, JobSpec, ModelRef};
use crate::models::ModelError;
use crate::models::files::ModelFiles;
use crate::models::judge::Judge;
use crate::models::kernels;
use crate::pipelines::Diffusion;
use crate::quality::{self, Subjects};
use crate::registry::{self, Catalogue, Family};
use crate::store::presets;

/// One loaded model of a family, by the name it was asked for.
type Slot<T> = RefCell<Option<(ModelRef, Rc<T>)>>;

/// Runs jobs with candle.
pub struct CandleBackend {
    /// The user's presets, with the catalogue of their models.
    presets: Option<PathBuf>,
    device: Device,
    dtype: DType,
    /// Whether the CPU multiplies in bf16.
    is_paired: bool,
    threads: usize,
    /// The threads that share the work of nets; this one is among them.
    _pool: Option<rayon::ThreadPool>,
    vae_memory: u64,
    frees_parts: bool,
    clip: Slot<Clip>,
    diffusion: Slot<Diffusion>,
}

impl CandleBackend {
    /// A backend as the options say, for this thread, which from now on computes along with others; loads nothing yet.
    ///
    /// # Errors
    /// If the device is not there, or the catalogue is damaged.
    pub fn boxed(options: &EngineOptions) -> Result<Box<dyn Backend>, JobError> {
        catalogue(options.presets.as_deref())?;
        let device = device(options.device)?;
        let is_paired = device.is_cpu() && options.precision == Precision::Bf16;
        if is_paired && !kernels::can_multiply_pairs() {
            let text = "this processor does not multiply in bf16 (AVX-512 BF16); use --precision f32 or auto";
            return Err(JobError::BadJob(text.to_owned()));
        }
        // Models are loaded and run on this thread alone.
        kernels::multiply_in_bf16(is_paired);
        let pool = join_pool();
        if options.yields_to_window {
            yield_to_window(pool.is_some());
        }
        let dtype = match options.precision {
            Precision::Auto if device.is_cpu() => DType::F32,
            Precision::Bf16 if device.is_cpu() => DType::F32,
            Precision::Auto | Precision::F16 => DType::F16,
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        };
        Ok(Box::new(Self {
            presets: options.presets.clone(),
            device,
            dtype,
            is_paired,
            threads: rayon::current_num_threads(),
            _pool: pool,
            vae_memory: options
                .vae_memory
                .map_or_else(|| total_memory_bytes() / 3, |megabytes| megabytes.saturating_mul(1 << 20)),
            frees_parts: options.frees_parts,
            clip: RefCell::default(),
            diffusion: RefCell::default(),
        }))
    }

    pub(super) fn clip(&self, model: &ModelRef, cx: &TaskCx<'_>) -> Result<Rc<Clip>, JobError> {
        self.resident(&self.clip, model, Family::Clip, cx, |files, cx| Clip::load(files, self.dtype, &self.device, cx))
    }

    pub(super) fn diffusion(&self, model: &ModelRef, cx: &TaskCx<'_>) -> Result<Rc<Diffusion>, JobError> {
        let load = |files: &ModelFiles, cx: &TaskCx<'_>| {
            let model = Diffusion::load(files, self.dtype, &self.device, cx)?.with_vae_memory(self.vae_memory);
            if self.frees_parts { Ok(model) } else { model.keeping_parts(cx) }
        };
        self.resident(&self.diffusion, model, Family::Diffusion, cx, load)
    }

    /// The model in `slot` if it is the one asked for; else the old one is dropped first, then the new one is loaded. If a job in a pause
    /// of the loading has loaded the same, that is taken.
    fn resident<T>(
        &self,
        slot: &Slot<T>,
        model: &ModelRef,
        family: Family,
        cx: &TaskCx<'_>,
        load: impl FnOnce(&ModelFiles, &TaskCx<'_>) -> Result<T, ModelError>,
    ) -> Result<Rc<T>, JobError> {
        let here =
            || slot.borrow().as_ref().filter(|(resident, _)| resident == model).map(|(_, loaded)| loaded.clone());
        if let Some(loaded) = here() {
            return Ok(loaded);
        }
        let missing = |reason: String| JobError::ModelMissing { model: model.0.clone(), reason };
        // Read anew: models may have been added since.
        let catalogue = catalogue(self.presets.as_deref())?;
        let files = catalogue.resolve(model, family).map_err(|error| missing(error.to_string()))?;
        cx.progress(Progress::steps("Loading the model", 0, 0));
        let _returning = Returning::begin();
        slot.borrow_mut().take();
        let read = load(&files, &Until::of(cx, &|| here().is_some()).cx());
        if let Some(loaded) = here() {
            return Ok(loaded);
        }
        let loaded = Rc::new(read.map_err(|error| match error {
            ModelError::Cancelled => JobError::Cancelled,
            error => missing(error.to_string()),
        })?);
        *slot.borrow_mut() = Some((model.clone(), loaded.clone()));
        Ok(loaded)
    }

    /// What it has of `model`: similarity, diffusion.
    pub(super) fn has(&self, model: &ModelRef) -> Result<(bool, bool), JobError> {
        let catalogue = catalogue(self.presets.as_deref())?;
        let [clip, diffusion] = [Family::Clip, Family::Diffusion].map(|family| catalogue.resolve(model, family));
        match (&clip, &diffusion) {
            (Err(error), Err(_)) => Err(JobError::ModelMissing { model: model.0.clone(), reason: error.to_string() }),
            _ => Ok((clip.is_ok(), diffusion.is_ok())),
        }
    }

    /// Threads that compute.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// What `work` gives with all products in 32 bits, if they are not anyway.
    pub(super) fn in_single_precision<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if !self.is_paired {
            return None;
        }
        let released = || self.release_memory();
        released();
        kernels::multiply_in_bf16(false);
        let result = work();
        released();
        kernels::multiply_in_bf16(true);
        Some(result)
    }

    fn count_tokens(&self, spec: &CountTokensSpec, cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
        let read = self.diffusion(&spec.model, cx)?.tokens(spec);
        read.map(|(prompt, negative)| JobOutput::Tokens { prompt, negative })
            .map_err(|error| job_error("Counting", error))
    }

    fn check_quality(&self, spec: &CheckQualitySpec, cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
        let own = spec.judge.clone().map(ModelFiles::Folder);
        let judge = match Judge::load(own.as_ref().unwrap_or(&registry::judge()), self.dtype, &self.device) {
            Ok(judge) => Some(judge),
            Err(ModelError::MissingFile { .. }) if own.is_none() => None,
            Err(error) => return Err(job_error("Loading the judge", error)),
        };
        let builtin = ModelRef::builtin();
        let (clip, diffusion) = (self.clip(&builtin, cx)?, self.diffusion(&builtin, cx)?);
        let subjects = Subjects {
            clip: &clip,
            diffusion: &diffusion,
            judge: judge.as_ref(),
            model_bytes: registry::shipped_bytes(),
            cpu_seconds,
        };
        quality::measure(spec, &subjects, cx).map(JobOutput::Quality).map_err(|error| job_error("Check", error))
    }
}

impl Backend for CandleBackend {
    fn run(&self, spec: &JobSpec, cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
        let explain = |error| job_error(spec.name(), error);
        match spec {
            JobSpec::CountTokens(spec) => self.count_tokens(spec, cx),
            JobSpec::Heatmap(spec) => {
                self.clip(&spec.model, cx)?.heatmaps(spec, cx).map(JobOutput::Heatmaps).map_err(explain)
            }
            JobSpec::ZeroShot(spec) => {
                self.clip(&spec.model, cx)?.zero_shot(spec, cx).map(JobOutput::ZeroShot).map_err(explain)
            }
            JobSpec::Generate(spec) => {
                self.diffusion(&spec.model, cx)?.generate(spec, cx).map(JobOutput::Pictures).map_err(explain)
            }
            JobSpec::Embed(spec) => {
                self.clip(&spec.model, cx)?.embed(spec, cx).map(JobOutput::Embeddings).map_err(explain)
            }
            JobSpec::Bench(spec) => bench::run(self, spec, cx).map(JobOutput::Bench),
            JobSpec::CheckQuality(spec) => self.check_quality(spec, cx),
        }
    }

    fn release_memory(&self) {
        let _returning = Returning::begin();
        self.clip.borrow_mut().take();
        self.diffusion.borrow_mut().take();
    }
}

fn catalogue(presets: Option<&Path>) -> Result<Catalogue, JobError> {
    let (shipped, own) = presets::model_catalogues(presets).map_err(JobError::BadJob)?;
    let catalogue = Catalogue::load(shipped, own.as_deref()).map_err(|error| JobError::BadJob(error.to_string()))?;
    Ok(presets::model_folder(presets).into_iter().fold(catalogue, Catalogue::with_folder))
}

/// Lets the threads that compute give way to the window's: a frame that waits for a processor is a frame too late.
#[cfg(target_os = "linux")]
fn yield_to_window(is_in_pool: bool) {
    let lower = || {
        // On Linux this is the priority of the calling thread alone. Without it everything works, less smoothly.
        if let Err(error) = rustix::process::nice(5) {
            tracing::debug!(%error, "cannot lower the priority of a thread");
        }
    };
    if !is_in_pool {
        lower();
    }
    rayon::broadcast(|_| lower());
}

/// Elsewhere priorities are those of the whole process.
#[cfg(not(target_os = "linux"))]
fn yield_to_window(_: bool) {}

/// Makes a pool of as many threads as are to compute, with this one among them. A thread that only waits for a pool hands every layer to
/// another processor, which has nothing of it in its cache: encoding a picture took a third longer.
fn join_pool() -> Option<rayon::ThreadPool> {
    let threads = rayon::current_num_threads();
    match rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build() {
        Ok(pool) => Some(pool),
        Err(error) => {
            tracing::debug!(%error, "this thread computes by the common pool");
            None
        }
    }
}

fn device(choice: DeviceChoice) -> Result<Device, JobError> {
    let absent = |name: &str, error: candle_core::Error| {
        JobError::BadJob(format!("there is no {name} device for this build ({error}); use --device cpu"))
    };
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda => Device::new_cuda(0).map_err(|error| absent("CUDA", error)),
        DeviceChoice::Metal => Device::new_metal(0).map_err(|error| absent("Metal", error)),
        DeviceChoice::Auto => Ok(Device::new_cuda(0).or_else(|_| Device::new_metal(0)).unwrap_or(Device::Cpu)),
    }
}

pub(super) fn job_error(during: &str, error: ModelError) -> JobError {
    match error {
        ModelError::Cancelled => JobError::Cancelled,
        ModelError::BadInput(text) => JobError::BadJob(text),
        ModelError::MissingFile { .. } | ModelError::BadFile { .. } => JobError::BadJob(error.to_string()),
        ModelError::Tensor(error) => {
            // Whatever follows the first line is a backtrace.
            let details = error.to_string().lines().next().unwrap_or_default().to_owned();
            match details.contains("out of memory") {
                true => JobError::OutOfMemory { during: during.to_owned() },
                false => JobError::Inference { during: during.to_owned(), details },
            }
        }
    }
}
