//! Learned words (textual inversions): where a prompt names one, its vectors take the place of tokens.
//!
//! A word is named by what its file calls it or by the file's name, in any case, alone or as `embedding:name` (ComfyUI) or `<name>`
//! (InvokeAI).

use std::ops::Range;

use crate::base::task::TaskCx;
use crate::job::lora::EmbeddingUse;
use crate::models::embedding::Embedding;
use crate::models::error::{ModelError, Result};
use crate::models::files::sha256_of;
use crate::prompt::named;

/// A learned word.
#[derive(Debug, Clone)]
pub struct Word {
    /// In small letters.
    names: Vec<String>,
    /// Its vectors.
    pub(super) embedding: Embedding,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// To be tokenized.
    Text(&'a str),
    /// A learned word, by index.
    Word(usize),
}

impl Word {
    /// Reads the file of `wanted`.
    ///
    /// # Errors
    /// If it is no textual inversion, or not the file that the job was made for.
    pub fn load(wanted: &EmbeddingUse, cx: &TaskCx<'_>) -> Result<Self> {
        let embedding = Embedding::load(&wanted.path)?;
        if sha256_of(&wanted.path, cx)? != wanted.sha256 {
            let reason = "it is not the file that this job was made for; choose it again".to_owned();
            return Err(ModelError::BadFile { path: wanted.path.clone(), reason });
        }
        let stem = wanted.path.file_stem().map(|stem| stem.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let mut names = vec![embedding.name.to_ascii_lowercase(), stem];
        names.retain(|name| !name.trim().is_empty());
        names.dedup();
        Ok(Self { names, embedding })
    }

    /// Whether `text` names it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        next(text, std::slice::from_ref(self)).is_some()
    }
}

/// `text` with the learned words in it set apart, each piece with its bytes.
pub(super) fn split<'a>(text: &'a str, words: &[Word]) -> Vec<(Piece<'a>, Range<usize>)> {
    let (mut pieces, mut rest, mut at) = (Vec::new(), text, 0);
    while let Some((start, end, word)) = next(rest, words) {
        pieces.push((Piece::Text(&rest[..start]), at..at + start));
        pieces.push((Piece::Word(word), at + start..at + end));
        (rest, at) = (&rest[end..], at + end);
    }
    pieces.push((Piece::Text(rest), at..text.len()));
    pieces.retain(|(piece, _)| !matches!(piece, Piece::Text(text) if text.trim().is_empty()));
    pieces
}

/// The first name in `text`, the longest if several begin there: from where to where, marks included, and of which word.
fn next(text: &str, words: &[Word]) -> Option<(usize, usize, usize)> {
    // Only ASCII letters become small, so places stay the same.
    let small = text.to_ascii_lowercase();
    let named = words.iter().enumerate().flat_map(|(index, word)| word.names.iter().map(move |name| (index, name)));
    let places = named.filter_map(|(index, name)| {
        let at = named::alone(&small, name)?;
        Some((at, at + name.len(), index))
    });
    let (mut start, mut end, word) = places.min_by_key(|(start, end, _)| (*start, usize::MAX - end))?;
    if small[..start].ends_with(named::MARK) {
        start -= named::MARK.len();
    } else if small[..start].ends_with('<') && small[end..].starts_with('>') {
        (start, end) = (start - 1, end + 1);
    }
    Some((start, end, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words() -> Vec<Word> {
        let word = |names: &[&str]| Word {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            embedding: Embedding { name: String::new(), vectors: Vec::new() },
        };
        vec![word(&["mood", "bad-mood"]), word(&["<cat-toy>"]), word(&["mood light"])]
    }

    fn shown(text: &str) -> String {
        let show = |(piece, place): (Piece<'_>, Range<usize>)| match piece {
            Piece::Text(piece) => {
                assert_eq!(piece, &text[place]);
                format!("[{piece}]")
            }
            Piece::Word(index) => index.to_string(),
        };
        split(text, &words()).into_iter().map(show).collect()
    }

    #[test]
    fn names_are_found_in_every_form() {
        assert_eq!(shown("a house"), "[a house]");
        assert_eq!(shown(""), "");
        assert_eq!(shown("mood"), "0");
        assert_eq!(shown("a Mood, a <cat-toy>!"), "[a ]0[, a ]1[!]");
        assert_eq!(shown("embedding:mood, x"), "0[, x]");
        assert_eq!(shown("<mood><mood>"), "00");
        assert_eq!(shown("moody mood_ amood"), "[moody mood_ amood]");
        assert_eq!(shown("moody mood"), "[moody ]0");
        assert_eq!(shown("mood light"), "2");
        assert_eq!(shown("bad-mood"), "0");
        assert_eq!(shown("été mood été"), "[été ]0[ été]");
    }

    proptest! {
        #[test]
        fn any_text_is_split(text in "(mood|<|>|embedding:|é| |,|cat-toy){0,12}") {
            split(&text, &words());
        }
    }
}
