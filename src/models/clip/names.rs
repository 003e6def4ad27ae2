//! Which names a file has for its tensors. Our nets ask for those of transformers 4; this finds the place of each in the file.

use crate::models::tensors::Tensors;
use candle_core::{DType, Device};

use super::{open_clip, timm};
use crate::base::task::TaskCx;
use crate::models::files::{Naming, Place, Weights};

/// The tensors of `weights` by transformers' names, whatever the file calls them: those names with or without a prefix, a text
/// tower alone with or without `text_model.`, query, key and value in one, or open_clip's names.
pub(super) fn tensors<'a>(weights: &Weights, dtype: DType, device: &Device, cx: &'a TaskCx<'a>) -> Tensors<'a> {
    Tensors::new(weights, naming(weights), dtype, device, cx)
}

fn naming(weights: &Weights) -> Naming {
    let prefix = |tail: &str| weights.names().find_map(|name| name.strip_suffix(tail)).map(str::to_owned);
    let trunk = prefix("visual.trunk.patch_embed.proj.weight");
    let is_timm = trunk.is_some();
    if let Some(root) = trunk.or_else(|| prefix("visual.transformer.resblocks.0.attn.in_proj_weight")) {
        let text = if weights.has(&format!("{root}text.token_embedding.weight")) { "text." } else { "" };
        return Box::new(move |weights, name| {
            let mut place = match name.strip_prefix("vision_model.").filter(|_| is_timm) {
                Some(inside) => timm::place(inside),
                None => open_clip::place(text, name),
            };
            place.name.insert_str(0, &root);
            // A projection with a bias is a layer of its own, which is not on its side.
            if place.is_transposed && !weights.has(&place.name) {
                place = Place::plain(format!("{}.weight", place.name));
            }
            place
        });
    }
    let root = prefix("text_model.embeddings.token_embedding.weight");
    let is_bare = root.is_none() && weights.has("embeddings.token_embedding.weight");
    let root = root.unwrap_or_default();
    Box::new(move |weights, name| {
        let name = if is_bare { name.strip_prefix("text_model.").unwrap_or(name) } else { name };
        let name = format!("{root}{name}");
        if weights.has(&name) {
            Place::plain(name)
        } else {
            fused(weights, &name).unwrap_or_else(|| Place::plain(name))
        }
    })
}

/// The part of `in_proj_weight` or `in_proj_bias` that `….q_proj.weight` and its like are.
fn fused(weights: &Weights, name: &str) -> Option<Place> {
    let (module, kind) = name.rsplit_once('.')?;
    let (parent, projection) = module.rsplit_once('.')?;
    let part = ["q_proj", "k_proj", "v_proj"].iter().position(|known| *known == projection)?;
    let name = format!("{parent}.in_proj_{kind}");
    weights.has(&name).then(|| Place { part: Some((part, 3)), ..Place::plain(name) })
}
