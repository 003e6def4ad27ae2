//! Drawing from a variant: by chance, every selection, or one selection after the other.

use std::collections::HashSet;
use std::rc::Rc;

use rand::Rng;

use super::choice::{self, Selections};
use super::generator::{self, Context, Generate, Generator, Parallel, Product, World, join};
use super::lines;
use super::syntax::{Choosable, Method, Node, Variant, Words};
use crate::prompt::source::Traced;

/// The generator of a variant.
pub(super) fn make(variant: &Variant, context: &Context, world: &World<'_>) -> Generator {
    if let [only] = variant.options.as_slice() {
        if let Node::Wildcard { path, variables, place, method } = &*only.value {
            let context = context.with_variables(variables.iter().cloned());
            if let Some(options) = lines::options_of(path, place, &context, world) {
                let Variant { min, max, separator, .. } = variant;
                let (min, max) = ((*min).min(options.len()), (*max).min(options.len()));
                let (separator, place) = (separator.clone(), variant.place.clone());
                let lines = Variant { options, min, max, separator, method: *method, place };
                return make(&lines, &context, world);
            }
        }
        // As in dynamicprompts, a bound on a single option does not count where options are drawn at random.
        if context.method == Method::Random {
            return generator::make(&only.value, context, world);
        }
    }
    let selections = Selections::new(variant);
    let options = variant.options.clone();
    let separator = Traced::standing_for(&variant.separator, variant.place.0.clone());
    let base = VariantBase { options, separator, context: context.clone() };
    match context.method {
        Method::Random => {
            let count = variant.options.len();
            Box::new(RandomVariant { base, min: variant.min.min(count), max: variant.max.min(count) })
        }
        Method::Combinatorial => {
            Box::new(AllVariants { base, selections, row: None, length: 0, seen: HashSet::new(), first: None })
        }
        Method::Cyclical => Box::new(CyclicalVariant { base, selections, is_whole: false, rounds: Vec::new(), at: 0 }),
    }
}

struct VariantBase {
    options: Vec<Choosable>,
    separator: Traced,
    context: Context,
}

impl VariantBase {
    fn nodes(&self, chosen: &[usize]) -> Vec<Rc<Node>> {
        chosen.iter().filter_map(|at| self.options.get(*at)).map(|option| Rc::clone(&option.value)).collect()
    }

    fn parallel(&self, chosen: &[usize], world: &World<'_>) -> Parallel {
        let parts = self.nodes(chosen).iter().map(|node| generator::make(node, &self.context, world)).collect();
        Parallel { parts, separator: self.separator.clone() }
    }
}

struct RandomVariant {
    base: VariantBase,
    min: usize,
    max: usize,
}

impl Generate for RandomVariant {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        let chosen = {
            let mut rng = world.rng.borrow_mut();
            let count = rng.random_range(self.min..=self.max);
            choice::draw(&self.base.options, count, &mut *rng)
        };
        self.base.parallel(&chosen, world).next(world)
    }
}

struct AllVariants {
    base: VariantBase,
    selections: Selections,
    row: Option<Product>,
    length: usize,
    /// The rows that were given: options may expand to the same texts.
    seen: HashSet<Vec<Words>>,
    /// The first of them, which is looked up only if there is a second one: it may be long, and brackets nested deep.
    first: Option<Vec<Words>>,
}

/// Whether no two are the same.
fn is_distinct(words: &[Words]) -> bool {
    words.len() < 2 || words.iter().collect::<HashSet<_>>().len() == words.len()
}

impl AllVariants {
    fn is_new(&mut self, row: Vec<Words>) -> bool {
        if self.first.is_none() && self.seen.is_empty() {
            self.first = Some(row);
            return true;
        }
        self.seen.extend(self.first.take());
        self.seen.insert(row)
    }
}

impl Generate for AllVariants {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        loop {
            if !world.spend(0) {
                return None;
            }
            let Some(texts) = self.row.as_mut().and_then(|row| row.next_row(world)) else {
                let chosen = self.selections.next()?;
                self.length = chosen.len();
                let nodes = self.base.nodes(chosen);
                self.row = Some(Product::new(nodes, self.base.context.clone(), false));
                continue;
            };
            let words: Vec<Words> = texts.iter().cloned().map(Words).collect();
            if is_distinct(&words) && words.len() == self.length && self.is_new(words) {
                let text = join(&texts, &self.base.separator);
                return world.spend(text.text().len()).then_some(text);
            }
        }
    }
}

/// One text of each selection, then the next text of each.
struct CyclicalVariant {
    base: VariantBase,
    selections: Selections,
    is_whole: bool,
    rounds: Vec<Parallel>,
    at: usize,
}

impl Generate for CyclicalVariant {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        if !self.is_whole {
            match self.selections.next() {
                Some(chosen) => {
                    self.at = self.rounds.len();
                    self.rounds.push(self.base.parallel(chosen, world));
                }
                None => (self.is_whole, self.at) = (true, 0),
            }
        }
        let count = self.rounds.len();
        let text = self.rounds.get_mut(self.at)?.next(world);
        self.at = (self.at + 1) % count.max(1);
        text
    }
}
