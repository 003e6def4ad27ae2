//! Samplers for distilled models, as diffusers' `LCMScheduler` (Luo et al. 2023) and `TCDScheduler` (Zheng et al. 2024).

use candle_core::Tensor;

use super::config::SchedulerConfig;
use super::level::Table;
use super::visits::Visits;
use super::walk::Moment;
use crate::models::error::Result;

/// The spread of clean samples that consistency models assume.
const SIGMA_DATA: f64 = 0.5;
/// How much of the noise TCD makes anew unless it is told.
const ETA: f64 = 0.3;

/// To the clean sample at once, then back up with fresh noise.
#[derive(Debug)]
pub(super) struct Lcm {
    scaling: f64,
}

impl Lcm {
    pub(super) fn new(config: &SchedulerConfig) -> Self {
        Self { scaling: config.timestep_scaling }
    }

    pub(super) fn step(&self, at: &Moment<'_>) -> Result<Tensor> {
        let t = at.call.timestep * self.scaling;
        let variance = t * t + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (SIGMA_DATA * SIGMA_DATA / variance, t / variance.sqrt());
        let denoised = ((at.predicted * out)? + (at.sample * skip)?)?;
        if at.is_last {
            return Ok(denoised);
        }
        at.with_noise((denoised * at.call.to.a)?, at.call.to.s)
    }
}

/// Below the next level without noise, then back up with fresh noise.
#[derive(Debug)]
pub(super) struct Tcd {
    eta: f64,
    table: Table,
    /// The training step that each step leads to.
    next: Vec<usize>,
}

impl Tcd {
    pub(super) fn new(eta: Option<f64>, visits: &Visits, table: Table) -> Self {
        let next = visits.timesteps.iter().skip(1).map(|t| *t as usize).chain([0]).collect();
        Self { eta: eta.unwrap_or(ETA).clamp(0.0, 1.0), table, next }
    }

    pub(super) fn wants_noise(&self) -> bool {
        self.eta > 0.0
    }

    pub(super) fn step(&self, at: &Moment<'_>) -> Result<Tensor> {
        let next = self.next.get(at.index).copied().unwrap_or(0);
        // In 32 bits, as PyTorch: the product is rounded down.
        let below = ((1.0 - self.eta) as f32 * next as f32).floor() as usize;
        let (from, low) = (at.call.from, self.table.level(below));
        let noise = ((at.sample - (at.predicted * from.a)?)? / from.s)?;
        let lowest = ((at.predicted * low.a)? + (noise * low.s)?)?;
        if at.is_last || self.eta == 0.0 {
            return Ok(lowest);
        }
        let kept = self.table.alpha(next) / self.table.alpha(below);
        at.with_noise((lowest * kept.sqrt())?, (1.0 - kept).max(0.0).sqrt())
    }
}
