//! An axis from what was typed: its values read, checked against the request, and named.

use super::change::Change;
use super::{AxisKind, AxisText};
use crate::job::ModelRef;
use crate::job::sampling::{Emphasis, Sampler, Sampling, Schedule};
use crate::job::spec::GenerateSpec;
use crate::prompt::expand::wildcards::Wildcards;
use crate::prompt::expand::{Method, Wanted, expand, is_endless};
use crate::prompt::values::{MOST_VALUES, ValueError, integers, list, numbers, tidy};
use crate::prompt::vary::{self, Grain};

/// What the values of an axis may name.
pub struct Sources<'a> {
    /// Templates by name, with their texts.
    pub templates: &'a [(String, String)],
    /// What `__name__` in a prompt stands for.
    pub wildcards: &'a Wildcards,
    /// Where random seeds and expansions come from.
    pub dice: u64,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisValue {
    /// What it is called beside the table.
    pub label: String,
    change: Change,
}

impl AxisValue {
    /// Changes a request to this value.
    pub fn apply(&self, spec: &mut GenerateSpec) {
        self.change.apply(spec);
    }
}

/// An axis with at least one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What differs along it.
    pub kind: AxisKind,
    /// Its values, in the order of the table.
    pub values: Vec<AxisValue>,
}

type Values = Result<Vec<AxisValue>, ValueError>;

fn wrong<T>(text: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError(text.into()))
}

fn value(label: impl Into<String>, change: Change) -> AxisValue {
    AxisValue { label: label.into(), change }
}

impl Axis {
    /// Reads an axis.
    ///
    /// # Errors
    /// If a value makes no sense for it or for `base`; the message says what would.
    pub fn read(axis: &AxisText, base: &GenerateSpec, sources: &Sources<'_>) -> Result<Self, ValueError> {
        let text = axis.text.as_str();
        let whole = |low: i64, high: i64, make: fn(u32) -> Change| whole_numbers(text, low, high, make);
        let real = |high: f64, make: fn(f32) -> Change| real_numbers(text, high, make);
        let values = match axis.kind {
            AxisKind::Steps => whole(1, i64::from(Sampling::MAX_STEPS), Change::Steps),
            AxisKind::ClipSkip => whole(1, 48, Change::ClipSkip),
            AxisKind::Guidance => real(100.0, Change::Guidance),
            AxisKind::GuidanceRescale => real(1.0, Change::GuidanceRescale),
            AxisKind::Eta => real(1.0, Change::Eta),
            AxisKind::Strength if base.init.is_none() => {
                wrong("there is no picture to depart from; choose \"Inpaint mask\", or give one to start from")
            }
            AxisKind::Strength => real(1.0, Change::Strength),
            AxisKind::Seed => seeds(text, sources.dice),
            AxisKind::Sampler => named(text, &Sampler::ALL, |s| s.id(), |s| s.name(), Change::Sampler),
            AxisKind::Schedule => named(text, &Schedule::ALL, |s| s.id(), |s| s.name(), Change::Schedule),
            AxisKind::Emphasis => named(text, &Emphasis::ALL, |s| s.id(), |s| s.name(), Change::Emphasis),
            AxisKind::Size => sizes(text),
            AxisKind::Model => {
                Ok(items(text)?.into_iter().map(|m| value(&m, Change::Model(ModelRef(m.clone())))).collect())
            }
            AxisKind::Prompt => Ok(list(text)?.into_iter().map(|t| value(&t, Change::Prompt(t.clone()))).collect()),
            AxisKind::Negative => Ok(list(text)?.into_iter().map(|t| value(&t, Change::Negative(t.clone()))).collect()),
            AxisKind::Expansion => expansions(text, base, sources),
            AxisKind::Replace => replacements(text, base),
            AxisKind::Order => token_orders(text, base),
            AxisKind::Weight => weights(text, base),
            AxisKind::Modifier => Ok(items(text)?.into_iter().map(|m| optional(m, Change::Modifier)).collect()),
            AxisKind::Template => templates(text, sources.templates),
            AxisKind::LeaveOut => left_out(text, base),
        }?;
        if values.is_empty() {
            return wrong(format!("type at least one value, such as {}", axis.kind.hint()));
        }
        Ok(Self { kind: axis.kind, values })
    }
}

/// The items that are not empty.
fn items(text: &str) -> Result<Vec<String>, ValueError> {
    Ok(list(text)?.into_iter().filter(|item| !item.is_empty()).collect())
}

fn whole_numbers(text: &str, low: i64, high: i64, make: fn(u32) -> Change) -> Values {
    let one = |number: i64| match u32::try_from(number).ok().filter(|_| (low..=high).contains(&number)) {
        Some(number) => Ok(value(number.to_string(), make(number))),
        None => wrong(format!("{number} is not between {low} and {high}")),
    };
    integers(text)?.into_iter().map(one).collect()
}

fn real_numbers(text: &str, high: f64, make: fn(f32) -> Change) -> Values {
    let one = |number: f64| match (0.0..=high).contains(&number) {
        true => Ok(value(tidy(number), make(number as f32))),
        false => wrong(format!("{} is not between 0 and {high}", tidy(number))),
    };
    numbers(text)?.into_iter().map(one).collect()
}

/// -1 is a random seed, as in A1111; which one depends on the dice alone, so that a grid is made of the same cells whenever it is made.
fn seeds(text: &str, dice: u64) -> Values {
    let one = |(i, number): (usize, i64)| match u64::try_from(number) {
        Ok(seed) => Ok(value(seed.to_string(), Change::Seed(seed))),
        Err(_) if number == -1 => {
            let mixed = (dice ^ (i as u64 + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let seed = mixed >> 32;
            Ok(value(seed.to_string(), Change::Seed(seed)))
        }
        Err(_) => wrong(format!("{number} is no seed; seeds are 0 and above, and -1 is a random one")),
    };
    integers(text)?.into_iter().enumerate().map(one).collect()
}

/// Values by their ids or the names that people see, or all of them.
fn named<T: Copy>(
    text: &str,
    all: &[T],
    id: fn(T) -> &'static str,
    name: fn(T) -> &'static str,
    make: fn(T) -> Change,
) -> Values {
    let show = |one: T| value(name(one), make(one));
    if text.trim().eq_ignore_ascii_case("all") {
        return Ok(all.iter().copied().map(show).collect());
    }
    let find = |item: &String| {
        let is_it = |one: &T| id(*one).eq_ignore_ascii_case(item) || name(*one).eq_ignore_ascii_case(item);
        all.iter().copied().find(is_it).map(show).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|one| id(*one)).collect();
            ValueError(format!("there is no \"{item}\"; choose from {}, or write all", known.join(", ")))
        })
    };
    items(text)?.iter().map(find).collect()
}

fn sizes(text: &str) -> Values {
    let one = |item: String| match item.parse::<crate::base::geom::Extent>() {
        Ok(size) if size.shortest() > 0 => Ok(value(size.to_string(), Change::Size(size))),
        Ok(size) => wrong(format!("{size} has no pixels")),
        Err(error) => wrong(error.to_string()),
    };
    items(text)?.into_iter().map(one).collect()
}

fn optional(item: String, make: fn(String) -> Change) -> AxisValue {
    if item.eq_ignore_ascii_case("none") { value("none", Change::Nothing) } else { value(item.clone(), make(item)) }
}

fn expansions(text: &str, base: &GenerateSpec, sources: &Sources<'_>) -> Values {
    let (method, count) = match text.trim() {
        all if all.eq_ignore_ascii_case("all") && is_endless(&base.prompt) => (Method::Combinatorial, 1),
        all if all.eq_ignore_ascii_case("all") => (Method::Combinatorial, MOST_VALUES + 1),
        number => match number.parse::<usize>() {
            Ok(count) if (1..=MOST_VALUES).contains(&count) => (Method::Random, count),
            _ => return wrong(format!("write all, or how many (1 to {MOST_VALUES})")),
        },
    };
    let expansion = expand(&base.prompt, sources.wildcards, Wanted { method, seed: sources.dice, count });
    if expansion.prompts.len() > MOST_VALUES {
        return wrong(format!("the prompt has more than {MOST_VALUES} expansions; write how many are wanted"));
    }
    let mut prompts: Vec<String> = Vec::new();
    for prompt in expansion.prompts {
        if !prompts.contains(&prompt) {
            prompts.push(prompt);
        }
    }
    if prompts.len() < 2 && prompts.first().is_none_or(|only| *only == base.prompt) {
        return wrong("the prompt has no variants; write {red|blue} or __name__ into it");
    }
    Ok(prompts.into_iter().map(|prompt| value(&prompt, Change::Prompt(prompt.clone()))).collect())
}

fn replacements(text: &str, base: &GenerateSpec) -> Values {
    let all = list(text)?;
    let Some(from) = all.first().filter(|from| !from.is_empty()) else {
        return wrong("the first value is what is searched in the prompt; write it");
    };
    if !base.prompt.contains(from.as_str()) && !base.negative.contains(from.as_str()) {
        return wrong(format!(
            "\"{from}\" is neither in the prompt nor in the negative prompt; the first value is what is replaced"
        ));
    }
    let one = |to: &String| {
        let label = if to.is_empty() { "(nothing)" } else { to };
        value(label, Change::Replace { from: from.clone(), to: to.clone() })
    };
    Ok(all.iter().map(one).collect())
}

fn token_orders(text: &str, base: &GenerateSpec) -> Values {
    let tokens = items(text)?;
    if tokens.len() > vary::MOST_TOKENS {
        return wrong(format!("{} tokens have too many orders; at most {} are taken", tokens.len(), vary::MOST_TOKENS));
    }
    if let Some(missing) = tokens.iter().find(|token| !base.prompt.contains(token.as_str())) {
        return wrong(format!("\"{missing}\" is not in the prompt"));
    }
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vary::orders(&tokens).into_iter().map(|order| value(order.join(", "), Change::Order(order))).collect())
}

/// The phrase first, then its weights.
fn weights(text: &str, base: &GenerateSpec) -> Values {
    let all = list(text)?;
    let Some((phrase, weights)) = all.split_first() else { return Ok(Vec::new()) };
    if vary::with_weight(&base.prompt, phrase, 1.0).is_none() {
        return wrong(format!("\"{phrase}\" is not in the prompt; write the phrase first, then its weights"));
    }
    let one = |weight: f64| match (0.0..=10.0).contains(&weight) {
        true => Ok(value(format!("{phrase}: {}", tidy(weight)), Change::Weight { phrase: phrase.clone(), weight })),
        false => wrong(format!("{} is not between 0 and 10", tidy(weight))),
    };
    numbers(&weights.join(","))?.into_iter().map(one).collect()
}

fn templates(text: &str, known: &[(String, String)]) -> Values {
    let one = |item: String| {
        if let Some((name, text)) = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(&item)) {
            return Ok(value(name, Change::Template(text.clone())));
        }
        if item.eq_ignore_ascii_case("none") || item.contains(crate::prompt::template::SUBJECT) {
            return Ok(optional(item, Change::Template));
        }
        wrong(format!("there is no template \"{item}\"; choose one of the library's, or write a text with {{subject}}"))
    };
    items(text)?.into_iter().map(one).collect()
}

/// The whole prompt first, then the prompt without each part.
fn left_out(text: &str, base: &GenerateSpec) -> Values {
    let prompt = base.prompt.as_str();
    let parts = match text.trim().to_lowercase().as_str() {
        "phrases" | "" => vary::parts(prompt, Grain::Phrases),
        "words" => vary::parts(prompt, Grain::Words),
        _ => {
            let find = |item: String| match prompt.find(&item) {
                Some(at) => Ok(at..at + item.len()),
                None => {
                    wrong(format!("\"{item}\" is not in the prompt; write phrases, words, or what is to be left out"))
                }
            };
            items(text)?.into_iter().map(find).collect::<Result<_, _>>()?
        }
    };
    if parts.is_empty() {
        return wrong("the prompt is empty");
    }
    let without = parts.into_iter().map(|part| {
        let label = format!("without {}", prompt.get(part.clone()).unwrap_or_default());
        value(label, Change::LeaveOut(part))
    });
    Ok(std::iter::once(value("all of it", Change::Nothing)).chain(without).collect())
}
