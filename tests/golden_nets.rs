//! The nets beyond Stable Diffusion 1 and 2 compared with diffusers: SDXL's and LCM's denoisers, ControlNet, the tiny
//! autoencoder. `golden/nets/make.py` made the numbers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use maquette::base::task::TaskCx;
use maquette::models::diffusion::{AddedText, Conditions, ControlNet, Residuals, TinyVae, Unet};
use maquette::models::files::ModelFiles;

fn files(name: &str) -> ModelFiles {
    ModelFiles::Folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nets").join(name))
}

fn expected() -> HashMap<String, Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nets/expected.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn unet(name: &str) -> Unet {
    Unet::load(&files(name), DType::F32, &Device::Cpu).unwrap()
}

/// Expects a relative root mean square difference below 1e-5.
fn check(what: &str, got: &Tensor, want: &Tensor) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let power = |t: Tensor| t.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
    let difference = power((wide(got) - wide(want)).unwrap()) / power(wide(want));
    assert!(difference < 1e-5, "{what}: {difference:e}");
}

#[test]
fn the_denoiser_of_sdxl_reads_pooled_text_and_sizes() {
    let expected = expected();
    let added = AddedText {
        pooled: expected["pooled"].clone(),
        time_ids: expected["ids"].to_dtype(DType::F64).unwrap().to_vec1().unwrap(),
    };
    let conditions = Conditions { added: Some(added), ..Conditions::plain(expected["prompt"].clone()) };
    let got = unet("sdxl").forward(&expected["x"], 300.25, &conditions, None, None, &TaskCx::detached()).unwrap();
    check("sdxl", &got, &expected["sdxl"]);
    let plain = Conditions::plain(expected["prompt"].clone());
    let error = unet("sdxl").forward(&expected["x"], 300.25, &plain, None, None, &TaskCx::detached()).err().unwrap();
    assert!(error.to_string().contains("pooled text"), "{error}");
}

#[test]
fn the_denoiser_of_lcm_reads_its_guidance_scale() {
    let expected = expected();
    let net = unet("lcm");
    for (scale, name) in [(Some(7.5), "lcm.7.5"), (Some(1.0), "lcm.1.0"), (None, "lcm.1.0")] {
        let conditions = Conditions { guidance: scale, ..Conditions::plain(expected["prompt"].clone()) };
        let got = net.forward(&expected["x"], 499.0, &conditions, None, None, &TaskCx::detached()).unwrap();
        check(name, &got, &expected[name]);
    }
}

#[test]
fn a_control_net_steers_a_denoiser() {
    let expected = expected();
    let control = ControlNet::load(&files("control"), DType::F32, &Device::Cpu).unwrap();
    let (net, conditions, cx) = (unet("plain"), Conditions::plain(expected["prompt"].clone()), TaskCx::detached());
    let hint = control.hint(&expected["picture"], &cx).unwrap();
    let residuals = |scale: f64| control.forward(&expected["x"], 120.0, &conditions, &hint, scale, &cx).unwrap();
    let steered =
        |residuals: &Residuals| net.forward(&expected["x"], 120.0, &conditions, Some(residuals), None, &cx).unwrap();
    check("one", &steered(&residuals(0.7)), &expected["controlled"]);
    let halves = Residuals::sum(&[residuals(0.3), residuals(0.4)]).unwrap().unwrap();
    check("two halves", &steered(&halves), &expected["controlled"]);
    let other = unet("sdxl").forward(&expected["x"], 120.0, &conditions, Some(&residuals(1.0)), None, &cx);
    assert!(other.is_err());
}

#[test]
fn the_tiny_autoencoder_equals_diffusers() {
    let expected = expected();
    let tiny = TinyVae::load(&files("tiny"), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    assert_eq!(tiny.factor(), 4);
    let cx = TaskCx::detached();
    let picture = ((&expected["picture"] * 2.0).unwrap() - 1.0).unwrap();
    check("latents", &tiny.encode(&picture, &cx).unwrap(), &expected["tiny.latents"]);
    check("decoded", &tiny.decode(&expected["x"], &cx).unwrap(), &expected["tiny.decoded"]);
}
