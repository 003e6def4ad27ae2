//! Products of packed matrices, a tile that fits the registers at a time: what convolutions and linear layers are made of.
//!
//! A panel of rows is (depth, [`ROWS`]), one of columns (depth, [`COLUMNS`]): the numbers that are multiplied together lie beside
//! each other, so that nothing is rearranged while multiplying. Weights are packed once, when they are read.

use std::cell::RefCell;

use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;
use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::simd::{fetch, wide};
use super::word::Word;
use crate::models::error::Result;

/// Rows of a tile.
pub(super) const ROWS: usize = 12;
/// Columns of a tile.
pub(super) const COLUMNS: usize = 32;
/// Products of a panel of rows and one of columns.
pub(super) type Tile = [[f32; COLUMNS]; ROWS];
/// A tile of zeros.
pub(super) const ZERO: Tile = [[0.0; COLUMNS]; ROWS];

/// Words of a line of the processor's cache.
pub(super) const LINE: usize = 16;

/// Adds the product of one panel of rows and one panel of columns, of the same depth, to `out`. Only the first `used` rows need be
/// right, which saves time where a panel is not full.
/// Meanwhile the processor fetches what is `ahead`, a [`LINE`] for each number of a row.
pub(super) fn add_product(arch: Arch, rows: &[f32], columns: &[f32], used: usize, ahead: &[f32], out: &mut Tile) {
    match ahead.is_empty() {
        true => arch.dispatch(AddProduct::<false> { rows, columns, used, ahead, out }),
        false => arch.dispatch(AddProduct::<true> { rows, columns, used, ahead, out }),
    }
}

struct AddProduct<'a, const FETCHES: bool> {
    rows: &'a [f32],
    columns: &'a [f32],
    used: usize,
    ahead: &'a [f32],
    out: &'a mut Tile,
}

impl<const FETCHES: bool> WithSimd for AddProduct<'_, FETCHES> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, columns, used, ahead, out } = self;
        // As many sums as there are registers for.
        if S::F32_LANES >= COLUMNS / 2 {
            return match used {
                ..=4 => add_part::<S, 4, FETCHES>(simd, rows, columns, [0, 0], ahead, out),
                5..=8 => add_part::<S, 8, FETCHES>(simd, rows, columns, [0, 0], ahead, out),
                _ => add_part::<S, ROWS, FETCHES>(simd, rows, columns, [0, 0], ahead, out),
            };
        }
        for row in (0..used.min(ROWS)).step_by(ROWS / 2) {
            for column in (0..COLUMNS).step_by(2 * S::F32_LANES) {
                add_part::<S, { ROWS / 2 }, FETCHES>(simd, rows, columns, [row, column], ahead, out);
            }
        }
    }
}

/// The part of a tile that has `R` rows and two registers of columns and begins at `row` and `column`.
#[inline(always)]
fn add_part<S: Simd, const R: usize, const FETCHES: bool>(
    simd: S,
    rows: &[f32],
    columns: &[f32],
    [row, column]: [usize; 2],
    ahead: &[f32],
    out: &mut Tile,
) {
    let lanes = S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); 2]; R];
    for (i, (a, b)) in rows.as_chunks::<ROWS>().0.iter().zip(columns.as_chunks::<COLUMNS>().0).enumerate() {
        if FETCHES {
            fetch(ahead.as_ptr().wrapping_add(i * LINE));
        }
        let [low, high] = *S::as_simd_f32s(&b[column..column + 2 * lanes]).0 else { return };
        for (a, sums) in a[row..row + R].iter().zip(&mut sums) {
            let a = simd.splat_f32s(*a);
            sums[0] = simd.mul_add_f32s(a, low, sums[0]);
            sums[1] = simd.mul_add_f32s(a, high, sums[1]);
        }
    }
    for (out, sums) in out[row..row + R].iter_mut().zip(sums) {
        for (out, sum) in S::as_mut_simd_f32s(&mut out[column..column + 2 * lanes]).0.iter_mut().zip(sums) {
            *out = simd.add_f32s(*out, sum);
        }
    }
}

/// A finite number of half precision as what it is in single precision, in operations that wide registers have.
#[inline(always)]
fn widened(number: f16) -> f32 {
    /// 2^112: between the two, the exponent counts from other numbers.
    const SCALE: f32 = f32::from_bits(0x7780_0000);
    let bits = u32::from(number.to_bits());
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * SCALE;
    f32::from_bits(magnitude.to_bits() | ((bits & 0x8000) << 16))
}

/// Room for intermediate results that a thread keeps from one call to the next: fresh pages of memory cost more than they hold.
#[derive(Default)]
pub(super) struct Room<T = f32>(RefCell<Vec<T>>);

impl<T: Copy + Default> Room<T> {
    /// Calls `work` with `count` numbers of any value.
    pub(super) fn with<R>(&self, count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
        // Taken out, not borrowed: while this thread waits for others it may be given another part of the work.
        let mut room = self.0.take();
        if room.len() < count {
            room.resize(count, T::default());
        }
        let result = work(&mut room[..count]);
        self.0.replace(room);
        result
    }
}

/// Numbers from which on weights are kept at half precision if they can be. Widening them again costs time, most where a layer has few
/// rows to work on, as in the towers of a CLIP.
const LARGE: usize = 1 << 22;

/// Bytes that the weights of a layer take on the CPU, of so many `numbers`; `is_half` if they were stored at half precision.
pub fn bytes_in_memory(numbers: usize, is_half: bool) -> usize {
    numbers * if is_half && numbers >= LARGE { size_of::<f16>() } else { size_of::<f32>() }
}

/// Lets more urgent work run while weights are packed, or stops that.
pub(super) type Pause<'a> = &'a dyn Fn() -> Result<()>;

/// Packed weights. Large ones that are numbers of half precision, as most checkpoints' are, are kept as such, which loses nothing.
#[derive(Debug)]
pub(super) enum Panels {
    Full(Vec<f32>),
    Half(Vec<f16>),
}

impl Panels {
    /// `weight` (outputs, depth) as panels of rows, (outputs / ROWS, depth, ROWS), with zeros where there is no output.
    ///
    /// # Errors
    /// Those of `pause`, which is called now and then.
    pub(super) fn of_rows(weight: &[f32], depth: usize, pause: Pause<'_>) -> Result<Self> {
        Self::new(pack::<ROWS, f32>(weight, depth, depth, pause)?, pause)
    }

    /// `weight` (outputs, depth) as panels of columns, (outputs / COLUMNS, depth, COLUMNS), with zeros where there is no output.
    ///
    /// # Errors
    /// Those of `pause`, which is called now and then.
    pub(super) fn of_columns(weight: &[f32], depth: usize, pause: Pause<'_>) -> Result<Self> {
        Self::new(pack::<COLUMNS, f32>(weight, depth, depth, pause)?, pause)
    }

    fn new(packed: Vec<f32>, pause: Pause<'_>) -> Result<Self> {
        if packed.len() < LARGE {
            return Ok(Self::Full(packed));
        }
        let (mut halves, mut back) = (Vec::with_capacity(packed.len()), [0f32; 4096]);
        for some in packed.chunks(LARGE) {
            pause()?;
            let half = Vec::<f16>::from_f32_slice(some);
            let is_exact = half.chunks(back.len()).zip(some.chunks(back.len())).all(|(half, full)| {
                let back = &mut back[..half.len()];
                half.convert_to_f32_slice(back);
                back == full && half.iter().all(|number| number.is_finite())
            });
            if !is_exact {
                return Ok(Self::Full(packed));
            }
            halves.extend_from_slice(&half);
        }
        Ok(Self::Half(halves))
    }

    /// `count` of the numbers from number `first` on; `buffer` is where they are if they have to be converted.
    pub(super) fn get<'a>(&'a self, first: usize, count: usize, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        match self {
            Self::Full(numbers) => &numbers[first..first + count],
            Self::Half(numbers) => {
                buffer.resize(count.max(buffer.len()), 0.0);
                let buffer = &mut buffer[..count];
                wide(
                    #[inline(always)]
                    || {
                        buffer
                            .iter_mut()
                            .zip(&numbers[first..first + count])
                            .for_each(|(to, from)| *to = widened(*from))
                    },
                );
                buffer
            }
        }
    }
}

/// `weight` (outputs, depth) as panels (outputs / WIDTH, words, WIDTH), with zeros where there is no number.
pub(super) fn pack<const WIDTH: usize, T: Word>(
    weight: &[f32],
    depth: usize,
    words: usize,
    pause: Pause<'_>,
) -> Result<Vec<T>> {
    let outputs = weight.len() / depth.max(1);
    let mut packed = vec![T::default(); outputs.next_multiple_of(WIDTH) * words];
    let (from, to) = ((WIDTH * depth).max(1), (WIDTH * words).max(1));
    let together = (LARGE / from).max(1);
    for (weight, packed) in weight.chunks(from * together).zip(packed.chunks_mut(to * together)) {
        pause()?;
        weight.par_chunks(from).zip(packed.par_chunks_exact_mut(to)).for_each(|(outputs, panel)| {
            for (lane, output) in outputs.chunks_exact(depth).enumerate() {
                let lane = panel.iter_mut().skip(lane).step_by(WIDTH);
                lane.zip(output.chunks(T::DEPTH)).for_each(|(to, from)| *to = word(from));
            }
        });
    }
    Ok(packed)
}

/// The word of a few numbers, with zeros behind them.
#[inline(always)]
pub(super) fn word<T: Word>(numbers: &[f32]) -> T {
    T::of(|i| numbers.get(i).copied().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    #[test]
    fn a_tile_is_the_product_of_its_panels() {
        for depth in [0, 1, 7, 300] {
            let number = |i: usize| ((i * 2_654_435_761) % 1009) as f32 / 1009.0 - 0.5;
            let rows: Vec<f32> = (0..depth * ROWS).map(number).collect();
            let columns: Vec<f32> = (0..depth * COLUMNS).map(|i| number(i + 77)).collect();
            for (used, ahead) in [(1, 0), (4, 1), (5, 0), (7, 1), (8, 0), (9, 1), (ROWS, 0)] {
                let mut out = [[1.0; COLUMNS]; ROWS];
                add_product(Arch::new(), &rows, &columns, used, &[0.0][..ahead], &mut out);
                for (row, out) in out.iter().enumerate().take(used) {
                    for (column, got) in out.iter().enumerate() {
                        let products = (0..depth)
                            .map(|d| f64::from(rows[d * ROWS + row]) * f64::from(columns[d * COLUMNS + column]));
                        let want = 1.0 + products.sum::<f64>();
                        assert!((f64::from(*got) - want).abs() < 1e-5, "{depth}: {got} {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn weights_are_packed_with_zeros_behind_them() {
        let packed = pack::<ROWS, f32>(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 2, &|| Ok(())).expect("nothing stops it");
        assert_eq!(packed[..3], [1.0, 3.0, 5.0]);
        assert_eq!(packed[ROWS..ROWS + 4], [2.0, 4.0, 6.0, 0.0]);
        assert_eq!(packed.len(), 2 * ROWS);
    }

    #[test]
    fn every_finite_number_of_half_precision_is_widened_to_itself() {
        for number in (0..=u16::MAX).map(f16::from_bits).filter(|number| number.is_finite()) {
            assert_eq!(widened(number).to_bits(), number.to_f32().to_bits(), "{number}");
        }
    }

    #[test]
    fn weights_are_kept_at_half_precision_only_if_that_loses_nothing() {
        for (number, count, is_half) in
            [(0.1f32, LARGE, false), (0.5, LARGE, true), (70000.0, LARGE, false), (0.5, 64, false)]
        {
            let panels = Panels::of_columns(&vec![number; count], 1, &|| Ok(())).expect("nothing stops it");
            assert_eq!(matches!(panels, Panels::Half(_)), is_half);
            assert_eq!(panels.get(5, 2, &mut Vec::new()), [number; 2]);
        }
    }
}
