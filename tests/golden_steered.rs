//! What steers a diffusion model besides words, and other autoencoders, compared with diffusers.
//!
//! `golden/steered/make.py` made the numbers, with the tiny nets of `golden/diffusion`.
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
use maquette::job::nets::{ControlSpec, OtherNets};
use maquette::job::output::Generated;
use maquette::job::sampling::{Sampler, Sampling};
use maquette::job::spec::{GenerateSpec, InitSpec};
use maquette::models::diffusion::{Autoencoder, Codec};
use maquette::models::error::Result;
use maquette::models::files::ModelFiles;
use maquette::pipelines::Diffusion;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(golden().join("steered/expected.safetensors"), &Device::Cpu).unwrap()
}

fn files(name: &str) -> ModelFiles {
    ModelFiles::Folder(golden().join(name))
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
        nets: OtherNets::default(),
        embeddings: Vec::new(),
        loras: Vec::new(),
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

fn steered(name: &str) -> String {
    golden().join("steered").join(name).display().to_string()
}

fn control(net: &str, extent: (u32, u32), [scale, start, end]: [f32; 3]) -> ControlSpec {
    ControlSpec { model: steered(net).as_str().into(), picture: picture(extent.0, extent.1), scale, start, end }
}

fn controlled(sampler: Sampler, controls: Vec<ControlSpec>) -> GenerateSpec {
    GenerateSpec { nets: OtherNets { controls, ..OtherNets::default() }, ..request(sampler) }
}

fn tiny() -> Diffusion {
    load(&golden().join("diffusion/sd1")).unwrap()
}

#[test]
fn control_nets_equal_the_diffusers_pipeline() {
    let model = tiny();
    let cases = cases("control.");
    assert_eq!(cases.len(), 5);
    for (name, want) in cases {
        let request = match name.as_str() {
            "two" => controlled(
                Sampler::Ddim,
                vec![control("control0", (16, 16), [0.5, 0.0, 0.6]), control("control1", (20, 9), [0.8, 0.3, 1.0])],
            ),
            one => {
                let (sampler, rest) = one.split_once('.').unwrap();
                let (numbers, extent) = rest.rsplit_once('.').unwrap();
                let digits: Vec<&str> = numbers.split('.').collect();
                let number = |i: usize| format!("{}.{}", digits[2 * i], digits[2 * i + 1]).parse().unwrap();
                let control = control("control0", size(extent), [number(0), number(1), number(2)]);
                controlled(sampler.parse().unwrap(), vec![control])
            }
        };
        let made = generate(&model, &request).unwrap();
        check(&name, &made, &want);
        assert_ne!(made.model_hash, generate(&model, &self::request(Sampler::Ddim)).unwrap().model_hash);
    }
}

#[test]
fn control_nets_work_with_inpainting() {
    let (_keep, model) = with_unet(&golden().join("diffusion/sd2/unet"), |_| ());
    let mask = Mask::from_coverage(
        Extent::new(40, 40),
        &(0..1600).map(|i| if i % 40 > 30 { 255 } else { 0 }).collect::<Vec<u8>>(),
    );
    let init = InitSpec { picture: picture(40, 40), mask: Some(mask), strength: 1.0 };
    let request = |controls| GenerateSpec { init: Some(init.clone()), ..controlled(Sampler::Ddim, controls) };
    let [whole, other] = [(40, 40), (39, 40)].map(|extent| control("control0", extent, [1.0, 0.0, 1.0]));
    // This net has two layers in its second level, the ControlNet one.
    refused(generate(&model.unwrap(), &request(vec![whole.clone()])), &["another family", "layers"]);
    let model = tiny();
    // Of the canvas's size: the part that is repainted is cut out of it.
    let made = |controls| generate(&model, &request(controls)).unwrap().latents;
    assert_ne!(made(vec![whole.clone()]), made(vec![other]));
    assert_ne!(made(vec![whole.clone()]), made(vec![]));
    let silent = ControlSpec { scale: 0.0, ..whole };
    assert_eq!(made(vec![silent]), made(vec![]));
}

#[test]
fn control_nets_that_do_not_fit_are_refused() {
    let model = tiny();
    let ask = |control: ControlSpec| generate(&model, &controlled(Sampler::Ddim, vec![control]));
    let fine = || control("control0", (16, 16), [1.0, 0.0, 1.0]);
    assert!(ask(fine()).is_ok());
    refused(ask(ControlSpec { scale: f32::NAN, ..fine() }), &["scale"]);
    for (start, end) in [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.1), (f32::NAN, 1.0)] {
        refused(ask(ControlSpec { start, end, ..fine() }), &["from a start to a later end"]);
    }
    refused(
        ask(ControlSpec { model: "no/such/folder".into(), ..fine() }),
        &["no/such/folder", "folder in diffusers layout"],
    );
    refused(ask(ControlSpec { model: steered("taesd").as_str().into(), ..fine() }), &["taesd"]);
    let of_another = golden().join("nets/control").display().to_string();
    refused(ask(ControlSpec { model: of_another.as_str().into(), ..fine() }), &["prompts of width 12", "16"]);
}

/// Keeps what it is told.
#[derive(Default)]
struct Audience(RefCell<Vec<Progress>>);

impl TaskHost for Audience {
    fn progress(&self, progress: Progress) {
        self.0.borrow_mut().push(progress);
    }

    fn wants_progress(&self) -> bool {
        true
    }

    fn serve_urgent(&self) {}
}

/// Sizes of the previews of a run, and its result.
fn watched(model: &Diffusion, request: &GenerateSpec) -> (Vec<Extent>, Generated) {
    let audience = Audience::default();
    let made = model.generate(request, &TaskCx::new(CancelFlag::default(), &audience)).unwrap();
    (audience.0.into_inner().into_iter().filter_map(|p| Some(p.preview?.extent())).collect(), made)
}

#[test]
fn a_tiny_autoencoder_decodes_as_diffusers_does() {
    let (model, expected) = (tiny(), expected());
    let want: Vec<f32> = expected["tiny.picture"].flatten_all().unwrap().to_vec1().unwrap();
    for source in ["taesd", "taesd_decoder.safetensors", ""] {
        let mut request = request(Sampler::Ddim);
        request.sampling.size = Extent::new(32, 16);
        request.nets.vae = Some(steered(source).as_str().into());
        let (previews, made) = watched(&model, &request);
        assert_eq!(previews, vec![Extent::new(32, 16); 8], "a fast decoder makes the previews too");
        let got = made.pictures[0].1.rgb();
        assert_eq!(got.len(), want.len());
        let off = got.iter().zip(&want).map(|(a, b)| (f32::from(*a) - b).abs()).fold(0.0, f32::max);
        println!("{source:?}: off by {off} of 255");
        assert!(off <= 1.0, "{source:?}: off by {off}");
        let init = InitSpec { picture: picture(32, 16), mask: None, strength: 0.5 };
        assert!(generate(&model, &GenerateSpec { init: Some(init), ..request }).is_ok());
    }
}

#[test]
fn another_autoencoder_takes_the_place_of_the_models_own() {
    let model = tiny();
    let with = |vae: &Path| {
        let mut request = request(Sampler::Ddim);
        request.nets.vae = Some(vae.display().to_string().as_str().into());
        generate(&model, &request)
    };
    let own = generate(&model, &request(Sampler::Ddim)).unwrap();
    let same = with(&golden().join("diffusion/sd1")).unwrap();
    assert_eq!(same.pictures, own.pictures);
    assert_ne!(same.model_hash, own.model_hash);
    assert_ne!(with(&golden().join("diffusion/sd2/vae")).unwrap().pictures, own.pictures);
    let folder = tempfile::tempdir().unwrap();
    refused(with(folder.path()), &["no config.json"]);
    refused(with(&folder.path().join("nothing")), &["no such folder or file"]);
    std::fs::write(folder.path().join("vae.pt"), "x").unwrap();
    refused(with(&folder.path().join("vae.pt")), &["safetensors"]);
    refused(with(&golden().join("steered/taesd_encoder.safetensors")), &["encoder", "decoder"]);
    refused(with(&golden().join("steered/expected.safetensors")), &["neither an autoencoder", "tiny one"]);
    refused(with(&golden().join("diffusion/sd1/unet")), &["UNet2DConditionModel"]);
    std::fs::copy(golden().join("steered/taesd_decoder.safetensors"), folder.path().join("taesd_decoder.safetensors"))
        .unwrap();
    assert!(with(folder.path()).is_ok());
    let mut from_picture = request(Sampler::Ddim);
    from_picture.init = Some(InitSpec { picture: picture(16, 16), mask: None, strength: 0.5 });
    from_picture.nets.vae = Some(folder.path().display().to_string().as_str().into());
    refused(generate(&model, &from_picture), &["taesd_encoder.safetensors"]);
}

#[test]
fn a_tiny_autoencoder_beside_the_model_makes_the_previews() {
    let (folder, model) = with_unet(&golden().join("diffusion/sd1/unet"), |_| ());
    let (previews, plain) = watched(&model.unwrap(), &request(Sampler::Ddim));
    assert_eq!(previews, vec![Extent::new(8, 8); 8]);
    let file = folder.path().join("taesd_decoder.safetensors");
    std::fs::copy(golden().join("steered/taesd_decoder.safetensors"), &file).unwrap();
    let (previews, made) = watched(&load(folder.path()).unwrap(), &request(Sampler::Ddim));
    assert_eq!(previews, vec![Extent::new(16, 16); 8]);
    assert_eq!(made, plain, "previews change nothing");
    std::fs::remove_file(file).unwrap();
    let inner = folder.path().join("taesd");
    std::fs::create_dir(&inner).unwrap();
    refused(load(folder.path()), &["taesd"]);
    for name in ["config.json", "diffusion_pytorch_model.safetensors"] {
        std::fs::copy(golden().join("steered/taesd").join(name), inner.join(name)).unwrap();
    }
    let mut large = request(Sampler::Ddim);
    (large.sampling.steps, large.sampling.size) = (1, Extent::new(16, 132));
    let (previews, _) = watched(&load(folder.path()).unwrap(), &large);
    assert_eq!(previews, [Extent::new(8, 66)], "of large latents a smaller picture is made");
}

#[test]
fn tiles_equal_those_of_diffusers() {
    let (model, expected) = (
        Autoencoder::load(&files("diffusion/sd1/vae"), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap(),
        expected(),
    );
    let cx = TaskCx::detached();
    for name in ["20x14", "8x17", "26x26"] {
        let get = |what: &str| &expected[&format!("tiles.{what}.{name}")];
        let (height, width) = size(name);
        for codec in [Codec::in_tiles(&model, 8), Codec::within(&model, height as usize, width as usize, 1)] {
            assert_eq!(codec.tile_pixels(), Some(16));
            close(name, &codec.decode(get("z"), &cx).unwrap(), get("decoded"));
            close(name, &codec.encode_mean(get("image"), &cx).unwrap(), get("encoded"));
        }
        let whole = Codec::whole(&model).decode(get("z"), &cx).unwrap();
        assert_eq!(whole.dims(), get("decoded").dims());
        let off = (whole - get("decoded")).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(off > 1e-3, "tiles make a difference");
    }
}

#[test]
fn tiles_of_any_side_make_pictures_of_the_whole_size() {
    let model = Autoencoder::load(&files("diffusion/sd1/vae"), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    let cx = TaskCx::detached();
    for side in 1..=9 {
        let codec = Codec::in_tiles(&model, side);
        let image = Tensor::ones((1, 3, 38, 62), DType::F32, &Device::Cpu).unwrap();
        let latents = codec.encode_mean(&image, &cx).unwrap();
        assert_eq!(latents.dims(), Codec::whole(&model).encode_mean(&image, &cx).unwrap().dims(), "side {side}");
        assert_eq!(codec.decode(&latents, &cx).unwrap().dims(), image.dims(), "side {side}");
    }
}

/// Expects a relative root mean square difference below 1e-5.
#[track_caller]
fn close(what: &str, got: &Tensor, want: &Tensor) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let power = |t: Tensor| t.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
    let off = power((got - want).unwrap()) / power(want.clone());
    println!("{what}: relative RMS {off:.1e}");
    assert!(off < 1e-5, "{what}: {off:e}");
}

#[test]
fn large_pictures_are_made_in_tiles_where_memory_is_short() {
    let mut request = request(Sampler::Ddim);
    (request.sampling.steps, request.sampling.size) = (1, Extent::new(48, 32));
    let whole = generate(&tiny(), &request).unwrap();
    assert!(whole.remarks.is_empty());
    let tight = tiny().with_vae_memory(100_000);
    let tiled = generate(&tight, &request).unwrap();
    assert!(tiled.remarks[0].contains("tiles of 16 pixels") && tiled.remarks.len() == 1, "{:?}", tiled.remarks);
    assert_eq!(tiled.latents, whole.latents);
    assert_ne!(tiled.pictures, whole.pictures);
    assert_eq!(generate(&tight, &request).unwrap(), tiled);
    // A small picture needs no tiles however little memory there is.
    request.sampling.size = Extent::new(16, 16);
    assert!(generate(&tight, &request).unwrap().remarks.is_empty());
    let small = generate(&tiny().with_vae_memory(1), &request).unwrap();
    assert!(small.remarks.is_empty(), "{:?}", small.remarks);
}
