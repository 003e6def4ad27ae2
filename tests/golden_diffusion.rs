//! Every number of the diffusion side against PyTorch, diffusers and transformers, on tiny seeded nets.
//!
//! `tests/golden/diffusion/make.py` made the files. Tolerances are relative to the largest number that is expected.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use maquette::base::cancel::CancelFlag;
use maquette::base::geom::Extent;
use maquette::base::pixels::{Mask, Picture};
use maquette::base::task::{Progress, TaskCx, TaskHost};
use maquette::job::ModelRef;
use maquette::job::nets::OtherNets;
use maquette::job::sampling::{Sampler, Sampling};
use maquette::job::spec::{GenerateSpec, InitSpec};
use maquette::models::ModelError;
use maquette::models::clip::TextTower;
use maquette::models::diffusion::{Conditions, Unet, Vae};
use maquette::models::error::Result;
use maquette::models::files::ModelFiles;
use maquette::models::hook::{AttentionHook, Site};
use maquette::models::rng::TorchRng;
use maquette::models::schedulers::{SchedulerConfig, Walk};
use maquette::models::tokenizer::ClipTokenizer;
use maquette::pipelines::Diffusion;
use serde_json::Value;

#[path = "golden/brownian.rs"]
mod brownian;
#[path = "golden/samplers.rs"]
mod samplers;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diffusion").join(name)
}

fn files(name: &str) -> ModelFiles {
    ModelFiles::Folder(folder(name))
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder("expected.safetensors"), &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn check(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(1e-12f64, |m, v| m.max(v.abs()));
    // A NaN must not pass: it is larger than every tolerance.
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0f64, |m, d| if d <= m { m } else { d });
    assert!(worst <= tolerance * largest, "{what}: off by {worst:e}, largest {largest:e}");
}

fn check_tensor(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    check(what, &numbers(got), &numbers(want), tolerance);
}

fn spec(prompt: &str, sampler: Sampler, steps: u32, guidance: f32, side: u32) -> GenerateSpec {
    GenerateSpec {
        model: ModelRef::builtin(),
        prompt: prompt.to_owned(),
        negative: "blurry".to_owned(),
        sampling: Sampling {
            sampler: Some(sampler),
            steps,
            guidance,
            seed: 11,
            size: Extent::new(side, side),
            ..Sampling::default()
        },
        count: 1,
        init: None,
        noise: None,
        nets: OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    }
}

fn tiny() -> Diffusion {
    Diffusion::load(&files("sd1"), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap()
}

#[test]
fn random_numbers_are_those_of_torch() {
    let expected = expected();
    for (name, want) in expected.iter().filter(|(name, _)| name.starts_with("randn.") && *name != "randn.mixed") {
        let mut parts = name.split('.').skip(1);
        let (seed, count): (u64, usize) =
            (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap());
        let got: Vec<f64> = TorchRng::new(seed).randn(count).into_iter().map(f64::from).collect();
        check(name, &got, &numbers(want), 5e-7);
    }
    let mut rng = TorchRng::new(3);
    let got: Vec<f64> = [3, 20, 4, 16, 1].into_iter().flat_map(|n| rng.randn(n)).map(f64::from).collect();
    check("mixed", &got, &numbers(&expected["randn.mixed"]), 5e-7);
}

/// Counts the attention layers and watches one of them.
struct Watcher {
    shapes: Vec<(Site, Vec<usize>)>,
}

impl AttentionHook for Watcher {
    fn wants(&self, site: Site) -> bool {
        site.is_cross
    }

    fn bias(&self, _: Site) -> Option<&Tensor> {
        None
    }

    fn observe(&mut self, site: Site, probabilities: &Tensor) -> Result<()> {
        check(
            "rows sum to one",
            &numbers(&probabilities.sum_keepdim(3).unwrap().get(0).unwrap().max(1).unwrap().max(0).unwrap()),
            &[1.0],
            1e-5,
        );
        self.shapes.push((site, probabilities.dims().to_vec()));
        Ok(())
    }
}

#[test]
fn denoising_nets_equal_diffusers() {
    let expected = expected();
    for kind in ["sd1", "sd2"] {
        let unet = Unet::load(&files(&format!("{kind}/unet")), DType::F32, &Device::Cpu).unwrap();
        let (x, prompt) = (&expected[&format!("{kind}.unet.x")], &expected[&format!("{kind}.unet.prompt")]);
        for (i, timestep) in [0.0, 500.5, 999.0].into_iter().enumerate() {
            let name = format!("{kind}.unet.{i}");
            let got =
                unet.forward(x, timestep, &Conditions::plain(prompt.clone()), None, None, &TaskCx::detached()).unwrap();
            check_tensor(&name, &got, &expected[&name], 2e-5);
        }
        let odd = |what: &str| &expected[&format!("{kind}.unet.odd{what}")];
        let conditions = Conditions::plain(odd(".prompt").clone());
        let got = unet.forward(odd(".x"), 500.0, &conditions, None, None, &TaskCx::detached()).unwrap();
        check_tensor("sides that cannot be halved", &got, odd(""), 2e-5);
    }
}

#[test]
fn attention_can_be_watched() {
    let expected = expected();
    let unet = Unet::load(&files("sd1/unet"), DType::F32, &Device::Cpu).unwrap();
    let mut watcher = Watcher { shapes: Vec::new() };
    let (x, prompt) = (&expected["sd1.unet.x"], &expected["sd1.unet.prompt"]);
    unet.forward(x, 10.0, &Conditions::plain(prompt.clone()), None, Some(&mut watcher), &TaskCx::detached()).unwrap();
    let seen: Vec<_> = watcher.shapes.iter().map(|(site, shape)| (site.layer, shape[2], shape[3])).collect();
    assert_eq!(seen, [(1, 64, 16), (3, 16, 16), (5, 64, 16), (7, 64, 16)]);
}

#[test]
fn autoencoders_equal_diffusers() {
    let expected = expected();
    for (kind, path) in [("sd1", "sd1/vae"), ("sd2", "sd2/vae"), ("sd1", "old_vae")] {
        let vae = Vae::load(&files(path), DType::F32, &Device::Cpu).unwrap();
        let get = |name: &str| &expected[&format!("{kind}.vae.{name}")];
        let cx = TaskCx::detached();
        check_tensor(path, &vae.encode_mean(get("picture"), &cx).unwrap(), get("mean"), 2e-5);
        check_tensor(path, &vae.decode(get("z"), &cx).unwrap(), get("decoded"), 2e-5);
    }
}

#[test]
fn text_states_equal_transformers() {
    let expected = expected();
    let tower =
        TextTower::load_folder(&files("sd1/text_encoder"), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    let tokenizer = ClipTokenizer::load(&files("sd1/tokenizer")).unwrap();
    for (text, name) in [("A  red cube", "text.prompt"), ("blurry", "text.negative")] {
        let ids = tokenizer.encode_padded(text).unwrap().ids;
        check_tensor(name, &tower.forward(&[ids], &TaskCx::detached()).unwrap(), &expected[name], 2e-5);
    }
}

/// Runs `case` of trajectories.json as make.py ran it; the samples after each step.
fn walk_through(case: &Value, config: &SchedulerConfig) -> (Walk, Vec<Vec<f64>>) {
    let sampler: Sampler = case["sampler"].as_str().unwrap().parse().unwrap();
    let mut walk = Walk::new(sampler, config, case["steps"].as_u64().unwrap() as usize);
    let mut rng = TorchRng::new(7);
    let mut sample = (wide(rng.randn_tensor(16, &Device::Cpu).unwrap()) * walk.init_scale()).unwrap();
    let mut samples = vec![numbers(&sample)];
    let places = Tensor::arange(0f64, 16f64, &Device::Cpu).unwrap();
    for index in 0..walk.timesteps().len() {
        let waves = (((&places * 0.7).unwrap() + index as f64).unwrap().cos().unwrap() * 0.5).unwrap();
        let shift = walk.timesteps()[index] / 2000.0;
        let seen = walk.net_input(&sample, index).unwrap();
        let answer = (((seen * 0.4).unwrap() + waves).unwrap() + shift).unwrap();
        let noise = walk.fresh(index).map(|_| rng.randn_tensor(16, &Device::Cpu).unwrap());
        sample = walk.step(&answer, index, &sample, noise.as_ref()).unwrap().sample;
        samples.push(numbers(&sample));
    }
    (walk, samples)
}

fn wide(tensor: Tensor) -> Tensor {
    tensor.to_dtype(DType::F64).unwrap()
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn samplers_equal_diffusers() {
    let cases: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(folder("trajectories.json")).unwrap()).unwrap();
    assert!(cases.len() > 40);
    let mut wrong = Vec::new();
    for case in &cases {
        let what = format!("{} {} {}", case["sampler"], case["steps"], case["config"]);
        let config: SchedulerConfig = serde_json::from_value(case["config"].clone()).unwrap();
        let compared = std::panic::catch_unwind(|| {
            let (walk, samples) = walk_through(case, &config);
            check("timesteps", walk.timesteps(), &list(&case["timesteps"]), 1e-6);
            check("start", &samples[0], &list(&case["start"]), 2e-5);
            let last = samples.len() - 1;
            let want = case["samples"].as_array().unwrap();
            // diffusers computes in 32 bits: from a start of thousands its own rounding is larger than what is left.
            let largest = samples[0].iter().fold(1f64, |m, v| m.max(v.abs()));
            let tolerance = 5e-5 + 2e-7 * largest;
            for (at, want) in [1, last - 1, last].into_iter().zip(want) {
                check(&format!("after step {at} of {last}"), &samples[at], &list(want), tolerance);
            }
            let (one, two) =
                (Tensor::ones(1, DType::F32, &Device::Cpu).unwrap(), Tensor::new(&[2f32], &Device::Cpu).unwrap());
            let noised = walk.noised_before(&one, &two, walk.timesteps().len() / 2).unwrap();
            check("noised", &numbers(&noised), &[case["noised"].as_f64().unwrap()], 2e-5);
        });
        if let Err(error) = compared {
            wrong.push(format!("{what}: {}", error.downcast_ref::<String>().cloned().unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn no_setting_gives_anything_but_numbers() {
    for sampler in Sampler::ALL {
        for prediction in ["epsilon", "v_prediction", "sample"] {
            for spacing in ["leading", "trailing", "linspace"] {
                for schedule in ["linear", "scaled_linear", "squaredcos_cap_v2"] {
                    for steps in [1, 2, 15, 1000] {
                        let config = serde_json::json!({
                            "prediction_type": prediction, "timestep_spacing": spacing, "beta_schedule": schedule,
                            "rescale_betas_zero_snr": true, "steps_offset": 1, "set_alpha_to_one": false,
                        });
                        let case = serde_json::json!({"sampler": sampler.id(), "steps": steps});
                        let config = serde_json::from_value(config).unwrap();
                        let (_, samples) = walk_through(&case, &config);
                        let last = samples.last().unwrap();
                        assert!(
                            last.iter().all(|v| v.is_finite()),
                            "{sampler:?} {prediction} {spacing} {schedule} {steps}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn strength_starts_where_diffusers_starts() {
    let config = SchedulerConfig::load(&files("sd1/scheduler")).unwrap();
    let expected = expected();
    let mut seen = 0;
    for (name, want) in &expected {
        let Some((steps, strength)) = name.strip_prefix("strength.").and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        let walk = Walk::new(Sampler::Ddim, &config, steps.parse().unwrap());
        let first = walk.start_for(strength.parse().unwrap());
        check(name, &walk.timesteps()[first..], &numbers(want), 1e-6);
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn pictures_equal_those_of_the_diffusers_pipeline() {
    let (diffusion, expected) = (tiny(), expected());
    for sampler in [Sampler::Ddim, Sampler::Euler, Sampler::EulerAncestral, Sampler::DpmPlusPlus2M] {
        let got = diffusion.generate(&spec("a red cube", sampler, 4, 3.0, 16), &TaskCx::detached()).unwrap();
        let want = numbers(&expected[&format!("pipeline.{}", sampler.id())]);
        let (seed, picture) = &got.pictures[0];
        assert_eq!((*seed, picture.extent()), (11, Extent::new(16, 16)));
        assert!(got.remarks.is_empty(), "{:?}", got.remarks);
        let want = |at: usize, channel: usize| ((want[channel * 256 + at] / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round();
        let differ = (0..256 * 3).filter(|i| f64::from(picture.rgb()[*i]) != want(i / 3, i % 3));
        let off = (0..256 * 3).map(|i| (f64::from(picture.rgb()[i]) - want(i / 3, i % 3)).abs()).fold(0.0, f64::max);
        // A value on the border between two bytes may fall to either side.
        assert!(off <= 1.0 && differ.count() <= 2, "{sampler:?} differs by {off}");
    }
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let diffusion = tiny();
    let request = GenerateSpec { count: 2, ..spec("a red cube", Sampler::EulerAncestral, 3, 3.0, 32) };
    let run = || diffusion.generate(&request, &TaskCx::detached()).unwrap();
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    assert_eq!(first.pictures.iter().map(|(seed, _)| *seed).collect::<Vec<_>>(), [11, 12]);
    assert_ne!(first.pictures[0].1, first.pictures[1].1);
    let alone =
        GenerateSpec { sampling: Sampling { seed: 12, ..request.sampling.clone() }, count: 1, ..request.clone() };
    assert_eq!(diffusion.generate(&alone, &TaskCx::detached()).unwrap().pictures[0], first.pictures[1]);
}

fn ramp(width: u32, height: u32) -> Picture {
    Picture::from_fn(Extent::new(width, height), |x, y| [(x * 5) as u8, (y * 7) as u8, (x ^ y) as u8])
}

#[test]
fn inpainting_changes_nothing_outside_the_mask() {
    let diffusion = tiny();
    for (width, height) in [(16, 16), (61, 47), (9, 5)] {
        let picture = ramp(width, height);
        let coverage: Vec<u8> = (0..width * height)
            .map(|i| match (i % width, i / width) {
                (3..8, 2..5) => 255,
                (8, 2..5) => 90,
                _ => 0,
            })
            .collect();
        let mask = Mask::from_coverage(picture.extent(), &coverage);
        let init = InitSpec { picture: picture.clone(), mask: Some(mask), strength: 1.0 };
        for sampler in Sampler::ALL {
            let request = GenerateSpec { init: Some(init.clone()), ..spec("a red cube", sampler, 3, 3.0, 16) };
            let made = diffusion.generate(&request, &TaskCx::detached()).unwrap();
            let painted = &made.pictures[0].1;
            assert_eq!(painted.extent(), picture.extent());
            let pixels = picture.rgb().chunks(3).zip(painted.rgb().chunks(3)).zip(&coverage);
            assert!(pixels.clone().filter(|(_, c)| **c == 0).all(|((a, b), _)| a == b), "{sampler:?} {width}x{height}");
            assert!(pixels.clone().any(|((a, b), _)| a != b), "{sampler:?} {width}x{height}");
        }
    }
}

#[test]
fn strength_zero_keeps_the_picture() {
    let diffusion = tiny();
    let init = InitSpec { picture: ramp(16, 16), mask: None, strength: 0.0 };
    let request = GenerateSpec { init: Some(init), ..spec("a red cube", Sampler::Euler, 4, 3.0, 16) };
    assert_eq!(diffusion.generate(&request, &TaskCx::detached()).unwrap().pictures[0].1, ramp(16, 16));
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let diffusion = tiny();
    let good = || spec("a red cube", Sampler::Euler, 2, 3.0, 16);
    let init = |strength: f32, mask: Option<Mask>| Some(InitSpec { picture: ramp(16, 16), mask, strength });
    let sampling = |change: fn(&mut Sampling)| {
        let mut request = good();
        change(&mut request.sampling);
        request
    };
    let bad = [
        sampling(|s| s.steps = 0),
        sampling(|s| s.steps = 100_000),
        sampling(|s| s.guidance = f32::NAN),
        sampling(|s| s.size = Extent::new(0, 16)),
        sampling(|s| s.size = Extent::new(16, 5000)),
        GenerateSpec { init: init(f32::NAN, None), ..good() },
        GenerateSpec { init: init(1.5, None), ..good() },
        GenerateSpec { init: init(0.5, Some(Mask::empty(Extent::new(16, 16)))), ..good() },
        GenerateSpec { init: init(0.5, Some(Mask::from_coverage(Extent::new(3, 3), &[255; 9]))), ..good() },
    ];
    for request in bad {
        let made = diffusion.generate(&request, &TaskCx::detached());
        assert!(matches!(made, Err(ModelError::BadInput(_))), "{request:?} gave {made:?}");
    }
    let rounded = diffusion.generate(&spec("a red cube", Sampler::Euler, 1, 1.0, 17), &TaskCx::detached()).unwrap();
    assert_eq!((rounded.pictures[0].1.extent(), rounded.remarks.len()), (Extent::new(18, 18), 1));
    let long = diffusion.generate(&spec(&"cube ".repeat(20), Sampler::Euler, 1, 1.0, 16), &TaskCx::detached()).unwrap();
    assert!(long.remarks.is_empty(), "{:?}", long.remarks);
}

/// Sees everything, and stops the task when it has seen enough.
struct Audience {
    cancel: CancelFlag,
    patience: usize,
    seen: RefCell<Vec<Progress>>,
}

impl TaskHost for Audience {
    fn progress(&self, progress: Progress) {
        self.seen.borrow_mut().push(progress);
        if self.seen.borrow().len() >= self.patience {
            self.cancel.cancel();
        }
    }

    fn wants_progress(&self) -> bool {
        true
    }

    fn serve_urgent(&self) {}
}

#[test]
fn progress_counts_every_step_and_shows_what_becomes_of_it() {
    let diffusion = tiny();
    let request = GenerateSpec { count: 2, ..spec("a red cube", Sampler::DpmPlusPlus2M, 3, 3.0, 16) };
    let watch = |patience: usize| {
        let host = Audience { cancel: CancelFlag::default(), patience, seen: RefCell::default() };
        let made = diffusion.generate(&request, &TaskCx::new(host.cancel.clone(), &host));
        (made, host.seen.into_inner())
    };
    let (made, seen) = watch(usize::MAX);
    assert_eq!(made.unwrap(), diffusion.generate(&request, &TaskCx::detached()).unwrap());
    let steps: Vec<_> = seen.iter().filter(|p| p.stage == "Denoising").collect();
    assert_eq!(
        steps.iter().map(|p| (p.done, p.total)).collect::<Vec<_>>(),
        (1..=6).map(|i| (i, 6)).collect::<Vec<_>>()
    );
    assert!(steps.iter().all(|p| p.preview.as_ref().is_some_and(|preview| preview.extent() == Extent::new(8, 8))));
    let (made, seen) = watch(3);
    assert!(matches!(made, Err(ModelError::Cancelled)), "{made:?}");
    assert_eq!(seen.len(), 3);
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let picture = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let made = tiny().generate(&spec("a red cube", Sampler::Euler, 2, 3.0, 64), &TaskCx::detached()).unwrap();
            made.pictures[0].1.clone()
        })
    };
    let alone = picture(1);
    assert!([2, 3].into_iter().all(|threads| picture(threads) == alone));
}
