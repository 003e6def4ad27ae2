//! 3x3 convolution with a stride of 1 on the CPU by Winograd's minimal filtering, F(4x4, 3x3) (Lavin and Gray 2016): a quarter of
//! the multiplications. Polynomials are evaluated at 0, +-5/8, +-3/2 and infinity, which loses half a digit less than the usual
//! points: about twice the error of summing directly.
//!
//! The filters are transformed anew in every call, block by block, since they would take four times the memory.
//!
//! Invariant: blocks are cut by the sizes alone, so that results are the same bits whatever the number of threads.

use pulp::Arch;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::product::{COLUMNS, Panels, ROWS, Room, ZERO};
use super::simd::wide;
use super::turns::in_turns;
use super::word::Word;
use crate::base::task::TaskCx;

/// Side of a tile of the output.
const TILE: usize = 4;
/// Side of what a tile is computed from.
const SIDE: usize = TILE + 2;
/// Products of a tile and a filter, each summed over the channels.
const PLACES: usize = SIDE * SIDE;
/// Numbers of a filter.
const TAPS: usize = 9;
/// Tiles that are computed together, if their rows are no longer.
const TOGETHER: usize = 128;
/// Input channels whose transformed tiles lie together.
const DEPTH: usize = 64;
/// Panels of output channels that are computed together: their sums should stay in the processor's cache.
const PANELS: usize = 3;
/// The places besides 0 and infinity are +-A and +-B.
const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;

thread_local! {
    static INPUT: Room = Room::default();
    static FILTERS: Room = Room::default();
}

/// Sizes of a convolution that keeps the size of pictures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Sizes {
    /// Whether there are enough tiles and channels that this pays.
    pub(super) fn pays(self) -> bool {
        self.inputs >= ROWS && self.batch * self.tile_rows() * self.tiles_across() >= COLUMNS / 2
    }

    fn tile_rows(self) -> usize {
        self.height.div_ceil(TILE)
    }

    fn tiles_across(self) -> usize {
        self.width.div_ceil(TILE)
    }

    fn area(self) -> usize {
        self.height * self.width
    }
}

/// Rows of tiles that are computed together, of one picture or of several.
#[derive(Clone, Copy)]
struct Group {
    sizes: Sizes,
    /// Counted through all pictures.
    first_row: usize,
    rows: usize,
    /// Panels that all tiles of the largest group fill.
    panels: usize,
}

impl Group {
    /// How many numbers a block of channels becomes: (places, panels, DEPTH, COLUMNS) and a gap after each place.
    fn slab(self) -> usize {
        PLACES * self.place()
    }

    /// From one place to the next. Without the gap this would be a power of two, and all places would fall into the same few lines
    /// of the processor's cache.
    fn place(self) -> usize {
        (self.panels * DEPTH + 1) * COLUMNS
    }
}

/// A row of tiles of an output plane.
struct Destination<'a> {
    /// Counted from the group's first.
    row: usize,
    channel: usize,
    pixels: &'a mut [f32],
}

/// `xs` (batch, inputs, h, w) with `weight`, packed as rows (outputs / ROWS, inputs * 9, ROWS), and `bias` (outputs)
/// -> (batch, outputs, h, w).
pub(super) fn convolve(
    xs: &[f32],
    weight: &Panels,
    bias: &[f32],
    sizes: Sizes,
    cx: &TaskCx<'_>,
) -> candle_core::Result<Vec<f32>> {
    let (tile_rows, across) = (sizes.tile_rows(), sizes.tiles_across());
    let all_rows = sizes.batch * tile_rows;
    let together = (TOGETHER / across).clamp(1, all_rows);
    let mut out = vec![0f32; sizes.batch * sizes.outputs * sizes.area()];
    let blocks = sizes.outputs.div_ceil(PANELS * ROWS);
    let mut jobs: Vec<Vec<Vec<Destination<'_>>>> = Vec::new();
    jobs.resize_with(all_rows.div_ceil(together), || (0..blocks).map(|_| Vec::new()).collect());
    for (plane, pixels) in out.chunks_exact_mut(sizes.area()).enumerate() {
        let (picture, channel) = (plane / sizes.outputs, plane % sizes.outputs);
        for (row, pixels) in pixels.chunks_mut(TILE * sizes.width).enumerate() {
            let row = picture * tile_rows + row;
            let job = &mut jobs[row / together][channel / (PANELS * ROWS)];
            job.push(Destination { row: row % together, channel, pixels });
        }
    }
    let panels = (together * across).div_ceil(COLUMNS);
    let job = together * across * PLACES * sizes.inputs * PANELS * ROWS;
    for (index, jobs) in jobs.into_iter().enumerate() {
        let first_row = index * together;
        let group = Group { sizes, first_row, rows: together.min(all_rows - first_row), panels };
        INPUT.with(|room| {
            room.with(sizes.inputs.div_ceil(DEPTH) * group.slab(), |input| {
                input.par_chunks_mut(group.slab()).enumerate().for_each(|(block, slab)| {
                    transform_input(xs, block * DEPTH, group, slab);
                });
                let input = &*input;
                in_turns(jobs.into_iter().enumerate(), job, cx, |(block, destinations)| {
                    multiply(input, weight, bias, block * PANELS, group, destinations);
                })
            })
        })?;
    }
    Ok(out)
}

/// The transformed tiles of the next [`DEPTH`] channels from `first` on: (places, panels, DEPTH, COLUMNS).
fn transform_input(xs: &[f32], first: usize, group: Group, slab: &mut [f32]) {
    let Group { sizes, first_row, rows, .. } = group;
    let (tile_rows, across) = (sizes.tile_rows(), sizes.tiles_across());
    let channels = first..(first + DEPTH).min(sizes.inputs);
    let mut scratch = Scratch::new(across);
    wide(
        #[inline(always)]
        || {
            for (depth, channel) in channels.enumerate() {
                for row in 0..rows {
                    let (picture, picture_row) = ((first_row + row) / tile_rows, (first_row + row) % tile_rows);
                    let plane = &xs[(picture * sizes.inputs + channel) * sizes.area()..][..sizes.area()];
                    scratch.split(plane, picture_row, sizes);
                    scratch.transform(|place, mut values| {
                        let mut tile = row * across;
                        while !values.is_empty() {
                            let lane = tile % COLUMNS;
                            let (now, later) = values.split_at((COLUMNS - lane).min(values.len()));
                            let line = place * group.place() + (tile / COLUMNS * DEPTH + depth) * COLUMNS;
                            slab[line + lane..][..now.len()].copy_from_slice(now);
                            tile += now.len();
                            values = later;
                        }
                    });
                }
            }
        },
    );
}

/// A row of tiles on its way through the transform.
struct Scratch {
    tiles: usize,
    /// Pixels by their place inside a tile: (SIDE, TILE, tiles + 1). The two columns that a tile shares with the next are that one's.
    phases: Vec<f32>,
    /// The same after the transform along y.
    mixed: Vec<f32>,
    /// A line of places: (SIDE, tiles).
    line: Vec<f32>,
}

impl Scratch {
    fn new(tiles: usize) -> Self {
        let size = SIDE * TILE * (tiles + 1);
        Self { tiles, phases: vec![0.0; size], mixed: vec![0.0; size], line: vec![0.0; SIDE * tiles] }
    }

    /// Reads row `row` of the tiles of `plane`, with zeros around the picture.
    #[inline(always)]
    fn split(&mut self, plane: &[f32], row: usize, sizes: Sizes) {
        let count = self.tiles + 1;
        for (line, phases) in self.phases.chunks_exact_mut(TILE * count).enumerate() {
            // Tiles begin one pixel above and to the left of what they are for.
            let y = (row * TILE + line).wrapping_sub(1);
            if y >= sizes.height {
                phases.fill(0.0);
                continue;
            }
            let (tiles, rest) = plane[y * sizes.width..][..sizes.width].as_chunks::<TILE>();
            let whole = tiles.len();
            let (first, others) = phases.split_at_mut(count);
            let (second, others) = others.split_at_mut(count);
            let (third, fourth) = others.split_at_mut(count);
            first[0] = 0.0;
            for ((((pixels, first), second), third), fourth) in
                tiles.iter().zip(&mut first[1..]).zip(&mut *second).zip(&mut *third).zip(&mut *fourth)
            {
                [*second, *third, *fourth, *first] = *pixels;
            }
            let rest = |at: usize| rest.get(at).copied().unwrap_or(0.0);
            (second[whole], third[whole], fourth[whole]) = (rest(0), rest(1), rest(2));
            if whole < self.tiles {
                (first[self.tiles], second[self.tiles], third[self.tiles], fourth[self.tiles]) = (0.0, 0.0, 0.0, 0.0);
            }
        }
    }

    /// Gives each place's values, one for each tile, to `put`.
    #[inline(always)]
    fn transform(&mut self, mut put: impl FnMut(usize, &[f32])) {
        let (tiles, count) = (self.tiles, self.tiles + 1);
        across_rows(&self.phases, &mut self.mixed, TILE * count);
        for (y, mixed) in self.mixed.chunks_exact(TILE * count).enumerate() {
            let starts = [0, count, 2 * count, 3 * count, 1, count + 1];
            let columns = starts.map(|start| &mixed[start..start + tiles]);
            let (a, b, c, d, e, f) = (columns[0], columns[1], columns[2], columns[3], columns[4], columns[5]);
            let mut lines = self.line.chunks_exact_mut(tiles);
            let mut next = || lines.next().unwrap_or_default();
            let (oa, ob, oc, od, oe, of) = (next(), next(), next(), next(), next(), next());
            for i in 0..tiles {
                [oa[i], ob[i], oc[i], od[i], oe[i], of[i]] = input_line([a[i], b[i], c[i], d[i], e[i], f[i]]);
            }
            for (x, line) in self.line.chunks_exact(tiles).enumerate() {
                put(y * SIDE + x, line);
            }
        }
    }
}

/// The transform along y: of `SIDE` rows of `size` numbers, to as many.
#[inline(always)]
fn across_rows(from: &[f32], to: &mut [f32], size: usize) {
    let row = |index: usize| &from[index * size..][..size];
    let (a, b, c, d, e, f) = (row(0), row(1), row(2), row(3), row(4), row(5));
    let mut rows = to.chunks_exact_mut(size);
    let mut next = || rows.next().unwrap_or_default();
    let (oa, ob, oc, od, oe, of) = (next(), next(), next(), next(), next(), next());
    for i in 0..size {
        [oa[i], ob[i], oc[i], od[i], oe[i], of[i]] = input_line([a[i], b[i], c[i], d[i], e[i], f[i]]);
    }
}

/// Sums over all channels for the next panels of outputs from `first` on, turned into pixels.
fn multiply(
    input: &[f32],
    weight: &Panels,
    bias: &[f32],
    first: usize,
    group: Group,
    destinations: Vec<Destination<'_>>,
) {
    let Group { sizes, rows, .. } = group;
    let outputs = PANELS.min(sizes.outputs.div_ceil(ROWS) - first);
    let used = (rows * sizes.tiles_across()).div_ceil(COLUMNS);
    let (step, arch) = (DEPTH * ROWS, Arch::new());
    let (mut sums, mut buffer) = (vec![ZERO; PLACES * outputs * used], Vec::new());
    FILTERS.with(|room| {
        room.with(PLACES * outputs * step, |filters| {
            for (block, slab) in input.chunks_exact(group.slab()).enumerate() {
                let channels = (sizes.inputs - block * DEPTH).min(DEPTH);
                for output in 0..outputs {
                    let at = ((first + output) * sizes.inputs + block * DEPTH) * TAPS * ROWS;
                    let taps = weight.get(at, channels * TAPS * ROWS, &mut buffer);
                    transform_filters(taps, &mut filters[output * step..], outputs * step);
                }
                for place in 0..PLACES {
                    for tile in 0..used {
                        let columns = &slab[place * group.place() + tile * DEPTH * COLUMNS..][..channels * COLUMNS];
                        for output in 0..outputs {
                            let filters = &filters[(place * outputs + output) * step..][..channels * ROWS];
                            let used_rows = sizes.outputs - (first + output) * ROWS;
                            f32::add_product(
                                arch,
                                filters,
                                columns,
                                used_rows,
                                &mut sums[(place * outputs + output) * used + tile],
                            );
                        }
                    }
                }
            }
        });
    });
    wide(
        #[inline(always)]
        || {
            for Destination { row, channel, pixels } in destinations {
                let (output, lane) = (channel / ROWS - first, channel % ROWS);
                let sums = |place: usize, tile: usize| &sums[(place * outputs + output) * used + tile][lane];
                transform_output(sums, row * sizes.tiles_across(), bias[channel], sizes, pixels);
            }
        },
    );
}

/// The row of tiles whose first is number `tile` of its group, from sums by place and panel of tiles, as pixels.
#[inline(always)]
fn transform_output<'a>(
    sums: impl Fn(usize, usize) -> &'a [f32; COLUMNS],
    mut tile: usize,
    bias: f32,
    sizes: Sizes,
    pixels: &mut [f32],
) {
    let (mut done, across) = (0, sizes.tiles_across());
    while done < across {
        let (panel, lane) = (tile / COLUMNS, tile % COLUMNS);
        let count = (COLUMNS - lane).min(across - done);
        let mut mixed = [[0f32; COLUMNS]; TILE * SIDE];
        for x in 0..SIDE {
            let places: [&[f32; COLUMNS]; SIDE] = std::array::from_fn(|y| sums(y * SIDE + x, panel));
            for i in 0..COLUMNS {
                let column = output_line(std::array::from_fn(|y| places[y][i]));
                (0..TILE).for_each(|y| mixed[y * SIDE + x][i] = column[y]);
            }
        }
        for (mixed, line) in mixed.as_chunks::<SIDE>().0.iter().zip(pixels.chunks_exact_mut(sizes.width)) {
            let mut phases = [[0f32; COLUMNS]; TILE];
            for i in 0..COLUMNS {
                let row = output_line(std::array::from_fn(|x| mixed[x][i]));
                (0..TILE).for_each(|x| phases[x][i] = row[x] + bias);
            }
            let (tiles, rest) = line[done * TILE..].as_chunks_mut::<TILE>();
            let [a, b, c, d] = phases.each_ref().map(|phase| &phase[lane..lane + count]);
            for ((((to, a), b), c), d) in tiles.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *to = [*a, *b, *c, *d];
            }
            if tiles.len() < count {
                rest.iter_mut().zip(&phases).for_each(|(to, phase)| *to = phase[lane + tiles.len()]);
            }
        }
        done += count;
        tile += count;
    }
}

/// Filters of one panel and some channels, (channels, TAPS, ROWS), at all places, which are `step` apart in `out`.
fn transform_filters(taps: &[f32], out: &mut [f32], step: usize) {
    wide(
        #[inline(always)]
        || {
            for (channel, taps) in taps.as_chunks::<ROWS>().0.as_chunks::<TAPS>().0.iter().enumerate() {
                let columns: [_; 3] = std::array::from_fn(|x| filter_line(taps[x], taps[x + 3], taps[x + 6]));
                for y in 0..SIDE {
                    let line = filter_line(columns[0][y], columns[1][y], columns[2][y]);
                    for (x, values) in line.iter().enumerate() {
                        out[(y * SIDE + x) * step + channel * ROWS..][..ROWS].copy_from_slice(values);
                    }
                }
            }
        },
    );
}

/// Three taps at the six places.
#[inline(always)]
fn filter_line(first: [f32; ROWS], second: [f32; ROWS], third: [f32; ROWS]) -> [[f32; ROWS]; SIDE] {
    const AT_0: f32 = 1.0 / (A2 * B2);
    const AT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
    const AT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));
    let mut out = [[0f32; ROWS]; SIDE];
    for i in 0..ROWS {
        let (even, odd) = (first[i] + A2 * third[i], A * second[i]);
        (out[0][i], out[1][i], out[2][i]) = (AT_0 * first[i], AT_A * (even + odd), AT_A * (even - odd));
        let (even, odd) = (first[i] + B2 * third[i], B * second[i]);
        (out[3][i], out[4][i], out[5][i]) = (AT_B * (even + odd), AT_B * (even - odd), third[i]);
    }
    out
}

/// Six pixels at the six places.
#[inline(always)]
fn input_line(d: [f32; SIDE]) -> [f32; SIDE] {
    let (even_a, odd_a) = (d[4] - B2 * d[2], A * d[3] - (A * B2) * d[1]);
    let (even_b, odd_b) = (d[4] - A2 * d[2], B * d[3] - (B * A2) * d[1]);
    let at_0 = d[4] - (A2 + B2) * d[2] + (A2 * B2) * d[0];
    let at_infinity = d[5] - (A2 + B2) * d[3] + (A2 * B2) * d[1];
    [at_0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, at_infinity]
}

/// Six places as four pixels.
#[inline(always)]
fn output_line(m: [f32; SIDE]) -> [f32; TILE] {
    let (even_a, odd_a) = (m[1] + m[2], m[1] - m[2]);
    let (even_b, odd_b) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0] + even_a + even_b,
        A * odd_a + B * odd_b,
        A2 * even_a + B2 * even_b,
        (A * A2) * odd_a + (B * B2) * odd_b + m[5],
    ]
}
