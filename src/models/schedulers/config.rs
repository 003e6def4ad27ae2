//! `scheduler_config.json` and the noise levels that it describes.

use serde::Deserialize;

use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;

const FILE: &str = "scheduler_config.json";

/// How the variances grow from the first to the last training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Evenly.
    Linear,
    /// Their roots grow evenly.
    ScaledLinear,
    /// From a squared cosine (Nichol and Dhariwal 2021).
    SquaredcosCapV2,
}

/// What the net was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity (Salimans and Ho 2022).
    #[serde(rename = "v_prediction")]
    Velocity,
    /// The clean sample.
    #[serde(alias = "original_sample")]
    Sample,
}

/// Which training steps are visited (Lin et al. 2023, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Evenly from the first to the last.
    Linspace,
    /// Evenly from the first.
    Leading,
    /// Evenly to the last.
    Trailing,
}

/// Where the last step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigma {
    /// Without noise.
    Zero,
    /// At the noise of the first training step.
    SigmaMin,
}

/// `scheduler_config.json`. What it does not say has the defaults of the diffusers class for the sampler that is used.
///
/// # Limitations
/// Samples are never clipped, as in diffusers' latent pipelines. Karras, exponential, beta and flow sigmas, trained betas and
/// thresholding are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// Steps of training.
    pub num_train_timesteps: usize,
    /// First variance.
    pub beta_start: f64,
    /// Last variance.
    pub beta_end: f64,
    /// What is between.
    pub beta_schedule: BetaSchedule,
    /// What the net predicts.
    pub prediction_type: Prediction,
    /// Which steps are visited.
    pub timestep_spacing: Option<Spacing>,
    /// Added to the steps of leading spacing.
    pub steps_offset: usize,
    /// DDIM ends without noise rather than at the first training step.
    pub set_alpha_to_one: bool,
    /// Where Euler and DPM++ end.
    pub final_sigmas_type: Option<FinalSigma>,
    /// Variances are rescaled so that the last training step is pure noise.
    pub rescale_betas_zero_snr: bool,
    /// DPM++ takes short walks more carefully at the end.
    pub lower_order_final: bool,
    /// DPM++ ends with a step of first order.
    pub euler_at_final: bool,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            prediction_type: Prediction::Epsilon,
            timestep_spacing: None,
            steps_offset: 0,
            set_alpha_to_one: true,
            final_sigmas_type: None,
            rescale_betas_zero_snr: false,
            lower_order_final: true,
            euler_at_final: false,
        }
    }
}

impl SchedulerConfig {
    /// Reads a `scheduler/` folder.
    ///
    /// # Errors
    /// If the file is missing, damaged, or asks for something that is not here.
    pub fn load(files: &ModelFiles) -> Result<Self> {
        let raw: serde_json::Value = files.read_json(FILE)?;
        let bad = |reason: String| ModelError::BadFile { path: files.path_of(FILE), reason };
        for key in UNSUPPORTED {
            let value = raw.get(key).unwrap_or(&serde_json::Value::Null);
            if !value.is_null() && value != &serde_json::Value::Bool(false) {
                return Err(bad(format!("Maquette cannot sample with \"{key}\": {value}")));
            }
        }
        // A null means the default, as a missing field does.
        let known: serde_json::Map<_, _> = match raw {
            serde_json::Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => return Err(bad("it is not a JSON object".to_owned())),
        };
        let config: Self =
            serde_json::from_value(serde_json::Value::Object(known)).map_err(|error| bad(error.to_string()))?;
        let betas_fit = (0.0..1.0).contains(&config.beta_start) && (0.0..1.0).contains(&config.beta_end);
        if !(1..=1_000_000).contains(&config.num_train_timesteps) || !betas_fit {
            return Err(bad("num_train_timesteps, beta_start or beta_end is out of range".to_owned()));
        }
        Ok(config)
    }

    /// How much of the clean sample is left at each training step: the cumulative product of (1 - beta), in (0, 1].
    pub(super) fn alphas_cumprod(&self) -> Vec<f64> {
        let betas = self.betas();
        let betas = if self.rescale_betas_zero_snr { without_terminal_signal(&betas) } else { betas };
        betas
            .iter()
            .scan(1.0, |product, beta| {
                *product *= 1.0 - beta;
                Some(*product)
            })
            .collect()
    }

    fn betas(&self) -> Vec<f64> {
        let count = self.num_train_timesteps;
        let between = |start: f64, end: f64, i: usize| start + (end - start) * i as f64 / (count - 1).max(1) as f64;
        let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
        (0..count)
            .map(|i| match self.beta_schedule {
                BetaSchedule::Linear => between(self.beta_start, self.beta_end, i),
                BetaSchedule::ScaledLinear => between(self.beta_start.sqrt(), self.beta_end.sqrt(), i).powi(2),
                BetaSchedule::SquaredcosCapV2 => {
                    let at = |i: usize| alpha_bar(i as f64 / count as f64);
                    (1.0 - at(i + 1) / at(i)).min(0.999)
                }
            })
            .collect()
    }
}

/// Settings that must be absent, null or false.
const UNSUPPORTED: [&str; 7] = [
    "trained_betas",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
    "use_flow_sigmas",
    "thresholding",
];

/// Lin et al. 2023, algorithm 1: the last step keeps nothing of the sample, the first is unchanged.
fn without_terminal_signal(betas: &[f64]) -> Vec<f64> {
    let mut product = 1.0;
    let roots: Vec<f64> = betas
        .iter()
        .map(|beta| {
            product *= 1.0 - beta;
            f64::sqrt(product)
        })
        .collect();
    let (Some(first), Some(last)) = (roots.first().copied(), roots.last().copied()) else { return Vec::new() };
    if first <= last {
        return betas.to_vec();
    }
    let scaled = roots.iter().map(|root| ((root - last) * first / (first - last)).powi(2));
    let mut before = 1.0;
    scaled
        .map(|kept| {
            let beta = 1.0 - kept / before;
            before = kept;
            beta
        })
        .collect()
}
