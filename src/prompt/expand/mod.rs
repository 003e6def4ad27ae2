//! Expansion of dynamic prompts: one template, many prompts, in the grammar of dynamicprompts (adieyal/dynamicprompts,
//! `docs/SYNTAX.md`).
//!
//! | form | meaning |
//! |---|---|
//! | `{a\|b}`, `{2::a\|b}`, `{2$$a\|b\|c}`, `{1-2$$ and $$a\|b}` | choose one; with weights; several; with a separator of one's own |
//! | `{~…}` `{!…}` `{@…}`, `__~name__` … | the sampler of this choice: random, all combinations, in turn |
//! | `__path/name__`, `__dir/*__`, `__name(key=value)__` | a line of a wildcard file; globs; parameters |
//! | `${v=…}` `${v=!…}` `${v?=…}` `${v}` `${v:default}` | variables: drawn at each use, drawn once, only if unset, use |
//! | `%{before … after$$inner}` | wrap |
//! | `# …`, and at the start of a piece `// …` and `/* … */` | comments |
//!
//! What the original refuses to read (a `{` that is never closed, a lone `$`) is text here, with a diagnostic where it is
//! likely a slip. Expansion always ends: nesting, work and output are bounded, and a diagnostic says when a bound was met.
//!
//! # Limitations
//! The delimiters are fixed. A seed gives the same prompts here each time, not those of Python's random numbers. Spans in
//! diagnostics are those of the template; what comes from a wildcard file has none of its own.

mod choice;
mod comments;
mod generator;
mod lines;
mod parser;
mod syntax;
mod variants;
pub mod wildcards;
mod wrap;

use super::diagnostic::{self, Diagnostic};
use generator::{Context, World};
pub use syntax::Method;
use wildcards::Wildcards;

/// What is wanted of an expansion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How choices without a sampler of their own are made.
    pub method: Method,
    /// Start of the random numbers.
    pub seed: u64,
    /// Prompts at most.
    pub count: usize,
}

/// Prompts, and remarks on the template and on what stopped the expansion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The prompts, in order.
    pub prompts: Vec<String>,
    /// Remarks, in the order of their places in the template.
    pub diagnostics: Vec<Diagnostic>,
}

/// Expands a template. An empty one gives no prompts.
pub fn expand(template: &str, wildcards: &Wildcards, wanted: Wanted) -> Expansion {
    if template.is_empty() {
        return Expansion::default();
    }
    let mut diagnostics = Vec::new();
    let root = parser::parse(template, None, &mut diagnostics);
    let world = World::new(wildcards, wanted.seed);
    let mut prompts = Vec::new();
    let mut generator = generator::make(&root, &Context::new(wanted.method), &world);
    // A template that is nothing but a choice with an endless sampler has no last combination.
    let is_endless = root.method().is_some_and(Method::is_endless) && !wanted.method.is_endless();
    let count = if is_endless { wanted.count.min(1) } else { wanted.count };
    while prompts.len() < count {
        match generator.next(&world) {
            Some(prompt) => prompts.push(prompt),
            None => break,
        }
    }
    diagnostics.extend(world.into_diagnostics());
    diagnostic::tidy(&mut diagnostics);
    Expansion { prompts, diagnostics }
}
