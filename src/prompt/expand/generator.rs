//! Drawing prompts from a tree. Each piece becomes a generator; a generator gives texts one after the other.
//!
//! The order is dynamicprompts': of all combinations the last piece changes first; pieces that are drawn at random or in
//! turn inside all combinations are drawn once for each; what is set once keeps its value for all prompts.
//! Everything is counted against one budget, so that wildcards that name each other end with a diagnostic.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::choice::{self, Selections};
use super::parser;
use super::syntax::{Choosable, Method, Node, Place, Variant};
use super::wildcards::{Value, Wildcards};
use crate::prompt::diagnostic::{self, Diagnostic};

/// Generators inside generators.
const DEEPEST: usize = 160;
/// Steps of one expansion.
const WORK: usize = 2_000_000;
/// Bytes that one expansion may put together.
const BYTES: usize = 256 << 20;

/// What all generators of an expansion share.
pub(super) struct World<'a> {
    wildcards: &'a Wildcards,
    rng: RefCell<ChaCha8Rng>,
    work: Cell<usize>,
    bytes: Cell<usize>,
    parsed: RefCell<HashMap<String, Rc<Node>>>,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl<'a> World<'a> {
    pub(super) fn new(wildcards: &'a Wildcards, seed: u64) -> Self {
        Self {
            wildcards,
            rng: RefCell::new(ChaCha8Rng::seed_from_u64(seed)),
            work: Cell::new(WORK),
            bytes: Cell::new(BYTES),
            parsed: RefCell::default(),
            diagnostics: RefCell::default(),
        }
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }

    fn remark(&self, make: impl FnOnce() -> Diagnostic) {
        let mut list = self.diagnostics.borrow_mut();
        diagnostic::add(&mut list, make);
        diagnostic::tidy(&mut list);
    }

    /// Counts a step and the bytes of its text; false when too much has been done.
    fn spend(&self, bytes: usize) -> bool {
        let (work, left) = (self.work.get(), self.bytes.get());
        if work > 0 && left >= bytes {
            self.work.set(work - 1);
            self.bytes.set(left - bytes);
            return true;
        }
        self.remark(|| {
            let message = "expanding takes too long, so it stops here; look for wildcards that name themselves, or ask for fewer prompts";
            Diagnostic::error("too-much", 0..0, message)
        });
        false
    }

    /// A line of a wildcard as a tree.
    fn parse(&self, text: &str, place: &Place) -> Rc<Node> {
        if let Some(node) = self.parsed.borrow().get(text) {
            return Rc::clone(node);
        }
        let mut remarks = Vec::new();
        let node = parser::parse(text, &mut remarks);
        for inside in remarks {
            let message = format!("in a line of this wildcard, \"{text}\": {}", inside.message);
            self.remark(|| Diagnostic::new(inside.severity, inside.code, place.0.clone(), message));
        }
        self.parsed.borrow_mut().insert(text.to_owned(), Rc::clone(&node));
        node
    }
}

type Variables = BTreeMap<String, Rc<Node>>;

/// What holds for a generator and those inside it.
#[derive(Clone)]
pub(super) struct Context {
    method: Method,
    variables: Rc<Variables>,
    /// The variables that are being drawn.
    drawing: Rc<Vec<String>>,
    depth: usize,
}

impl Context {
    pub(super) fn new(method: Method) -> Self {
        Self { method, variables: Rc::default(), drawing: Rc::default(), depth: 0 }
    }

    fn with_variables(&self, more: impl IntoIterator<Item = (String, Rc<Node>)>) -> Self {
        let mut more = more.into_iter().peekable();
        let mut context = self.clone();
        if more.peek().is_some() {
            Rc::make_mut(&mut context.variables).extend(more);
        }
        context
    }

    /// How `node` is drawn here: endless samplers have nothing but endless ones inside.
    fn method_for(&self, node: &Node) -> Method {
        match node.method() {
            Some(Method::Combinatorial) if self.method.is_endless() => self.method,
            Some(own) => own,
            None => self.method,
        }
    }

    fn inner(&self, method: Method) -> Self {
        Self { method, depth: self.depth + 1, ..self.clone() }
    }
}

/// Gives texts until it runs out.
pub(super) trait Generate {
    fn next(&mut self, world: &World<'_>) -> Option<String>;
}

type Generator = Box<dyn Generate>;

/// The generator of a piece.
pub(super) fn make(node: &Rc<Node>, context: &Context, world: &World<'_>) -> Generator {
    if !world.spend(0) {
        return Box::new(Constant { text: None, is_endless: false });
    }
    let method = context.method_for(node);
    let context = context.inner(method);
    if context.depth > DEEPEST {
        let place = place_of(node);
        world.remark(|| {
            let message = "wildcards name each other without end; this one is left out where they are nested too deep";
            Diagnostic::error("endless-wildcard", place, message)
        });
        return constant(String::new(), method);
    }
    match &**node {
        Node::Literal(text) => constant(text.clone(), method),
        Node::Sequence(nodes) => sequence(nodes, &context, world),
        Node::Variant(variant) => make_variant(variant, &context, world),
        Node::Wildcard { path, variables, place, .. } => wildcard(path, variables, place, &context, world),
        // An assignment outside of a sequence has nothing that could use it.
        Node::Assign { .. } => constant(String::new(), method),
        Node::Access { name, default, place } => access(name, default.as_ref(), place, &context, world),
        Node::Wrap { wrapper, inner } => wrap(wrapper, inner, &context, world),
    }
}

fn place_of(node: &Node) -> Range<usize> {
    match node {
        Node::Wildcard { place, .. } | Node::Access { place, .. } => place.0.clone(),
        _ => 0..0,
    }
}

fn constant(text: String, method: Method) -> Generator {
    Box::new(Constant { text: Some(text), is_endless: method.is_endless() })
}

struct Constant {
    text: Option<String>,
    is_endless: bool,
}

impl Generate for Constant {
    fn next(&mut self, world: &World<'_>) -> Option<String> {
        let text = if self.is_endless { self.text.clone() } else { self.text.take() }?;
        world.spend(text.len()).then_some(text)
    }
}

fn sequence(nodes: &[Rc<Node>], context: &Context, world: &World<'_>) -> Generator {
    let mut new: Variables = Variables::new();
    let mut pieces = Vec::new();
    for node in nodes {
        let Node::Assign { name, value, immediate, overwrite } = &**node else {
            pieces.push(Rc::clone(node));
            continue;
        };
        if !overwrite && (new.contains_key(name) || context.variables.contains_key(name)) {
            continue;
        }
        let value = match immediate {
            true => {
                // What this sequence sets is known here too, where nothing outside has that name.
                let mut known = new.clone();
                known.extend(context.variables.iter().map(|(name, node)| (name.clone(), Rc::clone(node))));
                let known = Context { variables: Rc::new(known), ..context.clone() };
                Rc::new(Node::Literal(make(value, &known, world).next(world).unwrap_or_default()))
            }
            false => Rc::clone(value),
        };
        new.insert(name.clone(), value);
    }
    let context = context.with_variables(new);
    if context.method.is_endless() {
        let parts = pieces.iter().map(|node| make(node, &context, world)).collect();
        return Box::new(Parallel { parts, separator: String::new() });
    }
    Box::new(Product::new(pieces, context, true))
}

/// One text of each, joined; ends with the first that ends.
struct Parallel {
    parts: Vec<Generator>,
    separator: String,
}

impl Generate for Parallel {
    fn next(&mut self, world: &World<'_>) -> Option<String> {
        let texts: Option<Vec<String>> = self.parts.iter_mut().map(|part| part.next(world)).collect();
        let text = join(&texts?, &self.separator);
        world.spend(text.len()).then_some(text)
    }
}

/// Texts with a separator between them; it neither begins nor ends what is joined.
fn join(texts: &[String], separator: &str) -> String {
    if let [only] = texts {
        return only.clone();
    }
    let joined = texts.join(separator);
    if separator.is_empty() {
        return joined;
    }
    let joined = joined.strip_prefix(separator).unwrap_or(&joined);
    joined.strip_suffix(separator).unwrap_or(joined).to_owned()
}

/// All combinations of the texts of several pieces, the last one changing first.
struct Product {
    nodes: Vec<Rc<Node>>,
    context: Context,
    /// Endless pieces that are equal share a generator in a sequence, not in a selection of a variant's options.
    shares: bool,
    slots: Vec<Slot>,
    shared: HashMap<String, Generator>,
    is_started: bool,
}

struct Slot {
    generator: Option<Generator>,
    /// The text now; of an endless piece the one drawn last.
    text: String,
    is_endless: bool,
    key: Option<String>,
}

impl Product {
    fn new(nodes: Vec<Rc<Node>>, context: Context, shares: bool) -> Self {
        Self { nodes, context, shares, slots: Vec::new(), shared: HashMap::new(), is_started: false }
    }

    /// The next combination.
    fn next_row(&mut self, world: &World<'_>) -> Option<Vec<String>> {
        match (self.is_started, self.nodes.len()) {
            (false, _) => {
                self.is_started = true;
                self.fill(world)?;
            }
            (true, 0) => return None,
            (true, _) => {
                self.advance(world)?;
                self.fill(world)?;
            }
        }
        for slot in self.slots.iter_mut().rev().filter(|slot| slot.is_endless) {
            let generator = match &slot.key {
                Some(key) => self.shared.get_mut(key),
                None => slot.generator.as_mut(),
            };
            slot.text = generator?.next(world)?;
        }
        Some(self.slots.iter().map(|slot| slot.text.clone()).collect())
    }

    /// Drops the last pieces that have run out and takes the next text of the one before.
    fn advance(&mut self, world: &World<'_>) -> Option<()> {
        loop {
            let slot = self.slots.last_mut()?;
            if !slot.is_endless
                && let Some(text) = slot.generator.as_mut().and_then(|generator| generator.next(world))
            {
                slot.text = text;
                return Some(());
            }
            self.slots.pop();
        }
    }

    /// Makes generators of the pieces that have none until each has a text.
    fn fill(&mut self, world: &World<'_>) -> Option<()> {
        while let Some(node) = self.nodes.get(self.slots.len()) {
            let is_endless = self.context.method_for(node).is_endless();
            let key = (is_endless && self.shares).then(|| format!("{node:?}"));
            let mut slot = Slot { generator: None, text: String::new(), is_endless, key };
            match &slot.key {
                Some(key) if self.shared.contains_key(key) => {}
                Some(key) => drop(self.shared.insert(key.clone(), make(node, &self.context, world))),
                None => slot.generator = Some(make(node, &self.context, world)),
            }
            if !is_endless {
                match slot.generator.as_mut().and_then(|generator| generator.next(world)) {
                    Some(text) => slot.text = text,
                    None => {
                        self.advance(world)?;
                        continue;
                    }
                }
            }
            self.slots.push(slot);
        }
        Some(())
    }
}

impl Generate for Product {
    fn next(&mut self, world: &World<'_>) -> Option<String> {
        let text = self.next_row(world)?.concat();
        world.spend(text.len()).then_some(text)
    }
}

fn make_variant(variant: &Variant, context: &Context, world: &World<'_>) -> Generator {
    if let [only] = variant.options.as_slice() {
        if let Node::Wildcard { path, variables, place, method } = &*only.value {
            let context = context.with_variables(variables.iter().cloned());
            if let Some(options) = options_of(path, place, &context, world) {
                let Variant { min, max, separator, .. } = variant;
                let (min, max) = ((*min).min(options.len()), (*max).min(options.len()));
                let lines = Variant { options, min, max, separator: separator.clone(), method: *method };
                return make_variant(&lines, &context, world);
            }
        }
        // As in dynamicprompts, a bound on a single option does not count where options are drawn at random.
        if context.method == Method::Random {
            return make(&only.value, context, world);
        }
    }
    let selections = Selections::new(variant);
    let options = variant.options.clone();
    let base = VariantBase { options, separator: variant.separator.clone(), context: context.clone() };
    match context.method {
        Method::Random => {
            let count = variant.options.len();
            Box::new(RandomVariant { base, min: variant.min.min(count), max: variant.max.min(count) })
        }
        Method::Combinatorial => Box::new(AllVariants { base, selections, row: None, length: 0, seen: HashSet::new() }),
        Method::Cyclical => Box::new(CyclicalVariant { base, selections, is_whole: false, rounds: Vec::new(), at: 0 }),
    }
}

struct VariantBase {
    options: Vec<Choosable>,
    separator: String,
    context: Context,
}

impl VariantBase {
    fn nodes(&self, chosen: &[usize]) -> Vec<Rc<Node>> {
        chosen.iter().filter_map(|at| self.options.get(*at)).map(|option| Rc::clone(&option.value)).collect()
    }

    fn parallel(&self, chosen: &[usize], world: &World<'_>) -> Parallel {
        let parts = self.nodes(chosen).iter().map(|node| make(node, &self.context, world)).collect();
        Parallel { parts, separator: self.separator.clone() }
    }
}

struct RandomVariant {
    base: VariantBase,
    min: usize,
    max: usize,
}

impl Generate for RandomVariant {
    fn next(&mut self, world: &World<'_>) -> Option<String> {
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
    seen: HashSet<Vec<String>>,
}

impl Generate for AllVariants {
    fn next(&mut self, world: &World<'_>) -> Option<String> {
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
            let distinct: HashSet<&String> = texts.iter().collect();
            if distinct.len() == self.length && !self.seen.contains(&texts) {
                let text = join(&texts, &self.base.separator);
                self.seen.insert(texts);
                return world.spend(text.len()).then_some(text);
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
    fn next(&mut self, world: &World<'_>) -> Option<String> {
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

/// The lines of a wildcard as options, each as often as its weight says; `None` if there are none.
fn options_of(path: &Rc<Node>, place: &Place, context: &Context, world: &World<'_>) -> Option<Vec<Choosable>> {
    let values = values_of(path, place, context, world).ok()?;
    let choosable = |value: &Value| Choosable { weight: value.weight, value: world.parse(&value.text, place) };
    Some(match context.method {
        Method::Random => values.iter().map(choosable).collect(),
        _ => values.iter().flat_map(|value| std::iter::repeat_n(choosable(value), value.times())).collect(),
    })
}

/// The lines of the wildcard that a path names, or the text that stands for one that there is not.
fn values_of(path: &Rc<Node>, place: &Place, context: &Context, world: &World<'_>) -> Result<Rc<Vec<Value>>, String> {
    let name = make(path, context, world).next(world).unwrap_or_default();
    match world.wildcards.values(&name) {
        Some(values) => Ok(values),
        None => {
            world.remark(|| {
                let message = format!("there is no wildcard called \"{name}\"; its name stays in the prompt");
                Diagnostic::error("unknown-wildcard", place.0.clone(), message)
            });
            Err(format!("__{name}__"))
        }
    }
}

fn wildcard(
    path: &Rc<Node>,
    variables: &[(String, Rc<Node>)],
    place: &Place,
    context: &Context,
    world: &World<'_>,
) -> Generator {
    let values = match values_of(path, place, context, world) {
        Ok(values) => values,
        Err(text) => return constant(text, context.method),
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
    values: Rc<Vec<Value>>,
    place: Place,
    context: Context,
}

impl Lines {
    fn make(&self, at: usize, world: &World<'_>) -> Option<Generator> {
        let value = self.values.get(at)?;
        Some(make(&world.parse(&value.text, &self.place), &self.context, world))
    }
}

struct RandomLine {
    base: Lines,
}

impl Generate for RandomLine {
    fn next(&mut self, world: &World<'_>) -> Option<String> {
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
    fn next(&mut self, world: &World<'_>) -> Option<String> {
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
    fn next(&mut self, world: &World<'_>) -> Option<String> {
        let line = self.lines.get_mut(self.at)?;
        if line.is_none() {
            *line = self.base.make(*self.order.get(self.at)?, world);
        }
        let text = line.as_mut()?.next(world);
        self.at = (self.at + 1) % self.order.len().max(1);
        text
    }
}

fn access(name: &str, default: Option<&Rc<Node>>, place: &Place, context: &Context, world: &World<'_>) -> Generator {
    if context.drawing.iter().any(|drawing| drawing == name) {
        world.remark(|| {
            let message = format!("the variable {name} is used in its own value; it is left out there");
            Diagnostic::error("endless-variable", place.0.clone(), message)
        });
        return constant(String::new(), context.method);
    }
    let Some(node) = context.variables.get(name).or(default) else {
        world.remark(|| {
            let message = format!("the variable {name} is not set; write ${{{name}:something}} for a default");
            Diagnostic::error("unknown-variable", place.0.clone(), message)
        });
        return constant(format!("${{{name}}}"), context.method);
    };
    let mut inner = context.clone();
    Rc::make_mut(&mut inner.drawing).push(name.to_owned());
    make(node, &inner, world)
}

fn wrap(wrapper: &Rc<Node>, inner: &Rc<Node>, context: &Context, world: &World<'_>) -> Generator {
    let nodes = vec![Rc::clone(wrapper), Rc::clone(inner)];
    if context.method.is_endless() {
        let parts = nodes.iter().map(|node| make(node, context, world)).collect();
        return Box::new(Wrap { rows: Rows::Parallel(parts) });
    }
    Box::new(Wrap { rows: Rows::All(Box::new(Product::new(nodes, context.clone(), false))) })
}

struct Wrap {
    rows: Rows,
}

enum Rows {
    Parallel(Vec<Generator>),
    All(Box<Product>),
}

impl Generate for Wrap {
    fn next(&mut self, world: &World<'_>) -> Option<String> {
        let row = match &mut self.rows {
            Rows::Parallel(parts) => parts.iter_mut().map(|part| part.next(world)).collect(),
            Rows::All(product) => product.next_row(world),
        };
        let row: Vec<String> = row?;
        let (wrapper, inner) = (row.first()?, row.get(1)?);
        let (before, after) = around_mark(wrapper);
        let text = format!("{before}{inner}{after}");
        world.spend(text.len()).then_some(text)
    }
}

/// What stands before and after the first ellipsis; without one the wrapper stands before.
fn around_mark(wrapper: &str) -> (&str, &str) {
    let is_mark = |c: char| "\u{1801}\u{2026}\u{22ee}\u{22ef}\u{22f0}\u{22f1}\u{fe19}".contains(c);
    let dots = wrapper.find("...");
    let sign = wrapper.find(is_mark);
    let Some(at) = [dots, sign].into_iter().flatten().min() else { return (wrapper, "") };
    let (before, mark) = wrapper.split_at(at);
    let after = if Some(at) == dots { mark.trim_start_matches('.') } else { mark.trim_start_matches(is_mark) };
    (before, after)
}
