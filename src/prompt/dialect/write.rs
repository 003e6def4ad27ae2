//! From tree to text. What a dialect has no form for is written as near as it goes, with a diagnostic.

use super::compel::{MINUS, PLUS, power};
use super::{Dialect, novelai};
use crate::prompt::diagnostic::{self, Diagnostic};
use crate::prompt::emphasis::{DOWN, Fragment, UP};
use crate::prompt::network::ExtraNetwork;
use crate::prompt::source::{is_space, is_word};
use crate::prompt::tree::{Choice, Item, Tree, TreePart};

/// Writes a prompt, and what could not be said. Reading it again gives the same tree where nothing is said to be lost.
pub fn write(dialect: Dialect, tree: &Tree) -> (String, Vec<Diagnostic>) {
    let mut writer =
        Writer { dialect, out: String::new(), open: 0, diagnostics: Vec::new(), is_grouped: false, networks: 0 };
    writer.tree(tree);
    (writer.out, writer.diagnostics)
}

/// How the names of SwarmUI's forms start that are read here.
const FORMS: [&str; 6] = ["break", "comment", "embed", "lora", "alt", "fromto"];

struct Writer {
    dialect: Dialect,
    out: String,
    /// Choices that are open.
    open: usize,
    diagnostics: Vec<Diagnostic>,
    /// Whether what was written last ends with a group, after which another one may start.
    is_grouped: bool,
    /// Extra networks that are written already.
    networks: usize,
}

impl Writer {
    fn lost(&mut self, span: std::ops::Range<usize>, what: &str) {
        let message = format!("{} has no {what}", self.dialect.name());
        diagnostic::add(&mut self.diagnostics, || Diagnostic::error("not-in-dialect", span, message));
    }

    fn tree(&mut self, tree: &Tree) {
        let has_and = self.dialect == Dialect::A1111;
        if !has_and && tree.parts.len() > 1 {
            self.lost(0..0, "AND: its parts are written one after the other, without their weights");
        } else if !has_and && tree.parts.iter().any(|part| part.weight != 1.0) {
            self.lost(0..0, "weight of a whole prompt: it is left out");
        }
        for (index, part) in tree.parts.iter().enumerate() {
            if index > 0 {
                self.out.push_str(if has_and { " AND " } else { ", " });
            }
            self.is_grouped = false;
            let start = self.out.len();
            let is_last = index + 1 == tree.parts.len();
            self.part(part, if is_last { &tree.extra_networks } else { &[] });
            if has_and {
                let written = self.out.get(start..).unwrap_or_default();
                if part.weight != 1.0 || ends_like_weight(written) {
                    self.out.push_str(&format!(" :{}", part.weight));
                }
            }
        }
        for network in tree.extra_networks.iter().skip(self.networks) {
            self.network(network);
        }
    }

    /// `networks` are those that follow; Compel has them inside of the last text of a conjunction.
    fn part(&mut self, part: &TreePart, networks: &[ExtraNetwork]) {
        let breaks = part.items.iter().any(|item| matches!(item, Item::Break(_)));
        let is_conjunction = self.dialect == Dialect::Compel && breaks;
        if is_conjunction {
            self.out.push_str("(\"");
        }
        // Options that the dialect cannot say: for each open choice, whether its first option has ended.
        let mut skipped: Vec<bool> = Vec::new();
        let has_choices = matches!(self.dialect, Dialect::A1111 | Dialect::Swarm);
        let mut choices: Vec<Choice> = Vec::new();
        for item in &part.items {
            match item {
                Item::Open(choice) if has_choices => {
                    choices.push(*choice);
                    self.open(*choice);
                }
                Item::Next if has_choices => self.out.push_str(self.separator(choices.last())),
                Item::Close if has_choices => self.close(choices.pop()),
                Item::Open(choice) => {
                    let what = match choice {
                        Choice::Switch(_) => "schedule: what comes first is written",
                        Choice::Alternate => "alternation: the first option is written",
                    };
                    self.lost(0..0, what);
                    skipped.push(false);
                }
                Item::Next => skipped.iter_mut().next_back().into_iter().for_each(|is_over| *is_over = true),
                Item::Close => drop(skipped.pop()),
                _ if skipped.contains(&true) => {}
                Item::Text(fragment) => self.text(fragment),
                Item::Break(span) => self.chunk(span.clone()),
            }
        }
        if is_conjunction {
            networks.iter().for_each(|network| self.network(network));
            self.networks = networks.len();
            self.out.push_str("\").and()");
        }
    }

    fn open(&mut self, choice: Choice) {
        self.open += 1;
        match choice {
            _ if self.dialect == Dialect::A1111 => self.out.push('['),
            Choice::Switch(when) => self.out.push_str(&format!("<fromto[{when}]:")),
            Choice::Alternate => self.out.push_str("<alternate:"),
        }
    }

    fn separator(&self, choice: Option<&Choice>) -> &'static str {
        match choice {
            _ if self.dialect != Dialect::A1111 => "||",
            Some(Choice::Switch(_)) => ":",
            _ => "|",
        }
    }

    fn close(&mut self, choice: Option<Choice>) {
        self.open = self.open.saturating_sub(1);
        match choice {
            _ if self.dialect != Dialect::A1111 => self.out.push('>'),
            Some(Choice::Switch(when)) => self.out.push_str(&format!(":{when}]")),
            _ => self.out.push(']'),
        }
    }

    fn chunk(&mut self, span: std::ops::Range<usize>) {
        self.is_grouped = false;
        match self.dialect {
            Dialect::A1111 => self.out.push_str(" BREAK "),
            Dialect::Swarm => self.out.push_str("<break>"),
            Dialect::Compel => self.out.push_str("\", \""),
            Dialect::Comfy | Dialect::NovelAi => {
                self.out.push(' ');
                self.lost(span, "BREAK: the text goes on in the same chunk");
            }
        }
    }

    fn text(&mut self, fragment: &Fragment) {
        match self.dialect {
            Dialect::A1111 => self.a1111(fragment),
            Dialect::Comfy | Dialect::Swarm => self.comfy(fragment),
            Dialect::Compel => self.compel(fragment),
            Dialect::NovelAi => self.novelai(fragment),
        }
    }

    fn a1111(&mut self, fragment: &Fragment) {
        let mut text = String::new();
        let mut before = None;
        for (at, c) in fragment.text.char_indices() {
            let rest = fragment.text.get(at..).unwrap_or_default();
            let next = rest.chars().nth(1);
            let starts_word = !before.is_some_and(is_word);
            match c {
                '\\' | '(' | ')' | '[' | ']' | '|' => text.extend(['\\', c]),
                ':' if self.open > 0 => text.push_str("\\:"),
                // A backslash that escapes nothing is dropped: it only keeps words from being read as what they are.
                '<' if next.is_some_and(is_word) => text.push_str("<\\"),
                'A' if starts_word && is_whole(rest, "AND") => text.push_str("A\\"),
                'B' if starts_word && is_whole(rest, "BREAK") => text.push_str("B\\"),
                '#' => self.lost(fragment.span.clone(), "# in a text: it starts a comment and is left out"),
                _ => text.push(c),
            }
            before = Some(c);
        }
        let weight = fragment.weight;
        match weight {
            _ if text.is_empty() => {}
            _ if weight == 1.0 => self.out.push_str(&text),
            _ if weight == UP && !text.contains(':') => self.out.push_str(&format!("({text})")),
            _ if weight == DOWN && self.open == 0 && !text.contains(':') => self.out.push_str(&format!("[{text}]")),
            _ => self.out.push_str(&format!("({text}:{weight})")),
        }
    }

    fn comfy(&mut self, fragment: &Fragment) {
        let text = fragment.text.replace('(', "\\(").replace(')', "\\)");
        let angles = |angle: char| text.matches(angle).count();
        if self.dialect == Dialect::Swarm && self.open > 0 && (is_barred(&text) || angles('<') != angles('>')) {
            self.lost(
                fragment.span.clone(),
                "way to write || < > inside an option: they may be read as part of the form",
            );
        }
        if self.dialect == Dialect::Swarm && has_form(&text) {
            self.lost(fragment.span.clone(), "way to write a form in angle brackets as text");
        }
        let weight = fragment.weight;
        match weight {
            // A backslash at the end would escape the bracket of the next group.
            _ if weight == 1.0 && !text.ends_with('\\') => self.out.push_str(&text),
            _ if weight == UP && !text.contains(':') && !text.ends_with('\\') => {
                self.out.push_str(&format!("({text})"))
            }
            _ => self.out.push_str(&format!("({text}:{weight})")),
        }
    }

    fn compel(&mut self, fragment: &Fragment) {
        let is_plain = fragment.weight == 1.0;
        let mut text = String::new();
        for (at, c) in fragment.text.char_indices() {
            let next = fragment.text.get(at + c.len_utf8()..).and_then(|rest| rest.chars().next());
            let ends_word = next.is_none_or(|next| !next.is_alphanumeric());
            match c {
                '(' | ')' | '"' | '\\' => text.extend(['\\', c]),
                '+' | '-' if ends_word => text.extend(['\\', c]),
                '=' if !is_plain => text.extend(['\\', c]),
                _ => text.push(c),
            }
        }
        if is_plain {
            let first = text.chars().next().unwrap_or_default();
            let last = self.out.chars().next_back().unwrap_or_default();
            if self.is_grouped
                && (first.is_ascii_digit() && last.is_ascii_digit() || "+-".contains(first) && first == last)
            {
                self.lost(fragment.span.clone(), "number or sign right after a weight: a space is put between them");
                self.out.push(' ');
            }
            self.out.push_str(&text);
            self.is_grouped = false;
            return;
        }
        if fragment.weight < 0.0 {
            self.lost(fragment.span.clone(), "weights below 0: 0 is written");
        }
        let core = text.trim();
        let (lead, trail) = (text.len() - text.trim_start().len(), text.trim_end().len());
        if core.is_empty() {
            self.out.push(' ');
            return;
        }
        let is_quote = self.out.ends_with('"') && !self.out.ends_with("\\\"");
        let is_edge = self.out.is_empty() || self.out.ends_with(char::is_whitespace) || is_quote;
        if lead == 0 && !is_edge && !self.is_grouped {
            self.lost(fragment.span.clone(), "brackets in the middle of a word: a space is put before them");
        }
        if lead > 0 || !(is_edge || self.is_grouped) {
            self.out.push(' ');
        }
        self.out.push_str(&format!("({core}){}", compel_weight(fragment.weight)));
        self.is_grouped = trail == text.len();
        if trail < text.len() {
            self.out.push(' ');
        }
    }

    fn novelai(&mut self, fragment: &Fragment) {
        if fragment.text.contains(['{', '}', '[', ']']) || fragment.text.contains("::") {
            self.lost(fragment.span.clone(), "way to write { } [ ] or :: as text: they are left out");
        }
        let text: String = fragment.text.replace("::", " ").chars().filter(|c| !"{}[]".contains(*c)).collect();
        let weight = fragment.weight;
        match weight {
            _ if weight == 1.0 => self.out.push_str(&text),
            _ if weight == novelai::UP => self.out.push_str(&format!("{{{text}}}")),
            _ if weight == 1.0 / novelai::UP => self.out.push_str(&format!("[{text}]")),
            _ => {
                // A number that is glued to a word is none.
                if self.out.ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '-') {
                    self.lost(fragment.span.clone(), "weights in the middle of a word: a space is put before it");
                    self.out.push(' ');
                }
                self.out.push_str(&format!("{weight}::{text}"));
                // "2::" would start a number.
                if text.ends_with(|c: char| c == ':' || c == '.' || c.is_ascii_digit()) {
                    self.lost(
                        fragment.span.clone(),
                        "weight right after a number or colon: a space is put between them",
                    );
                    self.out.push(' ');
                }
                self.out.push_str("::");
            }
        }
    }

    fn network(&mut self, network: &ExtraNetwork) {
        let ExtraNetwork { kind, name, weight, denoiser_weight, args, span } = network;
        let is_lora = kind == "lora";
        let text = match self.dialect {
            Dialect::A1111 if args.len() > 3 => format!("<{kind}:{}>", args.join(":")),
            Dialect::A1111 if weight == denoiser_weight => format!("<{kind}:{name}:{weight}>"),
            Dialect::A1111 => format!("<{kind}:{name}:{weight}:{denoiser_weight}>"),
            Dialect::Swarm if is_lora && weight == denoiser_weight => format!("<lora:{name}:{weight}>"),
            Dialect::Swarm if is_lora => format!("<lora:{name}:{denoiser_weight}:{weight}>"),
            Dialect::Compel if is_lora => format!("withLora({name}, {weight})"),
            Dialect::Comfy => return self.lost(span.clone(), &format!("form for {kind} {name}: load it with a node")),
            _ => return self.lost(span.clone(), &format!("form for {kind} {name}: it is left out")),
        };
        let again = super::read(self.dialect, &text).0;
        let is_read = |one: &ExtraNetwork| {
            (&one.kind, &one.name, one.weight, one.denoiser_weight) == (kind, name, *weight, *denoiser_weight)
        };
        if !again.extra_networks.first().is_some_and(is_read) {
            self.lost(span.clone(), &format!("way to write the name of the {kind} {name}"));
        }
        self.out.push(' ');
        self.out.push_str(&text);
    }
}

/// Whether a text would be read as one of SwarmUI's forms.
fn has_form(text: &str) -> bool {
    text.match_indices('<').any(|(at, _)| {
        let name = text.get(at + 1..).unwrap_or_default().trim_start();
        FORMS.iter().any(|form| name.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form)))
    })
}

/// Whether an option's text would be cut at a bar of its own.
fn is_barred(text: &str) -> bool {
    text.contains("||") || text.starts_with('|') || text.ends_with('|')
}

/// Whether `text` starts with that word and not with a longer one.
fn is_whole(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| !rest.starts_with(is_word))
}

/// Whether a part's end would be read as its weight ("16:9").
fn ends_like_weight(written: &str) -> bool {
    written
        .rsplit_once(':')
        .is_some_and(|(_, number)| crate::prompt::emphasis::parse_number(number.trim_matches(is_space)).is_some())
}

/// Signs that stand in a row.
const MOST_SIGNS: usize = 4;

/// The weights for which a dialect has brackets or signs without a number.
pub(super) fn signed(dialect: Dialect) -> Vec<f64> {
    match dialect {
        Dialect::A1111 => vec![UP, DOWN],
        Dialect::Comfy | Dialect::Swarm => vec![UP],
        Dialect::NovelAi => vec![novelai::UP, 1.0 / novelai::UP],
        Dialect::Compel => (1..=MOST_SIGNS).flat_map(|count| [power(PLUS, count), power(MINUS, count)]).collect(),
    }
}

/// `++`, `-` or a number.
fn compel_weight(weight: f64) -> String {
    for (sign, base) in [("+", PLUS), ("-", MINUS)] {
        if let Some(count) = (1..=MOST_SIGNS).find(|count| power(base, *count) == weight) {
            return sign.repeat(count);
        }
    }
    // A minus sign would be read as an operator, and a full stop behind a whole number as its point.
    let weight = weight.max(0.0);
    if weight.fract() == 0.0 { format!("{weight:.1}") } else { format!("{weight}") }
}
