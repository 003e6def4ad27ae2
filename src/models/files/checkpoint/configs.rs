//! The `config.json` of each part of a single file, from the shapes of its tensors.

use serde_json::{Value, json};

use super::Kind;
use crate::models::files::Weights;

/// More levels, layers or blocks than any net has: a file cannot make us count for ever.
const MOST: usize = 256;

/// How many of `name(0)`, `name(1)`, … there are.
fn count(weights: &Weights, first: usize, name: impl Fn(usize) -> String) -> usize {
    (first..first + MOST).take_while(|index| weights.has(&name(*index))).count()
}

fn side(weights: &Weights, name: &str, axis: usize) -> Result<usize, String> {
    let shape =
        weights.shape(name).ok_or_else(|| format!("it has no tensor {name:?}, which every model of its kind has"))?;
    let side = shape.get(axis).copied().filter(|side| *side > 0);
    side.ok_or_else(|| format!("the tensor {name:?} is {shape:?}, which no model of its kind has"))
}

/// Residual blocks of a level of the denoising net below `prefix`.
pub(super) fn layers(weights: &Weights, prefix: &str) -> usize {
    let halving = (1..MOST).find(|index| weights.has(&format!("{prefix}input_blocks.{index}.0.op.weight")));
    let all = || count(weights, 1, |index| format!("{prefix}input_blocks.{index}.0.in_layers.2.weight"));
    halving.map_or_else(all, |index| index - 1)
}

/// Levels of the autoencoder below `prefix`.
pub(super) fn vae_levels(weights: &Weights, prefix: &str) -> usize {
    count(weights, 0, |level| format!("{prefix}encoder.down.{level}.block.0.conv1.weight"))
}

/// The denoising net.
pub(super) fn unet(weights: &Weights, prefix: &str, kind: Kind, predicts_velocity: bool) -> Result<Value, String> {
    let layers = layers(weights, prefix);
    let first = |level: usize| format!("{prefix}input_blocks.{}", level * (layers + 1) + 1);
    let levels = count(weights, 0, |level| format!("{}.0.in_layers.2.weight", first(level)));
    let mut channels = Vec::new();
    for level in 0..levels {
        channels.push(side(weights, &format!("{}.0.out_layers.3.weight", first(level)), 0)?);
    }
    let attends: Vec<bool> =
        (0..levels).map(|level| weights.has(&format!("{}.1.proj_in.weight", first(level)))).collect();
    let middle = format!("{prefix}middle_block.1");
    let depth_at = |path: &str| count(weights, 0, |i| format!("{path}.transformer_blocks.{i}.attn2.to_k.weight"));
    // diffusers has one depth a level, and the middle has that of the last one.
    let depth = |level: usize| match level + 1 == levels {
        true => depth_at(&middle),
        false => depth_at(&format!("{}.1", first(level))),
    };
    let depths: Vec<usize> = (0..levels).map(|level| depth(level).max(1)).collect();
    let attention = format!("{middle}.transformer_blocks.0.attn2.to_k.weight");
    let is_linear = weights.shape(&format!("{middle}.proj_in.weight")).is_some_and(|shape| shape.len() == 2);
    // Stable Diffusion 1 has eight heads everywhere, the later ones heads of width 64.
    let heads: Vec<usize> =
        channels.iter().map(|channels| if is_linear { (channels / 64).max(1) } else { 8 }).collect();
    let names = |is_down: bool| -> Vec<&str> {
        let name = |attends: &bool| match (is_down, attends) {
            (true, true) => "CrossAttnDownBlock2D",
            (true, false) => "DownBlock2D",
            (false, true) => "CrossAttnUpBlock2D",
            (false, false) => "UpBlock2D",
        };
        let all = attends.iter().map(name);
        if is_down { all.collect() } else { all.rev().collect() }
    };
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "in_channels": side(weights, &format!("{prefix}input_blocks.0.0.weight"), 1)?,
        "out_channels": side(weights, &format!("{prefix}out.2.weight"), 0)?,
        "block_out_channels": channels,
        "down_block_types": names(true),
        "up_block_types": names(false),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "layers_per_block": layers,
        "cross_attention_dim": side(weights, &attention, 1)?,
        "attention_head_dim": heads,
        "transformer_layers_per_block": depths,
        "use_linear_projection": is_linear,
        "norm_num_groups": 32,
        "norm_eps": 1e-5,
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "sample_size": match kind {
            Kind::Sdxl => 128,
            Kind::Sd2 if predicts_velocity => 96,
            Kind::Sd1 | Kind::Sd2 => 64,
        },
    });
    let mut set =
        |key: &str, value: Value| config.as_object_mut().and_then(|config| config.insert(key.to_owned(), value));
    let guidance = format!("{prefix}time_embed.cond_proj.weight");
    if weights.has(&guidance) {
        set("time_cond_proj_dim", side(weights, &guidance, 1)?.into());
    }
    let added = format!("{prefix}label_emb.0.0.weight");
    if weights.has(&added) {
        let inputs = side(weights, &added, 1)?;
        let pooled = side(weights, &format!("{}text_projection", super::XL_SECOND.prefix), 1)?;
        // Six sizes, each as wide as the rest allows.
        let sizes = inputs.checked_sub(pooled).filter(|rest| *rest > 0 && rest.is_multiple_of(6));
        let sizes = sizes.ok_or_else(|| format!("its added conditioning is {inputs} wide, and its text {pooled}"))?;
        set("addition_embed_type", "text_time".into());
        set("addition_time_embed_dim", (sizes / 6).into());
        set("projection_class_embeddings_input_dim", inputs.into());
    }
    Ok(config)
}

/// The autoencoder, of its tensors in diffusers' names.
pub(super) fn vae(weights: &Weights, scaling_factor: f64) -> Result<Value, String> {
    let block = |level: usize, layer: usize| format!("encoder.down_blocks.{level}.resnets.{layer}.conv1.weight");
    let levels = count(weights, 0, |level| block(level, 0));
    let channels: Result<Vec<usize>, String> = (0..levels).map(|level| side(weights, &block(level, 0), 0)).collect();
    let has = |name: &str| weights.has(&format!("{name}.weight"));
    let has_attention = ["to_q", "query"].iter().any(|query| has(&format!("encoder.mid_block.attentions.0.{query}")));
    Ok(json!({
        "_class_name": "AutoencoderKL",
        "in_channels": side(weights, "encoder.conv_in.weight", 1)?,
        "out_channels": side(weights, "decoder.conv_out.weight", 0)?,
        "latent_channels": side(weights, "decoder.conv_in.weight", 1)?,
        "block_out_channels": channels?,
        "layers_per_block": count(weights, 0, |layer| block(0, layer)),
        "norm_num_groups": 32,
        "scaling_factor": scaling_factor,
        "mid_block_add_attention": has_attention,
        "use_quant_conv": has("quant_conv"),
        "use_post_quant_conv": has("post_quant_conv"),
    }))
}

/// A text tower under transformers' names; the last `surplus` layers are not used.
pub(super) fn text(weights: &Weights, is_open_clip: bool, surplus: usize) -> Result<Value, String> {
    let layer = |index: usize| format!("text_model.encoder.layers.{index}");
    let layers = count(weights, 0, |index| format!("{}.mlp.fc1.weight", layer(index)));
    let tokens = "text_model.embeddings.token_embedding.weight";
    let (vocabulary, width) = (side(weights, tokens, 0)?, side(weights, tokens, 1)?);
    let projection = weights.shape("text_projection.weight");
    // On its side in open_clip's files.
    let projection = projection.and_then(|shape| if is_open_clip { shape.last() } else { shape.first() }).copied();
    Ok(json!({
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": side(weights, &format!("{}.mlp.fc1.weight", layer(0)), 0)?,
        "num_hidden_layers": layers.saturating_sub(surplus),
        "num_attention_heads": (width / 64).max(1),
        "max_position_embeddings": side(weights, "text_model.embeddings.position_embedding.weight", 0)?,
        "hidden_act": if is_open_clip { "gelu" } else { "quick_gelu" },
        "layer_norm_eps": 1e-5,
        "eos_token_id": vocabulary - 1,
        "projection_dim": projection.unwrap_or(width),
    }))
}

/// CLIP's tokenizer; those of open_clip's towers fill up with the id 0, which is "!".
pub(super) fn tokenizer(is_open_clip: bool, length: &Value) -> Value {
    json!({
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": length,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": if is_open_clip { "!" } else { "<|endoftext|>" },
        "unk_token": "<|endoftext|>",
    })
}
