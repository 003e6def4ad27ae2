//! The tensors of a model as the nets ask for them: by their own names, level by level, each converted as it is read, with a pause for
//! the task before each.

use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor};

use super::error::Result;
use super::files::{Naming, Weights};
use super::layers;
use crate::base::task::TaskCx;

/// Tensors below a name. Cheap to clone.
#[derive(Clone)]
pub struct Tensors<'a> {
    weights: Weights,
    naming: Arc<Naming>,
    /// The levels above, each with a dot behind it.
    prefix: String,
    dtype: DType,
    device: Device,
    cx: &'a TaskCx<'a>,
}

impl<'a> Tensors<'a> {
    /// All tensors of `weights`, for a net that calls them by `naming`'s names. They come as `dtype` on `device`.
    pub fn new(weights: &Weights, naming: Naming, dtype: DType, device: &Device, cx: &'a TaskCx<'a>) -> Self {
        let (weights, naming) = (weights.clone(), Arc::new(naming));
        Self { weights, naming, prefix: String::new(), dtype, device: device.clone(), cx }
    }

    /// Those one level further down.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// If it is missing, of another shape, or not finite; if the task is cancelled.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.read(Some(&shape.into()), name)
    }

    /// The tensor `name`, of whatever shape.
    ///
    /// # Errors
    /// If it is missing or not finite; if the task is cancelled.
    pub fn get_unchecked(&self, name: &str) -> Result<Tensor> {
        self.read(None, name)
    }

    fn read(&self, shape: Option<&Shape>, name: &str) -> Result<Tensor> {
        let place = (self.naming)(&self.weights, &format!("{}{name}", self.prefix));
        self.weights.tensor(&place, shape, self.dtype, &self.device, &|| self.pause())
    }

    /// Whether the tensor `name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.weights.has(&(self.naming)(&self.weights, &format!("{}{name}", self.prefix)).name)
    }

    /// Lets more urgent work run.
    ///
    /// # Errors
    /// If the task is cancelled.
    pub fn pause(&self) -> Result<()> {
        layers::pause(self.cx)
    }

    /// The name of this level.
    pub fn name(&self) -> &str {
        self.prefix.strip_suffix('.').unwrap_or_default()
    }

    /// What numbers are converted to.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where they are put.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
