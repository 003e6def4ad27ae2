//! Scaled dot-product attention, open to a hook. On the CPU in 32 bits, and where no hook looks, it works through a few queries at a
//! time and never holds all the scores; elsewhere candle's operations.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Shape, Tensor};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::simd::{exp, wide};
use crate::models::error::Result;
use crate::models::hook::{Hooks, Seen};

/// Queries whose scores are held together.
const QUERIES: usize = 64;

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
    let site = hooks.enter(attending.is_cross);
    hooks.look(site, Seen::Projections { q, k, v })?;
    let is_fast = q.device().is_cpu() && q.dtype() == DType::F32;
    if is_fast && hooks.bias(site).is_none() && !hooks.wants(site) {
        let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
        return Ok(q.apply_op3_no_bwd(&k, &v, &Fused(attending))?);
    }
    let (q, k, v) = (split(q, attending.heads)?, split(k, attending.heads)?, split(v, attending.heads)?);
    let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
    let mut scores = (q * scale)?.matmul(&k.t()?)?;
    if attending.is_causal {
        scores = scores.broadcast_add(&causal_bias(&scores)?)?;
    }
    if let Some(bias) = hooks.bias(site) {
        scores = scores.broadcast_add(bias)?;
    }
    let probabilities = candle_nn::ops::softmax_last_dim(&scores)?;
    hooks.observe(site, &probabilities)?;
    merge(&probabilities.matmul(&v)?)
}

/// (batch, length, heads * width) -> (batch, heads, length, width), contiguous.
fn split(xs: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, length, channels) = xs.dims3()?;
    Ok(xs.reshape((batch, length, heads, channels / heads))?.transpose(1, 2)?.contiguous()?)
}

/// (batch, heads, length, width) -> (batch, length, heads * width).
fn merge(xs: &Tensor) -> Result<Tensor> {
    let (batch, heads, length, width) = xs.dims4()?;
    Ok(xs.transpose(1, 2)?.reshape((batch, length, heads * width))?)
}

/// The bias (queries, keys) that hides later positions from earlier ones.
fn causal_bias(scores: &Tensor) -> Result<Tensor> {
    let (queries, keys) = (scores.dim(D::Minus2)?, scores.dim(D::Minus1)?);
    let hidden = |query: usize, key: usize| if key > query { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> = (0..queries * keys).map(|at| hidden(at / keys, at % keys)).collect();
    Ok(Tensor::from_vec(values, (queries, keys), scores.device())?.to_dtype(scores.dtype())?)
}

struct Fused(Attending);

/// The sizes of one run.
#[derive(Clone, Copy)]
struct Sizes {
    queries: usize,
    keys: usize,
    channels: usize,
    width: usize,
    is_causal: bool,
}

impl CustomOp3 for Fused {
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
        let heads = self.0.heads;
        if k_layout.dims() != [batch, keys, channels] || v_layout.dims() != k_layout.dims() || keys == 0 {
            candle_core::bail!("attention of {q_layout:?} to {k_layout:?} and {v_layout:?}");
        }
        if heads == 0 || !channels.is_multiple_of(heads) {
            candle_core::bail!("{channels} channels do not divide into {heads} attention heads");
        }
        let slice = |storage, layout: &Layout| super::contiguous(storage, layout);
        let (q, k, v) = (slice(q, q_layout)?, slice(k, k_layout)?, slice(v, v_layout)?);
        let sizes = Sizes { queries, keys, channels, width: channels / heads, is_causal: self.0.is_causal };
        let blocks = queries.div_ceil(QUERIES);
        // Each part of the work is a head's next few queries, whatever the number of threads.
        let parts: Vec<Vec<f32>> = (0..batch * heads * blocks)
            .into_par_iter()
            .with_min_len(1)
            .map(|part| {
                let (picture, head, block) = (part / blocks / heads, part / blocks % heads, part % blocks);
                let first = block * QUERIES;
                let q = &q[(picture * queries + first) * channels + head * sizes.width..];
                let keys_from = picture * keys * channels + head * sizes.width;
                attend(q, &k[keys_from..], &v[keys_from..], first, sizes)
            })
            .collect();
        let mut out = vec![0f32; q.len()];
        for (part, values) in parts.iter().enumerate() {
            let (picture, head, block) = (part / blocks / heads, part / blocks % heads, part % blocks);
            for (row, values) in values.chunks_exact(sizes.width).enumerate() {
                let at = (picture * queries + block * QUERIES + row) * channels + head * sizes.width;
                out[at..at + sizes.width].copy_from_slice(values);
            }
        }
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }
}

/// What the queries from number `first` on, at most [`QUERIES`] of them, get: (queries, width). The slices begin at this head's
/// channels of the first query, key and value; rows are `channels` apart.
fn attend(q: &[f32], k: &[f32], v: &[f32], first: usize, sizes: Sizes) -> Vec<f32> {
    let Sizes { queries, keys, channels, width, is_causal, .. } = sizes;
    let rows = QUERIES.min(queries - first);
    let mut scores = vec![0f32; rows * keys];
    product(
        Matrix { values: q, rows, columns: width, row_step: channels, column_step: 1 },
        Matrix { values: k, rows: width, columns: keys, row_step: 1, column_step: channels },
        1.0 / (width as f32).sqrt(),
        &mut scores,
    );
    let mut sums = [0f32; QUERIES];
    for (row, (scores, sum)) in scores.chunks_exact_mut(keys).zip(&mut sums).enumerate() {
        let seen = if is_causal { (first + row + 1).min(keys) } else { keys };
        let (scores, hidden) = scores.split_at_mut(seen);
        hidden.fill(0.0);
        *sum = exponentiate(scores);
    }
    let mut out = vec![0f32; rows * width];
    product(
        Matrix { values: &scores, rows, columns: keys, row_step: keys, column_step: 1 },
        Matrix { values: v, rows: keys, columns: width, row_step: channels, column_step: 1 },
        1.0,
        &mut out,
    );
    for (row, sum) in out.chunks_exact_mut(width).zip(&sums) {
        row.iter_mut().for_each(|value| *value /= sum);
    }
    out
}

/// Replaces scores by e^(score - the largest) and gives their sum.
fn exponentiate(scores: &mut [f32]) -> f32 {
    const LANES: usize = 16;
    wide(
        #[inline(always)]
        || {
            let mut lanes = [f32::NEG_INFINITY; LANES];
            let chunks = scores.chunks_exact(LANES);
            let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |most, x| most.max(*x));
            for chunk in chunks {
                lanes.iter_mut().zip(chunk).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
            }
            let most = lanes.into_iter().fold(rest, f32::max);
            let mut lanes = [0f32; LANES];
            let mut chunks = scores.chunks_exact_mut(LANES);
            for chunk in &mut chunks {
                for (sum, x) in lanes.iter_mut().zip(chunk) {
                    *x = exp(*x - most);
                    *sum += *x;
                }
            }
            let mut sum = lanes.iter().sum::<f32>();
            for x in chunks.into_remainder() {
                *x = exp(*x - most);
                sum += *x;
            }
            sum
        },
    )
}

/// A matrix inside a slice: element (i, j) is at i * row_step + j * column_step.
struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl Matrix<'_> {
    fn is_inside(&self) -> bool {
        let last = self.rows.saturating_sub(1) * self.row_step + self.columns.saturating_sub(1) * self.column_step;
        last < self.values.len()
    }
}

/// `factor` times a b, into `out` (a.rows, b.columns).
fn product(a: Matrix<'_>, b: Matrix<'_>, factor: f32, out: &mut [f32]) {
    assert!(a.is_inside() && b.is_inside() && a.columns == b.rows && out.len() == a.rows * b.columns);
    #[expect(unsafe_code, reason = "the matrix product takes pointers")]
    // Safety: both matrices lie inside their slices and `out` has room for the product, checked above; `out` overlaps neither.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
            false,
            a.values.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            0.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::models::rng::TorchRng;
    use candle_core::Device;

    #[test]
    fn a_few_queries_at_a_time_equal_all_at_once_in_64_bits() {
        for (queries, keys, heads, is_causal) in
            [(1, 1, 1, false), (5, 77, 2, false), (130, 130, 3, true), (200, 31, 1, false), (65, 300, 4, false)]
        {
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
            assert!(worst < 5e-6, "{queries} to {keys}: {worst}");
        }
    }
}
