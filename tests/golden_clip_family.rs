//! Every kind of CLIP and SigLIP against transformers and open_clip, on tiny random models as these save them.
//! `tests/golden/clip_family/make.py` made the files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use maquette::analysis::{Clip, zero_shot};
use maquette::base::geom::Extent;
use maquette::base::pixels::Picture;
use maquette::base::task::TaskCx;
use maquette::job::output::Scoring;
use maquette::job::spec::{Combine, HeatmapMethod, HeatmapSpec, MarkedPicture, ZeroShotSpec};
use maquette::models::ModelError;
use maquette::models::clip::{ClipModel, TextTower, unit};
use maquette::models::files::ModelFiles;
use maquette::models::hook::{AttentionHook, Hooks, Seen, Site};
use maquette::models::preprocess::{Preprocessor, resize_by};
use maquette::models::resample::Kernel;
use maquette::models::tokenizer::ClipTokenizer;
use maquette::store::pictures;

const TEXTS: [&str; 5] = [
    "a red apple on a blue background",
    "",
    "It's ΑΩ, naïve 猫!  two\tspaces 123",
    "CATS & dogs (very:1.2)",
    " ▁ under_score  ",
];
/// Model, and the sides of the pictures it was shown: its own, then perhaps others.
const MODELS: [(&str, &[(usize, usize)]); 6] = [
    ("hf_sharded", &[(28, 28), (35, 42)]),
    ("siglip", &[(31, 31), (18, 42)]),
    ("siglip2", &[(24, 24)]),
    ("open_clip_plain", &[(30, 30)]),
    ("open_clip_custom", &[(24, 24)]),
    ("open_clip_siglip", &[(32, 32)]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip_family")
}

fn files(model: &str) -> ModelFiles {
    ModelFiles::Folder(folder().join(model))
}

fn load(model: &str) -> ClipModel {
    ClipModel::load(&files(model), DType::F32, &Device::Cpu).unwrap()
}

struct Expected(HashMap<String, Tensor>);

impl Expected {
    fn read() -> Self {
        Self(candle_core::safetensors::load(folder().join("expected.safetensors"), &Device::Cpu).unwrap())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let ids = self.0[name].to_dtype(DType::U32).unwrap();
        if ids.rank() == 1 { vec![ids.to_vec1().unwrap()] } else { ids.to_vec2().unwrap() }
    }

    /// Relative RMS of the difference to what the reference has.
    #[track_caller]
    fn compare(&self, name: &str, ours: &Tensor) -> f32 {
        let theirs = floats(&self.0[name]);
        let ours = floats(ours);
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v) * f64::from(v)).sum::<f64>();
        let error = square(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b)) / square(&mut theirs.iter().copied());
        let error = error.sqrt() as f32;
        assert!(error < 1e-5, "{name} is off by {error:e}");
        println!("{error:8.1e}  {name}");
        error
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn picture() -> Picture {
    pictures::read(&folder().join("picture.png")).unwrap()
}

/// Keeps all that a net shows; asks for probabilities only if told to.
#[derive(Default)]
struct Watcher {
    asks: bool,
    states: Vec<Tensor>,
    attention: Vec<Tensor>,
    projections: Vec<[Tensor; 3]>,
    sites: Vec<Site>,
}

impl AttentionHook for Watcher {
    fn wants(&self, _: Site) -> bool {
        self.asks
    }

    fn bias(&self, _: Site) -> Option<&Tensor> {
        None
    }

    fn observe(&mut self, _: Site, probabilities: &Tensor) -> Result<(), ModelError> {
        self.attention.push(probabilities.clone());
        Ok(())
    }

    fn look(&mut self, site: Site, seen: Seen<'_>) -> Result<(), ModelError> {
        match seen {
            Seen::Before(states) if site.layer == 0 => self.states.push(states.clone()),
            Seen::Before(states) => assert_eq!(floats(states), floats(self.states.last().unwrap())),
            Seen::After(states) => self.states.push(states.clone()),
            Seen::Projections { q, k, v } => {
                self.sites.push(site);
                self.projections.push([q, k, v].map(Clone::clone));
            }
        }
        Ok(())
    }
}

impl Watcher {
    fn check(&self, expected: &Expected, tower: &str) {
        let mut layers = 0;
        for (layer, states) in self.states.iter().enumerate() {
            let name = format!("{tower}/states_{layer}");
            if expected.has(&name) {
                layers += 1;
                expected.compare(&name, states);
            }
        }
        assert!(layers + 1 >= self.states.len(), "{tower}");
        for (layer, attention) in self.attention.iter().enumerate() {
            let name = format!("{tower}/attention_{layer}");
            if expected.has(&name) {
                expected.compare(&name, attention);
            }
            // What is shown of q and k gives the probabilities that are shown, where no position is hidden.
            let [q, k, _] = &self.projections[layer];
            if tower.contains("vision") {
                let heads = attention.dim(1).unwrap();
                let split = |t: &Tensor| {
                    let (batch, length, width) = t.dims3().unwrap();
                    t.reshape((batch, length, heads, width / heads))
                        .unwrap()
                        .transpose(1, 2)
                        .unwrap()
                        .contiguous()
                        .unwrap()
                };
                let (q, k) = (split(q), split(k));
                let scale = (q.dim(3).unwrap() as f64).sqrt();
                let scores = (q.matmul(&k.t().unwrap()).unwrap() / scale).unwrap();
                let again = candle_nn::ops::softmax_last_dim(&scores).unwrap();
                let worst = floats(&(again - attention).unwrap()).into_iter().fold(0f32, |a, b| a.max(b.abs()));
                assert!(worst < 1e-5, "{worst}");
            }
        }
    }
}

#[test]
fn text_towers_give_the_references_states_attention_and_embeddings() {
    let (expected, cx) = (Expected::read(), TaskCx::detached());
    for (model, _) in MODELS {
        let (net, ids) = (load(model), expected.ids(&format!("{model}/ids")));
        let mut watcher = Watcher { asks: true, ..Watcher::default() };
        let embeddings = net.text.embed(&ids).unwrap();
        let states = net.text.forward_embedded(&embeddings, &mut Hooks::new(Some(&mut watcher)), &cx).unwrap();
        if expected.has(&format!("{model}/text/last")) {
            watcher.check(&expected, &format!("{model}/text"));
            expected.compare(&format!("{model}/text/last"), &states);
        }
        // Nobody watching, and somebody who only looks, change nothing.
        let alone = net.text.forward(&ids, &cx).unwrap();
        let mut looking = Watcher::default();
        let looked = net.text.forward_embedded(&embeddings, &mut Hooks::new(Some(&mut looking)), &cx).unwrap();
        assert_eq!(floats(&alone), floats(&looked));
        assert!(looking.attention.is_empty() && looking.states.len() == watcher.states.len());
        let close = floats(&(&alone - &states).unwrap()).into_iter().all(|d| d.abs() < 1e-5);
        assert!(close, "asking for attention changed the states of {model}");
        let text = net.text.project(&net.text.pool(&alone, &ids).unwrap()).unwrap();
        expected.compare(&format!("{model}/text"), &text);
    }
}

#[test]
fn vision_towers_give_the_references_states_attention_and_embeddings_at_any_size() {
    let (expected, cx) = (Expected::read(), TaskCx::detached());
    for (model, sizes) in MODELS {
        let net = load(model);
        for (height, width) in sizes {
            let size = format!("{height}x{width}");
            let pixels = expected.0[&format!("{model}/pixels_{size}")].unsqueeze(0).unwrap();
            let mut watcher = Watcher { asks: true, ..Watcher::default() };
            let seen = net.vision.forward_hooked(&pixels, &mut Hooks::new(Some(&mut watcher)), &cx).unwrap();
            expected.compare(&format!("{model}/image_{size}"), &seen.pooled);
            watcher.check(&expected, &format!("{model}/vision_{size}"));
            let alone = net.vision.forward(&pixels, &cx).unwrap();
            expected.compare(&format!("{model}/image_{size}"), &alone.pooled);
            let mut looking = Watcher::default();
            let looked = net.vision.forward_hooked(&pixels, &mut Hooks::new(Some(&mut looking)), &cx).unwrap();
            assert_eq!(floats(&alone.pooled), floats(&looked.pooled));
            let crossing = watcher.sites.iter().filter(|site| site.is_cross).count();
            assert_eq!(crossing, usize::from(model.contains("siglip")), "the pooling head attends too");
        }
    }
}

#[test]
fn siglips_head_tells_what_each_patch_is() {
    let expected = Expected::read();
    let net = load("siglip");
    let pixels = expected.0["siglip/pixels_18x42"].unsqueeze(0).unwrap();
    let seen = net.vision.forward(&pixels, &TaskCx::detached()).unwrap();
    assert_eq!((seen.rows, seen.columns), (3, 7));
    expected.compare("siglip/patches", &net.vision.patches(&seen).unwrap());
    expected.compare("siglip/values", &net.vision.values(&seen).unwrap());
}

#[test]
fn logits_and_probabilities_are_the_references() {
    let (expected, cx) = (Expected::read(), TaskCx::detached());
    for (model, sizes) in MODELS {
        let (net, ids) = (load(model), expected.ids(&format!("{model}/ids")));
        let (height, width) = sizes[0];
        let pixels = expected.0[&format!("{model}/pixels_{height}x{width}")].unsqueeze(0).unwrap();
        let image = floats(&unit(&net.vision.forward(&pixels, &cx).unwrap().pooled).unwrap());
        let states = net.text.forward(&ids, &cx).unwrap();
        let texts = net.project_text(&net.text.pool(&states, &ids).unwrap()).unwrap().to_vec2::<f32>().unwrap();
        let is_sigmoid = matches!(net.scoring(), Scoring::Sigmoid { .. });
        assert_eq!(is_sigmoid, model.contains("siglip") || model == "open_clip_custom");
        let scored = zero_shot::score(&image, &[texts], net.scoring(), Combine::Logit);
        expected.compare(&format!("{model}/logits"), &Tensor::new(&scored.logits[..], &Device::Cpu).unwrap());
        let probabilities = Tensor::new(&scored.probabilities[..], &Device::Cpu).unwrap();
        expected.compare(&format!("{model}/probabilities"), &probabilities);
    }
}

#[test]
fn a_text_tower_alone_has_its_projection() {
    let expected = Expected::read();
    let tower = TextTower::load_folder(&files("hf_text"), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    let ids = expected.ids("hf_text/ids");
    let states = tower.forward(&ids, &TaskCx::detached()).unwrap();
    expected.compare("hf_text/last", &states);
    expected.compare("hf_text/text", &tower.project(&tower.pool(&states, &ids).unwrap()).unwrap());
}

#[test]
fn embeddings_may_take_the_place_of_ids() {
    let (expected, cx) = (Expected::read(), TaskCx::detached());
    let net = load("hf_sharded");
    let embeddings = &expected.0["hf_sharded/embeddings"];
    expected.compare(
        "hf_sharded/from_embeddings",
        &net.text.forward_embedded(embeddings, &mut Hooks::none(), &cx).unwrap(),
    );
    let wide = Tensor::zeros((1, 3, 31), DType::F32, &Device::Cpu).unwrap();
    assert!(net.text.forward_embedded(&wide, &mut Hooks::none(), &cx).unwrap_err().to_string().contains("width 30"));
    assert!(net.text.forward(&[vec![1_000_000]], &cx).unwrap_err().to_string().contains("1000000"));
    assert!(net.text.forward(&[vec![1; 21]], &cx).is_err());
}

#[test]
fn tokens_are_those_of_the_reference() {
    let expected = Expected::read();
    for (model, texts) in [("hf_sharded", 4), ("open_clip_plain", 4), ("siglip", 5), ("siglip2", 5)] {
        let net = load(model);
        let tokenizer = ClipTokenizer::load(&files(model)).unwrap().for_tower(net.text.config());
        for (index, text) in TEXTS.iter().take(texts).enumerate() {
            let theirs = expected.ids(&format!("{model}/ids_{index}")).remove(0);
            let ours = match model {
                "hf_sharded" => tokenizer.encode(text).unwrap().ids,
                // open_clip fills up with zeros, which its own configuration does not say.
                "open_clip_plain" => {
                    let mut ids = tokenizer.encode(text).unwrap().ids;
                    ids.resize(18, 0);
                    ids
                }
                _ => tokenizer.encode_padded(text).unwrap().ids,
            };
            assert_eq!(ours, theirs, "{model}: {text:?}");
        }
        if model.starts_with("siglip") {
            let long = tokenizer.encode_padded(&"apple ".repeat(90)).unwrap();
            assert_eq!(long.ids, expected.ids(&format!("{model}/ids_5")).remove(0));
            assert!(long.cut > 0);
        }
    }
}

#[test]
fn a_text_cut_at_its_end_token_is_the_whole_text() {
    let (expected, cx) = (Expected::read(), TaskCx::detached());
    for model in ["hf_sharded", "open_clip_plain"] {
        let net = load(model);
        assert!(!net.text.config().needs_padding());
        let ids = expected.ids(&format!("{model}/ids")).remove(0);
        let end = ids.iter().position(|id| id == ids.iter().max().unwrap()).unwrap();
        let embedding = |ids: Vec<u32>| {
            let states = net.text.forward(std::slice::from_ref(&ids), &cx).unwrap();
            floats(&net.project_text(&net.text.pool(&states, &[ids]).unwrap()).unwrap())
        };
        let (cut, whole) = (embedding(ids[..=end].to_vec()), embedding(ids));
        assert!(cut.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-6));
    }
    assert!(load("siglip").text.config().needs_padding() && load("open_clip_custom").text.config().needs_padding());
}

#[test]
fn pictures_are_prepared_within_one_level_of_the_reference() {
    let expected = Expected::read();
    for (model, std) in [
        ("hf_sharded", 0.2613),
        ("siglip", 0.5),
        ("siglip2", 0.5),
        ("open_clip_plain", 0.26),
        ("open_clip_custom", 0.5),
    ] {
        let net = load(model);
        let preprocessor = Preprocessor::load(&files(model), net.vision.image_size() as u32, net.convention()).unwrap();
        let ours = preprocessor.to_tensor(&preprocessor.fitted(&picture()), DType::F32, &Device::Cpu).unwrap();
        let (ours, theirs) = (floats(&ours), floats(&expected.0[&format!("{model}/processed")]));
        assert_eq!(ours.len(), theirs.len(), "{model}");
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) * std * 255.0;
        println!("{model}: {worst} levels");
        assert!(worst < 1.01, "{model} is off by {worst} levels");
    }
}

#[test]
fn every_filter_is_pillows_to_the_byte() {
    let expected = Expected::read();
    let small = Picture::from_fn(Extent::new(41, 33), |x, y| picture().pixel(x, y).unwrap());
    let filters = [(0, "nearest"), (1, "lanczos"), (2, "bilinear"), (4, "box"), (5, "hamming")];
    for (number, name) in filters {
        for (width, height) in [(17, 20), (50, 9)] {
            let ours = resize_by(&small, Extent::new(width, height), Kernel::from_number(number).unwrap());
            let theirs = expected.0[&format!("resample/{name}_{width}x{height}")].flatten_all().unwrap();
            let theirs = theirs.to_vec1::<u8>().unwrap();
            assert!(ours.rgb() == theirs, "{name} at {width}x{height}");
        }
    }
}

#[test]
fn siglip_scores_classes_one_by_one_and_makes_heatmaps() {
    let (cx, model) = (TaskCx::detached(), maquette::job::ModelRef::builtin());
    let clip = Clip::load(&files("siglip"), DType::F32, &Device::Cpu, &TaskCx::detached()).unwrap();
    let image = MarkedPicture { picture: picture(), marks: Vec::new() };
    for combine in Combine::ALL {
        let table = |classes: &[&str]| {
            let spec = ZeroShotSpec {
                model: model.clone(),
                images: vec![image.clone()],
                classes: classes.iter().map(|class| (*class).to_owned()).collect(),
                templates: vec!["a {}".to_owned(), "very {}".to_owned()],
                own_texts: Vec::new(),
                combine,
            };
            clip.zero_shot(&spec, &cx).unwrap()
        };
        let (one, three) = (table(&["dog"]), table(&["dog", "cat", "apple"]));
        assert!(matches!(three.scoring, Scoring::Sigmoid { .. }));
        assert!((one.images[0].probabilities[0] - three.images[0].probabilities[0]).abs() < 1e-6);
    }
    for method in [HeatmapMethod::Auto, HeatmapMethod::Patch, HeatmapMethod::MaskClip] {
        let phrases = vec!["a dog".to_owned()];
        let spec = HeatmapSpec { model: model.clone(), image: image.clone(), phrases, method };
        let maps = clip.heatmaps(&spec, &cx).unwrap();
        assert!(maps.phrases[0].grid.values.iter().all(|v| v.abs() <= 1.0 + 1e-5));
    }
}

/// A copy of a model in which one thing is changed, and what loading it then says.
fn changed(model: &str, change: impl Fn(&Path)) -> String {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder().join(model)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    change(copy.path());
    let result = Clip::load(&ModelFiles::Folder(copy.path().to_owned()), DType::F32, &Device::Cpu, &TaskCx::detached());
    result.err().map_or_else(String::new, |error| error.to_string())
}

#[test]
fn what_cannot_be_run_is_refused_with_the_file_and_a_reason() {
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{file} has no {from}");
            std::fs::write(path, text.replace(from, to)).unwrap();
        }
    };
    let check = |model: &str, change: &dyn Fn(&Path), parts: &[&str]| {
        let message = changed(model, change);
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    };
    let config = "config.json";
    check("siglip", &edit(config, "\"siglip\"", "\"siglip2\""), &[config, "NaFlex"]);
    check("siglip", &edit(config, "\"siglip\"", "\"blip\""), &[config, "blip"]);
    check("siglip", &edit(config, "\"gelu_pytorch_tanh\"", "\"relu\""), &[config, "relu"]);
    check("siglip", &edit(config, "\"patch_size\": 6", "\"patch_size\": 0"), &[config, "patches of 0"]);
    check("siglip", &edit(config, "\"hidden_size\": 24", "\"hidden_size\": 0"), &["does not fit", "[24, 0]"]);
    check("siglip", &edit(config, "\"image_size\": 31", "\"image_size\": 1000000000000"), &[config, "1000000000000"]);
    check(
        "siglip",
        &edit(config, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 9"),
        &["model.safetensors", "no tensor"],
    );
    check(
        "siglip",
        &edit(config, "\"vocab_size\": 150", "\"vocab_size\": 151"),
        &["model.safetensors", "151", "does not fit"],
    );
    let open = "open_clip_config.json";
    check("open_clip_plain", &edit(open, "\"layers\": 2", "\"timm_model_name\": \"vit\""), &[open, "timm_model_name"]);
    check("open_clip_plain", &edit(open, "\"patch_size\": 10", "\"pool_type\": \"avg\""), &[open, "pool_type"]);
    check("open_clip_plain", &edit(open, "\"head_width\": 12", "\"head_width\": 0"), &[open, "head_width"]);
    let index = "model.safetensors.index.json";
    check("hf_sharded", &edit(index, "model-00002-of", "../model-00002-of"), &[index, "of this folder"]);
    check("hf_sharded", &edit(index, "logit_scale", "logit_scales"), &[index, "logit_scales", "download"]);
    check(
        "hf_sharded",
        &|folder| std::fs::remove_file(folder.join("model-00002-of-00003.safetensors")).unwrap(),
        &["model-00002"],
    );
    let rename = |from: &'static str, to: &'static str| {
        move |folder: &Path| std::fs::rename(folder.join(from), folder.join(to)).unwrap()
    };
    check("siglip", &rename("model.safetensors", "pytorch_model.bin"), &["pytorch_model.bin", "pickle", "convert"]);
    check("siglip", &rename("tokenizer.json", "spiece.model"), &["spiece.model", "tokenizer.json"]);
    assert_eq!(changed("siglip", |_| ()), "");
}

#[test]
fn damaged_bytes_and_numbers_never_cause_a_panic() {
    let cx = TaskCx::detached();
    for model in ["siglip", "open_clip_custom"] {
        let copy = tempfile::tempdir().unwrap();
        let mut originals = Vec::new();
        for entry in std::fs::read_dir(folder().join(model)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(copy.path().join(path.file_name().unwrap()), &bytes).unwrap();
            originals.push((copy.path().join(path.file_name().unwrap()), bytes));
        }
        originals.sort();
        let files = ModelFiles::Folder(copy.path().to_owned());
        let mut random = 1u64;
        let mut below = move |bound: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % bound
        };
        for _ in 0..400 {
            let (path, original) = &originals[below(originals.len())];
            // Where structure is: the header of weights, all of a configuration.
            let mut bytes = original.clone();
            let reach = bytes.len().min(9000);
            let digits: Vec<usize> = (8..reach).filter(|at| bytes[*at].is_ascii_digit()).collect();
            for _ in 0..=below(2) {
                if below(2) == 0 && !digits.is_empty() {
                    bytes[digits[below(digits.len())]] = b'0' + below(10) as u8;
                } else {
                    bytes[below(reach)] = below(256) as u8;
                }
            }
            std::fs::write(path, &bytes).unwrap();
            // A change may be harmless; then the model must run, or say why it does not.
            if let Ok(clip) = Clip::load(&files, DType::F32, &Device::Cpu, &TaskCx::detached()) {
                let _ = clip.text_encode("a red dog", &cx);
                let _ = clip.image_encode(&picture(), &cx);
                let image = MarkedPicture { picture: picture(), marks: Vec::new() };
                let phrases = vec!["a dog".to_owned()];
                let model = maquette::job::ModelRef::builtin();
                let _ = clip.heatmaps(&HeatmapSpec { model, image, phrases, method: HeatmapMethod::Auto }, &cx);
            }
            std::fs::write(path, original).unwrap();
        }
    }
}

#[test]
fn a_tokenizer_file_that_its_library_panics_on_is_said_by_name() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/conditioning/xl/tokenizer");
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let place = copy.path().join("tokenizer.json");
    let whole = std::fs::read_to_string(&place).unwrap();
    let load = |text: &str| {
        std::fs::write(&place, text).unwrap();
        ClipTokenizer::load(&ModelFiles::Folder(copy.path().to_owned()))
    };
    let words = load(&whole).unwrap().words("a red apple").unwrap();
    // Inside of its last settings, where the library expects more without asking.
    let decoder = whole.rfind("\"decoder\"").unwrap();
    for cut in (decoder..decoder + 200).filter(|cut| whole.is_char_boundary(*cut)) {
        let said = load(&whole[..cut]).err().unwrap().to_string();
        assert!(said.contains("tokenizer.json"), "{said}");
    }
    let set = |key: &str, value: serde_json::Value| {
        let mut file: serde_json::Value = serde_json::from_str(&whole).unwrap();
        file[key] = value;
        load(&file.to_string()).and_then(|tokenizer| tokenizer.words("a red apple"))
    };
    for (key, value) in [
        ("normalizer", serde_json::json!({"type": "Precompiled", "precompiled_charsmap": ""})),
        ("pre_tokenizer", serde_json::json!({"type": "FixedLength", "length": 0})),
    ] {
        let said = set(key, value.clone()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("tokenizer"), "{value}: {said}");
    }
    // What is left to chance in training is not in use.
    let mut file: serde_json::Value = serde_json::from_str(&whole).unwrap();
    file["model"]["dropout"] = 0.9.into();
    for _ in 0..4 {
        assert_eq!(load(&file.to_string()).unwrap().words("a red apple").unwrap(), words);
    }
}
