//! Samplers in plain 64-bit arithmetic, equal to diffusers' schedulers built from the same `scheduler_config.json`.
//!
//! A [`Walk`] is one run from noise to picture. It knows no nets: it is given the net's output and gives the next sample.
//! `config` is what a model says (`config_file` reads it), `level` what noise levels are, `visits` which of them are visited, `solver` and the files
//! beside it (one a family) how to get from one to the next.

mod config;
mod config_file;
mod consistency;
mod ddim;
mod dpm_multistep;
mod dpm_sde;
mod euler;
mod level;
mod noise;
mod pndm;
mod solver;
mod unipc;
mod visits;
mod walk;

pub use config::{BetaSchedule, FinalSigma, Prediction, SchedulerConfig, SolverType, Spacing};
pub use noise::Noise;
pub use walk::{Fresh, Method, Stepped, Walk};
