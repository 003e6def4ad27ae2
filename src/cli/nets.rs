//! Nets beside the model's own on the command line: another autoencoder, ControlNets.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::session::Failure;
use crate::job::nets::{ControlSpec, OtherNets};
use crate::store::pictures;

#[derive(Debug, ClapArgs)]
pub(super) struct NetArgs {
    /// Autoencoder in place of the model's own: a folder in diffusers layout (AutoencoderKL or AutoencoderTiny), or
    /// taesd_decoder.safetensors
    #[arg(long)]
    vae: Option<String>,
    /// ControlNet: its folder in diffusers layout; may be repeated
    #[arg(long, requires = "control_image")]
    control: Vec<String>,
    /// Picture that a ControlNet steers by (edges, depth, a pose, as it was trained on); one for each --control
    #[arg(long, requires = "control")]
    control_image: Vec<PathBuf>,
    /// How strongly a ControlNet steers; one for all or one for each (default: 1)
    #[arg(long, requires = "control")]
    control_scale: Vec<f32>,
    /// Share of the steps after which a ControlNet begins, 0 to 1; one for all or one for each (default: 0)
    #[arg(long, requires = "control")]
    control_start: Vec<f32>,
    /// Share of the steps after which a ControlNet ends, 0 to 1; one for all or one for each (default: 1)
    #[arg(long, requires = "control")]
    control_end: Vec<f32>,
}

impl NetArgs {
    /// The nets, with the pictures read.
    ///
    /// # Errors
    /// If numbers of things do not match, or a picture cannot be read.
    pub(super) fn read(&self) -> Result<OtherNets, Failure> {
        let count = self.control.len();
        if self.control_image.len() != count {
            return Err(Failure::BadInput(format!(
                "there are {count} --control and {} --control-image; give each ControlNet its picture",
                self.control_image.len()
            )));
        }
        let scales = for_each("--control-scale", &self.control_scale, 1.0, count)?;
        let starts = for_each("--control-start", &self.control_start, 0.0, count)?;
        let ends = for_each("--control-end", &self.control_end, 1.0, count)?;
        let mut controls = Vec::new();
        let numbers = scales.into_iter().zip(starts).zip(ends);
        for ((model, image), ((scale, start), end)) in self.control.iter().zip(&self.control_image).zip(numbers) {
            controls.push(ControlSpec {
                model: model.as_str().into(),
                picture: pictures::read(image)?,
                scale,
                start,
                end,
            });
        }
        Ok(OtherNets { vae: self.vae.as_deref().map(Into::into), controls })
    }
}

/// `count` numbers: those given, the one given for all, or the usual one.
fn for_each(option: &str, given: &[f32], usual: f32, count: usize) -> Result<Vec<f32>, Failure> {
    match given {
        [] => Ok(vec![usual; count]),
        [one] => Ok(vec![*one; count]),
        all if all.len() == count => Ok(all.to_vec()),
        all => Err(Failure::BadInput(format!(
            "there are {count} --control and {} {option}; give one for all or one for each",
            all.len()
        ))),
    }
}
