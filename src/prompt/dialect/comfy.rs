//! ComfyUI's dialect as a tree.

use super::groups;
use crate::prompt::diagnostic::{self, Diagnostic};
use crate::prompt::tree::{Tree, TreePart};

pub(super) fn read(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Tree {
    remark_on_brackets(text, diagnostics);
    let mut part = TreePart::new(1.0);
    for (range, weight) in groups::weights(text) {
        let words = text.get(range.clone()).unwrap_or_default();
        part.push_text(&groups::unescape(words), weight, range);
    }
    Tree::of_part(part)
}

/// Says where brackets have no other half.
pub(super) fn remark_on_brackets(text: &str, diagnostics: &mut Vec<Diagnostic>) {
    let mut open = Vec::new();
    let mut is_escaped = false;
    let mut remark = |at: usize, bracket: char, what: &str| {
        diagnostic::add(diagnostics, || {
            let message = format!("this {bracket} {what}; write \\{bracket} for a bracket of the text");
            let code = if bracket == '(' { "unclosed-bracket" } else { "unopened-bracket" };
            let fix = format!("\\{bracket}");
            Diagnostic::warning(code, at..at + 1, message).with_fix(format!("Write {fix}"), at..at + 1, fix)
        });
    };
    for (at, c) in text.char_indices() {
        match c {
            '(' if !is_escaped => open.push(at),
            ')' if !is_escaped && open.pop().is_none() => {
                remark(at, ')', "closes nothing, and brackets after it are read as text")
            }
            _ => {}
        }
        is_escaped = c == '\\';
    }
    for at in open {
        remark(at, '(', "is never closed, and brackets after it are read as text");
    }
}
