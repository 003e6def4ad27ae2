//! UniPC (Zhao et al. 2023): a multistep predictor, corrected at the next call at no cost; predicting the clean sample. As
//! diffusers' `UniPCMultistepScheduler`.

use candle_core::Tensor;

use super::config::{SchedulerConfig, SolverType};
use super::level::Level;
use super::walk::Moment;
use crate::models::error::Result;

#[derive(Debug)]
pub(super) struct UniPc {
    order: usize,
    is_bh1: bool,
    is_careful: bool,
    uncorrected: Vec<usize>,
    /// All levels, the last one included.
    levels: Vec<Level>,
    /// Predictions of the calls before, the newest last; at most `order`.
    earlier: Vec<Tensor>,
    /// The sample before the step before, and that step's order.
    before: Option<(Tensor, usize)>,
}

impl UniPc {
    pub(super) fn new(config: &SchedulerConfig, levels: Vec<Level>) -> Self {
        Self {
            order: config.solver_order,
            is_bh1: config.solver_type == Some(SolverType::Bh1),
            is_careful: config.lower_order_final,
            uncorrected: config.disable_corrector.clone(),
            levels,
            earlier: Vec::new(),
            before: None,
        }
    }

    pub(super) fn step(&mut self, at: &Moment<'_>) -> Result<Tensor> {
        let sample = match (self.before.take(), at.index.checked_sub(1)) {
            (Some((sample, order)), Some(step)) if !self.uncorrected.contains(&step) => {
                self.update(&sample, step, order, Some(at.predicted))?
            }
            _ => at.sample.clone(),
        };
        self.earlier.push(at.predicted.clone());
        if self.earlier.len() > self.order {
            self.earlier.remove(0);
        }
        let left = self.levels.len().saturating_sub(1 + at.index).max(1);
        let order = if self.is_careful { self.order.min(left) } else { self.order }.min(self.earlier.len());
        let next = self.update(&sample, at.index, order, None)?;
        self.before = Some((sample, order));
        Ok(next)
    }

    /// From `sample` over step `step` with the predictions known at its beginning; `at_end` is the prediction at its end,
    /// which corrects it.
    fn update(&self, sample: &Tensor, step: usize, order: usize, at_end: Option<&Tensor>) -> Result<Tensor> {
        let (Some(from), Some(to), Some(newest)) =
            (self.levels.get(step), self.levels.get(step + 1), self.earlier.last())
        else {
            return Ok(sample.clone());
        };
        let h = to.lambda() - from.lambda();
        let phi = (-h).exp_m1();
        let base = ((sample * (to.s / from.s))? - (newest * (to.a * phi))?)?;
        if h == 0.0 {
            return Ok(base);
        }
        let scale = if self.is_bh1 { -h } else { phi };
        let mut slopes = Vec::new();
        for back in 1..order {
            let level = step.checked_sub(back).and_then(|i| self.levels.get(i));
            let prediction = self.earlier.len().checked_sub(back + 1).and_then(|i| self.earlier.get(i));
            let (Some(level), Some(prediction)) = (level, prediction) else { break };
            let r = (level.lambda() - from.lambda()) / h;
            // Levels that coincide have no slope between them.
            if r == 0.0 || !r.is_finite() {
                break;
            }
            slopes.push((r, ((prediction - newest)? / r)?));
        }
        let weights = self.weights(&slopes.iter().map(|(r, _)| *r).collect::<Vec<_>>(), h, scale, at_end.is_some());
        if let Some(end) = at_end {
            slopes.push((1.0, (end - newest)?));
        }
        let mut next = base;
        for (weight, (_, slope)) in weights.iter().zip(&slopes) {
            next = (next - (slope * (to.a * scale * weight))?)?;
        }
        Ok(next)
    }

    /// How much each slope counts; a corrector has one slope more, that of the step itself.
    fn weights(&self, rs: &[f64], h: f64, scale: f64, is_corrector: bool) -> Vec<f64> {
        match (rs.len(), is_corrector) {
            (0, false) => return Vec::new(),
            (0, true) | (1, false) => return vec![0.5],
            _ => {}
        }
        let nodes: Vec<f64> = rs.iter().copied().chain(is_corrector.then_some(1.0)).collect();
        let (mut phi_k, mut factorial) = ((-h).exp_m1() / -h - 1.0, 1.0);
        let mut rows = Vec::new();
        for power in 0..nodes.len() {
            let row: Vec<f64> = nodes.iter().map(|r| r.powi(power as i32)).collect();
            rows.push((row, phi_k * factorial / scale));
            factorial *= (power + 2) as f64;
            phi_k = phi_k / -h - 1.0 / factorial;
        }
        solve(rows)
    }
}

/// The solution of a small linear system, by elimination with pivots. Where there is none, zeros.
fn solve(mut rows: Vec<(Vec<f64>, f64)>) -> Vec<f64> {
    let count = rows.len();
    for column in 0..count {
        let pivot = (column..count).max_by(|a, b| rows[*a].0[column].abs().total_cmp(&rows[*b].0[column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let (top, value) = rows[column].clone();
        if top[column] == 0.0 {
            return vec![0.0; count];
        }
        for (i, (row, right)) in rows.iter_mut().enumerate() {
            if i != column {
                let factor = row[column] / top[column];
                row.iter_mut().zip(&top).for_each(|(a, b)| *a -= factor * b);
                *right -= factor * value;
            }
        }
    }
    rows.iter().enumerate().map(|(i, (row, right))| right / row[i]).collect()
}
