//! Samplers in plain 64-bit arithmetic, equal to diffusers' schedulers built from the same `scheduler_config.json`.
//!
//! A [`Walk`] is one run from noise to picture. It knows no nets: it is given the net's output and gives the next sample.

mod config;
mod walk;

pub use config::{BetaSchedule, FinalSigma, Prediction, SchedulerConfig, Spacing};
pub use walk::{Stepped, Walk};
