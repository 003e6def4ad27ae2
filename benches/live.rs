//! The hot paths behind the live panels, on the built-in models: a phrase, a picture, a denoising step, a decoding.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use candle_core::{DType, Device};
use criterion::{Criterion, criterion_group, criterion_main};
use maquette::analysis::Clip;
use maquette::base::task::TaskCx;
use maquette::job::ModelRef;
use maquette::pipelines::Diffusion;
use maquette::registry::{Catalogue, Family};
use maquette::store::{presets, samples};

fn live(c: &mut Criterion) {
    let catalogue = Catalogue::load(presets::model_catalogues(None).unwrap().0, None).unwrap();
    let files = |family| catalogue.resolve(&ModelRef::builtin(), family).unwrap();
    let clip = Clip::load(&files(Family::Clip), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    let diffusion = Diffusion::load(&files(Family::Diffusion), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    let (sample, cx) = (samples::open(samples::names()[0]).unwrap(), TaskCx::detached());
    c.bench_function("phrase", |b| b.iter(|| clip.text_encode("a red apple on a blue background", &cx).unwrap()));
    c.bench_function("picture", |b| b.iter(|| clip.image_encode(&sample, &cx).unwrap()));
    c.bench_function("denoising step, batch of two", |b| b.iter(|| diffusion.denoise_once(&cx).unwrap()));
    c.bench_function("decoding", |b| b.iter(|| diffusion.decode_once(&cx).unwrap()));
}

criterion_group!(benches, live);
criterion_main!(benches);
