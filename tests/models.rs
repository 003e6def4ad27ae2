//! Models of other programs found, listed, checked and used where they lie, by the real program: single files, folders of A1111's web UI
//! and of ComfyUI, Hugging Face's cache, LoRA files by name.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

#[path = "golden/single_file.rs"]
mod single_file;

use single_file::{golden, write};

/// A user with folders of their own.
struct User(tempfile::TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Copies the files of `from`, folders too, to `name`.
    fn copy(&self, from: &Path, name: &str) {
        let to = self.folder(name);
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                self.copy(&path, &format!("{name}/{file}"));
            } else {
                std::fs::copy(&path, to.join(file)).unwrap();
            }
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maquette"));
        for name in ["HOME", "USERPROFILE", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA"] {
            command.env(name, self.path("home"));
        }
        command.env("HF_HUB_CACHE", self.path("hub")).current_dir(self.0.path());
        command.args(arguments).output().unwrap()
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(arguments)).unwrap()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], part: &str) {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(part) && !message.contains("panicked"), "{arguments:?}: {message}");
    }

    /// Makes a picture and gives what was said about it.
    fn generate(&self, more: &[&str]) -> Value {
        let usual = ["generate", "--steps", "1", "--seed", "3", "--size", "16x16"];
        let prompt: &[&str] = if more.contains(&"--prompt") { &[] } else { &["--prompt", "a red cube"] };
        self.json(&[&usual, more, prompt, &["--json", "--out", "out.png"]].concat())
    }
}

fn sorts(listed: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = listed["found"].as_array().unwrap();
    let mut sorts: Vec<_> = found.iter().map(|one| (text(&one["name"]), text(&one["sort"]))).collect();
    sorts.sort();
    sorts
}

#[test]
fn models_of_the_web_ui_are_used_where_they_lie() {
    let user = User::new();
    user.folder("webui/models/Stable-diffusion/tokenizer");
    user.folder("webui/venv/lib");
    let file = user.path("webui/models/Stable-diffusion/tiny one.safetensors");
    write("sd1", &file, |name| Some(name.to_owned()));
    std::fs::write(user.path("webui/models/Stable-diffusion/old.ckpt"), b"pickle").unwrap();
    std::fs::copy(&file, user.path("webui/venv/lib/not looked at.safetensors")).unwrap();
    user.folder("webui/models/Lora");
    let lora = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    let tensors = [("down", (2, 32)), ("up", (32, 2))].map(|(part, shape)| {
        let ones = candle_core::Tensor::ones(shape, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        (format!("{lora}.lora_{part}.weight"), ones)
    });
    let path = user.path("webui/models/Lora/queries.safetensors");
    candle_core::safetensors::save(&tensors.into_iter().collect(), path).unwrap();

    // Without a tokenizer the file cannot be used, and it is said why.
    let model = file.to_str().unwrap();
    user.refused(&["generate", "--prompt", "x", "--model", model, "--out", "x.png"], "vocab.json and merges.txt");
    user.refused(&["models", "check", model], "no tokenizer");
    user.copy(&golden("diffusion/sd1/tokenizer"), "webui/models/Stable-diffusion/tokenizer");
    let made = user.generate(&["--model", model]);
    assert_eq!(made["model_sha256"].as_str().unwrap().len(), 64);

    let said = user.says(&["models", "add", "webui"]);
    assert!(said.contains("2 usable of 3"), "{said}");
    user.refused(&["models", "add", "webui"], "already");
    user.refused(&["models", "add", "nowhere"], "no such folder");
    let listed = user.json(&["models", "list", "--json"]);
    let want = [("old", "unusable"), ("queries", "lora"), ("tiny one", "diffusion")];
    assert_eq!(sorts(&listed), want.map(|(name, sort)| (name.to_owned(), sort.to_owned())));
    assert_eq!(listed["places"].as_array().unwrap().len(), 1);
    assert!(listed["models"].as_array().unwrap().iter().any(|model| model["id"] == "builtin"));

    let named = user.generate(&["--model", "tiny one"]);
    assert_eq!(named["model_sha256"], made["model_sha256"]);
    let changed = user.generate(&["--model", "tiny one", "--lora", "queries:0.5"]);
    assert_eq!(changed["job"]["loras"][0]["unet_strength"], 0.5);
    assert_eq!(changed["job"]["loras"][0]["sha256"].as_str().unwrap().len(), 64);
    user.refused(&["generate", "--prompt", "x", "--lora", "nothing", "--out", "x.png"], "nothing of this name");
    user.refused(&["generate", "--prompt", "x", "--lora", "queries", "--out", "x.png"], "another kind of model");
    // The same by its name in the prompt; a file that is given is taken as it was given.
    let tagged = user.generate(&["--model", "tiny one", "--prompt", "a red cube <lora:queries:0.25:0.5>"]);
    let strengths = |made: &Value| {
        let loras = made["job"]["loras"].as_array().unwrap();
        loras
            .iter()
            .map(|lora| (lora["text_strength"].as_f64().unwrap(), lora["unet_strength"].as_f64().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(strengths(&tagged), [(0.25, 0.5)]);
    assert_eq!(tagged["job"]["loras"][0]["sha256"], changed["job"]["loras"][0]["sha256"]);
    assert_eq!(tagged["remarks"], changed["remarks"]);
    let both = ["--model", "tiny one", "--prompt", "a red cube <lora:queries:0.25>", "--lora", "queries:2"];
    assert_eq!(strengths(&user.generate(&both)), [(2.0, 2.0)]);
    let webui = user.path("webui").display().to_string();
    for part in ["<lora:inks:1>", "embedding:inks"] {
        let arguments = ["generate", "--prompt", part, "--model", "tiny one", "--out", "x.png"];
        for said in ["the prompt asks for inks", "Looked in", &webui, "maquette models add"] {
            user.refused(&arguments, said);
        }
    }
    let timed = user.json(&["bench", "--model", "tiny one", "--json"]);
    assert!(timed["denoise_step"]["cpu_seconds"].as_f64().unwrap() > 0.0);
    assert!(timed["image_encode"].is_null());
}

#[test]
fn a_check_says_what_something_is_and_what_it_lacks() {
    let user = User::new();
    user.copy(&golden("diffusion/sd1/tokenizer"), "tokenizer");
    for (kind, title) in [("sd1", "Diffusion 1"), ("sd2", "Diffusion 2 for inpainting"), ("sdxl", "Diffusion XL")] {
        write(kind, &user.path("x.safetensors"), |name| Some(name.to_owned()));
        let report = user.json(&["models", "check", "x.safetensors", "--json"]);
        assert!(report["what"].as_str().unwrap().contains(title), "{report}");
        assert_eq!(report["usable"], true);
        let part = |name: &str| report["parts"].as_array().unwrap().iter().find(|part| part["name"] == name).cloned();
        assert_eq!(part("unet").unwrap()["precision"], "F32");
        assert_eq!(part("text_encoder_2").is_some(), kind == "sdxl");
        let (numbers, disk) = (report["parameters"].as_u64().unwrap(), report["bytes_on_disk"].as_u64().unwrap());
        assert_eq!(numbers * 4, disk, "all of it is 32 bits wide");
        assert_eq!(report["bytes_in_memory"].as_u64().unwrap(), disk);
    }
    // Large layers at half precision stay so in memory, small ones and tables do not.
    let halves = |shape: &[usize]| Tensor::zeros(shape, DType::F16, &Device::Cpu).unwrap();
    let lora = [("a.lora_down.weight", halves(&[1024, 4096])), ("a.lora_up.weight", halves(&[8, 1024]))];
    candle_core::safetensors::save(&lora.into_iter().collect::<HashMap<_, _>>(), user.path("x.safetensors")).unwrap();
    let report = user.json(&["models", "check", "x.safetensors", "--json"]);
    assert_eq!(report["bytes_in_memory"].as_u64().unwrap(), 2 * 1024 * 4096 + 4 * 8 * 1024);
    user.copy(&golden("diffusion/sd1"), "folder");
    let said = user.says(&["models", "check", "folder"]);
    assert!(said.contains("unet") && said.contains("F16") && said.contains("in memory"), "{said}");
    for missing in
        ["vae/diffusion_pytorch_model.safetensors", "tokenizer/vocab.json", "scheduler/scheduler_config.json"]
    {
        let path = user.path("folder").join(missing);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        user.refused(&["models", "check", "folder"], missing);
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::write(user.path("folder/unet/diffusion_pytorch_model.safetensors"), b"no tensors").unwrap();
    user.refused(&["models", "check", "folder"], "not a safetensors file");
    user.copy(&golden("clip/quick"), "clip");
    assert!(user.says(&["models", "check", "clip"]).contains("CLIP"));
    let lora = golden("lora/kohya.safetensors");
    assert!(user.says(&["models", "check", lora.to_str().unwrap()]).contains("LoRA"));
    assert!(user.says(&["models", "check", golden("lora/peft").to_str().unwrap()]).contains("LoRA"));
    std::fs::write(user.path("old.ckpt"), b"pickle").unwrap();
    user.refused(&["models", "check", "old.ckpt"], "weights_only=True");
    std::fs::write(user.path("bad.safetensors"), b"bad").unwrap();
    user.refused(&["models", "check", "bad.safetensors"], "cannot be read");
    user.refused(&["models", "check", "nowhere/at/all"], "no such folder");
}

#[test]
fn the_hub_cache_and_comfys_folders_are_read_in_place() {
    let user = User::new();
    user.copy(&golden("diffusion/sd1"), "hub/models--some--tiny-sd/snapshots/abc123");
    user.copy(&golden("clip/quick"), "hub/models--some--tiny-clip/snapshots/def456");
    user.folder("hub/models--some--tiny-sd/refs");
    std::fs::write(user.path("hub/models--some--tiny-sd/refs/main"), "abc123").unwrap();
    let listed = user.json(&["models", "list", "--json"]);
    let want = [("some/tiny-clip", "clip"), ("some/tiny-sd", "diffusion")];
    assert_eq!(sorts(&listed), want.map(|(name, sort)| (name.to_owned(), sort.to_owned())));
    user.generate(&["--model", "some/tiny-sd"]);
    user.refused(&["generate", "--prompt", "x", "--model", "some/other", "--out", "x.png"], "Hugging Face's cache");
    user.says(&["embed", "--text", "a cat", "--model", "some/tiny-clip", "--out", "e.safetensors"]);
    user.says(&["models", "check", "some/tiny-sd"]);
    user.says(&["models", "check", "hub/models--some--tiny-clip"]);

    // A single file finds its tokenizer in the cache.
    user.folder("data/sd");
    write("sd1", &user.path("data/sd/one.safetensors"), |name| Some(name.to_owned()));
    user.folder("comfy/models/checkpoints");
    let yaml = "other:\n  base_path: ../data\n  checkpoints: sd\n";
    std::fs::write(user.path("comfy/extra_model_paths.yaml"), yaml).unwrap();
    let said = user.says(&["models", "add", "comfy/extra_model_paths.yaml"]);
    assert!(said.contains("1 usable of 1"), "{said}");
    user.generate(&["--model", "one"]);
    // The same through the folder: nothing is listed twice.
    user.says(&["models", "add", "comfy"]);
    let listed = user.json(&["models", "list", "--json"]);
    assert_eq!(sorts(&listed).iter().filter(|(name, _)| name == "one").count(), 1, "{listed}");
}
