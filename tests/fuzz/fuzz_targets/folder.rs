//! Models in folders whose settings are anything: looked through and loaded, or refused. Configurations, tokenizers, lists of merges,
//! indices of parts and samplers' settings.
#![no_main]

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use maquette_fuzz::base::task::TaskCx;
use maquette_fuzz::forge::{Setting, edited, golden, scratch};
use maquette_fuzz::job::sampling::Sampler;
use maquette_fuzz::models::clip::{ClipModel, TextTower};
use maquette_fuzz::models::diffusion::{Autoencoder, ControlNet, Unet};
use maquette_fuzz::models::files::ModelFiles;
use maquette_fuzz::models::schedulers::{SchedulerConfig, Walk};
use maquette_fuzz::models::tokenizer::ClipTokenizer;
use maquette_fuzz::registry::{Catalogue, check};

#[derive(Arbitrary, Debug)]
enum Text {
    Edits(Vec<(u16, Setting)>),
    Whole(String),
    /// A line is put in at this place.
    Line(u16, String),
}

#[derive(Arbitrary, Debug)]
struct Plan {
    file: u16,
    text: Text,
    prompt: String,
}

const MODELS: [&str; 13] = [
    "diffusion/sd1",
    "conditioning/xl",
    "clip_family/hf_sharded",
    "clip_family/open_clip_custom",
    "clip_family/open_clip_plain",
    "clip_family/open_clip_siglip",
    "clip_family/siglip",
    "clip_family/siglip2",
    "clip/quick",
    "nets/control",
    "nets/lcm",
    "steered/taesd",
    "lora/peft",
];

/// A file of settings: its model's folder, where it is, and what is in it.
struct Settings {
    model: PathBuf,
    path: PathBuf,
    text: String,
}

fn copy(from: &Path, to: &Path, model: &Path, all: &mut Vec<Settings>) {
    std::fs::create_dir_all(to).expect("a folder in memory");
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(from).expect("the test's model").flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        let path = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &path, model, all);
            continue;
        }
        std::fs::copy(&entry, &path).expect("a file in memory");
        if let Ok(text) = std::fs::read_to_string(&path) {
            all.push(Settings { model: model.to_owned(), path, text });
        }
    }
}

fn models() -> Vec<Settings> {
    let mut all = Vec::new();
    for (number, model) in MODELS.iter().enumerate() {
        let folder = scratch().join(number.to_string());
        copy(&golden(model), &folder, &folder, &mut all);
    }
    all
}

thread_local! {
    static ALL: Vec<Settings> = models();
}

/// Loads what lies in a folder, as far as it can be loaded.
fn load(files: &ModelFiles, prompt: &str) {
    let (cx, dtype, device) = (TaskCx::detached(), DType::F32, Device::Cpu);
    if let Ok(tokenizer) = ClipTokenizer::load(files) {
        let tokens = tokenizer.encode(prompt);
        assert!(!tokens.is_ok_and(|tokens| tokens.ids.is_empty()));
    }
    let _ = ClipModel::load(files, dtype, &device);
    let _ = TextTower::load_folder(files, dtype, &device, &cx);
    let _ = Unet::load_in(files, dtype, &device, &cx);
    let _ = ControlNet::load_in(files, dtype, &device, &cx);
    let _ = Autoencoder::load(files, dtype, &device, &cx).and_then(|autoencoder| autoencoder.read_all(&cx));
    if let Ok(config) = SchedulerConfig::load(files) {
        let own = config.own_sampler().ok();
        for sampler in own.into_iter().chain([Sampler::Pndm, Sampler::DpmPlusPlusSde, Sampler::Lcm]) {
            assert!(!Walk::new(sampler, &config, 10).timesteps().is_empty());
        }
    }
}

fuzz_target!(|plan: Plan| {
    ALL.with(|all| {
        let settings = &all[usize::from(plan.file) % all.len()];
        let text = match plan.text {
            Text::Edits(edits) => edited(&settings.text, edits.into_iter().take(6).collect()),
            Text::Whole(text) => text,
            Text::Line(at, line) => {
                let mut lines: Vec<&str> = settings.text.lines().collect();
                lines.insert(usize::from(at) % (lines.len() + 1), &line);
                lines.join("\n")
            }
        };
        std::fs::write(&settings.path, text).expect("a file in memory");
        let _ = check(&settings.model, &Catalogue::default());
        let inside = settings.path.parent().unwrap_or(&settings.model);
        load(&ModelFiles::Folder(inside.to_owned()), &plan.prompt);
        std::fs::write(&settings.path, &settings.text).expect("a file in memory");
    });
});
