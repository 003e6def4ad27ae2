//! The Stable Diffusion family in diffusers layout: denoising net and autoencoder, built from their `config.json`.

mod attention;
mod autoencoder;
mod blocks;
mod config;
mod controlnet;
mod encoder;
mod tiles;
mod time;
mod tiny;
mod trunk;
mod unet;
mod vae;

pub use autoencoder::{Autoencoder, Source};
pub use config::{PerBlock, UnetConfig, VaeConfig};
pub use controlnet::{ControlNet, Residuals};
pub use encoder::{Encoder, EncoderConfig};
pub use tiles::Codec;
pub use time::{AddedText, Conditions, TimeIds};
pub use tiny::TinyVae;
pub use unet::Unet;
pub use vae::Vae;

use super::error::{ModelError, Result};
use super::files::ModelFiles;
use crate::base::geom::Extent;

/// The size of the pictures that a model in diffusers layout was trained on; `None` if its files do not say.
pub fn own_extent(files: &ModelFiles) -> Option<Extent> {
    let unet: UnetConfig = files.sub("unet")?.read_json("config.json").ok()?;
    let vae: VaeConfig = files.sub("vae")?.read_json("config.json").ok()?;
    let factor = 1usize.checked_shl(u32::try_from(vae.block_out_channels.len()).ok()?.checked_sub(1)?)?;
    let [height, width] =
        unet.trained_on()?.map(|side| side.checked_mul(factor).and_then(|side| u32::try_from(side).ok()));
    Some(Extent::new(width?, height?))
}

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// A setting that our nets do not have.
fn unsupported(files: &ModelFiles, key: &str, value: &str) -> ModelError {
    let reason = format!("Maquette cannot run a model with \"{key}\": {value}");
    ModelError::BadFile { path: files.path_of("config.json"), reason }
}

/// Refuses a `config.json` that sets one of `keys` to anything but its harmless value, by name.
fn refuse(files: &ModelFiles, keys: &[(&str, &str)]) -> Result<()> {
    let raw: serde_json::Value = files.read_json("config.json")?;
    for (key, harmless) in keys {
        let Some(value) = raw.get(key).filter(|value| !value.is_null() && **value != serde_json::Value::Bool(false))
        else {
            continue;
        };
        // A whole number may be written with a point.
        let text = match (value.as_str(), value.as_f64()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(number)) => number.to_string(),
            (None, None) => value.to_string(),
        };
        if text != *harmless {
            return Err(unsupported(files, key, &text));
        }
    }
    Ok(())
}

/// Errors while loading are about a file: they say so.
fn explain(files: &ModelFiles, error: ModelError) -> ModelError {
    match error {
        ModelError::Tensor(error) => ModelError::BadFile {
            path: files.path_of(WEIGHTS),
            reason: format!("{error}; the configuration does not fit the weights"),
        },
        ModelError::BadInput(reason) => ModelError::BadFile { path: files.path_of("config.json"), reason },
        other => other,
    }
}
