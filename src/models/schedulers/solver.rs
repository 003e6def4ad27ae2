//! Which solver belongs to which sampler, and which calls of the net it makes.

use candle_core::Tensor;

use super::config::SchedulerConfig;
use super::consistency::{Lcm, Tcd};
use super::ddim::Ddim;
use super::dpm_multistep::DpmMultistep;
use super::dpm_sde::DpmSde;
use super::euler::{self, Heun};
use super::level::{Level, Table};
use super::pndm::Pndm;
use super::unipc::UniPc;
use super::visits::Visits;
use super::walk::{Call, Fresh, Method, Moment};
use crate::job::sampling::Sampler;
use crate::models::error::Result;

/// A sampler's way from a noise level to the next, with what it remembers of the steps before.
#[derive(Debug)]
pub(super) enum Solver {
    Ddim(Ddim),
    Pndm(Box<Pndm>),
    Euler,
    EulerAncestral,
    Heun(Heun),
    DpmMultistep(DpmMultistep),
    DpmSde(DpmSde),
    UniPc(UniPc),
    Lcm(Lcm),
    Tcd(Tcd),
}

impl Solver {
    /// The solver and the calls of the net that it makes.
    pub(super) fn new(method: Method, config: &SchedulerConfig, table: Table, visits: Visits) -> (Self, Vec<Call>) {
        match method.sampler {
            Sampler::Ddim => {
                let calls = Ddim::calls(&visits, config, &table);
                (Self::Ddim(Ddim::new(method.eta)), calls)
            }
            Sampler::Pndm => {
                let (solver, calls) = Pndm::new(&visits, config, table);
                (Self::Pndm(Box::new(solver)), calls)
            }
            Sampler::Euler => (Self::Euler, chain(&visits)),
            Sampler::EulerAncestral => (Self::EulerAncestral, chain(&visits)),
            Sampler::Heun => (Self::Heun(Heun::default()), Heun::calls(&visits)),
            Sampler::DpmPlusPlus2M | Sampler::DpmPlusPlus2MSde => {
                let calls = chain(&visits);
                let is_sde = method.sampler == Sampler::DpmPlusPlus2MSde;
                (Self::DpmMultistep(DpmMultistep::new(config, is_sde, levels(&calls))), calls)
            }
            Sampler::DpmPlusPlusSde => (Self::DpmSde(DpmSde::new(&visits)), DpmSde::calls(&visits, &table)),
            Sampler::UniPc => {
                let calls = chain(&visits);
                (Self::UniPc(UniPc::new(config, levels(&calls))), calls)
            }
            Sampler::Lcm => (Self::Lcm(Lcm::new(config)), chain(&visits)),
            Sampler::Tcd => (Self::Tcd(Tcd::new(method.eta, &visits, table)), chain(&visits)),
        }
    }

    /// The call that step `step` begins with.
    pub(super) fn call_of_step(&self, step: usize) -> usize {
        match self {
            Self::Heun(_) | Self::DpmSde(_) => 2 * step,
            Self::Pndm(solver) => solver.call_of_step(step),
            _ => step,
        }
    }

    /// The noise that the call `index` adds.
    pub(super) fn fresh(&self, index: usize, is_last: bool) -> Option<Fresh> {
        let is_wanted = match self {
            Self::DpmSde(solver) => return solver.fresh(index),
            Self::Ddim(solver) => solver.wants_noise(),
            Self::EulerAncestral => true,
            Self::DpmMultistep(solver) => solver.is_sde(),
            Self::Lcm(_) => !is_last,
            Self::Tcd(solver) => solver.wants_noise() && !is_last,
            Self::Pndm(_) | Self::Euler | Self::Heun(_) | Self::UniPc(_) => false,
        };
        is_wanted.then_some(Fresh::Drawn)
    }

    /// The sample after the call.
    pub(super) fn step(&mut self, at: &Moment<'_>) -> Result<Tensor> {
        match self {
            Self::Ddim(solver) => solver.step(at),
            Self::Pndm(solver) => solver.step(at),
            Self::Euler => euler::step(at),
            Self::EulerAncestral => euler::ancestral_step(at),
            Self::Heun(solver) => solver.step(at),
            Self::DpmMultistep(solver) => solver.step(at),
            Self::DpmSde(solver) => solver.step(at),
            Self::UniPc(solver) => solver.step(at),
            Self::Lcm(solver) => solver.step(at),
            Self::Tcd(solver) => solver.step(at),
        }
    }
}

/// One call for each level, from each to the next.
fn chain(visits: &Visits) -> Vec<Call> {
    let after = visits.levels.iter().skip(1).copied().chain([visits.end]);
    let from = visits.timesteps.iter().zip(&visits.levels);
    from.zip(after).map(|((t, from), to)| Call { timestep: *t, from: *from, to }).collect()
}

/// All levels of a chain of calls, one more than calls.
fn levels(calls: &[Call]) -> Vec<Level> {
    calls.iter().map(|call| call.from).chain(calls.last().map(|call| call.to)).collect()
}
