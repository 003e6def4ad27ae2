//! All that can be said of a prompt without a model: what templates make of it, what is drawn from its variants and wildcards,
//! what its schedule and weights are, what may be wrong with it. For showing it beside the text; takes milliseconds.
//!
//! Templates come before what is drawn, so that they may have variants and wildcards too. Places are those in the prompt as
//! it was typed.

use std::collections::HashSet;
use std::ops::Range;

use super::diagnostic::{self, Diagnostic, Fix, Severity};
use super::emphasis;
use super::expand::wildcards::Wildcards;
use super::expand::{Method, Wanted, expand_traced};
use super::highlight::{self, Role};
use super::lint;
use super::network::ExtraNetwork;
use super::phrase::Said;
use super::schedule::Timing;
use super::source::Traced;
use super::stack::{self, Applied};
use super::stages::{Stages, Stretch};

/// Expansions that are shown.
const SHOWN: u64 = 4;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Question {
    /// The prompt.
    pub prompt: String,
    /// The negative prompt.
    pub negative: String,
    /// Templates and styles over them.
    pub stack: Vec<Applied>,
    /// Steps of sampling.
    pub steps: u32,
    /// Start of the random numbers of variants and wildcards.
    pub seed: u64,
}

/// The names that prompts may use.
#[derive(Debug, Default)]
pub struct Names {
    /// Lists to draw from.
    pub wildcards: Wildcards,
    /// LoRA files; `None` if nobody has looked for them yet.
    pub loras: Option<HashSet<String>>,
    /// Learned words, in lower case; `None` if nobody has looked for them yet.
    pub embeddings: Option<HashSet<String>>,
}

/// What is said about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// The question.
    pub question: Question,
    /// What each template in use makes of the prompts, by its name.
    pub layers: Vec<(String, [String; 2])>,
    /// The first prompts that are drawn, for this seed and those after it; empty if there is nothing to draw.
    pub drawn: Vec<String>,
    /// Prompt and negative prompt as the model gets them: templates over them, everything drawn.
    pub made: [Traced; 2],
    /// What was typed says, with everything drawn, without the words of templates.
    pub said: Said,
    /// What the encoder gets from the first to the last step.
    pub schedule: Vec<Stretch>,
    /// The extra networks, in order.
    pub networks: Vec<ExtraNetwork>,
    /// Remarks on the prompt, in the order of their places.
    pub remarks: Vec<Diagnostic>,
    /// Remarks on the negative prompt.
    pub negative_remarks: Vec<Diagnostic>,
}

impl Reading {
    /// The answer to a question that cannot be answered because of a fault of ours: the prompts as they stand, and that it is so.
    pub fn of_failed(question: Question) -> Self {
        let made = stack::compose_traced(&question.stack, &question.prompt, &question.negative);
        let text = "this prompt cannot be read, and is used as it stands; this is a bug, please report it".to_owned();
        let remarks = vec![Diagnostic::error("unreadable", 0..question.prompt.len(), text)];
        Self { question, made, remarks, ..Self::default() }
    }
}

/// Whether there is something to draw in a text.
pub fn is_dynamic(text: &str) -> bool {
    text.contains('{') || text.contains("__")
}

/// One prompt that is drawn from `text` with a seed; the text itself if there is nothing to draw.
pub fn draw(text: &str, seed: u64, wildcards: &Wildcards) -> String {
    if !is_dynamic(text) {
        return text.to_owned();
    }
    draw_traced(&Traced::new(text), seed, wildcards).0.text().to_owned()
}

/// One text that is drawn from another, and remarks.
fn draw_traced(text: &Traced, seed: u64, wildcards: &Wildcards) -> (Traced, Vec<Diagnostic>) {
    if !is_dynamic(text.text()) {
        return (text.clone(), Vec::new());
    }
    let (drawn, diagnostics) = expand_traced(text, wildcards, Wanted { method: Method::Random, seed, count: 1 });
    (drawn.into_iter().next().unwrap_or_default(), diagnostics)
}

/// Answers a question.
pub fn read(question: Question, names: &Names) -> Reading {
    let Question { prompt, negative, stack, steps, seed } = &question;
    let timing = Timing::of_steps((*steps).max(1));
    let layers = stack::layers(stack, prompt, negative);
    let layers = layers.into_iter().map(|(name, texts)| (name.to_owned(), texts)).collect();
    let [composed, composed_negative] = stack::compose_traced(stack, prompt, negative);
    let (made, on_drawing) = draw_traced(&composed, *seed, &names.wildcards);
    let (made_negative, on_drawing_negative) = draw_traced(&composed_negative, *seed, &names.wildcards);
    let mut drawn = Vec::new();
    if is_dynamic(composed.text()) {
        let more = (1..SHOWN).map(|more| draw(composed.text(), seed.saturating_add(more), &names.wildcards));
        drawn = std::iter::once(made.text().to_owned()).chain(more).collect();
    }
    let stages = Stages::of(&made, timing);
    let said = Said::of(&stages);
    let (schedule, on_schedule) = stages.schedule();
    let mut remarks = remarks(prompt, negative, names);
    if !is_dynamic(prompt) {
        let alone = Stages::new(prompt, timing.steps);
        let (schedule, on_schedule) = alone.schedule();
        remarks.extend(on_what_is_read(prompt, &schedule, on_schedule, &alone.extra_networks, names));
    }
    if made.text() != prompt {
        // What is wrong with a template's words alone is not said here.
        let more = on_what_is_read(prompt, &schedule, on_schedule, &stages.extra_networks, names).into_iter();
        let more = more.filter(|remark| !remark.span.is_empty()).map(|remark| Diagnostic {
            // What a fix would replace may not be what was typed.
            fix: remark.fix.filter(|fix| prompt.get(fix.span.clone()).is_some_and(|typed| !is_dynamic(typed))),
            ..remark
        });
        remarks.extend(more.chain(on_drawing).chain(on_words([&made, &made_negative], prompt)));
    }
    let mut negative_remarks = self::remarks(negative, "", names);
    negative_remarks.extend(on_drawing_negative);
    if made_negative.text() != negative {
        negative_remarks.extend(on_words([&made_negative, &Traced::default()], negative));
    }
    for (list, typed) in [(&mut remarks, prompt), (&mut negative_remarks, negative)] {
        diagnostic::tidy(list);
        list.iter_mut().for_each(|remark| name_wildcard(remark, typed, &names.wildcards));
    }
    let (networks, made) = (stages.extra_networks, [made, made_negative]);
    Reading { question, layers, drawn, made, said, schedule, networks, remarks, negative_remarks }
}

/// Offers the wildcard whose name is nearest to one that there is not.
fn name_wildcard(remark: &mut Diagnostic, typed: &str, wildcards: &Wildcards) {
    let form = typed.get(remark.span.clone()).filter(|_| remark.code == "unknown-wildcard").unwrap_or_default();
    let name = form.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")).unwrap_or_default();
    // The name alone: a sampler or parameters would be lost.
    if name.is_empty() || name.starts_with(['~', '!', '@']) || name.contains('(') || wildcards.values(name).is_some() {
        return;
    }
    if let Some(known) = lint::closest(name, wildcards.names()) {
        let replacement = format!("__{known}__");
        let label = format!("Write {replacement}");
        remark.fix = Some(Fix { label, span: remark.span.clone(), replacement });
    }
}

/// Remarks on words that were typed and are what is read, among those that templates add and choices drew.
fn on_words([made, negative]: [&Traced; 2], typed: &str) -> Vec<Diagnostic> {
    let is_typed = |range: &Range<usize>| {
        let span = made.span(range.clone());
        (typed.get(span.clone()) == made.text().get(range.clone())).then_some(span)
    };
    let remark = |remark: Diagnostic| {
        let span = is_typed(&remark.span).filter(|span| !span.is_empty())?;
        let fix = remark.fix.and_then(|fix| Some(Fix { span: is_typed(&fix.span)?, ..fix }));
        Some(Diagnostic { span, fix, ..remark })
    };
    lint::words(made.text(), negative.text()).into_iter().filter_map(remark).collect()
}

/// Remarks on the stages of a text in which nothing is left to draw. Places are those in `typed`.
fn on_what_is_read(
    typed: &str,
    schedule: &[Stretch],
    mut remarks: Vec<Diagnostic>,
    networks: &[ExtraNetwork],
    names: &Names,
) -> Vec<Diagnostic> {
    for part in schedule.iter().flat_map(|stretch| &stretch.parts) {
        lint::weights(typed, &part.fragments, &mut remarks);
    }
    if let Some(known) = &names.loras {
        let is_known = |kind: &str, name: &str| kind != "lora" || known.contains(name);
        let nearest = |kind: &str, name: &str| {
            (kind == "lora").then(|| lint::closest(name, known.iter().map(String::as_str))).flatten()
        };
        remarks.extend(lint::networks(networks, is_known, nearest));
    }
    remarks
}

/// What can be said of one text alone.
fn remarks(text: &str, negative: &str, names: &Names) -> Vec<Diagnostic> {
    let mut remarks = lint::words(text, negative);
    match is_dynamic(text) {
        true => {
            // Weights, brackets and what is said twice depend on what is drawn.
            remarks.retain(|remark| matches!(remark.code, "invisible-character" | "mixed-script"));
            remarks.extend(draw_traced(&Traced::new(text), 0, &names.wildcards).1);
            remarks.extend(slots(text));
        }
        false => {
            let (fragments, more) = emphasis::parse(text);
            remarks.extend(more.into_iter().filter(|_| !text.contains('#')));
            if !text.contains(['#', '[']) {
                lint::weights(text, &fragments, &mut remarks);
            }
        }
    }
    if let Some(known) = &names.embeddings {
        let nearest = |name: &str| lint::closest(&name.to_lowercase(), known.iter().map(String::as_str));
        remarks.extend(lint::embeddings(text, |name| known.contains(&name.to_lowercase()), nearest));
    }
    remarks
}

/// Holes of templates say their own name here.
fn slots(text: &str) -> Vec<Diagnostic> {
    let holes = highlight::highlight(text).into_iter().filter(|piece| piece.role == Role::Slot);
    let remark = |piece: highlight::Piece| {
        let name = text.get(piece.span.start + 1..piece.span.end - 1).unwrap_or_default();
        let message = format!("this hole is filled when the text is used as a template; here it says \"{name}\"");
        Diagnostic::new(Severity::Hint, "open-slot", piece.span, message)
    };
    holes.map(remark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::library::Template;

    fn names() -> Names {
        let (wildcards, _) = Wildcards::parse([("colour.txt", "red\nblue\n")]);
        let set = |name: &str| Some(HashSet::from([name.to_owned()]));
        Names { wildcards, loras: set("ink"), embeddings: set("goodhands") }
    }

    fn codes(prompt: &str, negative: &str) -> Vec<(&'static str, String)> {
        let (prompt_text, negative_text) = (prompt.to_owned(), negative.to_owned());
        let question =
            Question { prompt: prompt_text, negative: negative_text, steps: 20, seed: 1, ..Question::default() };
        let reading = read(question, &names());
        let of =
            |remark: &Diagnostic, text: &str| (remark.code, text.get(remark.span.clone()).unwrap_or("?").to_owned());
        let mut all: Vec<_> = reading.remarks.iter().map(|remark| of(remark, prompt)).collect();
        all.extend(reading.negative_remarks.iter().map(|remark| of(remark, negative)));
        all
    }

    #[test]
    fn remarks_of_all_kinds_come_together() {
        let own = |list: &[(&'static str, &str)]| {
            list.iter().map(|(code, text)| (*code, (*text).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(codes("a fox, (red:1.2)", ""), []);
        assert_eq!(codes("a [fox:1.3], red, red", ""), own(&[("vanishing", "[fox:1.3]"), ("duplicate", "red")]));
        assert_eq!(codes("<lora:ink:1> <lora:sea:1>", ""), own(&[("unknown-network", "<lora:sea:1>")]));
        assert_eq!(
            codes("embedding:bad", "embedding:GoodHands, (x"),
            own(&[("unknown-embedding", "embedding:bad"), ("unclosed-bracket", "(")])
        );
        assert_eq!(
            codes("__colour__ __size__ {subject}", ""),
            own(&[("unknown-wildcard", "__size__"), ("open-slot", "{subject}")])
        );
        assert_eq!(codes("(a:3)", ""), own(&[("extreme-weight", "a")]));
    }

    #[test]
    fn words_beside_a_choice_are_remarked_on_with_their_fixes() {
        let read = |prompt: &str, negative: &str| {
            let (prompt, negative) = (prompt.to_owned(), negative.to_owned());
            let reading = read(Question { prompt, negative, steps: 20, ..Question::default() }, &names());
            let fix = |remark: &Diagnostic| remark.fix.as_ref().map(|fix| (fix.span.clone(), fix.replacement.clone()));
            reading.remarks.iter().map(|remark| (remark.code, remark.span.clone(), fix(remark))).collect::<Vec<_>>()
        };
        assert_eq!(
            read("{a|b} fox, __colour__, __colour__, sea, night, sea, day", "sea"),
            [
                ("in-negative", 35..38, Some((33..38, String::new()))),
                ("duplicate", 47..50, Some((45..50, String::new()))),
                ("in-negative", 47..50, Some((45..50, String::new()))),
                ("contradiction", 52..55, Some((50..55, String::new()))),
            ]
        );
        assert_eq!(read("{a|b} [x:1.3]", ""), [("vanishing", 6..13, Some((6..13, "(x:1.3)".to_owned())))]);
        assert_eq!(read("__colr__", ""), [("unknown-wildcard", 0..8, Some((0..8, "__colour__".to_owned())))]);
    }

    #[test]
    fn what_is_drawn_is_what_is_explained() {
        let question =
            Question { prompt: "a __colour__ {fox|cat}".to_owned(), steps: 10, seed: 5, ..Question::default() };
        let reading = read(question, &names());
        assert_eq!(reading.drawn.len(), 4);
        assert_eq!(reading.drawn[0], draw("a __colour__ {fox|cat}", 5, &names().wildcards));
        assert_eq!(reading.schedule[0].parts[0].text, reading.drawn[0]);
        assert_eq!(reading.made[0].text(), reading.drawn[0]);
        assert_eq!(draw("a fox # {x}", 1, &names().wildcards).trim(), "a fox");
        assert_eq!(draw("a fox", 1, &names().wildcards), "a fox");
        assert!(read(Question::default(), &names()).drawn.is_empty());
    }

    #[test]
    fn places_are_those_of_the_prompt_as_typed() {
        let template = Template {
            name: "Sketch".to_owned(),
            text: "a {red} sketch of {prompt}, {ink|chalk}".to_owned(),
            ..Template::default()
        };
        let stack = vec![Applied::new(template, false)];
        let prompt = "a (__colour__:3) fox".to_owned();
        let question = Question { prompt: prompt.clone(), steps: 10, stack, ..Question::default() };
        let reading = read(question, &names());
        let fragments = &reading.schedule[0].parts[0].fragments;
        let places: Vec<&str> = fragments.iter().map(|one| &prompt[one.span.clone()]).collect();
        assert_eq!(places, ["a ", "__colour__", " fox"]);
        assert_eq!(fragments[0].text, "a red sketch of a ");
        assert_eq!(reading.layers[0].0, "Sketch");
        assert_eq!(reading.layers[0].1[0], "a {red} sketch of a (__colour__:3) fox, {ink|chalk}");
        let extreme = &reading.remarks[0];
        assert_eq!((extreme.code, &prompt[extreme.span.clone()]), ("extreme-weight", "__colour__"));
    }
}
