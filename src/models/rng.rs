//! PyTorch's random numbers on the CPU: the same seed gives the noise that `torch.manual_seed(seed); torch.randn(..)` gives.
//!
//! Equal to about 1e-7: PyTorch's vectorised logarithm and cosine differ from the standard library's in the last bit.

use candle_core::{Device, Shape, Tensor};

use super::error::Result;
use super::philox::PhiloxRng;
use crate::job::sampling::RandomSource;

const STATE: usize = 624;
const SHIFT: usize = 397;
/// PyTorch fills whole blocks of this many numbers at once.
const BLOCK: usize = 16;

/// One of PyTorch's generators.
#[derive(Debug, Clone)]
pub enum Generator {
    /// That of the CPU.
    Cpu(TorchRng),
    /// That of CUDA.
    Cuda(PhiloxRng),
}

impl Generator {
    /// The generator after `torch.manual_seed(seed)`.
    pub fn new(source: RandomSource, seed: u64) -> Self {
        match source {
            RandomSource::Cpu => Self::Cpu(TorchRng::new(seed)),
            RandomSource::Cuda => Self::Cuda(PhiloxRng::new(seed)),
        }
    }

    /// `count` numbers from the standard normal distribution.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        match self {
            Self::Cpu(rng) => rng.randn(count),
            Self::Cuda(rng) => rng.randn(count),
        }
    }
}

/// Mersenne Twister 19937 (Matsumoto and Nishimura 1998) with PyTorch's ways of drawing from it
/// (`ATen/core/MT19937RNGEngine.h`, `ATen/native/cpu/DistributionTemplates.h`).
#[derive(Debug, Clone)]
pub struct TorchRng {
    state: Vec<u32>,
    next: usize,
    /// The second of a pair drawn in 64 bits, kept for the next call.
    spare: Option<f64>,
}

impl TorchRng {
    /// The generator after `torch.manual_seed(seed)`; like there, only the lower 32 bits count.
    pub fn new(seed: u64) -> Self {
        let mut state = Vec::with_capacity(STATE);
        let mut last = seed as u32;
        state.push(last);
        for i in 1..STATE as u32 {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i);
            state.push(last);
        }
        Self { state, next: STATE, spare: None }
    }

    /// `count` numbers from the standard normal distribution, as `torch.randn(count)`.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.normal() as f32).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform()).collect();
        values.chunks_exact_mut(BLOCK).for_each(to_normal);
        if !count.is_multiple_of(BLOCK) {
            // As PyTorch: the last block is drawn anew and overlaps the one before.
            let tail = &mut values[count - BLOCK..];
            tail.iter_mut().for_each(|value| *value = self.uniform());
            to_normal(tail);
        }
        values
    }

    /// A tensor of 32-bit normal numbers.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn randn_tensor(&mut self, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        Ok(Tensor::from_vec(self.randn(shape.elem_count()), shape, device)?)
    }

    fn word(&mut self) -> u32 {
        if self.next >= STATE {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        for k in 0..STATE {
            let y = (self.state[k] & 0x8000_0000) | (self.state[(k + 1) % STATE] & 0x7fff_ffff);
            let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[k] = self.state[(k + SHIFT) % STATE] ^ (y >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// In 0..1, of 24 bits.
    fn uniform(&mut self) -> f32 {
        (self.word() & 0xff_ffff) as f32 / 16_777_216.0
    }

    /// In 0..1, of 53 bits.
    fn uniform_wide(&mut self) -> f64 {
        let (high, low) = (u64::from(self.word()), u64::from(self.word()));
        (((high << 32) | low) & ((1 << 53) - 1)) as f64 / 9_007_199_254_740_992.0
    }

    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (u1, u2) = (self.uniform_wide(), self.uniform_wide());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let angle = std::f64::consts::TAU * u1;
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// Box-Muller on a block: the first half holds radii, the second half angles.
fn to_normal(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (first, second) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *first).ln()).sqrt();
        let angle = std::f32::consts::TAU * *second;
        *first = radius * angle.cos();
        *second = radius * angle.sin();
    }
}
