//! What a model says about how it wants to be sampled: `scheduler_config.json` as a value.

use serde::Deserialize;

use crate::job::sampling::Sampler;
use crate::models::error::{ModelError, Result};

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

/// The formula of a multistep solver. Those of one class mean the default of another, as in diffusers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SolverType {
    /// DPM-Solver, the default there.
    Midpoint,
    /// DPM-Solver.
    Heun,
    /// UniPC, B(h) = h.
    Bh1,
    /// UniPC, B(h) = exp(h) - 1, the default there.
    Bh2,
    /// DEIS.
    Logrho,
}

/// `scheduler_config.json`. What it does not say has the defaults of the diffusers class for the sampler that is used.
///
/// # Limitations
/// What Maquette does not do is refused when the file is read. `rescale_betas_zero_snr` says how the net was trained, and holds for samplers too that know no such setting in
/// diffusers (PNDM, Heun, DPM++ SDE).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// The diffusers class that the model was saved with.
    #[serde(rename = "_class_name")]
    pub class_name: Option<String>,
    /// Steps of training.
    pub num_train_timesteps: usize,
    /// First variance.
    pub beta_start: Option<f64>,
    /// Last variance.
    pub beta_end: Option<f64>,
    /// What is between.
    pub beta_schedule: Option<BetaSchedule>,
    /// All variances; the three above are not used then.
    pub trained_betas: Option<Vec<f64>>,
    /// What the net predicts.
    pub prediction_type: Prediction,
    /// Which steps are visited.
    pub timestep_spacing: Option<Spacing>,
    /// Added to the steps of leading spacing.
    pub steps_offset: usize,
    /// Whether DDIM, Heun and LCM clip the predicted sample; DDIM does unless it is told not to.
    pub clip_sample: Option<bool>,
    /// To how much on either side of zero.
    pub clip_sample_range: f64,
    /// DDIM and PNDM end without noise rather than at the first training step.
    pub set_alpha_to_one: Option<bool>,
    /// PNDM begins without Runge-Kutta steps.
    pub skip_prk_steps: bool,
    /// Where Euler, DPM++ 2M and UniPC end.
    pub final_sigmas_type: Option<FinalSigma>,
    /// Variances are rescaled so that the last training step is pure noise.
    pub rescale_betas_zero_snr: bool,
    /// Euler, Heun, DPM++ and UniPC visit Karras' noise levels.
    pub use_karras_sigmas: bool,
    /// They visit levels evenly in the logarithm.
    pub use_exponential_sigmas: bool,
    /// Lowest of those levels, but for Karras' of DPM++ SDE.
    pub sigma_min: Option<f64>,
    /// Highest of those levels, but for Karras' of DPM++ SDE.
    pub sigma_max: Option<f64>,
    /// `dpmsolver++` or `sde-dpmsolver++`.
    pub algorithm_type: Option<String>,
    /// Order of DPM++ 2M and UniPC, 1..=3.
    pub solver_order: usize,
    /// Formula of DPM++ 2M and UniPC.
    pub solver_type: Option<SolverType>,
    /// DPM++ 2M takes short walks more carefully at the end, UniPC all.
    pub lower_order_final: bool,
    /// DPM++ 2M ends with a step of first order.
    pub euler_at_final: bool,
    /// DPM++ 2M leaves out levels with less signal.
    pub lambda_min_clipped: Option<f64>,
    /// Steps after which UniPC does not correct.
    pub disable_corrector: Vec<usize>,
    /// Steps that a consistency model was distilled from.
    pub original_inference_steps: usize,
    /// How fast LCM forgets the sample for the prediction.
    pub timestep_scaling: f64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            class_name: None,
            num_train_timesteps: 1000,
            beta_start: None,
            beta_end: None,
            beta_schedule: None,
            trained_betas: None,
            prediction_type: Prediction::Epsilon,
            timestep_spacing: None,
            steps_offset: 0,
            clip_sample: None,
            clip_sample_range: 1.0,
            set_alpha_to_one: None,
            skip_prk_steps: false,
            final_sigmas_type: None,
            rescale_betas_zero_snr: false,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            sigma_min: None,
            sigma_max: None,
            algorithm_type: None,
            solver_order: 2,
            solver_type: None,
            lower_order_final: true,
            euler_at_final: false,
            lambda_min_clipped: None,
            disable_corrector: Vec::new(),
            original_inference_steps: 50,
            timestep_scaling: 10.0,
        }
    }
}

impl SchedulerConfig {
    /// The sampler that the model came with.
    ///
    /// # Errors
    /// [`ModelError::BadInput`] if it is none of ours.
    pub fn own_sampler(&self) -> Result<Sampler> {
        let algorithm = self.algorithm_type.as_deref().unwrap_or("dpmsolver++");
        Ok(match (self.class_name.as_deref(), algorithm) {
            (Some("DDIMScheduler"), _) => Sampler::Ddim,
            (Some("PNDMScheduler"), _) => Sampler::Pndm,
            (Some("EulerDiscreteScheduler") | None, _) => Sampler::Euler,
            (Some("EulerAncestralDiscreteScheduler"), _) => Sampler::EulerAncestral,
            (Some("HeunDiscreteScheduler"), _) => Sampler::Heun,
            (Some("DPMSolverMultistepScheduler"), "dpmsolver++" | "deis") => Sampler::DpmPlusPlus2M,
            (Some("DPMSolverMultistepScheduler"), "sde-dpmsolver++") => Sampler::DpmPlusPlus2MSde,
            (Some("DPMSolverSDEScheduler"), _) => Sampler::DpmPlusPlusSde,
            (Some("UniPCMultistepScheduler"), _) => Sampler::UniPc,
            (Some("LCMScheduler"), _) => Sampler::Lcm,
            (Some("TCDScheduler"), _) => Sampler::Tcd,
            (Some("DPMSolverMultistepScheduler"), other) => return Err(unknown("algorithm", other)),
            (Some(other), _) => return Err(unknown("sampler", other)),
        })
    }

    pub(super) fn beta_start(&self, sampler: Sampler) -> f64 {
        self.beta_start.unwrap_or(if is_young(sampler) { 0.00085 } else { 0.0001 })
    }

    pub(super) fn beta_end(&self, sampler: Sampler) -> f64 {
        self.beta_end.unwrap_or(if is_young(sampler) { 0.012 } else { 0.02 })
    }

    pub(super) fn beta_schedule(&self, sampler: Sampler) -> BetaSchedule {
        self.beta_schedule.unwrap_or(match sampler {
            Sampler::Lcm | Sampler::Tcd => BetaSchedule::ScaledLinear,
            _ => BetaSchedule::Linear,
        })
    }

    pub(super) fn spacing(&self, sampler: Sampler) -> Spacing {
        self.timestep_spacing.unwrap_or(match sampler {
            Sampler::Ddim | Sampler::Pndm | Sampler::Lcm | Sampler::Tcd => Spacing::Leading,
            _ => Spacing::Linspace,
        })
    }

    /// The largest number of a predicted sample, if it is clipped: as the sampler's class in diffusers does it.
    pub(super) fn clips_to(&self, sampler: Sampler) -> Option<f64> {
        let clips = match sampler {
            Sampler::Ddim => self.clip_sample.unwrap_or(true),
            Sampler::Heun | Sampler::Lcm => self.clip_sample.unwrap_or(false),
            _ => false,
        };
        clips.then_some(self.clip_sample_range)
    }

    pub(super) fn ends_clean(&self, sampler: Sampler) -> bool {
        self.set_alpha_to_one.unwrap_or(sampler != Sampler::Pndm)
    }
}

/// Whether the sampler's class in diffusers has the variances of Stable Diffusion as its own.
fn is_young(sampler: Sampler) -> bool {
    matches!(sampler, Sampler::Heun | Sampler::DpmPlusPlusSde | Sampler::Lcm | Sampler::Tcd)
}

fn unknown(what: &str, name: &str) -> ModelError {
    let known = Sampler::ALL.map(Sampler::id).join(", ");
    ModelError::BadInput(format!(
        "this model's own {what} \"{name}\" is not one that Maquette has; choose a sampler: {known}"
    ))
}
