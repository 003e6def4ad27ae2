//! `config.json` of `unet/` and `vae/`, with diffusers' defaults for fields that are missing.

use serde::Deserialize;

use super::unsupported;
use crate::models::error::Result;
use crate::models::files::ModelFiles;

/// A number for all blocks, or one for each.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or a list of whole numbers")]
pub enum PerBlock {
    /// For all.
    Same(usize),
    /// For each, highest resolution first.
    Each(Vec<usize>),
}

impl PerBlock {
    /// The number of block `index`; 0 if the list is too short, which no net accepts.
    pub fn at(&self, index: usize) -> usize {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values.get(index).copied().unwrap_or(0),
        }
    }
}

/// The denoising net (diffusers `UNet2DConditionModel`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct UnetConfig {
    /// Channels in: 4, or 9 for inpainting nets.
    pub in_channels: usize,
    /// Channels out.
    pub out_channels: usize,
    /// Channels of each block, highest resolution first.
    pub block_out_channels: Vec<usize>,
    /// Kinds of the blocks on the way down.
    pub down_block_types: Vec<String>,
    /// Kinds of the blocks on the way up.
    pub up_block_types: Vec<String>,
    /// Kind of the block in the middle; absent in the smallest nets.
    pub mid_block_type: Option<String>,
    /// Residual blocks of each block.
    pub layers_per_block: PerBlock,
    /// Width of the prompt's states.
    pub cross_attention_dim: usize,
    /// Despite its name the number of heads, where `num_attention_heads` is absent.
    pub attention_head_dim: PerBlock,
    /// Heads of each block.
    pub num_attention_heads: Option<PerBlock>,
    /// Transformer layers of each attention.
    pub transformer_layers_per_block: PerBlock,
    /// Projections around attention are linear instead of 1x1 convolutions.
    pub use_linear_projection: bool,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// Epsilon of the group norms.
    pub norm_eps: f64,
    /// Cosines before sines in the time embedding.
    pub flip_sin_to_cos: bool,
    /// Shift of the time embedding's frequencies.
    pub freq_shift: f64,
    /// Side of the latents that it was trained on, or rows and columns.
    pub sample_size: Option<PerBlock>,
    /// Further conditioning: `text_time` (SDXL) or none.
    pub addition_embed_type: Option<String>,
    /// Width of each size's embedding (SDXL).
    pub addition_time_embed_dim: Option<usize>,
    /// Width of pooled text and sizes together (SDXL).
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Width of the guidance scale's embedding (LCM).
    pub time_cond_proj_dim: Option<usize>,
}

impl Default for UnetConfig {
    fn default() -> Self {
        let names = |names: [&str; 4]| names.map(str::to_owned).to_vec();
        let cross = "CrossAttnDownBlock2D";
        let up = "CrossAttnUpBlock2D";
        Self {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            down_block_types: names([cross, cross, cross, "DownBlock2D"]),
            up_block_types: names(["UpBlock2D", up, up, up]),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".to_owned()),
            layers_per_block: PerBlock::Same(2),
            cross_attention_dim: 1280,
            attention_head_dim: PerBlock::Same(8),
            num_attention_heads: None,
            transformer_layers_per_block: PerBlock::Same(1),
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            sample_size: None,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            time_cond_proj_dim: None,
        }
    }
}

impl UnetConfig {
    /// Attention heads of block `index`, as diffusers reads the two fields.
    pub fn heads(&self, index: usize) -> usize {
        self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim).at(index)
    }

    /// Whether the way down makes sense.
    ///
    /// # Errors
    /// If it does not, with what is wrong.
    pub(super) fn check(&self, files: &ModelFiles) -> Result<()> {
        let known = ["CrossAttnDownBlock2D", "DownBlock2D"];
        if let Some(kind) = self.down_block_types.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(unsupported(files, "block type", kind));
        }
        if self.block_out_channels.is_empty() || self.down_block_types.len() != self.block_out_channels.len() {
            return Err(unsupported(files, "block_out_channels", "lists of different lengths"));
        }
        if self.norm_num_groups == 0 {
            return Err(unsupported(files, "norm_num_groups", "0"));
        }
        let (count, transformers) = (self.block_out_channels.len(), &self.transformer_layers_per_block);
        let attends = |block: usize| {
            let is_cross =
                |kinds: &[String], at: usize| kinds.get(at).is_some_and(|kind| kind.starts_with("CrossAttn"));
            is_cross(&self.down_block_types, block)
                || count.checked_sub(block + 1).is_some_and(|up| is_cross(&self.up_block_types, up))
                || (block + 1 == count && self.mid_block_type.is_some())
        };
        let is_short = "0, or a list that is shorter than block_out_channels";
        if (0..count).any(|block| self.layers_per_block.at(block) == 0) {
            return Err(unsupported(files, "layers_per_block", is_short));
        }
        if (0..count).any(|block| attends(block) && transformers.at(block) == 0) {
            return Err(unsupported(files, "transformer_layers_per_block", is_short));
        }
        Ok(())
    }

    /// Rows and columns of the latents that it was trained on.
    pub fn trained_on(&self) -> Option<[usize; 2]> {
        match self.sample_size.as_ref()? {
            PerBlock::Same(side) => Some([*side; 2]),
            PerBlock::Each(sides) => <[usize; 2]>::try_from(sides.as_slice()).ok(),
        }
    }
}

/// The autoencoder (diffusers `AutoencoderKL`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Channels of pictures.
    pub in_channels: usize,
    /// Channels of pictures.
    pub out_channels: usize,
    /// Channels of latents.
    pub latent_channels: usize,
    /// Channels of each block, highest resolution first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each block on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// What latents are multiplied by for the denoising net.
    pub scaling_factor: f64,
    /// What is taken from latents before that.
    pub shift_factor: Option<f64>,
    /// diffusers' classes of the blocks on the way down.
    pub down_block_types: Vec<String>,
    /// Those on the way up.
    pub up_block_types: Vec<String>,
    /// Self-attention in the middle.
    pub mid_block_add_attention: bool,
    /// A 1x1 convolution after the encoder.
    pub use_quant_conv: bool,
    /// A 1x1 convolution before the decoder.
    pub use_post_quant_conv: bool,
    /// Side of the pictures that it was trained on, and of a tile where it runs in tiles; of both sides if it is a list.
    pub sample_size: PerBlock,
    /// It must compute in 32 bits: its numbers overflow f16 (SDXL).
    pub force_upcast: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            down_block_types: Vec::new(),
            up_block_types: Vec::new(),
            mid_block_add_attention: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            sample_size: PerBlock::Same(32),
            force_upcast: false,
        }
    }
}
