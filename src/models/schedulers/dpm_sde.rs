//! Single-step DPM-Solver++ on the diffusion SDE, as diffusers' `DPMSolverSDEScheduler` and k-diffusion's `sample_dpmpp_sde`.
//!
//! # Limitations
//! Those draw their noise from a Brownian tree (torchsde), where a step's two draws belong to one path. Here each call has
//! a draw of its own, from the seed: the same distribution at each level, but not the same pictures.

use candle_core::Tensor;

use super::euler::ancestral;
use super::level::{Level, Table};
use super::visits::Visits;
use super::walk::{Call, Moment};
use crate::models::error::Result;

#[derive(Debug, Default)]
pub(super) struct DpmSde {
    /// Between the two calls of a step: where it began.
    begun: Option<(Tensor, f64)>,
}

impl DpmSde {
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
