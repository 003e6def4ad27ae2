//! The tree of a template.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::rc::Rc;

use crate::prompt::source::Traced;

/// How a choice is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// By chance, for ever.
    #[default]
    Random,
    /// Every combination once, then no more.
    Combinatorial,
    /// One after the other, for ever.
    Cyclical,
}

impl Method {
    /// Whether it never runs out.
    pub(super) fn is_endless(self) -> bool {
        self != Self::Combinatorial
    }
}

/// A piece of a template. Trees are at most [`super::parser::DEEPEST`] deep.
#[derive(Debug, PartialEq)]
pub(super) enum Node {
    Literal(Words),
    Sequence(Vec<Rc<Node>>),
    Variant(Variant),
    Wildcard { path: Rc<Node>, method: Option<Method>, variables: Vec<(String, Rc<Node>)>, place: Place },
    Assign { name: String, value: Rc<Node>, immediate: bool, overwrite: bool },
    Access { name: String, default: Option<Rc<Node>>, place: Place },
    Wrap { wrapper: Rc<Node>, inner: Rc<Node> },
}

/// A choice of `min` to `max` of the options.
#[derive(Debug, PartialEq)]
pub(super) struct Variant {
    pub(super) options: Vec<Choosable>,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) separator: String,
    pub(super) method: Option<Method>,
    pub(super) place: Place,
}

/// An option and its weight.
#[derive(Debug, PartialEq, Clone)]
pub(super) struct Choosable {
    pub(super) weight: f64,
    pub(super) value: Rc<Node>,
}

impl Node {
    /// The sampler that it asks for.
    pub(super) fn method(&self) -> Option<Method> {
        match self {
            Self::Variant(Variant { method, .. }) | Self::Wildcard { method, .. } => *method,
            _ => None,
        }
    }
}

/// Where something stands. Two pieces are the same wherever they stand, so places are equal and are not printed.
#[derive(Clone)]
pub(super) struct Place(pub(super) Range<usize>);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Words of a template. As with [`Place`], only the words count.
pub(super) struct Words(pub(super) Traced);

impl PartialEq for Words {
    fn eq(&self, other: &Self) -> bool {
        self.0.text() == other.0.text()
    }
}

impl Eq for Words {}

impl Hash for Words {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text().hash(state);
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text().fmt(f)
    }
}
