//! The sampling loop: from noise, or a noised picture, to latents.

use candle_core::{Device, Tensor};

use crate::base::task::{Progress, TaskCx};
use crate::job::latents::Latents;
use crate::job::sampling::Sampling;
use crate::models::Result;
use crate::models::diffusion::{Conditions, Unet};
use crate::models::schedulers::{Method, Noise, SchedulerConfig, Walk};

use super::denoiser::Steered;
use super::guidance::Guidance;
use super::latent_preview::LatentPreview;

/// What a run starts from instead of pure noise.
pub(super) struct Start {
    /// The picture as latents, (1, channels, h, w).
    pub(super) latents: Tensor,
    /// 1 where the picture may change, 0 where it must not, (1, 1, h, w); everywhere if `None`.
    pub(super) mask: Option<Tensor>,
    /// How far to go away from it, 0..=1.
    pub(super) strength: f64,
    /// Whether only a part is to change, which at full strength starts from noise alone.
    pub(super) is_masked: bool,
}

/// Everything that a run needs besides its seed.
pub(super) struct Run<'a> {
    pub(super) steered: Steered<'a>,
    pub(super) guidance: &'a Guidance,
    pub(super) scheduler: &'a SchedulerConfig,
    pub(super) sampling: &'a Sampling,
    pub(super) method: Method,
    /// The first noise, if it is not to be drawn.
    pub(super) noise: Option<&'a Latents>,
    /// Of the latents: channels, height, width.
    pub(super) shape: [usize; 3],
    pub(super) start: Option<&'a Start>,
    pub(super) preview: &'a LatentPreview<'a>,
    pub(super) device: &'a Device,
}

impl Run<'_> {
    /// Latents (1, channels, h, w) that `unet` makes of the noise of `seed`. Steps are counted on from `done` of `total` in what is reported.
    pub(super) fn latents(&self, unet: &Unet, seed: u64, done: u32, total: u32, cx: &TaskCx<'_>) -> Result<Tensor> {
        let mut walk = self.walk();
        let (mut random, count) = (Noise::new(self.sampling.rng, seed), self.shape.iter().product());
        let noise = match self.noise {
            Some(given) => self.tensor(given.values().to_vec())?,
            None => self.tensor(random.draw(count))?,
        };
        let (first, mut sample) = self.first_sample(&walk, &noise)?;
        for index in first..walk.timesteps().len() {
            cx.checkpoint()?;
            let input = walk.net_input(&sample, index)?.to_dtype(self.guidance.dtype())?;
            let step = walk.step_of(index) - walk.step_of(first) + 1;
            let call = (index - first, walk.timesteps().len() - first);
            let net = |latents: &Tensor, conditions: &Conditions| {
                self.steered.answer(unet, latents, walk.timesteps()[index], conditions, call, cx)
            };
            let output = self.guidance.output(&input, step, &net)?;
            let fresh = walk.fresh(index).map(|fresh| self.tensor(random.fresh(fresh, count))).transpose()?;
            let stepped = walk.step(&output, index, &sample, fresh.as_ref())?;
            sample = match self.start {
                Some(Start { latents, mask: Some(mask), .. }) => {
                    // Behind the last call it is as it was, as in diffusers' inpainting.
                    let is_last = index + 1 == walk.timesteps().len();
                    let known = match is_last {
                        true => latents.to_dtype(stepped.sample.dtype())?,
                        false => walk.noised_after(latents, &noise, index)?,
                    };
                    blend(&known, &stepped.sample, mask)?
                }
                _ => stepped.sample,
            };
            let preview = if cx.wants_progress() { self.preview.picture(&stepped.predicted, cx)? } else { None };
            let step = done + (index - first) as u32 + 1;
            cx.progress(Progress { preview, ..Progress::steps("Denoising", step, total) });
        }
        Ok(sample)
    }

    /// How often a run calls the net, with or without guidance: once a step, or twice.
    pub(super) fn calls(&self) -> u32 {
        let walk = self.walk();
        let first = self.start.map_or(0, |start| walk.start_for(start.strength));
        (walk.timesteps().len() - first) as u32
    }

    fn walk(&self) -> Walk {
        Walk::new(self.method, self.scheduler, self.sampling.steps as usize)
    }

    fn first_sample(&self, walk: &Walk, noise: &Tensor) -> Result<(usize, Tensor)> {
        let pure = || Ok((0, (noise * walk.init_scale())?));
        match self.start {
            None => pure(),
            // At full strength nothing of the picture is to be seen in inpainting, as in diffusers; without a mask its trace stays.
            Some(start) if start.strength >= 1.0 && start.is_masked => pure(),
            Some(start) => {
                let first = walk.start_for(start.strength);
                Ok((first, walk.noised_before(&start.latents, noise, first)?))
            }
        }
    }

    fn tensor(&self, values: Vec<f32>) -> Result<Tensor> {
        let [channels, height, width] = self.shape;
        Ok(Tensor::from_vec(values, (1, channels, height, width), self.device)?)
    }
}

/// How many steps a walk makes, from its beginning or from `start`.
pub(super) fn steps_made(walk: &Walk, start: Option<&Start>) -> usize {
    let first = start.map_or(0, |start| walk.start_for(start.strength));
    match walk.timesteps().len().checked_sub(1) {
        Some(last) if first <= last => walk.step_of(last) - walk.step_of(first) + 1,
        _ => 0,
    }
}

/// `changed` where `mask` is 1, `known` where it is 0.
fn blend(known: &Tensor, changed: &Tensor, mask: &Tensor) -> Result<Tensor> {
    Ok((known + (changed - known)?.broadcast_mul(&mask.to_dtype(known.dtype())?)?)?)
}
