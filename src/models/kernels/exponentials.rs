//! The exponentials of a softmax that is taken block by block (Milakov and Gimelshein 2018).

use pulp::{Arch, Simd, WithSimd};

use super::product::COLUMNS;
use super::simd::powers_of_two;
#[cfg(target_arch = "x86_64")]
use super::word::can_multiply_pairs;

/// Replaces the scores of some keys, (keys, queries), by 2^(score - the largest so far), adds them to the total, and brings what was
/// summed up before to the same measure.
pub(super) struct Exponentiate<'a> {
    pub(super) scores: &'a mut [[f32; COLUMNS]],
    pub(super) largest: &'a mut [f32; COLUMNS],
    pub(super) total: &'a mut [f32; COLUMNS],
    pub(super) sums: &'a mut [[f32; COLUMNS]],
}

impl Exponentiate<'_> {
    /// Roughly if the scores are rounded to bf16 afterwards.
    pub(super) fn run(self, is_rough: bool) {
        #[cfg(target_arch = "x86_64")]
        if is_rough && can_multiply_pairs() {
            #[expect(unsafe_code, reason = "the compiler cannot see what the processor has")]
            // Safety: it has what the function wants.
            return unsafe { self.roughly() };
        }
        let _ = is_rough;
        Arch::new().dispatch(self);
    }

    /// By instructions that take powers apart, to 1e-4 of each value: bf16 has 4e-3.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn roughly(self) {
        use std::arch::x86_64::{
            __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_ps,
            _mm512_scalef_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
        };
        /// Numbers of a register.
        const LANES: usize = 16;
        /// What is above the next lower whole number, and nothing else.
        const REST: i32 = 0b1001;
        /// The polynomial nearest to 2^x between 0 and 1, relative to it, highest power first.
        const POWER_OF_TWO: [f32; 4] = [0.078_024_52, 0.226_067_16, 0.695_833_56, 0.999_925_2];
        let Self { scores, largest, total, sums } = self;
        let power = |x: __m512| {
            let rest = _mm512_reduce_ps::<REST>(x);
            let [a, b, c, d] = POWER_OF_TWO.map(|number| _mm512_set1_ps(number));
            let power = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_fmadd_ps(a, rest, b), rest, c), rest, d);
            _mm512_scalef_ps(power, x)
        };
        for first in (0..COLUMNS).step_by(LANES) {
            let (Some(largest), Some(total)) =
                (largest[first..].first_chunk_mut::<LANES>(), total[first..].first_chunk_mut::<LANES>())
            else {
                return;
            };
            #[expect(unsafe_code, reason = "registers are read and written through pointers")]
            // Safety: what is read and written is as long as a register.
            unsafe {
                let before = _mm512_loadu_ps(largest.as_ptr());
                let mut most = before;
                for scores in &*scores {
                    // The second if one is no number.
                    most = _mm512_max_ps(_mm512_loadu_ps(scores[first..][..LANES].as_ptr()), most);
                }
                let factor = power(_mm512_sub_ps(before, most));
                for sums in &mut *sums {
                    let sums = &mut sums[first..][..LANES];
                    _mm512_storeu_ps(sums.as_mut_ptr(), _mm512_mul_ps(_mm512_loadu_ps(sums.as_ptr()), factor));
                }
                let mut added = _mm512_setzero_ps();
                for scores in &mut *scores {
                    let scores = &mut scores[first..][..LANES];
                    let score = power(_mm512_sub_ps(_mm512_loadu_ps(scores.as_ptr()), most));
                    _mm512_storeu_ps(scores.as_mut_ptr(), score);
                    added = _mm512_add_ps(added, score);
                }
                _mm512_storeu_ps(total.as_mut_ptr(), _mm512_fmadd_ps(_mm512_loadu_ps(total.as_ptr()), factor, added));
                _mm512_storeu_ps(largest.as_mut_ptr(), most);
            }
        }
    }
}

impl WithSimd for Exponentiate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { scores, largest, total, sums } = self;
        for first in (0..COLUMNS).step_by(S::F32_LANES) {
            let here = first..first + S::F32_LANES;
            let ([largest], [total]) =
                (S::as_mut_simd_f32s(&mut largest[here.clone()]).0, S::as_mut_simd_f32s(&mut total[here.clone()]).0)
            else {
                return;
            };
            let mut most = *largest;
            for scores in &*scores {
                for score in S::as_simd_f32s(&scores[here.clone()]).0 {
                    most = simd.max_f32s(*score, most);
                }
            }
            let factor = powers_of_two(simd, simd.sub_f32s(*largest, most));
            for sums in &mut *sums {
                for sum in S::as_mut_simd_f32s(&mut sums[here.clone()]).0 {
                    *sum = simd.mul_f32s(*sum, factor);
                }
            }
            let mut added = simd.splat_f32s(0.0);
            for scores in &mut *scores {
                for score in S::as_mut_simd_f32s(&mut scores[here.clone()]).0 {
                    *score = powers_of_two(simd, simd.sub_f32s(*score, most));
                    added = simd.add_f32s(added, *score);
                }
            }
            *total = simd.mul_add_f32s(*total, factor, added);
            *largest = most;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rough_powers_are_near_and_nothing_is_hidden() {
        let number = |i: usize| ((i * 2_654_435_761) % 1009) as f32 / 20.0 - 40.0;
        let run = |is_rough: bool| {
            let mut scores: Vec<[f32; COLUMNS]> =
                (0..50).map(|key| std::array::from_fn(|query| number(key * COLUMNS + query))).collect();
            (scores[3][5], scores[4][6], scores[7]) = (f32::NEG_INFINITY, f32::NAN, [-500.0; COLUMNS]);
            let (mut largest, mut total) = ([f32::NEG_INFINITY; COLUMNS], [0f32; COLUMNS]);
            let mut sums = vec![[1f32; COLUMNS]; 2];
            largest[9] = 30.0;
            Exponentiate { scores: &mut scores, largest: &mut largest, total: &mut total, sums: &mut sums }
                .run(is_rough);
            assert!(total[6].is_nan() && sums[0][8].abs() < 1e-30 && scores[3][5] < 1e-30);
            let rest = scores.concat().into_iter().chain(sums.concat()).chain(total);
            rest.filter(|number| !number.is_nan()).collect::<Vec<f32>>()
        };
        let (rough, exact) = (run(true), run(false));
        assert_eq!(rough.len(), exact.len());
        for (rough, exact) in rough.into_iter().zip(exact) {
            assert!((rough - exact).abs() <= 2e-4 * exact + 1e-30, "{rough} {exact}");
        }
    }
}
