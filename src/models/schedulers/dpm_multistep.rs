//! Multistep DPM-Solver++ (Lu et al. 2022) of orders 1 to 3, on the ODE or the SDE, as diffusers'
//! `DPMSolverMultistepScheduler`.

use candle_core::Tensor;

use super::config::{SchedulerConfig, SolverType};
use super::level::Level;
use super::walk::Moment;
use crate::models::error::Result;

/// Walks of fewer steps than this end with steps of lower order.
const FEW_STEPS: usize = 15;

#[derive(Debug)]
pub(super) struct DpmMultistep {
    order: usize,
    is_sde: bool,
    is_heun: bool,
    is_careful: bool,
    is_last_simple: bool,
    /// All levels, the last one included.
    levels: Vec<Level>,
    /// Predictions of the calls before, the newest last; at most `order`.
    earlier: Vec<Tensor>,
}

impl DpmMultistep {
    pub(super) fn new(config: &SchedulerConfig, is_sde: bool, levels: Vec<Level>) -> Self {
        let is_careful = config.lower_order_final && levels.len() - 1 < FEW_STEPS;
        let ends_clean = levels.last().is_none_or(|level| level.s == 0.0);
        Self {
            order: config.solver_order,
            is_sde,
            is_heun: config.solver_type == Some(SolverType::Heun),
            is_careful,
            is_last_simple: config.euler_at_final || is_careful || ends_clean,
            levels,
            earlier: Vec::new(),
        }
    }

    pub(super) fn is_sde(&self) -> bool {
        self.is_sde
    }

    pub(super) fn step(&mut self, at: &Moment<'_>) -> Result<Tensor> {
        let steps_left = self.levels.len() - 1 - at.index;
        let order = match steps_left {
            1 if self.is_last_simple => 1,
            2 if self.is_careful => self.order.min(2),
            _ => self.order,
        };
        let order = order.min(self.earlier.len() + 1);
        let next = self.update(at, order)?;
        self.earlier.push(at.predicted.clone());
        if self.earlier.len() > 2 {
            self.earlier.remove(0);
        }
        Ok(next)
    }

    fn update(&self, at: &Moment<'_>, order: usize) -> Result<Tensor> {
        let (from, to) = (at.call.from, at.call.to);
        let h = to.lambda() - from.lambda();
        // The SDE goes twice as far down, and comes up again with noise.
        let u = if self.is_sde { 2.0 * h } else { h };
        let phi = -(-u).exp_m1();
        let kept = if self.is_sde { to.s / from.s * (-h).exp() } else { to.s / from.s };
        let mut next = ((at.sample * kept)? + (at.predicted * (to.a * phi))?)?;
        let slopes = self.slopes(at, order, h)?;
        let is_third = slopes.len() > 1;
        if let Some(slope) = slopes.first() {
            let weight = if self.is_heun || is_third { 1.0 - phi / u } else { 0.5 * phi };
            next = (next + (slope * (to.a * weight))?)?;
        }
        if let Some(curvature) = slopes.get(1) {
            let half = if self.is_sde { -0.5 } else { 0.5 };
            next = (next + (curvature * (to.a * ((phi - u) / (u * u) + half)))?)?;
        }
        at.with_noise(next, if self.is_sde { to.s * phi.max(0.0).sqrt() } else { 0.0 })
    }

    /// First and second differences of the predictions, `order - 1` of them. Steps that go nowhere, as there are in walks of
    /// as many steps as training had, have none.
    fn slopes(&self, at: &Moment<'_>, order: usize, h: f64) -> Result<Vec<Tensor>> {
        let lambda = |back: usize| at.index.checked_sub(back).and_then(|i| self.levels.get(i)).map(|l| l.lambda());
        let [Some(now), Some(before)] = [lambda(0), lambda(1)] else { return Ok(Vec::new()) };
        let (Some(last), r0) = (self.earlier.last(), (now - before) / h) else { return Ok(Vec::new()) };
        if order < 2 || !r0.is_finite() || r0 == 0.0 {
            return Ok(Vec::new());
        }
        let d0 = ((at.predicted - last)? * (1.0 / r0))?;
        let second_last = self.earlier.len().checked_sub(2).and_then(|i| self.earlier.get(i));
        let (Some(second_last), Some(long_before)) = (second_last, lambda(2)) else { return Ok(vec![d0]) };
        let r1 = (before - long_before) / h;
        if order < 3 || !r1.is_finite() || r1 == 0.0 {
            return Ok(vec![d0]);
        }
        let d1 = ((last - second_last)? * (1.0 / r1))?;
        let bend = (&d0 - d1)?;
        Ok(vec![(d0 + (&bend * (r0 / (r0 + r1)))?)?, (bend * (1.0 / (r0 + r1)))?])
    }
}
