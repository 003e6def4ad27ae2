//! Modifiers: phrases such as "pencil sketch" that are appended to a prompt and taken out again.

use std::ops::Range;

use super::find::length_of_match;
use super::phrase::SEPARATORS;

/// Whether `modifier` is in the prompt as a phrase of its own, whatever its case.
pub fn contains(prompt: &str, modifier: &str) -> bool {
    find(prompt, modifier).is_some()
}

/// `prompt` with `modifier` as its last phrase; unchanged if it is already one of them.
pub fn add(prompt: &str, modifier: &str) -> String {
    if contains(prompt, modifier) {
        return prompt.to_owned();
    }
    let trimmed = prompt.trim_end().trim_end_matches(',').trim_end();
    if trimmed.is_empty() { modifier.trim().to_owned() } else { format!("{trimmed}, {}", modifier.trim()) }
}

/// `prompt` without the phrase `modifier`, as often as it is there; the rest keeps its order and spelling.
pub fn remove(prompt: &str, modifier: &str) -> String {
    let mut rest = prompt.to_owned();
    while let Some(found) = find(&rest, modifier) {
        let (before, after) = (rest.get(..found.start).unwrap_or_default(), rest.get(found.end..).unwrap_or_default());
        // One of the two separators beside it goes with it: the one before, or else the one after.
        rest = match before.trim_end().strip_suffix(SEPARATORS) {
            Some(kept) => format!("{kept}{after}"),
            None => after.trim_start().strip_prefix(SEPARATORS).unwrap_or(after).trim_start().to_owned(),
        };
    }
    rest
}

/// Adds or removes.
pub fn toggle(prompt: &str, modifier: &str) -> String {
    if contains(prompt, modifier) { remove(prompt, modifier) } else { add(prompt, modifier) }
}

/// Where `modifier` stands between separators or the ends of the prompt. A modifier may hold separators itself ("f/1.8").
fn find(prompt: &str, modifier: &str) -> Option<Range<usize>> {
    let modifier = modifier.trim();
    if modifier.is_empty() {
        return None;
    }
    let starts = prompt.char_indices().map(|(at, _)| at);
    starts.filter_map(|start| Some(start..start + length_of_match(prompt.get(start..)?, modifier)?)).find(|found| {
        let before = prompt.get(..found.start).unwrap_or_default().trim_end_matches(is_blank);
        let after = prompt.get(found.end..).unwrap_or_default().trim_start_matches(is_blank);
        (before.is_empty() || before.ends_with(SEPARATORS)) && (after.is_empty() || after.starts_with(SEPARATORS))
    })
}

/// White space that does not separate phrases.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && !SEPARATORS.contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_modifier_comes_and_goes() {
        assert_eq!(add("a fox", "pencil sketch"), "a fox, pencil sketch");
        assert_eq!(add("a fox, ", "foggy"), "a fox, foggy");
        assert_eq!(add("", "foggy"), "foggy");
        assert_eq!(add("a fox, Foggy", "foggy"), "a fox, Foggy");
        assert_eq!(remove("a fox, foggy, at sea", "foggy"), "a fox, at sea");
        assert_eq!(remove("foggy", "foggy"), "");
        assert_eq!(toggle(&toggle("a fox", "foggy"), "foggy"), "a fox");
        assert_eq!(remove("a fox; foggy", "foggy"), "a fox");
        assert_eq!(remove("a fox, foggy.", "foggy"), "a fox.");
        assert_eq!(remove("Foggy, a fox, foggy", "foggy"), "a fox");
        assert_eq!(toggle("a fox, f/1.8 bokeh", "f/1.8 bokeh"), "a fox");
        assert!(!contains("a foggy day", "foggy"));
    }

    proptest! {
        #[test]
        fn adding_makes_it_contained(prompt in "[a-z ,;\n]{0,40}", modifier in "[a-z]{1,8}( [a-z]{1,8})?") {
            prop_assert!(contains(&add(&prompt, &modifier), &modifier));
        }

        #[test]
        fn toggling_always_changes_whether_it_is_contained(prompt in "[a-c ,;.\n|\u{e4}\u{130}]{0,40}", modifier in "[a-c][a-c .,]{0,4}[a-c]?") {
            let was = contains(&prompt, &modifier);
            prop_assert_eq!(contains(&toggle(&prompt, &modifier), &modifier), !was);
        }
    }
}
