//! Keys and values of attention, for tile registers.

use half::bf16;

use super::super::attention::{Head as AttentionHead, Scores, Sizes};
use super::super::product::COLUMNS;
use super::super::word::{Pair, Word, round};
use super::{Ahead, DEPTH, Left, Right, SIDE, Steps, WORDS, multiply};

/// Keys (keys, words) and values (channels, keys), in whole blocks.
pub(in super::super) struct Head {
    keys: Vec<bf16>,
    values: Vec<bf16>,
    sizes: Sizes,
}

impl Head {
    /// From one channel's values to those of the next: an odd number of lines of the processor's cache.
    fn row(sizes: Sizes) -> usize {
        (sizes.keys.div_ceil(DEPTH) | 1) * DEPTH
    }
}

impl AttentionHead for Head {
    type Word = Pair;
    const KEYS: usize = 4 * SIDE;

    fn new(keys: &[f32], values: &[f32], sizes: Sizes) -> Self {
        let (width, row) = (Self::words(sizes) * Pair::DEPTH, Self::row(sizes));
        let mut packed = vec![bf16::ZERO; sizes.keys.next_multiple_of(SIDE) * width];
        for (key, to) in keys.chunks(sizes.channels).take(sizes.keys).zip(packed.chunks_exact_mut(width)) {
            round(&key[..sizes.width], to);
        }
        let mut channels = vec![bf16::ZERO; Self::rows(sizes) * row];
        for first in (0..sizes.keys).step_by(DEPTH) {
            let count = DEPTH.min(sizes.keys - first);
            let mut together = [0f32; DEPTH];
            for (channel, to) in channels.chunks_exact_mut(row).take(sizes.width).enumerate() {
                let value = |key: usize| values[(first + key) * sizes.channels + channel];
                (0..count).for_each(|key| together[key] = value(key));
                round(&together[..count], &mut to[first..first + count]);
            }
        }
        Self { keys: packed, values: channels, sizes }
    }

    fn words(sizes: Sizes) -> usize {
        sizes.width.div_ceil(Pair::DEPTH).next_multiple_of(WORDS)
    }

    fn rows(sizes: Sizes) -> usize {
        sizes.width.next_multiple_of(SIDE)
    }

    fn score<'a>(&self, first: usize, queries: &[Pair], scores: &'a mut Scores) -> &'a mut [[f32; COLUMNS]] {
        let words = Self::words(self.sizes);
        let row = words * Pair::DEPTH;
        let keys = &self.keys[first * row..];
        let keys = &keys[..keys.len().min(Self::KEYS * row)];
        let scores = &mut scores[..keys.len() / row];
        let right = Right { pairs: queries, row: SIDE, steps: &Steps::of_panel(words) };
        for (numbers, scores) in keys.chunks_exact(SIDE * row).zip(scores.as_chunks_mut().0) {
            multiply(Left { numbers, row, step: DEPTH }, right, false, Ahead::NOTHING, scores);
        }
        scores
    }

    fn add(&self, first: usize, weights: &[[f32; COLUMNS]], buffer: &mut Vec<Pair>, sums: &mut [[f32; COLUMNS]]) {
        let (row, steps) = (Self::row(self.sizes), Steps::of_panel(weights.len() / Pair::DEPTH));
        let right = Right { pairs: Pair::panel(weights, buffer), row: SIDE, steps: &steps };
        for (values, sums) in self.values.chunks_exact(SIDE * row).zip(sums.as_chunks_mut().0) {
            multiply(Left { numbers: &values[first..], row, step: DEPTH }, right, true, Ahead::NOTHING, sums);
        }
    }
}
