//! Which options of a variant are taken: by chance, or every ordered selection in turn.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use rand::Rng;

use super::syntax::{Choosable, Variant};

/// `count` options by weight, none twice. Options without weight come last.
pub(super) fn draw(options: &[Choosable], count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut left: Vec<(usize, f64)> = options.iter().map(|option| option.weight.max(0.0)).enumerate().collect();
    let mut chosen = Vec::with_capacity(count.min(left.len()));
    while chosen.len() < count && !left.is_empty() {
        let total: f64 = left.iter().map(|(_, weight)| weight).sum();
        let place = if total > 0.0 {
            let mut at = rng.random::<f64>() * total;
            let found = left.iter().position(|(_, weight)| {
                at -= weight;
                at < 0.0
            });
            // Rounding may leave a little over: that falls to the last one with a weight.
            found.or_else(|| left.iter().rposition(|(_, weight)| *weight > 0.0)).unwrap_or_default()
        } else {
            rng.random_range(0..left.len())
        };
        chosen.push(left.remove(place).0);
    }
    chosen
}

/// Every ordered selection of the options without repeats, the shortest first, in the order of the options. Options that
/// are equal do not come together.
pub(super) struct Selections {
    /// For each option, the number of the first one that equals it.
    class: Vec<usize>,
    used: Vec<bool>,
    lengths: RangeInclusive<usize>,
    /// The selection that was given last; its length is that of the selections now.
    current: Vec<usize>,
    is_started: bool,
}

impl Selections {
    pub(super) fn new(variant: &Variant) -> Self {
        let count = variant.options.len();
        let mut first = HashMap::new();
        let class = variant.options.iter().enumerate();
        let class: Vec<usize> = class.map(|(at, o)| *first.entry(format!("{:?}", o.value)).or_insert(at)).collect();
        let lengths = variant.min.min(count)..=variant.max.min(count);
        Self { used: vec![false; count], class, lengths, current: Vec::new(), is_started: false }
    }

    /// The next selection.
    pub(super) fn next(&mut self) -> Option<&[usize]> {
        if self.is_started && self.advance() {
            return Some(&self.current);
        }
        self.is_started = true;
        loop {
            let length = self.lengths.next()?;
            self.current.clear();
            self.used.fill(false);
            if self.fill(length) {
                // The length of this round is that of the selection.
                return Some(&self.current);
            }
        }
    }

    /// The next selection of the same length.
    fn advance(&mut self) -> bool {
        let length = self.current.len();
        while let Some(last) = self.current.pop() {
            self.release(last);
            if let Some(next) = self.free_from(last + 1) {
                self.take(next);
                if self.fill(length) {
                    return true;
                }
            }
        }
        false
    }

    /// Takes the first free options until there are `length`.
    fn fill(&mut self, length: usize) -> bool {
        while self.current.len() < length {
            match self.free_from(0) {
                Some(next) => self.take(next),
                // Too many options are equal: there is no selection this long.
                None => return false,
            }
        }
        true
    }

    fn free_from(&self, from: usize) -> Option<usize> {
        let is_used = |at: &usize| self.class.get(*at).and_then(|class| self.used.get(*class)).copied().unwrap_or(true);
        (from..self.class.len()).find(|at| !is_used(at))
    }

    fn take(&mut self, option: usize) {
        self.mark(option, true);
        self.current.push(option);
    }

    fn release(&mut self, option: usize) {
        self.mark(option, false);
    }

    fn mark(&mut self, option: usize, used: bool) {
        if let Some(place) = self.class.get(option).and_then(|class| self.used.get_mut(*class)) {
            *place = used;
        }
    }
}
