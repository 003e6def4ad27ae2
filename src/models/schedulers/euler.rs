//! Euler's and Heun's methods on sigmas (Karras et al. 2022), as diffusers' `EulerDiscreteScheduler`,
//! `EulerAncestralDiscreteScheduler` and `HeunDiscreteScheduler`, and as k-diffusion. Without churn.

use candle_core::Tensor;

use super::visits::Visits;
use super::walk::{Call, Moment};
use crate::models::error::Result;

/// A straight step along the ODE.
pub(super) fn step(at: &Moment<'_>) -> Result<Tensor> {
    towards(at.sample, at.predicted, at.call.from.sigma(), at.call.to.sigma())
}

/// A step that goes too far down, and comes up again with fresh noise.
pub(super) fn ancestral_step(at: &Moment<'_>) -> Result<Tensor> {
    let (from, to) = (at.call.from.sigma(), at.call.to.sigma());
    let (down, up) = ancestral(from, to);
    at.with_noise(towards(at.sample, at.predicted, from, down)?, up)
}

/// How far down to go, and how much noise to add, to get from sigma `from` to `to`.
pub(super) fn ancestral(from: f64, to: f64) -> (f64, f64) {
    let up = (to * to * (from * from - to * to) / (from * from)).max(0.0).sqrt().min(to);
    ((to * to - up * up).max(0.0).sqrt(), up)
}

fn towards(sample: &Tensor, predicted: &Tensor, from: f64, to: f64) -> Result<Tensor> {
    let slope = ((sample - predicted)? / from)?;
    Ok((sample + (slope * (to - from))?)?)
}

/// An Euler step, then the same step again with the mean of the slopes at both ends. The last step is Euler's.
#[derive(Debug, Default)]
pub(super) struct Heun {
    /// Between the two calls of a step: where it began, the slope there, and how far it goes.
    begun: Option<(Tensor, Tensor, f64)>,
}

impl Heun {
    /// Two calls for each step but the last.
    pub(super) fn calls(visits: &Visits) -> Vec<Call> {
        let after = visits.levels.iter().skip(1).copied().chain([visits.end]);
        let mut calls = Vec::new();
        for (i, (from, to)) in visits.levels.iter().copied().zip(after).enumerate() {
            calls.push(Call { timestep: visits.timesteps[i], from, to });
            if let Some(next) = visits.timesteps.get(i + 1) {
                calls.push(Call { timestep: *next, from: to, to });
            }
        }
        calls
    }

    pub(super) fn step(&mut self, at: &Moment<'_>) -> Result<Tensor> {
        let slope = ((at.sample - at.predicted)? / at.call.from.sigma())?;
        match self.begun.take() {
            Some((sample, first, length)) => Ok((sample + (((first + slope)? * 0.5)? * length)?)?),
            None => {
                let length = at.call.to.sigma() - at.call.from.sigma();
                let next = (at.sample + (&slope * length)?)?;
                if !at.is_last {
                    self.begun = Some((at.sample.clone(), slope, length));
                }
                Ok(next)
            }
        }
    }
}
