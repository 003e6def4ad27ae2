//! Single files of tiny Stable Diffusions, from the lists that `checkpoint/make.py` wrote.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The numbers that the script draws for a tensor of diffusers: SplitMix64 from FNV-1a of the name.
fn drawn(name: &str, shape: &[usize]) -> Vec<f32> {
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    let is_gain = name.contains("norm") && name.ends_with("weight");
    let fan_in: usize = shape[1..].iter().product();
    let count: usize = shape.iter().product();
    (1..=count as u64)
        .map(|i| {
            let mut z = hash.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            let unit = (z >> 11) as f64 * 2f64.powi(-52) - 1.0;
            match shape.len() {
                1 => (if is_gain { 1.0 } else { 0.0 } + 0.25 * unit) as f32,
                _ => ((3.0 / fan_in as f64).sqrt() * unit) as f32,
            }
        })
        .collect()
}

/// Writes the single file that the list `kind` describes; lines that `change` gives `None` for are left out.
pub fn write(kind: &str, to: &Path, change: impl Fn(&str) -> Option<String>) {
    let list = std::fs::read_to_string(golden("checkpoint").join(format!("{kind}.txt"))).unwrap();
    let mut tensors = HashMap::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, shape, turned, sources @ ..] = &words[..] else { panic!("{line}") };
        let Some(name) = change(name) else { continue };
        let shape: Vec<usize> = shape.split(',').map(|side| side.parse().unwrap()).collect();
        let mut part = shape.clone();
        part[0] /= sources.len();
        if *turned == "turned" {
            part.reverse();
        }
        let values: Vec<f32> = sources.iter().flat_map(|source| drawn(source, &part)).collect();
        let tensor = match *turned {
            "turned" => Tensor::from_vec(values, part, &Device::Cpu).unwrap().t().unwrap().contiguous().unwrap(),
            _ => Tensor::from_vec(values, shape, &Device::Cpu).unwrap(),
        };
        tensors.insert(name, tensor);
    }
    candle_core::safetensors::save(&tensors, to).unwrap();
}
