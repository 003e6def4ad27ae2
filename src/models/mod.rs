//! L2: nets in candle, tensors in and tensors out, and what it takes to read them from disk.
//!
//! A net's shape comes from the model's own `config.json`, never from a list of known models. Nets call
//! `TaskCx::checkpoint` once per block. Knows nothing of jobs, prompts or pictures' meaning.

pub mod error;
pub mod files;

pub use error::{ModelError, Result};
