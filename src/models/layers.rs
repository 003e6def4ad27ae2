//! The layers that a LoRA can change while a net stays loaded: linear layers and convolutions of 1x1 and 3x3, each with a slot for
//! what is added to its output.
//!
//! Invariant: with empty slots the numbers are those of the layer alone, bit for bit, at no cost.

use std::cell::RefCell;
use std::rc::Rc;

use crate::models::tensors::Tensors;
use candle_core::{DType, Device, Tensor};

use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::kernels::{self, Geometry};

/// What is added to a layer's output, and how strongly.
type Slot = Rc<RefCell<Vec<(f64, Rc<Branch>)>>>;

/// A way beside a layer, from its input to its output, made of fewer numbers than the layer has.
#[derive(Debug)]
pub struct Branch(Vec<Step>);

#[derive(Debug)]
enum Step {
    Linear(kernels::Linear),
    Conv1x1(kernels::Conv1x1),
    Conv3x3(kernels::Conv3x3),
}

impl Branch {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let mut xs = xs.clone();
        for step in &self.0 {
            xs = match step {
                Step::Linear(linear) => linear.forward(&xs)?,
                Step::Conv1x1(conv) => conv.forward(&xs)?,
                Step::Conv3x3(conv) => conv.forward(&xs)?,
            };
        }
        Ok(xs)
    }
}

/// The factors of what a LoRA adds to a layer's weights: up x down, or up x middle x down.
#[derive(Debug, Clone)]
pub struct Factors {
    /// (rank, inputs), or (rank, inputs, k, k).
    pub down: Tensor,
    /// (rank, rank, k, k) between them; then the other two are 1x1.
    pub middle: Option<Tensor>,
    /// (outputs, rank), or (outputs, rank, 1, 1).
    pub up: Tensor,
}

/// What a layer computes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Linear,
    Conv1x1,
    Conv3x3(Geometry),
}

/// The door to one layer of a loaded net.
#[derive(Debug, Clone)]
pub struct Adaptable {
    path: String,
    kind: Kind,
    inputs: usize,
    outputs: usize,
    dtype: DType,
    device: Device,
    slot: Slot,
}

impl Adaptable {
    /// The layer's name in the net, as diffusers and transformers write it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// (outputs, inputs), or (outputs, inputs, 3, 3): the shape of the layer's weights.
    pub fn shape(&self) -> Vec<usize> {
        match self.kind {
            Kind::Linear | Kind::Conv1x1 => vec![self.outputs, self.inputs],
            Kind::Conv3x3(_) => vec![self.outputs, self.inputs, 3, 3],
        }
    }

    /// The branch that adds the product of `factors` to the layer's weights.
    ///
    /// # Errors
    /// If they do not fit the layer.
    pub fn low_rank(&self, factors: &Factors) -> Result<Branch> {
        let rank = factors.down.dims().first().copied().unwrap_or(0);
        let wide = match self.kind {
            Kind::Conv3x3(_) if factors.middle.is_none() => [3, 3],
            _ => [1, 1],
        };
        let down = self.fitted("down", &factors.down, [rank, self.inputs], wide)?;
        let up = self.fitted("up", &factors.up, [self.outputs, rank], [1, 1])?;
        let conv1x1 =
            |weight: Tensor| Ok::<_, ModelError>(Step::Conv1x1(kernels::Conv1x1::new(&weight, None, Geometry::POINT)?));
        let linear = |weight: Tensor| -> Result<Step> {
            let (outputs, inputs, _, _) = weight.dims4()?;
            Ok(Step::Linear(kernels::Linear::new(&weight.reshape((outputs, inputs))?, None)?))
        };
        Ok(Branch(match (self.kind, &factors.middle) {
            (Kind::Linear, None) => vec![linear(down)?, linear(up)?],
            (Kind::Conv1x1, None) => vec![conv1x1(down)?, conv1x1(up)?],
            (Kind::Conv3x3(geometry), None) => {
                vec![Step::Conv3x3(kernels::Conv3x3::new(&down, None, geometry)?), conv1x1(up)?]
            }
            (Kind::Conv3x3(geometry), Some(middle)) => {
                let middle = self.fitted("middle", middle, [rank, rank], [3, 3])?;
                vec![conv1x1(down)?, Step::Conv3x3(kernels::Conv3x3::new(&middle, None, geometry)?), conv1x1(up)?]
            }
            (_, Some(_)) => return Err(self.misfit("middle", factors.middle.as_ref().unwrap_or(&factors.down))),
        }))
    }

    /// The branch that adds `weight`, of [`Self::shape`], to the layer's weights.
    ///
    /// # Errors
    /// If it does not fit the layer.
    pub fn full_rank(&self, weight: &Tensor) -> Result<Branch> {
        let sides = if matches!(self.kind, Kind::Conv3x3(_)) { [3, 3] } else { [1, 1] };
        let weight = self.fitted("weight", weight, [self.outputs, self.inputs], sides)?;
        Ok(Branch(vec![match self.kind {
            Kind::Linear => Step::Linear(kernels::Linear::new(&weight.reshape((self.outputs, self.inputs))?, None)?),
            Kind::Conv1x1 => Step::Conv1x1(kernels::Conv1x1::new(&weight, None, Geometry::POINT)?),
            Kind::Conv3x3(geometry) => Step::Conv3x3(kernels::Conv3x3::new(&weight, None, geometry)?),
        }]))
    }

    /// Adds `strength` times `branch` to the layer's output from now on.
    pub fn add(&self, strength: f64, branch: &Rc<Branch>) {
        self.slot.borrow_mut().push((strength, branch.clone()));
    }

    /// Leaves the layer alone again.
    pub fn clear(&self) {
        self.slot.borrow_mut().clear();
    }

    /// `weight` with four axes, of the layer's kind of numbers; a matrix is a 1x1 kernel.
    fn fitted(&self, name: &str, weight: &Tensor, sides: [usize; 2], kernel: [usize; 2]) -> Result<Tensor> {
        let wanted = [sides[0], sides[1], kernel[0], kernel[1]];
        let is_matrix = kernel == [1, 1] && weight.dims() == sides;
        if sides.contains(&0) || !(is_matrix || weight.dims() == wanted) {
            return Err(self.misfit(name, weight));
        }
        Ok(weight.reshape(&wanted)?.to_dtype(self.dtype)?.to_device(&self.device)?.contiguous()?)
    }

    fn misfit(&self, name: &str, weight: &Tensor) -> ModelError {
        ModelError::BadInput(format!(
            "its {name:?} part for the layer {} is {:?}, and that layer of the model is {:?}",
            self.path,
            weight.dims(),
            self.shape()
        ))
    }
}

thread_local! {
    /// The layers of the net that is being loaded, while one is.
    static LOADING: RefCell<Option<Vec<Adaptable>>> = const { RefCell::new(None) };
}

/// What `load` makes, and the doors to all layers of this module that it made, in that order.
///
/// # Errors
/// Those of `load`.
pub fn gather<T>(load: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Adaptable>)> {
    let outer = LOADING.replace(Some(Vec::new()));
    let loaded = load();
    let layers = LOADING.replace(outer).unwrap_or_default();
    Ok((loaded?, layers))
}

/// Lets more urgent work run while a net is being loaded; layers that it loads are its own.
///
/// # Errors
/// If the task is cancelled.
pub(super) fn pause(cx: &TaskCx<'_>) -> Result<()> {
    let ours = LOADING.take();
    let go_on = cx.checkpoint();
    LOADING.set(ours);
    Ok(go_on?)
}

fn register(kind: Kind, inputs: usize, outputs: usize, vb: &Tensors<'_>) -> Slot {
    let slot = Slot::default();
    LOADING.with_borrow_mut(|loading| {
        if let Some(layers) = loading {
            let (path, dtype, device) = (vb.name().to_owned(), vb.dtype(), vb.device().clone());
            layers.push(Adaptable { path, kind, inputs, outputs, dtype, device, slot: slot.clone() });
        }
    });
    slot
}

/// `out`, and what the branches in the slot make of the same input.
fn with_branches(out: Tensor, xs: &Tensor, slot: &Slot) -> Result<Tensor> {
    let mut out = out;
    for (strength, branch) in slot.borrow().iter() {
        out = (out + (branch.forward(xs)? * *strength)?)?;
    }
    Ok(out)
}

/// A linear layer.
#[derive(Debug)]
pub struct Linear {
    inner: kernels::Linear,
    slot: Slot,
}

impl Linear {
    /// A layer of these weights (outputs, inputs), which nothing can be added to.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        Ok(Self { inner: kernels::Linear::new(weight, bias)?, slot: Slot::default() })
    }

    /// (…, inputs) -> (…, outputs).
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward_in(xs, &TaskCx::detached())
    }

    /// As [`Self::forward`], with pauses for the task.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward_in(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        with_branches(self.inner.forward_in(xs, cx)?, xs, &self.slot)
    }
}

/// Reads `weight` (outputs, inputs) and `bias` (outputs).
///
/// # Errors
/// If a tensor is missing or of another shape.
pub fn linear(inputs: usize, outputs: usize, vb: Tensors<'_>) -> Result<Linear> {
    let slot = register(Kind::Linear, inputs, outputs, &vb);
    Ok(Linear { inner: kernels::Linear::load(inputs, outputs, &vb)?, slot })
}

/// Reads `weight` (outputs, inputs).
///
/// # Errors
/// If it is missing or of another shape.
pub fn linear_no_bias(inputs: usize, outputs: usize, vb: Tensors<'_>) -> Result<Linear> {
    let slot = register(Kind::Linear, inputs, outputs, &vb);
    Ok(Linear { inner: kernels::Linear::load_no_bias(inputs, outputs, &vb)?, slot })
}

/// A 1x1 convolution with bias.
#[derive(Debug)]
pub struct Conv1x1 {
    inner: kernels::Conv1x1,
    slot: Slot,
}

impl Conv1x1 {
    /// Reads `weight` (outputs, inputs, 1, 1) and `bias` (outputs).
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(inputs: usize, outputs: usize, vb: Tensors<'_>) -> Result<Self> {
        let slot = register(Kind::Conv1x1, inputs, outputs, &vb);
        Ok(Self { inner: kernels::Conv1x1::load(inputs, outputs, Geometry::POINT, &vb)?, slot })
    }

    /// (batch, inputs, h, w) -> (batch, outputs, h, w).
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward_in(xs, &TaskCx::detached())
    }

    /// As [`Self::forward`], with pauses for the task.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward_in(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        with_branches(self.inner.forward_in(xs, cx)?, xs, &self.slot)
    }
}

/// A 3x3 convolution with bias.
#[derive(Debug)]
pub struct Conv3x3 {
    inner: kernels::Conv3x3,
    slot: Slot,
}

impl Conv3x3 {
    /// Reads `weight` (outputs, inputs, 3, 3) and `bias` (outputs).
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(inputs: usize, outputs: usize, geometry: Geometry, vb: &Tensors<'_>) -> Result<Self> {
        let slot = register(Kind::Conv3x3(geometry), inputs, outputs, vb);
        Ok(Self { inner: kernels::Conv3x3::load(inputs, outputs, geometry, vb)?, slot })
    }

    /// (batch, inputs, h, w) -> (batch, outputs, h', w').
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward_in(xs, &TaskCx::detached())
    }

    /// As [`Self::forward`], with pauses for the task.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn forward_in(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        with_branches(self.inner.forward_in(xs, cx)?, xs, &self.slot)
    }
}
