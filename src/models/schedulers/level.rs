//! Noise levels, and the table of those that a net was trained at.

use super::config::{BetaSchedule, SchedulerConfig};
use crate::job::sampling::Sampler;

/// Stands for "nothing of the picture is left" where that would mean an infinite sigma: the smallest 16-bit number, as in
/// diffusers.
const ALMOST_NOTHING: f64 = 1.0 / (1 << 24) as f64;

/// A noise level, variance kept: `a` of the picture and `s` of the noise, a^2 + s^2 = 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    pub(super) a: f64,
    pub(super) s: f64,
}

impl Level {
    pub(super) const CLEAN: Self = Self { a: 1.0, s: 0.0 };

    pub(super) fn from_alpha(alpha_cumprod: f64) -> Self {
        Self { a: alpha_cumprod.sqrt(), s: (1.0 - alpha_cumprod).sqrt() }
    }

    pub(super) fn from_sigma(sigma: f64) -> Self {
        let a = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { a, s: sigma * a }
    }

    pub(super) fn sigma(self) -> f64 {
        self.s / self.a
    }

    /// Half the logarithm of the signal-to-noise ratio; infinite where there is no noise.
    pub(super) fn lambda(self) -> f64 {
        self.a.ln() - self.s.ln()
    }
}

/// How much of the clean sample is left at each training step, from the first to the last: the cumulative product of
/// (1 - beta), in (0, 1]. Never empty.
///
/// Nets were trained with PyTorch's 32-bit numbers, and diffusers samples with them; so these are the same to the last bit.
#[derive(Debug, Clone)]
pub(super) struct Table(Vec<f64>);

impl Table {
    /// As far as `sampler` can bear it: most divide by what is left of the sample.
    pub(super) fn new(sampler: Sampler, config: &SchedulerConfig) -> Self {
        let mut products = cumulative(&betas(sampler, config));
        if config.rescale_betas_zero_snr {
            products = cumulative(&without_terminal_signal(&products));
            // These divide by it only to take predicted noise away.
            let bears_nothing = matches!(sampler, Sampler::Ddim | Sampler::Lcm | Sampler::Tcd)
                && config.prediction_type != super::Prediction::Epsilon;
            if let Some(last) = products.last_mut().filter(|_| !bears_nothing) {
                *last = ALMOST_NOTHING as f32;
            }
        }
        if products.is_empty() {
            products.push(1.0);
        }
        Self(products.into_iter().map(f64::from).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is left at training step `t`, the last one if there are fewer.
    pub(super) fn alpha(&self, t: usize) -> f64 {
        self.0.get(t).or(self.0.last()).copied().unwrap_or(1.0)
    }

    pub(super) fn level(&self, t: usize) -> Level {
        Level::from_alpha(self.alpha(t))
    }

    pub(super) fn sigma(&self, t: usize) -> f64 {
        sigma_of(self.alpha(t))
    }

    /// Rounded, as diffusers has it: where a class cuts fractions of a training step off, the last bit decides.
    fn log_sigma(&self, t: usize) -> f64 {
        f64::from(self.sigma(t).ln() as f32)
    }

    /// Sigma at a fraction of a training step, evenly between its neighbours.
    pub(super) fn sigma_between(&self, t: f64) -> f64 {
        let (low, fraction) = (t.floor(), t.fract());
        self.sigma(low as usize) * (1.0 - fraction) + self.sigma(low as usize + 1) * fraction
    }

    /// The same, evenly in the logarithm: `t_to_sigma` of k-diffusion.
    pub(super) fn log_sigma_between(&self, t: f64) -> f64 {
        let (low, fraction) = (t.floor(), t.fract());
        let log = self.sigma(low as usize).ln() * (1.0 - fraction) + self.sigma(low as usize + 1).ln() * fraction;
        log.exp()
    }

    /// The (fractional) training step with this sigma, evenly in the logarithm: diffusers' `_sigma_to_t`.
    pub(super) fn step_of(&self, sigma: f64) -> f64 {
        let log = sigma.max(1e-10).ln();
        let reached = self.0.partition_point(|alpha| f64::from(sigma_of(*alpha).ln() as f32) <= log);
        let low_step = reached.saturating_sub(1).min(self.len().saturating_sub(2));
        let (low, high) = (self.log_sigma(low_step), self.log_sigma(low_step + 1));
        let weight = ((low - log) / (low - high)).clamp(0.0, 1.0);
        (1.0 - weight) * low_step as f64 + weight * (low_step + 1) as f64
    }

    /// How many training steps are no noisier than the half logarithmic signal-to-noise ratio `lambda_min`.
    pub(super) fn steps_above(&self, lambda_min: f64) -> usize {
        (0..self.len()).filter(|t| self.level(*t).lambda() >= lambda_min).count()
    }
}

/// In 32 bits, as PyTorch.
fn sigma_of(alpha: f64) -> f64 {
    let alpha = alpha as f32;
    f64::from(((1.0 - alpha) / alpha).sqrt())
}

/// The variances, rounded where PyTorch rounds.
fn betas(sampler: Sampler, config: &SchedulerConfig) -> Vec<f32> {
    if let Some(betas) = &config.trained_betas {
        return betas.iter().map(|beta| *beta as f32).collect();
    }
    let count = config.num_train_timesteps;
    let (start, end) = (config.beta_start(sampler), config.beta_end(sampler));
    match config.beta_schedule(sampler) {
        BetaSchedule::Linear => line(start, end, count),
        BetaSchedule::ScaledLinear => line(start.sqrt(), end.sqrt(), count).iter().map(|root| root * root).collect(),
        BetaSchedule::SquaredcosCapV2 => {
            let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::PI / 2.0).cos().powi(2);
            let at = |i: usize| alpha_bar(i as f64 / count as f64);
            (0..count).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
        }
    }
}

/// `torch.linspace`: from both ends to the middle, multiplied and added with one rounding.
fn line(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let stride = f64::from((end - start) / (count.saturating_sub(1).max(1)) as f32);
    let at = |i: usize| match i < count / 2 {
        true => f64::from(start) + stride * i as f64,
        false => f64::from(end) - stride * (count - i - 1) as f64,
    };
    (0..count).map(|i| at(i) as f32).collect()
}

/// `torch.cumprod` of 1 - beta: 32-bit factors, multiplied in 64 bits.
fn cumulative(betas: &[f32]) -> Vec<f32> {
    let mut product = 1f64;
    betas
        .iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            product as f32
        })
        .collect()
}

/// Lin et al. 2023, algorithm 1: the last step keeps nothing of the sample, the first is unchanged.
fn without_terminal_signal(products: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = products.iter().map(|product| product.sqrt()).collect();
    let (Some(first), Some(last)) = (roots.first().copied(), roots.last().copied()) else { return Vec::new() };
    let scale = if first > last { first / (first - last) } else { 1.0 };
    let last = if first > last { last } else { 0.0 };
    let mut before = 1f32;
    roots
        .iter()
        .map(|root| {
            let kept = ((root - last) * scale).powi(2);
            let beta = 1.0 - kept / before;
            before = kept;
            beta
        })
        .collect()
}
