//! L1: what can be asked of the engine and what comes back, as plain values.
//!
//! Invariant: a [`JobSpec`] alone determines the result. The same value goes to the worker, into picture metadata and to
//! the command line. Knows nothing of nets, threads or windows.

pub mod annotation;
pub mod error;
pub mod latents;
pub mod lora;
pub mod model;
pub mod output;
pub mod sampling;
pub mod spec;

pub use error::JobError;
pub use model::ModelRef;
pub use output::JobOutput;
pub use spec::JobSpec;
