//! Pictures of unfinished latents at next to no cost: the linear map from latents to colours that fits the autoencoder best.

use std::cell::OnceCell;

use candle_core::{DType, Device, Tensor};

use super::compose::to_tensor;
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::base::task::TaskCx;
use crate::models::Result;
use crate::models::diffusion::Vae;

/// Colours of the picture that the map is fitted to, a side.
const SWATCHES: u32 = 6;
/// Side of one of them, in latents.
const SWATCH: u32 = 2;

/// From latents to small pictures.
pub(super) struct LatentPreview<'a> {
    vae: &'a Vae,
    /// For each of red, green, blue: the weights of the latent channels, then a constant. Fitted when first needed.
    weights: &'a OnceCell<Option<[Vec<f64>; 3]>>,
    dtype: DType,
    device: &'a Device,
}

impl<'a> LatentPreview<'a> {
    pub(super) fn new(
        vae: &'a Vae,
        weights: &'a OnceCell<Option<[Vec<f64>; 3]>>,
        dtype: DType,
        device: &'a Device,
    ) -> Self {
        Self { vae, weights, dtype, device }
    }

    /// `latents` (1, channels, h, w) as a picture of w x h pixels; `None` if no map could be fitted.
    pub(super) fn picture(&self, latents: &Tensor, cx: &TaskCx<'_>) -> Result<Option<Picture>> {
        if self.weights.get().is_none() {
            let fitted = self.fit(cx)?;
            // A more urgent job cannot have fitted it meanwhile: only generations do, and they do not interrupt each other
            // with a different model; if it did, its map is the same.
            let _ = self.weights.set(fitted);
        }
        let Some(Some(weights)) = self.weights.get() else { return Ok(None) };
        let (_, channels, height, width) = latents.dims4()?;
        let values = latents.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let area = height * width;
        let extent = Extent::new(width as u32, height as u32);
        Ok(Some(Picture::from_fn(extent, |x, y| {
            let at = y as usize * width + x as usize;
            weights.each_ref().map(|w| {
                let sum: f64 = (0..channels).map(|c| w[c] * f64::from(values[c * area + at])).sum();
                (sum + w[channels]).round().clamp(0.0, 255.0) as u8
            })
        })))
    }

    /// Least squares over the latents of a picture of flat colours.
    fn fit(&self, cx: &TaskCx<'_>) -> Result<Option<[Vec<f64>; 3]>> {
        let side = SWATCHES * SWATCH * self.vae.factor() as u32;
        let cell = SWATCH * self.vae.factor() as u32;
        let colours = Picture::from_fn(Extent::new(side, side), |x, y| swatch(y / cell * SWATCHES + x / cell));
        let latents = self.vae.encode_mean(&to_tensor(&colours, self.dtype, self.device)?, cx)?;
        let (_, channels, height, width) = latents.dims4()?;
        let values = latents.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let rows: Vec<(Vec<f64>, [u8; 3])> = (0..height * width)
            .map(|at| {
                let latent = (0..channels).map(|c| f64::from(values[c * height * width + at])).chain([1.0]).collect();
                let (x, y) = ((at % width) as u32 / SWATCH, (at / width) as u32 / SWATCH);
                (latent, swatch(y * SWATCHES + x))
            })
            .collect();
        let channel = |c: usize| least_squares(&rows, c);
        Ok(channel(0).zip(channel(1)).zip(channel(2)).map(|((r, g), b)| [r, g, b]))
    }
}

/// Colours spread over the cube, the corners among them.
fn swatch(index: u32) -> [u8; 3] {
    let level = |shift: u32, by: u32| (((index / shift) * by) % 4 * 85) as u8;
    if index < 8 {
        return [0u32, 1, 2].map(|bit| if index >> bit & 1 == 1 { 255 } else { 0 });
    }
    [level(1, 1), level(2, 3), level(5, 1)]
}

/// The weights that give colour channel `channel` best, with a little ridge; `None` if there is no unique answer.
fn least_squares(rows: &[(Vec<f64>, [u8; 3])], channel: usize) -> Option<Vec<f64>> {
    let n = rows.first()?.0.len();
    let mut matrix = vec![vec![0.0; n + 1]; n];
    for (row, colour) in rows {
        for i in 0..n {
            for j in 0..n {
                matrix[i][j] += row[i] * row[j];
            }
            matrix[i][n] += row[i] * f64::from(colour[channel]);
        }
    }
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] += 1e-6 * rows.len() as f64;
    }
    for i in 0..n {
        let pivot = (i..n).max_by(|a, b| matrix[*a][i].abs().total_cmp(&matrix[*b][i].abs()))?;
        matrix.swap(i, pivot);
        if matrix[i][i].abs() < 1e-12 {
            return None;
        }
        let pivot_row = matrix[i].clone();
        for (_, row) in matrix.iter_mut().enumerate().filter(|(k, _)| *k != i) {
            let factor = row[i] / pivot_row[i];
            row.iter_mut().zip(&pivot_row).for_each(|(value, above)| *value -= factor * above);
        }
    }
    Some((0..n).map(|i| matrix[i][n] / matrix[i][i]).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Latents that are an affine function of the colour, and one that carries nothing.
    fn latent_of([r, g, b]: [u8; 3]) -> Vec<f64> {
        let [r, g, b] = [r, g, b].map(|v| f64::from(v) / 127.5 - 1.0);
        vec![0.5 * r - 0.2 * g + 0.1, 0.3 * g + 0.4 * b, r + b - 0.3, 0.0, 1.0]
    }

    #[test]
    fn an_affine_autoencoder_is_seen_through_exactly() {
        let colours: Vec<[u8; 3]> = (0..SWATCHES * SWATCHES).map(swatch).collect();
        let rows: Vec<_> = colours.iter().map(|colour| (latent_of(*colour), *colour)).collect();
        let weights = [0, 1, 2].map(|channel| least_squares(&rows, channel).unwrap());
        for colour in [[10, 200, 90], [255, 0, 0], [128, 128, 128], [7, 7, 250]] {
            let seen = weights.each_ref().map(|w| w.iter().zip(latent_of(colour)).map(|(w, v)| w * v).sum::<f64>());
            for (seen, wanted) in seen.iter().zip(colour) {
                assert!((seen - f64::from(wanted)).abs() < 0.5, "{colour:?} is seen as {seen:?}");
            }
        }
    }

    #[test]
    fn the_swatches_span_the_colours() {
        let colours: std::collections::BTreeSet<[u8; 3]> = (0..SWATCHES * SWATCHES).map(swatch).collect();
        assert!(colours.len() >= 24, "only {} colours differ", colours.len());
        assert!(colours.contains(&[0; 3]) && colours.contains(&[255; 3]));
    }
}
