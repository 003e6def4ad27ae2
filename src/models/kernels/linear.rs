//! Linear layers. On the CPU in 32 bits our own, with weights that are packed once; everywhere else candle's.

use std::ops::Range;
use std::sync::Arc;
use std::thread::LocalKey;

use crate::models::tensors::Tensors;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Module, Shape, Tensor};
use pulp::Arch;

use super::fresh::Places;
use super::gradient::{of_linear, traced};
use super::product::{COLUMNS, LINE, Panels, Pause, ROWS, Room, ZERO, pack, word};
use super::sharing::{self, Product};
use super::simd::wide;
use super::tiles;
use super::word::{Pair, Word, multiplies_in_bf16};
use super::{contiguous, with_numbers};
use crate::base::task::TaskCx;
use crate::models::error::Result;

/// Rows that are computed together.
const TOGETHER: usize = 8 * ROWS;
/// Panels of outputs that are computed together.
const PANELS: usize = 4;
/// Words of weights that lie together.
const DEPTH: usize = 512;

thread_local! {
    static PACKED: Room = Room::default();
    static PAIRED: Room<Pair> = Room::default();
}

/// x W' + b.
#[derive(Debug)]
pub struct Linear {
    kernel: Kernel,
    inputs: usize,
    outputs: usize,
}

#[derive(Debug)]
enum Kernel {
    /// For the CPU in 32 bits, where the weights are no variables.
    Packed(Arc<Packed>),
    Plain(candle_nn::Linear),
}

/// Weights as panels of columns, (outputs / COLUMNS, inputs, COLUMNS), and bias, (outputs).
#[derive(Debug)]
struct Packed {
    weight: Weight,
    bias: Vec<f32>,
    inputs: usize,
}

#[derive(Debug)]
enum Weight {
    Single(Panels),
    /// In bf16, by wide registers.
    Paired(Vec<Pair>),
    /// In bf16, by tile registers.
    Tiled(tiles::Columns),
}

impl Weight {
    fn new(numbers: &[f32], inputs: usize, pause: Pause<'_>) -> Result<Self> {
        Ok(match multiplies_in_bf16() {
            true if tiles::are_there() => Self::Tiled(tiles::Columns::new(numbers, inputs, pause)?),
            true => Self::Paired(pack::<COLUMNS, Pair>(numbers, inputs, inputs.div_ceil(Pair::DEPTH), pause)?),
            false => Self::Single(Panels::of_columns(numbers, inputs, pause)?),
        })
    }

    /// The numbers again, (outputs, inputs).
    fn unpacked(&self, outputs: usize, inputs: usize) -> Vec<f32> {
        let pairs = match self {
            Self::Single(panels) => return panels.unpacked::<COLUMNS>(outputs, inputs),
            Self::Tiled(columns) => return columns.unpacked(outputs),
            Self::Paired(pairs) => pairs,
        };
        let words = inputs.div_ceil(Pair::DEPTH);
        let number = |output: usize, input: usize| {
            let place = (output / COLUMNS * words + input / Pair::DEPTH) * COLUMNS + output % COLUMNS;
            pairs[place].numbers()[input % Pair::DEPTH]
        };
        (0..outputs * inputs).map(|at| number(at / inputs, at % inputs)).collect()
    }
}

/// The words of weights.
trait Words<T>: Sync {
    /// `count` of them from number `first` on; `buffer` is where they are if they have to be converted.
    fn words<'a>(&'a self, first: usize, count: usize, buffer: &'a mut Vec<f32>) -> &'a [T];

    /// The same if they need no conversion, or none.
    fn ahead(&self, first: usize, count: usize) -> &[T];
}

impl Words<f32> for Panels {
    fn words<'a>(&'a self, first: usize, count: usize, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        self.get(first, count, buffer)
    }

    fn ahead(&self, first: usize, count: usize) -> &[f32] {
        match self {
            Self::Full(numbers) => numbers.get(first..first + count).unwrap_or_default(),
            Self::Half(_) => &[],
        }
    }
}

impl Words<Pair> for Vec<Pair> {
    fn words<'a>(&'a self, first: usize, count: usize, _: &'a mut Vec<f32>) -> &'a [Pair] {
        &self[first..first + count]
    }

    fn ahead(&self, first: usize, count: usize) -> &[Pair] {
        self.get(first..first + count).unwrap_or_default()
    }
}

impl Linear {
    /// Reads `weight` (outputs, inputs) and `bias` (outputs).
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(inputs: usize, outputs: usize, vb: &Tensors<'_>) -> Result<Self> {
        let bias = vb.get(outputs, "bias")?;
        Self::packed(&vb.get((outputs, inputs), "weight")?, Some(&bias), &|| vb.pause())
    }

    /// As [`Self::load`], for a layer without bias.
    ///
    /// # Errors
    /// If the weight is missing or of another shape.
    pub fn load_no_bias(inputs: usize, outputs: usize, vb: &Tensors<'_>) -> Result<Self> {
        Self::packed(&vb.get((outputs, inputs), "weight")?, None, &|| vb.pause())
    }

    /// Of `weight` (outputs, inputs) and `bias` (outputs).
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        Self::packed(&weight.contiguous()?, bias, &|| Ok(()))
    }

    fn packed(weight: &Tensor, bias: Option<&Tensor>, pause: Pause<'_>) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        if bias.is_some_and(|bias| bias.dims() != [outputs]) || inputs == 0 || outputs == 0 {
            let text = format!("a linear layer has weights {:?} and other biases", weight.dims());
            return Err(crate::models::ModelError::BadInput(text));
        }
        let is_frozen = !weight.track_op() && bias.is_none_or(|bias| !bias.track_op());
        let kernel = if is_frozen && weight.device().is_cpu() && weight.dtype() == DType::F32 {
            let panels = with_numbers(weight, |numbers| Weight::new(numbers, inputs, pause))?;
            let bias = bias.map_or_else(|| Ok(vec![0.0; outputs]), Tensor::to_vec1)?;
            Kernel::Packed(Arc::new(Packed { weight: panels, bias, inputs }))
        } else {
            Kernel::Plain(candle_nn::Linear::new(weight.clone(), bias.cloned()))
        };
        Ok(Self { kernel, inputs, outputs })
    }

    /// Width of what goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of what comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// (.., inputs) -> (.., outputs).
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
        match &self.kernel {
            Kernel::Packed(packed) => {
                let forward = |xs: &Tensor| Ok(xs.contiguous()?.apply_op1_no_bwd(&Apply { packed, cx })?);
                let packed = packed.clone();
                traced(xs, forward, move |_, gradient| {
                    let numbers = packed.weight.unpacked(packed.bias.len(), packed.inputs);
                    of_linear(numbers, packed.inputs, gradient)
                })
            }
            Kernel::Plain(linear) => Ok(linear.forward(xs)?),
        }
    }
}

struct Apply<'a> {
    packed: &'a Packed,
    cx: &'a TaskCx<'a>,
}

impl CustomOp1 for Apply<'_> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Packed { inputs, bias, .. } = self.packed;
        let mut dims = layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if last == inputs => *last = bias.len(),
            _ => candle_core::bail!("a linear layer of {inputs} inputs was given {dims:?}"),
        }
        let xs = contiguous(xs, layout)?;
        let out = match &self.packed.weight {
            Weight::Single(weight) => {
                sharing::apply(xs, &OfWords { weight, rooms: &PACKED, packed: self.packed }, self.cx)?
            }
            Weight::Paired(weight) => {
                sharing::apply(xs, &OfWords { weight, rooms: &PAIRED, packed: self.packed }, self.cx)?
            }
            Weight::Tiled(weight) => sharing::apply(xs, &tiles::Layer { weight, bias }, self.cx)?,
        };
        Ok((CpuStorage::F32(out), dims.into()))
    }
}

/// Where a thread keeps its panels of rows.
type Rooms<T> = LocalKey<Room<T>>;

/// Weights of one kind of words, and where rows become panels of them.
struct OfWords<'a, T: 'static, W> {
    weight: &'a W,
    rooms: &'static Rooms<T>,
    packed: &'a Packed,
}

impl<T: Word, W: Words<T>> Product for OfWords<'_, T, W> {
    type Word = T;
    const TOGETHER: usize = TOGETHER;
    const BLOCK: usize = PANELS * COLUMNS;

    fn inputs(&self) -> usize {
        self.packed.inputs
    }

    fn outputs(&self) -> usize {
        self.packed.bias.len()
    }

    fn lay_out<R>(&self, xs: &[f32], work: impl FnOnce(&[T]) -> R) -> R {
        in_panels(xs, self.packed.inputs, self.rooms, work)
    }

    fn multiply(&self, panels: &[T], wanted: Range<usize>, out: &mut Places) {
        let together = TOGETHER * self.packed.inputs.div_ceil(T::DEPTH);
        for (panels, out) in panels.chunks(together).zip(out.chunks_mut(TOGETHER * wanted.len())) {
            multiply(panels, self.weight, self.packed, wanted.clone(), out);
        }
    }
}

/// Calls `work` with the rows of `xs`, (rows, inputs), as panels (rows / ROWS, words, ROWS).
fn in_panels<T: Word, R>(xs: &[f32], inputs: usize, rooms: &'static Rooms<T>, work: impl FnOnce(&[T]) -> R) -> R {
    let (rows, words) = (xs.len() / inputs, inputs.div_ceil(T::DEPTH));
    rooms.with(|room| {
        room.with(rows.next_multiple_of(ROWS) * words, |panels| {
            for (xs, panel) in xs.chunks(ROWS * inputs).zip(panels.chunks_exact_mut(ROWS * words)) {
                transpose(xs, inputs, panel);
            }
            work(panels)
        })
    })
}

/// Panels of rows -> (rows, these outputs).
fn multiply<T: Word>(panels: &[T], weight: &impl Words<T>, packed: &Packed, wanted: Range<usize>, out: &mut Places) {
    let (words, arch) = (packed.inputs.div_ceil(T::DEPTH), Arch::new());
    let (first, width, mut buffer) = (wanted.start, wanted.len(), Vec::new());
    for column in (0..width).step_by(COLUMNS) {
        let next = weight.ahead((first + column + COLUMNS) * words, COLUMNS * words);
        let weight = weight.words((first + column) * words, COLUMNS * words, &mut buffer);
        // Weights that a few rows pass through come from memory hardly as fast as they are multiplied: the next ones are fetched meanwhile.
        let mut ahead = next;
        let here = COLUMNS.min(width - column);
        let bias = &packed.bias[first + column..][..here];
        for (panel, out) in panels.chunks_exact(ROWS * words).zip(out.chunks_mut(ROWS * width)) {
            let mut tile = ZERO;
            for (rows, columns) in panel.chunks(DEPTH * ROWS).zip(weight.chunks(DEPTH * COLUMNS)) {
                let (now, later) = ahead.split_at(ahead.len().min(rows.len() / ROWS * LINE));
                T::add_product_and_fetch(arch, rows, columns, out.len() / width, now, &mut tile);
                ahead = later;
            }
            for (out, sums) in out.chunks_exact_mut(width).zip(&tile) {
                let out = &mut out[column..][..here];
                out.iter_mut().zip(sums).zip(bias).for_each(|((to, sum), bias)| {
                    to.write(sum + bias);
                });
            }
        }
    }
}

/// At most [`ROWS`] rows as a panel, (words, ROWS), with zeros where there are no more.
fn transpose<T: Word>(xs: &[f32], inputs: usize, panel: &mut [T]) {
    /// Words that go through the registers together.
    const BLOCK: usize = 16;
    if xs.len() < ROWS * inputs || !inputs.is_multiple_of(T::DEPTH) {
        panel.fill(T::default());
        for (row, xs) in xs.chunks_exact(inputs).enumerate() {
            let row = panel.iter_mut().skip(row).step_by(ROWS);
            row.zip(xs.chunks(T::DEPTH)).for_each(|(to, numbers)| *to = word(numbers));
        }
        return;
    }
    wide(
        #[inline(always)]
        || {
            let (blocks, rest) = panel.as_chunks_mut::<{ BLOCK * ROWS }>();
            for (block, to) in blocks.iter_mut().enumerate() {
                let rows: [[T; BLOCK]; ROWS] = std::array::from_fn(|row| {
                    let xs = &xs[row * inputs + block * BLOCK * T::DEPTH..][..BLOCK * T::DEPTH];
                    std::array::from_fn(|i| T::of(|k| xs[i * T::DEPTH + k]))
                });
                for (input, to) in to.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
                    (0..ROWS).for_each(|row| to[row] = rows[row][input]);
                }
            }
            let first = blocks.len() * BLOCK;
            for (input, to) in rest.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
                (0..ROWS).for_each(|row| to[row] = T::of(|k| xs[row * inputs + (first + input) * T::DEPTH + k]));
            }
        },
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::multiply_in_bf16;
    use super::*;
    use crate::models::rng::TorchRng;
    use candle_core::Device;

    #[test]
    fn equals_candle_in_64_bits() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 30, 70), (77, 600, 33), (97, 40, 300), (1000, 24, 130)] {
            let mut rng = TorchRng::new(rows as u64);
            let mut random =
                |shape: &[usize]| Tensor::from_vec(rng.randn(shape.iter().product()), shape, &Device::Cpu).unwrap();
            let weight = (random(&[outputs, inputs]) / (inputs as f64).sqrt()).unwrap();
            let (bias, xs) = (random(&[outputs]), random(&[1, rows, inputs]));
            let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let got = Linear::new(&weight, Some(&bias)).unwrap().forward(&xs).unwrap();
            let want = Linear::new(&wide(&weight), Some(&wide(&bias))).unwrap().forward(&wide(&xs)).unwrap();
            let worst = (wide(&got) - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert_eq!(got.dims(), [1, rows, outputs]);
            assert!(worst < 5e-6, "{rows}x{inputs} -> {outputs}: {worst}");
        }
    }

    #[test]
    fn pairs_differ_from_64_bits_only_by_rounding_what_is_multiplied() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 31, 70), (77, 600, 33), (97, 1100, 40), (1000, 24, 130)] {
            let mut rng = TorchRng::new(rows as u64);
            let mut random =
                |shape: &[usize]| Tensor::from_vec(rng.randn(shape.iter().product()), shape, &Device::Cpu).unwrap();
            let weight = (random(&[outputs, inputs]) / (inputs as f64).sqrt()).unwrap();
            let (bias, xs) = (random(&[outputs]), random(&[1, rows, inputs]));
            multiply_in_bf16(true);
            let got = Linear::new(&weight, Some(&bias)).unwrap().forward(&xs).unwrap();
            multiply_in_bf16(false);
            let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let rounded = |t: &Tensor| wide(&t.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap());
            let want = Linear::new(&rounded(&weight), Some(&wide(&bias))).unwrap().forward(&rounded(&xs)).unwrap();
            let worst = (wide(&got) - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(worst < 1e-5, "{rows}x{inputs} -> {outputs}: {worst}");
            let numbers: Vec<f32> = weight.flatten_all().unwrap().to_vec1().unwrap();
            multiply_in_bf16(true);
            let paired = Weight::new(&numbers, inputs, &|| Ok(())).unwrap();
            multiply_in_bf16(false);
            let again = paired.unpacked(outputs, inputs);
            assert!(numbers.iter().zip(&again).all(|(want, got)| (want - got).abs() <= want.abs() / 256.0));
        }
    }

    #[test]
    fn a_row_is_the_same_bits_alone_and_among_others() {
        let random = |count: usize| TorchRng::new(1).randn(count);
        let weight = Tensor::from_vec(random(40 * 50), (40, 50), &Device::Cpu).unwrap();
        let xs = Tensor::from_vec(random(2000 * 50), (2000, 50), &Device::Cpu).unwrap();
        for is_in_bf16 in [false, true] {
            multiply_in_bf16(is_in_bf16);
            let linear = Linear::new(&weight, None).unwrap();
            multiply_in_bf16(false);
            let all: Vec<Vec<f32>> = linear.forward(&xs).unwrap().to_vec2().unwrap();
            let alone: Vec<Vec<f32>> = linear.forward(&xs.narrow(0, 1999, 1).unwrap()).unwrap().to_vec2().unwrap();
            assert_eq!(all[1999], alone[0]);
        }
    }
}
