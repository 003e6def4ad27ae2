//! Words to latents, compared with diffusers' pipelines for SDXL, its refiner, Stable Diffusion 2 and LCM; prompts with weights,
//! skipped layers and more than one chunk, compared with what A1111, ComfyUI and Compel do. `golden/conditioning/make.py` made the
//! numbers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use maquette::base::geom::Extent;
use maquette::base::pixels::Picture;
use maquette::base::task::TaskCx;
use maquette::job::ModelRef;
use maquette::job::latents::Latents;
use maquette::job::nets::OtherNets;
use maquette::job::output::{Generated, TokenCount};
use maquette::job::sampling::{Emphasis, Sampler, Sampling};
use maquette::job::spec::{CountTokensSpec, GenerateSpec, InitSpec};
use maquette::models::diffusion::{Vae, own_extent};
use maquette::models::error::Result;
use maquette::models::files::ModelFiles;
use maquette::models::schedulers::{SchedulerConfig, Walk};
use maquette::pipelines::{Conditioner, Diffusion, Reading, fragments};
use maquette::prompt::emphasis::Fragment;
use serde_json::Value;
use tempfile::TempDir;

const PROMPT: &str = "a red cube, blue";
/// What a model of the fixtures takes from elsewhere.
const BORROWED: [(&str, &[(&str, &str)]); 4] = [
    ("xl", &[]),
    (
        "refiner",
        &[
            ("vae", "conditioning/xl/vae"),
            ("text_encoder_2", "conditioning/xl/text_encoder_2"),
            ("tokenizer_2", "conditioning/xl/tokenizer_2"),
        ],
    ),
    ("two", &[("vae", "conditioning/xl/vae"), ("tokenizer", "conditioning/xl/tokenizer_2")]),
    (
        "lcm",
        &[
            ("vae", "conditioning/xl/vae"),
            ("tokenizer", "conditioning/xl/tokenizer_2"),
            ("text_encoder", "conditioning/two/text_encoder"),
            ("unet", "nets/lcm"),
        ],
    ),
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &to) } else { std::fs::copy(&path, &to).map(drop).unwrap() }
    }
}

/// A whole model; its folder is there as long as the first value is.
fn model(name: &str) -> (TempDir, ModelFiles) {
    let folder = TempDir::new().unwrap();
    copy(&golden().join("conditioning").join(name), folder.path());
    let (_, borrowed) = BORROWED.iter().find(|(model, _)| *model == name).unwrap();
    for (part, from) in *borrowed {
        copy(&golden().join(from), &folder.path().join(part));
    }
    let files = ModelFiles::Folder(folder.path().to_owned());
    (folder, files)
}

fn load(name: &str) -> Diffusion {
    let ((folder, files), cx) = (model(name), TaskCx::detached());
    // The encoder of the autoencoder is read when it is first used.
    std::mem::forget(folder);
    Diffusion::load(&files, DType::F32, &Device::Cpu, &cx).unwrap().keeping_parts(&cx).unwrap()
}

/// It reads its towers when they are needed; its folder is there as long as the first value is.
fn conditioner(name: &str) -> (TempDir, Conditioner) {
    let (folder, files) = model(name);
    (folder, Conditioner::load(&files, DType::F32, &Device::Cpu).unwrap())
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(golden().join("conditioning/expected.safetensors"), &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Expects a relative root mean square difference below `tolerance`.
fn check(what: &str, got: &[f64], want: &Tensor, tolerance: f64) {
    let want = numbers(want);
    assert_eq!(got.len(), want.len(), "{what}");
    let power = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let off: Vec<f64> = got.iter().zip(&want).map(|(a, b)| a - b).collect();
    let off_by = power(&off) / power(&want);
    println!("{what}: relative RMS {off_by:.1e}");
    assert!(off_by < tolerance, "{what}: relative RMS {off_by:e}");
}

fn noise(tensor: &Tensor) -> Option<Latents> {
    let (_, channels, height, width) = tensor.dims4().unwrap();
    Latents::new([channels, height, width], tensor.flatten_all().unwrap().to_vec1().unwrap())
}

/// Eight steps by the model's own scheduler.
fn request(noise: Option<Latents>, negative: &str, guidance: f32) -> GenerateSpec {
    GenerateSpec {
        model: ModelRef::builtin(),
        prompt: PROMPT.to_owned(),
        negative: negative.to_owned(),
        sampling: Sampling { steps: 8, guidance, seed: 3, size: Extent::new(16, 16), ..Sampling::default() },
        count: 1,
        init: None,
        noise,
        nets: OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    }
}

fn made(diffusion: &Diffusion, request: &GenerateSpec) -> Generated {
    diffusion.generate(request, &TaskCx::detached()).unwrap()
}

fn latents(generated: &Generated) -> Vec<f64> {
    generated.latents[0].values().iter().map(|v| f64::from(*v)).collect()
}

fn check_picture(diffusion: &Diffusion, name: &str, request: &GenerateSpec) {
    let generated = made(diffusion, request);
    assert!(generated.remarks.is_empty(), "{name}: {:?}", generated.remarks);
    check(name, &latents(&generated), &expected()[&format!("picture.{name}")], 1e-4);
}

#[test]
fn pictures_of_sdxl_equal_diffusers() {
    let (diffusion, expected) = (load("xl"), expected());
    let noise = |name: &str| noise(&expected[name]);
    check_picture(&diffusion, "xl.none", &request(noise("noise"), "", 5.0));
    check_picture(&diffusion, "xl.negative", &request(noise("noise"), "blurry", 5.0));
    let mut rescaled = request(noise("noise"), "blurry", 5.0);
    rescaled.sampling.guidance_rescale = 0.7;
    check_picture(&diffusion, "xl.rescale", &rescaled);
    for guidance in [0.0, 1.0] {
        let mut turbo = request(noise("noise"), "blurry", guidance);
        turbo.sampling.steps = 2;
        check_picture(&diffusion, "xl.turbo", &turbo);
    }
    let mut wide = request(noise("noise.wide"), "blurry", 5.0);
    wide.sampling.size = Extent::new(24, 16);
    check_picture(&diffusion, "xl.wide", &wide);
}

#[test]
fn pictures_of_stable_diffusion_2_equal_diffusers() {
    let (diffusion, noise) = (load("two"), noise(&expected()["noise"]));
    check_picture(&diffusion, "two.none", &request(noise.clone(), "", 5.0));
    check_picture(&diffusion, "two.negative", &request(noise, "blurry", 5.0));
}

#[test]
fn pictures_of_a_distilled_model_equal_diffusers() {
    let (diffusion, noise) = (load("lcm"), noise(&expected()["noise"]));
    for (steps, guidance, name) in [(4, 8.5, "lcm.4.8.5"), (8, 8.5, "lcm.8.8.5"), (4, 1.0, "lcm.4.1.0")] {
        let mut asked = request(noise.clone(), "", guidance);
        asked.sampling.steps = steps;
        check_picture(&diffusion, name, &asked);
    }
    let remarks = made(&diffusion, &request(noise, "blurry", 8.5)).remarks;
    assert!(remarks.iter().any(|remark| remark.contains("negative prompt changed nothing")), "{remarks:?}");
}

#[test]
fn pictures_of_a_refiner_equal_diffusers() {
    let diffusion = load("refiner");
    let picture = Picture::from_fn(Extent::new(16, 16), |_, _| [128; 3]);
    for (negative, name) in [("", "refiner.none"), ("blurry", "refiner.negative")] {
        let init = Some(InitSpec { picture: picture.clone(), mask: None, strength: 1.0 });
        check_picture(&diffusion, name, &GenerateSpec { init, ..request(None, negative, 5.0) });
    }
}

#[test]
fn skipped_layers_equal_diffusers() {
    let (expected, cx) = (expected(), TaskCx::detached());
    for name in ["two", "xl"] {
        let (_folder, conditioner) = conditioner(name);
        let read = |clip_skip: Option<u32>| {
            let reading = Reading { clip_skip, ..Reading::default() };
            conditioner.encode(&fragments(PROMPT, Emphasis::default()), 1, reading, &cx)
        };
        for skip in [1, 2, 3] {
            let Some(want) = expected.get(&format!("skip.{name}.{skip}")) else { continue };
            let got = read(Some(skip)).unwrap();
            check(&format!("{name} {skip}"), &numbers(&got.states), want, 1e-5);
            if let Some(want) = expected.get(&format!("skip.{name}.{skip}.pooled")) {
                check("pooled", &numbers(&got.pooled.unwrap()), want, 1e-5);
            }
        }
        // Nothing said is the model's own way; SDXL never reads the last layer.
        let same = |a, b| numbers(&read(a).unwrap().states) == numbers(&read(b).unwrap().states);
        assert!(same(None, Some(if name == "two" { 1 } else { 2 })) && same(None, Some(1)));
        assert!(!same(None, Some(3)));
        for bad in [0, 13] {
            let error = read(Some(bad)).unwrap_err().to_string();
            assert!(error.contains("CLIP skip") && error.contains("from 1"), "{error}");
        }
    }
}

fn weighted(value: &Value) -> Vec<Fragment> {
    let fragment = |pair: &Value| {
        let text = pair[0].as_str().unwrap().to_owned();
        Fragment { weight: pair[1].as_f64().unwrap(), span: 0..text.len(), text }
    };
    value.as_array().unwrap().iter().map(fragment).collect()
}

#[test]
fn weighted_and_long_prompts_equal_the_programs_they_come_from() {
    let (expected, cx) = (expected(), TaskCx::detached());
    let text = std::fs::read_to_string(golden().join("conditioning/prompts.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 30);
    let conditioners = HashMap::from(["two", "xl"].map(|name| (name, conditioner(name))));
    for case in &cases {
        let (_, conditioner) = &conditioners[case["model"].as_str().unwrap()];
        let fragments = weighted(&case["fragments"]);
        let emphasis: Emphasis = case["emphasis"].as_str().unwrap().parse().unwrap();
        let reading = Reading { emphasis, ..Reading::default() };
        let got = conditioner.encode(&fragments, 1, reading, &cx).unwrap();
        let (key, what) =
            (case["key"].as_str().unwrap(), format!("{} {} {}", case["model"], case["name"], case["emphasis"]));
        // Bringing the mean back divides by a mean that is near 0 in random towers.
        let tolerance = if emphasis == Emphasis::A1111 { 5e-5 } else { 1e-5 };
        check(&what, &numbers(&got.states), &expected[key], tolerance);
        if let Some(pooled) = expected.get(&format!("{key}.pooled")) {
            check(&what, &numbers(&got.pooled.unwrap()), pooled, 1e-5);
        }
        if let Some(chunks) = case["chunks"].as_array() {
            let count = conditioner.count(&fragments).unwrap();
            let tokens: u64 = chunks.iter().map(|chunk| chunk.as_u64().unwrap()).sum();
            assert_eq!((count.chunks, count.tokens as u64, count.limit), (chunks.len(), tokens, 30), "{what}");
        }
    }
}

#[test]
fn prompts_that_steer_together_and_change_on_the_way_equal_the_formula() {
    let (expected, noise) = (expected(), noise(&expected()["noise"]));
    let text = std::fs::read_to_string(golden().join("conditioning/composed.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let models = HashMap::from(["two", "xl"].map(|name| (name, load(name))));
    for case in &cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let asked = GenerateSpec { prompt: text("prompt").to_owned(), ..request(noise.clone(), text("negative"), 3.0) };
        let generated = made(&models[text("model")], &asked);
        assert!(generated.remarks.is_empty(), "{:?}", generated.remarks);
        check(text("key"), &latents(&generated), &expected[text("key")], 1e-4);
    }
    // Without guidance several prompts still steer, and one alone is followed whatever the negative one says.
    let make = |prompt: &str, negative: &str| {
        let asked = GenerateSpec { prompt: prompt.to_owned(), ..request(noise.clone(), negative, 1.0) };
        latents(&made(&models["two"], &asked))
    };
    assert_eq!(make("a cube", "blurry"), make("a cube", ""));
    assert_ne!(make("a cube AND red", ""), make("a cube", ""));
    let lcm = load("lcm")
        .generate(&GenerateSpec { prompt: "a AND b".to_owned(), ..request(None, "", 8.5) }, &TaskCx::detached());
    assert!(lcm.err().unwrap().to_string().contains("take AND out"));
}

#[test]
fn schedules_count_the_steps_that_are_made() {
    let model = load("two");
    let picture = Picture::from_fn(Extent::new(16, 16), |x, y| [x as u8 * 9, y as u8 * 7, 50]);
    let make = |prompt: &str| {
        let init = Some(InitSpec { picture: picture.clone(), mask: None, strength: 0.5 });
        latents(&made(&model, &GenerateSpec { init, prompt: prompt.to_owned(), ..request(None, "", 3.0) }))
    };
    // Half of eight steps are made.
    assert_eq!(make("a [red:blue:0.5] cube"), make("a [red:blue:2] cube"));
    assert_ne!(make("a [red:blue:3] cube"), make("a [red:blue:2] cube"));
    assert_eq!(make("a [red:blue:4] cube"), make("a red cube"));
}

#[test]
fn what_is_no_word_is_not_read() {
    let model = load("two");
    let make = |prompt: &str| made(&model, &GenerateSpec { prompt: prompt.to_owned(), ..request(None, "", 3.0) });
    let plain = make("a cube");
    assert_eq!(make("a cube# no words").latents, plain.latents);
    let named = make("a cube<lora:thing:0.5>");
    assert_eq!(named.latents, plain.latents);
    assert!(named.remarks[0].contains("<lora:thing…>"), "{:?}", named.remarks);
    let count = token_count(&model, "a [cube:red:3] AND ([a, blue])", Emphasis::A1111);
    assert_eq!((count.tokens, count.chunks), (token_count(&model, "a, blue", Emphasis::None).tokens, 1));
}

fn token_count(model: &Diffusion, text: &str, emphasis: Emphasis) -> TokenCount {
    model.tokens(&tokens_at(text, emphasis, 1)).unwrap().0.count
}

fn tokens_at(text: &str, emphasis: Emphasis, step: u32) -> CountTokensSpec {
    let (prompt, negative) = (text.to_owned(), text.to_owned());
    CountTokensSpec { model: ModelRef::builtin(), prompt, negative, emphasis, steps: 20, step }
}

#[test]
fn tokens_are_those_of_the_step_that_is_asked_for() {
    let (model, text) = (load("two"), "a [red:blue:0.5] cube");
    let words = |step: u32| {
        let (prompt, negative) = model.tokens(&tokens_at(text, Emphasis::A1111, step)).unwrap();
        assert_eq!(prompt.parts, negative.parts);
        let tokens = prompt.parts[0][0].chunks.concat();
        tokens.iter().map(|token| text[token.span.clone()].to_owned()).collect::<Vec<_>>()
    };
    let (first, second) = (words(10).concat(), words(11).concat());
    assert_eq!((first.as_str(), second.as_str()), ("aredcube", "abluecube"));
    assert_eq!((words(1), words(90)), (words(10), words(11)));
}

#[test]
fn calls_of_a_net_belong_to_steps() {
    let config = SchedulerConfig::load(&model("two").1.sub("scheduler").unwrap()).unwrap();
    let steps = |sampler: Sampler| -> Vec<usize> {
        let walk = Walk::new(sampler, &config, 4);
        (0..walk.timesteps().len()).map(|call| walk.step_of(call)).collect()
    };
    assert_eq!(steps(Sampler::Ddim), [0, 1, 2, 3]);
    assert_eq!(steps(Sampler::Heun), [0, 0, 1, 1, 2, 2, 3]);
}

#[test]
fn weights_that_do_not_count_change_nothing() {
    let ((_folder, conditioner), cx) = (conditioner("xl"), TaskCx::detached());
    let read = |text: &str, emphasis: Emphasis| -> Result<Vec<f64>> {
        let reading = Reading { emphasis, ..Reading::default() };
        Ok(numbers(&conditioner.encode(&fragments(text, emphasis), 1, reading, &cx)?.states))
    };
    let plain = read(PROMPT, Emphasis::A1111).unwrap();
    for emphasis in Emphasis::ALL {
        assert_eq!(read(PROMPT, emphasis).unwrap(), plain, "{emphasis:?}");
    }
    let brackets = "a red cube, (blue:1.5)";
    assert_eq!(read(brackets, Emphasis::Ignore).unwrap(), plain);
    let different = [Emphasis::A1111, Emphasis::A1111NoNorm, Emphasis::ComfyUi, Emphasis::None];
    let states = different.map(|emphasis| read(brackets, emphasis).unwrap());
    assert!(states.iter().enumerate().all(|(at, one)| *one != plain && !states[..at].contains(one)));
    let escaped = r"\(a\)";
    assert_eq!(read(escaped, Emphasis::A1111).unwrap(), read("(a)", Emphasis::None).unwrap());
}

#[test]
fn both_prompts_are_filled_up_to_as_many_chunks() {
    let cx = TaskCx::detached();
    for (name, is_zero) in [("xl", true), ("two", false)] {
        let (_folder, conditioner) = conditioner(name);
        let long = fragments(&"red cube, ".repeat(21), Emphasis::A1111);
        let chunks = conditioner.chunks([&*long, &fragments("", Emphasis::A1111)]).unwrap();
        assert_eq!(chunks, 3);
        let encoded = conditioner.encode(&long, chunks, Reading::default(), &cx).unwrap();
        assert_eq!(encoded.states.dim(1).unwrap(), 3 * 32);
        let short = conditioner.encode(&fragments("a", Emphasis::A1111), chunks, Reading::default(), &cx).unwrap();
        let empty = conditioner.encode(&[], 1, Reading::default(), &cx).unwrap();
        assert_eq!(numbers(&short.states.narrow(1, 64, 32).unwrap()), numbers(&empty.states));
        let negative = conditioner.encode_negative(&fragments("", Emphasis::A1111), chunks, Reading::default(), &cx);
        let negative = negative.unwrap();
        assert_eq!(numbers(&negative.states).iter().all(|v| *v == 0.0), is_zero, "{name}");
        assert_eq!(negative.states.dims(), encoded.states.dims());
        assert_eq!(negative.pooled.is_some(), name == "xl");
        // A text without words is not no text.
        let blank = conditioner.encode_negative(&fragments(" ", Emphasis::A1111), chunks, Reading::default(), &cx);
        let empty = conditioner.encode(&[], chunks, Reading::default(), &cx).unwrap();
        assert_eq!(numbers(&blank.unwrap().states), numbers(&empty.states), "{name}");
    }
    let request = GenerateSpec { prompt: "red cube, ".repeat(20), ..request(None, "", 5.0) };
    assert!(made(&load("xl"), &request).remarks.is_empty());
}

#[test]
fn a_model_says_how_large_its_pictures_are() {
    assert_eq!(own_extent(&model("xl").1), Some(Extent::new(16, 16)));
    assert_eq!(own_extent(&ModelFiles::Folder("nowhere".into())), None);
    // Rows and columns, as diffusers takes them.
    let copy = tempfile::tempdir().unwrap();
    for (part, text) in [("unet", r#"{"sample_size": [6, 10]}"#), ("vae", r#"{"block_out_channels": [8, 8, 8]}"#)] {
        std::fs::create_dir(copy.path().join(part)).unwrap();
        std::fs::write(copy.path().join(part).join("config.json"), text).unwrap();
    }
    assert_eq!(own_extent(&ModelFiles::Folder(copy.path().to_owned())), Some(Extent::new(40, 24)));
}

#[test]
fn an_autoencoder_that_would_overflow_computes_in_32_bits() {
    let (_folder, files) = model("xl");
    let load = |dtype| Vae::load(&files.sub("vae").unwrap(), dtype, &Device::Cpu).unwrap();
    let latents = expected()["noise"].to_dtype(DType::F16).unwrap();
    let cx = TaskCx::detached();
    let half = load(DType::F16).decode(&latents, &cx).unwrap();
    assert_eq!(half.dtype(), DType::F16);
    let whole = load(DType::F32).decode(&latents.to_dtype(DType::F32).unwrap(), &cx).unwrap();
    assert_eq!(numbers(&half), numbers(&whole.to_dtype(DType::F16).unwrap()));
}

#[test]
fn parts_of_different_models_are_refused() {
    let load = |files: &ModelFiles| Diffusion::load(files, DType::F32, &Device::Cpu, &TaskCx::detached());
    let message = |files: &ModelFiles| load(files).err().unwrap().to_string();
    let (folder, files) = model("xl");
    let path = |name: &str| folder.path().join(name);
    std::fs::rename(path("text_encoder"), path("other")).unwrap();
    assert!(message(&files).contains("width 20 and the text towers beside it give 12"), "{}", message(&files));
    std::fs::rename(path("other"), path("text_encoder")).unwrap();
    std::fs::rename(path("tokenizer_2"), path("other")).unwrap();
    assert!(message(&files).contains("tokenizer_2"), "{}", message(&files));
    let (folder, files) = model("two");
    std::fs::remove_dir_all(folder.path().join("text_encoder")).unwrap();
    assert!(message(&files).contains("text_encoder"), "{}", message(&files));
}

#[test]
fn the_hash_of_a_model_covers_its_second_tower() {
    let (folder, files) = model("xl");
    let hash = || {
        let diffusion = Diffusion::load(&files, DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
        let mut request = request(None, "", 1.0);
        request.sampling.steps = 1;
        made(&diffusion, &request).model_hash
    };
    let first = hash();
    assert_eq!(hash(), first);
    for file in ["text_encoder_2/config.json", "tokenizer_2/tokenizer.json"] {
        let path = folder.path().join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{before}\n")).unwrap();
        assert_ne!(hash(), first, "{file}");
        std::fs::write(&path, before).unwrap();
    }
    assert_eq!(hash(), first);
}
