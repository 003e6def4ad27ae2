//! The command line as its users meet it: the real program, real files, exit codes, JSON.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn maquette(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maquette"));
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        command.env_remove(name);
    }
    command.args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = maquette(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema"], 1);
    value
}

/// Expects exit code 2, a one-line message with `part` in it, and nothing at `out`.
fn refused(arguments: &[&str], part: &str, out: &Path) {
    let output = maquette(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.contains(part), "{arguments:?}: {message}");
    assert!(!message.contains("panicked"), "{message}");
    assert!(!out.exists(), "{arguments:?} wrote {}", out.display());
}

fn sample() -> String {
    text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples/apple-and-cat.png"))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        text(&self.path(name))
    }
}

#[test]
fn without_a_display_the_window_names_the_tour() {
    let output = maquette(&[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("cargo run --release -- tour --out DIR") && message.lines().count() == 1, "{message}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_number_of_threads() {
    let folder = Folder::new();
    let make = |name: &str, threads: &str| {
        let out = text(&folder.path(name));
        let value = json(&[
            "generate",
            "--prompt",
            "a red apple on a blue background",
            "--seed",
            "1",
            "--steps",
            "3",
            "--threads",
            threads,
            "--out",
            &out,
            "--json",
        ]);
        assert_eq!(value["files"][0], Value::from(out.clone()));
        assert_eq!(value["seed"], 1);
        assert_eq!(value["job"]["sampling"]["steps"], 3);
        std::fs::read(out).unwrap()
    };
    let first = make("a.png", "1");
    assert!(first == make("b.png", "2") && first == make("c.png", "1"), "the bytes differ");
}

#[test]
fn given_noise_becomes_the_latents_of_the_diffusers_pipeline() {
    let folder = Folder::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diffusion");
    let noise = golden.join("samplers.safetensors");
    let expected = candle_core::safetensors::load(&noise, &candle_core::Device::Cpu).unwrap();
    let values = |tensor: &candle_core::Tensor| -> Vec<f32> { tensor.flatten_all().unwrap().to_vec1().unwrap() };
    for (name, more) in [
        ("own", &[][..]),
        ("ddim", &["--sampler", "ddim"]),
        ("euler-a", &["--sampler", "euler-a"]),
        ("euler-karras", &["--sampler", "euler", "--schedule", "karras"]),
        ("dpm++2m-exponential", &["--sampler", "dpm++2m", "--schedule", "exponential"]),
        ("unipc", &["--sampler", "unipc"]),
        ("tcd-eta", &["--sampler", "tcd", "--eta", "0"]),
        ("rescale", &["--sampler", "euler", "--guidance-rescale", "0.7"]),
    ] {
        let (out, saved) = (folder.path("a.png"), folder.path("latents.safetensors"));
        let (out, saved_text) = (text(&out), text(&saved));
        let (model, noise) = (text(&golden.join("sd1")), text(&noise));
        let fixed = ["generate", "--prompt", "a red cube", "--negative", "blurry", "--steps", "8", "--guidance", "5"];
        let files = ["--model", &model, "--noise", &noise, "--save-latents", &saved_text, "--out", &out];
        let value = json(&[&fixed[..], &files, &["--seed", "3", "--size", "16x16", "--json"], more].concat());
        assert_eq!(value["remarks"].as_array().unwrap().len(), 0, "{name}: {}", value["remarks"]);
        assert_eq!(value["job"]["noise"]["shape"], serde_json::json!([4, 8, 8]));
        let made = candle_core::safetensors::load(&saved, &candle_core::Device::Cpu).unwrap();
        assert_eq!(made["latents"].dims(), [1, 4, 8, 8]);
        let (got, want) = (values(&made["latents"]), values(&expected[&format!("picture.{name}")]));
        let power = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v * v)).sum::<f64>().sqrt();
        let off_by = power(&mut got.iter().zip(&want).map(|(a, b)| a - b)) / power(&mut want.iter().copied());
        assert!(off_by < 1e-4, "{name}: relative RMS {off_by:e}");
    }
}

#[test]
fn nets_beside_the_model_are_read_and_recorded() {
    let folder = Folder::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (out, image) = (folder.path("out.png"), sample());
    let [model, control, vae] =
        ["diffusion/sd1", "steered/control0", "steered/taesd_decoder.safetensors"].map(|name| text(&golden.join(name)));
    let out_text = text(&out);
    let fixed = [
        "generate",
        "--prompt",
        "a red cube",
        "--model",
        &model,
        "--steps",
        "2",
        "--size",
        "16x16",
        "--out",
        &out_text,
    ];
    let with = |more: &[&str]| [&fixed[..], more].concat().into_iter().map(str::to_owned).collect::<Vec<String>>();
    let check = |more: &[&str], part: &str| {
        refused(&with(more).iter().map(String::as_str).collect::<Vec<_>>(), part, &out);
    };
    check(&["--control", &control], "--control-image");
    check(&["--control-image", &image], "--control");
    check(&["--control", &control, "--control-image", &image, "--control-image", &image], "1 --control and 2");
    let pair = ["--control", &control, "--control-image", &image];
    check(&[&pair[..], &["--control-scale", "1", "--control-scale", "2"]].concat(), "one for all or one for each");
    check(&[&pair[..], &["--control-end", "0"]].concat(), "from a start to a later end");
    check(&["--vae", &image], "safetensors");
    let two = [
        &pair[..],
        &pair,
        &["--control-scale", "0.5", "--control-start", "0", "--control-start", "0.2", "--vae", &vae, "--json"],
    ]
    .concat();
    let value = json(&with(&two).iter().map(String::as_str).collect::<Vec<_>>());
    let recorded = &value["job"]["controls"];
    assert_eq!(recorded[0]["scale"], 0.5);
    assert_eq!(
        (&recorded[1]["model"], &value["job"]["vae"]),
        (&Value::from(control.clone()), &Value::from(vae.clone()))
    );
    assert_eq!(recorded[0]["picture"]["sha256"].as_str().map(str::len), Some(64), "{recorded}");
}

#[test]
fn inpainting_keeps_every_pixel_outside_the_mask() {
    let folder = Folder::new();
    let size = maquette::base::geom::Extent::new(160, 144);
    let picture = maquette::base::pixels::Picture::from_fn(size, |x, y| [x as u8, y as u8, 77]);
    let inside = |x: u32, y: u32| (60..100).contains(&x) && (40..90).contains(&y);
    let mask = maquette::base::pixels::Picture::from_fn(size, |x, y| [if inside(x, y) { 255 } else { 0 }; 3]);
    let (init, painted, out) = (folder.path("init.png"), folder.path("mask.png"), folder.path("out.png"));
    maquette::store::pictures::write_png(&init, &picture, None).unwrap();
    maquette::store::pictures::write_png(&painted, &mask, None).unwrap();
    let output = maquette(&[
        "generate",
        "--prompt",
        "a cat",
        "--seed",
        "3",
        "--steps",
        "2",
        "--init",
        &text(&init),
        "--mask",
        &text(&painted),
        "--out",
        &text(&out),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = maquette::store::pictures::read(&out).unwrap();
    assert_eq!(made.extent(), size);
    for (x, y) in (0..144).flat_map(|y| (0..160).map(move |x| (x, y))).filter(|(x, y)| !inside(*x, *y)) {
        assert_eq!(made.pixel(x, y), picture.pixel(x, y));
    }
    assert_ne!(made, picture);
}

#[test]
fn heatmaps_peak_inside_the_named_thing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples");
    let samples: Value = serde_json::from_slice(&std::fs::read(root.join("samples.json")).unwrap()).unwrap();
    let folder = Folder::new();
    for (file, things) in samples.as_object().unwrap() {
        let (image, out, data) = (text(&root.join(file)), text(&folder.path("h.png")), folder.path("h.safetensors"));
        let names: Vec<String> =
            things.as_array().unwrap().iter().map(|t| format!("a {}", t["thing"].as_str().unwrap())).collect();
        let data_text = text(&data);
        let mut arguments = vec!["heatmap", "--image", &image, "--out", &out, "--data", &data_text, "--json"];
        for name in &names {
            arguments.extend(["--text", name]);
        }
        let value = json(&arguments);
        for (thing, phrase) in things.as_array().unwrap().iter().zip(value["phrases"].as_array().unwrap()) {
            let side = |value: &Value, i: usize| value[i].as_i64().unwrap();
            let (bounds, peak) = (&thing["box"], &phrase["peak"]);
            let inside = (side(bounds, 0)..side(bounds, 2)).contains(&side(peak, 0))
                && (side(bounds, 1)..side(bounds, 3)).contains(&side(peak, 1));
            assert!(inside, "{file}: {} peaks at {peak}, outside {bounds}", phrase["text"]);
            assert!(phrase["min"].as_f64() < phrase["max"].as_f64() && phrase["score"].is_number());
        }
        let tensors = candle_core::safetensors::load(&data, &candle_core::Device::Cpu).unwrap();
        assert_eq!(tensors["grid"].dims(), [names.len(), 16, 16]);
        assert_eq!(tensors["heatmap"].dims(), [names.len(), 512, 512]);
    }
}

#[test]
fn compare_gives_a_row_for_each_picture_template_and_class() {
    let folder = Folder::new();
    let classes = folder.write("classes.txt", "# things\napple\ncat\nhouse\n");
    let templates = folder.write("templates.txt", "a picture of a {}\na photo of a {}\n");
    let csv = folder.path("out.csv");
    for combine in ["embedding", "logit", "probability", "max"] {
        let value = json(&[
            "compare",
            "--classes",
            &classes,
            "--templates",
            &templates,
            "--image",
            &sample(),
            "--image",
            &sample(),
            "--combine",
            combine,
            "--out",
            &text(&csv),
            "--json",
        ]);
        assert_eq!((value["classes"].as_array().unwrap().len(), value["images"].as_array().unwrap().len()), (3, 2));
        let image = &value["images"][0];
        let sum: f64 = image["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{combine}: the probabilities add up to {sum}");
        assert_eq!(image["by_template"][1].as_array().unwrap().len(), 3);
        assert_eq!(std::fs::read_to_string(&csv).unwrap().lines().count(), 1 + 2 * 3 * 3);
    }
}

#[test]
fn texts_of_single_classes_count_as_one_more_template() {
    let folder = Folder::new();
    let templates = folder.write("templates.txt", "a picture of a {}\n");
    let plain = folder.write("plain.json", r#"{"Apple": ["a picture of a apple"], "cat": ["a picture of a cat"]}"#);
    let rich = folder.write("rich.json", r#"{"apple": ["red", "a round fruit"], "cat": ["a tail", "four legs"]}"#);
    let ask = ["compare", "--image", &sample(), "--templates", &templates, "--json"].map(ToOwned::to_owned);
    let with = |more: &[&str]| json(&ask.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>());
    // One text that is what the template makes has its logits.
    let same = with(&["--class-texts", &plain]);
    assert_eq!(same["templates"], serde_json::json!(["a picture of a {}", "{texts:plain}"]));
    let rows = same["images"][0]["by_template"].as_array().unwrap();
    let logit = |row: usize, class: usize| rows[row][class].as_f64().unwrap();
    assert!((logit(0, 1) - logit(1, 1)).abs() < 1e-3, "{rows:?}");
    let both = with(&["--class-texts", &plain, "--class-texts", &rich]);
    assert_eq!(both["templates"].as_array().unwrap().len(), 3);
    let classes = folder.write("classes.txt", "cat\ndog\n");
    let said = maquette(&["compare", "--image", &sample(), "--classes", &classes, "--class-texts", &rich]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("\"rich\" has no texts for dog"));
    let said = maquette(&["compare", "--image", &sample(), "--class-texts", &classes]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("has no texts for classes"));
}

#[test]
fn embeddings_are_unit_norm_rows() {
    let folder = Folder::new();
    let out = folder.path("e.safetensors");
    assert!(maquette(&["embed", "--text", "a cat", "--text", "", "--out", &text(&out)]).status.success());
    let rows = candle_core::safetensors::load(&out, &candle_core::Device::Cpu).unwrap()["embeddings"]
        .to_vec2::<f32>()
        .unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!((row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4);
    }
}

#[test]
fn bench_and_models_answer() {
    let value = json(&["bench", "--json"]);
    for part in ["text_encode", "image_encode", "denoise_step", "decode"] {
        assert!(
            ["cpu_seconds", "wall_seconds", "longest_stretch_seconds"]
                .iter()
                .all(|key| value[part][key].as_f64() > Some(0.0)),
            "{part}"
        );
    }
    assert!(value["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    let listed = String::from_utf8(maquette(&["models", "list"]).stdout).unwrap();
    assert!(listed.contains("builtin") && listed.contains("CLIP") && listed.contains("diffusion"), "{listed}");
}

#[test]
fn the_tour_writes_a_whole_report() {
    let folder = Folder::new();
    let out = folder.path("tour");
    let output = maquette(&["tour", "--out", &text(&out)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    for file in report["files"].as_array().unwrap() {
        assert!(maquette::store::pictures::read(&out.join(file.as_str().unwrap())).is_ok(), "{file}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("data:image/png;base64,") && !page.contains("src=\"http"));
}

/// A whole and valid picture of 20000x20000 pixels, one bit each.
fn enormous_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 20_000, 20_000);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![0; 20_000 * 2_500]).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn bad_pictures_are_refused() {
    let folder = Folder::new();
    let whole = std::fs::read(sample()).unwrap();
    let truncated = folder.write("truncated.png", &whole[..whole.len() / 2]);
    let words = folder.write("words.png", "these are words, not a picture");
    let enormous = folder.write("enormous.png", enormous_png());
    let missing = text(&folder.path("missing.png"));
    let out = folder.path("out.png");
    for (image, part) in
        [(truncated, "cut short"), (words, "not a PNG"), (enormous, "20000x20000"), (missing, "cannot read")]
    {
        refused(&["heatmap", "--image", &image, "--text", "cat", "--out", &text(&out)], part, &out);
        refused(&["generate", "--prompt", "cat", "--init", &image, "--out", &text(&out)], part, &out);
    }
}

#[test]
fn bad_models_and_numbers_are_refused() {
    let folder = Folder::new();
    let out = folder.path("out.png");
    let out_text = text(&out);
    let generate = |more: &[&str]| {
        [&["generate", "--prompt", "cat", "--out", &out_text], more]
            .concat()
            .iter()
            .map(|s| (*s).to_owned())
            .collect::<Vec<_>>()
    };
    let check = |more: &[&str], part: &str| {
        let arguments = generate(more);
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), part, &out);
    };
    check(&["--model", "no-such-model"], "no such folder");
    check(&["--model", &text(folder.0.path())], "model_index.json");
    check(&["--sampler", "magic"], "dpm++2m");
    check(&["--schedule", "magic"], "karras");
    check(&["--rng", "magic"], "cuda");
    check(&["--eta", "2"], "eta");
    check(&["--guidance-rescale", "nan"], "rescale");
    check(&["--noise", &sample()], "safetensors");
    check(&["--noise", &text(&folder.path("missing"))], "cannot read noise");
    #[cfg(unix)]
    check(&["--noise", "/dev/zero"], "no ordinary file");
    check(&["--noise", &sample(), "--count", "2"], "--count");
    check(&["--save-latents", &text(&folder.path("nowhere/l.safetensors"))], "no such folder");
    check(&["--size", "12"], "WIDTHxHEIGHT");
    check(&["--size", "9000x9000"], "2048");
    check(&["--steps", "0"], "steps");
    check(&["--guidance", "nan"], "guidance");
    check(&["--guidance", "3e38", "--steps", "2"], "grew beyond all bounds");
    check(&["--seed", "-1"], "--seed");
    check(&["--strength", "0.5"], "--init");
    check(&["--init", &sample(), "--strength", "3"], "between 0 and 1");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip/quick");
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path(path.file_name().unwrap().to_str().unwrap())).unwrap();
    }
    folder.write("model.safetensors", "not tensors at all");
    refused(
        &["heatmap", "--image", &sample(), "--text", "cat", "--model", &text(folder.0.path()), "--out", &out_text],
        "model.safetensors",
        &out,
    );
    refused(&["generate", "--prompt", "cat", "--out", &text(&folder.path("nowhere/out.png"))], "no such folder", &out);
}

#[test]
fn what_is_no_model_does_not_pass_the_check() {
    let folder = Folder::new();
    let nothing = folder.path("nothing");
    refused(&["models", "check", &text(folder.0.path())], "cannot be used", &nothing);
    refused(&["models", "check"], "<MODEL>", &nothing);
    refused(&["models", "check", "builtin", "--scenes", "0"], "--scenes", &nothing);
}

#[test]
fn without_a_judge_the_check_measures_the_rest_and_says_so() {
    let folder = Folder::new();
    let judge = text(&folder.path("judge"));
    refused(&["models", "check", "builtin", "--judge", &judge], "judge", &folder.path("judge"));
    let report = json(&["models", "check", "builtin", "--scenes", "2", "--json"]);
    let measured: Vec<&str> =
        report["figures"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    for name in ["zero_shot_top1", "lens_iou", "autoencoder_psnr_db", "picture_cpu_seconds"] {
        assert!(measured.contains(&name), "{measured:?}");
    }
    let has_judge = !report["judge"].is_null();
    assert_eq!(report["not_measured"].as_array().unwrap().is_empty(), has_judge);
    assert_eq!(measured.contains(&"generated_thing"), has_judge);
}

#[test]
fn empty_and_enormous_prompts_work_up_to_a_bound() {
    let folder = Folder::new();
    let out = text(&folder.path("out.png"));
    for prompt in ["".to_owned(), "apple ".repeat(5000)] {
        let value = json(&["generate", "--prompt", &prompt, "--steps", "1", "--seed", "1", "--out", &out, "--json"]);
        assert_eq!(value["remarks"].as_array().unwrap().len(), 0);
    }
    let (long, out) = ("apple ".repeat(20_000), folder.path("none.png"));
    refused(&["generate", "--prompt", &long, "--out", &text(&out)], "267 chunks and 200 is the most", &out);
}

#[test]
fn a_model_with_two_text_towers_makes_pictures_of_its_own_size() {
    let folder = Folder::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/conditioning");
    let (model, numbers) = (text(&golden.join("xl")), golden.join("expected.safetensors"));
    let expected = candle_core::safetensors::load(&numbers, &candle_core::Device::Cpu).unwrap();
    let saved = folder.path("latents.safetensors");
    let (out, saved_text, noise) = (text(&folder.path("a.png")), text(&saved), text(&numbers));
    let fixed = ["generate", "--prompt", "a red cube, blue", "--negative", "blurry", "--steps", "8", "--guidance", "5"];
    let files = ["--model", &model, "--noise", &noise, "--save-latents", &saved_text, "--out", &out, "--json"];
    let value = json(&[&fixed[..], &files].concat());
    assert_eq!(value["remarks"].as_array().unwrap().len(), 0, "{}", value["remarks"]);
    assert_eq!(value["job"]["sampling"]["size"], serde_json::json!({"width": 16, "height": 16}));
    let made = candle_core::safetensors::load(&saved, &candle_core::Device::Cpu).unwrap();
    let values = |tensor: &candle_core::Tensor| -> Vec<f32> { tensor.flatten_all().unwrap().to_vec1().unwrap() };
    let (got, want) = (values(&made["latents"]), values(&expected["picture.xl.negative"]));
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = want.iter().map(|v| v.abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4 * largest, "off by {worst}");
    let weighted = |emphasis: &str, skip: &str| {
        let prompt =
            ["generate", "--prompt", "a (red:1.4) cube", "--seed", "1", "--steps", "2", "--emphasis", emphasis];
        json(&[&prompt[..], &["--clip-skip", skip, "--model", &model, "--out", &out, "--json"]].concat());
        std::fs::read(&out).unwrap()
    };
    let pictures = [weighted("a1111", "2"), weighted("none", "2"), weighted("a1111", "3"), weighted("comfyui", "2")];
    assert!(pictures.iter().enumerate().all(|(at, one)| !pictures[..at].contains(one)));
    let out = folder.path("none.png");
    for (more, part) in [(["--emphasis", "loud"], "a1111-no-norm"), (["--clip-skip", "9"], "choose from 1")] {
        let arguments = ["generate", "--prompt", "a", "--model", &model, "--out", out.to_str().unwrap()];
        refused(&[&arguments[..], &more].concat(), part, &out);
    }
}

#[test]
fn options_for_all_commands_stand_before_or_behind_them() {
    for arguments in [
        &["--threads", "1", "models", "list", "--json"][..],
        &["models", "list", "--json", "--threads", "1"],
        &["--device", "cpu", "--precision", "f32", "models", "list", "--json"],
    ] {
        assert!(json(arguments)["models"].as_array().is_some_and(|models| !models.is_empty()), "{arguments:?}");
    }
    let folder = Folder::new();
    refused(&["picture.png", "models", "list"], "do not go together", &folder.path("none"));
}

#[test]
fn every_precision_works_or_says_what_to_use() {
    let folder = Folder::new();
    let heatmap = |precision: &str, out: &Path| {
        maquette(&["--precision", precision, "heatmap", "--image", &sample(), "--text", "a cat", "--out", &text(out)])
    };
    for precision in ["auto", "f32", "f16"] {
        let out = folder.path(&format!("{precision}.png"));
        let output = heatmap(precision, &out);
        assert!(output.status.success() && out.exists(), "{precision}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let out = folder.path("bf16.png");
    if maquette::models::kernels::can_multiply_pairs() {
        assert!(heatmap("bf16", &out).status.success() && out.exists());
        let report = json(&["--precision", "bf16", "bench", "--json"]);
        for part in ["text_encode", "image_encode", "denoise_step"] {
            let error = report[part]["relative_error"].as_f64().unwrap();
            assert!(error > 1e-5 && error < 0.03, "{part}: {error}");
        }
        return;
    }
    refused(
        &["--precision", "bf16", "heatmap", "--image", &sample(), "--text", "a cat", "--out", &text(&out)],
        "--precision f32",
        &out,
    );
}

#[test]
fn a_reader_that_has_heard_enough_ends_the_program_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_maquette"))
        .args(["models", "list"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.is_empty(), "{message}");
}

#[test]
fn a_very_long_and_thin_picture_is_looked_at_all_the_same() {
    let folder = Folder::new();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8192, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&[128; 8192]).unwrap();
    let strip = folder.write("strip.png", &bytes);
    let out = folder.path("embedding.safetensors");
    assert!(maquette(&["embed", "--image", &strip, "--out", &text(&out)]).status.success());
    assert!(out.exists());
}
