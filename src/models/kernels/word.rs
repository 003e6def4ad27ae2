//! What panels are made of: numbers in 32 bits, or pairs of numbers in bf16 for the processors that multiply such pairs.

use std::cell::Cell;

use half::bf16;
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
    fn add_product_and_fetch(arch: Arch, rows: &[Self], columns: &[Self], used: usize, ahead: &[Self], out: &mut Tile);
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

    fn add_product_and_fetch(arch: Arch, rows: &[Self], columns: &[Self], used: usize, ahead: &[Self], out: &mut Tile) {
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
        for (to, [first, second]) in panel.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(rows.as_chunks::<2>().0) {
            pair_up(first, second, to);
        }
        panel
    }

    fn add_product_and_fetch(_: Arch, rows: &[Self], columns: &[Self], used: usize, ahead: &[Self], out: &mut Tile) {
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

/// The pairs of numbers above each other, (length) and (length) -> (length). Those too small for a normal number may become zero.
#[inline(always)]
pub(super) fn pair_up(first: &[f32], second: &[f32], to: &mut [Pair]) {
    #[cfg(target_arch = "x86_64")]
    if can_multiply_pairs() {
        #[expect(unsafe_code, reason = "the compiler cannot see what the processor has")]
        // Safety: it has what the function wants.
        return unsafe { pair_up_fast(first, second, to) };
    }
    pair_up_slowly(first, second, to);
}

/// The same in operations that every processor has.
fn pair_up_slowly(first: &[f32], second: &[f32], to: &mut [Pair]) {
    wide(
        #[inline(always)]
        || {
            for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
                *to = Pair::of(
                    #[inline(always)]
                    |k| if k == 0 { *first } else { *second },
                );
            }
        },
    );
}

/// Numbers that fill a register.
#[cfg(target_arch = "x86_64")]
const LANES: usize = 16;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pair_up_fast(first: &[f32], second: &[f32], to: &mut [Pair]) {
    use std::arch::x86_64::{
        __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_permutexvar_epi16,
        _mm512_storeu_si512,
    };
    /// Where each number of the pairs is, if first come the lower ones and then the upper.
    const PLACES: [u16; 2 * LANES] = {
        let (mut places, mut i) = ([0; 2 * LANES], 0);
        while i < LANES {
            places[2 * i] = i as u16;
            places[2 * i + 1] = (LANES + i) as u16;
            i += 1;
        }
        places
    };
    let length = to.len().min(first.len()).min(second.len());
    let (first, second, to) = (&first[..length], &second[..length], &mut to[..length]);
    let (numbers, pairs) = ((first.as_chunks::<LANES>(), second.as_chunks::<LANES>()), to.as_chunks_mut::<LANES>());
    #[expect(unsafe_code, reason = "registers are read and written through pointers")]
    // Safety: what is read and written is as long as a register; types of one size, and any bits are pairs.
    unsafe {
        let places = _mm512_loadu_si512(PLACES.as_ptr().cast());
        for ((to, first), second) in pairs.0.iter_mut().zip(numbers.0.0).zip(numbers.1.0) {
            let (first, second) = (_mm512_loadu_ps(first.as_ptr()), _mm512_loadu_ps(second.as_ptr()));
            let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(second, first));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_permutexvar_epi16(places, rounded));
        }
    }
    pair_up_slowly(numbers.0.1, numbers.1.1, pairs.1);
}

/// Rounds numbers to bf16, and fills up with zeros. Those too small for a normal number may become zero.
#[inline(always)]
pub(super) fn round(numbers: &[f32], to: &mut [bf16]) {
    let (to, rest) = to.split_at_mut(numbers.len());
    rest.fill(bf16::ZERO);
    #[cfg(target_arch = "x86_64")]
    if can_multiply_pairs() {
        #[expect(unsafe_code, reason = "the compiler cannot see what the processor has")]
        // Safety: it has what the function wants.
        return unsafe { round_fast(numbers, to) };
    }
    round_slowly(numbers, to);
}

/// The same in operations that every processor has.
fn round_slowly(numbers: &[f32], to: &mut [bf16]) {
    wide(
        #[inline(always)]
        || to.iter_mut().zip(numbers).for_each(|(to, number)| *to = bf16::from_bits((rounded(*number) >> 16) as u16)),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn round_fast(numbers: &[f32], to: &mut [bf16]) {
    use std::arch::x86_64::{__m256i, _mm256_storeu_si256, _mm512_cvtneps_pbh, _mm512_loadu_ps};
    let (numbers, to) = (numbers.as_chunks::<LANES>(), to.as_chunks_mut::<LANES>());
    for (to, numbers) in to.0.iter_mut().zip(numbers.0) {
        #[expect(unsafe_code, reason = "registers are read and written through pointers")]
        // Safety: what is read and written is as long as a register; types of one size, and any bits are numbers.
        unsafe {
            let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(_mm512_loadu_ps(numbers.as_ptr())));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), rounded);
        }
    }
    round_slowly(numbers.1, to.1);
}

/// The part of a tile that has `R` rows.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn add_part<const R: usize>(rows: &[[Pair; ROWS]], columns: &[[Pair; COLUMNS]], ahead: &[Pair], out: &mut Tile) {
    use std::arch::x86_64::{
        __m512bh, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps,
        _mm512_storeu_ps,
    };
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
    return std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512bf16");
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
    fn rows_are_rounded_and_paired_as_single_numbers_are() {
        let mut first: Vec<f32> = (0..100).map(number).collect();
        (first[3], first[40], first[99]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        let second: Vec<f32> = first.iter().rev().map(|number| number * 77.0).collect();
        for length in [0, 1, 15, 16, 50, 100] {
            let (mut got, mut want) = (vec![Pair(7); length], vec![Pair(7); length]);
            pair_up(&first[..length], &second[..length], &mut got);
            pair_up_slowly(&first[..length], &second[..length], &mut want);
            assert_eq!(got, want);
            let mut rounded = vec![bf16::ONE; length + 28];
            round(&first[..length], &mut rounded);
            let halves = want.iter().map(|pair| (pair.0 & 0xffff) as u16);
            assert!(rounded.iter().map(|number| number.to_bits()).eq(halves.chain(std::iter::repeat_n(0, 28))));
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
