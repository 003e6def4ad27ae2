//! Under which name a folder has a file of weights: its own, that of a variant at another precision, in parts, or pickled.

use super::{ModelFiles, is_pickled};

/// Variants of diffusers and transformers, best first: those that are stored in full are rarely here without the plain file.
const VARIANTS: [&str; 3] = ["fp16", "bf16", "fp32"];

/// The file that is there for `file`: itself, a variant, an index of parts, or the same pickled.
pub(super) fn found(files: &ModelFiles, file: &str) -> Option<String> {
    if is_pickled(file) {
        return files.has(file).then(|| file.to_owned());
    }
    let stem = file.strip_suffix(".safetensors").or_else(|| file.strip_suffix(".SAFETENSORS"))?;
    let variants = VARIANTS.iter().map(|variant| format!("{stem}.{variant}.safetensors"));
    let indices = VARIANTS.iter().flat_map(|variant| {
        [format!("{stem}.safetensors.index.{variant}.json"), format!("{stem}.{variant}.safetensors.index.json")]
    });
    let mut names = [file.to_owned()]
        .into_iter()
        .chain(variants)
        .chain([format!("{file}.index.json")])
        .chain(indices)
        .chain(pickled(file));
    names.find(|name| files.has(name))
}

/// What `file` is called where it is pickled.
fn pickled(file: &str) -> Vec<String> {
    let (folder, name) =
        file.rsplit_once('/').map_or((String::new(), file), |(folder, name)| (format!("{folder}/"), name));
    let stem = name.strip_suffix(".safetensors").unwrap_or(name);
    let known = match name {
        "model.safetensors" => Some("pytorch_model.bin"),
        "open_clip_model.safetensors" => Some("open_clip_pytorch_model.bin"),
        "adapter_model.safetensors" => Some("adapter_model.bin"),
        _ => None,
    };
    let usual = (stem == "diffusion_pytorch_model").then(|| format!("{stem}.bin"));
    known.map(str::to_owned).into_iter().chain(usual).map(|name| format!("{folder}{name}")).collect()
}
