//! The names that Stable Diffusion's own training code (`CompVis/latent-diffusion`, `Stability-AI/generative-models`) gives to layers, in
//! the names of diffusers and transformers. Names only: what a file holds is `checkpoint`'s business.
//!
//! LoRA files write the same names with `_` for `.`, so the separator is a parameter where both are wanted.

/// Layers outside the blocks of a denoising net.
const OUTSIDE: [(&str, &str); 8] = [
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("time_embed.cond_proj", "time_embedding.cond_proj"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
    ("input_blocks.0.0", "conv_in"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
];
/// Layers of a residual block of a denoising net.
const RESIDUAL: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];
/// Layers of an autoencoder's halves outside their blocks.
const VAE_OUTSIDE: [(&str, &str); 9] = [
    ("mid.block_1", "mid_block.resnets.0"),
    ("mid.block_2", "mid_block.resnets.1"),
    ("mid.attn_1.norm", "mid_block.attentions.0.group_norm"),
    ("mid.attn_1.q", "mid_block.attentions.0.to_q"),
    ("mid.attn_1.k", "mid_block.attentions.0.to_k"),
    ("mid.attn_1.v", "mid_block.attentions.0.to_v"),
    ("mid.attn_1.proj_out", "mid_block.attentions.0.to_out.0"),
    ("norm_out", "conv_norm_out"),
    ("conv_in", "conv_in"),
];
/// Layers of one layer of open_clip's text tower.
const TEXT_LAYER: [(&str, &str); 5] = [
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("attn.out_proj", "self_attn.out_proj"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
];

/// `name` with what it begins with replaced by the table; the table is written with dots.
fn swapped(name: &str, separator: char, table: &[(&str, &str)]) -> Option<String> {
    let separated = |text: &str| text.replace('.', separator.encode_utf8(&mut [0; 4]));
    table.iter().find_map(|(old, new)| {
        let rest = name.strip_prefix(separated(old).as_str())?;
        (rest.is_empty() || rest.starts_with(separator)).then(|| format!("{}{rest}", separated(new)))
    })
}

/// The number that `name` begins with, and what follows the separator behind it.
fn number(name: &str, separator: char) -> Option<(usize, &str)> {
    let (digits, rest) = name.split_once(separator).unwrap_or((name, ""));
    Some((digits.parse().ok()?, rest))
}

/// diffusers' name of a layer or tensor of a denoising net with `layers` residual blocks a level.
pub fn unet(name: &str, separator: char, layers: usize) -> Option<String> {
    if let Some(outside) = swapped(name, separator, &OUTSIDE) {
        return Some(outside);
    }
    let s = separator;
    let block = |kind: &str| name.strip_prefix(kind)?.strip_prefix(s);
    let residual = |path: String, rest: &str| Some(format!("{path}{s}{}", swapped(rest, s, &RESIDUAL)?));
    if let Some(rest) = block("middle_block") {
        let (index, rest) = number(rest, s)?;
        return match index {
            0 | 2 => residual(format!("mid_block{s}resnets{s}{}", index / 2), rest),
            1 => Some(format!("mid_block{s}attentions{s}0{s}{rest}")),
            _ => None,
        };
    }
    let (is_down, rest) = match block("input_blocks") {
        Some(rest) => (true, rest),
        None => (false, block("output_blocks")?),
    };
    let (index, rest) = number(rest, s)?;
    let (part, rest) = number(rest, s)?;
    let index = if is_down { index.checked_sub(1)? } else { index };
    let (level, layer) = (index / (layers + 1), index % (layers + 1));
    let side = if is_down { "down" } else { "up" };
    let path = format!("{side}_blocks{s}{level}");
    // The last place of a level on the way down halves the size; on the way up, doubling has a part of its own in the last place.
    if is_down && layer == layers {
        return Some(format!("{path}{s}{}", swapped(rest, s, &[("op", "downsamplers.0.conv")])?));
    }
    match part {
        0 => residual(format!("{path}{s}resnets{s}{layer}"), rest),
        1 | 2 if !is_down && rest.strip_prefix("conv").is_some_and(|rest| rest.is_empty() || rest.starts_with(s)) => {
            Some(format!("{path}{s}upsamplers{s}0{s}{rest}"))
        }
        1 => Some(format!("{path}{s}attentions{s}{layer}{s}{rest}")),
        _ => None,
    }
}

/// diffusers' name of a tensor of an autoencoder of so many levels.
pub fn vae(name: &str, levels: usize) -> Option<String> {
    let is_whole = |layer: &str| name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.'));
    if is_whole("quant_conv") || is_whole("post_quant_conv") {
        return Some(name.to_owned());
    }
    let (half, inside) = name.split_once('.').filter(|(half, _)| ["encoder", "decoder"].contains(half))?;
    let residual = |rest: &str| match rest.strip_prefix("nin_shortcut") {
        Some(rest) => format!("conv_shortcut{rest}"),
        None => rest.to_owned(),
    };
    if let Some(outside) = swapped(inside, '.', &VAE_OUTSIDE) {
        return Some(format!("{half}.{}", residual(&outside)));
    }
    if let Some(rest) = inside.strip_prefix("conv_out") {
        return Some(format!("{half}.conv_out{rest}"));
    }
    let (direction, resize, rest) = match half {
        "encoder" => ("down", "downsample", inside.strip_prefix("down.")?),
        _ => ("up", "upsample", inside.strip_prefix("up.")?),
    };
    let (level, rest) = number(rest, '.')?;
    // The training code counts both halves from the highest resolution.
    let level = if half == "decoder" { levels.checked_sub(level + 1)? } else { level };
    let path = format!("{half}.{direction}_blocks.{level}");
    if let Some(rest) = rest.strip_prefix("block.") {
        let (index, rest) = number(rest, '.')?;
        return Some(format!("{path}.resnets.{index}.{}", residual(rest)));
    }
    let rest = rest.strip_prefix(resize)?.strip_prefix('.')?;
    Some(format!("{path}.{resize}rs.0.{rest}"))
}

/// What becomes of a tensor of open_clip's text tower.
#[derive(Debug, PartialEq, Eq)]
pub enum Text {
    /// Under this name.
    Whole(String),
    /// On its side under this name.
    Turned(String),
    /// Query, key and value, one after the other, under these names.
    Thirds([String; 3]),
}

/// transformers' name of a tensor of open_clip's text tower.
pub fn text(name: &str) -> Option<Text> {
    let whole = |name: &str| Some(Text::Whole(name.to_owned()));
    match name {
        "token_embedding.weight" => return whole("text_model.embeddings.token_embedding.weight"),
        "positional_embedding" => return whole("text_model.embeddings.position_embedding.weight"),
        "ln_final.weight" => return whole("text_model.final_layer_norm.weight"),
        "ln_final.bias" => return whole("text_model.final_layer_norm.bias"),
        "text_projection" => return Some(Text::Turned("text_projection.weight".to_owned())),
        "text_projection.weight" => return whole(name),
        _ => {}
    }
    let (layer, rest) = number(name.strip_prefix("transformer.resblocks.")?, '.')?;
    let path = format!("text_model.encoder.layers.{layer}");
    if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
        return Some(Text::Thirds(["q", "k", "v"].map(|part| format!("{path}.self_attn.{part}_proj.{kind}"))));
    }
    Some(Text::Whole(format!("{path}.{}", swapped(rest, '.', &TEXT_LAYER)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn layers_of_a_denoising_net_are_found() {
        let two = |name: &str| unet(name, '.', 2);
        let same = |name: &str, want: &str| {
            assert_eq!(two(name).as_deref(), Some(want));
            // With underscores it is the same.
            assert_eq!(unet(&name.replace('.', "_"), '_', 2), Some(want.replace('.', "_")), "{name}");
        };
        same("input_blocks.0.0", "conv_in");
        same("input_blocks.1.0.in_layers.2", "down_blocks.0.resnets.0.conv1");
        same("input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv");
        same("input_blocks.4.0.skip_connection", "down_blocks.1.resnets.0.conv_shortcut");
        same(
            "input_blocks.11.1.transformer_blocks.0.attn1.to_out.0",
            "down_blocks.3.attentions.1.transformer_blocks.0.attn1.to_out.0",
        );
        same("middle_block.0.emb_layers.1", "mid_block.resnets.0.time_emb_proj");
        same("middle_block.1.proj_in", "mid_block.attentions.0.proj_in");
        same("middle_block.2.out_layers.3", "mid_block.resnets.1.conv2");
        same("output_blocks.2.1.conv", "up_blocks.0.upsamplers.0.conv");
        same("output_blocks.5.2.conv", "up_blocks.1.upsamplers.0.conv");
        same("output_blocks.3.1.proj_out", "up_blocks.1.attentions.0.proj_out");
        same("out.2", "conv_out");
        same("time_embed.2", "time_embedding.linear_2");
        same("label_emb.0.2", "add_embedding.linear_2");
        for other in ["", "out", "out.1", "input_blocks", "input_blocks.x.0", "middle_block.3.x", "output_blocks.1.3.x"]
        {
            assert_eq!(two(other), None, "{other}");
        }
        assert_eq!(two("input_blocks.0.5.op"), None);
        assert_eq!(unet("input_blocks.99999999999999999999.0.x", '.', usize::MAX - 1), None);
    }

    #[test]
    fn layers_of_an_autoencoder_are_found() {
        let same = |name: &str, want: &str| assert_eq!(vae(name, 4).as_deref(), Some(want));
        same("encoder.conv_in.weight", "encoder.conv_in.weight");
        same("encoder.down.1.block.0.nin_shortcut.bias", "encoder.down_blocks.1.resnets.0.conv_shortcut.bias");
        same("encoder.down.0.downsample.conv.weight", "encoder.down_blocks.0.downsamplers.0.conv.weight");
        same("decoder.up.3.block.2.norm1.weight", "decoder.up_blocks.0.resnets.2.norm1.weight");
        same("decoder.up.1.upsample.conv.weight", "decoder.up_blocks.2.upsamplers.0.conv.weight");
        same("decoder.mid.attn_1.proj_out.bias", "decoder.mid_block.attentions.0.to_out.0.bias");
        same("decoder.mid.block_2.conv1.weight", "decoder.mid_block.resnets.1.conv1.weight");
        same("decoder.norm_out.weight", "decoder.conv_norm_out.weight");
        same("decoder.conv_out.weight", "decoder.conv_out.weight");
        same("post_quant_conv.bias", "post_quant_conv.bias");
        for other in
            ["encoder", "loss.logvar", "decoder.up.4.block.0.x", "encoder.up.0.block.0.x", "quant_convolution.x"]
        {
            assert_eq!(vae(other, 4), None, "{other}");
        }
    }

    #[test]
    fn tensors_of_a_text_tower_are_found() {
        let whole = |name: &str, want: &str| assert_eq!(text(name), Some(Text::Whole(want.to_owned())));
        whole("transformer.resblocks.3.mlp.c_fc.weight", "text_model.encoder.layers.3.mlp.fc1.weight");
        whole("transformer.resblocks.0.attn.out_proj.bias", "text_model.encoder.layers.0.self_attn.out_proj.bias");
        let thirds = text("transformer.resblocks.1.attn.in_proj_bias").unwrap();
        let names = ["q", "k", "v"].map(|part| format!("text_model.encoder.layers.1.self_attn.{part}_proj.bias"));
        assert_eq!(thirds, Text::Thirds(names));
        assert_eq!(text("text_projection"), Some(Text::Turned("text_projection.weight".to_owned())));
        assert_eq!(text("logit_scale"), None);
    }
}
