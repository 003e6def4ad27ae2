//! What is left to chance in a prompt, from dialect to dialect: variants, wildcards and variables of dynamicprompts, and SwarmUI's forms
//! for the same.
//!
//! The readers of dialects know nothing of these: they are worked out before the brackets are read. So each form is taken out
//! before a prompt is read, a mark of the same length stands for it, and it is put back, as the other dialect has it, when
//! the prompt is written. ComfyUI's and InvokeAI's editors read dynamicprompts' variants too; NovelAI has nothing of the kind.
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

use std::collections::HashSet;
use std::ops::Range;

use super::Dialect;
use crate::prompt::diagnostic::{self, Diagnostic};

/// The first of the marks; none of them is a letter of any script.
const FIRST_MARK: u32 = 0xE000;
/// As many marks as there are.
const MOST: usize = 0x1900;
/// Fills a mark up to the length of its form.
const FILLER: char = '\u{1}';
/// Forms inside forms that are turned into others.
const DEEPEST: usize = 32;

/// The forms of one prompt.
pub(super) struct Draws {
    from: Dialect,
    forms: Vec<(Range<usize>, String)>,
}

/// `text` with marks for its forms; each mark has its form's length in bytes.
pub(super) fn take(from: Dialect, text: &str) -> (String, Draws) {
    let mut draws = Draws { from, forms: Vec::new() };
    let is_mark = |c: char| (FIRST_MARK..FIRST_MARK + MOST as u32).contains(&u32::from(c)) || c == FILLER;
    if from == Dialect::NovelAi || text.contains(is_mark) {
        return (text.to_owned(), draws);
    }
    let ends = ends(text, if from == Dialect::Swarm { ['<', '>'] } else { ['{', '}'] });
    let (mut marked, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let end = match from {
            Dialect::Swarm => swarm_form(text, at, &ends),
            _ => dynamic_form(text, at, &ends),
        };
        let mark = char::from_u32(FIRST_MARK + draws.forms.len() as u32).filter(|_| draws.forms.len() < MOST);
        match (end, mark) {
            (Some(end), Some(mark)) if end - at >= mark.len_utf8() => {
                marked.push(mark);
                marked.extend(std::iter::repeat_n(FILLER, end - at - mark.len_utf8()));
                draws.forms.push((at..end, text.get(at..end).unwrap_or_default().to_owned()));
                at = end;
            }
            _ => {
                marked.push(c);
                at += c.len_utf8();
            }
        }
    }
    (marked, draws)
}

impl Draws {
    /// `written` with the forms as the dialect `to` has them, and what could not be said.
    pub(super) fn put_back(&self, to: Dialect, written: &str) -> (String, Vec<Diagnostic>) {
        let (mut text, mut lost) = (String::with_capacity(written.len()), Vec::new());
        let mut set = Set::default();
        for c in written.chars().filter(|c| *c != FILLER || self.forms.is_empty()) {
            let index = u32::from(c).checked_sub(FIRST_MARK).map_or(usize::MAX, |index| index as usize);
            let Some((span, form)) = self.forms.get(index) else {
                text.push(c);
                continue;
            };
            let turned = match (self.from == Dialect::Swarm, to) {
                (_, Dialect::NovelAi) => None,
                (true, Dialect::Swarm) | (false, Dialect::A1111 | Dialect::Comfy | Dialect::Compel) => {
                    Some(form.clone())
                }
                (true, _) => dynamic_of(form, &mut set, DEEPEST),
                (false, Dialect::Swarm) => swarm_of(form, &mut set, DEEPEST),
            };
            text.push_str(turned.as_deref().unwrap_or(form));
            if turned.is_none() {
                let message = format!("{} has no form for what is drawn here; it stays as it is", to.name());
                diagnostic::add(&mut lost, || Diagnostic::error("not-in-dialect", span.clone(), message));
            }
        }
        (text, lost)
    }
}

/// The names of variables that are drawn anew at each use.
#[derive(Default)]
struct Set {
    lazy: HashSet<String>,
}

/// The opening brackets that are closed: where, by byte; 0 for the others.
fn ends(text: &str, [opening, closing]: [char; 2]) -> Vec<usize> {
    let (mut open, mut ends) = (Vec::new(), vec![0; text.len()]);
    for (at, c) in text.char_indices() {
        if c == opening {
            open.push(at);
        } else if c == closing
            && let Some(end) = open.pop().and_then(|start: usize| ends.get_mut(start))
        {
            *end = at;
        }
    }
    ends
}

/// The end of a form of dynamicprompts that starts at `at`.
fn dynamic_form(text: &str, at: usize, ends: &[usize]) -> Option<usize> {
    let rest = text.get(at..)?;
    if let Some(name) = rest.strip_prefix("__") {
        // A name as the wildcards' parser has it, on one line.
        let line = name.get(..name.find('\n').unwrap_or(name.len()))?;
        let length = line.find("__").filter(|length| *length > 0)?;
        let path = line.get(..length)?;
        return (!path.contains([' ', ','])).then_some(at + 2 + length + 2);
    }
    let open = match rest.as_bytes() {
        [b'{', ..] => at,
        [b'$' | b'%', b'{', ..] => at + 1,
        _ => return None,
    };
    ends.get(open).filter(|end| **end > 0).map(|end| end + 1)
}

/// The end of a form of SwarmUI that has a counterpart and starts at `at`.
fn swarm_form(text: &str, at: usize, ends: &[usize]) -> Option<usize> {
    let end = ends.get(at).copied().filter(|end| *end > 0)?;
    let inside = text.get(at + 1..end)?;
    let name = inside.get(..inside.find([':', '['])?)?.trim().to_ascii_lowercase();
    let known = ["random", "wildcard", "wc", "repeat", "setvar", "var", "setmacro", "macro"];
    known.contains(&name.as_str()).then_some(end + 1)
}

/// The parts of `text` between marks of `separator` that are in no bracket.
fn parts<'a>(text: &'a str, brackets: [char; 2], separator: &str) -> Vec<&'a str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if c == brackets[0] {
            depth += 1;
        } else if c == brackets[1] {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && text.get(at..).is_some_and(|rest| rest.starts_with(separator)) {
            parts.extend(text.get(from..at));
            at += separator.len();
            from = at;
            continue;
        }
        at += c.len_utf8();
    }
    parts.extend(text.get(from..));
    parts
}

/// Text between SwarmUI's forms, with these as dynamicprompts has them; `None` if one has no counterpart.
fn dynamic_text(text: &str, set: &mut Set, depth: usize) -> Option<String> {
    let ends = ends(text, ['<', '>']);
    let (mut out, mut at) = (String::new(), 0);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        match swarm_form(text, at, &ends) {
            Some(end) => {
                out.push_str(&dynamic_of(text.get(at..end)?, set, depth)?);
                at = end;
            }
            None if "{}$|".contains(c) || c == '<' && ends.get(at).is_some_and(|end| *end > 0) => return None,
            None => {
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
    Some(out)
}

/// A form of SwarmUI as dynamicprompts has it.
fn dynamic_of(form: &str, set: &mut Set, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    let inside = form.strip_prefix('<')?.strip_suffix('>')?;
    let (name, rest) = inside.split_at(inside.find([':', '['])?);
    let (option, value) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (option, value) = rest.split_once(']')?;
            (Some(option.trim()), value.strip_prefix(':')?)
        }
        None => (None, rest.strip_prefix(':')?),
    };
    // How many, and what stands between them.
    let count = option.map(|option| match option.strip_suffix(',') {
        Some(count) => (count.trim(), ", "),
        None => (option, " "),
    });
    let is_count =
        |text: &str| text.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let head = match count {
        Some((count, _)) if !is_count(count) => None,
        Some((count, separator)) => Some(format!("{count}$${separator}$$")),
        None => Some(String::new()),
    };
    match name.trim().to_ascii_lowercase().as_str() {
        "random" => {
            let mark = ["||", "|"].into_iter().find(|mark| parts(value, ['<', '>'], mark).len() > 1).unwrap_or(",");
            let options = parts(value, ['<', '>'], mark);
            let options: Option<Vec<String>> =
                options.into_iter().map(|option| dynamic_text(option.trim(), set, depth)).collect();
            Some(format!("{{{}{}}}", head?, options?.join("|")))
        }
        "wildcard" | "wc" if !value.contains([',', '<', '{', '$', '|', '(']) => {
            let form = format!("__{}__", value.trim());
            Some(if option.is_some() { format!("{{{}{form}}}", head?) } else { form })
        }
        "repeat" => {
            let times: usize = option?.parse().ok().filter(|times| (1..=20).contains(times))?;
            let once = dynamic_text(value.trim(), set, depth)?;
            Some(vec![once; times].join(" "))
        }
        name @ ("setvar" | "setmacro") => {
            let (variable, shows) = match option?.split_once(',') {
                Some((variable, shows)) => (variable.trim(), !shows.trim().eq_ignore_ascii_case("false")),
                None => (option?, true),
            };
            is_name(variable).then_some(())?;
            let at_once = if name == "setvar" { "!" } else { "" };
            if name == "setmacro" {
                set.lazy.insert(variable.to_owned());
            }
            let use_of = if shows { format!("${{{variable}}}") } else { String::new() };
            Some(format!("${{{variable}={at_once}{}}}{use_of}", dynamic_text(value.trim(), set, depth)?))
        }
        "var" | "macro" if is_name(value.trim()) => Some(format!("${{{}}}", value.trim())),
        _ => None,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Text between dynamicprompts' forms, with these as SwarmUI has them; `None` if one has no counterpart.
fn swarm_text(text: &str, set: &mut Set, depth: usize) -> Option<String> {
    let ends = ends(text, ['{', '}']);
    let (mut out, mut at) = (String::new(), 0);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        match dynamic_form(text, at, &ends) {
            Some(end) => {
                out.push_str(&swarm_of(text.get(at..end)?, set, depth)?);
                at = end;
            }
            // It would be read as another form.
            None if c == '<' || c == '>' => return None,
            None => {
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
    Some(out)
}

/// A form of dynamicprompts as SwarmUI has it.
fn swarm_of(form: &str, set: &mut Set, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    if let Some(name) = form.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")) {
        let is_plain = !name.starts_with(['~', '!', '@']) && !name.contains(['(', '$', '*', '{']);
        return is_plain.then(|| format!("<wildcard:{name}>"));
    }
    if let Some(inside) = form.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        let Some((name, value)) = inside.split_once('=') else {
            let name = inside.trim();
            let kind = if set.lazy.contains(name) { "macro" } else { "var" };
            return is_name(name).then(|| format!("<{kind}:{name}>"));
        };
        is_name(name).then_some(())?;
        let (kind, value) = match value.strip_prefix('!') {
            Some(value) => ("setvar", value),
            None => ("setmacro", value),
        };
        if kind == "setmacro" {
            set.lazy.insert(name.to_owned());
        }
        return Some(format!("<{kind}[{name},false]:{}>", swarm_text(value.trim(), set, depth)?));
    }
    let inside = form.strip_prefix('{')?.strip_suffix('}')?;
    let (head, inside) = match inside.split_once("$$") {
        Some((count, rest)) => {
            let (separator, rest) = rest.split_once("$$").unwrap_or((",", rest));
            let between = match separator {
                " " => "",
                "," | ", " => ",",
                _ => return None,
            };
            let is_count = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            count.split('-').all(is_count).then_some(())?;
            (format!("[{count}{between}]"), rest)
        }
        None => (String::new(), inside),
    };
    if inside.starts_with(['~', '!', '@']) {
        return None;
    }
    let mut options = Vec::new();
    for option in parts(inside, ['{', '}'], "|") {
        let digits = option.trim_start().trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if digits.len() < option.trim_start().len() && digits.starts_with("::") {
            return None;
        }
        options.push(swarm_text(option.trim(), set, depth)?);
    }
    Some(format!("<random{head}:{}>", options.join("||")))
}

#[cfg(test)]
mod tests {
    use super::Dialect::{A1111, Comfy, NovelAi, Swarm};
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
    fn what_has_no_counterpart_is_said() {
        for (from, to, text) in [
            (A1111, NovelAi, "a {b|c}"),
            (A1111, Swarm, "{2::a|b}"),
            (A1111, Swarm, "__*__"),
            (A1111, Swarm, "%{a ... b$$c}"),
            (Swarm, A1111, "<repeat[1-3]:x>"),
            (Swarm, A1111, "<wildcard:a,not=b>"),
            (Swarm, A1111, "<random:a|<fromto[3]:b,c>>"),
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
            prop_assert_eq!(draws.put_back(dialect, &marked).0, text);
        }
    }
}
