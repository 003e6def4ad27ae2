//! Scaled dot-product attention, open to a hook. On the CPU in 32 bits, and where no hook looks, it works through a few queries at a
//! time and never holds all the scores; elsewhere candle's operations.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Shape, Tensor};
use pulp::Arch;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::exponentials::Exponentiate;
use super::fresh::{put, written};
use super::gradient::traced_attention;
use super::plain::shifted;
use super::product::{COLUMNS, ROWS, ZERO, word};
use super::simd::wide;
use super::tiles;
use super::turns::in_turns;
use super::word::{Pair, Word, multiplies_in_bf16};
use crate::base::task::TaskCx;
use crate::models::error::Result;
use crate::models::hook::{Hooks, Seen};

/// Keys whose scores are held together, at most.
const KEYS: usize = 128;
/// What a score costs besides its two products, in multiplications: its exponential.
const SCORE: usize = 20;

/// What attends to what.
#[derive(Debug, Clone, Copy)]
pub struct Attending {
    /// The channels are divided into this many heads.
    pub heads: usize,
    /// Whether a position sees only itself and earlier ones.
    pub is_causal: bool,
    /// Whether keys and values come from elsewhere (the prompt).
    pub is_cross: bool,
}

/// softmax(q k' / sqrt(width) + the hook's bias) v, for each head: q (batch, queries, channels), k and v (batch, keys, channels)
/// -> (batch, queries, channels).
///
/// # Errors
/// If shapes do not fit, or the hook stops the net.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, attending: Attending, hooks: &mut Hooks<'_>) -> Result<Tensor> {
    attention_in([q, k, v], attending, hooks, &TaskCx::detached())
}

/// As [`attention`], with pauses for the task where no hook looks.
///
/// # Errors
/// If shapes do not fit, the hook stops the net, or the task is cancelled.
pub fn attention_in(
    [q, k, v]: [&Tensor; 3],
    attending: Attending,
    hooks: &mut Hooks<'_>,
    cx: &TaskCx<'_>,
) -> Result<Tensor> {
    cx.checkpoint()?;
    let site = hooks.enter(attending.is_cross);
    hooks.look(site, Seen::Projections { q, k, v })?;
    let is_traced = [q, k, v].iter().any(|xs| xs.track_op());
    let is_fast = q.device().is_cpu() && q.dtype() == DType::F32;
    if is_fast && hooks.bias(site).is_none() && !hooks.wants(site) {
        let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
        let out = q.apply_op3_no_bwd(&k, &v, &Fused { attending, cx })?;
        return if is_traced { traced_attention([&q, &k, &v], out, attending) } else { Ok(out) };
    }
    let (q, k, v) = (split(q, attending.heads)?, split(k, attending.heads)?, split(v, attending.heads)?);
    let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
    let mut scores = (q * scale)?.matmul(&k.t()?)?;
    if attending.is_causal {
        scores = shifted(&scores, &causal_bias(&scores, 0)?)?;
    }
    if let Some(bias) = hooks.bias(site) {
        scores = shifted(&scores, bias)?;
    }
    let probabilities = match is_traced {
        // Of the two, only this one has a way back.
        true => candle_nn::ops::softmax(&scores, D::Minus1)?,
        false => candle_nn::ops::softmax_last_dim(&scores)?,
    };
    hooks.observe(site, &probabilities)?;
    merge(&probabilities.matmul(&v)?)
}

/// (batch, length, heads * width) -> (batch, heads, length, width), contiguous.
pub(super) fn split(xs: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, length, channels) = xs.dims3()?;
    Ok(xs.reshape((batch, length, heads, channels / heads))?.transpose(1, 2)?.contiguous()?)
}

/// (batch, heads, length, width) -> (batch, length, heads * width).
pub(super) fn merge(xs: &Tensor) -> Result<Tensor> {
    let (batch, heads, length, width) = xs.dims4()?;
    Ok(xs.transpose(1, 2)?.reshape((batch, length, heads * width))?)
}

/// The bias (queries, keys) that hides later positions from earlier ones; the first query is number `first` of its sequence.
pub(super) fn causal_bias(scores: &Tensor, first: usize) -> Result<Tensor> {
    let (queries, keys) = (scores.dim(D::Minus2)?, scores.dim(D::Minus1)?);
    let hidden = |query: usize, key: usize| if key > first + query { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> = (0..queries * keys).map(|at| hidden(at / keys, at % keys)).collect();
    Ok(Tensor::from_vec(values, (queries, keys), scores.device())?.to_dtype(scores.dtype())?)
}

struct Fused<'a> {
    attending: Attending,
    cx: &'a TaskCx<'a>,
}

/// The sizes of one run.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    queries: usize,
    pub(super) keys: usize,
    pub(super) channels: usize,
    pub(super) width: usize,
    is_causal: bool,
}

/// A head's keys and values, packed for products with a few queries, which are columns of [`Head::Word`]s.
pub(super) trait Head: Send + Sync {
    type Word: Word;
    /// Keys whose scores are held together.
    const KEYS: usize;

    /// Of keys and values, (keys, channels); both begin at the head's channels.
    fn new(keys: &[f32], values: &[f32], sizes: Sizes) -> Self;

    /// Words of a query.
    fn words(sizes: Sizes) -> usize;

    /// Rows, one for each channel of the result, with those that fill up a panel.
    fn rows(sizes: Sizes) -> usize;

    /// The scores of queries, (words, COLUMNS), and the next keys from number `first` on, as many as there are and fill panels up:
    /// (keys, COLUMNS).
    fn score<'a>(&self, first: usize, queries: &[Self::Word], scores: &'a mut Scores) -> &'a mut [[f32; COLUMNS]];

    /// Adds the values from number `first` on, times their `weights`, (values, COLUMNS), to (rows, COLUMNS).
    fn add(&self, first: usize, weights: &[[f32; COLUMNS]], buffer: &mut Vec<Self::Word>, sums: &mut [[f32; COLUMNS]]);
}

/// Room for the scores of a few keys.
pub(super) type Scores = [[f32; COLUMNS]; KEYS];

/// Keys, (keys / ROWS, words, ROWS), and values, (width / ROWS, depth, ROWS), as panels of rows.
struct Panels<T> {
    keys: Vec<T>,
    values: Vec<T>,
    sizes: Sizes,
}

impl<T: Word> Head for Panels<T> {
    type Word = T;
    const KEYS: usize = KEYS / ROWS * ROWS;

    fn new(keys: &[f32], values: &[f32], sizes: Sizes) -> Self {
        Self { keys: pack_keys(keys, sizes), values: pack_values(values, sizes), sizes }
    }

    fn words(sizes: Sizes) -> usize {
        sizes.width.div_ceil(T::DEPTH)
    }

    fn rows(sizes: Sizes) -> usize {
        sizes.width.next_multiple_of(ROWS)
    }

    fn score<'a>(&self, first: usize, queries: &[T], scores: &'a mut Scores) -> &'a mut [[f32; COLUMNS]] {
        let (arch, words) = (Arch::new(), Self::words(self.sizes));
        let keys = &self.keys[first * words..];
        let keys = &keys[..keys.len().min(Self::KEYS * words)];
        let scores = &mut scores[..keys.len() / words];
        for (keys, scores) in keys.chunks_exact(ROWS * words).zip(scores.as_chunks_mut().0) {
            *scores = ZERO;
            T::add_product(arch, keys, queries, ROWS, scores);
        }
        scores
    }

    fn add(&self, first: usize, weights: &[[f32; COLUMNS]], buffer: &mut Vec<T>, sums: &mut [[f32; COLUMNS]]) {
        let (arch, count) = (Arch::new(), weights.len());
        let weights = T::panel(weights, buffer);
        let panels = self.values.chunks_exact(depth::<T>(self.sizes) * ROWS);
        for (tile, (values, sums)) in panels.zip(sums.as_chunks_mut().0).enumerate() {
            let values = &values[first / T::DEPTH * ROWS..][..count / T::DEPTH * ROWS];
            T::add_product(arch, values, weights, self.sizes.width - tile * ROWS, sums);
        }
    }
}

/// Words of a channel of all values.
fn depth<T: Word>(sizes: Sizes) -> usize {
    sizes.keys.next_multiple_of(ROWS) / T::DEPTH
}

impl CustomOp3 for Fused<'_> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, queries, channels) = q_layout.shape().dims3()?;
        let (_, keys, _) = k_layout.shape().dims3()?;
        let Attending { heads, is_causal, .. } = self.attending;
        if k_layout.dims() != [batch, keys, channels] || v_layout.dims() != k_layout.dims() || keys == 0 {
            candle_core::bail!("attention of {q_layout:?} to {k_layout:?} and {v_layout:?}");
        }
        if heads == 0 || channels == 0 || !channels.is_multiple_of(heads) {
            candle_core::bail!("{channels} channels do not divide into {heads} attention heads");
        }
        let slice = |storage, layout: &Layout| super::contiguous(storage, layout);
        let (q, k, v) = (slice(q, q_layout)?, slice(k, k_layout)?, slice(v, v_layout)?);
        let sizes = Sizes { queries, keys, channels, width: channels / heads, is_causal };
        let out = match multiplies_in_bf16() {
            true if tiles::are_there() => self.run::<tiles::Head>([q, k, v], batch, sizes)?,
            true => self.run::<Panels<Pair>>([q, k, v], batch, sizes)?,
            false => self.run::<Panels<f32>>([q, k, v], batch, sizes)?,
        };
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }
}

impl Fused<'_> {
    fn run<H: Head>(&self, [q, k, v]: [&[f32]; 3], batch: usize, sizes: Sizes) -> candle_core::Result<Vec<f32>> {
        let Sizes { queries, keys, channels, .. } = sizes;
        let heads = self.attending.heads;
        let packed: Vec<H> = (0..batch * heads)
            .into_par_iter()
            .map(|head| {
                let from = head / heads * keys * channels + head % heads * sizes.width;
                H::new(&k[from..], &v[from..], sizes)
            })
            .collect();
        let blocks = queries.div_ceil(COLUMNS);
        // Each part of the work is a head's next few queries, whatever the number of threads.
        let mut parts: Vec<Vec<f32>> = vec![Vec::new(); batch * heads * blocks];
        let each = COLUMNS * keys * (2 * sizes.width + SCORE);
        in_turns(parts.iter_mut().enumerate(), each, self.cx, |(part, values)| {
            let (head, block) = (part / blocks, part % blocks);
            let first = block * COLUMNS;
            let q = &q[(head / heads * queries + first) * channels + head % heads * sizes.width..];
            *values = attend(q, &packed[head], first, sizes);
        })?;
        #[expect(unsafe_code, reason = "the compiler cannot see that all places are written")]
        // Safety: blocks make up all queries, and heads all channels.
        unsafe {
            written(q.len(), |out| {
                for (part, values) in parts.iter().enumerate() {
                    let (head, block) = (part / blocks, part % blocks);
                    for (row, values) in values.chunks_exact(sizes.width).enumerate() {
                        let row = head / heads * queries + block * COLUMNS + row;
                        put(values, &mut out[row * channels + head % heads * sizes.width..][..sizes.width]);
                    }
                }
                Ok(())
            })
        }
    }
}

/// A head's keys as panels of rows. The slice begins at the head's channels of the first key.
fn pack_keys<T: Word>(k: &[f32], sizes: Sizes) -> Vec<T> {
    let words = sizes.width.div_ceil(T::DEPTH);
    let mut packed = vec![T::default(); sizes.keys.next_multiple_of(ROWS) * words];
    for (key, k) in k.chunks(sizes.channels).take(sizes.keys).enumerate() {
        let panel = &mut packed[key / ROWS * ROWS * words..][..ROWS * words];
        let row = panel.iter_mut().skip(key % ROWS).step_by(ROWS);
        row.zip(k[..sizes.width].chunks(T::DEPTH)).for_each(|(to, numbers)| *to = word(numbers));
    }
    packed
}

/// A head's values as panels of rows, one row a channel. The slice begins at the head's channels of the first value.
fn pack_values<T: Word>(v: &[f32], sizes: Sizes) -> Vec<T> {
    let Sizes { keys, channels, width, .. } = sizes;
    let size = depth::<T>(sizes) * ROWS;
    let mut packed = vec![T::default(); size * width.div_ceil(ROWS)];
    for (index, first) in (0..keys).step_by(T::DEPTH).enumerate() {
        let count = T::DEPTH.min(keys - first);
        let number = |channel: usize, k: usize| if k < count { v[(first + k) * channels + channel] } else { 0.0 };
        for (tile, panel) in packed.chunks_exact_mut(size).enumerate() {
            for (row, to) in panel[index * ROWS..][..ROWS.min(width - tile * ROWS)].iter_mut().enumerate() {
                *to = T::of(|k| number(tile * ROWS + row, k));
            }
        }
    }
    packed
}

/// What the queries from number `first` on, at most [`COLUMNS`] of them, get: (queries, width). The slice begins at the head's
/// channels of the first query; rows are `channels` apart. Goes through the keys block by block and keeps the largest score so far
/// (Milakov and Gimelshein 2018).
fn attend<H: Head>(q: &[f32], head: &H, first: usize, sizes: Sizes) -> Vec<f32> {
    let Sizes { queries, keys: count, width, is_causal, .. } = sizes;
    let rows = COLUMNS.min(queries - first);
    let mut buffer = Vec::new();
    let mut columns = vec![H::Word::default(); H::words(sizes) * COLUMNS];
    // e^x is 2^(x log2(e)), and powers of two are simpler.
    let scale = std::f32::consts::LOG2_E / (width as f32).sqrt();
    fill_columns(q, rows, scale, sizes, &mut columns);
    let mut sums = vec![[0f32; COLUMNS]; H::rows(sizes)];
    let (mut largest, mut total) = ([f32::NEG_INFINITY; COLUMNS], [0f32; COLUMNS]);
    let mut scores = tiles::Aligned([[0f32; COLUMNS]; KEYS]);
    let seen = if is_causal { count.min(first + rows) } else { count };
    for first_key in (0..seen).step_by(H::KEYS) {
        let scores = head.score(first_key, &columns, &mut scores.0);
        for (key, scores) in scores.iter_mut().enumerate() {
            let key = first_key + key;
            if key >= count {
                scores.fill(f32::NEG_INFINITY);
            } else if is_causal && key > first {
                scores[..(key - first).min(COLUMNS)].fill(f32::NEG_INFINITY);
            }
        }
        let exponentiate = Exponentiate { scores, largest: &mut largest, total: &mut total, sums: &mut sums };
        exponentiate.run(H::Word::DEPTH > 1);
        head.add(first_key, scores, &mut buffer, &mut sums);
    }
    let mut out = vec![0f32; rows * width];
    wide(
        #[inline(always)]
        || {
            let shares: [f32; COLUMNS] = std::array::from_fn(|i| 1.0 / total[i]);
            for (row, (out, share)) in out.chunks_exact_mut(width).zip(shares).enumerate() {
                out.iter_mut().zip(&sums).for_each(|(to, sums)| *to = sums[row] * share);
            }
        },
    );
    out
}

/// The first queries, `scale` times, as columns of words, (words, COLUMNS); what they do not fill stays as it is. The slice begins at
/// the head's channels of the first query.
fn fill_columns<T: Word>(q: &[f32], rows: usize, scale: f32, sizes: Sizes, columns: &mut [T]) {
    /// Words that are rounded together.
    const BLOCK: usize = 16;
    let width = sizes.width;
    wide(
        #[inline(always)]
        || {
            for (lane, q) in q.chunks(sizes.channels).take(rows).enumerate() {
                let (blocks, rest) = q[..width].split_at(width / (BLOCK * T::DEPTH) * BLOCK * T::DEPTH);
                for (block, q) in blocks.chunks_exact(BLOCK * T::DEPTH).enumerate() {
                    let words: [T; BLOCK] = std::array::from_fn(|i| T::of(|k| q[i * T::DEPTH + k] * scale));
                    let to = &mut columns[block * BLOCK * COLUMNS..][..BLOCK * COLUMNS];
                    to.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(words).for_each(|(to, word)| to[lane] = word);
                }
                let columns = columns[blocks.len() / T::DEPTH * COLUMNS..].as_chunks_mut::<COLUMNS>().0;
                for (to, q) in columns.iter_mut().zip(rest.chunks(T::DEPTH)) {
                    to[lane] = T::of(|k| q.get(k).map_or(0.0, |q| q * scale));
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::models::rng::TorchRng;
    use candle_core::Device;

    #[test]
    fn a_few_queries_at_a_time_equal_all_at_once_in_64_bits() {
        for (queries, keys, heads, is_causal) in [
            (1, 1, 1, false),
            (5, 77, 2, false),
            (130, 130, 3, true),
            (300, 300, 1, true),
            (200, 31, 1, false),
            (65, 300, 4, false),
        ] {
            // The same numbers in every run: how far 32 bits are off depends on them.
            let mut rng = TorchRng::new(queries as u64);
            let mut random = |length: usize| {
                let numbers = rng.randn(2 * length * heads * 6);
                (Tensor::from_vec(numbers, (2, length, heads * 6), &Device::Cpu).unwrap() * 2.0).unwrap()
            };
            let (q, k, v) = (random(queries), random(keys), random(keys));
            let attending = Attending { heads, is_causal, is_cross: queries != keys };
            let got = attention(&q, &k, &v, attending, &mut Hooks::none()).unwrap();
            let [q, k, v] = [q, k, v].map(|t| t.to_dtype(DType::F64).unwrap());
            let want = attention(&q, &k, &v, attending, &mut Hooks::none()).unwrap();
            let worst = (got.to_dtype(DType::F64).unwrap() - want).unwrap().abs().unwrap();
            let worst = worst.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
            assert!(worst < 1e-5, "{queries} to {keys}: {worst}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        let ones = Tensor::ones((1, 40, 6), DType::F32, &Device::Cpu).unwrap();
        let mut numbers = vec![1f32; 40 * 6];
        numbers[25 * 6] = f32::NAN;
        let keys = Tensor::from_vec(numbers, (1, 40, 6), &Device::Cpu).unwrap();
        let attending = Attending { heads: 1, is_causal: true, is_cross: false };
        let out = attention(&ones, &keys, &ones, attending, &mut Hooks::none()).unwrap();
        let rows: Vec<Vec<f32>> = out.squeeze(0).unwrap().to_vec2().unwrap();
        assert_eq!(rows.iter().position(|row| row.iter().any(|number| number.is_nan())), Some(25));
    }

    #[test]
    fn in_pairs_it_is_near_64_bits() {
        // An odd width and odd numbers of keys: the last pairs are half empty.
        for (queries, keys, width, is_causal) in
            [(1, 1, 5, false), (130, 130, 7, true), (65, 301, 40, false), (300, 300, 70, true)]
        {
            let mut rng = TorchRng::new(queries as u64);
            let mut random = |length: usize| {
                Tensor::from_vec(rng.randn(2 * length * 2 * width), (2, length, 2 * width), &Device::Cpu).unwrap()
            };
            let (q, k, v) = (random(queries), random(keys), random(keys));
            let attending = Attending { heads: 2, is_causal, is_cross: queries != keys };
            super::super::multiply_in_bf16(true);
            let got = attention(&q, &k, &v, attending, &mut Hooks::none()).unwrap();
            super::super::multiply_in_bf16(false);
            let [q, k, v] = [q, k, v].map(|t| t.to_dtype(DType::F64).unwrap());
            let want = attention(&q, &k, &v, attending, &mut Hooks::none()).unwrap();
            let mean = |t: Tensor| t.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap();
            let error = (mean((got.to_dtype(DType::F64).unwrap() - &want).unwrap()) / mean(want)).sqrt();
            // bf16 keeps eight bits.
            assert!(error < 6e-3 && error > 1e-5, "{queries} to {keys}: {error}");
        }
    }
}
