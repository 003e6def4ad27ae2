//! What is left to chance in a prompt, from dialect to dialect: variants, wildcards and variables of dynamicprompts, and SwarmUI's forms
//! for the same.
//!
//! The readers of dialects know nothing of these: they are worked out before the brackets are read. So each form is taken out
//! before a prompt is read, a mark of the same length stands for it, and it is put back, as the other dialect has it, when
//! the prompt is written; what stands inside is turned in the same way. ComfyUI's and InvokeAI's editors read dynamicprompts'
//! variants too; NovelAI has nothing of the kind.
//!
//! | dynamicprompts | SwarmUI |
//! |---|---|
//! | `{a\|b}` | `<random:a\|\|b>` |
//! | `{2$$ $$a\|b}`, `{1-2$$, $$a\|b}` | `<random[2]:a\|\|b>`, `<random[1-2,]:a\|\|b>` |
//! | `__name__` | `<wildcard:name>` |
//! | `${v=!a}`, `${v=a}` | `<setvar[v,false]:a>`, `<setmacro[v,false]:a>` |
//! | `${v}` | `<var:v>` or `<macro:v>`, as it was set |
//!
//! # Limitations
//! Forms without a counterpart (weights of options, samplers, wraps, a range of repeats) stay as they are, with a diagnostic.

mod forms;

use std::collections::HashSet;
use std::ops::Range;

use super::{Dialect, convert_in};
use crate::prompt::diagnostic::{self, Diagnostic};
use forms::{
    dynamic_form, ends, has_bar, head_length, is_count, is_name, parts, swarm_form, swarm_head, weight_length,
};

/// The first of the marks; none of them is a letter of any script.
const FIRST_MARK: u32 = 0xE000;
/// As many marks as there are.
const MOST: usize = 0x1900;
/// Fills a mark up to the length of its form.
const FILLER: char = '\u{1}';

/// What holds for one conversion and what is inside of its forms.
pub(super) struct Turning {
    /// The names of variables that are drawn anew at each use.
    lazy: HashSet<String>,
    /// Forms inside forms that may still be entered.
    depth: usize,
    /// Bytes that may still be written: repeats inside repeats would have no end.
    budget: usize,
}

impl Turning {
    pub(super) fn new(text: &str) -> Self {
        Self { lazy: HashSet::new(), depth: 32, budget: 100_000 + 16 * text.len() }
    }
}

/// The forms of one prompt.
pub(super) struct Draws {
    from: Dialect,
    forms: Vec<(Range<usize>, String)>,
    /// Where forms begin that no mark is left for.
    left: Option<usize>,
}

/// `text` with marks for its forms; each mark has its form's length in bytes.
pub(super) fn take(from: Dialect, text: &str) -> (String, Draws) {
    let mut draws = Draws { from, forms: Vec::new(), left: None };
    let ends = ends(text, if from == Dialect::Swarm { ['<', '>'] } else { ['{', '}'] });
    let is_mark = |c: char| (FIRST_MARK..FIRST_MARK + MOST as u32).contains(&u32::from(c)) || c == FILLER;
    let has_marks = text.contains(is_mark);
    let (mut marked, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let end = match from {
            Dialect::NovelAi => None,
            Dialect::Swarm => swarm_form(text, at, &ends),
            _ => dynamic_form(text, at, &ends),
        };
        let is_free = !has_marks && draws.forms.len() < MOST;
        let mark = char::from_u32(FIRST_MARK + draws.forms.len() as u32).filter(|_| is_free);
        match (end, mark) {
            (Some(end), Some(mark)) if end - at >= mark.len_utf8() => {
                marked.push(mark);
                marked.extend(std::iter::repeat_n(FILLER, end - at - mark.len_utf8()));
                draws.forms.push((at..end, text.get(at..end).unwrap_or_default().to_owned()));
                at = end;
            }
            (end, _) => {
                if end.is_some_and(|end| end - at > 2) {
                    draws.left.get_or_insert(at);
                }
                marked.push(c);
                at += c.len_utf8();
            }
        }
    }
    (marked, draws)
}

impl Draws {
    /// `written` with the forms as the dialect `to` has them, and what could not be said.
    pub(super) fn put_back(&self, to: Dialect, written: &str, turning: &mut Turning) -> (String, Vec<Diagnostic>) {
        let (mut text, mut lost) = (String::with_capacity(written.len()), Vec::new());
        let mut say = |span: Range<usize>, what: String| {
            diagnostic::add(&mut lost, || Diagnostic::error("not-in-dialect", span, what));
        };
        if let Some(at) = self.left {
            let what =
                "from here on choices stay as they are: there are too many, or the text has characters of private use";
            say(at..at + 1, what.to_owned());
        }
        for c in written.chars() {
            if c == FILLER && !self.forms.is_empty() {
                continue;
            }
            let index = u32::from(c).checked_sub(FIRST_MARK).map_or(usize::MAX, |index| index as usize);
            let Some((span, form)) = self.forms.get(index) else {
                text.push(c);
                continue;
            };
            let turned = turning.turn(form, self.from, to).filter(|turned| {
                let fits = turned.len() <= turning.budget;
                turning.budget = turning.budget.saturating_sub(turned.len());
                fits
            });
            text.push_str(turned.as_deref().unwrap_or(form));
            if turned.is_none() {
                say(span.clone(), format!("{} has no form for what is drawn here; it stays as it is", to.name()));
            }
        }
        (text, lost)
    }
}

impl Turning {
    fn turn(&mut self, form: &str, from: Dialect, to: Dialect) -> Option<String> {
        if from == to {
            return Some(form.to_owned());
        }
        self.depth = self.depth.checked_sub(1)?;
        let turned = match (from, to) {
            (_, Dialect::NovelAi) => None,
            (Dialect::Swarm, _) => self.of_swarm(form, to),
            _ => self.of_dynamic(form, from, to),
        };
        self.depth += 1;
        turned
    }

    /// What stands inside of a form, in the other dialect; `None` if something is lost.
    fn inside(&mut self, text: &str, from: Dialect, to: Dialect) -> Option<String> {
        let (start, core) = (text.len() - text.trim_start().len(), text.trim());
        let (turned, lost) = convert_in(from, to, core, self);
        let is_lost = lost.iter().any(|remark| matches!(remark.code, "not-in-dialect" | "not-preserved"));
        // It must not end the option, nor start something else.
        let breaks = to != Dialect::Swarm && has_bar(&turned);
        if is_lost || breaks || turned.len() > self.budget {
            return None;
        }
        let blanks = |range: Range<usize>| text.get(range).unwrap_or_default();
        Some(format!("{}{turned}{}", blanks(0..start), blanks(start + core.len()..text.len())))
    }

    /// A form of dynamicprompts as another dialect has it.
    fn of_dynamic(&mut self, form: &str, from: Dialect, to: Dialect) -> Option<String> {
        let is_swarm = to == Dialect::Swarm;
        if let Some(name) = form.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")) {
            let is_plain = !name.starts_with(['~', '!', '@']) && !name.contains(['(', '$', '*', '{']);
            return if is_swarm { is_plain.then(|| format!("<wildcard:{name}>")) } else { Some(form.to_owned()) };
        }
        if let Some(inside) = form.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            return self.variable(inside, from, to);
        }
        if let Some(inside) = form.strip_prefix("%{").and_then(|rest| rest.strip_suffix('}')) {
            let (before, after) = inside.split_once("$$").filter(|_| !is_swarm && !inside.contains('{'))?;
            let (before, after) = (self.inside(before, from, to)?, self.inside(after, from, to)?);
            return Some(format!("%{{{before}$${after}}}"));
        }
        let inside = form.strip_prefix('{')?.strip_suffix('}')?;
        let (head, rest) = inside.split_at(head_length(inside));
        let options = parts(rest, ['{', '}'], "|");
        let mut turned = Vec::new();
        for option in &options {
            let (weight, words) = option.split_at(weight_length(option));
            if is_swarm && !weight.is_empty() {
                return None;
            }
            turned.push(format!("{weight}{}", self.inside(words, from, to)?));
        }
        if !is_swarm {
            return Some(format!("{{{head}{}}}", turned.join("|")));
        }
        let swarm_head = swarm_head(head)?;
        match turned.as_slice() {
            // One option is always taken; a comma in it would part it.
            [only] => head.is_empty().then(|| only.trim().to_owned()),
            // Of numbers SwarmUI makes a range.
            all if all.iter().any(|option| option.contains("||") && !option.contains('<')) => None,
            all => Some(format!(
                "<random{swarm_head}:{}>",
                all.iter().map(|one| one.trim()).collect::<Vec<_>>().join("||")
            )),
        }
    }

    fn variable(&mut self, inside: &str, from: Dialect, to: Dialect) -> Option<String> {
        let at = inside.find([':', '=']).unwrap_or(inside.len());
        let (name, rest) = inside.split_at(at);
        let operator: String = rest.chars().take_while(|c| ":=!".contains(*c)).collect();
        let value = rest.get(operator.len()..)?;
        if to != Dialect::Swarm {
            let value = if value.is_empty() { String::new() } else { self.inside(value, from, to)? };
            return Some(format!("${{{name}{operator}{value}}}"));
        }
        let name = name.trim();
        is_name(name).then_some(())?;
        let kind = match operator.as_str() {
            "" => return Some(format!("<{}:{name}>", if self.lazy.contains(name) { "macro" } else { "var" })),
            "=!" => {
                self.lazy.remove(name);
                "setvar"
            }
            "=" => {
                self.lazy.insert(name.to_owned());
                "setmacro"
            }
            _ => return None,
        };
        Some(format!("<{kind}[{name},false]:{}>", self.inside(value.trim(), from, to)?))
    }

    /// A form of SwarmUI as dynamicprompts has it, the words as `to` has them.
    fn of_swarm(&mut self, form: &str, to: Dialect) -> Option<String> {
        let inside = form.strip_prefix('<')?.strip_suffix('>')?;
        let (name, rest) = inside.split_at(inside.find([':', '['])?);
        let (option, value) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (option, value) = rest.split_once(']')?;
                (Some(option.trim()), value.strip_prefix(':')?)
            }
            None => (None, rest.strip_prefix(':')?),
        };
        let head = || match option {
            Some(option) => {
                // How many, and what stands between them.
                let (count, separator) = match option.strip_suffix(',') {
                    Some(count) => (count.trim(), ", "),
                    None => (option, " "),
                };
                is_count(count).then(|| format!("{count}$${separator}$$"))
            }
            None => Some(String::new()),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "random" => {
                let mark = ["||", "|"].into_iter().find(|mark| parts(value, ['<', '>'], mark).len() > 1).unwrap_or(",");
                let options = parts(value, ['<', '>'], mark);
                let mut turned = Vec::new();
                for option in options {
                    let words = self.inside(option.trim(), Dialect::Swarm, to)?;
                    // Words that dynamicprompts would take for something else.
                    let is_other =
                        words.starts_with(['~', '!', '@']) || weight_length(&words) > 0 || words.contains("$$");
                    let is_range = words.split_once('-').is_some_and(|(a, b)| is_count(a.trim()) && is_count(b.trim()));
                    if is_other || is_range || option.contains("__") || option.contains(['{', '}']) {
                        return None;
                    }
                    turned.push(words);
                }
                Some(format!("{{{}{}}}", head()?, turned.join("|")))
            }
            "wildcard" | "wc" if !value.contains([',', '<', '{', '$', '|', '(']) => {
                let form = format!("__{}__", value.trim());
                Some(if option.is_some() { format!("{{{}{form}}}", head()?) } else { form })
            }
            "repeat" => {
                let times: usize = option?.parse().ok().filter(|times| (1..=20).contains(times))?;
                let once = self.inside(value.trim(), Dialect::Swarm, to)?;
                (once.len() * times <= self.budget).then(|| vec![once; times].join(" "))
            }
            name @ ("setvar" | "setmacro") => {
                let (variable, shows) = match option?.split_once(',') {
                    Some((variable, shows)) => (variable.trim(), !shows.trim().eq_ignore_ascii_case("false")),
                    None => (option?, true),
                };
                is_name(variable).then_some(())?;
                let at_once = if name == "setvar" { "!" } else { "" };
                let use_of = if shows { format!("${{{variable}}}") } else { String::new() };
                Some(format!("${{{variable}={at_once}{}}}{use_of}", self.inside(value.trim(), Dialect::Swarm, to)?))
            }
            "var" | "macro" if is_name(value.trim()) => Some(format!("${{{}}}", value.trim())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect::{A1111, Comfy, Compel, NovelAi, Swarm};
    use super::*;
    use crate::prompt::dialect::convert;
    use proptest::prelude::*;

    fn check(from: Dialect, to: Dialect, text: &str, wanted: &str) {
        assert_eq!(convert(from, to, text), (wanted.to_owned(), vec![]), "{text}");
    }

    #[test]
    fn what_is_drawn_is_drawn_in_the_other_dialect_too() {
        for (dynamic, swarm) in [
            ("a {red|dark blue} fox", "a <random:red||dark blue> fox"),
            ("{2$$ $$a|b} {1-2$$,$$a|{b|c}}", "<random[2]:a||b> <random[1-2,]:a||<random:b||c>>"),
            ("(__animals/cat__:1.2)", "(<wildcard:animals/cat>:1.2)"),
            ("${x=!{a|b}}${x} ${y=c}${y}", "<setvar[x,false]:<random:a||b>><var:x> <setmacro[y,false]:c><macro:y>"),
        ] {
            check(A1111, Swarm, dynamic, swarm);
            check(Swarm, A1111, swarm, &dynamic.replace("2$$,$$", "2$$, $$"));
            check(A1111, Comfy, dynamic, dynamic);
            check(Swarm, Swarm, swarm, swarm);
        }
        check(A1111, Swarm, "[a:b:0.5] {c|d}", "<fromto[0.5]:a||b> <random:c||d>");
        check(A1111, Swarm, "[{a|b}:c:3]", "<fromto[3]:<random:a||b>||c>");
        check(Swarm, A1111, "<random:red, blue> <repeat[2]:very> <wc[2]:x>", "{red|blue} very very {2$$ $$__x__}");
        check(Swarm, A1111, "<setvar[x]:a> <Random: a|b >", "${x=!a}${x} {a|b}");
    }

    #[test]
    fn what_stands_inside_of_a_choice_is_turned_too() {
        check(A1111, Compel, "{(red:1.3)|blue} (fox:1.2)", "{(red)1.3|blue} (fox)1.2");
        check(A1111, Comfy, "{[sad]|happy} [fox]", "{(sad:0.9091)|happy} (fox:0.9091)");
        check(A1111, Swarm, "{[cat:dog:0.5]|fox}", "<random:<fromto[0.5]:cat||dog>||fox>");
        check(A1111, Swarm, "{<lora:x:1>|b}", "<random:<lora:x:1>||b>");
        check(Swarm, Compel, "<random:(a:1.3)||b>", "{(a)1.3|b}");
        check(A1111, Compel, "{2$$, $$(a:1.2)|0.5::(b:1.2)}", "{2$$, $$(a)1.2|0.5::(b)1.2}");
        check(A1111, Swarm, "{a|{2$$b|c}}", "<random:a||<random[2,]:b||c>>");
        check(A1111, Swarm, "{red, blue} {subject}", "red, blue subject");
        check(A1111, Swarm, "${x=a}${x=!b}${x}", "<setmacro[x,false]:a><setvar[x,false]:b><var:x>");
        check(A1111, Swarm, "__a b__", "<wildcard:a b>");
        check(Comfy, A1111, r"a \{b c", r"a \\{b c");
    }

    #[test]
    fn hostile_texts_take_linear_time_and_room() {
        let repeats = format!("{}x{}", "<repeat[20]:".repeat(30), ">".repeat(30));
        assert!(convert(Swarm, A1111, &repeats).0.len() < 1_000_000);
        for text in ["_", "<", "{", "<random:", "__a", "{a|", "\u{e000}{a|b}"] {
            for closing in ["", ">", "}"] {
                let text = format!("{}{}", text.repeat(100_000 / text.len()), closing.repeat(50_000));
                for (from, to) in [(A1111, Swarm), (Swarm, A1111), (A1111, Compel)] {
                    assert!(convert(from, to, &text).0.len() < 10_000_000);
                }
            }
        }
    }

    #[test]
    fn what_has_no_counterpart_is_said() {
        for (from, to, text) in [
            (A1111, NovelAi, "a {b|c}"),
            (A1111, Swarm, "{2::a|b}"),
            (A1111, Swarm, "__*__"),
            (A1111, Swarm, "%{a ... b$$c}"),
            (Swarm, A1111, "<repeat[1-3]:x>"),
            (Swarm, A1111, "<wildcard:a,not=b>"),
            (Swarm, A1111, "<random:@home||b>"),
            (Swarm, A1111, "<random:2::a||b>"),
            (Swarm, A1111, "<random:1-5>"),
            (A1111, Compel, "{[a:b:3]|c}"),
            (A1111, Swarm, "\u{e000} {a|b}"),
        ] {
            let (written, remarks) = convert(from, to, text);
            assert_eq!((remarks.len(), remarks[0].code), (1, "not-in-dialect"), "{text}");
            assert_eq!(written, text);
        }
    }

    proptest! {
        #[test]
        fn marks_are_as_long_as_their_forms(
            text in "(\\{|\\}|\\||\\$\\$|2|__a__|\\$\\{|%\\{|=!|<random:|<wc:|>|\\[|\\]|:|é|\u{e001}|\u{1}| ){0,16}",
            which in 0usize..5,
        ) {
            let dialect = Dialect::ALL[which];
            let (marked, draws) = take(dialect, &text);
            prop_assert_eq!(marked.len(), text.len());
            prop_assert_eq!(draws.put_back(dialect, &marked, &mut Turning::new(&text)).0, text);
        }
    }
}
