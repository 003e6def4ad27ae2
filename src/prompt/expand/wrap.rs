//! Drawing from a wrap: one text around another.

use std::rc::Rc;

use super::generator::{self, Context, Generate, Generator, Product, World};
use super::syntax::Node;
use crate::prompt::source::Traced;

/// The generator of a wrap.
pub(super) fn make(wrapper: &Rc<Node>, inner: &Rc<Node>, context: &Context, world: &World<'_>) -> Generator {
    let nodes = vec![Rc::clone(wrapper), Rc::clone(inner)];
    if context.method.is_endless() {
        let parts = nodes.iter().map(|node| generator::make(node, context, world)).collect();
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
    fn next(&mut self, world: &World<'_>) -> Option<Traced> {
        let row = match &mut self.rows {
            Rows::Parallel(parts) => parts.iter_mut().map(|part| part.next(world)).collect(),
            Rows::All(product) => product.next_row(world),
        };
        let row: Vec<Traced> = row?;
        let (wrapper, inner) = (row.first()?, row.get(1)?);
        let (before, after) = around_mark(wrapper.text());
        let mut text = wrapper.slice(0..before.len());
        text.push_all(inner);
        text.push(wrapper, wrapper.text().len() - after.len()..wrapper.text().len());
        world.spend(text.text().len()).then_some(text)
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
