//! Times the parts of a model, and says how far they are from 32 bits where they compute in fewer.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use candle_core::{DType, Tensor};

use super::accounting::{cpu_seconds, peak_memory_bytes};
use super::candle_backend::{CandleBackend, job_error};
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::base::task::{Stretches, TaskCx};
use crate::job::JobError;
use crate::job::output::{BenchReport, Timing};
use crate::job::spec::BenchSpec;
use crate::models::ModelError;

/// Seconds after which no further run is begun.
const LONGEST: f64 = 20.0;
/// What the text towers read.
const PROMPT: &str = "a red apple on a blue background";

/// What the parts of a model gave: text, picture, denoised, decoded.
type Outputs = [Option<Vec<f32>>; 4];

/// Times the parts of `spec`'s model.
///
/// # Errors
/// If there is no such model, or it cannot be run; if the task is cancelled.
pub(super) fn run(backend: &CandleBackend, spec: &BenchSpec, cx: &TaskCx<'_>) -> Result<BenchReport, JobError> {
    let (times, loading) = (RefCell::new([None; 4]), Cell::new(None));
    let outputs = parts(backend, spec, cx, &loading, &|index, part| {
        let (timing, output) = fastest(spec.repeats, part, cx)?;
        times.borrow_mut()[index] = Some(timing);
        Ok(output)
    })?;
    let peak_memory_bytes = peak_memory_bytes();
    let exact =
        backend.in_single_precision(|| parts(backend, spec, cx, &Cell::new(None), &|_, part| part(cx))).transpose()?;
    let mut times = times.into_inner();
    for (time, (got, want)) in times.iter_mut().zip(outputs.iter().zip(exact.iter().flatten())) {
        if let (Some(time), Some(got), Some(want)) = (time, got, want) {
            time.relative_error = Some(relative_error(got, want));
        }
    }
    let [text_encode, image_encode, denoise_step, decode] = times;
    Ok(BenchReport {
        threads: backend.threads(),
        peak_memory_bytes,
        load: loading.get(),
        text_encode,
        image_encode,
        denoise_step,
        decode,
    })
}

/// One run of a part.
type Part<'a> = dyn Fn(&TaskCx<'_>) -> Result<Vec<f32>, JobError> + 'a;

/// What is done with each part, by its number.
type Each<'a> = dyn Fn(usize, &Part<'_>) -> Result<Vec<f32>, JobError> + 'a;

/// What `each` makes of the parts that the model has; how long its loading took is added to `loading`.
fn parts(
    backend: &CandleBackend,
    spec: &BenchSpec,
    cx: &TaskCx<'_>,
    loading: &Cell<Option<Timing>>,
    each: &Each<'_>,
) -> Result<Outputs, JobError> {
    let explain = |error| job_error("Bench", error);
    let numbers = |tensor: Result<Tensor, ModelError>| -> Result<Vec<f32>, JobError> {
        let tensor = tensor.map_err(explain)?;
        let all = tensor.to_dtype(DType::F32).and_then(|all| all.flatten_all()?.to_vec1());
        all.map_err(|error| explain(error.into()))
    };
    let (has_clip, has_diffusion) = backend.has(&spec.model)?;
    let mut outputs = Outputs::default();
    if has_clip {
        let (clip, time) = timed(cx, |cx| backend.clip(&spec.model, cx))?;
        loading.set(Some(time));
        let picture = Picture::from_fn(Extent::new(256, 256), |x, y| [x as u8, y as u8, 128]);
        outputs[0] = Some(each(0, &|cx| Ok(clip.text_encode(PROMPT, cx).map_err(explain)?.0))?);
        outputs[1] = Some(each(1, &|cx| clip.image_encode(&picture, cx).map_err(explain))?);
    }
    if has_diffusion {
        let (model, time) = timed(cx, |cx| backend.diffusion(&spec.model, cx))?;
        loading.set(Some(loading.get().map_or(time, |earlier: Timing| earlier.and(time))));
        if !has_clip {
            outputs[0] = Some(each(0, &|cx| numbers(model.text_encode(PROMPT, cx)))?);
        }
        outputs[2] = Some(each(2, &|cx| numbers(model.denoise_once(cx)))?);
        outputs[3] = Some(each(3, &|cx| numbers(model.decode_once(cx)))?);
    }
    Ok(outputs)
}

/// The run with the least processor time; one run goes before them to warm up. Parts that take long are run less often.
fn fastest(repeats: u32, run: &Part<'_>, cx: &TaskCx<'_>) -> Result<(Timing, Vec<f32>), JobError> {
    run(cx)?;
    let (mut best, begun): (Option<(Timing, Vec<f32>)>, _) = (None, Instant::now());
    for _ in 0..repeats.max(1) {
        if best.is_some() && begun.elapsed().as_secs_f64() > LONGEST {
            break;
        }
        cx.checkpoint()?;
        let (output, timing) = timed(cx, run)?;
        if best.as_ref().is_none_or(|(best, _)| timing.cpu_seconds < best.cpu_seconds) {
            best = Some((timing, output));
        }
    }
    best.ok_or(JobError::Cancelled)
}

/// What `run` gives, and how long it took.
fn timed<T>(cx: &TaskCx<'_>, run: impl FnOnce(&TaskCx<'_>) -> Result<T, JobError>) -> Result<(T, Timing), JobError> {
    let (stretches, cpu, wall) = (Stretches::of(cx), cpu_seconds(), Instant::now());
    let made = run(&stretches.cx())?;
    let timing = Timing {
        cpu_seconds: cpu_seconds() - cpu,
        wall_seconds: wall.elapsed().as_secs_f64(),
        longest_stretch_seconds: stretches.longest().as_secs_f64(),
        relative_error: None,
    };
    Ok((made, timing))
}

/// The root mean square of the difference, as a part of that of `want`.
fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let difference = squares(&mut got.iter().zip(want).map(|(got, want)| f64::from(*got) - f64::from(*want)));
    (difference / squares(&mut want.iter().map(|want| f64::from(*want)))).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_a_part_of_what_was_wanted() {
        assert!((relative_error(&[3.0, 4.5], &[3.0, 4.0]) - 0.1).abs() < 1e-12);
        assert!(relative_error(&[3.0, 4.0], &[3.0, 4.0]) == 0.0);
    }
}
