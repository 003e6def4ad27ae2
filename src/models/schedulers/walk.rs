//! One run from noise to picture.
//!
//! Euler samplers work in the space where the noise grows without bound (sample = picture + sigma * noise); DDIM and DPM++
//! in the space where variance is kept (sample = a * picture + s * noise). Levels hold `a` and `s`; sigma is s / a.

use candle_core::{DType, Tensor};

use super::config::{FinalSigma, Prediction, SchedulerConfig, Spacing};
use crate::job::sampling::Sampler;
use crate::models::error::Result;

/// Stands for "nothing of the picture is left" where that would mean an infinite sigma: the smallest 16-bit number, as in
/// diffusers.
const ALMOST_NOTHING: f64 = 1.0 / (1 << 24) as f64;
/// DPM++ ends with a step of first order if it takes fewer steps than this.
const FEW_STEPS: usize = 15;

/// A noise level, variance kept: `a` of the picture and `s` of the noise, a^2 + s^2 = 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Level {
    a: f64,
    s: f64,
}

impl Level {
    const CLEAN: Self = Self { a: 1.0, s: 0.0 };

    fn from_alpha(alpha_cumprod: f64) -> Self {
        Self { a: alpha_cumprod.sqrt(), s: (1.0 - alpha_cumprod).sqrt() }
    }

    fn from_sigma(sigma: f64) -> Self {
        let a = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { a, s: sigma * a }
    }

    fn sigma(self) -> f64 {
        self.s / self.a
    }

    /// Half the logarithm of the signal-to-noise ratio; infinite where there is no noise.
    fn lambda(self) -> f64 {
        self.a.ln() - self.s.ln()
    }
}

/// What one step gives.
pub struct Stepped {
    /// The sample at the next, lower noise level.
    pub sample: Tensor,
    /// The picture (as latents) that the net has in mind.
    pub predicted: Tensor,
}

/// One run from noise to picture: a list of noise levels and the sampler's way from each to the next.
#[derive(Debug)]
pub struct Walk {
    sampler: Sampler,
    prediction: Prediction,
    timesteps: Vec<f64>,
    /// The level before and after each step. DDIM's need not be a chain: it always goes down by the same stride.
    levels: Vec<(Level, Level)>,
    init_scale: f64,
    /// DPM++ ends with a step of first order.
    is_last_simple: bool,
    /// DPM++ looks one step back.
    earlier: Option<Tensor>,
}

impl Walk {
    /// A run of `steps` steps.
    pub fn new(sampler: Sampler, config: &SchedulerConfig, steps: usize) -> Self {
        let steps = steps.clamp(1, config.num_train_timesteps);
        let products = products(sampler, config);
        let spacing = config.timestep_spacing.unwrap_or(match sampler {
            Sampler::Ddim => Spacing::Leading,
            Sampler::Euler | Sampler::EulerAncestral | Sampler::DpmPlusPlus2M => Spacing::Linspace,
        });
        let timesteps = timesteps(sampler, spacing, config, steps);
        let levels = match sampler {
            Sampler::Ddim => ddim_levels(&timesteps, config, &products, steps),
            _ => sigma_levels(&timesteps, last_level(sampler, config, &products), &products),
        };
        let sigma_max = levels.first().map_or(1.0, |(from, _)| from.sigma());
        let init_scale = match (sampler, spacing) {
            (Sampler::Ddim | Sampler::DpmPlusPlus2M, _) => 1.0,
            (_, Spacing::Leading) => (sigma_max * sigma_max + 1.0).sqrt(),
            (_, Spacing::Linspace | Spacing::Trailing) => sigma_max,
        };
        let is_last_simple = config.euler_at_final
            || (config.lower_order_final && timesteps.len() < FEW_STEPS)
            || levels.last().is_none_or(|(_, to)| to.s == 0.0);
        let prediction = config.prediction_type;
        Self { sampler, prediction, timesteps, levels, init_scale, is_last_simple, earlier: None }
    }

    /// What the net is told at each step.
    pub fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    /// What pure unit noise is multiplied by to become the first sample.
    pub fn init_scale(&self) -> f64 {
        self.init_scale
    }

    /// The first step of a run that starts from a picture: diffusers' `get_timesteps`. As large as the number of steps if
    /// `strength` is too small for a single one.
    pub fn start_for(&self, strength: f64) -> usize {
        let count = self.timesteps.len();
        count - ((count as f64 * strength) as usize).min(count)
    }

    /// `picture` with `noise` at the level before step `index`; the picture itself if there is no such step.
    ///
    /// # Errors
    /// If shapes differ.
    pub fn noised_before(&self, picture: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        self.noised(picture, noise, self.levels(index).0)
    }

    /// `picture` with `noise` at the level after step `index`.
    ///
    /// # Errors
    /// If shapes differ.
    pub fn noised_after(&self, picture: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        self.noised(picture, noise, self.levels(index).1)
    }

    fn noised(&self, picture: &Tensor, noise: &Tensor, level: Level) -> Result<Tensor> {
        Ok(match self.keeps_variance() {
            true => ((picture * level.a)? + (noise * level.s)?)?,
            false => (picture + (noise * level.sigma())?)?,
        })
    }

    /// What the net is shown for `sample` at step `index`.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn net_input(&self, sample: &Tensor, index: usize) -> Result<Tensor> {
        if self.keeps_variance() {
            return Ok(sample.clone());
        }
        Ok((sample * self.levels(index).0.a)?)
    }

    /// Whether a step wants fresh noise.
    pub fn wants_noise(&self) -> bool {
        self.sampler == Sampler::EulerAncestral
    }

    /// From `sample` before step `index` and the net's `output` to the sample after it. `noise` is needed where
    /// [`Self::wants_noise`] says so. Computed in 32 bits whatever the net computes in.
    ///
    /// # Errors
    /// If shapes differ.
    pub fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, noise: Option<&Tensor>) -> Result<Stepped> {
        let dtype = sample.dtype();
        let (output, sample) = (&output.to_dtype(DType::F32)?, &sample.to_dtype(DType::F32)?);
        let noise = noise.map(|noise| noise.to_dtype(DType::F32)).transpose()?;
        let (from, to) = self.levels(index);
        let kept = if self.keeps_variance() { sample.clone() } else { (sample * from.a)? };
        let predicted = match self.prediction {
            Prediction::Epsilon => ((&kept - (output * from.s)?)? / from.a)?,
            Prediction::Velocity => ((&kept * from.a)? - (output * from.s)?)?,
            Prediction::Sample => output.clone(),
        };
        let sample = match self.sampler {
            Sampler::Ddim => {
                let noise = ((&kept - (&predicted * from.a)?)? / from.s)?;
                ((&predicted * to.a)? + (noise * to.s)?)?
            }
            Sampler::Euler => euler(sample, &predicted, from.sigma(), to.sigma())?,
            Sampler::EulerAncestral => {
                let (s0, s1) = (from.sigma(), to.sigma());
                let up = (s1 * s1 * (s0 * s0 - s1 * s1) / (s0 * s0)).max(0.0).sqrt();
                let down = (s1 * s1 - up * up).max(0.0).sqrt();
                let next = euler(sample, &predicted, s0, down)?;
                match &noise {
                    Some(noise) => (next + (noise * up)?)?,
                    None => next,
                }
            }
            Sampler::DpmPlusPlus2M => self.multistep(sample, &predicted, index, from, to)?,
        };
        self.earlier = Some(predicted.clone());
        Ok(Stepped { sample: sample.to_dtype(dtype)?, predicted })
    }

    /// DPM-Solver++(2M), midpoint, first order at both ends (Lu et al. 2022, algorithm 2).
    fn multistep(&self, sample: &Tensor, predicted: &Tensor, index: usize, from: Level, to: Level) -> Result<Tensor> {
        let h = to.lambda() - from.lambda();
        let factor = -to.a * (-h).exp_m1();
        let first_order = ((sample * (to.s / from.s))? + (predicted * factor)?)?;
        let is_simple = self.is_last_simple && index + 1 == self.timesteps.len();
        let before = index.checked_sub(1).map_or(from, |before| self.levels(before).0);
        let r = (from.lambda() - before.lambda()) / h;
        match &self.earlier {
            // Steps that go nowhere, as there are in walks of as many steps as training had, have no slope.
            Some(earlier) if !is_simple && r.is_finite() && r != 0.0 => {
                let slope = ((predicted - earlier)? * (1.0 / r))?;
                Ok((first_order + (slope * (0.5 * factor))?)?)
            }
            _ => Ok(first_order),
        }
    }

    fn keeps_variance(&self) -> bool {
        matches!(self.sampler, Sampler::Ddim | Sampler::DpmPlusPlus2M)
    }

    fn levels(&self, index: usize) -> (Level, Level) {
        self.levels.get(index).copied().unwrap_or((Level::CLEAN, Level::CLEAN))
    }
}

fn euler(sample: &Tensor, predicted: &Tensor, from: f64, to: f64) -> Result<Tensor> {
    let slope = ((sample - predicted)? / from)?;
    Ok((sample + (slope * (to - from))?)?)
}

/// The visited timesteps, highest first, as each diffusers class computes them.
fn timesteps(sampler: Sampler, spacing: Spacing, config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    let count = config.num_train_timesteps;
    let last = (count - 1) as f64;
    // DPM++ visits one more and leaves the lowest out.
    let extra = usize::from(sampler == Sampler::DpmPlusPlus2M);
    let visited = steps + extra;
    let line = |i: usize| if visited == 1 { 0.0 } else { last * i as f64 / (visited - 1) as f64 };
    let is_euler = matches!(sampler, Sampler::Euler | Sampler::EulerAncestral);
    match spacing {
        Spacing::Linspace if is_euler => (0..visited).rev().map(line).collect(),
        Spacing::Linspace => (extra..visited).rev().map(|i| line(i).round_ties_even()).collect(),
        Spacing::Leading => {
            let stride = (count / visited).max(1);
            (extra..visited).rev().map(|i| (i * stride + config.steps_offset) as f64).collect()
        }
        Spacing::Trailing => {
            let stride = count as f64 / steps as f64;
            (0..steps).map(|i| (count as f64 - i as f64 * stride).round_ties_even() - 1.0).collect()
        }
    }
}

fn ddim_levels(timesteps: &[f64], config: &SchedulerConfig, products: &[f64], steps: usize) -> Vec<(Level, Level)> {
    let product = |t: f64| products.get(t as usize).or(products.last()).copied().unwrap_or(1.0);
    let stride = (config.num_train_timesteps / steps) as f64;
    let end = if config.set_alpha_to_one { 1.0 } else { product(0.0) };
    let after = |t: f64| if t >= stride { product(t - stride) } else { end };
    timesteps.iter().map(|t| (Level::from_alpha(product(*t)), Level::from_alpha(after(*t)))).collect()
}

/// What is left of the picture at each training step, as far as `sampler` can bear it.
fn products(sampler: Sampler, config: &SchedulerConfig) -> Vec<f64> {
    let mut products = config.alphas_cumprod();
    // Only DDIM never divides by what is left, unless it has to take predicted noise away.
    let bears_nothing = sampler == Sampler::Ddim && config.prediction_type != Prediction::Epsilon;
    if let Some(last) = products.last_mut().filter(|_| config.rescale_betas_zero_snr && !bears_nothing) {
        *last = ALMOST_NOTHING;
    }
    products
}

/// Where the walk ends, for samplers that go by sigmas.
fn last_level(sampler: Sampler, config: &SchedulerConfig, products: &[f64]) -> Level {
    match (config.final_sigmas_type, products.first()) {
        (Some(FinalSigma::SigmaMin), Some(first)) if sampler != Sampler::EulerAncestral => Level::from_alpha(*first),
        _ => Level::CLEAN,
    }
}

/// Levels by sigmas interpolated at fractional timesteps, down to `last`.
fn sigma_levels(timesteps: &[f64], last: Level, products: &[f64]) -> Vec<(Level, Level)> {
    let sigma = |i: usize| products.get(i).or(products.last()).map_or(0.0, |p| ((1.0 - p) / p).sqrt());
    let at = |t: f64| {
        let low = t.floor();
        let fraction = t - low;
        let low = low as usize;
        sigma(low) * (1.0 - fraction) + if fraction > 0.0 { sigma(low + 1) * fraction } else { 0.0 }
    };
    let levels: Vec<Level> = timesteps.iter().map(|t| Level::from_sigma(at(*t))).chain([last]).collect();
    levels.iter().copied().zip(levels.iter().copied().skip(1)).collect()
}
