//! Whether nets can be built of their files: every configuration is read and every tensor looked up with its shape, by the code that loads
//! them, but no number is read and no memory taken. Numbers that are not finite are found by loading alone.

use std::path::Path;

use candle_core::{DType, Device};

use super::clip::{ClipModel, TextTower};
use super::diffusion::{Autoencoder, ControlNet, Source, TinyVae, Unet};
use super::error::{ModelError, Result};
use super::files::ModelFiles;
use super::schedulers::SchedulerConfig;
use crate::base::task::TaskCx;

const NET_WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
const TEXT_WEIGHTS: &str = "model.safetensors";
/// One that no layer is packed for: its zeros stay as small as they are.
const DTYPE: DType = DType::BF16;
const DEVICE: Device = Device::Cpu;

/// A part of a model in its own folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// The denoising net.
    Unet,
    /// An autoencoder.
    Autoencoder,
    /// A text tower alone.
    TextTower,
    /// A ControlNet.
    ControlNet,
    /// Both towers of a CLIP or SigLIP.
    Clip,
}

/// Builds `net` of the folder `files` in thought.
///
/// # Errors
/// Why it cannot be built.
pub fn rehearse(net: Net, files: &ModelFiles) -> Result<()> {
    let cx = TaskCx::detached();
    match net {
        Net::Unet => Unet::load_in(&files.hollow(NET_WEIGHTS)?, DTYPE, &DEVICE, &cx).map(drop),
        Net::Autoencoder => Autoencoder::load(&files.hollow(NET_WEIGHTS)?, DTYPE, &DEVICE, &cx)?.read_all(&cx),
        Net::TextTower => TextTower::load_folder(&files.hollow(TEXT_WEIGHTS)?, DTYPE, &DEVICE, &cx).map(drop),
        Net::ControlNet => ControlNet::load_in(&files.hollow(NET_WEIGHTS)?, DTYPE, &DEVICE, &cx).map(drop),
        Net::Clip => ClipModel::rehearse(files),
    }
}

/// The same for an autoencoder in a single file.
///
/// # Errors
/// Why it cannot be built.
pub fn rehearse_autoencoder(path: &Path) -> Result<()> {
    let (source, cx) = (Source::at(path)?, TaskCx::detached());
    match source.decoder() {
        None => rehearse(Net::Autoencoder, source.files()),
        // So small that it may as well be read, with its encoder.
        Some(decoder) => TinyVae::load_file(source.files(), decoder, DTYPE, &DEVICE, &cx).map(drop),
    }
}

/// Whether the folder `files` asks for a sampler that there is.
///
/// # Errors
/// If not, or if its configuration cannot be read.
pub fn rehearse_sampler(files: &ModelFiles) -> Result<()> {
    SchedulerConfig::load(files)?.own_sampler().map(drop).map_err(|error| match error {
        ModelError::BadInput(reason) => ModelError::BadFile { path: files.path_of("scheduler_config.json"), reason },
        other => other,
    })
}
