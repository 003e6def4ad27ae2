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
//! The delimiters are fixed. A seed gives the same prompts here each time, not those of Python's random numbers. Places are
//! those of the template: what a wildcard or a variable puts in stands for the form that names it.

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
use super::source::Traced;
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
    let keep = |prompt: Traced| prompt.text().to_owned();
    let (prompts, diagnostics) = run(&Traced::new(template), wildcards, wanted, keep);
    Expansion { prompts, diagnostics }
}

/// Whether a template is nothing but a choice with an endless sampler, as `{@a|b}`: there is no last combination then.
pub fn is_endless(template: &str) -> bool {
    parser::parse(&Traced::new(template), &mut Vec::new()).method().is_some_and(Method::is_endless)
}

/// As [`expand`], with the places in the source that each prompt comes from. Takes time linear in what it puts together.
pub fn expand_traced(template: &Traced, wildcards: &Wildcards, wanted: Wanted) -> (Vec<Traced>, Vec<Diagnostic>) {
    run(template, wildcards, wanted, |prompt| prompt)
}

fn run<T>(
    template: &Traced,
    wildcards: &Wildcards,
    wanted: Wanted,
    keep: impl Fn(Traced) -> T,
) -> (Vec<T>, Vec<Diagnostic>) {
    if template.text().is_empty() {
        return (Vec::new(), Vec::new());
    }
    let mut diagnostics = Vec::new();
    let root = parser::parse(template, &mut diagnostics);
    let world = World::new(wildcards, wanted.seed);
    let mut prompts = Vec::new();
    let mut generator = generator::make(&root, &Context::new(wanted.method), &world);
    while prompts.len() < wanted.count {
        match generator.next(&world) {
            Some(prompt) => prompts.push(keep(prompt)),
            None => break,
        }
    }
    diagnostics.extend(world.into_diagnostics());
    diagnostic::tidy(&mut diagnostics);
    (prompts, diagnostics)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each stretch of the prompts that are drawn with the place in the template that it comes from.
    fn places(template: &str, method: Method) -> Vec<Vec<(String, String)>> {
        let (wildcards, _) = Wildcards::parse([("w.txt", "{red|red} sea"), ("v.txt", "${x} __w__")]);
        let wanted = Wanted { method, seed: 1, count: 2 };
        let (prompts, _) = expand_traced(&Traced::new(template), &wildcards, wanted);
        let one = |prompt: &Traced| {
            let runs = prompt.runs().map(|(text, place)| (text.to_owned(), template[place].to_owned()));
            runs.collect()
        };
        prompts.iter().map(one).collect()
    }

    fn check(template: &str, wanted: &[(&str, &str)]) {
        let wanted: Vec<(String, String)> =
            wanted.iter().map(|(text, place)| ((*text).to_owned(), (*place).to_owned())).collect();
        for method in [Method::Random, Method::Combinatorial, Method::Cyclical] {
            assert_eq!(places(template, method)[0], wanted, "{template} {method:?}");
        }
    }

    #[test]
    fn what_is_drawn_knows_its_place() {
        check("a {fox|fox}", &[("a ", "a "), ("fox", "fox")]);
        check("a __w__, at", &[("a ", "a "), ("red sea", "__w__"), (", at", ", at")]);
        check("é${x=ice}${x}!", &[("é", "é"), ("ice", "${x}"), ("!", "!")]);
        check("${y:cold} __v(x=a)__", &[("cold", "cold"), (" ", " "), ("a red sea", "__v(x=a)__")]);
        check("%{an ... icon$${fox|fox}}", &[("an ", "an "), ("fox", "fox"), (" icon", " icon")]);
        check("__x__ ${z}", &[("__x__", "__x__"), (" ", " "), ("${z}", "${z}")]);
    }

    #[test]
    fn what_equal_pieces_draw_in_turn_stands_where_each_of_them_is() {
        let template = "{@a|b} é {@a|b}";
        let (prompts, _) = expand_traced(
            &Traced::new(template),
            &Wildcards::default(),
            Wanted { method: Method::Combinatorial, seed: 1, count: 1 },
        );
        let prompt = &prompts[0];
        let last = prompt.text().len();
        assert_eq!(prompt.span(last - 1..last), 10..16);
    }

    #[test]
    fn several_options_in_any_order_span_what_they_come_from() {
        let template = "{2$$ and $$a|b}";
        let found = places(template, Method::Combinatorial);
        let piece = |text: &str, place: &str| (text.to_owned(), place.to_owned());
        assert_eq!(found[1], [piece("b", "b"), piece(" and ", template), piece("a", "a")]);
        let wanted = Wanted { method: Method::Combinatorial, seed: 1, count: 2 };
        let (prompts, _) = expand_traced(&Traced::new("{2$$,$$a|b}"), &Wildcards::default(), wanted);
        assert_eq!((prompts[1].text(), prompts[1].span(0..1), prompts[1].span(2..3)), ("b,a", 9..10, 7..8));
    }
}
