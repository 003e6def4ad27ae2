//! Drawing from the lines of a wildcard.

use std::rc::Rc;
use std::sync::Arc;

use rand::Rng;

use super::generator::{self, Context, Generate, Generator, World, constant};
use super::syntax::{Choosable, Method, Node, Place};
use super::wildcards::Value;
use crate::prompt::diagnostic::Diagnostic;
use crate::prompt::source::Traced;

/// The lines of a wildcard as options, each as often as its weight says; `None` if there are none.
pub(super) fn options_of(
    path: &Rc<Node>,
    place: &Place,
    context: &Context,
    world: &World<'_>,
) -> Option<Vec<Choosable>> {
    let values = values_of(path, place, context, world).ok()?;
    let choosable = |value: &Value| Choosable { weight: value.weight, value: world.parse(&value.text, place) };
    Some(match context.method {
        Method::Random => values.iter().map(choosable).collect(),
        _ => values.iter().flat_map(|value| std::iter::repeat_n(choosable(value), value.times())).collect(),
    })
}

/// The lines of the wildcard that a path names, or the text that stands for one that there is not.
fn values_of(path: &Rc<Node>, place: &Place, context: &Context, world: &World<'_>) -> Result<Arc<Vec<Value>>, String> {
    let name = generator::make(path, context, world).next(world).unwrap_or_default();
    match world.wildcards.values(name.text()) {
        Some(values) => Ok(values),
        None => {
            world.remark(|| {
                let message = format!("there is no wildcard called \"{}\"; its name stays in the prompt", name.text());
                Diagnostic::error("unknown-wildcard", place.0.clone(), message)
            });
            Err(format!("__{}__", name.text()))
        }
    }
}

/// The generator of a wildcard.
pub(super) fn make(
    path: &Rc<Node>,
    variables: &[(String, Rc<Node>)],
    place: &Place,
    context: &Context,
    world: &World<'_>,
) -> Generator {
    let values = match values_of(path, place, context, world) {
        Ok(values) => values,
        Err(text) => return constant(Traced::standing_for(&text, place.0.clone()), context.method),
    };
    let context = context.with_variables(variables.iter().cloned());
    let base = Lines { values, place: place.clone(), context };
    match base.context.method {
        Method::Random => Box::new(RandomLine { base }),
        Method::Combinatorial => Box::new(AllLines { base, at: 0, times: 0, line: None }),
        Method::Cyclical => {
            let times = base.values.iter().enumerate().flat_map(|(at, value)| std::iter::repeat_n(at, value.times()));
            let order: Vec<usize> = times.collect();
            let lines = order.iter().map(|_| None).collect();
            Box::new(CyclicalLine { base, order, lines, at: 0 })
        }
    }
}

struct Lines {
    values: Arc<Vec<Value>>,
    place: Place,
    context: Context,
}

impl Lines {
    fn make(&self, at: usize, world: &World<'_>) -> Option<Generator> {
        let value = self.values.get(at)?;
        Some(generator::make(&world.parse(&value.text, &self.place), &self.context, world))
    }
}

struct RandomLine {
    base: Lines,
}

impl Generate for RandomLine {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        let values = &self.base.values;
        let total: f64 = values.iter().map(|value| value.weight).sum();
        let at = {
            let mut rng = world.rng.borrow_mut();
            if total > 0.0 {
                let mut left = rng.random::<f64>() * total;
                let found = values.iter().position(|value| {
                    left -= value.weight;
                    left < 0.0
                });
                found.unwrap_or(values.len().saturating_sub(1))
            } else {
                rng.random_range(0..values.len().max(1))
            }
        };
        self.base.make(at, world)?.next(world)
    }
}

struct AllLines {
    base: Lines,
    at: usize,
    times: usize,
    line: Option<Generator>,
}

impl Generate for AllLines {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        loop {
            if let Some(text) = self.line.as_mut().and_then(|line| line.next(world)) {
                return Some(text);
            }
            if self.line.is_some() {
                self.times += 1;
            }
            let value = self.base.values.get(self.at)?;
            if self.times >= value.times() {
                (self.at, self.times, self.line) = (self.at + 1, 0, None);
                continue;
            }
            self.line = self.base.make(self.at, world);
            if !world.spend(0) {
                return None;
            }
        }
    }
}

struct CyclicalLine {
    base: Lines,
    order: Vec<usize>,
    lines: Vec<Option<Generator>>,
    at: usize,
}

impl Generate for CyclicalLine {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        let line = self.lines.get_mut(self.at)?;
        if line.is_none() {
            *line = self.base.make(*self.order.get(self.at)?, world);
        }
        let text = line.as_mut()?.next(world);
        self.at = (self.at + 1) % self.order.len().max(1);
        text
    }
}
