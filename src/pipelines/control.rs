//! ControlNets in the sampling loop: which picture each is shown, and when it has its say.

use std::rc::Rc;

use candle_core::{DType, Device, Tensor};

use super::beside::Net;
use super::compose::{crop, fitted};
use super::denoiser::Call;
use super::inpaint::{Inpainting, as_written};
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::base::task::TaskCx;
use crate::job::nets::ControlSpec;
use crate::models::diffusion::{Conditions, ControlNet, Residuals, UnetConfig};
use crate::models::error::{ModelError, Result};

/// A ControlNet that has seen its picture.
pub(super) struct Control {
    net: Rc<Net<ControlNet>>,
    hint: Tensor,
    scale: f64,
    start: f64,
    end: f64,
}

/// What the pictures are made for.
pub(super) struct Stage<'a> {
    pub(super) unet: &'a UnetConfig,
    pub(super) size: Extent,
    /// Of the latents: channels, height, width.
    pub(super) shape: [usize; 3],
    pub(super) inpainting: Option<&'a Inpainting<'a>>,
    pub(super) dtype: DType,
    pub(super) device: &'a Device,
}

/// Shows each of `nets` the picture of its spec.
///
/// # Errors
/// If one does not fit the model, or a number makes no sense; if the task is cancelled.
pub(super) fn prepare(
    specs: &[ControlSpec],
    nets: &[Rc<Net<ControlNet>>],
    stage: &Stage<'_>,
    cx: &TaskCx<'_>,
) -> Result<Vec<Control>> {
    specs.iter().zip(nets).map(|(spec, net)| Control::prepare(spec, net.clone(), stage, cx)).collect()
}

impl Control {
    /// Shows `net` the picture of `spec`.
    ///
    /// # Errors
    /// If it does not fit the model, or a number makes no sense; if the task is cancelled.
    fn prepare(spec: &ControlSpec, net: Rc<Net<ControlNet>>, stage: &Stage<'_>, cx: &TaskCx<'_>) -> Result<Self> {
        let bad = |text: String| Err(ModelError::BadInput(text));
        if !spec.scale.is_finite() {
            return bad("the ControlNet's scale is not a number; choose one from 0 to 2".to_owned());
        }
        if !(0.0..=1.0).contains(&spec.start) || !(0.0..=1.0).contains(&spec.end) || spec.start >= spec.end {
            return bad(
                "a ControlNet acts from a start to a later end, both shares of the steps from 0 to 1".to_owned()
            );
        }
        net.net.check_fits(stage.unet)?;
        let picture = match stage.inpainting {
            Some(inpainting) if inpainting.canvas() == spec.picture.extent() => {
                crop(&spec.picture, inpainting.bounds())
            }
            _ => spec.picture.clone(),
        };
        let seen = unit_tensor(&fitted(&picture, stage.size), stage.dtype, stage.device)?;
        let hint = net.net.hint(&seen, cx)?;
        let (_, _, height, width) = hint.dims4()?;
        if [height, width] != stage.shape[1..] {
            return bad(format!(
                "this ControlNet makes {height}x{width} of the picture where the model's latents are {}x{}; use one that was made \
                 for this model's family",
                stage.shape[1], stage.shape[2]
            ));
        }
        let [scale, start, end] = [spec.scale, spec.start, spec.end].map(as_written);
        Ok(Self { net, hint, scale, start, end })
    }

    /// Whether it has a say in call number `call` of `calls` of the denoising net (diffusers' `controlnet_keep`).
    fn is_on(&self, call: usize, calls: usize) -> bool {
        let share = |call: usize| call as f64 / calls as f64;
        share(call) >= self.start && share(call + 1) <= self.end && self.scale != 0.0
    }
}

/// What all of them say about latents (batch, channels, h, w) in call number `call` of `calls`; `None` if none has a say.
pub(super) fn residuals(
    controls: &[Control],
    latents: &Tensor,
    timestep: f64,
    conditions: &Conditions,
    (call, calls): Call,
    cx: &TaskCx<'_>,
) -> Result<Option<Residuals>> {
    let on = controls.iter().filter(|control| control.is_on(call, calls));
    let said: Result<Vec<Residuals>> = on
        .map(|control| control.net.net.forward(latents, timestep, conditions, &control.hint, control.scale, cx))
        .collect();
    Residuals::sum(&said?)
}

/// (1, 3, height, width) in 0..=1.
fn unit_tensor(picture: &Picture, dtype: DType, device: &Device) -> Result<Tensor> {
    let plane = |channel: usize| picture.rgb().iter().skip(channel).step_by(3).map(|v| f32::from(*v) / 255.0);
    let values: Vec<f32> = plane(0).chain(plane(1)).chain(plane(2)).collect();
    let shape = (1, 3, picture.extent().height as usize, picture.extent().width as usize);
    Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
}
