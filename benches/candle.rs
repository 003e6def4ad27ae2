//! How long candle-transformers takes for the same weights, for the third column of `README.md`: processor seconds of each part, as JSON,
//! one line each, the short ones first. `against_pytorch.py` calls it:
//!
//!     RAYON_NUM_THREADS=1 CANDLE_NUM_THREADS=1 cargo bench --bench candle -- FOLDER
//!
//! FOLDER holds `clip` and `sd15`, as that script makes them. The fastest run of each part counts, after one to warm up.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::{ClipConfig, ClipModel};
use candle_transformers::models::stable_diffusion::StableDiffusionConfig;

/// A text of as many tokens as PyTorch is given.
const TOKENS: usize = 77;
const SD15_WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

#[cfg(unix)]
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(not(unix))]
fn processor_seconds() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_secs_f64()
}

fn time(part: &str, repeats: u32, run: impl Fn() -> Result<Tensor>) {
    run().unwrap();
    let seconds = (0..repeats).map(|_| {
        let start = processor_seconds();
        run().unwrap();
        processor_seconds() - start
    });
    println!("{{\"part\": \"{part}\", \"cpu_seconds\": {}}}", seconds.fold(f64::INFINITY, f64::min));
}

fn clip(folder: &Path) -> Result<()> {
    let tensors = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
    let model =
        ClipModel::new(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &ClipConfig::vit_base_patch32())?;
    let ids = Tensor::ones((1, TOKENS), DType::U32, &Device::Cpu)?;
    time("text_encode", 5, || model.get_text_features(&ids));
    let pixels = Tensor::randn(0f32, 1.0, (1, 3, 224, 224), &Device::Cpu)?;
    time("image_encode", 5, || model.get_image_features(&pixels));
    Ok(())
}

fn diffusion(folder: &Path) -> Result<()> {
    let config = StableDiffusionConfig::v1_5(None, None, None);
    let random = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, &Device::Cpu);
    let (latents, states) = (random(&[2, 4, 64, 64])?, random(&[2, TOKENS, 768])?);
    let unet = config.build_unet(folder.join("unet").join(SD15_WEIGHTS), &Device::Cpu, 4, false, DType::F32)?;
    time("denoise_step", 1, || unet.forward(&latents, 500.0, &states));
    drop(unet);
    let vae = config.build_vae(folder.join("vae").join(SD15_WEIGHTS), &Device::Cpu, DType::F32)?;
    let latents = latents.narrow(0, 0, 1)?;
    time("decode", 1, || vae.decode(&latents));
    Ok(())
}

fn main() {
    let Some(folder) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        eprintln!("nothing is timed without a folder of models: cargo bench --bench candle -- FOLDER");
        return;
    };
    clip(&Path::new(&folder).join("clip")).unwrap();
    diffusion(&Path::new(&folder).join("sd15")).unwrap();
}
