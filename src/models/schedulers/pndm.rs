//! Pseudo numerical methods (Liu et al. 2022), as diffusers' `PNDMScheduler`: linear multistep of order 4, begun either by
//! three pseudo Runge-Kutta steps of four calls each, or (Stable Diffusion's `skip_prk_steps`) by lower orders and one
//! repeated call.

use candle_core::Tensor;

use super::config::{Prediction, SchedulerConfig};
use super::level::{Level, Table};
use super::visits::Visits;
use super::walk::{Call, Moment};
use crate::job::sampling::Sampler;
use crate::models::error::Result;

/// Runge-Kutta steps at the beginning.
const RUNGE_KUTTA_STEPS: usize = 3;
/// Calls of each.
const RUNGE_KUTTA_CALLS: usize = 4;

#[derive(Debug)]
pub(super) struct Pndm {
    table: Table,
    prediction: Prediction,
    end: Level,
    /// From one training step to the next.
    stride: i64,
    /// The training steps of the Runge-Kutta calls; empty if there are none.
    runge_kutta: Vec<i64>,
    /// What the net said before, the newest last; at most four.
    outputs: Vec<Tensor>,
    /// Weighted sum of what the net said within a Runge-Kutta step.
    sum: Option<Tensor>,
    /// The sample that a Runge-Kutta step, or the repeated step, began with.
    begun: Option<Tensor>,
    calls_made: usize,
}

impl Pndm {
    /// Walks of three steps and less have no room for Runge-Kutta steps.
    pub(super) fn new(visits: &Visits, config: &SchedulerConfig, table: Table) -> (Self, Vec<Call>) {
        let steps: Vec<i64> = visits.timesteps.iter().map(|t| *t as i64).collect();
        let stride = (config.num_train_timesteps / steps.len()) as i64;
        let end = if config.ends_clean(Sampler::Pndm) { Level::CLEAN } else { table.level(0) };
        let has_runge_kutta = !config.skip_prk_steps && steps.len() > RUNGE_KUTTA_STEPS;
        let mut runge_kutta = Vec::new();
        if has_runge_kutta {
            for pair in steps.windows(2).take(RUNGE_KUTTA_STEPS) {
                let middle = pair[1] + stride / 2;
                runge_kutta.extend([pair[0], middle, middle, pair[1]]);
            }
        }
        let solver = Self {
            table,
            prediction: config.prediction_type,
            end,
            stride,
            runge_kutta,
            outputs: Vec::new(),
            sum: None,
            begun: None,
            calls_made: 0,
        };
        let calls = solver.calls(&steps);
        (solver, calls)
    }

    fn calls(&self, steps: &[i64]) -> Vec<Call> {
        let call = |t: i64, to: i64| Call { timestep: t as f64, from: self.level(t), to: self.level(to) };
        if !self.runge_kutta.is_empty() {
            let first = self.runge_kutta.iter().enumerate().map(|(i, t)| call(*t, self.runge_kutta_target(i, *t)));
            return first.chain(steps.iter().skip(RUNGE_KUTTA_STEPS).map(|t| call(*t, t - self.stride))).collect();
        }
        let mut calls: Vec<Call> = steps.iter().map(|t| call(*t, t - self.stride)).collect();
        if let Some(second) = steps.get(1) {
            calls.insert(1, call(*second, *second));
        }
        calls
    }

    /// The call that step `step` begins with. Without Runge-Kutta steps one too early, as in diffusers.
    pub(super) fn call_of_step(&self, step: usize) -> usize {
        match self.runge_kutta.is_empty() {
            true => step,
            false => step + (RUNGE_KUTTA_CALLS - 1) * step.min(RUNGE_KUTTA_STEPS),
        }
    }

    pub(super) fn step(&mut self, at: &Moment<'_>) -> Result<Tensor> {
        let t = at.call.timestep as i64;
        // Multistep formulas are about noise or velocity, whose meaning does not change from step to step.
        let output = match self.prediction {
            Prediction::Sample => ((at.sample - (at.predicted * at.call.from.a)?)? / at.call.from.s)?,
            Prediction::Epsilon | Prediction::Velocity => at.output.clone(),
        };
        let next = match self.runge_kutta.get(at.index) {
            Some(_) => self.runge_kutta_step(at, t, output)?,
            None => self.multistep(at, t, output)?,
        };
        self.calls_made += 1;
        Ok(next)
    }

    fn runge_kutta_target(&self, index: usize, t: i64) -> i64 {
        if index.is_multiple_of(2) { t - self.stride / 2 } else { t }
    }

    fn runge_kutta_step(&mut self, at: &Moment<'_>, t: i64, output: Tensor) -> Result<Tensor> {
        let (stage, target) = (at.index % RUNGE_KUTTA_CALLS, self.runge_kutta_target(at.index, t));
        let start = self.runge_kutta.get(at.index - stage).copied().unwrap_or(t);
        let weighted = (&output * [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0][stage])?;
        let sum = self.sum.take().map_or(Ok(weighted.clone()), |sum| sum + weighted)?;
        if stage == 0 {
            self.outputs.push(output.clone());
            self.begun = Some(at.sample.clone());
        }
        let used = if stage + 1 == RUNGE_KUTTA_CALLS { &sum } else { &output };
        let next = self.transfer(self.begun.as_ref().unwrap_or(at.sample), start, target, used)?;
        self.sum = (stage + 1 < RUNGE_KUTTA_CALLS).then_some(sum);
        Ok(next)
    }

    fn multistep(&mut self, at: &Moment<'_>, t: i64, output: Tensor) -> Result<Tensor> {
        if self.runge_kutta.is_empty() && self.calls_made == 1 {
            // The first step again, with the mean of what the net says at both ends.
            let first = self.outputs.last().unwrap_or(&output);
            let mean = ((&output + first)? * 0.5)?;
            let sample = self.begun.take().unwrap_or_else(|| at.sample.clone());
            return self.transfer(&sample, t + self.stride, t, &mean);
        }
        if self.outputs.len() > 3 {
            self.outputs.remove(0);
        }
        self.outputs.push(output);
        if self.calls_made == 0 {
            self.begun = Some(at.sample.clone());
        }
        // Adams-Bashforth; the newest first.
        let weights: &[f64] = match self.outputs.len() {
            1 => &[1.0],
            2 => &[3.0 / 2.0, -1.0 / 2.0],
            3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        };
        let mut sum = at.sample.zeros_like()?;
        for (weight, output) in weights.iter().zip(self.outputs.iter().rev()) {
            sum = (sum + (output * *weight)?)?;
        }
        self.transfer(at.sample, t, t - self.stride, &sum)
    }

    /// Equation 11: from training step `from` to `to`, for what the net says.
    fn transfer(&self, sample: &Tensor, from: i64, to: i64, output: &Tensor) -> Result<Tensor> {
        let (from, to) = (self.level(from), self.level(to));
        let noise = match self.prediction {
            Prediction::Velocity => ((output * from.a)? + (sample * from.s)?)?,
            Prediction::Epsilon | Prediction::Sample => output.clone(),
        };
        let (alpha, alpha_to) = (from.a * from.a, to.a * to.a);
        let divisor = alpha * to.s + from.a * from.s * to.a;
        Ok(((sample * (to.a / from.a))? - (noise * ((alpha_to - alpha) / divisor))?)?)
    }

    fn level(&self, t: i64) -> Level {
        usize::try_from(t).map_or(self.end, |t| self.table.level(t))
    }
}
