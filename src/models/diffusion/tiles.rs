//! Encoding and decoding large pictures in overlapping tiles, so that memory does not grow with the picture (diffusers'
//! `AutoencoderKL.enable_tiling`: a quarter of each tile is blended linearly with its neighbours).
//!
//! Each tile is normalised by itself, so pixels differ a little from those of a whole run: whoever asks for tiles says so.

use candle_core::Tensor;

use super::autoencoder::Autoencoder;
use crate::base::task::TaskCx;
use crate::models::error::Result;

/// Tiles are not made smaller than this to fit into memory, in latents.
const SMALLEST: usize = 16;
/// Activations of the largest size that are held at once.
const HELD: usize = 4;

/// An autoencoder and how it is run.
#[derive(Clone, Copy)]
pub struct Codec<'a> {
    vae: &'a Autoencoder,
    /// Side of a tile in latents; `None` to run it whole.
    tile: Option<usize>,
}

impl<'a> Codec<'a> {
    /// Runs `vae` whole.
    pub fn whole(vae: &'a Autoencoder) -> Self {
        Self { vae, tile: None }
    }

    /// Runs `vae` in tiles of `tile` latents a side.
    pub fn in_tiles(vae: &'a Autoencoder, tile: usize) -> Self {
        Self { vae, tile: Some(tile.max(1)) }
    }

    /// Runs `vae` whole if latents of `height` x `width` need no more than about `memory` bytes; else in tiles: those of the model's
    /// configuration, or smaller ones where even they need more.
    pub fn within(vae: &'a Autoencoder, height: usize, width: usize, memory: u64) -> Self {
        let Autoencoder::Kl(kl) = vae else { return Self::whole(vae) };
        let pixel = kl.widest_at_full_size() * HELD * size_of::<f32>() * vae.factor() * vae.factor();
        let needed = |latents: usize| latents.saturating_mul(pixel) as u64;
        if needed(height.saturating_mul(width)) <= memory {
            return Self::whole(vae);
        }
        let mut side = kl.tile_side();
        while side > SMALLEST && needed(side * side) > memory {
            side /= 2;
        }
        Self { vae, tile: (height.max(width) > side).then_some(side) }
    }

    /// The autoencoder.
    pub fn vae(&self) -> &'a Autoencoder {
        self.vae
    }

    /// Side of a tile in pixels, if it runs in tiles.
    pub fn tile_pixels(&self) -> Option<usize> {
        self.tile.map(|tile| tile * self.vae.factor())
    }

    /// As [`super::Vae::encode_mean`].
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn encode_mean(&self, pictures: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        match self.tile {
            None => self.vae.encode_mean(pictures, cx),
            Some(side) => tiled(pictures, side * self.vae.factor(), side, |tile| self.vae.encode_mean(tile, cx)),
        }
    }

    /// As [`super::Vae::decode`].
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn decode(&self, latents: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        match self.tile {
            None => self.vae.decode(latents, cx),
            Some(side) => tiled(latents, side, side * self.vae.factor(), |tile| self.vae.decode(tile, cx)),
        }
    }
}

/// What `run` makes of `xs` (batch, channels, h, w) in tiles of `side` that become tiles of `made`.
fn tiled(xs: &Tensor, side: usize, made: usize, run: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (_, _, height, width) = xs.dims4()?;
    if height.max(width) <= side {
        return run(xs);
    }
    // A quarter of a tile in whole latents, so that steps here and there are the same.
    let unit = side.min(made).max(1);
    let step = (unit - unit / 4).max(1) * (side / unit);
    let (blended, kept) = (unit / 4 * (made / unit), (unit - unit / 4) * (made / unit));
    let mut bands = Vec::new();
    let mut above: Vec<Tensor> = Vec::new();
    for top in (0..height).step_by(step) {
        let mut row: Vec<Tensor> = Vec::new();
        for (column, left) in (0..width).step_by(step).enumerate() {
            let rows = xs.narrow(2, top, side.min(height - top))?;
            let mut tile = run(&rows.narrow(3, left, side.min(width - left))?.contiguous()?)?;
            if let Some(above) = above.get(column) {
                tile = blend(above, &tile, 2, blended)?;
            }
            if let Some(left) = row.last() {
                tile = blend(left, &tile, 3, blended)?;
            }
            row.push(tile);
        }
        let keep = |tile: &Tensor| -> Result<Tensor> {
            let (_, _, height, width) = tile.dims4()?;
            Ok(tile.narrow(2, 0, kept.min(height))?.narrow(3, 0, kept.min(width))?)
        };
        let band: Result<Vec<Tensor>> = row.iter().map(keep).collect();
        bands.push(Tensor::cat(&band?, 3)?);
        above = row;
    }
    Ok(Tensor::cat(&bands, 2)?)
}

/// `next` with its first `extent` lines along `axis` faded in from the last ones of `before`.
fn blend(before: &Tensor, next: &Tensor, axis: usize, extent: usize) -> Result<Tensor> {
    let (old, new) = (before.dim(axis)?, next.dim(axis)?);
    let extent = extent.min(old).min(new);
    if extent == 0 {
        return Ok(next.clone());
    }
    let mut shape = [1; 4];
    shape[axis] = extent;
    let share = Tensor::arange(0u32, extent as u32, next.device())?.to_dtype(next.dtype())?;
    let share = (share / extent as f64)?.reshape(&shape)?;
    let (from, to) = (before.narrow(axis, old - extent, extent)?, next.narrow(axis, 0, extent)?);
    let mixed = (from.broadcast_mul(&(1.0 - &share)?)? + to.broadcast_mul(&share)?)?;
    Ok(Tensor::cat(&[mixed, next.narrow(axis, extent, new - extent)?], axis)?)
}
