//! The reader of LoRA files: whatever a file holds, it is put beside the layers of a small model or refused, and what was put there runs.
#![no_main]

use candle_core::{DType, Device};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use maquette_fuzz::base::task::TaskCx;
use maquette_fuzz::forge::{Change, Damage, Setting, Tensor, edited, golden, safetensors, scratch};
use maquette_fuzz::models::adapters::{Lora, Nets};
use maquette_fuzz::models::clip::TextTower;
use maquette_fuzz::models::diffusion::{Conditions, Unet};
use maquette_fuzz::models::files::ModelFiles;
use serde_json::{Map, Value};

#[derive(Arbitrary, Debug)]
enum Kind {
    LowRank,
    WithMiddle,
    Hadamard,
    Kronecker { is_whole: bool },
    Dora,
}

#[derive(Arbitrary, Debug)]
struct Module {
    layer: u8,
    naming: u8,
    kind: Kind,
    rank: u8,
    alpha: Option<f32>,
}

#[derive(Arbitrary, Debug)]
struct Plan {
    modules: Vec<Module>,
    changes: Vec<(u8, Change)>,
    /// Settings of PEFT in the header, or words about the file.
    settings: Option<Vec<(u16, Setting)>>,
    words: Vec<(String, String)>,
    damage: Option<Damage>,
}

struct Model {
    unet: Unet,
    text: TextTower,
}

impl Model {
    fn load() -> Self {
        let files = |name: &str| ModelFiles::Folder(golden("diffusion/sd1").join(name));
        let cx = TaskCx::detached();
        Self {
            unet: Unet::load(&files("unet"), DType::F32, &Device::Cpu).expect("the test's denoising net"),
            text: TextTower::load_folder(&files("text_encoder"), DType::F32, &Device::Cpu, &cx)
                .expect("its text tower"),
        }
    }

    fn run(&self) {
        let cx = TaskCx::detached();
        let zeros = |shape: (usize, usize, usize, usize)| {
            candle_core::Tensor::zeros(shape, DType::F32, &Device::Cpu).expect("zeros")
        };
        let width = self.text.width();
        let states = zeros((1, 1, 4, width)).squeeze(0).expect("an axis of one");
        let latents = zeros((1, self.unet.config().in_channels, 4, 4));
        self.unet.forward(&latents, 1.0, &Conditions::plain(states), None, None, &cx).expect("the denoising net runs");
        self.text.forward(&[vec![1, 2, 3]], &cx).expect("the text tower runs");
    }
}

impl Module {
    fn tensors(&self, nets: &Nets<'_>, all: &mut Vec<Tensor>) {
        let unet = nets.unet.adaptable();
        let is_text = self.layer >= 192;
        let layers = if is_text { nets.text[0] } else { unet };
        let layer = &layers[usize::from(self.layer) % layers.len()];
        let (path, net) = (layer.path(), if is_text { "text_encoder" } else { "unet" });
        let flat = path.replace('.', "_");
        let name = match self.naming % 6 {
            0 => format!("lora_{}_{flat}", if is_text { "te" } else { "unet" }),
            1 => format!("{net}.{path}"),
            2 => format!("base_model.model.{path}"),
            3 => path.to_owned(),
            4 => format!("lora_te1_{flat}"),
            _ => format!("diffusion_model.{path}"),
        };
        let (down, up) = match self.naming % 3 {
            0 => ("lora_down.weight", "lora_up.weight"),
            1 => ("lora.down.weight", "lora.up.weight"),
            _ => ("lora_A.weight", "lora_B.weight"),
        };
        let shape = layer.shape();
        let (rank, rows, columns) = (usize::from(self.rank % 9), shape[0], shape[1..].iter().product::<usize>());
        let kernel = &shape[2..];
        let point = vec![1; kernel.len()];
        let mut add = |part: &str, shape: Vec<usize>| all.push(Tensor::new(format!("{name}.{part}"), shape));
        match self.kind {
            Kind::LowRank | Kind::Dora => {
                add(down, [&[rank, shape[1]], kernel].concat());
                add(up, [&[rows, rank][..], &point].concat());
                if matches!(self.kind, Kind::Dora) {
                    add("dora_scale", vec![rows, 1]);
                }
            }
            Kind::WithMiddle => {
                add(down, [&[rank, shape[1]][..], &point].concat());
                add("lora_mid.weight", [&[rank, rank], kernel].concat());
                add(up, [&[rows, rank][..], &point].concat());
            }
            Kind::Hadamard => {
                for half in ["hada_w1", "hada_w2"] {
                    add(&format!("{half}_a"), vec![rows, rank]);
                    add(&format!("{half}_b"), vec![rank, columns]);
                }
            }
            Kind::Kronecker { is_whole } => {
                let half = if rows % 2 == 0 && shape[1] % 2 == 0 { 2 } else { 1 };
                add("lokr_w1", vec![half, half]);
                match is_whole {
                    true => add("lokr_w2", [&[rows / half, shape[1] / half], kernel].concat()),
                    false => {
                        add("lokr_w2_a", vec![rows / half, rank]);
                        add("lokr_w2_b", vec![rank, columns / half]);
                    }
                }
            }
        }
        if let Some(alpha) = self.alpha {
            let mut tensor = Tensor::new(format!("{name}.alpha"), []);
            if !alpha.is_finite() {
                tensor.fill = maquette_fuzz::forge::Fill::NotANumber;
            }
            all.push(tensor);
        }
    }
}

const SETTINGS: &str = r#"{"lora_alpha": 4, "unet.lora_alpha": 8.5, "unet.alpha_pattern": {"to_q": 2, ".*attn": 3}, "use_rslora": true,
"text_encoder.r": 4, "unet.use_dora": false, "rank_pattern": {"to_k": 2}}"#;

thread_local! {
    static MODEL: Model = Model::load();
}

fuzz_target!(|plan: Plan| {
    MODEL.with(|model| {
        let nets = Nets { unet: &model.unet, text: vec![model.text.adaptable()] };
        let mut tensors = Vec::new();
        plan.modules.iter().take(24).for_each(|module| module.tensors(&nets, &mut tensors));
        for (index, change) in plan.changes.into_iter().take(16) {
            change.apply(&mut tensors, index.into());
        }
        let mut about: Map<String, Value> = plan.words.into_iter().map(|(key, value)| (key, value.into())).collect();
        if let Some(edits) = plan.settings {
            about.insert("lora_adapter_metadata".to_owned(), edited(SETTINGS, edits).into());
        }
        let mut file = safetensors(&about, &tensors);
        if let Some(damage) = plan.damage {
            damage.apply(&mut file);
        }
        let path = scratch().join("lora.safetensors");
        std::fs::write(&path, file).expect("a file in memory");
        match Lora::load(&path, &nets, &TaskCx::detached()) {
            Ok(lora) => {
                let _ = lora.remark();
                lora.add(&nets, 0.7, 1.0);
                model.run();
                nets.clear();
            }
            Err(error) => assert!(error.to_string().contains("lora.safetensors"), "{error}"),
        }
    });
});
