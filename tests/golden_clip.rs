//! The CLIP side against transformers and Pillow, on tiny random models. `tests/golden/clip/make.py` made the files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use maquette::analysis::Clip;
use maquette::base::geom::Extent;
use maquette::base::pixels::Picture;
use maquette::base::task::TaskCx;
use maquette::job::ModelRef;
use maquette::job::spec::{HeatmapMethod, HeatmapSpec, MarkedPicture};
use maquette::models::clip::{ClipModel, unit};
use maquette::models::files::ModelFiles;
use maquette::models::preprocess::{Convention, Preprocessor, lens_extent, resize};
use maquette::models::tokenizer::ClipTokenizer;
use maquette::store::pictures;

const TEXTS: [&str; 4] =
    ["a red apple on a blue background", "", "It's ΑΩ, naïve 猫!  two\tspaces 123", "CATS & dogs (very:1.2)"];
const MODELS: [&str; 2] = ["quick", "erf"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip")
}

fn files(model: &str) -> ModelFiles {
    ModelFiles::Folder(folder().join(model))
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder().join("expected.safetensors"), &Device::Cpu).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn picture() -> Picture {
    pictures::read(&folder().join("picture.png")).unwrap()
}

fn close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what} is off by {worst}");
}

#[test]
fn resizing_is_pillows_to_the_byte() {
    let expected = expected();
    for (width, height) in [(31, 20), (140, 90), (32, 96)] {
        let ours = resize(&picture(), Extent::new(width, height));
        let theirs: Vec<u8> = expected[&format!("resized_{width}x{height}")].flatten_all().unwrap().to_vec1().unwrap();
        let differing = ours.rgb().iter().zip(&theirs).filter(|(a, b)| a != b).count();
        assert_eq!((ours.rgb().len(), differing), (theirs.len(), 0), "at {width}x{height}");
    }
}

#[test]
fn tokens_are_those_of_transformers() {
    let tokenizer = ClipTokenizer::load(&files("quick")).unwrap();
    let expected = expected();
    for (index, text) in TEXTS.iter().enumerate() {
        let theirs: Vec<i32> = expected[&format!("ids_{index}")]
            .to_dtype(DType::I64)
            .unwrap()
            .to_vec1::<i64>()
            .unwrap()
            .iter()
            .map(|v| *v as i32)
            .collect();
        let ours: Vec<i32> = tokenizer.encode(text).unwrap().ids.iter().map(|id| *id as i32).collect();
        assert_eq!(ours, theirs, "{text:?}");
    }
}

#[test]
fn a_long_text_is_cut_and_keeps_its_end() {
    let tokenizer = ClipTokenizer::load(&files("quick")).unwrap();
    let long = "apple ".repeat(5000);
    let tokens = tokenizer.encode(&long).unwrap();
    assert_eq!((tokens.ids.len(), tokens.cut), (77, 5000 - 75));
    let short = tokenizer.encode("").unwrap();
    assert_eq!((short.ids.len(), short.cut), (2, 0));
    assert_eq!(short.ids.last(), tokens.ids.last());
    assert_eq!(tokenizer.encode_padded("apple").unwrap().ids.len(), 77);
}

#[test]
fn embeddings_are_those_of_transformers() {
    let expected = expected();
    for model in MODELS {
        let clip = Clip::load(&files(model), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
        let cx = TaskCx::detached();
        for (index, text) in TEXTS.iter().enumerate() {
            let (ours, _) = clip.text_encode(text, &cx).unwrap();
            close(text, &ours, &floats(&expected[&format!("{model}_text_{index}")]), 2e-5);
        }
        let ours = clip.image_encode(&picture(), &cx).unwrap();
        close("the picture", &ours, &floats(&expected[&format!("{model}_image")]), 2e-5);
    }
}

#[test]
fn patches_at_another_size_are_those_of_transformers() {
    let expected = expected();
    let extent = lens_extent(picture().extent(), 64, 8);
    assert_eq!(extent, Extent::new(80, 48));
    for model in MODELS {
        let net = ClipModel::load(&files(model), DType::F32, &Device::Cpu).unwrap();
        let preprocessor = Preprocessor::load(&files(model), 32, Convention::Clip).unwrap();
        let pixels = preprocessor.to_tensor(&resize(&picture(), extent), DType::F32, &Device::Cpu).unwrap();
        let seen = net.vision.forward(&pixels, &TaskCx::detached()).unwrap();
        assert_eq!((seen.rows, seen.columns), (6, 10));
        for (name, embeddings) in [("patches", net.vision.patches(&seen)), ("values", net.vision.values(&seen))] {
            let ours = floats(&unit(&embeddings.unwrap()).unwrap());
            close(name, &ours, &floats(&expected[&format!("{model}_{name}")]), 5e-5);
        }
    }
}

#[test]
fn a_heatmap_is_the_cosine_of_patches_and_phrase() {
    let expected = expected();
    let clip = Clip::load(&files("quick"), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    let spec = HeatmapSpec {
        model: ModelRef::builtin(),
        image: MarkedPicture { picture: picture(), marks: Vec::new() },
        phrases: vec![TEXTS[0].to_owned(); 2],
        method: HeatmapMethod::Patch,
    };
    let maps = clip.heatmaps(&spec, &TaskCx::detached()).unwrap();
    let text = expected["quick_text_0"].unsqueeze(1).unwrap();
    let theirs = floats(&expected["quick_patches"].matmul(&text).unwrap());
    for phrase in &maps.phrases {
        assert_eq!((phrase.grid.rows, phrase.grid.columns), (6, 10));
        close("the map", &phrase.grid.values, &theirs, 5e-5);
    }
}

#[test]
fn damaged_models_say_which_file_and_why() {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder().join("quick")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let message = || {
        Clip::load(&ModelFiles::Folder(copy.path().to_owned()), DType::F32, &Device::Cpu, &TaskCx::detached())
            .err()
            .unwrap()
            .to_string()
    };
    let weights = copy.path().join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    assert!(message().contains("model.safetensors"), "{}", message());
    std::fs::write(&weights, "words").unwrap();
    assert!(message().contains("model.safetensors"), "{}", message());
    std::fs::remove_file(&weights).unwrap();
    assert!(message().contains("has no file"), "{}", message());
    std::fs::write(&weights, &whole).unwrap();
    std::fs::write(copy.path().join("config.json"), "{\"projection_dim\": 7}").unwrap();
    assert!(message().contains("does not fit"), "{}", message());
}

#[test]
fn weights_beyond_all_bounds_are_said_and_give_no_numbers() {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder().join("quick")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let weights = copy.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&weights, &Device::Cpu).unwrap();
    for (_, tensor) in tensors.iter_mut().filter(|(_, tensor)| tensor.rank() == 2) {
        *tensor = tensor.to_dtype(DType::F32).unwrap().affine(1e30, 0.0).unwrap();
    }
    candle_core::safetensors::save(&tensors, &weights).unwrap();
    let files = ModelFiles::Folder(copy.path().to_owned());
    let (cx, image) = (TaskCx::detached(), MarkedPicture { picture: picture(), marks: Vec::new() });
    let clip = Clip::load(&files, DType::F32, &Device::Cpu, &cx).unwrap();
    let spec = HeatmapSpec {
        model: ModelRef::builtin(),
        image: image.clone(),
        phrases: vec!["a".to_owned()],
        method: HeatmapMethod::Patch,
    };
    let texts = clip.text_encode("a fox", &cx).err();
    for error in [texts, clip.image_encode(&image.picture, &cx).err(), clip.heatmaps(&spec, &cx).err()] {
        let said = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("grew beyond all bounds"), "{said}");
    }
}
