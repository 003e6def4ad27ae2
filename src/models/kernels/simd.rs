//! Loops in the widest registers that this processor has, and the functions that such loops need.

/// Runs `f` compiled for the widest registers at hand: what is inlined into it can be vectorised.
#[inline(always)]
pub(super) fn wide<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// e^x to 2e-7 of its value (Cephes `expf`), without branches or conversions so that the compiler can use wide registers.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which is then in the lowest bits; taking it away again leaves that as a number.
    const ROUND: f32 = 12_582_912.0;
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
    fn exp_is_that_of_the_library() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            assert!((exp(x) / x.exp() - 1.0).abs() < 3e-7, "{x}");
        }
        assert!((-200.0 / (1.0 + exp(200.0))).abs() < 1e-30);
    }
}
