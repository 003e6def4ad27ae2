//! Noise along one Brownian path for each seed: the same seed gives the noise of torchsde's `BrownianTree` (its `BrownianInterval` with
//! a halfway tree, a tolerance of 1e-6 and a pool of 24 words), as k-diffusion's and diffusers' `BrownianTreeNoiseSampler` ask it.
//!
//! The path is a tree: the increment over the whole is drawn, and the halves of every stretch follow from its increment and a draw of
//! its own. Places are rounded to millionths. Each stretch has a generator of its own, seeded by numpy's `SeedSequence` (O'Neill 2015,
//! "Developing a seed_seq alternative") from the seed and the stretch's place in the tree, so that no question depends on another.
//!
//! Equal to about 1e-6 of the path's largest numbers: sums are made in 32 bits as there, but not always of the same pieces.

use std::ops::Range;

use super::rng::Generator;
use crate::job::sampling::RandomSource;

/// Words of entropy that a seed is stirred into.
const POOL: usize = 24;
/// Decimals that places are rounded to.
const DECIMALS: usize = 6;

/// A path over a range of noise levels, for each number of a sample.
#[derive(Debug, Clone)]
pub struct BrownianPath {
    source: RandomSource,
    seed: u64,
    whole: Stretch,
}

/// A piece of the path.
#[derive(Debug, Clone)]
struct Stretch {
    places: Range<f64>,
    /// Its number among those of its depth, and how often the whole was halved to get it.
    key: [u64; 2],
    /// By how much the path changes on it.
    increment: Vec<f32>,
}

impl BrownianPath {
    /// The path of `seed` for `count` numbers between two noise levels (sigma), the lower one first. Numbers are drawn as `source` does.
    pub fn new(source: RandomSource, seed: u64, [low, high]: [f32; 2], count: usize) -> Self {
        let (start, end) = (f64::from(low), f64::from(high));
        let scale = (end - start).sqrt() as f32;
        let mut increment = Generator::new(source, u64::from(stirred(seed, &[]))).randn(count);
        increment.iter_mut().for_each(|value| *value *= scale);
        let whole = Stretch { places: rounded(start)..rounded(end), key: [0, 0], increment };
        Self { source, seed, whole }
    }

    /// Noise of variance 1 for a step from sigma `from` to sigma `to`: the path's increment over the root of their distance. Zeros where
    /// both are one place.
    pub fn noise(&self, from: f32, to: f32) -> Vec<f32> {
        let (low, high) = if from < to { (from, to) } else { (to, from) };
        let place = |sigma: f32| {
            let inside = f64::from(sigma).max(self.whole.places.start).min(self.whole.places.end);
            rounded(inside)
        };
        let mut sum: Option<Vec<f32>> = None;
        if low < high {
            self.collect(&self.whole, &(place(low)..place(high)), &mut sum);
        }
        let scale = (high - low).sqrt() * if from < to { 1.0 } else { -1.0 };
        let mut sum = sum.unwrap_or_else(|| vec![0.0; self.whole.increment.len()]);
        if low < high {
            sum.iter_mut().for_each(|value| *value /= scale);
        }
        sum
    }

    /// Adds the increments of all stretches inside `stretch` that make up what of `wanted` lies in it, from left to right.
    fn collect(&self, stretch: &Stretch, wanted: &Range<f64>, sum: &mut Option<Vec<f32>>) {
        let Range { start, end } = stretch.places;
        if wanted.start >= end || wanted.end <= start || wanted.start >= wanted.end {
            return;
        }
        if wanted.start <= start && wanted.end >= end {
            match sum {
                None => *sum = Some(stretch.increment.clone()),
                Some(sum) => sum.iter_mut().zip(&stretch.increment).for_each(|(sum, value)| *sum += value),
            }
            return;
        }
        // Between neighbouring places nothing lies, so that no stretch is halved without end.
        for half in self.halves(stretch) {
            self.collect(&half, wanted, sum);
        }
    }

    /// Both halves: the left one's increment is its share of the whole one's and a draw (a Brownian bridge), the right one's the rest.
    fn halves(&self, whole: &Stretch) -> [Stretch; 2] {
        let Range { start, end } = whole.places;
        let middle = rounded(0.5 * (end + start));
        let ([left, right], reciprocal) = ([middle - start, end - middle], 1.0 / (end - start));
        let (share, reciprocal_32) = (left as f32, reciprocal as f32);
        let scale = (left * right * reciprocal).sqrt() as f32;
        let mut first =
            Generator::new(self.source, u64::from(stirred(self.seed, &whole.key))).randn(whole.increment.len());
        for (value, whole) in first.iter_mut().zip(&whole.increment) {
            *value = share * whole * reciprocal_32 + scale * *value;
        }
        let second = whole.increment.iter().zip(&first).map(|(whole, first)| whole - first).collect();
        let [key, depth] = whole.key;
        let half = |places, is_right, increment| Stretch { places, key: [2 * key + is_right, depth + 1], increment };
        [half(start..middle, 0, first), half(middle..end, 1, second)]
    }
}

/// To [`DECIMALS`], as Python's `round`: the nearest decimal number of the exact value.
fn rounded(place: f64) -> f64 {
    format!("{place:.DECIMALS$}").parse().unwrap_or(place)
}

/// The words of a number, the lowest first; zero has one.
fn words(number: u64) -> impl Iterator<Item = u32> {
    let (low, high) = (number as u32, (number >> 32) as u32);
    [low].into_iter().chain((high > 0).then_some(high))
}

/// The first word of `SeedSequence(seed, spawn_key=key, pool_size=24).generate_state(..)`.
fn stirred(seed: u64, key: &[u64]) -> u32 {
    /// Multiplies and folds, with a constant that is new for every word.
    struct Hash {
        constant: u32,
        factor: u32,
    }
    impl Hash {
        fn next(&mut self, word: u32) -> u32 {
            let word = word ^ self.constant;
            self.constant = self.constant.wrapping_mul(self.factor);
            folded(word.wrapping_mul(self.constant))
        }
    }
    fn folded(word: u32) -> u32 {
        word ^ (word >> 16)
    }
    let mixed = |x: u32, y: u32| folded(x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715)));
    let mut hash = Hash { constant: 0x43b0_d7e5, factor: 0x931e_8875 };
    let mut pool = [0u32; POOL];
    for (slot, word) in pool.iter_mut().zip(words(seed).chain(std::iter::repeat(0))) {
        *slot = hash.next(word);
    }
    for source in 0..POOL {
        for target in (0..POOL).filter(|target| *target != source) {
            pool[target] = mixed(pool[target], hash.next(pool[source]));
        }
    }
    for word in key.iter().flat_map(|number| words(*number)) {
        for slot in &mut pool {
            *slot = mixed(*slot, hash.next(word));
        }
    }
    Hash { constant: 0x8b51_f9dd, factor: 0x58f3_8ded }.next(pool[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_those_of_numpy() {
        // numpy.random.SeedSequence(seed, spawn_key=key, pool_size=24).generate_state(1)
        let known: [(u64, &[u64], u32); 7] = [
            (0, &[], 4_025_752_534),
            (7, &[], 1_376_543_887),
            ((1 << 63) + 12345, &[], 1_681_691_819),
            (0, &[0, 0], 245_430_115),
            (7, &[5, 3], 1_167_487_741),
            (123_456_789_012_345, &[(1 << 33) + 7, 34], 4_041_637_767),
            (u64::MAX, &[1, 1], 879_418_184),
        ];
        for (seed, key, want) in known {
            assert_eq!(stirred(seed, key), want, "{seed} {key:?}");
        }
    }

    #[test]
    fn places_are_rounded_as_python_rounds() {
        assert_eq!([rounded(0.000_001_5), rounded(0.000_002_5)], [0.000_002, 0.000_003]);
        assert_eq!([rounded(14.614_646_5), rounded(-0.0), rounded(4096.0)], [14.614_646, 0.0, 4096.0]);
    }

    #[test]
    fn a_path_is_one_path() {
        let path = BrownianPath::new(RandomSource::Cuda, 5, [0.03, 14.6], 20);
        let step = |from: f32, to: f32| -> Vec<f32> {
            path.noise(from, to).iter().map(|value| value * (from - to).abs().sqrt()).collect()
        };
        let (whole, first, second) = (step(9.0, 1.0), step(9.0, 4.0), step(4.0, 1.0));
        for ((whole, first), second) in whole.iter().zip(&first).zip(&second) {
            assert!((whole - first - second).abs() < 1e-5);
        }
        assert_eq!(path.noise(2.0, 2.0), vec![0.0; 20]);
        assert_eq!(path.noise(99.0, 20.0), vec![0.0; 20], "outside there is nothing");
    }
}
