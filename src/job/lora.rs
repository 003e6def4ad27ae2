//! Which LoRA files and learned words a picture is made with, and how strongly.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One LoRA file at work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraUse {
    /// The file, or a folder with one.
    pub path: PathBuf,
    /// SHA-256 of its weights, in hexadecimal: a file that has changed since is refused.
    pub sha256: String,
    /// How much of it the text towers get; 1 is what it was trained for.
    pub text_strength: f32,
    /// How much of it the denoising net gets.
    pub unet_strength: f32,
}

/// A learned word (a textual inversion) that prompts may name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingUse {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal: a file that has changed since is refused.
    pub sha256: String,
}
