//! Matrices turned over: between pictures, whose channels are planes, and sequences, whose channels lie beside each other.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};

use super::contiguous;
use super::fresh::{Places, put, written};
use super::simd::wide;
use super::turns::{NUMBER, in_turns};
use crate::base::task::TaskCx;
use crate::models::error::Result;

/// Rows of the result that are computed together, and columns: both fit the processor's smallest cache.
const BLOCK: usize = 16;

/// (batch, rows, columns) -> (batch, columns, rows), contiguous.
///
/// # Errors
/// If the tensor has not three axes, or the task is cancelled.
pub fn turned(xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    if !xs.device().is_cpu() || xs.dtype() != DType::F32 || xs.track_op() {
        return Ok(xs.transpose(1, 2)?.contiguous()?);
    }
    Ok(xs.contiguous()?.apply_op1_no_bwd(&Turn { cx })?)
}

struct Turn<'a> {
    cx: &'a TaskCx<'a>,
}

impl CustomOp1 for Turn<'_> {
    fn name(&self) -> &'static str {
        "turn"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, rows, columns) = layout.shape().dims3()?;
        let xs = contiguous(xs, layout)?;
        if xs.is_empty() {
            return Ok((CpuStorage::F32(Vec::new()), (batch, columns, rows).into()));
        }
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: strips make up the matrices, and all places of a strip are written.
        let out = unsafe {
            written(xs.len(), |out| {
                let matrices = out.chunks_exact_mut(rows * columns).zip(xs.chunks_exact(rows * columns));
                let strips = matrices
                    .flat_map(|(out, xs)| out.chunks_mut(BLOCK * rows).enumerate().map(move |strip| (strip, xs)));
                in_turns(strips, BLOCK * rows * NUMBER, self.cx, |((strip, out), xs)| {
                    turn(&xs[strip * BLOCK..], columns, out, rows);
                })
            })
        }?;
        Ok((CpuStorage::F32(out), (batch, columns, rows).into()))
    }
}

/// The first columns of `xs`, which has `columns` of them, as the rows of `out`, of which each is `rows` long.
fn turn(xs: &[f32], columns: usize, out: &mut Places, rows: usize) {
    let count = out.len() / rows;
    let whole = if count == BLOCK { rows / BLOCK * BLOCK } else { 0 };
    wide(
        #[inline(always)]
        || {
            for first in (0..whole).step_by(BLOCK) {
                let mut block = [[0f32; BLOCK]; BLOCK];
                for (row, block) in block.iter_mut().enumerate() {
                    block.copy_from_slice(&xs[(first + row) * columns..][..BLOCK]);
                }
                for (column, out) in out.chunks_exact_mut(rows).enumerate() {
                    let to: [f32; BLOCK] = std::array::from_fn(|row| block[row][column]);
                    put(&to, &mut out[first..first + BLOCK]);
                }
            }
        },
    );
    for row in whole..rows {
        let numbers = &xs[row * columns..][..count];
        out.chunks_exact_mut(rows).zip(numbers).for_each(|(out, number)| {
            out[row].write(*number);
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    #[test]
    fn every_number_goes_where_candle_puts_it() {
        for (batch, rows, columns) in [(1, 1, 1), (2, 3, 50), (3, 40, 16), (2, 33, 17), (1, 64, 320), (1, 0, 5)] {
            let xs = Tensor::arange(0f32, (batch * rows * columns) as f32, &Device::Cpu).unwrap();
            let xs = xs.reshape((batch, rows, columns)).unwrap();
            let got = turned(&xs, &TaskCx::detached()).unwrap();
            let want = xs.transpose(1, 2).unwrap();
            assert_eq!(got.dims(), want.dims());
            assert_eq!(got.to_vec3::<f32>().unwrap(), want.to_vec3::<f32>().unwrap());
        }
    }
}
