//! What panels are made of: numbers in 32 bits, or pairs of numbers in bf16 for the processors that multiply such pairs.

use std::cell::Cell;

use pulp::Arch;

use super::product::{self, COLUMNS, LINE, ROWS, Tile};
use super::simd::{fetch, wide};

/// One or more numbers of a panel that lie behind each other along its depth.
pub(super) trait Word: Copy + Default + Send + Sync + 'static {
    /// How many.
    const DEPTH: usize;

    /// The word of `number(0)`, `number(1)` and so on.
    fn of(number: impl Fn(usize) -> f32) -> Self;

    /// Rows of numbers, as many as fill words, as a panel of columns; `buffer` is where that is if they have to be converted.
    fn panel<'a>(rows: &'a [[f32; COLUMNS]], buffer: &'a mut Vec<Self>) -> &'a [Self];

    /// As [`product::add_product`].
    fn add_product(arch: Arch, rows: &[Self], columns: &[Self], used: usize, out: &mut Tile) {
        Self::add_product_and_fetch(arch, rows, columns, used, &[], out);
    }

    /// The same, while the processor fetches what is `ahead`, a line for each word of a row.
    fn add_product_and_fetch(
        arch: Arch,
        rows: &[Self],
        columns: &[Self],
        used: usize,
        ahead: &[Self],
        out: &mut Tile,
    );
}

impl Word for f32 {
    const DEPTH: usize = 1;

    #[inline(always)]
    fn of(number: impl Fn(usize) -> f32) -> Self {
        number(0)
    }

    fn panel<'a>(rows: &'a [[f32; COLUMNS]], _: &'a mut Vec<Self>) -> &'a [Self] {
        rows.as_flattened()
    }

    fn add_product_and_fetch(
        arch: Arch,
        rows: &[Self],
        columns: &[Self],
        used: usize,
        ahead: &[Self],
        out: &mut Tile,
    ) {
        product::add_product(arch, rows, columns, used, ahead, out);
    }
}

/// Two numbers in bf16, the first in the lower half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub(super) struct Pair(u32);

impl Pair {
    /// The two.
    pub(super) fn numbers(self) -> [f32; 2] {
        [f32::from_bits(self.0 << 16), f32::from_bits(self.0 & 0xffff_0000)]
    }
}

impl Word for Pair {
    const DEPTH: usize = 2;

    #[inline(always)]
    fn of(number: impl Fn(usize) -> f32) -> Self {
        Self((rounded(number(0)) >> 16) | (rounded(number(1)) & 0xffff_0000))
    }

    fn panel<'a>(rows: &'a [[f32; COLUMNS]], buffer: &'a mut Vec<Self>) -> &'a [Self] {
        let count = rows.len() / 2 * COLUMNS;
        buffer.resize(count.max(buffer.len()), Self::default());
        let panel = &mut buffer[..count];
        wide(
            #[inline(always)]
            || {
                for (to, [first, second]) in panel.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(rows.as_chunks::<2>().0)
                {
                    for i in 0..COLUMNS {
                        to[i] = Self::of(
                            #[inline(always)]
                            |k| if k == 0 { first[i] } else { second[i] },
                        );
                    }
                }
            },
        );
        panel
    }

    fn add_product_and_fetch(
        _: Arch,
        rows: &[Self],
        columns: &[Self],
        used: usize,
        ahead: &[Self],
        out: &mut Tile,
    ) {
        let (rows, columns) = (rows.as_chunks::<ROWS>().0, columns.as_chunks::<COLUMNS>().0);
        #[cfg(target_arch = "x86_64")]
        if can_multiply_pairs() {
            #[expect(unsafe_code, reason = "the compiler cannot see what the processor has")]
            // Safety: it has what the function wants.
            return unsafe {
                match used {
                    ..=4 => add_part::<4>(rows, columns, ahead, out),
                    5..=8 => add_part::<8>(rows, columns, ahead, out),
                    _ => add_part::<ROWS>(rows, columns, ahead, out),
                }
            };
        }
        add_slowly(rows, columns, used, out);
    }
}

/// The bits of a number whose upper half is the nearest number in bf16; ties go to the even one. What is no number stays none.
#[inline(always)]
pub(super) fn rounded(number: f32) -> u32 {
    /// Set in what is no number.
    const QUIET: u32 = 0x0040_0000;
    let bits = number.to_bits();
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    if number.is_nan() { bits | QUIET } else { nearest }
}

/// The part of a tile that has `R` rows.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn add_part<const R: usize>(rows: &[[Pair; ROWS]], columns: &[[Pair; COLUMNS]], ahead: &[Pair], out: &mut Tile) {
    use std::arch::x86_64::{
        __m512bh, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps,
        _mm512_storeu_ps,
    };
    /// Words of a register.
    const LANES: usize = COLUMNS / 2;
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    for (i, (row, columns)) in rows.iter().zip(columns).enumerate() {
        if let Some(line) = ahead.get(i * LINE) {
            fetch(line);
        }
        #[expect(unsafe_code, reason = "the library has no safe way to read pairs into registers")]
        // Safety: both halves of `columns` are as long as a register, and any bits are pairs.
        let halves: [__m512bh; 2] = unsafe { std::mem::transmute_copy(columns) };
        for (pair, sums) in row.iter().zip(&mut sums) {
            #[expect(unsafe_code, reason = "the library has no safe way to read pairs into registers")]
            // Safety: types of one size, and any bits are pairs.
            let pair: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(pair.0.cast_signed())) };
            for (sum, half) in sums.iter_mut().zip(halves) {
                *sum = _mm512_dpbf16_ps(*sum, pair, half);
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
            #[expect(unsafe_code, reason = "registers are read and written through pointers")]
            // Safety: `out` is as long as a register.
            unsafe {
                _mm512_storeu_ps(out.as_mut_ptr(), _mm512_add_ps(_mm512_loadu_ps(out.as_ptr()), sum));
            }
        }
    }
}

/// The same in operations that every processor has.
fn add_slowly(rows: &[[Pair; ROWS]], columns: &[[Pair; COLUMNS]], used: usize, out: &mut Tile) {
    for (row, columns) in rows.iter().zip(columns) {
        for (a, out) in row.iter().zip(&mut *out).take(used) {
            for (b, out) in columns.iter().zip(out) {
                let ([a, after], [b, behind]) = (a.numbers(), b.numbers());
                *out = after.mul_add(behind, a.mul_add(b, *out));
            }
        }
    }
}

/// Whether this processor multiplies pairs in bf16 (AVX-512 BF16).
pub fn can_multiply_pairs() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

thread_local! {
    static IN_PAIRS: Cell<bool> = const { Cell::new(false) };
}

/// Sets whether linear layers that this thread loads, convolutions too where there are tile registers, and attention that it computes
/// multiply in bf16 from now on. Sums, and all other operations, stay in 32 bits.
pub fn multiply_in_bf16(wanted: bool) {
    IN_PAIRS.set(wanted);
}

/// Whether that is so.
pub(super) fn multiplies_in_bf16() -> bool {
    IN_PAIRS.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    fn number(i: usize) -> f32 {
        ((i * 2_654_435_761) % 1009) as f32 / 1009.0 - 0.5
    }

    #[test]
    fn numbers_are_rounded_as_bf16_is() {
        for i in 0..100_000u32 {
            let number = f32::from_bits(i.wrapping_mul(2_654_435_761));
            if !number.is_nan() {
                let pair = Pair::of(|k| if k == 0 { number } else { -number });
                let want = [number, -number].map(|number| u32::from(bf16::from_f32(number).to_bits()));
                assert_eq!([pair.0 & 0xffff, pair.0 >> 16], want, "{number}");
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for bits in [0x7f80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xff80_0001, 0xffff_ffff] {
            let pair = Pair::of(|_| f32::from_bits(bits));
            assert!(pair.numbers().iter().all(|number| number.is_nan()), "{bits:x}");
        }
    }

    #[test]
    fn a_tile_is_the_product_of_its_panels_rounded_to_bf16() {
        for depth in [0, 1, 7, 150] {
            let rows: Vec<Pair> = (0..depth * ROWS).map(|i| Pair::of(|k| number(2 * i + k))).collect();
            let columns: Vec<Pair> = (0..depth * COLUMNS).map(|i| Pair::of(|k| number(2 * i + k + 77))).collect();
            let value = |i: usize| f64::from(bf16::from_f32(number(i)).to_f32());
            for used in [1, 4, 5, 8, ROWS] {
                let (mut fast, mut slow) = ([[1.0; COLUMNS]; ROWS], [[1.0; COLUMNS]; ROWS]);
                Pair::add_product(Arch::new(), &rows, &columns, used, &mut fast);
                add_slowly(rows.as_chunks().0, columns.as_chunks().0, used, &mut slow);
                for (row, (fast, slow)) in fast.iter().zip(&slow).enumerate().take(used) {
                    for (column, got) in fast.iter().zip(slow).enumerate() {
                        let products = (0..2 * depth).map(|d| {
                            let (d, k) = (d / 2, d % 2);
                            value(2 * (d * ROWS + row) + k) * value(2 * (d * COLUMNS + column) + k + 77)
                        });
                        let want = 1.0 + products.sum::<f64>();
                        let worst = (f64::from(*got.0) - want).abs().max((f64::from(*got.1) - want).abs());
                        assert!(worst < 2e-5, "{depth}: {got:?} {want}");
                    }
                }
            }
        }
    }
}
