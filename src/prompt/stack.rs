//! Templates and styles laid over a prompt, one on the other: the prompt goes into the first, the result into the second, and so on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::library::Template;
use super::source::Traced;
use super::template::{fill_slots, has_subject, lay_over};

/// A template in use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
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
    let [prompt, negative] = compose_traced(stack, prompt, negative);
    (prompt.text().to_owned(), negative.text().to_owned())
}

/// As [`compose`], with the places in the prompts that the words come from.
pub fn compose_traced(stack: &[Applied], prompt: &str, negative: &str) -> [Traced; 2] {
    let mut composed = [prompt, negative].map(Traced::new);
    for applied in stack.iter().filter(|applied| !applied.is_off) {
        composed = lay(applied, &composed, [prompt.len(), negative.len()]);
    }
    composed
}

/// What each template that is in use makes of the prompts that the ones before it made; with its name.
pub fn layers<'a>(stack: &'a [Applied], prompt: &str, negative: &str) -> Vec<(&'a str, [String; 2])> {
    let mut composed = [prompt, negative].map(Traced::new);
    let in_use = stack.iter().filter(|applied| !applied.is_off);
    let layer = |applied: &'a Applied| {
        composed = lay(applied, &composed, [prompt.len(), negative.len()]);
        (applied.template.name.as_str(), composed.each_ref().map(|text| text.text().to_owned()))
    };
    in_use.map(layer).collect()
}

/// Prompt and negative prompt, which come from sources of these lengths, under one template.
fn lay(
    Applied { template, values, .. }: &Applied,
    [prompt, negative]: &[Traced; 2],
    lengths: [usize; 2],
) -> [Traced; 2] {
    let more = fill_slots(&template.negative, values);
    let negative_words = if has_subject(&more) { more } else { new_phrases(negative.text(), &more) };
    [lay_over(&fill_slots(&template.text, values), prompt, lengths[0]), lay_over(&negative_words, negative, lengths[1])]
}

/// The phrases of `more` that `text` does not have.
fn new_phrases(text: &str, more: &str) -> String {
    let known: Vec<&str> = text.split(',').map(str::trim).collect();
    let new = more.split(',').map(str::trim).filter(|phrase| !phrase.is_empty() && !known.contains(phrase));
    new.collect::<Vec<_>>().join(", ")
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
