//! What is to be said about a prompt's text: where, how bad, what, and how to put it right.
//!
//! Parsers of this module never fail: they return a value and a list of these. Spans count UTF-8 bytes of the text that the
//! user wrote, whatever has been cut out of it or expanded since.

use std::ops::Range;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Hint,
    /// Probably not what was meant.
    Warning,
    /// A part of the text has no effect, or not the one that its form promises.
    Error,
}

/// A replacement that puts things right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// What the button says: "Write (x:1.3)".
    pub label: String,
    /// What is replaced, in bytes of the text.
    pub span: Range<usize>,
    /// By what.
    pub replacement: String,
}

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The bytes of the text that it is about.
    pub span: Range<usize>,
    /// How bad it is.
    pub severity: Severity,
    /// A name that does not change: "unclosed-bracket".
    pub code: &'static str,
    /// A sentence for the user.
    pub message: String,
    /// A way to put it right, if there is one that is surely meant.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// A remark without a fix.
    pub fn new(severity: Severity, code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, severity, code, message: message.into(), fix: None }
    }

    /// An error without a fix.
    pub fn error(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, span, message)
    }

    /// A warning without a fix.
    pub fn warning(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, span, message)
    }

    /// The same with a fix.
    pub fn with_fix(mut self, label: impl Into<String>, span: Range<usize>, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix { label: label.into(), span, replacement: replacement.into() });
        self
    }
}

/// Remarks that are kept of one text: a megabyte of brackets does not become a million sentences.
const MOST: usize = 500;

/// Adds a remark, unless there are very many already.
pub fn add(diagnostics: &mut Vec<Diagnostic>, make: impl FnOnce() -> Diagnostic) {
    if diagnostics.len() < MOST {
        diagnostics.push(make());
    }
}

/// Sorts by place and drops what was said before: a text that is read once a step is remarked on once.
pub fn tidy(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| (a.span.start, a.span.end, a.code).cmp(&(b.span.start, b.span.end, b.code)));
    diagnostics.dedup_by(|a, b| a.code == b.code && a.span == b.span);
}
