//! Weighted fragments of a prompt, packed into the chunks that a text tower reads one at a time (A1111's rules).
//!
//! Fragments are tokenized apart from each other. A full chunk is broken after its last comma if that is near its end;
//! `BREAK` ends a chunk early. There is always at least one chunk.

use super::words::{self, Piece, Word};
use crate::models::Result;
use crate::models::tokenizer::ClipTokenizer;
use crate::prompt::emphasis::Fragment;

/// A comma among this many last tokens of a full chunk is where the chunk ends.
const BACK_TRACK: usize = 20;

/// A token and what it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token {
    pub(super) id: u32,
    pub(super) weight: f64,
    /// Which of the fragments it comes from.
    pub(super) fragment: usize,
    /// The bytes of the fragment's text that it stands for: from and to.
    pub(super) place: (usize, usize),
}

/// The tokens of one chunk, without the marks around them.
pub(super) type Chunk = Vec<Token>;

/// A token, or the end of a chunk.
#[derive(Debug, Clone, Copy)]
enum Item {
    Token(Token),
    /// So many tokens follow that stay together.
    Together(usize),
    Break,
}

/// Learned words, and the id of the first vector of each.
pub(super) struct Learned<'a> {
    pub(super) words: &'a [Word],
    pub(super) first_ids: &'a [u32],
}

/// The chunks of `fragments`.
pub(super) fn chunks(fragments: &[Fragment], tokenizer: &ClipTokenizer, learned: &Learned<'_>) -> Result<Vec<Chunk>> {
    let mut items = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        if fragment.is_break() {
            items.push(Item::Break);
            continue;
        }
        let token = |id, place| Item::Token(Token { id, weight: fragment.weight, fragment: index, place });
        let text_at = |text: &str, start: usize| -> Result<Vec<Item>> {
            let words = tokenizer.placed_words(text)?.into_iter();
            Ok(words.map(|(id, place)| token(id, (start + place.start, start + place.end))).collect())
        };
        if learned.words.is_empty() {
            items.extend(text_at(&fragment.text, 0)?);
            continue;
        }
        for (piece, place) in words::split(&fragment.text, learned.words) {
            match piece {
                Piece::Text(text) => items.extend(text_at(text, place.start)?),
                Piece::Word(word) => {
                    let length = learned.words.get(word).map_or(0, |word| word.embedding.len());
                    let first = learned.first_ids.get(word).copied().unwrap_or(0);
                    items.push(Item::Together(length));
                    items.extend((first..first + length as u32).map(|id| token(id, (place.start, place.end))));
                }
            }
        }
    }
    let comma = match tokenizer.words(",")?.as_slice() {
        [comma] => Some(*comma),
        _ => None,
    };
    Ok(pack(&items, tokenizer.limit(), comma))
}

fn pack(items: &[Item], limit: usize, comma: Option<u32>) -> Vec<Chunk> {
    let (mut chunks, mut chunk) = (Vec::new(), Chunk::new());
    for item in items {
        let token = match item {
            Item::Token(token) => *token,
            // A word that is longer than any chunk is broken all the same.
            Item::Together(length) => {
                if chunk.len() + length > limit && !chunk.is_empty() {
                    chunks.push(std::mem::take(&mut chunk));
                }
                continue;
            }
            Item::Break => {
                chunks.push(std::mem::take(&mut chunk));
                continue;
            }
        };
        if chunk.len() >= limit {
            // A comma itself begins the next chunk.
            let rest = if Some(token.id) == comma { Chunk::new() } else { behind_comma(&mut chunk, comma) };
            chunks.push(std::mem::replace(&mut chunk, rest));
        }
        chunk.push(token);
    }
    if !chunk.is_empty() || chunks.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// Takes off what is behind the last comma, if that is near enough to the end.
fn behind_comma(chunk: &mut Chunk, comma: Option<u32>) -> Chunk {
    match chunk.iter().rposition(|token| Some(token.id) == comma) {
        Some(at) if chunk.len() - at <= BACK_TRACK => chunk.split_off(at + 1),
        _ => Chunk::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs into chunks of `limit`: `,` is the comma, `|` is `BREAK`, anything else is a token.
    fn packed(text: &str, limit: usize) -> Vec<String> {
        let item = |c: char| match c {
            '|' => Item::Break,
            _ => Item::Token(Token { id: c.into(), weight: 1.0, fragment: 0, place: (0, 0) }),
        };
        let items: Vec<Item> = text.chars().map(item).collect();
        let letter = |token: &Token| char::from_u32(token.id).unwrap_or('?');
        pack(&items, limit, Some(','.into())).iter().map(|chunk| chunk.iter().map(letter).collect()).collect()
    }

    #[test]
    fn full_chunks_end_after_a_comma_that_is_near() {
        assert_eq!(packed("", 5), [""]);
        assert_eq!(packed("abcde", 5), ["abcde"]);
        assert_eq!(packed("abcdef", 5), ["abcde", "f"]);
        assert_eq!(packed("ab,defg", 5), ["ab,", "defg"]);
        // The comma that finds the chunk full begins the next one.
        assert_eq!(packed("a,cde,f", 5), ["a,cde", ",f"]);
        assert_eq!(packed("abcd,f", 5), ["abcd,", "f"]);
        // What was moved holds no comma, so it is not moved again.
        assert_eq!(packed(",bcdefghij", 5), [",", "bcdef", "ghij"]);
        let far = format!("{},{}", "a".repeat(29), "b".repeat(31));
        assert_eq!(packed(&far, 50)[0].len(), 50);
        let near = format!("{},{}", "a".repeat(30), "b".repeat(31));
        assert_eq!(packed(&near, 50)[0].len(), 31);
    }

    #[test]
    fn break_ends_a_chunk() {
        assert_eq!(packed("ab|cd", 5), ["ab", "cd"]);
        assert_eq!(packed("|ab|", 5), ["", "ab"]);
        assert_eq!(packed("|", 5), [""]);
        assert_eq!(packed("abcde|f", 5), ["abcde", "f"]);
    }
}
