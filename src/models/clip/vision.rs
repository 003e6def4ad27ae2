//! The vision tower (transformers `CLIPVisionTransformer`), for pictures of any whole number of patches.

use candle_core::Tensor;
use candle_nn::{Conv2d, Conv2dConfig, LayerNorm, Module, VarBuilder, conv2d_no_bias, layer_norm};

use super::config::VisionConfig;
use super::encoder::{Encoder, Sizes};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::hook::Hooks;

/// The vision tower.
pub struct VisionTower {
    class_token: Tensor,
    patches: Conv2d,
    /// (1 + grid * grid, width): the class token's first.
    positions: Tensor,
    pre_norm: LayerNorm,
    encoder: Encoder,
    post_norm: LayerNorm,
    image_size: usize,
    patch_size: usize,
}

/// What the tower gives.
pub struct VisionOutput {
    /// The class token's state after the final norm, (batch, width).
    pub pooled: Tensor,
    /// The last layer's patch states after the final norm, (batch, rows * columns, width).
    pub patches: Tensor,
    /// The last layer's value path of the patches after the final norm (MaskCLIP), (batch, rows * columns, width).
    pub values: Tensor,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
}

impl VisionTower {
    pub(super) fn load(config: &VisionConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let (width, patch) = (config.hidden_size, config.patch_size);
        if patch == 0 || config.image_size < patch {
            return Err(ModelError::BadInput(format!(
                "the configuration asks for patches of {patch} pixels in pictures of {}",
                config.image_size
            )));
        }
        let grid = config.image_size / patch;
        let embeddings = vb.pp("embeddings");
        let stride = Conv2dConfig { stride: patch, ..Conv2dConfig::default() };
        let sizes = Sizes {
            width,
            inner: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
        };
        Ok(Self {
            class_token: embeddings.get(width, "class_embedding")?,
            patches: conv2d_no_bias(3, width, patch, stride, embeddings.pp("patch_embedding"))?,
            positions: embeddings.get((1 + grid * grid, width), "position_embedding.weight")?,
            // The misspelling is upstream's.
            pre_norm: layer_norm(width, config.layer_norm_eps, vb.pp("pre_layrnorm"))?,
            encoder: Encoder::load(sizes, &vb.pp("encoder"))?,
            post_norm: layer_norm(width, config.layer_norm_eps, vb.pp("post_layernorm"))?,
            image_size: config.image_size,
            patch_size: patch,
        })
    }

    /// Side of the pictures that it was trained on, in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    /// Side of a patch, in pixels.
    pub fn patch_size(&self) -> usize {
        self.patch_size
    }

    /// Runs on (batch, 3, height, width); sides must be whole numbers of patches.
    ///
    /// # Errors
    /// If they are not, or the task is cancelled.
    pub fn forward(&self, pixels: &Tensor, cx: &TaskCx<'_>) -> Result<VisionOutput> {
        let (batch, _, height, width) = pixels.dims4()?;
        if !height.is_multiple_of(self.patch_size) || !width.is_multiple_of(self.patch_size) {
            return Err(ModelError::BadInput(format!(
                "a picture of {width}x{height} is no whole number of {}-pixel patches",
                self.patch_size
            )));
        }
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        let patches = self.patches.forward(pixels)?.flatten_from(2)?.transpose(1, 2)?;
        let channels = self.class_token.dim(0)?;
        let class = self.class_token.broadcast_as((batch, 1, channels))?;
        let xs = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.positions_for(rows, columns)?)?;
        let encoded = self.encoder.forward(self.pre_norm.forward(&xs)?, false, &mut Hooks::none(), cx)?;
        let normed = self.post_norm.forward(&encoded.last.contiguous()?)?;
        let values = match self.encoder.layers.last() {
            Some(layer) => self.post_norm.forward(&layer.value_path(&encoded.before_last)?)?,
            None => normed.clone(),
        };
        Ok(VisionOutput {
            pooled: normed.narrow(1, 0, 1)?.squeeze(1)?,
            patches: normed.narrow(1, 1, rows * columns)?.contiguous()?,
            values: values.narrow(1, 1, rows * columns)?.contiguous()?,
            rows,
            columns,
        })
    }

    /// Position embeddings (1 + rows * columns, width), bicubic as torch's `interpolate(align_corners=False)`.
    fn positions_for(&self, rows: usize, columns: usize) -> Result<Tensor> {
        let grid = self.image_size / self.patch_size;
        if rows == grid && columns == grid {
            return Ok(self.positions.clone());
        }
        let weights = |to: usize| interpolation(grid, to);
        let (dtype, device) = (self.positions.dtype(), self.positions.device());
        let down = Tensor::from_vec(weights(rows), (rows, grid), device)?.to_dtype(dtype)?;
        let across = Tensor::from_vec(weights(columns), (columns, grid), device)?.to_dtype(dtype)?;
        let width = self.positions.dim(1)?;
        let square = self.positions.narrow(0, 1, grid * grid)?.contiguous()?;
        // Rows first: (rows, grid) x (grid, grid * width), then columns within each row.
        let tall = down.matmul(&square.reshape((grid, grid * width))?)?.reshape((rows, grid, width))?;
        let across = across.unsqueeze(0)?.broadcast_as((rows, columns, grid))?.contiguous()?;
        let full = across.matmul(&tall)?.reshape((rows * columns, width))?;
        Ok(Tensor::cat(&[&self.positions.narrow(0, 0, 1)?, &full], 0)?)
    }
}

/// The (to, from) matrix of torch's bicubic interpolation: a = -0.75, half-pixel centres, edges repeated.
fn interpolation(from: usize, to: usize) -> Vec<f32> {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let mut matrix = vec![0.0; from * to];
    for (output, row) in matrix.chunks_exact_mut(from).enumerate() {
        let place = (output as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let (base, t) = (place.floor(), place - place.floor());
        for (offset, weight) in [(-1.0, far(t + 1.0)), (0.0, near(t)), (1.0, near(1.0 - t)), (2.0, far(2.0 - t))] {
            let at = (base + offset).clamp(0.0, from as f64 - 1.0) as usize;
            row[at] += weight as f32;
        }
    }
    matrix
}
