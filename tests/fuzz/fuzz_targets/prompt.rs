//! The prompt language on arbitrary text: it never panics, spans lie inside the text, and what is written of a prompt is read
//! as the same.
#![no_main]

#[path = "../../../src/base/geom.rs"]
#[allow(dead_code)]
mod geom;

/// What the prompt language uses of it.
mod base {
    pub(crate) use crate::geom;
}

#[path = "../../../src/prompt/mod.rs"]
#[allow(dead_code, unused_imports)]
mod prompt;

use libfuzzer_sys::fuzz_target;
use prompt::dialect::{self, Dialect};
use prompt::expand::wildcards::Wildcards;
use prompt::expand::{Method, Wanted, expand_traced};
use prompt::phrase::Said;
use prompt::schedule::Timing;
use prompt::source::Traced;
use prompt::stages::Stages;
use prompt::tree::{Item, Tree};

fuzz_target!(|text: &str| {
    let is_inside = |span: &std::ops::Range<usize>| assert!(text.get(span.clone()).is_some(), "{span:?}");
    let (stretches, remarks) = Stages::new(text, 7).schedule();
    let fragments = stretches.iter().flat_map(|stretch| &stretch.parts).flat_map(|part| &part.fragments);
    fragments.for_each(|fragment| is_inside(&fragment.span));
    remarks.iter().for_each(|remark| is_inside(&remark.span));
    let (wildcards, _) = Wildcards::parse([("w.txt", "x\n{y|z}"), ("v.txt", "q\n__w__"), ("u.txt", "r\n__u__")]);
    for method in [Method::Random, Method::Combinatorial, Method::Cyclical] {
        let wanted = Wanted { method, seed: 1, count: 3 };
        let (prompts, remarks) = expand_traced(&Traced::new(text), &wildcards, wanted);
        remarks.iter().for_each(|remark| is_inside(&remark.span));
        for prompt in &prompts {
            prompt.runs().for_each(|(_, place)| is_inside(&place));
            let stages = Stages::of(prompt, Timing::of_steps(7));
            let said = Said::of(&stages);
            [0, 1, 7, 50, usize::MAX].map(|caret| said.phrase_at(text, caret).len());
            let (stretches, remarks) = stages.schedule();
            let fragments = stretches.iter().flat_map(|stretch| &stretch.parts).flat_map(|part| &part.fragments);
            fragments.for_each(|fragment| is_inside(&fragment.span));
            remarks.iter().for_each(|remark| is_inside(&remark.span));
        }
    }
    for dialect in Dialect::ALL {
        let (tree, remarks) = dialect::read(dialect, text);
        remarks.iter().for_each(|remark| is_inside(&remark.span));
        let explanation = dialect::explain(dialect, text, 7);
        let fragments = explanation.schedule.iter().flat_map(|stretch| &stretch.parts).flat_map(|part| &part.fragments);
        fragments.for_each(|fragment| is_inside(&fragment.span));
        explanation.extra_networks.iter().for_each(|network| is_inside(&network.span));
        explanation.diagnostics.iter().for_each(|remark| is_inside(&remark.span));
        let (written, lost) = dialect::write(dialect, &tree);
        if lost.is_empty() {
            assert_eq!(bare(dialect::read(dialect, &written).0), bare(tree), "{dialect:?} {written:?}");
        }
    }
});

/// The tree without places.
fn bare(mut tree: Tree) -> Tree {
    for item in tree.parts.iter_mut().flat_map(|part| &mut part.items) {
        match item {
            Item::Text(fragment) => fragment.span = 0..0,
            Item::Break(span) => *span = 0..0,
            Item::Open(_) | Item::Next | Item::Close => {}
        }
    }
    for network in &mut tree.extra_networks {
        (network.span, network.args) = (0..0, Vec::new());
    }
    tree
}
