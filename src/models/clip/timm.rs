//! SigLIP's vision towers as open_clip has them: those of timm (`vision_transformer.py`), whose sizes are known by name there. Here they
//! come from the weights; only what weights do not show is known by name.

use super::config::{Head, VisionConfig};
use crate::models::files::{Place, Weights};
use crate::models::kernels::Activation;

const TRUNK: &str = "visual.trunk.";
/// Parts of the names of towers with the tanh approximation of GELU; all others have it exactly.
const TANH: [&str; 4] = ["base_patch32", "large_patch16_siglip_512", "so400m_patch16", "giantopt"];

/// What the tower of this name is made of.
pub(super) fn vision(
    name: &str,
    pool: Option<&str>,
    image_size: usize,
    weights: &Weights,
) -> Result<VisionConfig, String> {
    let has_projection = weights.names().any(|name| name.contains("visual.head."));
    if !name.contains("_siglip_") || name.contains("_gap_") || pool != Some("map") || has_projection {
        return Err(format!(
            "of timm's vision towers Maquette runs SigLIP's, not \"timm_model_name\": {name:?}; if there is a copy of the model for \
             transformers, take that"
        ));
    }
    let shape = |tensor: &str| {
        let found = weights.names().find(|name| name.ends_with(&format!("{TRUNK}{tensor}")));
        let shape = found.and_then(|name| weights.shape(name)).map(<[usize]>::to_vec);
        shape.ok_or_else(|| format!("the weights lack the tensor {TRUNK}{tensor}"))
    };
    let side = |shape: &[usize], axis: usize| shape.get(axis).copied().unwrap_or(0);
    let patches = shape("patch_embed.proj.weight")?;
    let layers =
        weights.names().filter(|name| name.contains("trunk.blocks.") && name.ends_with(".norm1.weight")).count();
    Ok(VisionConfig {
        width: side(&patches, 0),
        inner: side(&shape("blocks.0.mlp.fc1.weight")?, 0),
        layers,
        heads: if name.contains("_base_") { 12 } else { 16 },
        image_size,
        patch_size: side(&patches, 2),
        activation: if TANH.iter().any(|part| name.contains(part)) { Activation::GeluTanh } else { Activation::Gelu },
        epsilon: 1e-6,
        has_pre_norm: false,
        head: Head::AttentionPool,
    })
}

/// timm's place for what transformers calls `vision_model.` and then `inside`.
pub(super) fn place(inside: &str) -> Place {
    let part = |name: String, part: usize, parts: usize| Place { part: Some((part, parts)), ..Place::plain(name) };
    if let Some((number, inside)) = inside.strip_prefix("encoder.layers.").and_then(|rest| rest.split_once('.')) {
        let block = format!("{TRUNK}blocks.{number}.");
        for (index, projection) in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].into_iter().enumerate()
        {
            if let Some(kind) = inside.strip_prefix(projection) {
                return part(format!("{block}attn.qkv{kind}"), index, 3);
            }
        }
        let own = renamed(inside, &[("self_attn.out_proj", "attn.proj"), ("layer_norm", "norm")]);
        return Place::plain(format!("{block}{own}"));
    }
    for (index, projection) in ["head.attention.k_proj", "head.attention.v_proj"].into_iter().enumerate() {
        if let Some(kind) = inside.strip_prefix(projection) {
            return part(format!("{TRUNK}attn_pool.kv{kind}"), index, 2);
        }
    }
    let own = renamed(
        inside,
        &[
            ("embeddings.patch_embedding", "patch_embed.proj"),
            ("embeddings.position_embedding.weight", "pos_embed"),
            ("post_layernorm", "norm"),
            ("head.probe", "attn_pool.latent"),
            ("head.attention.q_proj", "attn_pool.q"),
            ("head.attention.out_proj", "attn_pool.proj"),
            ("head.layernorm", "attn_pool.norm"),
            ("head.mlp", "attn_pool.mlp"),
        ],
    );
    Place::plain(format!("{TRUNK}{own}"))
}

fn renamed(name: &str, pairs: &[(&str, &str)]) -> String {
    let own = pairs.iter().find_map(|(theirs, own)| name.strip_prefix(theirs).map(|rest| format!("{own}{rest}")));
    own.unwrap_or_else(|| name.to_owned())
}
