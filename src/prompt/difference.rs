//! What differs between two texts, word by word, for showing them side by side.

use similar::{ChangeTag, TextDiff};

/// Whether a piece is in both texts or in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In both.
    Both,
    /// In the first alone.
    First,
    /// In the second alone.
    Second,
}

/// The pieces of both texts in order; neighbours of one kind are one piece.
pub fn words(first: &str, second: &str) -> Vec<(Side, String)> {
    let mut pieces: Vec<(Side, String)> = Vec::new();
    for change in TextDiff::from_words(first, second).iter_all_changes() {
        let side = match change.tag() {
            ChangeTag::Equal => Side::Both,
            ChangeTag::Delete => Side::First,
            ChangeTag::Insert => Side::Second,
        };
        match pieces.last_mut().filter(|(last, _)| *last == side) {
            Some((_, text)) => text.push_str(change.value()),
            None => pieces.push((side, change.value().to_owned())),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_words_that_differ_are_told_apart() {
        let pieces = words("a red fox in snow", "a blue fox in snow, ink");
        let text = |wanted: Side| -> String {
            pieces
                .iter()
                .filter(|(side, _)| *side == wanted)
                .map(|(_, text)| text.as_str())
                .collect::<Vec<_>>()
                .join("|")
        };
        assert_eq!(text(Side::First), "red|snow");
        assert_eq!(text(Side::Second), "blue|snow, ink");
        assert_eq!(words("", ""), []);
    }

    proptest! {
        #[test]
        fn each_text_can_be_put_together_again(first in "[a-c ,\u{ac00}]{0,20}", second in "[a-c ,\u{ac00}]{0,20}") {
            let pieces = words(&first, &second);
            let join = |other: Side| -> String {
                pieces.iter().filter(|(side, _)| *side != other).map(|(_, text)| text.as_str()).collect()
            };
            prop_assert_eq!(join(Side::Second), first);
            prop_assert_eq!(join(Side::First), second);
        }
    }
}
