//! Denoising diffusion implicit models (Song et al. 2020, equation 12), as diffusers' `DDIMScheduler`.

use candle_core::Tensor;

use super::config::SchedulerConfig;
use super::level::{Level, Table};
use super::visits::Visits;
use super::walk::{Call, Moment};
use crate::models::error::Result;

#[derive(Debug)]
pub(super) struct Ddim {
    /// 0 is deterministic, 1 is DDPM.
    eta: f64,
}

impl Ddim {
    pub(super) fn new(eta: Option<f64>) -> Self {
        Self { eta: eta.unwrap_or(0.0) }
    }

    /// The levels need not be a chain: it always goes down by the same stride.
    pub(super) fn calls(visits: &Visits, config: &SchedulerConfig, table: &Table) -> Vec<Call> {
        let stride = config.num_train_timesteps / visits.timesteps.len();
        let end = if config.ends_clean(crate::job::sampling::Sampler::Ddim) { Level::CLEAN } else { table.level(0) };
        let after = |t: f64| (t as usize).checked_sub(stride).map_or(end, |t| table.level(t));
        let levels = visits.timesteps.iter().zip(&visits.levels);
        levels.map(|(t, from)| Call { timestep: *t, from: *from, to: after(*t) }).collect()
    }

    pub(super) fn wants_noise(&self) -> bool {
        self.eta > 0.0
    }

    pub(super) fn step(&self, at: &Moment<'_>) -> Result<Tensor> {
        let Call { from, to, .. } = at.call;
        let noise = ((at.sample - (at.unclipped * from.a)?)? / from.s)?;
        let variance = (to.s * to.s) / (from.s * from.s) * (1.0 - (from.a * from.a) / (to.a * to.a));
        let fresh = self.eta * variance.max(0.0).sqrt();
        let kept = (to.s * to.s - fresh * fresh).max(0.0).sqrt();
        at.with_noise(((at.predicted * to.a)? + (noise * kept)?)?, fresh)
    }
}
