//! Drawing prompts from a tree. Each piece becomes a generator; a generator gives texts one after the other.
//!
//! The order is dynamicprompts': of all combinations the last piece changes first; pieces that are drawn at random or in
//! turn inside all combinations are drawn once for each; what is set once keeps its value for all prompts.
//! Everything is counted against one budget, so that wildcards that name each other end with a diagnostic.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::syntax::{Method, Node, Place, Variant, Words};
use super::wildcards::Wildcards;
use super::{lines, parser, variants, wrap};
use crate::prompt::diagnostic::{self, Diagnostic};
use crate::prompt::source::Traced;

/// Generators inside generators.
const DEEPEST: usize = 160;
/// Steps of one expansion; fewer when it is fuzzed, which would else try the same endless combinations a million times.
const WORK: usize = if cfg!(fuzzing) { 5_000 } else { 2_000_000 };
/// Bytes that one expansion may put together.
const BYTES: usize = 256 << 20;

/// Lines of wildcards as trees, by their text and the place that they stand for.
type Parsed = HashMap<(String, Range<usize>), Rc<Node>>;

/// What all generators of an expansion share.
pub(super) struct World<'a> {
    pub(super) wildcards: &'a Wildcards,
    pub(super) rng: RefCell<ChaCha8Rng>,
    work: Cell<usize>,
    bytes: Cell<usize>,
    parsed: RefCell<Parsed>,
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

    pub(super) fn remark(&self, make: impl FnOnce() -> Diagnostic) {
        let mut list = self.diagnostics.borrow_mut();
        diagnostic::add(&mut list, make);
        diagnostic::tidy(&mut list);
    }

    /// Counts a step and the bytes of its text; false when too much has been done.
    pub(super) fn spend(&self, bytes: usize) -> bool {
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
    pub(super) fn parse(&self, text: &str, place: &Place) -> Rc<Node> {
        let key = (text.to_owned(), place.0.clone());
        if let Some(node) = self.parsed.borrow().get(&key) {
            return Rc::clone(node);
        }
        let mut remarks = Vec::new();
        let node = parser::parse(&Traced::standing_for(text, place.0.clone()), &mut remarks);
        for inside in remarks {
            let message = format!("in a line of this wildcard, \"{text}\": {}", inside.message);
            self.remark(|| Diagnostic::new(inside.severity, inside.code, place.0.clone(), message));
        }
        self.parsed.borrow_mut().insert(key, Rc::clone(&node));
        node
    }
}

type Variables = BTreeMap<String, Rc<Node>>;

/// What holds for a generator and those inside it.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) method: Method,
    variables: Rc<Variables>,
    /// The variables that are being drawn.
    drawing: Rc<Vec<String>>,
    depth: usize,
}

impl Context {
    pub(super) fn new(method: Method) -> Self {
        Self { method, variables: Rc::default(), drawing: Rc::default(), depth: 0 }
    }

    pub(super) fn with_variables(&self, more: impl IntoIterator<Item = (String, Rc<Node>)>) -> Self {
        let mut context = self.clone();
        for (name, value) in more {
            // Under its name there is something else now.
            if context.drawing.contains(&name) {
                Rc::make_mut(&mut context.drawing).retain(|drawing| *drawing != name);
            }
            Rc::make_mut(&mut context.variables).insert(name, value);
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
    fn next(&mut self, world: &World<'_>) -> Option<Traced>;
}

pub(super) type Generator = Box<dyn Generate>;

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
        return constant(Traced::default(), method);
    }
    match &**node {
        Node::Literal(Words(text)) => constant(text.clone(), method),
        Node::Sequence(nodes) => sequence(nodes, &context, world),
        Node::Variant(variant) => variants::make(variant, &context, world),
        Node::Wildcard { path, variables, place, .. } => lines::make(path, variables, place, &context, world),
        // An assignment outside of a sequence has nothing that could use it.
        Node::Assign { .. } => constant(Traced::default(), method),
        Node::Access { name, default, place } => access(name, default.as_ref(), place, &context, world),
        Node::Wrap { wrapper, inner } => wrap::make(wrapper, inner, &context, world),
    }
}

fn place_of(node: &Node) -> Range<usize> {
    match node {
        Node::Wildcard { place, .. } | Node::Access { place, .. } | Node::Variant(Variant { place, .. }) => {
            place.0.clone()
        }
        _ => 0..0,
    }
}

pub(super) fn constant(text: Traced, method: Method) -> Generator {
    Box::new(Constant { text: Some(text), is_endless: method.is_endless() })
}

struct Constant {
    text: Option<Traced>,
    is_endless: bool,
}

impl Generate for Constant {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        let text = if self.is_endless { self.text.clone() } else { self.text.take() }?;
        world.spend(text.text().len()).then_some(text)
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
                Rc::new(Node::Literal(Words(make(value, &known, world).next(world).unwrap_or_default())))
            }
            false => Rc::clone(value),
        };
        new.insert(name.clone(), value);
    }
    let context = context.with_variables(new);
    if context.method.is_endless() {
        let parts = pieces.iter().map(|node| make(node, &context, world)).collect();
        return Box::new(Parallel { parts, separator: Traced::default() });
    }
    Box::new(Product::new(pieces, context, true))
}

/// One text of each, joined; ends with the first that ends.
pub(super) struct Parallel {
    pub(super) parts: Vec<Generator>,
    pub(super) separator: Traced,
}

impl Generate for Parallel {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        let texts: Option<Vec<Traced>> = self.parts.iter_mut().map(|part| part.next(world)).collect();
        let text = join(&texts?, &self.separator);
        world.spend(text.text().len()).then_some(text)
    }
}

/// Texts with a separator between them; it neither begins nor ends what is joined.
pub(super) fn join(texts: &[Traced], separator: &Traced) -> Traced {
    if let [only] = texts {
        return only.clone();
    }
    let mut joined = Traced::default();
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            joined.push_all(separator);
        }
        joined.push_all(text);
    }
    let (whole, separator) = (joined.text(), separator.text());
    if separator.is_empty() {
        return joined;
    }
    let rest = whole.strip_prefix(separator).unwrap_or(whole);
    let from = whole.len() - rest.len();
    joined.slice(from..from + rest.strip_suffix(separator).unwrap_or(rest).len())
}

/// All combinations of the texts of several pieces, the last one changing first.
pub(super) struct Product {
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
    text: Traced,
    is_endless: bool,
    /// Of a piece that shares its generator.
    key: Option<String>,
    /// Where such a piece stands: what is drawn by an equal one elsewhere stands for it here.
    place: Range<usize>,
}

impl Product {
    pub(super) fn new(nodes: Vec<Rc<Node>>, context: Context, shares: bool) -> Self {
        Self { nodes, context, shares, slots: Vec::new(), shared: HashMap::new(), is_started: false }
    }

    /// The next combination.
    pub(super) fn next_row(&mut self, world: &World<'_>) -> Option<Vec<Traced>> {
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
            slot.text = match &slot.key {
                Some(key) => Traced::standing_for(self.shared.get_mut(key)?.next(world)?.text(), slot.place.clone()),
                None => slot.generator.as_mut()?.next(world)?,
            };
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
            let mut slot = Slot { generator: None, text: Traced::default(), is_endless, key, place: place_of(node) };
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
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        let text = join(&self.next_row(world)?, &Traced::default());
        world.spend(text.text().len()).then_some(text)
    }
}

fn access(name: &str, default: Option<&Rc<Node>>, place: &Place, context: &Context, world: &World<'_>) -> Generator {
    if context.drawing.iter().any(|drawing| drawing == name) {
        world.remark(|| {
            let message = format!("the variable {name} is used in its own value; it is left out there");
            Diagnostic::error("endless-variable", place.0.clone(), message)
        });
        return constant(Traced::default(), context.method);
    }
    let (node, is_set) = match context.variables.get(name) {
        Some(node) => (Some(node), true),
        None => (default, false),
    };
    let Some(node) = node else {
        world.remark(|| {
            let message = format!("the variable {name} is not set; write ${{{name}:something}} for a default");
            Diagnostic::error("unknown-variable", place.0.clone(), message)
        });
        return constant(Traced::standing_for(&format!("${{{name}}}"), place.0.clone()), context.method);
    };
    let mut inner = context.clone();
    Rc::make_mut(&mut inner.drawing).push(name.to_owned());
    let value = make(node, &inner, world);
    match is_set {
        true => Box::new(Used { value, place: place.0.clone() }),
        false => value,
    }
}

/// The value of a variable, which stands for its use and not for the place where it was set.
struct Used {
    value: Generator,
    place: Range<usize>,
}

impl Generate for Used {
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        Some(Traced::standing_for(self.value.next(world)?.text(), self.place.clone()))
    }
}
