//! Convolutions with a stride of 1 by tile registers, without unfolding: neighbouring channels lie beside each other as pairs, rows of
//! pixels follow each other with zeros around, and each tap is the same pixels from another place on.
//!
//! Invariant: blocks are cut by the sizes alone, so that results are the same bits whatever the number of threads.

use half::bf16;

use super::super::fresh::{Places, written};
use super::super::product::{Pause, Room};
use super::super::turns::in_turns;
use super::super::word::{Pair, pair_up, round};
use super::{Ahead, Aligned, DEPTH, Left, Right, SIDE, Steps, WORDS, multiply};
use crate::base::task::TaskCx;
use crate::models::error::Result;

/// Pairs that are held together, about: they should stay in the processor's cache.
const HELD: usize = 160 << 10;
/// Outputs that are computed together.
const OUTPUTS: usize = 10 * SIDE;
/// Pairs of a line of the processor's cache.
const LINE: usize = 16;

thread_local! {
    static PIXELS: Room<Pair> = Room::default();
}

/// Weights as (outputs / SIDE, taps, inputs / DEPTH, SIDE, DEPTH), with zeros where there is no number.
#[derive(Debug)]
pub(in super::super) struct Filters {
    numbers: Vec<bf16>,
    inputs: usize,
    taps: usize,
}

impl Filters {
    /// Of `weight` (outputs, inputs, taps).
    ///
    /// # Errors
    /// Those of `pause`, which is called now and then.
    pub(in super::super) fn new(weight: &[f32], inputs: usize, taps: usize, pause: Pause<'_>) -> Result<Self> {
        let outputs = weight.len() / (inputs * taps);
        let mut filters = Self { numbers: Vec::new(), inputs, taps };
        filters.numbers = vec![bf16::ZERO; outputs.div_ceil(SIDE) * filters.panel()];
        let mut row = vec![0f32; inputs];
        for (output, weight) in weight.chunks_exact(inputs * taps).enumerate() {
            if output % SIDE == 0 {
                pause()?;
            }
            for tap in 0..taps {
                row.iter_mut().zip(weight.iter().skip(tap).step_by(taps)).for_each(|(to, from)| *to = *from);
                for (step, row) in row.chunks(DEPTH).enumerate() {
                    let at = filters.place(output, tap, step);
                    round(row, &mut filters.numbers[at..at + DEPTH]);
                }
            }
        }
        Ok(filters)
    }

    /// The numbers again, (outputs, inputs, taps).
    pub(in super::super) fn unpacked(&self, outputs: usize) -> Vec<f32> {
        let number = |output: usize, input: usize, tap: usize| {
            self.numbers[self.place(output, tap, input / DEPTH) + input % DEPTH].to_f32()
        };
        let each = self.inputs * self.taps;
        (0..outputs * each).map(|at| number(at / each, at % each / self.taps, at % self.taps)).collect()
    }

    fn steps(&self) -> usize {
        self.inputs.div_ceil(DEPTH)
    }

    fn panel(&self) -> usize {
        self.taps * self.steps() * SIDE * DEPTH
    }

    fn place(&self, output: usize, tap: usize, step: usize) -> usize {
        output / SIDE * self.panel() + ((tap * self.steps() + step) * SIDE + output % SIDE) * DEPTH
    }
}

/// Sizes of a convolution with `TAPS` x `TAPS` taps that keeps the size of pictures.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Sizes<const TAPS: usize> {
    pub(in super::super) batch: usize,
    pub(in super::super) inputs: usize,
    pub(in super::super) outputs: usize,
    pub(in super::super) height: usize,
    pub(in super::super) width: usize,
}

impl<const TAPS: usize> Sizes<TAPS> {
    /// Zeros on each side.
    const MARGIN: usize = TAPS / 2;

    fn area(self) -> usize {
        self.height * self.width
    }

    /// From one row of pixels to the next.
    fn stride(self) -> usize {
        self.width + 2 * Self::MARGIN
    }

    /// How pictures are cut.
    fn cut(self) -> Cut {
        let held = HELD / (self.inputs.div_ceil(DEPTH) * WORDS);
        let rows = (held / self.stride()).saturating_sub(2 * Self::MARGIN).clamp(1, self.height);
        let rows = self.height.div_ceil(self.height.div_ceil(rows));
        let picture = (rows + 2 * Self::MARGIN) * self.stride();
        let pictures = if rows == self.height { (held / picture).clamp(1, self.batch) } else { 1 };
        // The last columns of a block may lie behind the last row. An odd number of lines, so that the pairs of a register fall into
        // different parts of the cache.
        let plane = (pictures * picture + 2 * Self::MARGIN + SIDE).div_ceil(LINE) | 1;
        Cut { rows, pictures, picture, plane: plane * LINE }
    }
}

/// How pictures are cut into what is computed together: a few rows of one, or several whole ones.
#[derive(Clone, Copy)]
struct Cut {
    rows: usize,
    pictures: usize,
    /// Pairs from one picture to the next.
    picture: usize,
    /// Pairs from one pair of channels to the next.
    plane: usize,
}

/// `xs` (batch, inputs, h, w) with `filters` and `bias` (outputs) -> (batch, outputs, h, w).
pub(in super::super) fn convolve<const TAPS: usize>(
    xs: &[f32],
    filters: &Filters,
    bias: &[f32],
    sizes: Sizes<TAPS>,
    cx: &TaskCx<'_>,
) -> candle_core::Result<Vec<f32>> {
    let Sizes { batch, outputs, .. } = sizes;
    let count = batch * outputs * sizes.area();
    if count == 0 {
        return Ok(Vec::new());
    }
    #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
    // Safety: every plane's rows are those of one job, which writes all that it has.
    unsafe {
        written(count, |out| fill(xs, filters, bias, sizes, cx, out))
    }
}

/// As [`convolve`], into `out`.
fn fill<const TAPS: usize>(
    xs: &[f32],
    filters: &Filters,
    bias: &[f32],
    sizes: Sizes<TAPS>,
    cx: &TaskCx<'_>,
    out: &mut Places,
) -> candle_core::Result<()> {
    let Sizes { batch, outputs, .. } = sizes;
    let cut = sizes.cut();
    let across = sizes.height.div_ceil(cut.rows);
    let parts = outputs.div_ceil(OUTPUTS);
    // The planes' rows that each job computes, one after the other: first by picture, then by channel.
    let mut jobs: Vec<Vec<&mut Places>> = Vec::new();
    jobs.resize_with(batch.div_ceil(cut.pictures) * across * parts, Vec::new);
    for (plane, pixels) in out.chunks_exact_mut(sizes.area()).enumerate() {
        let (picture, channel) = (plane / outputs, plane % outputs);
        for (part, pixels) in pixels.chunks_mut(cut.rows * sizes.width).enumerate() {
            jobs[(picture / cut.pictures * across + part) * parts + channel / OUTPUTS].push(pixels);
        }
    }
    let starts = (0..TAPS * TAPS).flat_map(|tap| {
        let place = tap / TAPS * sizes.stride() + tap % TAPS;
        (0..filters.steps()).map(move |step| step * WORDS * cut.plane + place)
    });
    let steps = Steps::new(starts.collect());
    let each = cut.pictures * cut.rows * sizes.width * sizes.inputs * TAPS * TAPS * OUTPUTS.min(outputs);
    in_turns(jobs.into_iter().enumerate(), each, cx, |(job, planes)| {
        PIXELS.with(|room| {
            room.with(filters.steps() * WORDS * cut.plane, |pairs| {
                let (place, first) = (job / parts, job % parts * OUTPUTS);
                let pictures = place / across * cut.pictures..batch.min((place / across + 1) * cut.pictures);
                lay_out(xs, pictures.clone(), place % across * cut.rows, sizes, cut, pairs);
                let right = Right { pairs, row: cut.plane, steps: &steps };
                compute(right, filters, bias, first, pictures.len(), sizes, cut, planes);
            });
        });
    })
}

/// The rows from number `first` on and the margins around them, as pairs of channels: (inputs / 2, [`Cut::plane`]).
fn lay_out<const TAPS: usize>(
    xs: &[f32],
    pictures: std::ops::Range<usize>,
    first: usize,
    sizes: Sizes<TAPS>,
    cut: Cut,
    pairs: &mut [Pair],
) {
    let Sizes { inputs, height, width, .. } = sizes;
    let (margin, zeros) = (Sizes::<TAPS>::MARGIN, vec![0f32; width]);
    for (word, plane) in pairs.chunks_exact_mut(cut.plane).enumerate() {
        if word * 2 >= inputs {
            plane.fill(Pair::default());
            continue;
        }
        for (picture, plane) in pictures.clone().zip(plane.chunks_exact_mut(cut.picture)) {
            let channel = |channel: usize| &xs[(picture * inputs + channel) * sizes.area()..][..sizes.area()];
            let upper = channel(word * 2);
            let lower = (word * 2 + 1 < inputs).then(|| channel(word * 2 + 1));
            for (row, to) in plane.chunks_exact_mut(sizes.stride()).enumerate() {
                let y = (first + row).wrapping_sub(margin);
                if y >= height {
                    to.fill(Pair::default());
                    continue;
                }
                let (left, to) = to.split_at_mut(margin);
                let (to, right) = to.split_at_mut(width);
                left.fill(Pair::default());
                right.fill(Pair::default());
                let upper = &upper[y * width..][..width];
                // The last of an odd number of channels is alone.
                let lower = lower.map_or(&zeros[..], |lower| &lower[y * width..][..width]);
                pair_up(upper, lower, to);
            }
        }
        plane[pictures.len() * cut.picture..].fill(Pair::default());
    }
}

/// The outputs from number `first` on, into rows of their planes.
#[expect(clippy::too_many_arguments, reason = "all that a job is about")]
fn compute<const TAPS: usize>(
    right: Right<'_>,
    filters: &Filters,
    bias: &[f32],
    first: usize,
    pictures: usize,
    sizes: Sizes<TAPS>,
    cut: Cut,
    mut planes: Vec<&mut Places>,
) {
    let (stride, width) = (sizes.stride(), sizes.width);
    let channels = planes.len() / pictures;
    let mut block = Aligned([[0f32; SIDE]; SIDE]);
    for panel in 0..channels.div_ceil(SIDE) {
        let numbers = &filters.numbers[(first / SIDE + panel) * filters.panel()..][..filters.panel()];
        let left = Left { numbers, row: DEPTH, step: SIDE * DEPTH };
        let here = panel * SIDE..channels.min((panel + 1) * SIDE);
        for picture in 0..pictures {
            let planes = &mut planes[picture * channels..][here.clone()];
            let rows = planes[0].len() / width;
            for column in (0..rows * stride).step_by(SIDE) {
                let right = Right { pairs: &right.pairs[picture * cut.picture + column..], ..right };
                multiply(left, right, false, Ahead::NOTHING, &mut block.0);
                for ((plane, sums), bias) in planes.iter_mut().zip(&block.0).zip(&bias[first + here.start..]) {
                    put(sums, *bias, column, stride, width, plane);
                }
            }
        }
    }
}

/// Sums from place `column` on, of rows that are `stride` apart, into rows of `width` pixels.
fn put(sums: &[f32; SIDE], bias: f32, column: usize, stride: usize, width: usize, plane: &mut Places) {
    let mut lane = 0;
    while lane < SIDE {
        let (row, x) = ((column + lane) / stride, (column + lane) % stride);
        let Some(pixels) = plane.get_mut(row * width..(row + 1) * width) else { return };
        if x < width {
            pixels[x..].iter_mut().zip(&sums[lane..]).for_each(|(to, sum)| {
                to.write(sum + bias);
            });
        }
        lane += stride - x;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::models::rng::TorchRng;
    use candle_core::{DType, Device, Tensor};

    fn compare<const TAPS: usize>([batch, inputs, outputs, height, width]: [usize; 5]) {
        let mut rng = TorchRng::new(7);
        let (weight, bias) = (rng.randn(outputs * inputs * TAPS * TAPS), rng.randn(outputs));
        let xs = rng.randn(batch * inputs * height * width);
        let filters = Filters::new(&weight, inputs, TAPS * TAPS, &|| Ok(())).unwrap();
        let sizes = Sizes::<TAPS> { batch, inputs, outputs, height, width };
        let got = convolve(&xs, &filters, &bias, sizes, &TaskCx::detached()).unwrap();
        let tensor = |numbers: &[f32], shape: &[usize]| {
            let rounded: Vec<f64> = numbers.iter().map(|number| f64::from(bf16::from_f32(*number).to_f32())).collect();
            Tensor::from_vec(rounded, shape, &Device::Cpu).unwrap()
        };
        let (kernel, pictures) =
            (tensor(&weight, &[outputs, inputs, TAPS, TAPS]), tensor(&xs, &[batch, inputs, height, width]));
        let want = pictures.conv2d(&kernel, TAPS / 2, 1, 1, 1).unwrap();
        let bias = Tensor::from_vec(bias, (1, outputs, 1, 1), &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
        let want: Vec<f64> = want.broadcast_add(&bias).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(got.len(), want.len());
        let energy = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number * number).sum::<f64>();
        let off = energy(&mut got.iter().zip(&want).map(|(got, want)| f64::from(*got) - want));
        let error = (off / energy(&mut want.iter().copied())).sqrt();
        assert!(error < 2e-6, "{inputs} -> {outputs}, {height}x{width}: {error}");
        let again = filters.unpacked(outputs);
        assert!(weight.iter().zip(&again).all(|(want, got)| (want - got).abs() <= want.abs() / 256.0));
    }

    #[test]
    fn differs_from_64_bits_only_by_rounding_what_is_multiplied() {
        for sizes in [
            [1, 1, 1, 1, 1],
            [3, 5, 130, 2, 5],
            [2, 70, 13, 8, 8],
            [1, 33, 330, 7, 4],
            [5, 64, 40, 16, 16],
            [1, 3, 34, 3, 500],
            [2, 320, 8, 30, 41],
        ] {
            compare::<3>(sizes);
            compare::<1>(sizes);
        }
    }

    #[test]
    fn a_picture_of_many_pairs_is_cut_into_rows() {
        let sizes = Sizes::<3> { batch: 1, inputs: 512, outputs: 4, height: 40, width: 64 };
        assert!(sizes.cut().rows < 40);
        compare::<3>([1, 512, 4, 40, 64]);
    }
}
