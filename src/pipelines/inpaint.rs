//! Starting from a picture: what of it a run works on, what the sampling loop starts from, and what nets that were trained to
//! inpaint are told about it.
//!
//! Invariant: nets with as many channels in as out repaint by blending latents in the sampling loop; nets with nine channels are
//! told the mask and the rest of the picture instead, as in diffusers' `StableDiffusionInpaintPipeline`.

use candle_core::{DType, Device, Tensor};

use super::compose::{Covered, crop, fitted, latent_mask, paste, region, to_tensor};
use super::sample::Start;
use crate::base::geom::{Bounds, Extent};
use crate::base::pixels::Picture;
use crate::base::task::TaskCx;
use crate::job::spec::InitSpec;
use crate::models::diffusion::{Codec, UnetConfig};
use crate::models::error::{ModelError, Result};

/// What a denoising net reads besides latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetKind {
    /// Nothing.
    Plain,
    /// A mask and the latents of the picture without what is under it.
    Inpainting,
}

impl NetKind {
    /// By the channels in and out.
    ///
    /// # Errors
    /// If it is a net that needs what no request can give it.
    pub(super) fn of(config: &UnetConfig) -> Result<Self> {
        let (inputs, latents) = (config.in_channels, config.out_channels);
        let refused = |what: String| {
            Err(ModelError::BadInput(format!(
                "{what}; Maquette runs text-to-image models and inpainting models: choose one of those"
            )))
        };
        match inputs.checked_sub(latents) {
            Some(0) => Ok(Self::Plain),
            Some(more) if more == latents + 1 => Ok(Self::Inpainting),
            Some(more) if more == latents => {
                refused(format!("this model edits pictures by instructions (InstructPix2Pix, {inputs} channels)"))
            }
            Some(1) => refused(format!("this model wants a depth map beside the latents ({inputs} channels)")),
            _ => refused(format!("this model's denoising net has {inputs} channels in and {latents} out")),
        }
    }
}

/// Turns pictures into what a net reads.
pub(super) struct Reader<'a> {
    pub(super) vae: Codec<'a>,
    pub(super) kind: NetKind,
    pub(super) dtype: DType,
    pub(super) device: &'a Device,
}

/// The part of the canvas that a run works on.
pub(super) struct Inpainting<'a> {
    init: &'a InitSpec,
    bounds: Bounds,
    pub(super) start: Start,
    /// What an inpainting net is told: the mask, then the masked picture's latents, (1, 1 + channels, h, w).
    pub(super) told: Option<Tensor>,
}

impl<'a> Inpainting<'a> {
    /// What `init`, if there is one, is for a picture of `size`.
    ///
    /// # Errors
    /// If it makes no sense, or the net needs a mask and there is none; if the task is cancelled.
    pub(super) fn prepare(
        init: Option<&'a InitSpec>,
        size: Extent,
        reader: &Reader<'_>,
        cx: &TaskCx<'_>,
    ) -> Result<Option<Self>> {
        if reader.kind == NetKind::Inpainting && init.is_none_or(|init| init.mask.is_none()) {
            return Err(ModelError::BadInput(
                "this model only repaints parts of pictures: give it a picture and a mask (--init and --mask; in the \
                 window, paint a mask and choose Inpaint), or choose a text-to-image model"
                    .to_owned(),
            ));
        }
        init.map(|init| Self::read(init, size, reader, cx)).transpose()
    }

    fn read(init: &'a InitSpec, size: Extent, reader: &Reader<'_>, cx: &TaskCx<'_>) -> Result<Self> {
        let &Reader { vae, kind, dtype, device } = reader;
        let bounds = seen(init, size)?;
        let seen = fitted(&crop(&init.picture, bounds), size);
        let picture = to_tensor(&seen, dtype, device)?;
        let latents = vae.encode_mean(&picture, cx)?;
        let (_, _, height, width) = latents.dims4()?;
        let strength = as_written(init.strength);
        let (mut mask, mut told) = (None, None);
        if let Some(painted) = &init.mask {
            match kind {
                NetKind::Plain => mask = Some(latent_mask(painted, bounds, width, height, dtype, device)?),
                NetKind::Inpainting => {
                    let covered = Covered::of(painted, bounds, size);
                    let rest = vae.encode_mean(&covered.hidden(&picture)?, cx)?;
                    let mask = covered.nearest(height, width, dtype, device)?;
                    told = Some(Tensor::cat(&[&mask, &rest], 1)?);
                }
            }
        }
        Ok(Self { init, bounds, start: Start { latents, mask, strength, is_masked: init.mask.is_some() }, told })
    }

    /// The part of the canvas that is seen.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The whole canvas's size.
    pub(super) fn canvas(&self) -> Extent {
        self.init.picture.extent()
    }

    /// The picture as it would be after no step at all.
    pub(super) fn unchanged(&self, size: Extent) -> Picture {
        if self.init.mask.is_some() { self.init.picture.clone() } else { fitted(&self.init.picture, size) }
    }

    /// What the run painted, on the canvas if there is a mask.
    pub(super) fn finish(&self, painted: Picture) -> Picture {
        match &self.init.mask {
            Some(mask) => paste(&self.init.picture, &painted, self.bounds, mask),
            None => painted,
        }
    }
}

/// The part of the picture that a run of `size` sees.
fn seen(init: &InitSpec, size: Extent) -> Result<Bounds> {
    let bad = |text: String| Err(ModelError::BadInput(text));
    if !(0.0..=1.0).contains(&init.strength) {
        return bad("the strength must lie between 0 and 1".to_owned());
    }
    let canvas = init.picture.extent();
    match &init.mask {
        Some(mask) if mask.extent() != canvas => {
            bad(format!("the mask is {} but the picture is {canvas}; they must be of one size", mask.extent()))
        }
        Some(mask) => match mask.painted_bounds() {
            Some(painted) => Ok(region(canvas, painted, size)),
            None => bad("the mask is empty; paint over what is to change".to_owned()),
        },
        None => Ok(canvas.bounds()),
    }
}

/// The decimal number that a person wrote: the nearest 32-bit number to 0.7 is a little less, which could cost a step.
pub(super) fn as_written(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nets_are_told_apart_by_their_channels() {
        let kind = |in_channels: usize| NetKind::of(&UnetConfig { in_channels, ..UnetConfig::default() });
        assert!(matches!(kind(4), Ok(NetKind::Plain)));
        assert!(matches!(kind(9), Ok(NetKind::Inpainting)));
        for (channels, word) in [(8, "InstructPix2Pix"), (5, "depth map"), (3, "3 channels in"), (7, "7 channels in")] {
            let message = kind(channels).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains(word) && message.contains("choose one"), "{message}");
        }
    }
}
