//! Scheduling and alternation: a text that changes while a picture is made.
//!
//! `[from:to:when]` is `from` up to and including step `when` and `to` after it; `[to:when]` is nothing first, `[from::when]`
//! nothing then. `[a|b|c]` takes the next one each step. Both nest. `when` with a point in it is a fraction of the steps.
//! Behaviour: AUTOMATIC1111's `modules/prompt_parser.py`, whose grammar lets any bracket that is not part of a whole form
//! be text, and gives up on the entire prompt when a `|` stands outside of an alternation.
//!
//! The text is compiled to a flat list of operations that is run once a step: nesting is not recursion.

use super::diagnostic::{self, Diagnostic};
use super::source::{Traced, is_space};

/// Bytes of the text that a remark repeats.
const LONGEST_QUOTE: usize = 60;

/// How step numbers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Steps of the pass.
    pub steps: u32,
    /// Steps of the pass before it if this is the second one, which refines a larger picture: whole numbers count from
    /// the start of the first pass, and 1.0 to 2.0 is the second one.
    pub first_pass: Option<u32>,
    /// A number below 1 is a fraction, any other a step, whether or not it has a point (A1111 before 1.6).
    pub is_old: bool,
}

impl Timing {
    /// One pass.
    pub fn of_steps(steps: u32) -> Self {
        Self { steps, first_pass: None, is_old: false }
    }

    /// The last step of `from`; 0 or less if there is none.
    fn boundary(self, number: &str) -> i64 {
        let value: f64 = number.parse().unwrap_or_default();
        let (steps, first_pass) = (f64::from(self.steps), self.first_pass.filter(|_| !self.is_old));
        let step = match (self.is_old, number.contains('.')) {
            (true, _) if value < 1.0 => value * steps,
            (true, _) => value,
            (false, true) => (value - if first_pass.is_some() { 1.0 } else { 0.0 }) * steps,
            (false, false) => value - first_pass.map_or(0.0, f64::from),
        };
        // `as` cuts the fraction off and keeps huge numbers at the ends of the range.
        (step as i64).min(i64::from(self.steps))
    }
}

/// A text compiled for one timing.
#[derive(Debug, Clone)]
pub struct Schedule {
    source: Traced,
    operations: Vec<Operation>,
    /// Where the options of all alternations start.
    options: Vec<usize>,
    /// The steps after which the text changes, and the last step; ascending.
    boundaries: Vec<u32>,
    /// The steps after which a switch changes, ascending.
    switches: Vec<u32>,
    /// Steps after which all alternations are where they were; `None` if there are more than steps.
    period: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operation {
    /// These bytes are part of the text.
    Text(usize, usize),
    /// The end of an option that is not the last one; the form goes on there.
    Next(usize),
    /// The end of the last option of a switch, before its number; the form ends there.
    When(usize),
    /// The end of a form.
    End,
    /// A schedule.
    Switch(Box<Switch>),
    /// At the next of `count` options, which start in the table at `first`.
    Alternate { first: usize, count: usize },
}

/// Up to and including step `until` go on at `from`, afterwards at `to`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Switch {
    until: i64,
    from: usize,
    pub(super) to: usize,
    /// Where the number stands.
    pub(super) number: std::ops::Range<usize>,
}

impl Schedule {
    /// Compiles a text.
    pub fn new(source: &Traced, timing: Timing, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut compiler = Compiler::new(source, timing);
        compiler.run();
        compiler.finish(diagnostics)
    }

    /// The steps up to which a text holds, ascending; the last one is the number of steps.
    pub fn boundaries(&self) -> &[u32] {
        &self.boundaries
    }

    /// An earlier step with the same text as `step`, if there must be one.
    pub fn same_as(&self, step: u32) -> Option<u32> {
        let earlier = step.checked_sub(self.period?).filter(|earlier| *earlier >= 1)?;
        let next_switch = self.switches.get(self.switches.partition_point(|last| *last < earlier));
        next_switch.is_none_or(|last| *last >= step).then_some(earlier)
    }

    /// The text at a step, counted from 1.
    pub fn at(&self, step: u32) -> Traced {
        let mut text = Traced::default();
        let mut next = 0;
        // Neighbours are copied in one go.
        let mut pending = 0..0;
        while let Some(operation) = self.operations.get(next) {
            next = match operation {
                &Operation::Text(start, end) => {
                    if pending.end != start {
                        text.push(&self.source, pending);
                        pending = start..end;
                    }
                    pending.end = end;
                    next + 1
                }
                &Operation::Next(end) | &Operation::When(end) => end,
                Operation::End => next + 1,
                Operation::Switch(switch) if i64::from(step) <= switch.until => switch.from,
                Operation::Switch(switch) => switch.to,
                &Operation::Alternate { first, count } => {
                    let chosen = first + (step.max(1) as usize - 1) % count.max(1);
                    self.options.get(chosen).copied().unwrap_or(self.operations.len())
                }
            };
        }
        text.push(&self.source, pending);
        text
    }

    /// The operations, in the order of the text: what stands between a form's first and its [`Operation::End`] is inside.
    pub(super) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The text that was compiled.
    pub(super) fn source(&self) -> &Traced {
        &self.source
    }
}

/// An open bracket.
struct Open {
    bracket: char,
    /// Its operation, and its byte.
    operation: usize,
    at: usize,
    /// The colons and bars directly inside it: operation, byte, whether it is a bar.
    separators: Vec<(usize, usize, bool)>,
}

struct Compiler<'a> {
    source: &'a Traced,
    text: &'a str,
    timing: Timing,
    open: Vec<Open>,
    operations: Vec<Operation>,
    options: Vec<usize>,
    boundaries: Vec<u32>,
    alternates: bool,
    /// The byte of what the grammar has no place for.
    impossible: Option<usize>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Compiler<'a> {
    fn new(source: &'a Traced, timing: Timing) -> Self {
        Self {
            source,
            text: source.text(),
            timing,
            open: vec![],
            operations: vec![],
            options: vec![],
            boundaries: vec![],
            alternates: false,
            impossible: None,
            diagnostics: vec![],
        }
    }

    fn run(&mut self) {
        let mut at = 0;
        while let Some(c) = self.text.get(at..).and_then(|rest| rest.chars().next()) {
            let end = match c {
                '[' | '(' | ']' | ')' | ':' | '|' => at + 1,
                '\\' => match self.text.get(at + 1..).and_then(|rest| rest.chars().next()) {
                    Some(escaped) if escaped != '\n' => at + 1 + escaped.len_utf8(),
                    _ => {
                        self.impossible.get_or_insert(at);
                        at + 1
                    }
                },
                _ => {
                    let rest = self.text.get(at..).unwrap_or_default();
                    at + rest.find(['[', '(', ']', ')', ':', '|', '\\']).unwrap_or(rest.len())
                }
            };
            let operation = self.operations.len();
            self.operations.push(Operation::Text(at, end));
            match c {
                '[' | '(' => self.open.push(Open { bracket: c, operation, at, separators: vec![] }),
                ':' => {
                    if let Some(open) = self.open.last_mut() {
                        open.separators.push((operation, at, false));
                    }
                }
                '|' => match self.open.last_mut() {
                    Some(open) if open.bracket == '[' => open.separators.push((operation, at, true)),
                    _ => {
                        self.impossible.get_or_insert(at);
                    }
                },
                ']' => self.close_square(operation),
                ')' => self.close_round(),
                _ => {}
            }
            at = end;
        }
        self.forget_open();
    }

    /// Nothing that is open now can become a whole form any more: its brackets are text.
    fn forget_open(&mut self) {
        for open in std::mem::take(&mut self.open) {
            if let Some((_, at, _)) = open.separators.iter().find(|(_, _, is_bar)| *is_bar) {
                self.impossible.get_or_insert(*at);
            }
        }
    }

    fn close_round(&mut self) {
        match self.open.last() {
            Some(open) if open.bracket == '(' && open.separators.len() <= 1 => {
                self.open.pop();
            }
            _ => self.forget_open(),
        }
    }

    fn close_square(&mut self, operation: usize) {
        let Some(open) = self.open.pop_if(|open| open.bracket == '[') else {
            return self.forget_open();
        };
        let bars = open.separators.iter().filter(|(_, _, is_bar)| *is_bar).count();
        let colons = open.separators.len() - bars;
        match (bars, colons) {
            // Plain square brackets are emphasis: a later stage reads them.
            (0, 0) => {}
            (_, 0) => self.alternation(&open, operation),
            (_, 1 | 2) if self.switch(&open, operation) => {}
            _ => {
                self.open.push(open);
                self.forget_open();
            }
        }
    }

    fn alternation(&mut self, open: &Open, close: usize) {
        let first = self.options.len();
        self.options.push(open.operation + 1);
        for (bar, ..) in &open.separators {
            self.options.push(bar + 1);
            self.set(*bar, Operation::Next(close));
        }
        self.set(open.operation, Operation::Alternate { first, count: self.options.len() - first });
        self.set(close, Operation::End);
        self.alternates = true;
    }

    /// `[to:when]` or `[from:to:when]`; not if what is in the place of `when` is not a number.
    fn switch(&mut self, open: &Open, close: usize) -> bool {
        let colons: Vec<(usize, usize)> = open
            .separators
            .iter()
            .filter(|(_, _, is_bar)| !is_bar)
            .map(|(operation, at, _)| (*operation, *at))
            .collect();
        let Some(&(last, last_at)) = colons.last() else { return false };
        let Some(&Operation::Text(close_at, close_end)) = self.operations.get(close) else { return false };
        let number = self.text.get(last_at + 1..close_at).unwrap_or_default().trim_matches(is_space);
        // A bar inside the number's place is no part of a number either.
        if !is_number(number) {
            return false;
        }
        let until = self.timing.boundary(number);
        let (from, to) = match colons.as_slice() {
            [(middle, _), _] => {
                self.set(*middle, Operation::Next(close));
                (open.operation + 1, middle + 1)
            }
            _ => (close, open.operation + 1),
        };
        self.set(last, Operation::When(close));
        self.set(
            open.operation,
            Operation::Switch(Box::new(Switch { until, from, to, number: last_at + 1..close_at })),
        );
        self.set(close, Operation::End);
        if let Some(boundary) = u32::try_from(until).ok().filter(|boundary| *boundary >= 1) {
            self.boundaries.push(boundary);
        }
        self.remark_on_switch(open, last_at, number, until, open.at..close_end);
        true
    }

    fn remark_on_switch(
        &mut self,
        open: &Open,
        last_at: usize,
        number: &str,
        until: i64,
        whole: std::ops::Range<usize>,
    ) {
        let (source, steps) = (self.source, self.timing.steps);
        if let Some((_, at, _)) = open.separators.iter().find(|(_, _, is_bar)| *is_bar) {
            let message = "this | is read as text; for an alternation inside a schedule write [[a|b]:c:0.5]";
            diagnostic::add(&mut self.diagnostics, || {
                Diagnostic::warning("bar-in-schedule", source.span(*at..at + 1), message)
            });
        }
        let never_ends = until >= i64::from(steps) && self.timing.first_pass.is_none();
        if never_ends && open.separators.len() == 1 {
            let inside = self.text.get(open.at + 1..last_at).unwrap_or_default();
            diagnostic::add(&mut self.diagnostics, || {
                let what = if inside.len() <= LONGEST_QUOTE { inside } else { "…" };
                let message = format!(
                    "[{what}:{number}] is a schedule, not a weight: \"{what}\" never appears in {steps} steps; for a weight write ({what}:{number})"
                );
                let span = source.span(whole.clone());
                let fix = format!("({inside}:{number})");
                Diagnostic::error("vanishing", span.clone(), message).with_fix("Write a weight", span, fix)
            });
        } else if never_ends {
            let message = format!("what comes after the colon never appears: there are {steps} steps");
            diagnostic::add(&mut self.diagnostics, || {
                Diagnostic::warning("never-reached", source.span(whole), message)
            });
        }
    }

    fn set(&mut self, at: usize, operation: Operation) {
        if let Some(place) = self.operations.get_mut(at) {
            *place = operation;
        }
    }

    fn finish(mut self, diagnostics: &mut Vec<Diagnostic>) -> Schedule {
        let has_forms = self.alternates || self.operations.iter().any(|op| matches!(op, Operation::Switch(_)));
        if let Some(at) = self.impossible {
            self.operations = vec![Operation::Text(0, self.text.len())];
            self.options.clear();
            self.boundaries.clear();
            self.diagnostics.clear();
            self.alternates = false;
            if has_forms {
                let what = if self.text.get(at..).unwrap_or_default().starts_with('|') { "|" } else { "\\" };
                let message = format!(
                    "because of this {what} no schedule and no alternation of this prompt works; all its brackets are text"
                );
                let span = self.source.span(at..at + 1);
                diagnostic::add(diagnostics, || Diagnostic::error("schedule-given-up", span, message));
            }
        }
        diagnostics.append(&mut self.diagnostics);
        let steps = self.timing.steps;
        self.boundaries.sort_unstable();
        self.boundaries.dedup();
        let switches = self.boundaries.clone();
        let period = self.period();
        self.boundaries.push(steps);
        if self.alternates {
            self.boundaries.extend(1..=steps);
        }
        self.boundaries.sort_unstable();
        self.boundaries.dedup();
        let Self { source, operations, options, boundaries, .. } = self;
        Schedule { source: source.clone(), operations, options, boundaries, switches, period }
    }

    /// The least common multiple of the numbers of options, unless it is more than the steps.
    fn period(&self) -> Option<u32> {
        let mut counts: Vec<u32> = Vec::new();
        for operation in &self.operations {
            if let &Operation::Alternate { count, .. } = operation {
                let count = u32::try_from(count).ok().filter(|count| *count < self.timing.steps)?;
                if !counts.contains(&count) {
                    counts.push(count);
                }
            }
        }
        let is_period = |steps: &u32| counts.iter().all(|count| steps.is_multiple_of(*count));
        (1..self.timing.steps).find(is_period)
    }
}

/// A number as the grammar has it: sign, digits, point, exponent.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = digits(unsigned);
    let rest = unsigned.get(whole..).unwrap_or_default();
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => (digits(after), after.get(digits(after)..).unwrap_or_default()),
        None => (0, rest),
    };
    let exponent = rest.strip_prefix(['e', 'E']).map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    let has_end = match exponent {
        Some(exponent) => !exponent.is_empty() && digits(exponent) == exponent.len(),
        None => rest.is_empty(),
    };
    whole + fraction > 0 && has_end
}
