//! PyTorch's random numbers on CUDA: the same seed gives the noise that `torch.randn(.., device="cuda")` gives.
//!
//! # Limitations
//! As far as every number has a thread of its own, which PyTorch gives up for tensors larger than a GPU can hold threads
//! (tens of thousands of numbers on small GPUs; a latent picture of 512x512 pixels has 16384).

/// Philox4x32-10 (Salmon et al. 2011) with PyTorch's way of drawing normal numbers from it.
#[derive(Debug, Clone)]
pub struct PhiloxRng {
    seed: u64,
    /// Calls of [`Self::randn`] so far.
    offset: u32,
}

impl PhiloxRng {
    /// The generator after `torch.manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { seed, offset: 0 }
    }

    /// `count` numbers from the standard normal distribution, as `torch.randn(count, device="cuda")`.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let normal = |i: usize| {
            let [x, y, _, _] = philox([self.offset, 0, i as u32, (i as u64 >> 32) as u32], key);
            to_normal(x, y)
        };
        let values = (0..count).map(normal).collect();
        self.offset = self.offset.wrapping_add(1);
        values
    }
}

/// Ten rounds of multiplying, crossing over and mixing in the key.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (a, b) = (u64::from(counter[0]) * 0xd251_1f53, u64::from(counter[2]) * 0xcd9e_8d57);
        let high = |product: u64| (product >> 32) as u32;
        counter = [high(b) ^ counter[1] ^ key[0], b as u32, high(a) ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// Box-Muller as in cuRAND; the first of the pair.
fn to_normal(x: u32, y: u32) -> f32 {
    const TO_UNIT: f32 = 2.328_306_4e-10;
    const TO_TURN: f32 = TO_UNIT * std::f32::consts::TAU;
    let u = x as f32 * TO_UNIT + TO_UNIT / 2.0;
    let v = y as f32 * TO_TURN + TO_TURN / 2.0;
    (-2.0 * u.ln()).sqrt() * v.sin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_authors() {
        // Known answers of the Random123 library.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn normal_numbers_are_those_of_torch_on_cuda() {
        let mut rng = PhiloxRng::new(0);
        let first = [-0.924_662_6, -0.425_344_15, -2.643_845_7, 0.145_183_88];
        assert!(rng.randn(12).iter().zip(first).all(|(got, want): (&f32, f32)| (got - want).abs() < 1e-5));
        assert_ne!(rng.randn(4), PhiloxRng::new(0).randn(4));
    }
}
