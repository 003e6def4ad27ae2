//! Linear layers by tile registers.
//!
//! Invariant: blocks are cut by the sizes alone, so that results are the same bits whatever the number of threads.

use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;

use super::super::fresh::{Places, written};
use super::super::product::{Pause, Room, pack};
use super::super::turns::in_turns;
use super::super::word::{Pair, Word, round};
use super::{Ahead, Aligned, DEPTH, Left, Right, SIDE, Steps, WORDS, multiply};
use crate::base::task::TaskCx;
use crate::models::error::Result;

/// Rows that are computed together.
const TOGETHER: usize = 8 * SIDE;
/// Panels of outputs that are computed together where rows are few.
const PANELS: usize = 4;
/// Groups of rows from which on they are shared out; fewer share out the outputs.
const GROUPS: usize = 8;

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

/// (rows, inputs) -> (rows, outputs), of which there are as many as biases.
pub(in super::super) fn apply(
    xs: &[f32],
    weight: &Columns,
    bias: &[f32],
    cx: &TaskCx<'_>,
) -> candle_core::Result<Vec<f32>> {
    let (inputs, outputs) = (weight.inputs, bias.len());
    let rows = xs.len() / inputs;
    if rows > (GROUPS - 1) * TOGETHER {
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: groups make up all rows, and all outputs of a group are computed.
        return unsafe {
            written(rows * outputs, |out| {
                let groups = out.chunks_mut(TOGETHER * outputs).zip(xs.chunks(TOGETHER * inputs));
                in_turns(groups, TOGETHER * inputs * outputs, cx, |(out, xs)| {
                    rounded(xs, weight, |numbers| compute(numbers, weight, bias, 0..outputs, out));
                })
            })
        };
    }
    let block = PANELS * SIDE;
    let mut parts: Vec<Vec<MaybeUninit<f32>>> = vec![Vec::new(); outputs.div_ceil(block)];
    rounded(xs, weight, |numbers| {
        in_turns(parts.iter_mut().enumerate(), rows * inputs * block, cx, |(part, out)| {
            let wanted = part * block..outputs.min((part + 1) * block);
            // In any places: they are put into theirs below.
            out.resize(rows * wanted.len(), MaybeUninit::uninit());
            compute(numbers, weight, bias, wanted, out);
        })
    })?;
    #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
    // Safety: parts make up all outputs, each part has all rows, and both were computed.
    unsafe {
        written(rows * outputs, |out| {
            for (part, values) in parts.iter().enumerate() {
                let width = block.min(outputs - part * block);
                for (from, to) in values.chunks_exact(width).zip(out.chunks_exact_mut(outputs)) {
                    to[part * block..][..width].copy_from_slice(from);
                }
            }
            Ok(())
        })
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
    use crate::models::rng::TorchRng;

    #[test]
    fn differs_from_64_bits_only_by_rounding_what_is_multiplied() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 31, 70), (77, 600, 33), (300, 1100, 40), (2000, 24, 130)] {
            let mut rng = TorchRng::new(rows as u64);
            let (weight, bias) = (rng.randn(outputs * inputs), rng.randn(outputs));
            let xs = rng.randn(rows * inputs);
            let columns = Columns::new(&weight, inputs, &|| Ok(())).unwrap();
            let got = apply(&xs, &columns, &bias, &TaskCx::detached()).unwrap();
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
