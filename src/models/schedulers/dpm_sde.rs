//! Single-step DPM-Solver++ on the diffusion SDE, as diffusers' `DPMSolverSDEScheduler` and k-diffusion's `sample_dpmpp_sde`.
//! The noise of both calls of a step belongs to one Brownian path of the picture's seed, as there with `noise_sampler_seed` (diffusers)
//! or the seed of the picture (k-diffusion in A1111).

use candle_core::Tensor;

use super::euler::ancestral;
use super::level::{Level, Table};
use super::visits::Visits;
use super::walk::{Call, Fresh, Moment};
use crate::models::error::Result;

#[derive(Debug)]
pub(super) struct DpmSde {
    /// Which stretch of the path each call takes its noise from.
    stretches: Vec<[f32; 2]>,
    /// Lowest and highest sigma that is visited.
    ends: [f32; 2],
    /// Between the two calls of a step: where it began.
    begun: Option<(Tensor, f64)>,
}

impl DpmSde {
    pub(super) fn new(visits: &Visits) -> Self {
        let sigmas: Vec<f32> = visits.levels.iter().map(|level| level.sigma() as f32).collect();
        let steps = sigmas.windows(2).filter_map(|pair| <[f32; 2]>::try_from(pair).ok());
        let stretches = steps.flat_map(|[from, to]| {
            let (from, to) = (log_snr(from), log_snr(to));
            let middle = from + (to - from) * 0.5;
            let from = sigma_of(from);
            [[from, sigma_of(middle)], [from, sigma_of(to)]]
        });
        let low = sigmas.iter().copied().fold(f32::INFINITY, f32::min);
        let high = sigmas.iter().copied().fold(0.0, f32::max);
        Self { stretches: stretches.collect(), ends: [low.min(high), high], begun: None }
    }

    /// The noise for the call `index`; the last one has none.
    pub(super) fn fresh(&self, index: usize) -> Option<Fresh> {
        let [from, to] = *self.stretches.get(index)?;
        Some(Fresh::OfPath { ends: self.ends, from, to })
    }

    /// For each step but the last a call at its beginning and one in the middle, evenly in the logarithm of sigma.
    pub(super) fn calls(visits: &Visits, table: &Table) -> Vec<Call> {
        let after = visits.levels.iter().skip(1).copied().chain([visits.end]);
        let mut calls = Vec::new();
        for (i, (from, to)) in visits.levels.iter().copied().zip(after).enumerate() {
            let timestep = visits.timesteps[i];
            if i + 1 == visits.levels.len() {
                calls.push(Call { timestep, from, to });
            } else {
                let sigma = (from.sigma() * to.sigma()).sqrt();
                let middle = Level::from_sigma(sigma);
                calls.push(Call { timestep, from, to: middle });
                calls.push(Call { timestep: table.step_of(sigma), from: middle, to });
            }
        }
        calls
    }

    pub(super) fn step(&mut self, at: &Moment<'_>) -> Result<Tensor> {
        let to = at.call.to.sigma();
        if at.call.to.s == 0.0 {
            return Ok(at.predicted.clone());
        }
        let (sample, from) = match self.begun.take() {
            Some(begun) => begun,
            None => {
                let begun = (at.sample.clone(), at.call.from.sigma());
                self.begun = Some(begun.clone());
                begun
            }
        };
        let (down, up) = ancestral(from, to);
        let kept = down / from;
        at.with_noise(((sample * kept)? + (at.predicted * (1.0 - kept))?)?, up)
    }
}

/// In 32 bits, as are both functions in the references: the places on the path are exact to their last bit.
fn log_snr(sigma: f32) -> f32 {
    -(f64::from(sigma).ln() as f32)
}

fn sigma_of(log_snr: f32) -> f32 {
    f64::from(-log_snr).exp() as f32
}
