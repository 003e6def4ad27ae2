//! One run from noise to picture, call by call of the net.
//!
//! The samplers of k-diffusion (Euler, Heun, DPM++ SDE) work in the space where the noise grows without bound
//! (sample = picture + sigma * noise); the others in the space where variance is kept (sample = a * picture + s * noise).
//! Levels hold `a` and `s`; sigma is s / a.

use candle_core::{DType, Device, Tensor};

use super::config::{Prediction, SchedulerConfig};
use super::level::{Level, Table};
use super::solver::Solver;
use super::visits::{Grid, Visits, is_of_k_diffusion, most_steps, starts_at_sigma};
use crate::job::sampling::{Sampler, Sampling, Schedule};
use crate::models::error::Result;

/// Which sampler walks, and along which noise levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Method {
    /// The sampler.
    pub sampler: Sampler,
    /// The noise levels, for samplers that have a choice.
    pub schedule: Schedule,
    /// How much of DDIM's and TCD's noise is fresh; the sampler's own measure if `None`.
    pub eta: Option<f64>,
}

impl From<Sampler> for Method {
    fn from(sampler: Sampler) -> Self {
        Self { sampler, schedule: Schedule::Default, eta: None }
    }
}

impl Method {
    /// What `sampling` asks for, of a model with `config`.
    ///
    /// # Errors
    /// If the model's own sampler is asked for and is none of ours.
    pub fn new(sampling: &Sampling, config: &SchedulerConfig) -> Result<Self> {
        let sampler = sampling.sampler.map_or_else(|| config.own_sampler(), Ok)?;
        Ok(Self { sampler, schedule: sampling.schedule, eta: sampling.eta.map(f64::from) })
    }

    /// More steps than this are not taken.
    pub fn most_steps(&self, config: &SchedulerConfig) -> usize {
        most_steps(self.sampler, config)
    }
}

/// Where the noise comes from that a sampler adds on its way: [`super::Noise`] makes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fresh {
    /// The next numbers of the seed's generator, in the order of the calls.
    Drawn,
    /// The increment of the seed's Brownian path between two noise levels.
    OfPath {
        /// The lowest and the highest sigma of the path.
        ends: [f32; 2],
        /// The sigma that the step begins at.
        from: f32,
        /// The sigma that it goes to.
        to: f32,
    },
}

/// What one call of the net leads to.
pub struct Stepped {
    /// The next sample.
    pub sample: Tensor,
    /// The picture (as latents) that the net has in mind.
    pub predicted: Tensor,
}

/// One call of the net.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Call {
    /// What the net is told.
    pub(super) timestep: f64,
    /// The level of the sample that it is shown.
    pub(super) from: Level,
    /// The level of the sample after it.
    pub(super) to: Level,
}

/// One run from noise to picture: a list of calls of the net, and the solver's way from each to the next.
#[derive(Debug)]
pub struct Walk {
    prediction: Prediction,
    keeps_variance: bool,
    /// The largest number of a predicted sample, if it is clipped.
    clips_to: Option<f64>,
    timesteps: Vec<f64>,
    calls: Vec<Call>,
    init_scale: f64,
    steps: usize,
    solver: Solver,
}

impl Walk {
    /// A run of `steps` steps, or as many as there can be.
    pub fn new(method: impl Into<Method>, config: &SchedulerConfig, steps: usize) -> Self {
        let method = method.into();
        let table = Table::new(method.sampler, config);
        let visits = Visits::new(method, config, &table, steps);
        let sigma_max = visits.levels.iter().map(|level| level.sigma()).fold(0.0, f64::max);
        let keeps_variance = Grid::of(method.sampler) != Grid::Sigmas;
        let init_scale = match (keeps_variance, starts_at_sigma(method, config)) {
            // k-diffusion starts at sigma times the noise also where diffusers keeps the variance.
            (true, _) if is_of_k_diffusion(method, config) => sigma_max / (sigma_max * sigma_max + 1.0).sqrt(),
            (true, _) => 1.0,
            (false, true) => sigma_max,
            (false, false) => (sigma_max * sigma_max + 1.0).sqrt(),
        };
        let steps = visits.timesteps.len();
        let (solver, calls) = Solver::new(method, config, table, visits);
        let timesteps = calls.iter().map(|call| call.timestep).collect();
        let (prediction, clips_to) = (config.prediction_type, config.clips_to(method.sampler));
        Self { prediction, keeps_variance, clips_to, timesteps, calls, init_scale, steps, solver }
    }

    /// What the net is told at each call; some samplers call it twice a step.
    pub fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    /// What pure unit noise is multiplied by to become the first sample.
    pub fn init_scale(&self) -> f64 {
        self.init_scale
    }

    /// The first call of a run that starts from a picture: diffusers' `get_timesteps`. As large as the number of calls if
    /// `strength` is too small for a single one.
    pub fn start_for(&self, strength: f64) -> usize {
        let left = ((self.steps as f64 * strength) as usize).min(self.steps);
        if left == 0 { self.calls.len() } else { self.solver.call_of_step(self.steps - left).min(self.calls.len()) }
    }

    /// The step, from 0, that a call of the net belongs to.
    pub fn step_of(&self, call: usize) -> usize {
        (0..self.steps).rev().find(|step| self.solver.call_of_step(*step) <= call).unwrap_or(0)
    }

    /// `picture` with `noise` at the level before call `index`; the picture itself if there is no such call.
    ///
    /// # Errors
    /// If shapes differ.
    pub fn noised_before(&self, picture: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        self.noised(picture, noise, self.calls.get(index).map_or(Level::CLEAN, |call| call.from))
    }

    /// `picture` with `noise` at the level after call `index`.
    ///
    /// # Errors
    /// If shapes differ.
    pub fn noised_after(&self, picture: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        self.noised(picture, noise, self.calls.get(index).map_or(Level::CLEAN, |call| call.to))
    }

    fn noised(&self, picture: &Tensor, noise: &Tensor, level: Level) -> Result<Tensor> {
        let (picture, noise) = (wide(picture)?, wide(noise)?);
        Ok(match self.keeps_variance {
            true => ((picture * level.a)? + (noise * level.s)?)?,
            false => (picture + (noise * level.sigma())?)?,
        })
    }

    /// What the net is shown for `sample` at call `index`.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn net_input(&self, sample: &Tensor, index: usize) -> Result<Tensor> {
        match self.calls.get(index) {
            Some(call) if !self.keeps_variance => Ok((sample * call.from.a)?),
            _ => Ok(sample.clone()),
        }
    }

    /// The fresh noise that [`Self::step`] wants for call `index`, if any.
    pub fn fresh(&self, index: usize) -> Option<Fresh> {
        (index < self.calls.len()).then(|| self.solver.fresh(index, index + 1 == self.calls.len()))?
    }

    /// From `sample` before call `index` and the net's `output` to the sample after it. `noise` is needed where
    /// [`Self::fresh`] says so. Computed, and given back, in the widest numbers that the device has.
    ///
    /// # Errors
    /// If shapes differ.
    pub fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, noise: Option<&Tensor>) -> Result<Stepped> {
        let (output, sample) = (wide(output)?, wide(sample)?);
        let noise = noise.map(wide).transpose()?;
        let Some(call) = self.calls.get(index).copied() else {
            return Ok(Stepped { predicted: sample.clone(), sample });
        };
        let Level { a, s } = call.from;
        let kept = if self.keeps_variance { sample.clone() } else { (&sample * a)? };
        let unclipped = match self.prediction {
            Prediction::Epsilon => ((&kept - (&output * s)?)? / a)?,
            Prediction::Velocity => ((&kept * a)? - (&output * s)?)?,
            Prediction::Sample => output.clone(),
        };
        let predicted = match self.clips_to {
            Some(most) => unclipped.clamp(-most, most)?,
            None => unclipped.clone(),
        };
        let moment = Moment {
            call,
            index,
            is_last: index + 1 == self.calls.len(),
            sample: &sample,
            output: &output,
            predicted: &predicted,
            unclipped: &unclipped,
            noise: noise.as_ref(),
        };
        Ok(Stepped { sample: self.solver.step(&moment)?, predicted })
    }
}

/// Everything that a solver is told after one call of the net. Tensors are wide.
pub(super) struct Moment<'a> {
    pub(super) call: Call,
    pub(super) index: usize,
    pub(super) is_last: bool,
    pub(super) sample: &'a Tensor,
    /// What the net said.
    pub(super) output: &'a Tensor,
    /// The clean sample that follows from it.
    pub(super) predicted: &'a Tensor,
    /// The same before it was clipped.
    pub(super) unclipped: &'a Tensor,
    pub(super) noise: Option<&'a Tensor>,
}

impl Moment<'_> {
    /// `sample` with fresh noise of strength `scale`.
    pub(super) fn with_noise(&self, sample: Tensor, scale: f64) -> Result<Tensor> {
        match self.noise {
            Some(noise) if scale > 0.0 => Ok((sample + (noise * scale)?)?),
            _ => Ok(sample),
        }
    }
}

/// In 64 bits, where the device has them.
fn wide(tensor: &Tensor) -> Result<Tensor> {
    let dtype = if matches!(tensor.device(), Device::Metal(_)) { DType::F32 } else { DType::F64 };
    Ok(tensor.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn predicted_samples_are_clipped_as_the_file_says() {
        let (yes, no) = (r#"{"clip_sample": true}"#, r#"{"clip_sample": false}"#);
        for (file, sampler, clips) in [
            ("{}", Sampler::Ddim, true),
            (no, Sampler::Ddim, false),
            ("{}", Sampler::Heun, false),
            (yes, Sampler::Heun, true),
            (yes, Sampler::Lcm, true),
            // Their classes in diffusers do not look at it.
            (yes, Sampler::Tcd, false),
            (yes, Sampler::Pndm, false),
        ] {
            let mut walk = Walk::new(Method::from(sampler), &SchedulerConfig::parse(file).unwrap(), 10);
            let sample = Tensor::new(&[5000f32, -3.0], &Device::Cpu).unwrap();
            let (output, noise) = (sample.zeros_like().unwrap(), sample.zeros_like().unwrap());
            let (to, stepped) = (walk.calls[0].to.a, walk.step(&output, 0, &sample, Some(&noise)).unwrap());
            let largest = |tensor: &Tensor| tensor.max_all().unwrap().to_scalar::<f64>().unwrap();
            assert_eq!(largest(&stepped.predicted) == 1.0, clips, "{sampler:?} {file}");
            if sampler == Sampler::Ddim && clips {
                // The noise is what the net says it is, and it says that there is none.
                assert!((largest(&stepped.sample) - to).abs() < 1e-9);
            }
        }
        let config = SchedulerConfig::parse(r#"{"clip_sample": true, "clip_sample_range": 2.5}"#).unwrap();
        assert_eq!(config.clips_to(Sampler::Ddim), Some(2.5));
    }
}
