//! What steers a diffusion model besides words, compared with diffusers: inpainting nets.
//!
//! `golden/steered/make.py` made the numbers, with the tiny nets of `golden/diffusion`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use maquette::base::geom::Extent;
use maquette::base::pixels::{Mask, Picture};
use maquette::base::task::TaskCx;
use maquette::job::ModelRef;
use maquette::job::output::Generated;
use maquette::job::sampling::{Sampler, Sampling};
use maquette::job::spec::{GenerateSpec, InitSpec};
use maquette::models::error::Result;
use maquette::models::files::ModelFiles;
use maquette::pipelines::Diffusion;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(golden().join("steered/expected.safetensors"), &Device::Cpu).unwrap()
}

fn load(folder: &Path) -> Result<Diffusion> {
    Diffusion::load(&ModelFiles::Folder(folder.to_owned()), DType::F32, &Device::Cpu, &TaskCx::detached())
}

/// The tiny model with another denoising net; its configuration may be changed.
fn with_unet(unet: &Path, change: impl Fn(&mut serde_json::Value)) -> (tempfile::TempDir, Result<Diffusion>) {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for file in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    };
    for part in ["vae", "text_encoder", "tokenizer", "scheduler"] {
        copy(&golden().join("diffusion/sd1").join(part), &folder.path().join(part));
    }
    copy(unet, &folder.path().join("unet"));
    let config = folder.path().join("unet/config.json");
    let mut value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(config, value.to_string()).unwrap();
    let model = load(folder.path());
    (folder, model)
}

/// As make.py draws it.
fn picture(width: u32, height: u32) -> Picture {
    Picture::from_fn(Extent::new(width, height), |x, y| {
        [(x * 5 % 256) as u8, (y * 7 % 256) as u8, ((x ^ y) * 3 % 256) as u8]
    })
}

/// As make.py draws it.
fn mask(width: u32, height: u32) -> Mask {
    let inside = |i: u32| {
        let (x, y) = (i % width, i / width);
        (x.min(width - 1 - x).min(y).min(height - 1 - y) * 60 + 60).min(255) as u8
    };
    Mask::from_coverage(Extent::new(width, height), &(0..width * height).map(inside).collect::<Vec<_>>())
}

fn request(sampler: Sampler) -> GenerateSpec {
    GenerateSpec {
        model: ModelRef::builtin(),
        prompt: "a red cube".to_owned(),
        negative: "blurry".to_owned(),
        sampling: Sampling {
            sampler: Some(sampler),
            steps: 8,
            guidance: 3.0,
            seed: 11,
            size: Extent::new(16, 16),
            ..Sampling::default()
        },
        count: 1,
        init: None,
        noise: None,
    }
}

fn generate(model: &Diffusion, spec: &GenerateSpec) -> Result<Generated> {
    model.generate(spec, &TaskCx::detached())
}

/// Expects a relative root mean square difference of the latents below 1e-4.
#[track_caller]
fn check(what: &str, made: &Generated, want: &Tensor) {
    assert!(made.remarks.is_empty(), "{what}: {:?}", made.remarks);
    let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
    let got = made.latents[0].values();
    assert_eq!(got.len(), want.len(), "{what}");
    let power = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let off = power(&mut got.iter().zip(&want).map(|(a, b)| f64::from(a - b)));
    let off = off / power(&mut want.iter().map(|v| f64::from(*v)));
    println!("{what}: relative RMS {off:.1e}");
    assert!(off < 1e-4, "{what}: relative RMS {off:e}");
}

#[track_caller]
fn refused<T>(result: Result<T>, parts: &[&str]) {
    let message = result.err().expect("it was not refused").to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// The keys that begin with `prefix`, without it, and what they hold.
fn cases(prefix: &str) -> Vec<(String, Tensor)> {
    let of = |(name, tensor): (String, Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor));
    expected().into_iter().filter_map(of).collect()
}

fn size(text: &str) -> (u32, u32) {
    let (width, height) = text.split_once('x').unwrap();
    (width.parse().unwrap(), height.parse().unwrap())
}

#[test]
fn inpainting_nets_equal_the_diffusers_pipeline() {
    let (_keep, model) = with_unet(&golden().join("diffusion/sd2/unet"), |_| ());
    let model = model.unwrap();
    let cases = cases("inpaint.");
    assert_eq!(cases.len(), 8);
    for (name, want) in cases {
        let (sampler, rest) = name.split_once('.').unwrap();
        let (strength, extent) = rest.rsplit_once('.').unwrap();
        let (width, height) = size(extent);
        let init = InitSpec {
            picture: picture(width, height),
            mask: Some(mask(width, height)),
            strength: strength.parse().unwrap(),
        };
        let made = generate(&model, &GenerateSpec { init: Some(init), ..request(sampler.parse().unwrap()) }).unwrap();
        check(&name, &made, &want);
    }
}

#[test]
fn inpainting_nets_say_that_they_need_a_mask() {
    let (_keep, model) = with_unet(&golden().join("diffusion/sd2/unet"), |_| ());
    let model = model.unwrap();
    refused(generate(&model, &request(Sampler::Ddim)), &["repaints", "--mask"]);
    let init = Some(InitSpec { picture: picture(16, 16), mask: None, strength: 0.5 });
    refused(generate(&model, &GenerateSpec { init, ..request(Sampler::Ddim) }), &["repaints", "--mask"]);
}

#[test]
fn nets_that_want_something_else_are_refused() {
    for (channels, word) in [(8, "InstructPix2Pix"), (5, "depth")] {
        let (_keep, model) =
            with_unet(&golden().join("diffusion/sd1/unet"), |config| config["in_channels"] = channels.into());
        refused(model, &[word, "choose one of those"]);
    }
}
