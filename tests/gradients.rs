//! Gradients through every kernel and through whole small nets, in 32 bits, compared with central differences in 64 bits; and that
//! none is computed for weights that are frozen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use maquette::base::task::TaskCx;
use maquette::models::Result;
use maquette::models::clip::ClipModel;
use maquette::models::diffusion::{Conditions, Unet, Vae};
use maquette::models::files::ModelFiles;
use maquette::models::hook::{AttentionHook, Hooks, Site};
use maquette::models::kernels::{
    Activation, Attending, Conv1x1, Conv3x3, Geometry, GroupNorm, LayerNorm, Linear, attention, doubled, geglu, joined,
    multiply_in_bf16, shifted, sum,
};
use maquette::models::rng::TorchRng;

/// Random numbers of unit variance, in 64 bits but equal to what 32 bits can hold.
fn random(seed: u64, shape: &[usize]) -> Tensor {
    let numbers = TorchRng::new(seed).randn(shape.iter().product());
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap()
}

fn as_f32(xs: &Tensor) -> Tensor {
    xs.to_dtype(DType::F32).unwrap()
}

/// Something that depends on every number of `out` in a curved way.
fn loss(out: &Tensor) -> Tensor {
    (out * 0.7).unwrap().sin().unwrap().sum_all().unwrap()
}

/// The gradients in 32 bits, by all of `inputs`. Nothing else may have got one.
fn gradients(inputs: &[Tensor], net: impl Fn(&[Tensor]) -> Result<Tensor>) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs.iter().map(|xs| Var::from_tensor(&as_f32(xs)).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let store: GradStore = loss(&net(&tensors).unwrap()).backward().unwrap();
    assert_eq!(store.get_ids().count(), vars.len(), "gradients were computed for what nobody asked for");
    vars.iter().map(|var| store.get(var).expect("every input has a gradient").clone()).collect()
}

/// The relative root mean square difference of gradients in 32 bits from central differences of the same function in 64 bits, over
/// at most `most` numbers of each input.
fn difference(
    inputs: &[Tensor],
    most: usize,
    narrow: impl Fn(&[Tensor]) -> Result<Tensor>,
    wide: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> f64 {
    const STEP: f64 = 1e-5;
    let got = gradients(inputs, narrow);
    let mut worst = 0f64;
    for (index, (input, got)) in inputs.iter().zip(got).enumerate() {
        assert_eq!(input.dims(), got.dims());
        let got: Vec<f32> = got.flatten_all().unwrap().to_vec1().unwrap();
        let numbers: Vec<f64> = input.flatten_all().unwrap().to_vec1().unwrap();
        let at = |place: usize, step: f64| -> f64 {
            let mut moved = numbers.clone();
            moved[place] += step;
            let mut all = inputs.to_vec();
            all[index] = Tensor::from_vec(moved, input.shape(), &Device::Cpu).unwrap();
            loss(&wide(&all).unwrap()).to_scalar().unwrap()
        };
        let (mut error, mut energy) = (0f64, 0f64);
        for place in (0..numbers.len()).step_by(numbers.len().div_ceil(most)) {
            let want = (at(place, STEP) - at(place, -STEP)) / (2.0 * STEP);
            error += (f64::from(got[place]) - want).powi(2);
            energy += want * want;
        }
        assert!(energy > 1e-12, "input {index} changes nothing");
        worst = worst.max((error / energy).sqrt());
    }
    worst
}

/// Expects as much of a function that is one for both kinds of numbers.
fn check(what: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let worst = difference(inputs, 200, &f, &f);
    assert!(worst < 2e-5, "{what}: {worst:e}");
}

#[test]
fn linear_layers_and_convolutions() {
    let (weight, bias) = (random(1, &[37, 19]), random(2, &[37]));
    let linear = |xs: &[Tensor]| {
        let like = |t: &Tensor| t.to_dtype(xs[0].dtype()).unwrap();
        Linear::new(&like(&weight), Some(&like(&bias)))?.forward(&xs[0])
    };
    check("linear", &[random(3, &[2, 5, 19])], linear);
    let halving = Geometry { stride: 2, ..Geometry::SAME };
    let lopsided = Geometry { stride: 2, before: 0, after: 1 };
    for (geometry, height, width) in
        [Geometry::SAME, halving, lopsided].into_iter().flat_map(|g| [(5, 8), (6, 7), (14, 14)].map(|(h, w)| (g, h, w)))
    {
        let (weight, bias) = (random(4, &[7, 5, 3, 3]), random(5, &[7]));
        let conv = |xs: &[Tensor]| {
            let like = |t: &Tensor| t.to_dtype(xs[0].dtype()).unwrap();
            Conv3x3::new(&(like(&weight) * 0.2)?, Some(&like(&bias)), geometry)?.forward(&xs[0])
        };
        check(&format!("{geometry:?} {height}x{width}"), &[random(6, &[2, 5, height, width])], conv);
    }
    let weight = random(7, &[3, 9, 1, 1]);
    let conv = |xs: &[Tensor]| Conv1x1::new(&weight.to_dtype(xs[0].dtype())?, None, Geometry::POINT)?.forward(&xs[0]);
    check("1x1", &[random(8, &[1, 9, 4, 6])], conv);
}

#[test]
fn a_large_convolution_by_winograd() {
    let weight = (random(1, &[40, 48, 3, 3]) * 0.05).unwrap();
    let conv = |xs: &[Tensor]| Conv3x3::new(&weight.to_dtype(xs[0].dtype())?, None, Geometry::SAME)?.forward(&xs[0]);
    let worst = difference(&[random(2, &[1, 48, 24, 24])], 12, conv, conv);
    assert!(worst < 2e-5, "{worst:e}");
}

#[test]
fn norms() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = HashMap::from([("weight", random(1, &[12])), ("bias", random(2, &[12]))]);
    candle_core::safetensors::save(&tensors, folder.path().join("x.safetensors")).unwrap();
    let (files, cx) = (ModelFiles::Folder(folder.path().to_owned()), TaskCx::detached());
    let vb = |xs: &[Tensor]| files.tensors("x.safetensors", xs[0].dtype(), &Device::Cpu, &cx);
    let layer = |xs: &[Tensor]| LayerNorm::load(12, 1e-5, &vb(xs)?)?.forward(&xs[0]);
    check("layer norm", &[random(3, &[3, 4, 12])], layer);
    let group = |xs: &[Tensor]| GroupNorm::load(4, 12, 1e-5, &vb(xs)?)?.forward(&xs[0]);
    check("group norm", &[random(4, &[2, 12, 3, 5])], group);
    let silu = |xs: &[Tensor]| GroupNorm::load(4, 12, 1e-5, &vb(xs)?)?.forward_silu(&xs[0]);
    check("group norm and silu", &[random(4, &[2, 12, 3, 5])], silu);
}

#[test]
fn activations_and_sums() {
    for activation in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
        check(&format!("{activation:?}"), &[random(1, &[3, 30])], |xs| activation.forward(&xs[0]));
    }
    check("geglu", &[random(2, &[3, 30])], |xs| geglu(&xs[0]));
    let cx = TaskCx::detached();
    check("sum of two", &[random(3, &[2, 30]), random(4, &[2, 30])], |xs| sum(&xs[0], &xs[1], &cx));
    let other = random(5, &[1, 2, 3, 4]);
    let like = |xs: &[Tensor]| other.to_dtype(xs[0].dtype()).unwrap();
    check("sum", &[random(6, &[1, 2, 3, 4])], |xs| sum(&like(xs), &xs[0], &cx));
    check("shifted", &[random(7, &[2, 2, 3, 4])], |xs| shifted(&xs[0], &like(xs)));
    check("joined", &[random(8, &[1, 5, 3, 4])], |xs| joined([&xs[0], &like(xs)], 1));
    check("joined behind", &[random(9, &[1, 5, 3, 4])], |xs| joined([&like(xs), &xs[0]], 1));
    // The input is used twice: what comes back is added up.
    check("doubled", &[random(10, &[2, 3, 4, 5])], |xs| {
        Ok((doubled(&xs[0], &cx)?.mean_keepdim(3)?.broadcast_mul(&xs[0].sum_keepdim((2, 3))?))?)
    });
}

/// Steers every layer.
struct Steering(Tensor);

impl AttentionHook for Steering {
    fn wants(&self, _: Site) -> bool {
        false
    }

    fn bias(&self, _: Site) -> Option<&Tensor> {
        Some(&self.0)
    }

    fn observe(&mut self, _: Site, _: &Tensor) -> Result<()> {
        Ok(())
    }
}

#[test]
fn attention_with_and_without_a_hook() {
    for (queries, keys, is_causal) in [(5, 9, false), (7, 7, true), (1, 1, false)] {
        let inputs = [random(1, &[2, queries, 12]), random(2, &[2, keys, 12]), random(3, &[2, keys, 12])];
        let attending = Attending { heads: 3, is_causal, is_cross: !is_causal };
        let plain = |xs: &[Tensor]| attention(&xs[0], &xs[1], &xs[2], attending, &mut Hooks::none());
        let bias = random(4, &[1, 1, queries, keys]);
        let steered = |xs: &[Tensor]| {
            let mut hook = Steering(bias.to_dtype(xs[0].dtype())?);
            attention(&xs[0], &xs[1], &xs[2], attending, &mut Hooks::new(Some(&mut hook)))
        };
        if keys > 1 {
            check("attention", &inputs, plain);
            check("steered attention", &inputs, steered);
        }
        let values = |xs: &[Tensor]| {
            let like = |t: &Tensor| t.to_dtype(xs[0].dtype());
            attention(&like(&inputs[0])?, &like(&inputs[1])?, &xs[0], attending, &mut Hooks::none())
        };
        check("values alone", &inputs[2..], values);
    }
}

#[test]
fn weights_that_are_variables_learn() {
    let (weight, taps) = (random(1, &[6, 4]), (random(2, &[3, 2, 3, 3]) * 0.3).unwrap());
    let xs = random(3, &[5, 4]);
    let linear = |ws: &[Tensor]| Linear::new(&ws[0], None)?.forward(&xs.to_dtype(ws[0].dtype())?.affine(1.0, 0.0)?);
    let picture = random(4, &[1, 2, 5, 5]);
    let conv = |ws: &[Tensor]| Conv3x3::new(&ws[0], None, Geometry::SAME)?.forward(&picture.to_dtype(ws[0].dtype())?);
    for (what, start, net) in
        [("linear", weight, &linear as &dyn Fn(&[Tensor]) -> Result<Tensor>), ("convolution", taps, &conv)]
    {
        let var = Var::from_tensor(&as_f32(&start)).unwrap();
        let store = loss(&net(&[var.as_tensor().clone()]).unwrap()).backward().unwrap();
        let got: Vec<f32> = store.get(&var).expect("a gradient").flatten_all().unwrap().to_vec1().unwrap();
        let numbers: Vec<f64> = start.flatten_all().unwrap().to_vec1().unwrap();
        for (place, got) in got.iter().enumerate() {
            let at = |step: f64| -> f64 {
                let mut moved = numbers.clone();
                moved[place] += step;
                loss(&net(&[Tensor::from_vec(moved, start.shape(), &Device::Cpu).unwrap()]).unwrap())
                    .to_scalar()
                    .unwrap()
            };
            let want = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((f64::from(*got) - want).abs() < 1e-4, "{what}: {got} where differences give {want}");
        }
    }
}

fn golden(name: &str) -> ModelFiles {
    ModelFiles::Folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name))
}

#[test]
fn both_towers_of_a_whole_clip_and_of_a_siglip() {
    for name in ["clip/quick", "clip/erf", "clip_family/siglip"] {
        let load = |dtype| ClipModel::load(&golden(name), dtype, &Device::Cpu).unwrap();
        let (narrow, wide) = (load(DType::F32), load(DType::F64));
        let clip = |xs: &Tensor| if xs.dtype() == DType::F32 { &narrow } else { &wide };
        let cx = TaskCx::detached();
        let length = narrow.text.max_length().min(6);
        let ids = [vec![1u32; length]];
        let text = |xs: &[Tensor]| {
            let tower = &clip(&xs[0]).text;
            let states = tower.forward_embedded(&xs[0], &mut Hooks::none(), &cx)?;
            tower.project(&tower.pool(&states, &ids)?)
        };
        let embeddings = (random(1, &[1, length, narrow.text.width()]) * 0.5).unwrap();
        let states = |xs: &[Tensor]| clip(&xs[0]).text.forward_embedded(&xs[0], &mut Hooks::none(), &cx);
        let worst = difference(std::slice::from_ref(&embeddings), 60, states, states);
        assert!(worst < 1e-4, "{name}, text: {worst:e}");
        let worst = difference(&[embeddings], 60, text, text);
        assert!(worst < 1e-4, "{name}, pooled text: {worst:e}");
        let side = narrow.vision.image_size();
        let picture = |xs: &[Tensor]| Ok(clip(&xs[0]).vision.forward(&xs[0], &cx)?.pooled);
        let worst = difference(&[random(2, &[1, 3, side, side])], 60, picture, picture);
        assert!(worst < 1e-4, "{name}, picture: {worst:e}");
    }
}

#[test]
fn a_whole_denoising_net_by_latents_and_prompt_and_an_autoencoder() {
    let load = |dtype| Unet::load(&golden("diffusion/sd1/unet"), dtype, &Device::Cpu).unwrap();
    let (narrow, wide) = (load(DType::F32), load(DType::F64));
    let cx = TaskCx::detached();
    let unet = |xs: &[Tensor]| {
        let net = if xs[0].dtype() == DType::F32 { &narrow } else { &wide };
        net.forward(&xs[0], 321.0, &Conditions::plain(xs[1].clone()), None, None, &cx)
    };
    let config = narrow.config();
    let latents = random(1, &[1, config.in_channels, 8, 8]);
    let prompt = random(2, &[1, 7, config.cross_attention_dim]);
    let worst = difference(&[latents.clone(), prompt.clone()], 40, unet, unet);
    assert!(worst < 2e-4, "latents and prompt: {worst:e}");
    // By the prompt alone: pixels that do not depend on it get none.
    let by_prompt = |xs: &[Tensor]| unet(&[latents.to_dtype(xs[0].dtype())?, xs[0].clone()]);
    let worst = difference(&[prompt], 40, by_prompt, by_prompt);
    assert!(worst < 2e-4, "prompt: {worst:e}");
    let load = |dtype| Vae::load(&golden("diffusion/sd1/vae"), dtype, &Device::Cpu).unwrap();
    let (narrow, wide) = (load(DType::F32), load(DType::F64));
    let vae = |xs: &Tensor| if xs.dtype() == DType::F32 { &narrow } else { &wide };
    let decode = |xs: &[Tensor]| vae(&xs[0]).decode(&xs[0], &cx);
    let latents = (random(3, &[1, narrow.latent_channels(), 4, 4]) * 0.3).unwrap();
    let worst = difference(&[latents], 40, decode, decode);
    assert!(worst < 2e-4, "decoded: {worst:e}");
    let encode = |xs: &[Tensor]| vae(&xs[0]).encode_mean(&xs[0], &cx);
    let side = 4 * narrow.factor();
    let worst = difference(&[random(4, &[1, 3, side, side])], 40, encode, encode);
    assert!(worst < 2e-4, "encoded: {worst:e}");
}

#[test]
fn in_bf16_they_are_near_those_in_32_bits() {
    let (pictures, rows) = (random(1, &[2, 40, 9, 7]), random(2, &[2, 30, 40]));
    let weight = |seed, shape: &[usize]| (as_f32(&random(seed, shape)) * 0.1).unwrap();
    let by = |is_in_bf16: bool| {
        multiply_in_bf16(is_in_bf16);
        let conv = Conv3x3::new(&weight(3, &[50, 40, 3, 3]), None, Geometry::SAME).unwrap();
        let point = Conv1x1::new(&weight(4, &[50, 40, 1, 1]), None, Geometry::POINT).unwrap();
        let linear = Linear::new(&weight(5, &[50, 40]), None).unwrap();
        let attending = Attending { heads: 2, is_causal: false, is_cross: false };
        let pictures = std::slice::from_ref(&pictures);
        let found = [
            gradients(pictures, |xs| conv.forward(&xs[0])),
            gradients(pictures, |xs| point.forward(&xs[0])),
            gradients(std::slice::from_ref(&rows), |xs| linear.forward(&xs[0])),
            gradients(&[rows.clone(), rows.clone(), rows.clone()], |xs| {
                attention(&xs[0], &xs[1], &xs[2], attending, &mut Hooks::none())
            }),
        ];
        multiply_in_bf16(false);
        found.concat()
    };
    let energy = |xs: Tensor| xs.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    for (index, (got, want)) in by(true).into_iter().zip(by(false)).enumerate() {
        let error = (energy((got - &want).unwrap()) / energy(want)).sqrt();
        assert!(error < 2e-2 && error > 1e-5, "gradient {index}: {error}");
    }
}
