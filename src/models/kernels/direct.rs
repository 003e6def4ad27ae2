//! Convolution on the CPU by unfolding a few places of the output at a time into panels of columns.
//!
//! Invariant: blocks are cut by the sizes alone, so that results are the same bits whatever the number of threads.

use pulp::Arch;

use super::conv::Geometry;
use super::product::Panels;
use super::product::{COLUMNS, ROWS, Room, ZERO};
use super::turns::in_turns;
use super::word::Word;
use crate::base::task::TaskCx;

/// Places of the output that are computed together.
const TOGETHER: usize = 4 * COLUMNS;
/// Panels of output channels that are computed together.
const PANELS: usize = 27;
/// Rows of the unfolded picture that lie together.
const DEPTH: usize = 576;

thread_local! {
    static UNFOLDED: Room = Room::default();
}

/// Sizes of a convolution with `SIDE` x `SIDE` taps.
#[derive(Clone, Copy)]
pub(super) struct Sizes<const SIDE: usize> {
    pub(super) geometry: Geometry,
    pub(super) batch: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) out_height: usize,
    pub(super) out_width: usize,
}

/// Output places beside each other, `lane` is where they go in their panel.
struct Line {
    picture: usize,
    y: usize,
    x: usize,
    count: usize,
    lane: usize,
}

/// Some places of an output plane.
struct Destination<'a> {
    channel: usize,
    /// The first place's number in its group.
    first: usize,
    values: &'a mut [f32],
}

/// `xs` (batch, inputs, h, w) with `weight`, packed as rows (outputs / ROWS, inputs * SIDE * SIDE, ROWS), and `bias` (outputs)
/// -> (batch, outputs, h', w').
pub(super) fn convolve<const SIDE: usize>(
    xs: &[f32],
    weight: &Panels,
    bias: &[f32],
    sizes: Sizes<SIDE>,
    cx: &TaskCx<'_>,
) -> candle_core::Result<Vec<f32>> {
    let Sizes { batch, outputs, .. } = sizes;
    let area = sizes.out_height * sizes.out_width;
    let mut out = vec![0f32; batch * outputs * area];
    let (groups, blocks) = ((batch * area).div_ceil(TOGETHER), outputs.div_ceil(PANELS * ROWS));
    let mut jobs: Vec<Vec<Destination<'_>>> = Vec::new();
    jobs.resize_with(groups * blocks, Vec::new);
    for (plane, mut values) in out.chunks_exact_mut(area.max(1)).enumerate() {
        let (picture, channel) = (plane / outputs, plane % outputs);
        let mut place = picture * area;
        while !values.is_empty() {
            let (group, first) = (place / TOGETHER, place % TOGETHER);
            let (now, later) = values.split_at_mut((TOGETHER - first).min(values.len()));
            place += now.len();
            jobs[group * blocks + channel / (PANELS * ROWS)].push(Destination { channel, first, values: now });
            values = later;
        }
    }
    let each = TOGETHER * SIDE * SIDE * sizes.inputs * (PANELS * ROWS).min(outputs);
    in_turns(jobs.into_iter().enumerate(), each, cx, |(job, destinations)| {
        compute(xs, weight, bias, sizes, job / blocks * TOGETHER, job % blocks * PANELS, destinations);
    })?;
    Ok(out)
}

/// The places from number `first_place` on, counted through all pictures, for panels of outputs from `first_panel` on.
fn compute<const SIDE: usize>(
    xs: &[f32],
    weight: &Panels,
    bias: &[f32],
    sizes: Sizes<SIDE>,
    first_place: usize,
    first_panel: usize,
    destinations: Vec<Destination<'_>>,
) {
    let (taps, arch) = (SIDE * SIDE, Arch::new());
    let places = (sizes.batch * sizes.out_height * sizes.out_width - first_place).min(TOGETHER);
    let columns = places.div_ceil(COLUMNS);
    let panels = (sizes.outputs.div_ceil(ROWS) - first_panel).min(PANELS);
    let channels = (DEPTH / taps).min(sizes.inputs);
    let size = channels * taps * COLUMNS;
    let lines: Vec<Vec<Line>> = (0..columns)
        .map(|column| {
            let first = first_place + column * COLUMNS;
            lines(first, COLUMNS.min(first_place + places - first), sizes)
        })
        .collect();
    let (mut sums, mut buffer) = (vec![ZERO; panels * columns], Vec::new());
    UNFOLDED.with(|room| {
        room.with(columns * size, |unfolded| {
            unfolded.fill(0.0);
            for first in (0..sizes.inputs).step_by(channels.max(1)) {
                let count = channels.min(sizes.inputs - first);
                for (lines, panel) in lines.iter().zip(unfolded.chunks_exact_mut(size)) {
                    for (channel, rows) in panel.chunks_exact_mut(taps * COLUMNS).take(count).enumerate() {
                        unfold(xs, first + channel, lines, sizes, rows);
                    }
                }
                for panel in 0..panels {
                    let at = ((first_panel + panel) * sizes.inputs + first) * taps * ROWS;
                    let used = sizes.outputs - (first_panel + panel) * ROWS;
                    let rows = weight.get(at, count * taps * ROWS, &mut buffer);
                    for (columns, sum) in unfolded.chunks_exact(size).zip(&mut sums[panel * columns..]) {
                        f32::add_product(arch, rows, &columns[..count * taps * COLUMNS], used, sum);
                    }
                }
            }
        });
    });
    for Destination { channel, first, values } in destinations {
        let (panel, row, bias) = (channel / ROWS - first_panel, channel % ROWS, bias[channel]);
        let tiles = &sums[panel * columns..][..columns];
        let computed = tiles.iter().flat_map(|tile| &tile[row]).skip(first);
        values.iter_mut().zip(computed).for_each(|(to, sum)| *to = sum + bias);
    }
}

/// The lines that the next `count` places from number `first` on make up.
fn lines<const SIDE: usize>(first: usize, count: usize, sizes: Sizes<SIDE>) -> Vec<Line> {
    let (mut lane, mut lines) = (0, Vec::new());
    while lane < count {
        let (row, x) = ((first + lane) / sizes.out_width, (first + lane) % sizes.out_width);
        let here = (sizes.out_width - x).min(count - lane);
        lines.push(Line { picture: row / sizes.out_height, y: row % sizes.out_height, x, count: here, lane });
        lane += here;
    }
    lines
}

/// What each tap is multiplied by at the places of `lines`: (SIDE * SIDE, COLUMNS), zero outside the picture.
fn unfold<const SIDE: usize>(xs: &[f32], channel: usize, lines: &[Line], sizes: Sizes<SIDE>, rows: &mut [f32]) {
    let Sizes { geometry: Geometry { stride, before, .. }, inputs, height, width, .. } = sizes;
    for (tap, row) in rows.as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
        let (ky, kx) = (tap / SIDE, tap % SIDE);
        for &Line { picture, y, x, count, lane } in lines {
            let out = &mut row[lane..lane + count];
            let y = (y * stride + ky).wrapping_sub(before);
            if y >= height {
                out.fill(0.0);
                continue;
            }
            let line = &xs[((picture * inputs + channel) * height + y) * width..][..width];
            // Places whose pixel lies left of the picture, and the first whose pixel lies right of it.
            let left = before.saturating_sub(kx).div_ceil(stride).saturating_sub(x).min(count);
            let end = (width + before).saturating_sub(kx).div_ceil(stride).saturating_sub(x).clamp(left, count);
            out[..left].fill(0.0);
            out[end..].fill(0.0);
            if left == end {
                continue;
            }
            let source = &line[(x + left) * stride + kx - before..];
            if stride == 1 {
                out[left..end].copy_from_slice(&source[..end - left]);
            } else {
                out[left..end].iter_mut().zip(source.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
            }
        }
    }
}
