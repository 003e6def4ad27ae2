//! Loops in the widest registers that this processor has, and the functions that such loops need.

use pulp::Simd;

/// Runs `f` compiled for the widest registers at hand: what is inlined into it can be vectorised.
#[inline(always)]
pub(super) fn wide<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Asks the processor for the line of memory at `place`, to be read soon; any place will do.
#[inline(always)]
pub(super) fn fetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "the library takes pointers")]
    // Safety: nothing is read that the program could see, and places outside memory are passed over.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// e^x to 2e-7 of its value (Cephes `expf`), without branches or conversions so that the compiler can use wide registers.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    let p = 1.398_199_9e-3f32
        .mul_add(r, 8.333_452e-3)
        .mul_add(r, 4.166_579_6e-2)
        .mul_add(r, 1.666_666_5e-1)
        .mul_add(r, 0.5);
    (p * r).mul_add(r, r + 1.0) * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// The polynomial nearest to 2^x between -1/2 and 1/2, relative to it, highest power first.
const POWER_OF_TWO: [f32; 6] =
    [1.327_645_1e-3, 9.675_541e-3, 5.550_713_5e-2, 2.402_212e-1, 6.931_469_4e-1, 1.000_000_1];
/// Below this, 2^x is no normal number.
const LEAST_POWER: f32 = -125.0;
/// Adding it rounds to a whole number, which is then in the lowest bits; taking it away again leaves that as a number.
const ROUND: f32 = 12_582_912.0;

/// 2^x to 3e-7 of its value, of each x between -125 and 125; of smaller ones 2^-125.
#[inline(always)]
pub(super) fn powers_of_two<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |number| simd.splat_f32s(number);
    // Not the larger of the two, which would hide what is no number.
    let x = simd.select_f32s(simd.less_than_f32s(x, splat(LEAST_POWER)), splat(LEAST_POWER), x);
    let rounded = simd.add_f32s(x, splat(ROUND));
    let rest = simd.sub_f32s(x, simd.sub_f32s(rounded, splat(ROUND)));
    let [first, others @ ..] = POWER_OF_TWO;
    let power = others.iter().fold(splat(first), |sum, number| simd.mul_add_f32s(sum, rest, splat(*number)));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(power), exponent))
}

/// x * Phi(x), the exact GELU, to 2e-7 of |x| (Abramowitz and Stegun 7.1.26).
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let p = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t + 0.254_829_6) * t;
    // 1 - erf(z), halved: what is missing from 1 on the right of zero, and all there is on the left of it.
    let tail = 0.5 * p * exp(-z * z);
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

/// x * sigmoid(slope * x).
#[inline(always)]
pub(super) fn swish(x: f32, slope: f32) -> f32 {
    x / (1.0 + exp(-slope * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_those_of_the_library() {
        struct Powers<'a>(&'a mut [f32]);

        impl pulp::WithSimd for Powers<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                S::as_mut_simd_f32s(self.0).0.iter_mut().for_each(|x| *x = powers_of_two(simd, *x));
            }
        }
        let of = |x: f32| {
            let mut all = [x; 32];
            pulp::Arch::new().dispatch(Powers(&mut all));
            assert!(all.iter().all(|power| power.to_bits() == all[0].to_bits()));
            all[0]
        };
        for i in -12_499..12_500 {
            let x = i as f32 * 0.01;
            assert!((of(x) / x.exp2() - 1.0).abs() < 3e-7, "{x}: {}", of(x));
        }
        for x in [f32::NEG_INFINITY, f32::MIN, -200.0] {
            assert!((of(x) / 2f32.powi(-125) - 1.0).abs() < 3e-7, "{x}: {}", of(x));
        }
        assert!(of(f32::NAN).is_nan());
    }

    #[test]
    fn exp_is_that_of_the_library() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            assert!((exp(x) / x.exp() - 1.0).abs() < 3e-7, "{x}");
        }
        assert!((-200.0 / (1.0 + exp(200.0))).abs() < 1e-30);
    }
}
