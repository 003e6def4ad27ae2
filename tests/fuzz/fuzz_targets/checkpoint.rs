//! Models in a single file, from lists of real names: recognised, shown as a folder, looked through and loaded, or refused.
#![no_main]

use candle_core::{DType, Device};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use maquette_fuzz::base::task::TaskCx;
use maquette_fuzz::forge::{Change, Damage, Tensor, golden, safetensors, scratch};
use maquette_fuzz::models::clip::TextTower;
use maquette_fuzz::models::diffusion::{Source, Unet};
use maquette_fuzz::models::files::ModelFiles;
use maquette_fuzz::models::files::checkpoint::Checkpoint;
use maquette_fuzz::registry::{Catalogue, Sort, check};
use serde_json::{Map, Value};

#[derive(Arbitrary, Debug)]
struct Plan {
    kind: u8,
    /// Whole parts that are left out.
    parts: u8,
    changes: Vec<(u16, Change)>,
    /// Names of other families.
    others: Vec<u8>,
    words: Vec<(String, String)>,
    yaml: Option<String>,
    damage: Option<Damage>,
}

const PARTS: [&str; 5] = [
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.",
    "conditioner.embedders.0.",
    "conditioner.embedders.1.",
];
const OTHERS: [&str; 14] = [
    "v_pred",
    "ztsnr",
    "edm_mean",
    "control_model.x",
    "a.lora_down.weight",
    "encoder.conv_in.weight",
    "decoder.conv_in.weight",
    "text_projection",
    "visual.proj",
    "0.weight",
    "1.conv.0.weight",
    "1.weight",
    "3.conv.0.weight",
    "model.diffusion_model.input_blocks.400000.0.in_layers.0.weight",
];

fn list(kind: &str) -> Vec<Tensor> {
    let text = std::fs::read_to_string(golden("checkpoint").join(format!("{kind}.txt"))).expect("a list of names");
    let tensor = |line: &str| {
        let mut words = line.split(' ');
        let (name, shape) = (words.next()?, words.next()?);
        Some(Tensor::new(name, shape.split(',').filter_map(|side| side.parse().ok()).collect::<Vec<usize>>()))
    };
    text.lines().filter_map(tensor).collect()
}

thread_local! {
    static LISTS: [Vec<Tensor>; 3] = ["sd1", "sd2", "sdxl"].map(list);
}

fuzz_target!(|plan: Plan| {
    let mut tensors = LISTS.with(|lists| lists[usize::from(plan.kind) % lists.len()].clone());
    tensors.retain(|tensor| {
        !PARTS.iter().enumerate().any(|(i, part)| plan.parts & (1 << i) != 0 && tensor.name.starts_with(part))
    });
    for (index, change) in plan.changes.into_iter().take(8) {
        change.apply(&mut tensors, index.into());
    }
    let others = plan.others.iter().take(3).map(|other| OTHERS[usize::from(*other) % OTHERS.len()]);
    tensors.extend(others.map(|name| Tensor::new(name, [2, 2])));
    let about: Map<String, Value> = plan.words.into_iter().map(|(key, value)| (key, value.into())).collect();
    let mut file = safetensors(&about, &tensors);
    if let Some(damage) = plan.damage {
        damage.apply(&mut file);
    }
    let path = scratch().join("model.safetensors");
    std::fs::write(&path, file).expect("a file in memory");
    match plan.yaml {
        Some(text) => std::fs::write(path.with_extension("yaml"), text).expect("a file in memory"),
        None => drop(std::fs::remove_file(path.with_extension("yaml"))),
    }
    let report = check(&path, &Catalogue::default());
    let tokenizer = ModelFiles::Folder(golden("diffusion/sd1/tokenizer"));
    if let Ok(source) = Source::at(&path) {
        let _ = source.files().read("config.json");
    }
    let folder = Checkpoint::open(&path).and_then(|checkpoint| checkpoint.folder(&tokenizer));
    assert!(folder.is_ok() || report.sort != Sort::Diffusion || !report.problems.is_empty(), "{report:?}");
    let Ok(folder) = folder else { return };
    let (cx, dtype, device) = (TaskCx::detached(), DType::F32, Device::Cpu);
    if let Some(files) = folder.sub("unet") {
        let _ = Unet::load_in(&files, dtype, &device, &cx);
    }
    for name in ["text_encoder", "text_encoder_2"] {
        if let Some(files) = folder.sub(name) {
            let _ = TextTower::load_folder(&files, dtype, &device, &cx);
        }
    }
});
