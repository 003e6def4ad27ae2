//! `open_clip_config.json` and open_clip's names of tensors (open_clip `model.py`, `transformer.py`).
//!
//! # Limitations
//! Vision towers of timm other than SigLIP's ([`super::timm`]), text towers of transformers, CoCa and the experimental blocks are
//! refused by name.

use serde::Deserialize;
use serde_json::Value;

use super::config::{ClipConfig, Head, Pooling, Side, TextConfig, VisionConfig};
use super::timm;
use crate::models::files::{Place, Weights, json};
use crate::models::kernels::Activation;

/// The configuration that open_clip writes.
pub(super) const CONFIG: &str = "open_clip_config.json";

/// Settings that change the net into one that we do not have, and their harmless values besides null and false.
const UNSUPPORTED: [(&str, &str); 17] = [
    ("hf_model_name", ""),
    ("ls_init_value", ""),
    ("attentional_pool", ""),
    ("global_average_pool", ""),
    ("embed_cls", ""),
    ("block_type", "default"),
    ("qk_norm", ""),
    ("scaled_cosine_attn", ""),
    ("scale_heads", ""),
    ("scale_attn_inner", ""),
    ("scale_attn", ""),
    ("scale_fc", ""),
    ("input_patchnorm", ""),
    ("use_pad_mask", ""),
    ("correct_cls_mask", ""),
    ("proj_type", "linear"),
    ("multimodal_cfg", ""),
];

#[derive(Deserialize)]
struct Whole {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: Vision,
    text_cfg: Text,
}

#[derive(Default, Deserialize)]
struct Arguments {
    eps: Option<f64>,
    approximate: Option<String>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Vision {
    layers: usize,
    width: usize,
    head_width: usize,
    mlp_ratio: f64,
    patch_size: Side,
    image_size: Side,
    no_ln_pre: bool,
    pool_type: String,
    timm_model_name: Option<String>,
    timm_pool: Option<String>,
    act_kwargs: Option<Arguments>,
    norm_kwargs: Option<Arguments>,
}

impl Default for Vision {
    fn default() -> Self {
        Self {
            layers: 12,
            width: 768,
            head_width: 64,
            mlp_ratio: 4.0,
            patch_size: Side::One(16),
            image_size: Side::One(224),
            no_ln_pre: false,
            pool_type: "tok".to_owned(),
            timm_model_name: None,
            timm_pool: None,
            act_kwargs: None,
            norm_kwargs: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Text {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    mlp_ratio: f64,
    eos_id: u32,
    no_causal_mask: bool,
    pool_type: String,
    proj_bias: bool,
    act_kwargs: Option<Arguments>,
    norm_kwargs: Option<Arguments>,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            context_length: 77,
            vocab_size: 49408,
            width: 512,
            heads: 8,
            layers: 12,
            mlp_ratio: 4.0,
            eos_id: 2,
            no_causal_mask: false,
            pool_type: "argmax".to_owned(),
            proj_bias: false,
            act_kwargs: None,
            norm_kwargs: None,
        }
    }
}

/// Reads a configuration, whole or its `model_cfg` alone.
pub(super) fn parse(value: &Value, weights: &Weights) -> Result<ClipConfig, String> {
    let model = value.get("model_cfg").unwrap_or(value);
    for part in [Some(model), model.get("vision_cfg"), model.get("text_cfg")].into_iter().flatten() {
        refuse(part)?;
    }
    let Whole { embed_dim, quick_gelu, vision_cfg, text_cfg } = json::from_value(model)?;
    let vision = match &vision_cfg.timm_model_name {
        Some(name) => timm::vision(name, vision_cfg.timm_pool.as_deref(), vision_cfg.image_size.square()?, weights)?,
        None => vision(&vision_cfg, embed_dim, quick_gelu)?,
    };
    Ok(ClipConfig { text: text(&text_cfg, embed_dim, quick_gelu)?, vision, is_dense: false })
}

fn refuse(part: &Value) -> Result<(), String> {
    for (key, harmless) in UNSUPPORTED {
        let Some(value) = part.get(key).filter(|value| !value.is_null() && **value != Value::Bool(false)) else {
            continue;
        };
        if value.as_str() != Some(harmless) {
            return Err(format!(
                "Maquette cannot run an open_clip model with \"{key}\": {value}; if there is a copy of it for transformers, take that"
            ));
        }
    }
    Ok(())
}

fn activation(quick_gelu: bool, arguments: Option<&Arguments>) -> Activation {
    match arguments.and_then(|arguments| arguments.approximate.as_deref()) {
        _ if quick_gelu => Activation::QuickGelu,
        Some("tanh") => Activation::GeluTanh,
        _ => Activation::Gelu,
    }
}

fn epsilon(arguments: Option<&Arguments>) -> f64 {
    arguments.and_then(|arguments| arguments.eps).unwrap_or(1e-5)
}

fn vision(config: &Vision, embed_dim: usize, quick_gelu: bool) -> Result<VisionConfig, String> {
    if config.pool_type != "tok" {
        return Err(format!(
            "Maquette cannot run an open_clip vision tower with \"pool_type\": {:?}",
            config.pool_type
        ));
    }
    if config.head_width == 0 {
        return Err("\"head_width\" is 0".to_owned());
    }
    Ok(VisionConfig {
        width: config.width,
        inner: (config.width as f64 * config.mlp_ratio) as usize,
        layers: config.layers,
        heads: config.width / config.head_width,
        image_size: config.image_size.square()?,
        patch_size: config.patch_size.square()?,
        activation: activation(quick_gelu, config.act_kwargs.as_ref()),
        epsilon: epsilon(config.norm_kwargs.as_ref()),
        has_pre_norm: !config.no_ln_pre,
        head: Head::ClassToken(embed_dim),
    })
}

fn text(config: &Text, embed_dim: usize, quick_gelu: bool) -> Result<TextConfig, String> {
    let pooling = match config.pool_type.as_str() {
        "argmax" => Pooling::Largest,
        "eos" => Pooling::End(config.eos_id),
        "last" => Pooling::Last,
        "first" => Pooling::First,
        other => return Err(format!("Maquette cannot run an open_clip text tower with \"pool_type\": {other:?}")),
    };
    Ok(TextConfig {
        vocab_size: config.vocab_size,
        width: config.width,
        inner: (config.width as f64 * config.mlp_ratio) as usize,
        layers: config.layers,
        heads: config.heads,
        length: config.context_length,
        activation: activation(quick_gelu, config.act_kwargs.as_ref()),
        epsilon: epsilon(config.norm_kwargs.as_ref()),
        is_causal: !config.no_causal_mask,
        pooling,
        projection: Some((embed_dim, config.proj_bias)),
    })
}

/// open_clip's place for what transformers calls `name`. `text` is `text.` where the text tower is a module of its own.
pub(super) fn place(text: &str, name: &str) -> Place {
    let transposed = |name: String| Place { is_transposed: true, ..Place::plain(name) };
    let plain = |name: String| Place::plain(name);
    match name {
        "text_projection.weight" => return transposed(format!("{text}text_projection")),
        // Where the head of the vision tower is SigLIP's, the projection is asked for by SigLIP's name.
        "text_model.head.weight" => return transposed(format!("{text}text_projection")),
        "text_model.head.bias" => return plain(format!("{text}text_projection.bias")),
        "text_projection.bias" => return plain(format!("{text}text_projection.bias")),
        "visual_projection.weight" => return transposed("visual.proj".to_owned()),
        _ => {}
    }
    let (tower, inside) = match (name.strip_prefix("text_model."), name.strip_prefix("vision_model.")) {
        (Some(inside), _) => (text, inside),
        (_, Some(inside)) => ("visual.", inside),
        _ => return plain(name.to_owned()),
    };
    if let Some((number, inside)) = inside.strip_prefix("encoder.layers.").and_then(|rest| rest.split_once('.')) {
        let Place { name, part, .. } = layer_place(inside);
        return Place { part, ..plain(format!("{tower}transformer.resblocks.{number}.{name}")) };
    }
    let own = match inside {
        "embeddings.token_embedding.weight" => "token_embedding.weight".to_owned(),
        "embeddings.position_embedding.weight" => "positional_embedding".to_owned(),
        "embeddings.class_embedding" => "class_embedding".to_owned(),
        "embeddings.patch_embedding.weight" => "conv1.weight".to_owned(),
        _ => [("final_layer_norm", "ln_final"), ("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")]
            .iter()
            .find_map(|(theirs, own)| inside.strip_prefix(theirs).map(|rest| format!("{own}{rest}")))
            .unwrap_or_else(|| inside.to_owned()),
    };
    plain(format!("{tower}{own}"))
}

fn layer_place(inside: &str) -> Place {
    for (part, projection) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
        if let Some(kind) = inside.strip_prefix("self_attn.").and_then(|rest| rest.strip_prefix(projection)) {
            let name = format!("attn.in_proj_{}", kind.trim_start_matches('.'));
            return Place { part: Some((part, 3)), ..Place::plain(name) };
        }
    }
    let pairs = [
        ("self_attn.out_proj", "attn.out_proj"),
        ("layer_norm1", "ln_1"),
        ("layer_norm2", "ln_2"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
    ];
    let own = pairs.iter().find_map(|(theirs, own)| inside.strip_prefix(theirs).map(|rest| format!("{own}{rest}")));
    Place::plain(own.unwrap_or_else(|| inside.to_owned()))
}
