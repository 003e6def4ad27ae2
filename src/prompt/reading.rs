//! All that can be said of a prompt without a model: what is drawn from its variants and wildcards, what its schedule and
//! weights are, what may be wrong with it. For showing it beside the text; takes milliseconds.

use std::collections::HashSet;

use super::diagnostic::{self, Diagnostic, Severity};
use super::dialect::{self, Dialect};
use super::emphasis;
use super::expand::wildcards::Wildcards;
use super::expand::{Method, Wanted, expand};
use super::highlight::{self, Role};
use super::lint;
use super::network::ExtraNetwork;
use super::stages::Stretch;

/// Expansions that are shown.
const SHOWN: u64 = 4;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// The prompt.
    pub prompt: String,
    /// The negative prompt.
    pub negative: String,
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
    /// The first prompts that are drawn, for this seed and those after it; empty if there is nothing to draw.
    pub drawn: Vec<String>,
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
    /// What is drawn from `prompt` with the seed of the question; `None` if this reading is of another prompt or draws nothing.
    pub fn drawn_of(&self, prompt: &str) -> Option<&str> {
        self.drawn.first().filter(|_| self.question.prompt == prompt).map(String::as_str)
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
    let wanted = Wanted { method: Method::Random, seed, count: 1 };
    expand(text, wildcards, wanted).prompts.into_iter().next().unwrap_or_default()
}

/// Answers a question.
pub fn read(question: Question, names: &Names) -> Reading {
    let Question { prompt, negative, steps, seed } = &question;
    let steps = (*steps).max(1);
    let mut drawn = Vec::new();
    if is_dynamic(prompt) {
        drawn.extend((*seed..seed.saturating_add(SHOWN)).map(|seed| draw(prompt, seed, &names.wildcards)));
    }
    let explanation = dialect::explain(Dialect::A1111, drawn.first().unwrap_or(prompt), steps);
    let mut remarks = remarks(prompt, negative, names);
    let mut negative_remarks = self::remarks(negative, "", names);
    if drawn.is_empty() {
        remarks.extend(explanation.diagnostics);
        for part in explanation.schedule.iter().flat_map(|stretch| &stretch.parts) {
            lint::weights(&part.fragments, &mut remarks);
        }
        if let Some(known) = &names.loras {
            let is_known = |kind: &str, name: &str| kind != "lora" || known.contains(name);
            remarks.extend(lint::networks(&explanation.extra_networks, is_known));
        }
    }
    for list in [&mut remarks, &mut negative_remarks] {
        diagnostic::tidy(list);
    }
    let (schedule, networks) = (explanation.schedule, explanation.extra_networks);
    Reading { question, drawn, schedule, networks, remarks, negative_remarks }
}

/// What can be said of one text alone.
fn remarks(text: &str, negative: &str, names: &Names) -> Vec<Diagnostic> {
    let mut remarks = lint::words(text, negative);
    match is_dynamic(text) {
        true => {
            // Weights, brackets and what is said twice depend on what is drawn.
            remarks.retain(|remark| matches!(remark.code, "invisible-character" | "mixed-script"));
            let wanted = Wanted { method: Method::Random, seed: 0, count: 1 };
            remarks.extend(expand(text, &names.wildcards, wanted).diagnostics);
            remarks.extend(slots(text));
        }
        false => {
            let (fragments, more) = emphasis::parse(text);
            remarks.extend(more.into_iter().filter(|_| !text.contains('#')));
            if !text.contains(['#', '[']) {
                lint::weights(&fragments, &mut remarks);
            }
        }
    }
    if let Some(known) = &names.embeddings {
        remarks.extend(lint::embeddings(text, |name| known.contains(&name.to_lowercase())));
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

    fn names() -> Names {
        let (wildcards, _) = Wildcards::parse([("colour.txt", "red\nblue\n")]);
        let set = |name: &str| Some(HashSet::from([name.to_owned()]));
        Names { wildcards, loras: set("ink"), embeddings: set("goodhands") }
    }

    fn codes(prompt: &str, negative: &str) -> Vec<(&'static str, String)> {
        let question = Question { prompt: prompt.to_owned(), negative: negative.to_owned(), steps: 20, seed: 1 };
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
    fn what_is_drawn_is_what_is_explained() {
        let question =
            Question { prompt: "a __colour__ {fox|cat}".to_owned(), steps: 10, seed: 5, ..Question::default() };
        let reading = read(question, &names());
        assert_eq!(reading.drawn.len(), 4);
        assert_eq!(reading.drawn[0], draw("a __colour__ {fox|cat}", 5, &names().wildcards));
        assert_eq!(reading.schedule[0].parts[0].text, reading.drawn[0]);
        assert_eq!(draw("a fox # {x}", 1, &names().wildcards).trim(), "a fox");
        assert_eq!(draw("a fox", 1, &names().wildcards), "a fox");
        assert!(read(Question::default(), &names()).drawn.is_empty());
    }
}
