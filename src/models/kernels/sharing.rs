//! How the work of a linear layer is shared out over the threads: many rows by rows, few by outputs.
//!
//! Invariant: blocks are cut by the sizes alone, so that results are the same bits whatever the number of threads.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::fresh::{Places, written};
use super::turns::in_turns;
use crate::base::task::TaskCx;

/// Groups of rows from which on they are shared out; fewer share out the outputs.
const GROUPS: usize = 8;

/// A linear layer's product with rows that lie as it wants them.
pub(super) trait Product: Sync {
    /// What rows that are laid out are made of.
    type Word: Sync;
    /// Rows that are computed together.
    const TOGETHER: usize;
    /// Outputs that are computed together where rows are few.
    const BLOCK: usize;

    fn inputs(&self) -> usize;

    fn outputs(&self) -> usize;

    /// Calls `work` with `xs`, (rows, inputs), laid out.
    fn lay_out<R>(&self, xs: &[f32], work: impl FnOnce(&[Self::Word]) -> R) -> R;

    /// Rows that are laid out -> (rows, the `wanted` outputs). Writes every place.
    fn multiply(&self, rows: &[Self::Word], wanted: Range<usize>, out: &mut Places);
}

/// (rows, inputs) -> (rows, outputs), on all threads.
///
/// # Errors
/// If the task is cancelled.
pub(super) fn apply<P: Product>(xs: &[f32], product: &P, cx: &TaskCx<'_>) -> candle_core::Result<Vec<f32>> {
    let (inputs, outputs, together) = (product.inputs(), product.outputs(), P::TOGETHER);
    let rows = xs.len() / inputs;
    if rows > (GROUPS - 1) * together {
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: groups make up all rows, and all outputs of a group are computed.
        return unsafe {
            written(rows * outputs, |out| {
                let groups = out.chunks_mut(together * outputs).zip(xs.chunks(together * inputs));
                in_turns(groups, together * inputs * outputs, cx, |(out, xs)| {
                    product.lay_out(xs, |rows| product.multiply(rows, 0..outputs, out));
                })
            })
        };
    }
    let width = |part: usize| P::BLOCK.min(outputs - part * P::BLOCK);
    let mut parts: Vec<Vec<MaybeUninit<f32>>> = vec![Vec::new(); outputs.div_ceil(P::BLOCK)];
    product.lay_out(xs, |laid_out| {
        in_turns(parts.iter_mut().enumerate(), rows * inputs * P::BLOCK, cx, |(part, out)| {
            // In any places: they are put into theirs below.
            out.resize(rows * width(part), MaybeUninit::uninit());
            product.multiply(laid_out, part * P::BLOCK..part * P::BLOCK + width(part), out);
        })
    })?;
    #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
    // Safety: parts make up all outputs, each part has all rows, and both were computed.
    unsafe {
        written(rows * outputs, |out| {
            for (part, values) in parts.iter().enumerate() {
                for (from, to) in values.chunks_exact(width(part)).zip(out.chunks_exact_mut(outputs)) {
                    to[part * P::BLOCK..][..width(part)].copy_from_slice(from);
                }
            }
            Ok(())
        })
    }
}
