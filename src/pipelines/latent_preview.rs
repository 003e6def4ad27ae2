//! Pictures of unfinished latents at little cost: by a tiny autoencoder where there is one, else by the linear map from latents to
//! colours that fits the model's autoencoder best.

use std::cell::OnceCell;

use candle_core::{DType, Device, Tensor};

use super::compose::{from_tensor, to_tensor};
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::base::task::TaskCx;
use crate::models::diffusion::{Autoencoder, TinyVae};
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;

/// Colours of the picture that the map is fitted to, a side.
const SWATCHES: u32 = 6;
/// Side of one of them, in latents.
const SWATCH: u32 = 2;

/// Latents with a longer side are made smaller before the tiny autoencoder sees them: a preview must cost little beside a step.
const LONGEST: usize = 64;

/// From latents to small pictures.
pub(super) struct LatentPreview<'a> {
    vae: &'a Autoencoder,
    tiny: Option<&'a TinyVae>,
    /// For each of red, green, blue: the weights of the latent channels, then a constant. Fitted when first needed.
    weights: &'a OnceCell<Option<[Vec<f64>; 3]>>,
    dtype: DType,
    device: &'a Device,
}

impl<'a> LatentPreview<'a> {
    pub(super) fn new(
        vae: &'a Autoencoder,
        tiny: Option<&'a TinyVae>,
        weights: &'a OnceCell<Option<[Vec<f64>; 3]>>,
        dtype: DType,
        device: &'a Device,
    ) -> Self {
        Self { vae, tiny, weights, dtype, device }
    }

    /// `latents` (1, channels, h, w) as a picture, of w x h pixels if there is no tiny autoencoder; `None` if no map could be fitted.
    pub(super) fn picture(&self, latents: &Tensor, cx: &TaskCx<'_>) -> Result<Option<Picture>> {
        match self.tiny {
            Some(tiny) => self.decoded(tiny, latents, cx).map(Some),
            None => self.mapped(latents, cx),
        }
    }

    fn decoded(&self, tiny: &TinyVae, latents: &Tensor, cx: &TaskCx<'_>) -> Result<Picture> {
        let (_, _, height, width) = latents.dims4()?;
        let latents = match height.max(width).div_ceil(LONGEST) {
            0 | 1 => latents.clone(),
            by => latents.avg_pool2d((by.min(height), by.min(width)))?,
        };
        from_tensor(&tiny.decode(&latents.to_dtype(self.dtype)?, cx)?)
    }

    fn mapped(&self, latents: &Tensor, cx: &TaskCx<'_>) -> Result<Option<Picture>> {
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

/// The tiny autoencoder in a model's folder, if there is one.
///
/// # Errors
/// If it is there but cannot be used for latents of `channels`; if the task is cancelled.
pub(super) fn sketcher(
    files: &ModelFiles,
    channels: usize,
    dtype: DType,
    device: &Device,
    cx: &TaskCx<'_>,
) -> Result<Option<TinyVae>> {
    let folder = files.sub("taesd").unwrap_or_else(|| files.clone());
    let is_folder = files.sub("taesd").is_some();
    let found = match TinyVae::decoder_file(&folder) {
        _ if is_folder && folder.has("config.json") => TinyVae::load(&folder, dtype, device, cx)?,
        Some(decoder) => TinyVae::load_file(&folder, &decoder, dtype, device, cx)?,
        None if is_folder => TinyVae::load(&folder, dtype, device, cx)?,
        None => return Ok(None),
    };
    let reads = found.latent_channels();
    if reads != channels {
        let path = folder.path_of("");
        let reason = format!(
            "the tiny autoencoder here is of another family: it reads latents of {reads} channels, not {channels}; take it away"
        );
        return Err(ModelError::BadFile { path, reason });
    }
    Ok(Some(found))
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
