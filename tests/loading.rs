//! Loading in pauses: models let more urgent work in between their tensors, and stop at once when nobody wants them any more.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use maquette::analysis::Clip;
use maquette::base::cancel::CancelFlag;
use maquette::base::task::{Progress, TaskCx, TaskHost};
use maquette::engine::options::{DeviceChoice, EngineOptions};
use maquette::engine::{Backend, CandleBackend};
use maquette::job::spec::{EmbedInputs, EmbedSpec};
use maquette::job::{JobSpec, ModelRef};
use maquette::models::ModelError;
use maquette::models::files::ModelFiles;
use maquette::models::kernels::{Conv3x3, Geometry, Linear};
use maquette::pipelines::Diffusion;

/// Counts the pauses, and cancels at one of them.
struct Host {
    cancel: CancelFlag,
    last: usize,
    pauses: Cell<usize>,
}

impl Host {
    fn new(last: usize) -> Self {
        Self { cancel: CancelFlag::default(), last, pauses: Cell::new(0) }
    }

    fn cx(&self) -> TaskCx<'_> {
        TaskCx::new(self.cancel.clone(), self)
    }
}

impl TaskHost for Host {
    fn progress(&self, _: Progress) {}

    fn wants_progress(&self) -> bool {
        false
    }

    fn serve_urgent(&self) {
        self.pauses.set(self.pauses.get() + 1);
        if self.pauses.get() >= self.last {
            self.cancel.cancel();
        }
    }
}

fn golden(name: &str) -> ModelFiles {
    ModelFiles::Folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name))
}

/// How many pauses `load` makes; and that it stops at whichever of them it is told to, without another.
fn check<T>(what: &str, least: usize, load: impl Fn(&TaskCx<'_>) -> Result<T, ModelError>) {
    let host = Host::new(usize::MAX);
    load(&host.cx()).map(drop).unwrap();
    let all = host.pauses.get();
    assert!(all >= least, "{what}: {all} pauses for {least} tensors");
    for last in [1, 2, all / 3, all / 2, all - 1, all] {
        let host = Host::new(last);
        let error = load(&host.cx()).err();
        assert!(matches!(error, Some(ModelError::Cancelled)), "{what}, {last} of {all}: {error:?}");
        assert_eq!(host.pauses.get(), last, "{what}: it went on after it was cancelled");
    }
}

fn tensors(files: &ModelFiles, file: &str) -> usize {
    files.weights(file).unwrap().names().count()
}

#[test]
fn every_tensor_of_a_model_is_a_pause() {
    let sd = golden("diffusion/sd1");
    let net = "diffusion_pytorch_model.safetensors";
    let count = |folder: &str, file: &str| tensors(&sd.sub(folder).unwrap(), file);
    // Of the autoencoder, the half that decodes is read at once.
    let all = count("unet", net) + count("text_encoder", "model.safetensors");
    check("diffusion", all - 1, |cx| Diffusion::load(&sd, DType::F32, &Device::Cpu, cx)?.keeping_parts(cx));
    let clip = golden("clip/quick");
    check("CLIP", tensors(&clip, "model.safetensors") - 2, |cx| Clip::load(&clip, DType::F32, &Device::Cpu, cx));
}

/// Runs the same job at one of its pauses.
struct Nested<'a> {
    backend: &'a dyn Backend,
    spec: &'a JobSpec,
    at: usize,
    pauses: Cell<usize>,
}

impl TaskHost for Nested<'_> {
    fn progress(&self, _: Progress) {}

    fn wants_progress(&self) -> bool {
        false
    }

    fn serve_urgent(&self) {
        self.pauses.set(self.pauses.get() + 1);
        if self.pauses.get() == self.at {
            self.backend.run(self.spec, &TaskCx::detached()).unwrap();
        }
    }
}

#[test]
fn a_model_that_a_job_in_a_pause_has_loaded_is_not_loaded_again() {
    let options = EngineOptions { device: DeviceChoice::Cpu, ..EngineOptions::default() };
    let backend = CandleBackend::boxed(&options).unwrap();
    let model = ModelRef(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip/quick").display().to_string());
    let spec = JobSpec::Embed(EmbedSpec { model, inputs: EmbedInputs::Texts(vec!["a red cube".to_owned()]) });
    let pauses = |at: usize| {
        let host = Nested { backend: &*backend, spec: &spec, at, pauses: Cell::new(0) };
        let made = backend.run(&spec, &TaskCx::new(CancelFlag::default(), &host)).unwrap();
        (host.pauses.get(), made)
    };
    let (all, first) = pauses(usize::MAX);
    let (without_loading, _) = pauses(usize::MAX);
    assert!(all > without_loading + 10, "{all} pauses, {without_loading} without loading");
    for at in [1, 5, 10] {
        backend.release_memory();
        let (made, same) = pauses(at);
        assert_eq!(made, at + without_loading, "loading ends at the pause in which somebody else has done it");
        assert_eq!(format!("{same:?}"), format!("{first:?}"));
    }
}

#[test]
fn the_thread_that_runs_jobs_computes_itself() {
    let before = rayon::current_num_threads();
    let made = std::thread::spawn(|| {
        let options = EngineOptions { device: DeviceChoice::Cpu, yields_to_window: true, ..EngineOptions::default() };
        let _backend = CandleBackend::boxed(&options).unwrap();
        (rayon::current_thread_index(), rayon::current_num_threads())
    });
    assert_eq!(made.join().unwrap(), (Some(0), before), "not handed to a thread with nothing in its cache");
    assert_eq!(rayon::current_thread_index(), None);
}

#[test]
fn large_tensors_are_read_and_packed_in_several_stretches() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let large = HashMap::from([
        ("conv.weight", zeros(&[1024, 1024, 3, 3])),
        ("conv.bias", zeros(&[1024])),
        ("linear.weight", zeros(&[4096, 2560])),
        ("linear.bias", zeros(&[4096])),
    ]);
    candle_core::safetensors::save(&large, folder.path().join("x.safetensors")).unwrap();
    let files = ModelFiles::Folder(folder.path().to_owned());
    // 37 and 42 MB: more than one piece to look through, more than one to pack.
    check("convolution", 6, |cx| {
        let vb = files.tensors("x.safetensors", DType::F32, &Device::Cpu, cx)?;
        Conv3x3::load(1024, 1024, Geometry::SAME, &vb.pp("conv"))
    });
    check("linear", 6, |cx| {
        let vb = files.tensors("x.safetensors", DType::F32, &Device::Cpu, cx)?;
        Linear::load(2560, 4096, &vb.pp("linear"))
    });
}
