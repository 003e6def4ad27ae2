//! Every sampler against diffusers: whole walks with an analytic net, and whole pictures of the tiny pipeline.
//!
//! `tests/golden/diffusion/make_samplers.py` made the numbers, and says where they are not diffusers' own.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use maquette::base::task::TaskCx;
use maquette::job::latents::Latents;
use maquette::job::sampling::{RandomSource, Sampler, Sampling, Schedule};
use maquette::job::spec::GenerateSpec;
use maquette::models::schedulers::{Method, Noise, SchedulerConfig, Walk};
use serde_json::Value;

use super::{folder, numbers, spec, tiny};

/// Largest difference, relative to the largest number, after a whole walk.
const TOLERANCE: f64 = 1e-5;

fn tensors() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder("samplers.safetensors"), &Device::Cpu).unwrap()
}

/// NaN where something is not a number, so that it passes no comparison.
fn relative_error(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-12f64, |m, v| m.max(v.abs()));
    got.iter().zip(want).map(|(a, b)| (a - b).abs() / largest).fold(0.0, |m, d| if d <= m { m } else { d })
}

/// The net of make_samplers.py.
fn net(x: &[f64], t: f64) -> Vec<f64> {
    x.iter().enumerate().map(|(i, x)| 0.35 * x + 0.4 * (0.7 * i as f64 + t / 150.0).cos() + 0.2 * t / 1000.0).collect()
}

/// Timesteps and last sample; from pure noise, or from a picture.
fn finish(mut walk: Walk, strength: Option<f64>) -> (Vec<f64>, Vec<f64>) {
    let mut noise = Noise::new(RandomSource::Cpu, 7);
    let tensor = |numbers: Vec<f32>| {
        Tensor::from_vec(numbers, (1, 2, 3, 3), &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap()
    };
    let picture: Vec<f64> = (0..18).map(|i| f64::from(i).cos()).collect();
    let picture = Tensor::from_vec(picture, (1, 2, 3, 3), &Device::Cpu).unwrap();
    let first = strength.map_or(0, |strength| walk.start_for(strength));
    let mut sample = match strength {
        None => (tensor(noise.draw(18)) * walk.init_scale()).unwrap(),
        Some(_) => walk.noised_before(&picture, &tensor(noise.draw(18)), first).unwrap(),
    };
    for index in first..walk.timesteps().len() {
        let seen = numbers(&walk.net_input(&sample, index).unwrap());
        let answer = Tensor::from_vec(net(&seen, walk.timesteps()[index]), (1, 2, 3, 3), &Device::Cpu).unwrap();
        let fresh = walk.fresh(index).map(|fresh| tensor(noise.fresh(fresh, 18)));
        sample = walk.step(&answer, index, &sample, fresh.as_ref()).unwrap().sample;
    }
    (walk.timesteps().to_vec(), numbers(&sample))
}

fn method(case: &Value) -> Method {
    let sampler: Sampler = case["sampler"].as_str().unwrap().parse().unwrap();
    let schedule: Schedule = case["schedule"].as_str().unwrap().parse().unwrap();
    Method { sampler, schedule, eta: case["eta"].as_f64() }
}

fn config(base: &Value, case: &Value) -> SchedulerConfig {
    let mut all = base.clone();
    for (key, value) in case["config"].as_object().unwrap() {
        all[key] = value.clone();
    }
    SchedulerConfig::parse(&all.to_string()).unwrap()
}

#[test]
fn whole_walks_equal_diffusers() {
    let file: Value = serde_json::from_str(&std::fs::read_to_string(folder("samplers.json")).unwrap()).unwrap();
    let tensors = tensors();
    let (finals, timesteps) = (tensors["finals"].to_vec2::<f64>().unwrap(), numbers(&tensors["timesteps"]));
    let cases = file["walks"].as_array().unwrap();
    assert!(cases.len() == finals.len() && cases.len() > 400, "{}", cases.len());
    let (mut timesteps, mut wrong) = (timesteps.as_slice(), Vec::new());
    let mut worst: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for (case, want) in cases.iter().zip(&finals) {
        let (visited, rest) = timesteps.split_at(case["calls"].as_u64().unwrap() as usize);
        timesteps = rest;
        let walk = Walk::new(method(case), &config(&file["base"], case), case["steps"].as_u64().unwrap() as usize);
        if walk.timesteps().len() != visited.len() {
            wrong.push(format!("{case}: {} calls, not {}", walk.timesteps().len(), visited.len()));
            continue;
        }
        let (told, got) = finish(walk, case["strength"].as_f64());
        let (off_by, late_by) = (relative_error(&got, want), relative_error(&told, visited));
        let seen = worst.entry(case["sampler"].to_string()).or_default();
        *seen = (seen.0.max(off_by), seen.1 + 1);
        if off_by.is_nan() || off_by > TOLERANCE || late_by > 1e-6 {
            wrong.push(format!("{case}: off by {off_by:e}, timesteps by {late_by:e}"));
        }
    }
    for (sampler, (off_by, count)) in &worst {
        println!("{sampler}: {count} walks, off by {off_by:.1e} at most");
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn no_schedule_gives_anything_but_numbers() {
    for sampler in Sampler::ALL {
        for schedule in Schedule::ALL {
            for prediction in ["epsilon", "v_prediction", "sample"] {
                for (more, value) in [
                    ("rescale_betas_zero_snr", serde_json::json!(true)),
                    ("final_sigmas_type", "sigma_min".into()),
                    ("lambda_min_clipped", (-1.0).into()),
                    ("lower_order_final", false.into()),
                    ("solver_order", 3.into()),
                    ("num_train_timesteps", 5.into()),
                ] {
                    let mut config = serde_json::json!({"prediction_type": prediction});
                    config[more] = value;
                    let config = SchedulerConfig::parse(&config.to_string()).unwrap();
                    for steps in [1, 2, 5, 40] {
                        for strength in [None, Some(0.5)] {
                            let walk = Walk::new(Method { sampler, schedule, eta: None }, &config, steps);
                            let (_, last) = finish(walk, strength);
                            let what = format!("{sampler:?} {schedule:?} {prediction} {more} {steps} {strength:?}");
                            assert!(last.iter().all(|v| v.is_finite()), "{what}");
                        }
                    }
                }
            }
        }
    }
}

/// Sampler and its parameters of a picture of make_samplers.py.
fn sampling(name: &str) -> Sampling {
    let (sampler, more) = match name.rsplit_once('-') {
        Some((sampler, more @ ("karras" | "exponential" | "eta"))) => (sampler, more),
        _ => (name, ""),
    };
    Sampling {
        sampler: match sampler {
            "own" => None,
            "rescale" => Some(Sampler::Euler),
            _ => Some(sampler.parse().unwrap()),
        },
        schedule: more.parse().unwrap_or_default(),
        eta: (more == "eta").then_some(0.0),
        guidance_rescale: if sampler == "rescale" { 0.7 } else { 0.0 },
        seed: 3,
        ..spec("", Sampler::Euler, 8, 5.0, 16).sampling
    }
}

#[test]
fn whole_pictures_equal_the_diffusers_pipeline() {
    let (diffusion, tensors) = (tiny(), tensors());
    let noise: Vec<f32> = tensors["noise"].flatten_all().unwrap().to_vec1().unwrap();
    let names: Vec<&str> = tensors.keys().filter_map(|key| key.strip_prefix("picture.")).collect();
    assert_eq!(names.len(), 17);
    for name in names {
        let request = GenerateSpec {
            sampling: sampling(name),
            noise: Latents::new([4, 8, 8], noise.clone()),
            ..spec("a red cube", Sampler::Euler, 8, 5.0, 16)
        };
        let made = diffusion.generate(&request, &TaskCx::detached()).unwrap();
        assert!(made.remarks.is_empty(), "{name}: {:?}", made.remarks);
        let got: Vec<f64> = made.latents[0].values().iter().map(|v| f64::from(*v)).collect();
        let want = numbers(&tensors[&format!("picture.{name}")]);
        let power = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let off: Vec<f64> = got.iter().zip(&want).map(|(a, b)| a - b).collect();
        let off_by = power(&off) / power(&want);
        println!("{name}: relative RMS {off_by:.1e}");
        assert!(off_by < 1e-4, "{name}: relative RMS {off_by:e}");
    }
}

#[test]
fn what_a_sampler_does_not_do_is_said() {
    let diffusion = tiny();
    let ask = |change: fn(&mut Sampling)| {
        let mut request = spec("a red cube", Sampler::Euler, 2, 3.0, 16);
        change(&mut request.sampling);
        diffusion.generate(&request, &TaskCx::detached())
    };
    for sampler in Sampler::ALL {
        let mut request = spec("a red cube", sampler, 2, 3.0, 16);
        request.sampling.schedule = Schedule::Karras;
        let remarks = diffusion.generate(&request, &TaskCx::detached()).unwrap().remarks;
        assert_eq!(remarks.is_empty(), sampler.takes_schedule(), "{sampler:?}: {remarks:?}");
    }
    let few = ask(|s| (s.sampler, s.steps) = (Some(Sampler::Lcm), 60)).unwrap();
    assert!(few.remarks[0].contains("no more than 50 steps"), "{:?}", few.remarks);
    assert!(ask(|s| s.guidance_rescale = 1.5).is_err());
    assert!(ask(|s| s.eta = Some(f32::NAN)).is_err());
    let pictures = RandomSource::ALL.map(|rng| {
        let mut request = spec("a red cube", Sampler::EulerAncestral, 2, 3.0, 16);
        request.sampling.rng = rng;
        diffusion.generate(&request, &TaskCx::detached()).unwrap().pictures
    });
    assert_ne!(pictures[0], pictures[1]);
}

#[test]
fn noise_of_another_shape_is_refused() {
    let diffusion = tiny();
    for shape in [[3, 8, 8], [4, 8, 4000]] {
        let noise = Latents::new(shape, vec![0.5; shape.iter().product()]);
        assert!(noise.is_some());
        let request = GenerateSpec { noise, ..spec("a red cube", Sampler::Euler, 1, 1.0, 16) };
        assert!(diffusion.generate(&request, &TaskCx::detached()).is_err(), "{shape:?}");
    }
    assert_eq!(Latents::new([4, 8, 8], vec![0.0; 3]), None);
}
