//! SwarmUI's dialect as a tree: ComfyUI's brackets, and forms in angle brackets.
//!
//! What needs a library, a model or chance (`<wildcard:…>`, `<random:…>`, `<segment:…>`, …) stays in the text, with a
//! diagnostic; [`super::draws`] turns what is left to chance into other dialects' forms. Source: SwarmUI's `docs/Features/Prompt Syntax.md`.

use super::{comfy, groups};
use crate::prompt::diagnostic::{self, Diagnostic};
use crate::prompt::emphasis::parse_number;
use crate::prompt::network::ExtraNetwork;
use crate::prompt::source::Traced;
use crate::prompt::tree::{Choice, Item, Tree, TreePart, When};

/// Forms inside forms that are read.
const DEEPEST: usize = 64;
/// Bytes in which a form's name and option end.
const LONGEST_HEAD: usize = 80;
/// Stands for an option's edge while brackets are read.
const EDGE: &str = "\u{0}";
/// Forms that mean something only where the picture is made.
const LEFT_ALONE: &[&str] = &[
    "random", "wildcard", "wc", "repeat", "setvar", "var", "setmacro", "macro", "trigger", "preset", "p", "param",
    "clear", "region", "object", "segment", "extend", "refiner", "base", "video",
];

pub(super) fn read(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Tree {
    let source = Traced::new(text);
    let mut reader = Reader {
        text,
        source: &source,
        ends: ends(text),
        joined: Traced::default(),
        edges: vec![],
        networks: vec![],
        diagnostics,
    };
    reader.forms(0, text.len(), 0);
    let Reader { joined, edges, networks, .. } = reader;
    comfy::remark_on_brackets(text, diagnostics);
    let mut part = TreePart::new(1.0);
    let mut edges = edges.into_iter().peekable();
    for (range, weight) in groups::weights(joined.text()) {
        let mut from = range.start;
        let push = |part: &mut TreePart, range: std::ops::Range<usize>| {
            let words = joined.text().get(range.clone()).unwrap_or_default();
            part.push_text(&groups::unescape(words), weight, joined.span(range));
        };
        while let Some((at, item)) = edges.next_if(|(at, _)| *at < range.end) {
            if from < at {
                push(&mut part, from..at);
            }
            part.items.push(item);
            from = at + EDGE.len();
        }
        if from < range.end {
            push(&mut part, from..range.end);
        }
    }
    part.items.extend(edges.map(|(_, item)| item));
    Tree { extra_networks: networks, ..Tree::of_part(part.with_trimmed_options()) }
}

/// The angle brackets that are closed, and where, ascending.
fn ends(text: &str) -> Vec<(usize, usize)> {
    let (mut open, mut ends) = (Vec::new(), Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => open.push(at),
            b'>' => ends.extend(open.pop().map(|start| (start, at))),
            _ => {}
        }
    }
    ends.sort_unstable();
    ends
}

/// A form that is read.
enum Form {
    Break,
    Comment,
    Embedding,
    Lora,
    Choice(Choice),
}

struct Reader<'a, 'b> {
    text: &'a str,
    source: &'b Traced,
    ends: Vec<(usize, usize)>,
    joined: Traced,
    edges: Vec<(usize, Item)>,
    networks: Vec<ExtraNetwork>,
    diagnostics: &'b mut Vec<Diagnostic>,
}

impl Reader<'_, '_> {
    fn end_of(&self, at: usize) -> Option<usize> {
        let found = self.ends.binary_search_by_key(&at, |(start, _)| *start).ok()?;
        self.ends.get(found).map(|(_, end)| *end)
    }

    fn edge(&mut self, item: Item) {
        self.edges.push((self.joined.text().len(), item));
        let place = self.joined.text().len();
        let span = self.joined.span(place..place);
        self.joined.push_for(EDGE, span);
    }

    /// Text with forms in it.
    fn forms(&mut self, from: usize, to: usize, depth: usize) {
        let (mut at, mut kept) = (from, from);
        while let Some(open) = self.text.get(at..to).and_then(|rest| rest.find('<')).map(|length| at + length) {
            at = open + 1;
            let Some(end) = self.end_of(open).filter(|end| *end < to && depth < DEEPEST) else { continue };
            let Some(form) = self.form(open, end) else { continue };
            self.joined.push(self.source, kept..open);
            self.apply(form, open, end, depth);
            (at, kept) = (end + 1, end + 1);
        }
        self.joined.push(self.source, kept..to);
    }

    /// What `<name:inside>` or `<name[option]:inside>` is, and where its inside starts; `None` if it is text.
    fn form(&mut self, open: usize, end: usize) -> Option<(Form, usize)> {
        let whole = self.text.get(open + 1..end)?;
        let head = whole.get(..whole.floor_char_boundary(LONGEST_HEAD))?;
        let (name, rest) = head.split_at(head.find([':', '[']).unwrap_or(head.len()));
        let (option, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((option, rest)) => (Some(option), rest),
            None => (None, rest),
        };
        let has_inside = rest.starts_with(':');
        if !has_inside && (!rest.is_empty() || head.len() < whole.len()) {
            return None;
        }
        let start = open + 1 + head.len() - rest.len() + usize::from(has_inside);
        let form = match name.trim().to_ascii_lowercase().as_str() {
            "break" => Form::Break,
            "comment" => Form::Comment,
            "embed" | "embedding" => Form::Embedding,
            "lora" => Form::Lora,
            "alternate" | "alt" => Form::Choice(Choice::Alternate),
            "fromto" => match option.and_then(When::parse) {
                Some(when) => Form::Choice(Choice::Switch(when)),
                None => {
                    let message = "this needs a step, as in <fromto[0.5]:before,after>; it is read as text";
                    diagnostic::add(self.diagnostics, || Diagnostic::error("bad-step", open..end + 1, message));
                    return None;
                }
            },
            name if LEFT_ALONE.contains(&name) => {
                let message = format!("<{name}> is worked out when a picture is made and stays as it is");
                diagnostic::add(self.diagnostics, || Diagnostic::warning("left-alone", open..end + 1, message));
                return None;
            }
            _ => return None,
        };
        Some((form, start))
    }

    fn apply(&mut self, (form, start): (Form, usize), open: usize, end: usize, depth: usize) {
        match form {
            Form::Break => self.edge(Item::Break(open..end + 1)),
            Form::Comment => {}
            Form::Embedding => {
                self.joined.push_for("embedding:", open..start);
                self.joined.push(self.source, start..end);
            }
            Form::Lora => self.network(start, end, open..end + 1),
            Form::Choice(choice) => self.choice(choice, start, end, depth),
        }
    }

    fn choice(&mut self, choice: Choice, from: usize, to: usize, depth: usize) {
        let mark = ["||", "|"].into_iter().find(|mark| self.separator(from, to, mark).is_some()).unwrap_or(",");
        let most = if choice == Choice::Alternate { usize::MAX } else { 2 };
        let is_single = self.separator(from, to, mark).is_none();
        if is_single && choice == Choice::Alternate {
            return self.option(from, to, depth);
        }
        self.edge(Item::Open(choice));
        let (mut start, mut count) = (from, 1);
        while let Some(end) = self.separator(start, to, mark).filter(|_| count < most) {
            self.option(start, end, depth);
            self.edge(Item::Next);
            (start, count) = (end + mark.len(), count + 1);
        }
        self.option(start, to, depth);
        if is_single {
            self.edge(Item::Next);
        }
        self.edge(Item::Close);
    }

    /// An option, without white space around it.
    fn option(&mut self, from: usize, to: usize, depth: usize) {
        let text = self.text.get(from..to).unwrap_or_default();
        let start = to - text.trim_start().len();
        self.forms(start, start.max(from + text.trim_end().len()), depth + 1);
    }

    /// The first `mark` that is in no form.
    fn separator(&self, from: usize, to: usize, mark: &str) -> Option<usize> {
        let first = mark.chars().next()?;
        let mut at = from;
        loop {
            let rest = self.text.get(at..to)?;
            at += rest.find(['<', first])?;
            match self.end_of(at).filter(|end| *end < to) {
                Some(end) => at = end + 1,
                None if self.text.get(at..to)?.starts_with(mark) => return Some(at),
                None => at += 1,
            }
        }
    }

    /// `name:denoiser:encoder`.
    fn network(&mut self, from: usize, to: usize, span: std::ops::Range<usize>) {
        let args: Vec<String> = self.text.get(from..to).unwrap_or_default().split(':').map(ToOwned::to_owned).collect();
        let number = |at: usize| args.get(at).and_then(|text| parse_number(text.trim()));
        let denoiser_weight = number(1).unwrap_or(1.0);
        let weight = number(2).unwrap_or(denoiser_weight);
        let name = args.first().cloned().unwrap_or_default();
        self.networks.push(ExtraNetwork { kind: "lora".to_owned(), name, weight, denoiser_weight, args, span });
    }
}
