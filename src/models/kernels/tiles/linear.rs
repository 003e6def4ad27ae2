//! Linear layers by tile registers.

use std::ops::Range;

use half::bf16;

use super::super::fresh::Places;
use super::super::product::{Pause, Room, pack};
use super::super::sharing::Product;
use super::super::word::{Pair, Word, round};
use super::{Ahead, Aligned, DEPTH, Left, Right, SIDE, Steps, WORDS, multiply};
use crate::models::error::Result;

thread_local! {
    static ROWS: Room<bf16> = Room::default();
}

/// Weights as panels of columns, (outputs / SIDE, words, SIDE), as deep as whole steps.
#[derive(Debug)]
pub(in super::super) struct Columns {
    pairs: Vec<Pair>,
    inputs: usize,
    steps: Steps,
}

impl Columns {
    /// Of `weight` (outputs, inputs).
    ///
    /// # Errors
    /// Those of `pause`, which is called now and then.
    pub(in super::super) fn new(weight: &[f32], inputs: usize, pause: Pause<'_>) -> Result<Self> {
        let words = inputs.div_ceil(Pair::DEPTH).next_multiple_of(WORDS);
        Ok(Self { pairs: pack::<SIDE, Pair>(weight, inputs, words, pause)?, inputs, steps: Steps::of_panel(words) })
    }

    fn words(&self) -> usize {
        self.inputs.div_ceil(Pair::DEPTH).next_multiple_of(WORDS)
    }

    /// The numbers again, (outputs, inputs).
    pub(in super::super) fn unpacked(&self, outputs: usize) -> Vec<f32> {
        let number = |output: usize, input: usize| {
            let place = (output / SIDE * self.words() + input / Pair::DEPTH) * SIDE + output % SIDE;
            self.pairs[place].numbers()[input % Pair::DEPTH]
        };
        (0..outputs * self.inputs).map(|at| number(at / self.inputs, at % self.inputs)).collect()
    }
}

/// Weights and as many biases as outputs.
pub(in super::super) struct Layer<'a> {
    pub(in super::super) weight: &'a Columns,
    pub(in super::super) bias: &'a [f32],
}

impl Product for Layer<'_> {
    type Word = bf16;
    const TOGETHER: usize = 8 * SIDE;
    const BLOCK: usize = 4 * SIDE;

    fn inputs(&self) -> usize {
        self.weight.inputs
    }

    fn outputs(&self) -> usize {
        self.bias.len()
    }

    fn lay_out<R>(&self, xs: &[f32], work: impl FnOnce(&[bf16]) -> R) -> R {
        rounded(xs, self.weight, work)
    }

    fn multiply(&self, numbers: &[bf16], wanted: Range<usize>, out: &mut Places) {
        compute(numbers, self.weight, self.bias, wanted, out);
    }
}

/// Calls `work` with the rows of `xs` in bf16, as wide as whole steps; any numbers stand in the rows that fill up the last block.
fn rounded<R>(xs: &[f32], weight: &Columns, work: impl FnOnce(&[bf16]) -> R) -> R {
    let (rows, width) = (xs.len() / weight.inputs, weight.words() * Pair::DEPTH);
    ROWS.with(|room| {
        room.with(rows.next_multiple_of(SIDE) * width, |numbers| {
            for (xs, to) in xs.chunks_exact(weight.inputs).zip(numbers.chunks_exact_mut(width)) {
                round(xs, to);
            }
            work(numbers)
        })
    })
}

/// Rows in bf16 -> (rows, these outputs).
fn compute(numbers: &[bf16], weight: &Columns, bias: &[f32], wanted: Range<usize>, out: &mut Places) {
    let (words, width) = (weight.words(), wanted.len());
    let mut block = Aligned([[0f32; SIDE]; SIDE]);
    let row = words * Pair::DEPTH;
    for column in (0..width).step_by(SIDE) {
        let pairs = &weight.pairs[(wanted.start + column) * words..][..SIDE * words];
        let here = SIDE.min(width - column);
        let bias = &bias[wanted.start + column..][..here];
        let next = weight.pairs.get((wanted.start + column + SIDE) * words..).and_then(|next| next.get(..SIDE * words));
        let blocks = numbers.chunks_exact(SIDE * row).zip(out.chunks_mut(SIDE * width));
        for (number, (numbers, out)) in blocks.enumerate() {
            let right = Right { pairs, row: SIDE, steps: &weight.steps };
            multiply(Left { numbers, row, step: DEPTH }, right, false, Ahead::of(next, number), &mut block.0);
            for (out, sums) in out.chunks_exact_mut(width).zip(&block.0) {
                let out = &mut out[column..][..here];
                out.iter_mut().zip(sums).zip(bias).for_each(|((to, sum), bias)| {
                    to.write(sum + bias);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::task::TaskCx;
    use crate::models::kernels::sharing;
    use crate::models::rng::TorchRng;

    #[test]
    fn differs_from_64_bits_only_by_rounding_what_is_multiplied() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 31, 70), (77, 600, 33), (300, 1100, 40), (2000, 24, 130)] {
            let mut rng = TorchRng::new(rows as u64);
            let (weight, bias) = (rng.randn(outputs * inputs), rng.randn(outputs));
            let xs = rng.randn(rows * inputs);
            let columns = Columns::new(&weight, inputs, &|| Ok(())).unwrap();
            let got = sharing::apply(&xs, &Layer { weight: &columns, bias: &bias }, &TaskCx::detached()).unwrap();
            let half = |number: &f32| f64::from(bf16::from_f32(*number).to_f32());
            for (row, got) in got.chunks(outputs).enumerate() {
                for (output, got) in got.iter().enumerate() {
                    let (xs, weight) = (&xs[row * inputs..][..inputs], &weight[output * inputs..][..inputs]);
                    let products = xs.iter().zip(weight).map(|(x, weight)| half(x) * half(weight));
                    let want = f64::from(bias[output]) + products.sum::<f64>();
                    assert!((f64::from(*got) - want).abs() < 2e-6 * (inputs as f64) + 1e-6, "{got} {want}");
                }
            }
            let again = columns.unpacked(outputs);
            assert!(weight.iter().zip(&again).all(|(want, got)| (want - got).abs() <= want.abs() / 256.0));
        }
    }
}
