//! L2: nets in candle, tensors in and tensors out, and what it takes to read them from disk.
//!
//! A net's shape comes from the model's own `config.json`, never from a list of known models. Nets call
//! `TaskCx::checkpoint` once per block. Knows nothing of jobs, prompts or pictures' meaning.

pub mod adapters;
pub mod brownian;
pub mod clip;
pub mod diffusion;
pub mod embedding;
pub mod error;
pub mod files;
pub mod hook;
pub mod judge;
pub mod kernels;
pub mod layers;
pub mod part;
pub mod philox;
pub mod preprocess;
pub mod rehearsal;
pub mod resample;
pub mod rng;
pub mod schedulers;
pub mod tensors;
pub mod tokenizer;

pub use error::{ModelError, Result};
