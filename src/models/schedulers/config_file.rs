//! Reading `scheduler_config.json`, and refusing what is not understood.

use super::config::SchedulerConfig;
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;

const FILE: &str = "scheduler_config.json";

/// Settings that must be absent or null, or have this value.
const ONLY: [(&str, &str); 12] = [
    ("use_beta_sigmas", "false"),
    ("use_lu_lambdas", "false"),
    ("use_flow_sigmas", "false"),
    ("use_dynamic_shifting", "false"),
    ("thresholding", "false"),
    ("shift_terminal", "false"),
    ("solver_p", "false"),
    ("variance_type", "fixed_small"),
    ("interpolation_type", "linear"),
    ("timestep_type", "discrete"),
    ("predict_x0", "true"),
    ("time_shift_type", "exponential"),
];

impl SchedulerConfig {
    /// Reads a `scheduler/` folder.
    ///
    /// # Errors
    /// If the file is missing, damaged, or asks for something that is not here.
    pub fn load(files: &ModelFiles) -> Result<Self> {
        let bad = |reason: String| ModelError::BadFile { path: files.path_of(FILE), reason };
        Self::parse(&String::from_utf8_lossy(&files.read(FILE)?)).map_err(bad)
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        // Python writes infinities, which JSON does not know; they stand for "no limit".
        let text = text.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
        let raw: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        // A null means the default, as a missing field does.
        let known: serde_json::Map<_, _> = match raw {
            serde_json::Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => return Err("it is not a JSON object".to_owned()),
        };
        for (key, fine) in ONLY {
            let Some(value) = known.get(key) else { continue };
            if value.as_str().map_or_else(|| value.to_string(), str::to_owned) != fine {
                return Err(format!("Maquette cannot sample with \"{key}\": {value}"));
            }
        }
        let config: Self =
            serde_json::from_value(serde_json::Value::Object(known)).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let is_variance = |beta: &f64| (0.0..1.0).contains(beta);
        let mut betas = self.beta_start.iter().chain(&self.beta_end).chain(self.trained_betas.iter().flatten());
        let steps = 1..=1_000_000;
        let is_whole = self.trained_betas.as_ref().is_none_or(|betas| betas.len() == self.num_train_timesteps);
        if !steps.contains(&self.num_train_timesteps) || !betas.all(is_variance) || !is_whole {
            return Err("num_train_timesteps, beta_start, beta_end or trained_betas is out of range".to_owned());
        }
        if !(1..=3).contains(&self.solver_order) {
            return Err(format!("there is no solver of order {}", self.solver_order));
        }
        let is_sigma = |sigma: &f64| *sigma > 0.0 && sigma.is_finite();
        if !self.sigma_min.iter().chain(&self.sigma_max).all(is_sigma) {
            return Err("sigma_min or sigma_max is not a positive number".to_owned());
        }
        if !(1..=self.num_train_timesteps).contains(&self.original_inference_steps) && self.is_distilled() {
            return Err("original_inference_steps is larger than num_train_timesteps".to_owned());
        }
        Ok(())
    }

    fn is_distilled(&self) -> bool {
        matches!(self.class_name.as_deref(), Some("LCMScheduler" | "TCDScheduler"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::sampling::Sampler;

    #[test]
    fn own_samplers_are_recognised() {
        let own = |text: &str| SchedulerConfig::parse(text).and_then(|c| c.own_sampler().map_err(|e| e.to_string()));
        assert_eq!(own("{}"), Ok(Sampler::Euler));
        assert_eq!(own(r#"{"_class_name": "PNDMScheduler", "thresholding": false}"#), Ok(Sampler::Pndm));
        let dpm =
            r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "variance_type": null"#;
        assert_eq!(own(&format!("{dpm}}}")), Ok(Sampler::DpmPlusPlus2M));
        assert_eq!(own(&format!(r#"{dpm}, "algorithm_type": "sde-dpmsolver++"}}"#)), Ok(Sampler::DpmPlusPlus2MSde));
        for (text, part) in [
            (r#"{"_class_name": "DDPMScheduler"}"#, "DDPMScheduler"),
            (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}"#, "dpmsolver"),
            (r#"{"thresholding": true}"#, "thresholding"),
            (r#"{"predict_x0": false}"#, "predict_x0"),
            (r#"{"interpolation_type": "log_linear"}"#, "log_linear"),
            (r#"{"beta_end": 2.0}"#, "out of range"),
            (r#"{"trained_betas": [0.1]}"#, "out of range"),
            ("[]", "not a JSON object"),
            ("{", "EOF"),
        ] {
            assert!(own(text).is_err_and(|error| error.contains(part)), "{text}");
        }
    }
}
