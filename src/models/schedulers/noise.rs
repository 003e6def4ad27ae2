//! All noise of one run, from one seed.

use super::walk::Fresh;
use crate::job::sampling::RandomSource;
use crate::models::brownian::BrownianPath;
use crate::models::rng::Generator;

/// The generator of a seed, and its Brownian path for samplers that follow one.
///
/// The first noise and what samplers draw one after the other are the generator's numbers, as with diffusers' `generator`. The path is
/// the seed's own and takes nothing from the generator: it is the one of `DPMSolverSDEScheduler` with `noise_sampler_seed`, and of A1111,
/// which gives each picture of a batch the path of its own seed.
#[derive(Debug)]
pub struct Noise {
    source: RandomSource,
    seed: u64,
    generator: Generator,
    path: Option<([f32; 2], BrownianPath)>,
}

impl Noise {
    /// That of `seed`, as `source` draws it.
    pub fn new(source: RandomSource, seed: u64) -> Self {
        Self { source, seed, generator: Generator::new(source, seed), path: None }
    }

    /// The generator's next `count` numbers.
    pub fn draw(&mut self, count: usize) -> Vec<f32> {
        self.generator.randn(count)
    }

    /// `count` numbers of what a call wants.
    pub fn fresh(&mut self, fresh: Fresh, count: usize) -> Vec<f32> {
        let Fresh::OfPath { ends, from, to } = fresh else { return self.draw(count) };
        let known = self.path.take().filter(|(of, _)| *of == ends);
        let (_, path) =
            self.path.insert(known.unwrap_or_else(|| (ends, BrownianPath::new(self.source, self.seed, ends, count))));
        path.noise(from, to)
    }
}
