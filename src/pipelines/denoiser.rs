//! A denoising net with whatever steers it beside prompts: what inpainting nets are told, ControlNets.

use candle_core::Tensor;

use super::control::{Control, residuals};
use crate::base::task::TaskCx;
use crate::models::Result;
use crate::models::diffusion::{Conditions, Unet};

/// A call of the net in a run: which one of how many.
pub(super) type Call = (usize, usize);

/// The net and what steers it.
pub(super) struct Denoiser<'a> {
    pub(super) unet: &'a Unet,
    /// What an inpainting net reads behind the latents, (1, channels, h, w).
    pub(super) told: Option<&'a Tensor>,
    pub(super) controls: &'a [Control],
}

impl Denoiser<'_> {
    /// The net's output for `latents` (batch, channels, h, w).
    pub(super) fn answer(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditions: &Conditions,
        call: Call,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        let residuals = residuals(self.controls, latents, timestep, conditions, call, cx)?;
        let input = match self.told {
            Some(told) => Tensor::cat(&[latents, &told.repeat((latents.dim(0)?, 1, 1, 1))?], 1)?,
            None => latents.clone(),
        };
        self.unet.forward(&input, timestep, conditions, residuals.as_ref(), None, cx)
    }
}
