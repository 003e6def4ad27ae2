//! Text that remembers where it comes from: after comments are cut out and schedules are resolved, each byte still knows
//! its place in what the user wrote.
//!
//! A [`Traced`] is a list of runs. A run is either copied (its bytes are those of the source, one for one) or stands for
//! some bytes of the source (the line end that a comment leaves behind, the line of a wildcard). Runs may be in any order:
//! a choice of several options comes as it was drawn.

use std::ops::Range;
use std::sync::Arc;

/// A text and the places in the source that its bytes come from. A clone costs nothing until one of the two is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traced {
    text: Arc<String>,
    runs: Arc<Vec<Run>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    /// Where it starts in `text`; it ends where the next one starts.
    start: usize,
    source: Range<usize>,
    is_copy: bool,
}

impl Traced {
    /// A whole source.
    pub fn new(source: &str) -> Self {
        let mut traced = Self::default();
        traced.push_copy(source, 0);
        traced
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Appends bytes of the source that start at `at`.
    pub fn push_copy(&mut self, text: &str, at: usize) {
        if text.is_empty() {
            return;
        }
        let runs = Arc::make_mut(&mut self.runs);
        match runs.last_mut() {
            Some(last) if last.is_copy && last.source.end == at => last.source.end += text.len(),
            _ => runs.push(Run { start: self.text.len(), source: at..at + text.len(), is_copy: true }),
        }
        Arc::make_mut(&mut self.text).push_str(text);
    }

    /// Appends `text` that stands for the bytes `source`.
    pub fn push_for(&mut self, text: &str, source: Range<usize>) {
        if text.is_empty() {
            return;
        }
        if !self.runs.last().is_some_and(|last| !last.is_copy && last.source == source) {
            Arc::make_mut(&mut self.runs).push(Run { start: self.text.len(), source, is_copy: false });
        }
        Arc::make_mut(&mut self.text).push_str(text);
    }

    /// The stretches of the text in their order, each with the bytes of the source that it comes from.
    pub fn runs(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        let text = |run: &Run| self.text.get(run.start..self.end_of(run)).unwrap_or_default();
        self.runs.iter().map(move |run| (text(run), run.source.clone()))
    }

    /// How many bytes the byte `at` of the source is from what this text has of it, and the place in the text that is nearest: in a copy
    /// byte by byte, otherwise behind what stands for it.
    pub fn nearest(&self, at: usize) -> (usize, usize) {
        let mut nearest = (usize::MAX, 0);
        for run in self.runs.iter() {
            let Range { start, end } = run.source;
            let distance = at.saturating_sub(end).max(start.saturating_sub(at));
            if distance < nearest.0 {
                let place = if run.is_copy { run.start + at.clamp(start, end) - start } else { self.end_of(run) };
                nearest = (distance, place);
            }
            if distance == 0 {
                break;
            }
        }
        nearest
    }

    /// Appends all of `other`, which has the same source.
    pub fn push_all(&mut self, other: &Self) {
        if self.text.is_empty() {
            *self = other.clone();
            return;
        }
        self.push(other, 0..other.text.len());
    }

    /// `text` that stands for the bytes `source`.
    pub fn standing_for(text: &str, source: Range<usize>) -> Self {
        let mut traced = Self::default();
        traced.push_for(text, source);
        traced
    }

    /// Appends the bytes `range` of `other`, which has the same source.
    pub fn push(&mut self, other: &Self, range: Range<usize>) {
        let mut at = range.start;
        for run in other.runs.get(other.run_at(at)..).unwrap_or_default() {
            if at >= range.end {
                break;
            }
            let end = range.end.min(other.end_of(run));
            let text = other.text.get(at..end).unwrap_or_default();
            match run.is_copy {
                true => self.push_copy(text, run.source.start + (at - run.start)),
                false => self.push_for(text, run.source.clone()),
            }
            at = end;
        }
    }

    /// The part `range` as a text of its own.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let mut part = Self::default();
        part.push(self, range);
        part
    }

    /// The bytes of the source from the first to the last that `range` comes from; an empty range gives an empty one.
    pub fn span(&self, range: Range<usize>) -> Range<usize> {
        let mut span: Option<Range<usize>> = None;
        for run in self.runs.get(self.run_at(range.start)..).unwrap_or_default() {
            if range.is_empty() || run.start >= range.end {
                break;
            }
            let mut place = run.source.clone();
            if run.is_copy {
                let from = place.start + range.start.saturating_sub(run.start);
                place = from.min(place.end)..(place.start + (range.end - run.start)).min(place.end);
            }
            span = span.map(|span| span.start.min(place.start)..span.end.max(place.end)).or(Some(place));
        }
        span.unwrap_or_else(|| {
            let at = self.point(range.start);
            at..at
        })
    }

    /// The place of an empty range before byte `at`.
    fn point(&self, at: usize) -> usize {
        match at.checked_sub(1) {
            Some(before) => self.place(before).end,
            None => self.runs.first().map_or(0, |run| run.source.start),
        }
    }

    /// The source of one byte: one byte in a copy, all it stands for otherwise.
    fn place(&self, at: usize) -> Range<usize> {
        match self.runs.get(self.run_at(at)) {
            Some(run) if run.is_copy => {
                let place = (run.source.start + at.saturating_sub(run.start)).min(run.source.end);
                place..(place + 1).min(run.source.end)
            }
            Some(run) => run.source.clone(),
            None => 0..0,
        }
    }

    /// The index of the run that holds byte `at`.
    fn run_at(&self, at: usize) -> usize {
        self.runs.partition_point(|run| run.start <= at).saturating_sub(1)
    }

    fn end_of(&self, run: &Run) -> usize {
        match run.is_copy {
            true => run.start + run.source.len(),
            false => {
                let next = self.runs.partition_point(|other| other.start <= run.start);
                self.runs.get(next).map_or(self.text.len(), |next| next.start)
            }
        }
    }
}

/// What Python's `\s` calls white space: Unicode's, and the four separators of ASCII.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// What Python's `\w` calls a letter of a word.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The places where `word` stands by itself in `text`, as `\bWORD\b` finds it.
pub(super) fn whole_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    text.match_indices(word).map(move |(at, _)| at..at + word.len()).filter(|found| {
        let before = text.get(..found.start).and_then(|before| before.chars().next_back());
        let after = text.get(found.end..).and_then(|after| after.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_joins_keep_the_places() {
        let source = "red # note\nfox";
        let mut traced = Traced::new(source).slice(0..4);
        traced.push_for("\n", 4..11);
        traced.push_copy("fox", 11);
        assert_eq!(traced.text(), "red \nfox");
        assert_eq!(traced.span(0..3), 0..3);
        assert_eq!(traced.span(0..8), 0..14);
        assert_eq!(traced.span(4..5), 4..11);
        assert_eq!(traced.span(5..8), 11..14);
        assert_eq!(traced.span(8..8), 14..14);
        let again = traced.slice(3..6);
        assert_eq!((again.text(), again.span(0..3)), (" \nf", 3..12));
        assert_eq!(Traced::default().span(0..0), 0..0);
    }

    #[test]
    fn words_stand_by_themselves() {
        assert_eq!(whole_words("AND BAND AND_ (AND) ANDé", "AND").collect::<Vec<_>>(), [0..3, 15..18]);
    }
}
