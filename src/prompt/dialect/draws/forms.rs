//! Where forms that are left to chance begin and end, and what they are made of.

use crate::prompt::highlight::near;

/// Whether a bar stands in no bracket of dynamicprompts.
pub(super) fn has_bar(text: &str) -> bool {
    parts(text, ['{', '}'], "|").len() > 1
}

/// Bytes of the sampler and of how many options are taken: `~`, `2$$`, `1-2$$ and $$`.
pub(super) fn head_length(inside: &str) -> usize {
    let sampler = usize::from(inside.starts_with(['~', '!', '@']));
    let rest = inside.get(sampler..).unwrap_or_default();
    let count = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-').len();
    let Some(after) = rest.get(count..).and_then(|rest| rest.strip_prefix("$$")).filter(|_| count > 0) else {
        return sampler;
    };
    let separator =
        after.find("$$").filter(|length| !after.get(..*length).is_some_and(|text| text.contains(['{', '}', '$', '|'])));
    sampler + count + 2 + separator.map_or(0, |length| length + 2)
}

/// The head of a variant as SwarmUI has it.
pub(super) fn swarm_head(head: &str) -> Option<String> {
    let Some((count, rest)) = head.split_once("$$") else {
        return head.is_empty().then(String::new);
    };
    let between = match rest.strip_suffix("$$") {
        Some(" ") => "",
        Some("," | ", ") | None => ",",
        Some(_) => return None,
    };
    is_count(count).then(|| format!("[{count}{between}]"))
}

/// Bytes of `2::` before an option.
pub(super) fn weight_length(option: &str) -> usize {
    let rest = option.trim_start();
    let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let is_weight = number.len() < rest.len() && number.starts_with("::");
    if is_weight { option.len() - number.len() + 2 } else { 0 }
}

/// "2", "1-3".
pub(super) fn is_count(text: &str) -> bool {
    text.split('-').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The opening brackets that are closed: where, by byte; 0 for the others.
pub(super) fn ends(text: &str, [opening, closing]: [char; 2]) -> Vec<usize> {
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
pub(super) fn dynamic_form(text: &str, at: usize, ends: &[usize]) -> Option<usize> {
    let rest = text.get(at..)?;
    if text.get(..at).is_some_and(|before| before.ends_with('\\')) {
        return None;
    }
    if let Some(name) = rest.strip_prefix("__") {
        let name = near(name);
        let length = name.find("__").filter(|length| *length > 0)?;
        // As the parser of wildcards has it.
        return (!name.get(..length)?.contains(['\n', ','])).then_some(at + 2 + length + 2);
    }
    let open = match rest.as_bytes() {
        [b'{', ..] => at,
        [b'$' | b'%', b'{', ..] => at + 1,
        _ => return None,
    };
    ends.get(open).filter(|end| **end > 0).map(|end| end + 1)
}

/// The end of a form of SwarmUI that has a counterpart and starts at `at`.
pub(super) fn swarm_form(text: &str, at: usize, ends: &[usize]) -> Option<usize> {
    let end = ends.get(at).copied().filter(|end| *end > 0)?;
    let inside = text.get(at + 1..end)?;
    let head = inside.get(..inside.floor_char_boundary(20))?;
    let name = head.get(..head.find([':', '['])?)?.trim().to_ascii_lowercase();
    let known = ["random", "wildcard", "wc", "repeat", "setvar", "var", "setmacro", "macro"];
    known.contains(&name.as_str()).then_some(end + 1)
}

/// The parts of `text` between marks of `separator` that are in no bracket.
pub(super) fn parts<'a>(text: &'a str, brackets: [char; 2], separator: &str) -> Vec<&'a str> {
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
