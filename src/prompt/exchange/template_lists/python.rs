//! The lists of texts in a Python file, without running it.
//!
//! # Limitations
//! Only texts that stand in the file are found: lists that are computed are not. Formatting other than a single name in braces is
//! taken as it stands.

use super::{Line, Warning, add};

/// A piece of Python.
#[derive(Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    /// Any other sign.
    Sign(char),
    /// `## Title`, as above the lists of CLIP's `prompts.md`.
    Title(String),
}

/// Whether lists of texts are given to names here, or lambdas that give texts.
pub fn looks_like_python(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        let assigned = line.split_once('=').filter(|(_, value)| value.trim_start().starts_with(['[', '(']));
        let is_name = |name: &str| {
            let name = name.trim();
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        };
        assigned.is_some_and(|(name, _)| is_name(name)) || line.starts_with("lambda ")
    })
}

type List = (Option<String>, Vec<Line>);

/// The lists with their names, `None` for one without.
pub(super) fn lists(text: &str) -> (Vec<List>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let tokens = tokens(text, &mut warnings);
    let mut lists: Vec<List> = Vec::new();
    let mut title: Option<&str> = None;
    let mut at = 0;
    while let Some((_, token)) = tokens.get(at) {
        match token {
            Token::Title(text) => title = Some(text),
            Token::Sign(bracket @ ('[' | '(')) => {
                let before = |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at)).map(|(_, token)| token);
                let name = match (before(2), before(1)) {
                    (Some(Token::Name(name)), Some(Token::Sign('='))) => Some(name.clone()),
                    (Some(Token::Text(name)), Some(Token::Sign(':'))) => Some(name.clone()),
                    _ => None,
                };
                // A bracket behind a name is a call, not a list.
                if *bracket == '[' || name.is_some() {
                    let (lines, end) = list(&tokens, at, &mut warnings);
                    let shown = name.map(|name| full_name(&name, title));
                    if !lines.is_empty() {
                        lists.push((shown, lines));
                    }
                    at = end;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    (lists, warnings)
}

/// Lists are called `templates` and `classes` in every section of CLIP's `prompts.md`; what [`variable`] made of a title is that title.
fn full_name(name: &str, title: Option<&str>) -> String {
    match title {
        Some(title) if variable(title) == name => title.to_owned(),
        Some(title) if matches!(name, "templates" | "classes") => format!("{title} {name}"),
        _ => name.to_owned(),
    }
}

/// The texts between the bracket at `start` and its end, and where that is.
fn list(tokens: &[(usize, Token)], start: usize, warnings: &mut Vec<Warning>) -> (Vec<Line>, usize) {
    let (mut lines, mut depth, mut at) = (Vec::<Line>::new(), 0_usize, start);
    let mut parameter: Option<&str> = None;
    let mut joins = false;
    while let Some((line, token)) = tokens.get(at) {
        // A new name with a list of its own: the bracket before was forgotten.
        let is_new = matches!(token, Token::Name(_))
            && matches!(tokens.get(at + 1), Some((_, Token::Sign('='))))
            && matches!(tokens.get(at + 2), Some((_, Token::Sign('[' | '('))));
        if is_new {
            add(warnings, || Warning::at(*line, "the list above is never closed; what it holds up to here is read"));
            return (lines, at);
        }
        match token {
            Token::Sign('[' | '(' | '{') => depth += 1,
            Token::Sign(']' | ')' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return (lines, at + 1);
                }
            }
            Token::Name(word) if word == "lambda" => {
                if let Some((_, Token::Name(name))) = tokens.get(at + 1) {
                    parameter = Some(name);
                }
            }
            Token::Text(text) if depth == 1 => {
                let text = parameter.map_or_else(|| text.clone(), |name| text.replace(&format!("{{{name}}}"), "{}"));
                match lines.last_mut().filter(|_| joins) {
                    Some(last) => last.text.push_str(&text),
                    None => lines.push(Line { line: *line, text }),
                }
            }
            _ => {}
        }
        // Texts side by side are one text in Python.
        joins = matches!(token, Token::Text(_)) && depth == 1;
        at += 1;
    }
    let line = tokens.get(start).map_or(1, |(line, _)| *line);
    add(warnings, || Warning::at(line, "this list is never closed; what was read so far is kept"));
    (lines, at)
}

fn tokens(text: &str, warnings: &mut Vec<Warning>) -> Vec<(usize, Token)> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(c) = rest.chars().next() {
        let begun = line;
        let (token, length) = match c {
            '\n' => {
                line += 1;
                (None, 1)
            }
            '#' => {
                let end = rest.find('\n').unwrap_or(rest.len());
                let comment = rest.get(..end).unwrap_or_default();
                let title = comment.strip_prefix("##").map(|title| title.trim_matches(['#', ' ', '\t', '\r']));
                (title.filter(|title| !title.is_empty()).map(|title| Token::Title(title.to_owned())), end)
            }
            '\'' | '"' => {
                let (text, length) = string(rest, c, false, line, warnings);
                line += rest.get(..length).unwrap_or_default().matches('\n').count();
                (text.map(Token::Text), length)
            }
            _ if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let word = rest.get(..end).unwrap_or_default();
                let quote = rest.get(end..).and_then(|rest| rest.chars().next()).filter(|c| matches!(c, '\'' | '"'));
                let is_prefix = word.len() <= 2 && word.chars().all(|c| "fFrRbBuU".contains(c));
                match quote.filter(|_| is_prefix) {
                    Some(quote) => {
                        let is_raw = word.contains(['r', 'R']);
                        let (text, length) = string(rest.get(end..).unwrap_or_default(), quote, is_raw, line, warnings);
                        let whole = end + length;
                        line += rest.get(..whole).unwrap_or_default().matches('\n').count();
                        let is_formatted = word.contains(['f', 'F']);
                        let unescape = |text: String| text.replace("{{", "\u{1}").replace("}}", "\u{2}");
                        let text = text.map(|text| if is_formatted { unescape(text) } else { text });
                        (text.map(|text| Token::Text(text.replace('\u{1}', "{").replace('\u{2}', "}"))), whole)
                    }
                    None => (Some(Token::Name(word.to_owned())), end),
                }
            }
            _ if c.is_whitespace() => (None, c.len_utf8()),
            _ => (Some(Token::Sign(c)), c.len_utf8()),
        };
        tokens.extend(token.map(|token| (begun, token)));
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

/// A text at the start of `rest` and its bytes. One that is not closed on its line is left out, up to the end of the line.
fn string(rest: &str, quote: char, is_raw: bool, line: usize, warnings: &mut Vec<Warning>) -> (Option<String>, usize) {
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let is_long = rest.starts_with(&triple);
    let close = if is_long { triple.as_str() } else { triple.get(..1).unwrap_or_default() };
    let (mut read, mut at) = (String::new(), close.len());
    while let Some(left) = rest.get(at..).filter(|left| !left.is_empty()) {
        if left.starts_with(close) {
            return (Some(read), at + close.len());
        }
        let mut chars = left.chars();
        match (chars.next(), chars.next()) {
            (Some('\n'), _) if !is_long => break,
            (Some('\\'), Some(escaped)) if !is_raw => {
                at += 1 + escaped.len_utf8();
                match escaped {
                    'n' => read.push('\n'),
                    't' => read.push('\t'),
                    '\n' => {}
                    '\\' | '\'' | '"' => read.push(escaped),
                    other => read.extend(['\\', other]),
                }
            }
            (Some(c), _) => {
                read.push(c);
                at += c.len_utf8();
            }
            (None, _) => break,
        }
    }
    let start: String = read.chars().take(24).collect();
    add(warnings, || Warning::at(line, format!("the text \"{start}…\" has no closing quote and is left out")));
    // The rest of the line is lost with it; the file goes on with the next.
    (None, rest.find('\n').unwrap_or(rest.len()))
}

/// A text in single quotes. Of a formatted one, braces are doubled and a zero character is the hole.
pub(super) fn quoted(text: &str, is_formatted: bool) -> String {
    let mut text = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
    if is_formatted {
        text = text.replace('{', "{{").replace('}', "}}").replace('\u{0}', "{c}");
    }
    format!("'{text}'")
}

/// A name that Python accepts.
pub(super) fn variable(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) || clean.is_empty() { format!("_{clean}") } else { clean }
}
