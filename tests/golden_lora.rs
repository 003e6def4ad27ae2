//! LoRA files of every naming and kind compared with diffusers and PEFT, and what happens to files that do not fit.
//! `golden/lora/make.py` made the files and the numbers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use maquette::base::geom::Extent;
use maquette::base::task::TaskCx;
use maquette::job::ModelRef;
use maquette::job::lora::LoraUse;
use maquette::job::nets::OtherNets;
use maquette::job::output::Generated;
use maquette::job::sampling::{Sampler, Sampling};
use maquette::job::spec::GenerateSpec;
use maquette::models::adapters::{Lora, Nets};
use maquette::models::clip::TextTower;
use maquette::models::diffusion::{AddedText, Conditions, Unet};
use maquette::models::error::Result;
use maquette::models::files::{ModelFiles, sha256_of};
use maquette::pipelines::Diffusion;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(golden("lora/expected.safetensors"), &Device::Cpu).unwrap()
}

/// The relative root mean square difference.
fn difference(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let power = |t: Tensor| t.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
    power((wide(got) - wide(want)).unwrap()) / power(wide(want))
}

struct Sd1 {
    unet: Unet,
    text: TextTower,
    expected: HashMap<String, Tensor>,
}

impl Sd1 {
    fn load() -> Self {
        let files = |name: &str| ModelFiles::Folder(golden("diffusion/sd1").join(name));
        Self {
            unet: Unet::load(&files("unet"), DType::F32, &Device::Cpu).unwrap(),
            text: TextTower::load_folder(&files("text_encoder"), DType::F32, &Device::Cpu, &TaskCx::detached())
                .unwrap(),
            expected: expected(),
        }
    }

    fn nets(&self) -> Nets<'_> {
        Nets { unet: &self.unet, text: vec![self.text.adaptable()] }
    }

    fn lora(&self, file: &str) -> Result<Lora> {
        Lora::load(&golden("lora").join(file), &self.nets(), &TaskCx::detached())
    }

    fn run_unet(&self) -> Tensor {
        let conditions = Conditions::plain(self.expected["prompt"].clone());
        self.unet.forward(&self.expected["x"], 321.5, &conditions, None, None, &TaskCx::detached()).unwrap()
    }

    fn run_text(&self) -> Tensor {
        let ids: Vec<f32> = self.expected["ids"].flatten_all().unwrap().to_vec1().unwrap();
        self.text.forward(&[ids.into_iter().map(|id| id as u32).collect()], &TaskCx::detached()).unwrap()
    }

    /// Expects what diffusers gives with these files at these strengths for text and denoising net.
    fn check(&self, name: &str, files: &[(&str, f64, f64)]) {
        self.nets().clear();
        for (file, text, unet) in files {
            let lora = self.lora(file).unwrap();
            assert_eq!(lora.remark(), None, "{file}");
            lora.add(&self.nets(), *text, *unet);
        }
        let off = difference(&self.run_unet(), &self.expected[&format!("{name}.unet")]);
        assert!(off < 1e-5, "{name}: {off:e}");
        println!("{name}: {off:e}");
        if let Some(want) = self.expected.get(&format!("{name}.text")) {
            let off = difference(&self.run_text(), want);
            assert!(off < 1e-5, "{name}, text: {off:e}");
            println!("{name}, text: {off:e}");
        }
        // Otherwise the file would prove nothing.
        if !files.is_empty() {
            assert!(difference(&self.expected[&format!("{name}.unet")], &self.expected["none.unet"]) > 0.02, "{name}");
        }
    }
}

#[test]
fn every_naming_and_kind_gives_the_numbers_of_diffusers() {
    let model = Sd1::load();
    let (unet, text) = (model.run_unet(), model.run_text());
    model.check("none", &[]);
    model.check("kohya", &[("kohya.safetensors", 0.5, 0.8)]);
    model.check("conv", &[("conv.safetensors", 1.0, 1.0)]);
    model.check("both", &[("kohya.safetensors", 0.3, 0.7), ("conv.safetensors", 0.0, -0.4)]);
    model.check("diffusers", &[("diffusers.safetensors", 1.0, 1.0)]);
    model.check("old", &[("old.safetensors", 1.0, 1.0)]);
    model.check("peft", &[("peft", 1.0, 1.0)]);
    model.check("mid", &[("mid.safetensors", 1.0, 0.9)]);
    model.check("loha", &[("loha.safetensors", 1.0, 1.0)]);
    model.check("lokr", &[("lokr.safetensors", 1.0, 1.0)]);
    model.nets().clear();
    let bits = |tensor: &Tensor| -> Vec<u32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    assert_eq!(bits(&model.run_unet()), bits(&unet), "what was taken out has left something behind");
    assert_eq!(bits(&model.run_text()), bits(&text));
}

#[test]
fn the_names_of_the_original_code_are_understood() {
    let expected = expected();
    let files = ModelFiles::Folder(golden("nets/sdxl"));
    let unet = Unet::load(&files, DType::F32, &Device::Cpu).unwrap();
    let time_ids = expected["time_ids"].to_dtype(DType::F64).unwrap().to_vec1().unwrap();
    let added = AddedText { pooled: expected["pooled"].clone(), time_ids };
    let conditions = Conditions { added: Some(added), ..Conditions::plain(expected["xl_prompt"].clone()) };
    let run = || unet.forward(&expected["x"], 321.5, &conditions, None, None, &TaskCx::detached()).unwrap();
    assert!(difference(&run(), &expected["xl_none.unet"]) < 1e-5);
    let nets = Nets { unet: &unet, text: Vec::new() };
    let lora = Lora::load(&golden("lora/sgm.safetensors"), &nets, &TaskCx::detached()).unwrap();
    assert_eq!(lora.remark(), None);
    lora.add(&nets, 1.0, 1.5);
    let off = difference(&run(), &expected["sgm.unet"]);
    println!("sgm: {off:e}");
    assert!(off < 1e-5, "{off:e}");
    // The text layers of the first file have no place here.
    let error = Lora::load(&golden("lora/kohya.safetensors"), &nets, &TaskCx::detached()).err().unwrap().to_string();
    assert!(error.contains("another kind of model") && error.contains("sd_v1"), "{error}");
}

fn spec(loras: &[LoraUse]) -> GenerateSpec {
    GenerateSpec {
        model: ModelRef::builtin(),
        prompt: "a red cube".to_owned(),
        negative: String::new(),
        sampling: Sampling {
            sampler: Some(Sampler::Euler),
            steps: 2,
            guidance: 3.0,
            seed: 11,
            size: Extent::new(16, 16),
            ..Sampling::default()
        },
        count: 1,
        init: None,
        noise: None,
        nets: OtherNets::default(),
        loras: loras.to_vec(),
        embeddings: Vec::new(),
    }
}

fn used(file: &str, text_strength: f32, unet_strength: f32) -> LoraUse {
    let path = golden("lora").join(file);
    let sha256 = sha256_of(&Lora::file(&path).unwrap(), &TaskCx::detached()).unwrap();
    LoraUse { path, sha256, text_strength, unet_strength }
}

#[test]
fn a_job_leaves_the_model_as_it_was() {
    let model =
        Diffusion::load(&ModelFiles::Folder(golden("diffusion/sd1")), DType::F32, &Device::Cpu, &TaskCx::detached())
            .unwrap();
    let run = |loras: &[LoraUse]| -> Generated { model.generate(&spec(loras), &TaskCx::detached()).unwrap() };
    let plain = run(&[]);
    let (full, text_only) = (run(&[used("kohya.safetensors", 1.0, 1.0)]), run(&[used("kohya.safetensors", 1.0, 0.0)]));
    let unet_only = run(&[used("kohya.safetensors", 0.0, 1.0)]);
    let all = [&plain, &full, &text_only, &unet_only];
    for (i, one) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|other| other.latents != one.latents), "{i}");
    }
    assert_eq!(run(&[]).latents, plain.latents);
    assert_eq!(run(&[used("kohya.safetensors", 0.0, 0.0)]).latents, plain.latents);
    let pair = [used("kohya.safetensors", 1.0, 1.0), used("conv.safetensors", 0.5, 0.5)];
    assert_ne!(run(&pair).latents, full.latents);
    assert_eq!(run(&[used("kohya.safetensors", 1.0, 1.0)]).latents, full.latents);
    let refused = |lora: LoraUse, part: &str| {
        let error = model.generate(&spec(&[pair[0].clone(), lora]), &TaskCx::detached()).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(run(&[]).latents, plain.latents);
    };
    refused(LoraUse { sha256: "0".repeat(64), ..pair[1].clone() }, "not the file");
    refused(LoraUse { unet_strength: f32::NAN, ..pair[1].clone() }, "strength");
    refused(used("sgm.safetensors", 1.0, 1.0), "another kind of model");
    let record = serde_json::to_value(spec(&pair)).unwrap();
    assert_eq!(record["loras"][1]["sha256"], pair[1].sha256);
    assert!(serde_json::to_value(spec(&[])).unwrap().get("loras").is_none());
}

/// A safetensors file of zeros of these shapes.
fn zeros(folder: &Path, name: &str, tensors: &[(&str, &[usize])]) -> PathBuf {
    let tensors: HashMap<String, Tensor> = tensors
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), Tensor::zeros(*shape, DType::F32, &Device::Cpu).unwrap()))
        .collect();
    let path = folder.join(name);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    path
}

#[test]
fn files_that_do_not_fit_are_refused_with_the_reason() {
    let (model, folder) = (Sd1::load(), tempfile::tempdir().unwrap());
    let q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    let conv = "lora_unet_down_blocks_0_resnets_0_conv1";
    let one = |tensors: &[(String, &[usize])]| {
        let tensors: Vec<(&str, &[usize])> = tensors.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
        Lora::load(&zeros(folder.path(), "x.safetensors", &tensors), &model.nets(), &TaskCx::detached())
    };
    let refused = |tensors: &[(String, &[usize])], parts: &[&str]| {
        let error = one(tensors).err().unwrap().to_string();
        for part in [&["x.safetensors"], parts].concat() {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    };
    let of = |module: &str, ending: &str| format!("{module}.{ending}");
    let (down, up) = ("lora_down.weight", "lora_up.weight");
    assert!(one(&[(of(q, down), &[2, 8]), (of(q, up), &[8, 2])]).is_ok());
    refused(&[(of(q, down), &[2, 320]), (of(q, up), &[320, 2])], &["attn1.to_q", "320", "another kind of model"]);
    refused(&[(of(q, down), &[2, 8]), (of(q, up), &[8, 3])], &["attn1.to_q"]);
    refused(&[(of(q, down), &[0, 8]), (of(q, up), &[8, 0])], &["attn1.to_q"]);
    refused(&[(of(q, down), &[]), (of(q, up), &[8, 2])], &["attn1.to_q"]);
    refused(&[(of(q, down), &[2, 8])], &["missing"]);
    refused(&[(of(q, down), &[2, 8, 3, 3]), (of(q, up), &[8, 2, 1, 1])], &["attn1.to_q"]);
    refused(&[(of(conv, down), &[2, 8]), (of(conv, up), &[8, 2])], &["conv1"]);
    let middle: &[usize] = &[2, 3, 3, 3];
    refused(
        &[(of(conv, down), &[2, 8, 1, 1]), (of(conv, "lora_mid.weight"), middle), (of(conv, up), &[8, 2, 1, 1])],
        &["conv1", "middle"],
    );
    refused(&[(of("lora_unet_nowhere", down), &[2, 8])], &["none of its 1 layers", "lora_unet_nowhere"]);
    refused(&[("weight".to_owned(), &[2, 8])], &["no LoRA"]);
    for (ending, kind) in [("dora_scale", "DoRA"), ("diff", "difference"), ("hada_t1", "Tucker")] {
        refused(&[(of(q, down), &[2, 8]), (of(q, up), &[8, 2]), (of(q, ending), &[2])], &[kind]);
    }
    // Products that would be larger than any memory are not multiplied out.
    let (wide, flat): (&[usize], &[usize]) = (&[1 << 20, 1], &[1, 1 << 20]);
    let hada: Vec<(String, &[usize])> = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"]
        .iter()
        .map(|part| (of(q, part), if part.ends_with('a') { wide } else { flat }))
        .collect();
    refused(&hada, &["attn1.to_q"]);
    refused(&[(of(q, "lokr_w1"), wide), (of(q, "lokr_w2"), wide)], &["attn1.to_q"]);
    refused(&[(of(q, "lokr_w1"), &[]), (of(q, "lokr_w2"), &[0, 0])], &["attn1.to_q"]);
    let part = one(&[(of(q, down), &[2, 8]), (of(q, up), &[8, 2]), ("lora_te2_x.alpha".to_owned(), &[])]).unwrap();
    assert!(part.remark().unwrap().contains("1 of its 2 layers"), "{:?}", part.remark());
    let pickle = folder.path().join("x.pt");
    std::fs::write(&pickle, b"pickle").unwrap();
    for (path, part) in [(pickle, "torch.load(\"x.pt\""), (folder.path().to_owned(), "adapter_model")] {
        let error = Lora::load(&path, &model.nets(), &TaskCx::detached()).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(Lora::load(Path::new("nowhere.safetensors"), &model.nets(), &TaskCx::detached()).is_err());
}
