//! A prompt without the brackets of any dialect: texts with their whole weights, breaks, schedules, alternations, parts.
//!
//! Weights of nested brackets are multiplied out, so that dialects whose brackets nest differently meet here. Schedules
//! and alternations are kept as items that open and close: deep nesting is a long list, not recursion. White space at the
//! ends of a part and around a break means nothing and is not kept.

use std::ops::Range;

use super::emphasis::{BREAK_WEIGHT, Fragment, LARGEST};
use super::network::ExtraNetwork;
use super::source::is_space;

/// A fraction of the steps below which it is none of them.
const SMALLEST: f64 = 1e-9;

/// A prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    /// What `AND` joins; at least one.
    pub parts: Vec<TreePart>,
    /// The extra networks, in order.
    pub extra_networks: Vec<ExtraNetwork>,
}

/// One of the prompts that make up a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct TreePart {
    /// How much it counts among the parts.
    pub weight: f64,
    /// Its items; every [`Item::Open`] has its [`Item::Close`].
    pub items: Vec<Item>,
}

/// A piece of a part.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Text that is always there, within what is open.
    Text(Fragment),
    /// Another chunk starts.
    Break(Range<usize>),
    /// Options follow.
    Open(Choice),
    /// The next option.
    Next,
    /// The options end.
    Close,
}

/// What decides between options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// The first option up to and including a step, then the second one.
    Switch(When),
    /// The next option each step.
    Alternate,
}

/// A step of a schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// That part of all steps.
    Fraction(f64),
    /// A step's number.
    Step(i64),
}

impl When {
    /// "0.5" or "12" as prompts have it.
    pub fn parse(text: &str) -> Option<Self> {
        let number: f64 = text.trim().parse().ok().filter(|number: &f64| number.is_finite())?;
        // Beyond these a fraction is none or all of any number of steps, and would be written with hundreds of digits.
        let fraction = if number.abs() < SMALLEST { 0.0 } else { number.clamp(-LARGEST, LARGEST) };
        Some(if text.contains('.') { Self::Fraction(fraction) } else { Self::Step(number as i64) })
    }

    /// The step of `steps` after which the second option comes; below 1 if the first one never does.
    pub fn step(self, steps: u32) -> i64 {
        let step = match self {
            Self::Fraction(part) => (part * f64::from(steps)) as i64,
            Self::Step(step) => step,
        };
        step.min(i64::from(steps))
    }
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fraction(part) if part.fract() == 0.0 => write!(f, "{part:.1}"),
            Self::Fraction(part) => write!(f, "{part}"),
            Self::Step(step) => write!(f, "{step}"),
        }
    }
}

impl TreePart {
    /// An empty part.
    pub fn new(weight: f64) -> Self {
        Self { weight, items: Vec::new() }
    }

    /// Appends text; joins it to text of the same weight.
    pub fn push_text(&mut self, text: &str, weight: f64, span: Range<usize>) {
        let weight = weight.clamp(-LARGEST, LARGEST);
        if text.is_empty() {
            return;
        }
        match self.items.last_mut() {
            Some(Item::Text(last)) if last.weight == weight => {
                last.text.push_str(text);
                last.span = last.span.start.min(span.start)..last.span.end.max(span.end);
            }
            _ => self.items.push(Item::Text(Fragment { text: text.to_owned(), weight, span })),
        }
    }

    /// Drops white space that means nothing.
    pub fn tidy(mut self) -> Self {
        let old = std::mem::take(&mut self.items);
        // Forwards: white space at the start and after a break. What is trimmed away whole leaves the next text at the edge.
        let mut is_edge = true;
        for mut item in old {
            if let Item::Text(fragment) = &mut item {
                if is_edge {
                    fragment.text = fragment.text.trim_start_matches(is_space).to_owned();
                }
                if fragment.text.is_empty() {
                    continue;
                }
            }
            is_edge = matches!(item, Item::Break(_));
            if is_edge {
                self.trim_end();
            }
            self.items.push(item);
        }
        self.trim_end();
        self
    }

    fn trim_end(&mut self) {
        while let Some(Item::Text(fragment)) = self.items.last_mut() {
            let length = fragment.text.trim_end_matches(is_space).len();
            fragment.text.truncate(length);
            if length > 0 {
                break;
            }
            self.items.pop();
        }
    }

    /// Drops white space at the ends of options, for dialects in which it means nothing.
    pub fn with_trimmed_options(mut self) -> Self {
        let old = std::mem::take(&mut self.items);
        let mut is_edge = false;
        for mut item in old {
            if let Item::Text(fragment) = &mut item {
                if is_edge {
                    fragment.text = fragment.text.trim_start_matches(is_space).to_owned();
                }
                if fragment.text.is_empty() {
                    continue;
                }
            }
            if matches!(item, Item::Next | Item::Close) {
                self.trim_end();
            }
            is_edge = matches!(item, Item::Open(_) | Item::Next);
            self.items.push(item);
        }
        self
    }

    /// The fragments at a step, counted from 1; a break is a fragment "BREAK" of weight -1.
    pub fn at(&self, step: u32, steps: u32) -> Vec<Fragment> {
        let mut part = Self::new(self.weight);
        // For each open choice: the option that counts, and the one that is being read.
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut hidden = 0_usize;
        let counts = self.option_counts();
        for (item, count) in self.items.iter().zip(counts) {
            match item {
                Item::Open(choice) => {
                    hidden += open.last().map_or(0, |(wanted, now)| usize::from(wanted != now));
                    let wanted = match choice {
                        Choice::Switch(when) => usize::from(i64::from(step) > when.step(steps)),
                        Choice::Alternate => (step.max(1) as usize - 1) % count.max(1),
                    };
                    open.push((wanted, 0));
                }
                Item::Next => {
                    if let Some((_, now)) = open.last_mut() {
                        *now += 1;
                    }
                }
                Item::Close => {
                    open.pop();
                    hidden -= open.last().map_or(0, |(wanted, now)| usize::from(wanted != now)).min(hidden);
                }
                _ if hidden > 0 || open.last().is_some_and(|(wanted, now)| wanted != now) => {}
                Item::Text(fragment) => part.push_text(&fragment.text, fragment.weight, fragment.span.clone()),
                Item::Break(span) => part.items.push(Item::Break(span.clone())),
            }
        }
        let fragment = |item| match item {
            Item::Text(fragment) => Some(fragment),
            Item::Break(span) => Some(Fragment { text: "BREAK".to_owned(), weight: BREAK_WEIGHT, span }),
            _ => None,
        };
        part.tidy().items.into_iter().filter_map(fragment).collect()
    }

    /// For each item that opens a choice, its number of options; 0 for the others.
    fn option_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.items.len()];
        let mut open: Vec<(usize, usize)> = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            match item {
                Item::Open(_) => open.push((at, 1)),
                Item::Next => open.iter_mut().next_back().into_iter().for_each(|(_, count)| *count += 1),
                Item::Close => {
                    if let Some((start, count)) = open.pop()
                        && let Some(place) = counts.get_mut(start)
                    {
                        *place = count;
                    }
                }
                Item::Text(_) | Item::Break(_) => {}
            }
        }
        counts
    }

    /// The steps after which its text changes.
    pub fn boundaries(&self, steps: u32) -> Vec<u32> {
        let mut found = vec![steps];
        for item in &self.items {
            match item {
                Item::Open(Choice::Alternate) => found.extend(1..=steps),
                Item::Open(Choice::Switch(when)) => {
                    found.extend(u32::try_from(when.step(steps)).ok().filter(|s| *s > 0))
                }
                _ => {}
            }
            if found.len() > 4 * steps as usize + 4 {
                found.sort_unstable();
                found.dedup();
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Tree {
    /// Of one part.
    pub fn of_part(part: TreePart) -> Self {
        Self { parts: vec![part.tidy()], extra_networks: Vec::new() }
    }

    /// Writes `embedding:name`, as ComfyUI has it, as the bare name.
    pub fn drop_embedding_marks(&mut self) {
        for item in self.parts.iter_mut().flat_map(|part| &mut part.items) {
            if let Item::Text(fragment) = item {
                fragment.text = fragment.text.replace("embedding:", "");
            }
        }
    }

    /// The same with weights of at most four decimals, which is what people write, or one of `exact`, if it comes to the same.
    pub fn with_short_weights(mut self, exact: &[f64]) -> Self {
        let short = |weight: f64| (weight * 1e4).round() / 1e4;
        let round = |weight| {
            let weight = short(weight);
            exact.iter().copied().find(|exact| short(*exact) == weight).unwrap_or(weight)
        };
        for part in &mut self.parts {
            let items = std::mem::take(&mut part.items);
            for item in items {
                match item {
                    Item::Text(Fragment { text, weight, span }) => part.push_text(&text, round(weight), span),
                    other => part.items.push(other),
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_at_edges_goes() {
        let mut part = TreePart::new(1.0);
        part.push_text(" ", 1.0, 0..1);
        part.push_text(" a ", 2.0, 1..4);
        part.items.push(Item::Break(4..9));
        part.push_text(" b", 1.0, 9..11);
        part.push_text(" ", 3.0, 11..12);
        let texts: Vec<_> = part.tidy().at(1, 1).into_iter().map(|fragment| (fragment.text, fragment.weight)).collect();
        assert_eq!(texts, [("a".to_owned(), 2.0), ("BREAK".to_owned(), -1.0), ("b".to_owned(), 1.0)]);
    }

    #[test]
    fn steps_are_read_as_prompts_have_them() {
        assert_eq!(When::parse(" .5 "), Some(When::Fraction(0.5)));
        assert_eq!(When::parse("1e1"), Some(When::Step(10)));
        assert_eq!(When::parse("x"), None);
        for text in ["0.5", "1.0", "3", "-2"] {
            assert_eq!(When::parse(text).map(|when| when.to_string()), Some(text.to_owned()));
        }
    }
}
