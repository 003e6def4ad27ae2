//! What steers a denoising net beside prompts: what inpainting nets are told, ControlNets.

use candle_core::Tensor;

use super::control::{Control, residuals};
use crate::base::task::TaskCx;
use crate::models::Result;
use crate::models::diffusion::{Conditions, Unet};

/// A call of the net in a run: which one of how many.
pub(super) type Call = (usize, usize);

/// What steers a net.
pub(super) struct Steered<'a> {
    /// What an inpainting net reads behind the latents, (1, channels, h, w).
    pub(super) told: Option<&'a Tensor>,
    pub(super) controls: &'a [Control],
}

impl Steered<'_> {
    /// The output of `unet` for `latents` (batch, channels, h, w).
    pub(super) fn answer(
        &self,
        unet: &Unet,
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
        unet.forward(&input, timestep, conditions, residuals.as_ref(), None, cx)
    }
}
