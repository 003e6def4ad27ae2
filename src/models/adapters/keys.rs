//! The names in LoRA files: which layer of which net a tensor is for, and which part of the addition it is. Kohya's, diffusers' (old and
//! new) and PEFT's names are all a layer's path between a prefix and an ending; kohya writes `_` for the dots.

use std::collections::HashMap;

use crate::models::files::ldm;
use crate::models::layers::Adaptable;

/// Endings of names, and the part that they mean. Longer endings of the same tail come first.
const ENDINGS: [(&str, &str); 30] = [
    ("_lora.down.weight", "down"),
    ("_lora.up.weight", "up"),
    (".lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    (".lora_linear_layer.down.weight", "down"),
    (".lora_linear_layer.up.weight", "up"),
    (".lora_down.weight", "down"),
    (".lora_up.weight", "up"),
    (".lora_A.default.weight", "down"),
    (".lora_B.default.weight", "up"),
    (".lora_A.weight", "down"),
    (".lora_B.weight", "up"),
    (".lora_mid.weight", "middle"),
    (".alpha", "alpha"),
    (".hada_w1_a", "hada_w1_a"),
    (".hada_w1_b", "hada_w1_b"),
    (".hada_w2_a", "hada_w2_a"),
    (".hada_w2_b", "hada_w2_b"),
    (".hada_t1", "tucker"),
    (".hada_t2", "tucker"),
    (".lokr_w1", "lokr_w1"),
    (".lokr_w1_a", "lokr_w1_a"),
    (".lokr_w1_b", "lokr_w1_b"),
    (".lokr_w2", "lokr_w2"),
    (".lokr_w2_a", "lokr_w2_a"),
    (".lokr_w2_b", "lokr_w2_b"),
    (".lokr_t2", "tucker"),
    (".dora_scale", "dora"),
    (".lora_magnitude_vector", "dora"),
    (".lora_magnitude_vector.weight", "dora"),
];

/// The layer's part of `key`, with underscores, and the part of the addition that it is.
pub(super) fn split(key: &str) -> Option<(String, &'static str)> {
    let (module, part) = ENDINGS.iter().find_map(|(ending, part)| Some((key.strip_suffix(ending)?, *part)))?;
    // Old files of diffusers name attention's layers after the objects that once held them.
    Some((module.replace('.', "_").replace("_processor_", "_"), part))
}

/// A net that a LoRA changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Net {
    /// The denoising net.
    Unet,
    /// A text tower: 0, or 1 for SDXL's second.
    Text(usize),
}

/// The layers of a model's nets by their names with underscores.
pub(super) struct Names {
    unet: HashMap<String, usize>,
    text: Vec<HashMap<String, usize>>,
    /// Residual blocks of a level of the denoising net.
    layers: usize,
}

impl Names {
    pub(super) fn new(unet: &[Adaptable], text: &[&[Adaptable]], layers: usize) -> Self {
        let table = |net: &[Adaptable]| -> HashMap<String, usize> {
            net.iter().enumerate().map(|(index, layer)| (layer.path().replace('.', "_"), index)).collect()
        };
        Self { unet: table(unet), text: text.iter().map(|net| table(net)).collect(), layers }
    }

    /// The layer that `module`, with underscores, means.
    pub(super) fn find(&self, module: &str) -> Option<(Net, usize)> {
        const TEXT: [(&str, usize); 5] =
            [("lora_te1_", 0), ("lora_te2_", 1), ("lora_te_", 0), ("text_encoder_2_", 1), ("text_encoder_", 0)];
        const UNET: [&str; 4] = ["lora_unet_", "unet_", "model_diffusion_model_", "diffusion_model_"];
        if let Some(inside) = module.strip_prefix("base_model_model_") {
            return self.find(inside);
        }
        if let Some((inside, tower)) = TEXT.iter().find_map(|(head, tower)| Some((module.strip_prefix(head)?, *tower)))
        {
            return self.find_in_text(tower, inside);
        }
        if let Some(inside) = UNET.iter().find_map(|head| module.strip_prefix(head)) {
            return self.find_in_unet(inside);
        }
        self.find_in_unet(module).or_else(|| self.find_in_text(0, module))
    }

    fn find_in_unet(&self, module: &str) -> Option<(Net, usize)> {
        let old = || self.unet.get(&format!("{module}_0")).filter(|_| module.ends_with("_to_out"));
        let other = || self.unet.get(&ldm::unet(module, '_', self.layers)?);
        let found = self.unet.get(module).or_else(old).or_else(other)?;
        Some((Net::Unet, *found))
    }

    fn find_in_text(&self, tower: usize, module: &str) -> Option<(Net, usize)> {
        /// Old names of attention's layers.
        const OLD: [(&str, &str); 4] =
            [("_to_q", "_q_proj"), ("_to_k", "_k_proj"), ("_to_v", "_v_proj"), ("_to_out", "_out_proj")];
        let table = self.text.get(tower)?;
        let old = OLD.iter().find_map(|(old, new)| Some(format!("{}{new}", module.strip_suffix(old)?)));
        let module = old.as_deref().unwrap_or(module);
        let found = table.get(module).or_else(|| table.get(&format!("text_model_{module}")))?;
        Some((Net::Text(tower), *found))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_every_kind_are_taken_apart() {
        let check = |key: &str, module: &str, part: &str| {
            assert_eq!(split(key).map(|(m, p)| (m, p.to_owned())), Some((module.to_owned(), part.to_owned())), "{key}");
        };
        check("lora_unet_a_to_q.lora_down.weight", "lora_unet_a_to_q", "down");
        check("unet.a.attn1.processor.to_q_lora.up.weight", "unet_a_attn1_to_q", "up");
        check("unet.a.to_q.lora.down.weight", "unet_a_to_q", "down");
        check("base_model.model.a.to_q.lora_A.weight", "base_model_model_a_to_q", "down");
        check("text_encoder.a.q_proj.lora_linear_layer.up.weight", "text_encoder_a_q_proj", "up");
        check("x.lokr_w1", "x", "lokr_w1");
        check("x.alpha", "x", "alpha");
        check("x.dora_scale", "x", "dora");
        assert_eq!(split("x.weight"), None);
        assert_eq!(split(""), None);
    }
}
