//! Any autoencoder between pictures and latents: the large one or the tiny one.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::tiny::TinyVae;
use super::vae::Vae;
use super::{WEIGHTS, unsupported};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::files::recognise::What;
use crate::models::files::{ModelFiles, checkpoint, is_weights, recognise, why_not};

const CONFIG: &str = "config.json";

/// An autoencoder.
pub enum Autoencoder {
    /// diffusers' `AutoencoderKL`.
    Kl(Box<Vae>),
    /// diffusers' `AutoencoderTiny`.
    Tiny(TinyVae),
}

#[derive(Deserialize)]
struct Class {
    #[serde(rename = "_class_name")]
    name: Option<String>,
}

/// Where an autoencoder's files are.
pub struct Source {
    files: ModelFiles,
    /// The tiny autoencoder's decoder in its author's own layout, if it is that.
    decoder: Option<String>,
    /// Whether nothing says by what latents are scaled.
    is_unscaled: bool,
}

impl Source {
    /// What a person means by `path`: a folder in diffusers layout, one of a whole model with such a folder `vae`, one with
    /// `taesd_decoder.safetensors`, or such a file itself; or a single file of a large autoencoder, alone or in a whole model, whatever
    /// it calls its tensors.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn at(path: &Path) -> Result<Self> {
        let bad = |reason: &str| ModelError::BadFile { path: path.to_owned(), reason: reason.to_owned() };
        if path.is_file() {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !is_weights(&name) {
                return Err(bad(why_not(path)));
            }
            let files = ModelFiles::Folder(folder.to_owned());
            let (what, weights) = recognise::open(&files, &name)?;
            return match what {
                What::Vae | What::Checkpoint(_) => {
                    let files = checkpoint::autoencoder(path, &weights)?;
                    Ok(Self { files, decoder: None, is_unscaled: true })
                }
                _ => Ok(Self { files, decoder: Some(name), is_unscaled: false }),
            };
        }
        if !path.is_dir() {
            return Err(bad("there is no such folder or file; name an autoencoder"));
        }
        let files = ModelFiles::Folder(path.to_owned());
        let inner = files.sub("vae").filter(|inner| inner.has(CONFIG));
        match inner.or_else(|| files.has(CONFIG).then(|| files.clone())) {
            Some(files) => Ok(Self { files, decoder: None, is_unscaled: false }),
            None => {
                let decoder = TinyVae::decoder_file(&files);
                let decoder = decoder.ok_or_else(|| bad("this folder has no config.json, so it is no autoencoder"))?;
                Ok(Self { files, decoder: Some(decoder), is_unscaled: false })
            }
        }
    }

    /// The files that its pictures depend on, by their names in [`Self::files`].
    pub fn hashed(&self) -> Vec<String> {
        match &self.decoder {
            None => vec![CONFIG.to_owned(), WEIGHTS.to_owned()],
            Some(decoder) => vec![decoder.clone(), TinyVae::encoder_file(decoder)],
        }
    }

    /// The tiny autoencoder's decoder in its author's own layout, if it is that.
    pub(in crate::models) fn decoder(&self) -> Option<&str> {
        self.decoder.as_deref()
    }

    /// The folder.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }
}

impl Autoencoder {
    /// Reads a folder in diffusers layout.
    ///
    /// # Errors
    /// If a file is missing or damaged, or it is an autoencoder of another kind; if the task is cancelled.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        let Class { name } = files.read_json(CONFIG)?;
        match name.as_deref() {
            None | Some("AutoencoderKL") => Ok(Self::Kl(Box::new(Vae::load_in(files, dtype, device, cx)?))),
            Some("AutoencoderTiny") => Ok(Self::Tiny(TinyVae::load(files, dtype, device, cx)?)),
            Some(other) => Err(unsupported(files, "_class_name", other)),
        }
    }

    /// Reads what was found by its path. A single file does not say by what its latents are scaled: then it is as in `own`, in whose
    /// place it is used.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_from(source: &Source, own: &Self, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        match &source.decoder {
            None => match (Self::load(&source.files, dtype, device, cx)?, own) {
                (Self::Kl(vae), Self::Kl(own)) if source.is_unscaled => Ok(Self::Kl(Box::new(vae.scaled_like(own)))),
                (vae, _) => Ok(vae),
            },
            Some(decoder) => Ok(Self::Tiny(TinyVae::load_file(&source.files, decoder, dtype, device, cx)?)),
        }
    }

    /// Reads what was put off until it is needed.
    ///
    /// # Errors
    /// If it does not fit the configuration, or the task is cancelled.
    pub fn read_all(&self, cx: &TaskCx<'_>) -> Result<()> {
        match self {
            Self::Kl(vae) => vae.read_encoder(cx),
            Self::Tiny(_) => Ok(()),
        }
    }

    /// Gives the weights back until they are needed again; those of a tiny autoencoder are too few.
    pub fn release(&self) {
        if let Self::Kl(vae) = self {
            vae.release();
        }
    }

    /// Pixels of a picture's side for each latent.
    pub fn factor(&self) -> usize {
        match self {
            Self::Kl(vae) => vae.factor(),
            Self::Tiny(tiny) => tiny.factor(),
        }
    }

    /// Channels of latents.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(vae) => vae.latent_channels(),
            Self::Tiny(tiny) => tiny.latent_channels(),
        }
    }

    /// As [`Vae::encode_mean`].
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn encode_mean(&self, pictures: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        match self {
            Self::Kl(vae) => vae.encode_mean(pictures, cx),
            Self::Tiny(tiny) => tiny.encode(pictures, cx),
        }
    }

    /// As [`Vae::decode`].
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn decode(&self, latents: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        match self {
            Self::Kl(vae) => vae.decode(latents, cx),
            Self::Tiny(tiny) => tiny.decode(latents, cx),
        }
    }
}
