//! The vision tower (transformers `CLIPVisionTransformer`, `SiglipVisionModel`), for pictures of any whole number of patches.
//!
//! Attention layers have the sites 0, 1, …; behind them SigLIP's pooling head has the last one, which is a cross-attention.

use crate::models::tensors::Tensors;
use candle_core::Tensor;

use super::config::{Head, VisionConfig};
use super::encoder::{Encoder, Sizes};
use super::pool::PoolHead;
use super::positions::interpolate;
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::hook::Hooks;
use crate::models::kernels::{LayerNorm, Linear, joined, shifted};

/// Larger grids than any model has, small enough that their squares are numbers.
const LARGEST_GRID: usize = 1 << 12;

/// The vision tower.
pub struct VisionTower {
    /// Of the pixels of a patch, (3 * patch * patch), to its state.
    patches: Linear,
    /// (extra + grid * grid, width): the class token's first, if there is one.
    positions: Tensor,
    pre_norm: Option<LayerNorm>,
    encoder: Encoder,
    post_norm: LayerNorm,
    end: End,
    image_size: usize,
    patch_size: usize,
}

/// How states become embeddings.
enum End {
    ClassToken { token: Tensor, projection: Linear },
    Pool(Box<PoolHead>),
}

/// What the tower saw; [`VisionTower::patches`] and [`VisionTower::values`] make embeddings of its patches.
pub struct VisionOutput {
    before_last: Tensor,
    last: Tensor,
    /// The embeddings of the pictures as wholes, (batch, d).
    pub pooled: Tensor,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
}

impl VisionOutput {
    /// The states behind the last layer, before the final norm, (batch, tokens, width).
    pub fn states(&self) -> &Tensor {
        &self.last
    }
}

impl VisionTower {
    pub(super) fn load(config: &VisionConfig, root: &Tensors<'_>) -> Result<Self> {
        let (width, patch) = (config.width, config.patch_size);
        let grid = config.image_size.checked_div(patch).unwrap_or(0);
        if grid == 0 || grid > LARGEST_GRID {
            return Err(ModelError::BadInput(format!(
                "the configuration asks for patches of {patch} pixels in pictures of {}",
                config.image_size
            )));
        }
        let vb = root.pp("vision_model");
        let embeddings = vb.pp("embeddings");
        let sizes = Sizes {
            width,
            inner: config.inner,
            layers: config.layers,
            heads: config.heads,
            activation: config.activation,
            epsilon: config.epsilon,
        };
        let patches = |has_bias: bool| {
            let vb = embeddings.pp("patch_embedding");
            let bias = has_bias.then(|| vb.get(width, "bias")).transpose()?;
            let weight = vb.get((width, 3, patch, patch), "weight")?;
            Linear::new(&weight.flatten_from(1)?, bias.as_ref())
        };
        let norm = |name: &str| LayerNorm::load(width, config.epsilon, &vb.pp(name));
        let encoder = Encoder::load(sizes, &vb.pp("encoder"))?;
        let (patches, end, extra) = match config.head {
            Head::ClassToken(out) => {
                let token = embeddings.get(width, "class_embedding")?;
                let projection = Linear::load_no_bias(width, out, &root.pp("visual_projection"))?;
                (patches(false)?, End::ClassToken { token, projection }, 1)
            }
            Head::AttentionPool => {
                let pool = PoolHead::load(sizes, &vb.pp("head"))?;
                (patches(true)?, End::Pool(Box::new(pool)), 0)
            }
        };
        Ok(Self {
            patches,
            positions: embeddings.get((extra + grid * grid, width), "position_embedding.weight")?,
            // The misspelling is upstream's.
            pre_norm: config.has_pre_norm.then(|| norm("pre_layrnorm")).transpose()?,
            encoder,
            post_norm: norm("post_layernorm")?,
            end,
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

    /// Runs on (batch, 3, height, width). Pixels to the right and at the bottom that do not fill a patch are not seen.
    ///
    /// # Errors
    /// If there is no whole patch, or the task is cancelled.
    pub fn forward(&self, pixels: &Tensor, cx: &TaskCx<'_>) -> Result<VisionOutput> {
        self.forward_hooked(pixels, &mut Hooks::none(), cx)
    }

    /// The same, seen by `hooks`.
    ///
    /// # Errors
    /// The same; whatever a hook stops it with.
    pub fn forward_hooked(&self, pixels: &Tensor, hooks: &mut Hooks<'_>, cx: &TaskCx<'_>) -> Result<VisionOutput> {
        let (batch, _, height, width) = pixels.dims4()?;
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        if rows == 0 || columns == 0 {
            return Err(ModelError::BadInput(format!(
                "a picture of {width}x{height} is smaller than one patch of {} pixels",
                self.patch_size
            )));
        }
        let mut xs = self.patches.forward(&in_patches(pixels, self.patch_size)?)?;
        if let End::ClassToken { token, .. } = &self.end {
            let class = token.broadcast_as((batch, 1, token.dim(0)?))?;
            xs = joined([&class, &xs], 1)?;
        }
        xs = shifted(&xs, &self.positions_for(rows, columns)?)?;
        if let Some(norm) = &self.pre_norm {
            xs = norm.forward(&xs)?;
        }
        let encoded = self.encoder.forward(xs.contiguous()?, false, hooks, cx)?;
        let pooled = match &self.end {
            End::ClassToken { projection, .. } => {
                let class = encoded.last.narrow(1, 0, 1)?.contiguous()?;
                projection.forward(&self.post_norm.forward(&class)?.squeeze(1)?)?
            }
            End::Pool(pool) => pool.forward(&self.post_norm.forward(&encoded.last)?, hooks)?,
        };
        Ok(VisionOutput { before_last: encoded.before_last, last: encoded.last, pooled, rows, columns })
    }

    /// The embedding of each patch by its state behind the last layer, (batch, rows * columns, d): projected as the class token is;
    /// in SigLIP, what the pooling head makes of that patch if there is no other.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn patches(&self, seen: &VisionOutput) -> Result<Tensor> {
        self.each(&seen.last, seen)
    }

    /// The embedding of each patch by the value path of the last layer alone, without its attention (MaskCLIP, Zhou et al. 2022),
    /// (batch, rows * columns, d): projected as the class token is; in SigLIP, what the pooling head makes of it.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn values(&self, seen: &VisionOutput) -> Result<Tensor> {
        match self.encoder.layers.last() {
            Some(layer) => self.each(&layer.value_path(&seen.before_last)?, seen),
            None => self.each(&seen.last, seen),
        }
    }

    fn each(&self, states: &Tensor, seen: &VisionOutput) -> Result<Tensor> {
        let (_, tokens, _) = states.dims3()?;
        let count = seen.rows * seen.columns;
        let states = self.post_norm.forward(&states.narrow(1, tokens - count, count)?.contiguous()?)?;
        match &self.end {
            End::ClassToken { projection, .. } => Ok(projection.forward(&states)?),
            End::Pool(pool) => pool.each(&states),
        }
    }

    /// Position embeddings for a grid of this size.
    fn positions_for(&self, rows: usize, columns: usize) -> Result<Tensor> {
        let grid = self.image_size / self.patch_size;
        if rows == grid && columns == grid {
            return Ok(self.positions.clone());
        }
        let extra = self.positions.dim(0)? - grid * grid;
        let full = interpolate(&self.positions.narrow(0, extra, grid * grid)?, grid, rows, columns)?;
        Ok(if extra == 0 { full } else { Tensor::cat(&[&self.positions.narrow(0, 0, extra)?, &full], 0)? })
    }
}

/// (batch, 3, height, width) -> (batch, patches, 3 * side * side), row by row; pixels that fill no patch are left out.
fn in_patches(pixels: &Tensor, side: usize) -> Result<Tensor> {
    let (batch, channels, height, width) = pixels.dims4()?;
    let (rows, columns) = (height / side, width / side);
    let whole = pixels.narrow(2, 0, rows * side)?.narrow(3, 0, columns * side)?.contiguous()?;
    let split = whole.reshape(&[batch, channels, rows, side, columns, side][..])?.permute(&[0, 2, 4, 1, 3, 5][..])?;
    Ok(split.contiguous()?.reshape((batch, rows * columns, channels * side * side))?)
}
