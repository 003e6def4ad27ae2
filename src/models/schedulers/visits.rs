//! Which noise levels a run visits, and what the net is told there.
//!
//! Every diffusers class has its own way of counting; they fall into four groups (see [`Grid`]).

use super::config::{BetaSchedule, FinalSigma, SchedulerConfig, Spacing};
use super::level::{Level, Table};
use super::walk::Method;
use crate::job::sampling::{Sampler, Schedule};

/// The exponent of Karras et al. 2022.
const RHO: f64 = 7.0;

/// How a sampler finds its noise levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grid {
    /// Whole training steps: DDIM, PNDM.
    Training,
    /// Sigmas at fractions of training steps: the samplers of k-diffusion.
    Sigmas,
    /// Sigmas at whole training steps, one more of them than are visited: DPM++ 2M, UniPC.
    Multistep,
    /// The steps that a consistency model was distilled from: LCM, TCD.
    Distilled,
}

impl Grid {
    pub(super) fn of(sampler: Sampler) -> Self {
        match sampler {
            Sampler::Ddim | Sampler::Pndm => Self::Training,
            Sampler::Euler | Sampler::EulerAncestral | Sampler::Heun | Sampler::DpmPlusPlusSde => Self::Sigmas,
            Sampler::DpmPlusPlus2M | Sampler::DpmPlusPlus2MSde | Sampler::UniPc => Self::Multistep,
            Sampler::Lcm | Sampler::Tcd => Self::Distilled,
        }
    }
}

/// Noise levels, highest first.
#[derive(Debug)]
pub(super) struct Visits {
    /// What the net is told at each.
    pub(super) timesteps: Vec<f64>,
    /// The levels themselves.
    pub(super) levels: Vec<Level>,
    /// Where the last step ends.
    pub(super) end: Level,
}

impl Visits {
    /// Those of `steps` steps; of fewer if [`most_steps`] is less.
    pub(super) fn new(method: Method, config: &SchedulerConfig, table: &Table, steps: usize) -> Self {
        let sampler = method.sampler;
        let steps = steps.clamp(1, most_steps(sampler, config));
        let grid = Grid::of(sampler);
        let timesteps = match grid {
            Grid::Distilled => distilled(config, steps),
            _ => spaced(sampler, config, table, steps),
        };
        if matches!(grid, Grid::Training | Grid::Distilled) {
            let levels = timesteps.iter().map(|t| table.level(*t as usize)).collect();
            return Self { timesteps, levels, end: Level::CLEAN };
        }
        let schedule = schedule(method, config);
        let (timesteps, sigmas) = match schedule {
            Schedule::Default => {
                let sigmas = timesteps.iter().map(|t| table.sigma_between(*t)).collect();
                (timesteps, sigmas)
            }
            Schedule::Uniform => {
                let timesteps: Vec<f64> = linspace(last_step(config), 0.0, steps);
                let sigmas = timesteps.iter().map(|t| table.log_sigma_between(*t)).collect();
                (timesteps, sigmas)
            }
            curve => {
                let range = sigma_range(sampler, curve, config, table, &timesteps);
                let sigmas = curved(curve, range, timesteps.len());
                let timesteps = sigmas.iter().map(|sigma| table.step_of(*sigma)).collect();
                (rounded(sampler, config, curve, timesteps), sigmas)
            }
        };
        // UniPC's curved schedules end where they are, which may be higher.
        let stays = sampler == Sampler::UniPc && matches!(schedule, Schedule::Karras | Schedule::Exponential);
        let lowest = sigmas.last().copied().filter(|_| stays).unwrap_or(table.sigma(0));
        let end = last_level(sampler, config, lowest);
        Self { timesteps, levels: sigmas.into_iter().map(Level::from_sigma).collect(), end }
    }
}

/// More steps than this cannot be taken.
pub(super) fn most_steps(sampler: Sampler, config: &SchedulerConfig) -> usize {
    match Grid::of(sampler) {
        Grid::Distilled => config.original_inference_steps.clamp(1, config.num_train_timesteps),
        _ => config.num_train_timesteps,
    }
}

/// The schedule that is meant by the default one.
fn schedule(method: Method, config: &SchedulerConfig) -> Schedule {
    match method.schedule {
        // diffusers' Euler ancestral knows only plain sigmas; asked for by name it can do all.
        Schedule::Default if method.sampler == Sampler::EulerAncestral => Schedule::Default,
        Schedule::Default if config.use_karras_sigmas => Schedule::Karras,
        Schedule::Default if config.use_exponential_sigmas => Schedule::Exponential,
        chosen => chosen,
    }
}

/// Whether k-diffusion is the reference of a sampler that keeps the variance in diffusers: evenly spaced DPM++ 2M.
pub(super) fn is_of_k_diffusion(method: Method, config: &SchedulerConfig) -> bool {
    let is_dpm = matches!(method.sampler, Sampler::DpmPlusPlus2M | Sampler::DpmPlusPlus2MSde);
    is_dpm && schedule(method, config) == Schedule::Uniform
}

/// Whether the largest sigma alone scales the first noise: diffusers' `init_noise_sigma`.
pub(super) fn starts_at_sigma(method: Method, config: &SchedulerConfig) -> bool {
    schedule(method, config) == Schedule::Uniform || config.spacing(method.sampler) != Spacing::Leading
}

fn last_step(config: &SchedulerConfig) -> f64 {
    (config.num_train_timesteps - 1) as f64
}

/// As numpy computes it, because some results are rounded later.
fn linspace(start: f64, stop: f64, count: usize) -> Vec<f64> {
    let stride = (stop - start) / count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| if i > 0 && i + 1 == count { stop } else { i as f64 * stride + start }).collect()
}

/// Training steps by the model's spacing, highest first.
fn spaced(sampler: Sampler, config: &SchedulerConfig, table: &Table, steps: usize) -> Vec<f64> {
    let grid = Grid::of(sampler);
    let extra = usize::from(grid == Grid::Multistep);
    let is_clipped = matches!(sampler, Sampler::DpmPlusPlus2M | Sampler::DpmPlusPlus2MSde);
    let count = match config.lambda_min_clipped {
        Some(lambda) if is_clipped => table.steps_above(lambda).max(1),
        _ => table.len(),
    };
    let visited = steps + extra;
    match config.spacing(sampler) {
        Spacing::Linspace => {
            let line = linspace(0.0, (count - 1) as f64, visited).into_iter().skip(extra).rev();
            let is_whole = grid != Grid::Sigmas;
            line.map(|t| if is_whole { t.round_ties_even() } else { t }).collect()
        }
        Spacing::Leading => {
            let stride = (count / visited).max(1);
            (extra..visited).rev().map(|i| (i * stride + config.steps_offset) as f64).collect()
        }
        Spacing::Trailing => {
            let (top, ratio) = (count as f64, table.len() as f64 / steps as f64);
            let stride = (top - ratio) - top;
            let fitting = if count == table.len() { steps } else { (top / ratio).ceil().max(1.0) as usize };
            (0..fitting).map(|i| (top + i as f64 * stride).round_ties_even() - 1.0).map(|t| t.max(0.0)).collect()
        }
    }
}

/// Evenly among the steps of distillation.
fn distilled(config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    let original = most_steps(Sampler::Lcm, config);
    let stride = config.num_train_timesteps / original;
    let ratio = original as f64 / steps as f64;
    (0..steps).map(|i| ((original - (i as f64 * ratio) as usize) * stride - 1) as f64).collect()
}

/// Highest and lowest sigma of a curved schedule: of the model, but for the samplers of k-diffusion of what is visited.
fn sigma_range(
    sampler: Sampler,
    curve: Schedule,
    config: &SchedulerConfig,
    table: &Table,
    timesteps: &[f64],
) -> (f64, f64) {
    let visited = |t: Option<&f64>| t.map_or(1.0, |t| table.sigma_between(*t));
    let (high, low) = match Grid::of(sampler) {
        Grid::Multistep => (table.sigma(table.len() - 1), table.sigma(0)),
        _ => (visited(timesteps.first()), visited(timesteps.last())),
    };
    match (sampler, curve) {
        // diffusers has Karras' levels of this one without bounds.
        (Sampler::DpmPlusPlusSde, Schedule::Karras) => (high, low),
        _ => (config.sigma_max.unwrap_or(high), config.sigma_min.unwrap_or(low)),
    }
}

fn curved(curve: Schedule, (high, low): (f64, f64), count: usize) -> Vec<f64> {
    let ramp = linspace(0.0, 1.0, count).into_iter();
    match curve {
        Schedule::Karras => {
            let (high, low) = (high.powf(1.0 / RHO), low.powf(1.0 / RHO));
            ramp.map(|r| (high + r * (low - high)).powf(RHO)).collect()
        }
        _ => linspace(high.ln(), low.ln(), count).into_iter().map(f64::exp).collect(),
    }
}

/// The multistep classes tell the net whole steps, as each class rounds.
fn rounded(sampler: Sampler, config: &SchedulerConfig, curve: Schedule, timesteps: Vec<f64>) -> Vec<f64> {
    if Grid::of(sampler) != Grid::Multistep {
        return timesteps;
    }
    let is_cosine = config.beta_schedule(sampler) == BetaSchedule::SquaredcosCapV2;
    let is_nearest = curve == Schedule::Karras && (sampler == Sampler::UniPc || !is_cosine);
    timesteps.into_iter().map(|t| if is_nearest { t.round_ties_even() } else { t.floor() }).collect()
}

/// Where the last step ends, for samplers that have a choice.
fn last_level(sampler: Sampler, config: &SchedulerConfig, lowest: f64) -> Level {
    let knows_end = matches!(Grid::of(sampler), Grid::Multistep) || sampler == Sampler::Euler;
    match config.final_sigmas_type {
        Some(FinalSigma::SigmaMin) if knows_end => Level::from_sigma(lowest),
        _ => Level::CLEAN,
    }
}
