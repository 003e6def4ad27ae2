//! What a picture costs, in units that only compare: a pixel of one call of the denoising net.

use crate::job::sampling::Sampler;
use crate::job::spec::GenerateSpec;

/// Calls of the net times pixels; decoding counts as two more calls.
pub fn cost(spec: &GenerateSpec) -> f64 {
    let sampling = &spec.sampling;
    let strength = spec.init.as_ref().map_or(1.0, |init| f64::from(init.strength.clamp(0.0, 1.0)));
    let steps = (f64::from(sampling.steps) * strength).ceil().max(1.0);
    let a_step = match sampling.sampler {
        Some(Sampler::Heun | Sampler::DpmPlusPlusSde) => 2.0,
        _ => 1.0,
    };
    // Guidance runs the net for both prompts.
    let guided = if sampling.guidance > 1.0 { 2.0 } else { 1.0 };
    let pixels = sampling.size.area() as f64;
    (steps * a_step * guided + 2.0) * pixels * f64::from(spec.count.max(1))
}
