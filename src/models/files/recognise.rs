//! What a safetensors file is, by the names of its tensors alone.

use super::checkpoint::{self, Kind};
use super::{ModelFiles, Weights};
use crate::models::error::Result;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A whole Stable Diffusion.
    Checkpoint(Kind),
    /// A LoRA or one of its kin.
    Lora,
    /// A textual inversion.
    Embedding,
    /// An autoencoder alone.
    Vae,
    /// The decoder of a tiny autoencoder, as its author publishes it.
    TinyDecoder,
    /// Its encoder, which is used where it lies beside the decoder.
    TinyEncoder,
    /// A ControlNet.
    ControlNet,
    /// Both towers of a CLIP or SigLIP.
    Clip,
    /// Something else; why it is no whole model.
    Other(String),
}

/// What `file` of `folder` holds, and its tensors.
///
/// # Errors
/// If it cannot be read.
pub fn open(folder: &ModelFiles, file: &str) -> Result<(What, Weights)> {
    let weights = folder.weights(file)?;
    Ok((recognise(&weights), weights))
}

/// What these tensors are.
pub fn recognise(weights: &Weights) -> What {
    const LORA: [&str; 6] = [
        "lora_down.weight",
        "lora_A.weight",
        "lora.down.weight",
        "lora_linear_layer.down.weight",
        "hada_w1_a",
        "lokr_w1",
    ];
    let any = |test: &dyn Fn(&str) -> bool| weights.names().any(test);
    if any(&|name| LORA.iter().any(|ending| name.ends_with(ending)) || name.contains(".lokr_w1")) {
        return What::Lora;
    }
    if any(&|name| name.starts_with("control_model.") || name.starts_with("controlnet_cond_embedding.")) {
        return What::ControlNet;
    }
    match checkpoint::kind(weights) {
        Ok(kind) => What::Checkpoint(kind),
        Err(_)
            if any(&|name| name.ends_with("encoder.conv_in.weight"))
                && any(&|name| name.ends_with("decoder.conv_in.weight")) =>
        {
            What::Vae
        }
        Err(_)
            if any(&|name| name.contains("text_projection"))
                && any(&|name| name.contains("visual") || name.contains("vision_model")) =>
        {
            What::Clip
        }
        // Plain sequences of layers; the decoder begins with one that has no weights.
        Err(_) if weights.has("0.weight") && weights.has("1.conv.0.weight") => What::TinyEncoder,
        Err(_) if weights.has("1.weight") && weights.has("3.conv.0.weight") => What::TinyDecoder,
        Err(_) if is_embedding(weights) => What::Embedding,
        Err(reason) => What::Other(reason),
    }
}

/// A few vectors and nothing else.
fn is_embedding(weights: &Weights) -> bool {
    if weights.names().any(|name| name.starts_with("string_to_param.")) || weights.has("emb_params") {
        return true;
    }
    let shapes: Vec<&[usize]> = weights.names().filter_map(|name| weights.shape(name)).collect();
    (1..=2).contains(&shapes.len()) && shapes.iter().all(|shape| matches!(shape, [1..=256, _] | [_]))
}
