//! Templates and styles laid over a prompt, one on the other: the prompt goes into the first, the result into the second, and so on.

use std::collections::BTreeMap;

use super::library::Template;
use super::template::{fill_slots, fill_subject, has_subject};

/// A template in use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// The template, as it was when it was put in use.
    pub template: Template,
    /// Whether it is one of the styles.
    pub is_style: bool,
    /// What stands in the holes of its own, by name; what is missing stands as the template has it.
    pub values: BTreeMap<String, String>,
    /// Whether it is left out for now.
    pub is_off: bool,
}

impl Applied {
    /// A template as it is.
    pub fn new(template: Template, is_style: bool) -> Self {
        Self { template, is_style, ..Self::default() }
    }
}

/// Prompt and negative prompt under a stack of templates. Without one they are what they were.
///
/// A template's negative prompt goes behind what is there, or around it where it has a hole; a phrase comes once.
pub fn compose(stack: &[Applied], prompt: &str, negative: &str) -> (String, String) {
    let mut composed = (prompt.to_owned(), negative.to_owned());
    for Applied { template, values, .. } in stack.iter().filter(|applied| !applied.is_off) {
        composed.0 = fill_subject(&fill_slots(&template.text, values), &composed.0);
        let more = fill_slots(&template.negative, values);
        composed.1 = if has_subject(&more) { fill_subject(&more, &composed.1) } else { join(&composed.1, &more) };
    }
    composed
}

/// Both, with the phrases of `more` that `text` has already left out.
fn join(text: &str, more: &str) -> String {
    let known: Vec<&str> = text.split(',').map(str::trim).collect();
    let new = more.split(',').map(str::trim).filter(|phrase| !phrase.is_empty() && !known.contains(phrase));
    let new = new.collect::<Vec<_>>().join(", ");
    fill_subject(&new, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str, negative: &str) -> Applied {
        let template = Template { text: text.into(), negative: negative.into(), ..Template::default() };
        Applied::new(template, false)
    }

    #[test]
    fn the_order_decides() {
        let (sketch, soft) = (applied("a sketch of {subject}", "photo"), applied("soft light", "photo, noise"));
        let compose = |stack: &[&Applied]| {
            let stack: Vec<Applied> = stack.iter().map(|one| (*one).clone()).collect();
            super::compose(&stack, "a fox", "text")
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(compose(&[]), pair("a fox", "text"));
        assert_eq!(compose(&[&sketch, &soft]), pair("a sketch of a fox, soft light", "text, photo, noise"));
        assert_eq!(compose(&[&soft, &sketch]), pair("a sketch of a fox, soft light", "text, photo, noise"));
        let around = applied("({prompt}:1.2), {mood=calm}", "bad, {prompt}");
        assert_eq!(compose(&[&around, &sketch]), pair("a sketch of (a fox:1.2), calm", "bad, text, photo"));
        assert_eq!(compose(&[&sketch, &around]), pair("(a sketch of a fox:1.2), calm", "bad, text, photo"));
        let off = Applied { is_off: true, ..sketch.clone() };
        assert_eq!(compose(&[&off]), pair("a fox", "text"));
    }

    #[test]
    fn holes_take_their_values() {
        let mut one = applied("{subject} in {place=a room}", "");
        one.values.insert("place".into(), "a garden".into());
        assert_eq!(compose(&[one], "a fox", "").0, "a fox in a garden");
    }
}
