//! Single files of Stable Diffusion 1, 2 and XL compared with diffusers and transformers. `golden/checkpoint/make.py` made the lists of
//! tensors and the numbers; the weights are drawn from the tensors' names on both sides.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use maquette::base::geom::Extent;
use maquette::base::task::TaskCx;
use maquette::job::ModelRef;
use maquette::job::sampling::{Emphasis, Sampling};
use maquette::job::spec::{CountTokensSpec, GenerateSpec};
use maquette::models::clip::TextTower;
use maquette::models::diffusion::{AddedText, Autoencoder, Conditions, Source, Unet, Vae};
use maquette::models::files::checkpoint::{Checkpoint, Kind};
use maquette::models::files::{ModelFiles, sha256_of};
use maquette::models::tokenizer::ClipTokenizer;
use maquette::pipelines::Diffusion;

#[path = "golden/single_file.rs"]
mod single_file;

use single_file::{golden, write};

fn check(what: &str, got: &Tensor, want: &Tensor) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let power = |t: Tensor| t.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
    let off = power((wide(got) - wide(want)).unwrap()) / power(wide(want));
    println!("{what}: {off:e}");
    assert!(off < 1e-5, "{what}: {off:e}");
}

fn tokenizer() -> ModelFiles {
    ModelFiles::Folder(golden("diffusion/sd1/tokenizer"))
}

fn open(kind: &str) -> (tempfile::TempDir, Checkpoint, ModelFiles) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some model.safetensors");
    write(kind, &path, |name| Some(name.to_owned()));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let files = checkpoint.folder(&tokenizer()).unwrap();
    (folder, checkpoint, files)
}

#[test]
fn every_part_of_a_single_file_equals_diffusers() {
    let expected = candle_core::safetensors::load(golden("checkpoint/expected.safetensors"), &Device::Cpu).unwrap();
    let cx = TaskCx::detached();
    let row = |name: &str| -> Vec<f32> { expected[name].flatten_all().unwrap().to_vec1().unwrap() };
    let ids: Vec<u32> = row("ids").into_iter().map(|id| id as u32).collect();
    for (name, kind, channels) in [("sd1", Kind::Sd1, 4), ("sd2", Kind::Sd2, 9), ("sdxl", Kind::Sdxl, 4)] {
        let (_keep, checkpoint, files) = open(name);
        assert_eq!((checkpoint.kind(), checkpoint.channels(), checkpoint.vocabulary()), (kind, channels, 521));
        let get = |part: &str| &expected[&format!("{name}.{part}")];
        let sub = |part: &str| files.sub(part).unwrap();
        let unet = Unet::load(&sub("unet"), DType::F32, &Device::Cpu).unwrap();
        let mut conditions = Conditions::plain(get("prompt").clone());
        if kind == Kind::Sdxl {
            let time_ids = row("sdxl.time_ids").into_iter().map(f64::from).collect();
            conditions.added = Some(AddedText { pooled: get("pooled").clone(), time_ids });
        }
        check(name, &unet.forward(get("x"), 321.5, &conditions, None, None, &cx).unwrap(), get("unet"));
        let vae = Vae::load(&sub("vae"), DType::F32, &Device::Cpu).unwrap();
        check("encoded", &vae.encode_mean(get("picture"), &cx).unwrap(), get("encoded"));
        check("decoded", &vae.decode(get("z"), &cx).unwrap(), get("decoded"));
        for (number, folder) in ["text_encoder", "text_encoder_2"].into_iter().enumerate() {
            let Some(files) = files.sub(folder) else { continue };
            let tower = TextTower::load_folder(&files, DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
            let states = tower.forward(std::slice::from_ref(&ids), &cx).unwrap();
            check(folder, &states, get(&format!("text.{number}")));
            if number == 1 {
                let pooled = tower.pool(&states, std::slice::from_ref(&ids)).unwrap();
                check("projected", &tower.project(&pooled).unwrap(), get("projected"));
            }
        }
        assert_eq!(files.sub("text_encoder_2").is_some(), kind == Kind::Sdxl);
    }
}

#[test]
fn a_single_file_is_a_model_like_any_other() {
    let (keep, _, files) = open("sd1");
    let cx = TaskCx::detached();
    let model = Diffusion::load(&files, DType::F32, &Device::Cpu, &cx).unwrap();
    let spec = CountTokensSpec {
        model: ModelRef::builtin(),
        prompt: "a (red:1.2) cube AND b".to_owned(),
        negative: r"blur, \(text\)".to_owned(),
        emphasis: Emphasis::default(),
        steps: 20,
        step: 1,
    };
    let (prompt, negative) = model.tokens(&spec).unwrap();
    assert_eq!((prompt.count.tokens, prompt.parts.len(), negative.parts.len()), (3, 2, 1));
    // Each token knows its place in what was written, brackets and escapes or not.
    let shown = |text: &str, part: &[maquette::job::output::EncoderTokens]| -> Vec<(String, f32)> {
        let tokens = part[0].chunks.iter().flatten();
        tokens.map(|token| (text[token.span.clone()].trim().to_owned(), token.weight)).collect()
    };
    let own =
        |list: &[(&str, f32)]| list.iter().map(|(text, weight)| ((*text).to_owned(), *weight)).collect::<Vec<_>>();
    assert_eq!(shown(&spec.prompt, &prompt.parts[0]), own(&[("a", 1.0), ("red", 1.2), ("cube", 1.0)]));
    assert_eq!(shown(&spec.prompt, &prompt.parts[1]), own(&[("b", 1.0)]));
    let words: String = shown(&spec.negative, &negative.parts[0]).into_iter().map(|(text, _)| text).collect();
    assert_eq!(words, "blur,(text)", "the tokens together, without the backslashes");
    let path = keep.path().join("some model.safetensors");
    assert_eq!(files.sha256(&["unet/config.json"], &cx).unwrap(), sha256_of(&path, &cx).unwrap());
    let pad = |folder: &str| {
        let tokenizer = ClipTokenizer::load(&files.sub(folder).unwrap()).unwrap();
        tokenizer.encode_padded("a").unwrap().ids.last().copied()
    };
    assert_eq!(pad("tokenizer"), Some(520));
    let (_keep, _, files) = open("sdxl");
    let model = Diffusion::load(&files, DType::F32, &Device::Cpu, &cx).unwrap();
    let sampling = Sampling { steps: 1, size: Extent::new(16, 16), ..Sampling::default() };
    let spec = GenerateSpec {
        model: ModelRef::builtin(),
        prompt: "a (red:1.2) cube".to_owned(),
        negative: String::new(),
        sampling,
        count: 1,
        init: None,
        noise: None,
        nets: maquette::job::nets::OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    };
    let made = model.generate(&spec, &cx).unwrap();
    assert!(made.latents[0].values().iter().all(|value| value.is_finite()));
    let second = ClipTokenizer::load(&files.sub("tokenizer_2").unwrap()).unwrap();
    assert_eq!(second.encode_padded("a").unwrap().ids.last(), Some(&0), "open_clip fills up with !");
    assert!(files.has("model_index.json") && !files.has("tokenizer"));
    assert!(files.read("nothing").is_err() && files.weights("model.safetensors").is_err());
}

#[test]
fn an_autoencoder_in_a_single_file_equals_diffusers_under_all_names() {
    const NET: &str = "diffusion_pytorch_model.safetensors";
    let expected = candle_core::safetensors::load(golden("checkpoint/expected.safetensors"), &Device::Cpu).unwrap();
    let (folder, _, files) = open("sd1");
    let at = |name: &str| folder.path().join(name);
    let bare = |name: &str| name.strip_prefix("first_stage_model.").map(str::to_owned);
    write("sd1", &at("trained.safetensors"), bare);
    let weights = files.sub("vae").unwrap().weights(NET).unwrap();
    let cx = TaskCx::detached();
    let vb = weights.tensors(DType::F32, &Device::Cpu, &cx);
    let tensors =
        weights.names().map(|name| (name.to_owned(), vb.get_unchecked(name).unwrap())).collect::<HashMap<_, _>>();
    candle_core::safetensors::save(&tensors, at("renamed.safetensors")).unwrap();
    let (_keep, _, xl) = open("sdxl");
    let own =
        |files: &ModelFiles| Autoencoder::load(&files.sub("vae").unwrap(), DType::F32, &Device::Cpu, &cx).unwrap();
    for file in ["trained.safetensors", "renamed.safetensors", "some model.safetensors"] {
        let source = Source::at(&at(file)).unwrap();
        let load = |own: &Autoencoder| Autoencoder::load_from(&source, own, DType::F32, &Device::Cpu, &cx).unwrap();
        let vae = load(&own(&files));
        check(file, &vae.decode(&expected["sd1.z"], &cx).unwrap(), &expected["sd1.decoded"]);
        check(file, &vae.encode_mean(&expected["sd1.picture"], &cx).unwrap(), &expected["sd1.encoded"]);
        // Latents are scaled as those of the model that it is used with.
        let scaled = (&expected["sd1.z"] * (0.13025 / 0.18215)).unwrap();
        check("as in SDXL", &load(&own(&xl)).decode(&scaled, &cx).unwrap(), &expected["sd1.decoded"]);
        let hash = source.files().sha256(&[], &cx).unwrap();
        assert_eq!(hash, sha256_of(&at(file), &cx).unwrap());
    }
    write("sd1", &at("half.safetensors"), |name| bare(name).filter(|name| !name.starts_with("decoder.mid")));
    let source = Source::at(&at("half.safetensors")).unwrap();
    let error = Autoencoder::load_from(&source, &own(&files), DType::F32, &Device::Cpu, &cx).err().unwrap().to_string();
    assert!(error.contains("half.safetensors") && error.contains("decoder.mid_block"), "{error}");
}

#[test]
fn how_the_net_is_asked_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let prediction = |name: &str, kind: &str, extra: Option<&str>| {
        let path = folder.path().join(name);
        write(kind, &path, |tensor| Some(tensor.to_owned()));
        if let Some(extra) = extra {
            let mut all = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
            all.insert(extra.to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
            candle_core::safetensors::save(&all, &path).unwrap();
        }
        let files = Checkpoint::open(&path).unwrap().folder(&tokenizer()).unwrap();
        let config: serde_json::Value = files.sub("scheduler").unwrap().read_json("scheduler_config.json").unwrap();
        config["prediction_type"].as_str().unwrap().to_owned()
    };
    assert_eq!(prediction("a.safetensors", "sd1", None), "epsilon");
    assert_eq!(prediction("b.safetensors", "sd2", None), "v_prediction");
    assert_eq!(prediction("b-base.safetensors", "sd2", None), "epsilon");
    assert_eq!(prediction("c.safetensors", "sdxl", None), "epsilon");
    assert_eq!(prediction("d.safetensors", "sdxl", Some("v_pred")), "v_prediction");
    let yaml = |text: &str| std::fs::write(folder.path().join("e.yaml"), text).unwrap();
    yaml("model:\n  params:\n    parameterization: \"v\"\n");
    assert_eq!(prediction("e.safetensors", "sd1", None), "v_prediction");
    yaml("model:\n  params:\n    parameterization: eps\n");
    assert_eq!(prediction("e.safetensors", "sd2", None), "epsilon");
}

#[test]
fn other_and_damaged_files_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let refused = |parts: &[&str]| {
        let opened = Checkpoint::open(&path).and_then(|checkpoint| checkpoint.folder(&tokenizer()));
        let error = opened.err().unwrap().to_string();
        for part in [&["x.safetensors"], parts].concat() {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    };
    let without = |part: &str| write("sd1", &path, |name| (!name.contains(part)).then(|| name.to_owned()));
    for (part, message) in [
        ("model.diffusion_model.input_blocks.0", "no denoising net"),
        ("cond_stage_model", "no text tower"),
        ("first_stage_model", "no autoencoder"),
        ("input_blocks.1.0.out_layers", "no tensor"),
        ("middle_block.1", "no tensor"),
        ("token_embedding", "no tensor"),
        ("encoder.conv_in", "no tensor"),
    ] {
        without(part);
        refused(&[message]);
    }
    for (name, what) in [
        ("model.diffusion_model.joint_blocks.0.x", "Stable Diffusion 3"),
        ("double_blocks.0.img_attn.norm.key_norm.scale", "FLUX"),
        ("conditioner.embedders.0.model.ln_final.bias", "refiner"),
        ("lora_unet_x.lora_down.weight", "LoRA"),
        ("weight", "no denoising net"),
    ] {
        let one = HashMap::from([(name.to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap())]);
        candle_core::safetensors::save(&one, &path).unwrap();
        refused(&[what]);
    }
    for bytes in [&b""[..], b"words", &[255; 64]] {
        std::fs::write(&path, bytes).unwrap();
        refused(&[]);
    }
    // Tensors of absurd shapes: whatever comes of it, it is an error and no panic.
    for shape in [vec![], vec![0], vec![0, 0, 0, 0], vec![1 << 40, 0], vec![3; 10]] {
        for name in
            ["input_blocks.0.0.weight", "in_proj_weight", "ln_final.weight", "mlp.c_fc.weight", "conv_in.weight"]
        {
            write("sd2", &path, |tensor| Some(tensor.to_owned()));
            let mut all = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
            let found = all.keys().filter(|key| key.ends_with(name)).min().unwrap().clone();
            all.insert(found, Tensor::zeros(&*shape, DType::F32, &Device::Cpu).unwrap());
            candle_core::safetensors::save(&all, &path).unwrap();
            let opened = Checkpoint::open(&path).and_then(|checkpoint| checkpoint.folder(&tokenizer()));
            let loaded = opened.and_then(|files| {
                Diffusion::load(&files, DType::F32, &Device::Cpu, &TaskCx::detached())?;
                TextTower::load_folder(
                    &files.sub("text_encoder").unwrap(),
                    DType::F32,
                    &Device::Cpu,
                    &TaskCx::detached(),
                )
            });
            assert!(loaded.is_err(), "{name} {shape:?}");
        }
    }
    let pickle = folder.path().join("x.ckpt");
    std::fs::write(&pickle, b"pickle").unwrap();
    let error = Checkpoint::open(&pickle).err().unwrap().to_string();
    assert!(error.contains("weights_only=True") && error.contains("x.safetensors"), "{error}");
}
