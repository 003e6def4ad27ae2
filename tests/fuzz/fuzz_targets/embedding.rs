//! The reader of textual inversions in all their forms: vectors of finite numbers, one count for all towers, or a refusal.
#![no_main]

use base64::Engine;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use maquette_fuzz::forge::{Change, Damage, Setting, Tensor, edited, pickled, safetensors, scratch, zip};
use maquette_fuzz::models::embedding::Embedding;
use serde_json::{Map, Value};

#[derive(Arbitrary, Debug)]
enum Form {
    Safetensors,
    Pickled,
    /// These bytes as the pickle.
    Pickle(Vec<u8>),
    /// These settings as the text of a picture.
    Picture {
        edits: Vec<(u16, Setting)>,
        keyword: bool,
    },
    /// This text as it is.
    Text(String),
}

#[derive(Arbitrary, Debug)]
struct Plan {
    form: Form,
    usual: Vec<u8>,
    count: u8,
    width: u8,
    changes: Vec<(u8, Change)>,
    words: Vec<(String, String)>,
    damage: Option<Damage>,
}

const NAMES: [&str; 8] =
    ["emb_params", "clip_l", "clip_g", "<word>", "string_to_param.*", "string_to_param/*", "*", "string_to_token/*"];
const TEXT: &str = r#"{"name": "x", "string_to_token": {"*": 265}, "string_to_param": {"*": {"TORCHTENSOR": [[0.5, 1.0, -2.5], [3, 4, 1e-9]]}},
"step": 100, "sd_checkpoint": "abc"}"#;

/// A picture of one pixel that carries a text.
fn picture(keyword: &str, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    // A text that is no Latin-1 makes no chunk.
    let _ = encoder.add_text_chunk(keyword.to_owned(), text.to_owned());
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&[0]));
    if written.is_err() { Vec::new() } else { bytes }
}

fuzz_target!(|plan: Plan| {
    let shape = vec![usize::from(plan.count), usize::from(plan.width)];
    let named = plan.usual.iter().take(4).map(|name| NAMES[usize::from(*name) % NAMES.len()]);
    let mut tensors: Vec<Tensor> = named.map(|name| Tensor::new(name, shape.clone())).collect();
    for (index, change) in plan.changes.into_iter().take(8) {
        change.apply(&mut tensors, index.into());
    }
    let about: Map<String, Value> = plan.words.into_iter().map(|(key, value)| (key, value.into())).collect();
    let in_base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let keyword = |is_usual: bool| if is_usual { "sd-ti-embedding" } else { "Comment" };
    let (name, mut file) = match plan.form {
        Form::Safetensors => ("word.safetensors", safetensors(&about, &tensors)),
        Form::Pickled => ("word.pt", pickled(&about, &tensors)),
        Form::Pickle(bytes) => {
            ("word.bin", zip(&[("x/data.pkl".to_owned(), bytes), ("x/data/0".to_owned(), vec![0; 64])]))
        }
        Form::Picture { edits, keyword: is_usual } => {
            ("word.png", picture(keyword(is_usual), &in_base64(&edited(TEXT, edits))))
        }
        Form::Text(text) => ("word.png", picture(keyword(true), &text)),
    };
    if let Some(damage) = plan.damage {
        damage.apply(&mut file);
    }
    let path = scratch().join(name);
    std::fs::write(&path, file).expect("a file in memory");
    match Embedding::load(&path) {
        Ok(word) => {
            assert!(!word.is_empty() && !word.vectors.is_empty());
            for vectors in &word.vectors {
                let rows = vectors.to_vec2::<f32>().expect("a matrix");
                assert_eq!(rows.len(), word.len());
                assert!(rows.iter().flatten().all(|number| number.is_finite()));
            }
        }
        Err(error) => assert!(error.to_string().contains(name), "{error}"),
    }
});
