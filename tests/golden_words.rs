//! Prompts with learned words compared with diffusers, and words that do not fit. `golden/words/make.py` made the numbers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use maquette::base::geom::Extent;
use maquette::base::task::TaskCx;
use maquette::job::ModelRef;
use maquette::job::lora::EmbeddingUse;
use maquette::job::nets::OtherNets;
use maquette::job::sampling::{Emphasis, Sampler, Sampling};
use maquette::job::spec::GenerateSpec;
use maquette::models::files::{ModelFiles, sha256_of};
use maquette::pipelines::{Conditioner, Diffusion, Reading, Word, fragments};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn used(file: &str) -> EmbeddingUse {
    let path = golden("pickle").join(file);
    EmbeddingUse { sha256: sha256_of(&path, &TaskCx::detached()).unwrap(), path }
}

fn words(files: &[&str]) -> Vec<Word> {
    files.iter().map(|file| Word::load(&used(file), &TaskCx::detached()).unwrap()).collect()
}

fn states(conditioner: &Conditioner, prompt: &str) -> Tensor {
    let fragments = fragments(prompt, Emphasis::default());
    conditioner.encode(&fragments, 1, Reading::default(), &TaskCx::detached()).unwrap().states
}

fn difference(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let power = |t: Tensor| t.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
    power((wide(got) - wide(want)).unwrap()) / power(wide(want))
}

#[test]
fn prompts_with_learned_words_are_read_as_by_diffusers() {
    let expected = candle_core::safetensors::load(golden("words/expected.safetensors"), &Device::Cpu).unwrap();
    let sd1 = ModelFiles::Folder(golden("diffusion/sd1"));
    let conditioner = Conditioner::load(&sd1, DType::F32, &Device::Cpu).unwrap();
    let plain = states(&conditioner, "red mood");
    {
        let _words = conditioner.learn(&words(&["diffusers.safetensors", "a1111_plain.pt"])).unwrap();
        for (name, prompt) in [
            ("both", "a <cat-toy> cube, mood"),
            ("one", "red mood"),
            ("one", "red embedding:mood"),
            ("one", "red <mood>"),
            ("one", "red A1111_plain"),
            ("none", "a red cube"),
        ] {
            let off = difference(&states(&conditioner, prompt), &expected[name]);
            println!("{prompt}: {off:e}");
            assert!(off < 1e-5, "{prompt}: {off:e}");
        }
        assert!(difference(&states(&conditioner, "red mood"), &plain) > 0.01);
        // Inside, other words are known for a while.
        {
            let _others = conditioner.learn(&words(&["kohya.safetensors"])).unwrap();
            assert_eq!(difference(&states(&conditioner, "red mood"), &plain), 0.0);
        }
        assert!(difference(&states(&conditioner, "red mood"), &expected["one"]) < 1e-5);
    }
    assert_eq!(difference(&states(&conditioner, "red mood"), &plain), 0.0);
}

#[test]
fn words_that_do_not_fit_leave_the_model_as_it_was() {
    let sd1 = ModelFiles::Folder(golden("diffusion/sd1"));
    let model = Diffusion::load(&sd1, DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let wide = folder.path().join("wide.safetensors");
    let tensor = Tensor::zeros((2, 768), DType::F32, &Device::Cpu).unwrap();
    candle_core::safetensors::save(&[("emb_params", tensor)].into_iter().collect(), &wide).unwrap();
    let wide = EmbeddingUse { sha256: sha256_of(&wide, &TaskCx::detached()).unwrap(), path: wide };
    let spec = |prompt: &str, embeddings: Vec<EmbeddingUse>| GenerateSpec {
        model: ModelRef::builtin(),
        prompt: prompt.to_owned(),
        negative: String::new(),
        sampling: Sampling {
            sampler: Some(Sampler::Euler),
            steps: 1,
            guidance: 3.0,
            size: Extent::new(16, 16),
            ..Sampling::default()
        },
        count: 1,
        init: None,
        noise: None,
        nets: OtherNets::default(),
        loras: Vec::new(),
        embeddings,
    };
    let run =
        |prompt: &str, embeddings: Vec<EmbeddingUse>| model.generate(&spec(prompt, embeddings), &TaskCx::detached());
    let plain = run("a mood", Vec::new()).unwrap();
    let named = run("a (mood:1.2)", vec![used("a1111.pt")]).unwrap();
    assert_ne!(named.latents, plain.latents);
    assert!(named.remarks.is_empty(), "{:?}", named.remarks);
    let unnamed = run("a cube", vec![used("a1111.pt")]).unwrap();
    assert!(unnamed.remarks[0].contains("a1111.pt"), "{:?}", unnamed.remarks);
    for (embedding, part) in [
        (wide, "768"),
        (EmbeddingUse { sha256: "0".repeat(64), ..used("a1111.pt") }, "not the file"),
        (EmbeddingUse { path: "nowhere.pt".into(), ..used("a1111.pt") }, "nowhere.pt"),
    ] {
        let error = run("a mood", vec![used("kohya.safetensors"), embedding]).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(run("a mood", Vec::new()).unwrap().latents, plain.latents);
    }
}
