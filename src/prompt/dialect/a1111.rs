//! A1111's dialect as a tree: the stages of [`super::super::stages`], with schedules and alternations kept as options.

use crate::prompt::diagnostic::{self, Diagnostic};
use crate::prompt::emphasis;
use crate::prompt::schedule::{Operation, Schedule};
use crate::prompt::source::Traced;
use crate::prompt::stages::Stages;
use crate::prompt::tree::{Choice, Item, Tree, TreePart, When};

/// Steps that the tree is compared with the stages at.
const STEPS: u32 = 20;
/// Bytes of a long text.
const LONG: usize = 20_000;
/// Stands for an option's edge while brackets are read.
const EDGE: &str = "\u{0}";

pub(super) fn read(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Tree {
    let stages = Stages::new(text, STEPS);
    let mut parts = Vec::new();
    for (part, schedule) in stages.parts.iter().zip(&stages.schedules) {
        parts.push(read_part(part.weight, schedule, diagnostics).tidy());
    }
    diagnostics.extend(stages.diagnostics.iter().cloned());
    let tree = Tree { parts, extra_networks: stages.extra_networks.clone() };
    // A long text is compared at its last step alone: the comparison takes as long as reading it once a step.
    let boundaries = stages.boundaries();
    let compared = if text.len() > LONG { boundaries.len().saturating_sub(1) } else { 0 };
    if let Some(step) = boundaries.into_iter().skip(compared).find(|step| !is_same(&tree, &stages, *step)) {
        let message = format!(
            "brackets, weights or BREAK reach across the edge of a schedule or alternation; from step {step} on this is not kept"
        );
        diagnostic::add(diagnostics, || Diagnostic::warning("not-preserved", 0..text.len(), message));
    }
    tree
}

fn read_part(weight: f64, schedule: &Schedule, diagnostics: &mut Vec<Diagnostic>) -> TreePart {
    let (joined, edges) = join(schedule);
    let mut part = TreePart::new(weight);
    let mut edges = edges.into_iter().peekable();
    for piece in emphasis::pieces(&joined, diagnostics) {
        let word = joined.text().get(piece.text.clone()).unwrap_or_default();
        if word == "BREAK" && piece.weight == emphasis::BREAK_WEIGHT {
            part.items.push(Item::Break(joined.span(piece.whole)));
            continue;
        }
        let mut from = piece.text.start;
        while let Some((at, items)) = edges.next_if(|(at, _)| *at < piece.text.end) {
            push(&mut part, &joined, from.min(at)..at, &piece);
            part.items.extend(items);
            from = at + EDGE.len();
        }
        push(&mut part, &joined, from..piece.text.end.max(from), &piece);
    }
    part.items.extend(edges.flat_map(|(_, items)| items));
    part
}

fn push(part: &mut TreePart, joined: &Traced, range: std::ops::Range<usize>, piece: &emphasis::Piece) {
    let whole = if range == piece.text { piece.whole.clone() } else { range.clone() };
    part.push_text(joined.text().get(range).unwrap_or_default(), piece.weight, joined.span(whole));
}

/// The text of all options one after the other with [`EDGE`] between them, and what each edge is.
fn join(schedule: &Schedule) -> (Traced, Vec<(usize, Vec<Item>)>) {
    let (mut joined, mut edges) = (Traced::default(), Vec::new());
    let source = schedule.source();
    let mut is_number = false;
    for (at, operation) in schedule.operations().iter().enumerate() {
        let items = match operation {
            &Operation::Text(start, end) => {
                if !is_number {
                    joined.push(source, start..end);
                }
                continue;
            }
            Operation::Switch(switch) => {
                let when = source.text().get(switch.number.clone()).and_then(When::parse).unwrap_or(When::Step(0));
                let mut items = vec![Item::Open(Choice::Switch(when))];
                // Without a first option the second one follows at once.
                items.extend((switch.to == at + 1).then_some(Item::Next));
                items
            }
            Operation::Alternate { .. } => vec![Item::Open(Choice::Alternate)],
            Operation::Next(_) => vec![Item::Next],
            Operation::When(_) => {
                is_number = true;
                continue;
            }
            Operation::End => {
                is_number = false;
                vec![Item::Close]
            }
        };
        edges.push((joined.text().len(), items));
        joined.push_for(EDGE, joined.span(joined.text().len()..joined.text().len()));
    }
    (joined, edges)
}

/// Whether tree and stages say the same at a step, but for white space that means nothing.
fn is_same(tree: &Tree, stages: &Stages, step: u32) -> bool {
    let stretch = stages.at(step, &mut Vec::new());
    tree.parts.len() == stretch.parts.len()
        && tree.parts.iter().zip(&stretch.parts).all(|(part, wanted)| {
            let mut plain = TreePart::new(1.0);
            for fragment in &wanted.fragments {
                match fragment.is_break() {
                    true => plain.items.push(Item::Break(0..0)),
                    false => plain.push_text(&fragment.text, fragment.weight, 0..0),
                }
            }
            let (found, wanted) = (part.at(step, STEPS), plain.tidy().at(step, STEPS));
            let is_equal = |(a, b): (&emphasis::Fragment, &emphasis::Fragment)| {
                a.text == b.text && (a.weight - b.weight).abs() < 1e-9
            };
            found.len() == wanted.len() && found.iter().zip(&wanted).all(is_equal)
        })
}
