//! Where and how the engine computes. Set once at the start; no result depends on the thread count.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// A GPU that this build knows and that works, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// An Apple GPU.
    Metal,
}

/// How wide numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits on the CPU, 16 on a GPU.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits, wide exponent; on the CPU, where it has such instructions, in linear layers and attention, with
    /// tile registers in convolutions too, and 32 bits elsewhere.
    Bf16,
    /// 16 bits.
    F16,
}

/// Where and how the engine computes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EngineOptions {
    /// Threads that compute; `None` for one per core.
    pub threads: Option<usize>,
    /// Where tensors live.
    pub device: DeviceChoice,
    /// How wide numbers are.
    pub precision: Precision,
    /// Megabytes (of 2^20 bytes) that a model's autoencoder may need before it works in tiles; a third of the machine's memory if
    /// `None`.
    #[serde(default)]
    pub vae_memory: Option<u64>,
    /// Whether parts of a diffusion model are given back as soon as a job needs them no more, and read again by the next job.
    #[serde(default)]
    pub frees_parts: bool,
    /// The user's presets, whose `models.toml` adds to the shipped one.
    pub presets: Option<PathBuf>,
    /// Whether the threads that compute give way to a window's.
    pub yields_to_window: bool,
}
