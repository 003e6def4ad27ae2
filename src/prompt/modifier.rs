//! Modifiers: phrases such as "pencil sketch" that are appended to a prompt and taken out again.

use super::phrase::phrases;

/// Whether `modifier` is one of the prompt's phrases, whatever its case.
pub fn contains(prompt: &str, modifier: &str) -> bool {
    phrases(prompt).any(|phrase| same(phrase, modifier))
}

/// `prompt` with `modifier` as its last phrase; unchanged if it is already one of them.
pub fn add(prompt: &str, modifier: &str) -> String {
    if contains(prompt, modifier) {
        return prompt.to_owned();
    }
    let trimmed = prompt.trim_end().trim_end_matches(',').trim_end();
    if trimmed.is_empty() { modifier.trim().to_owned() } else { format!("{trimmed}, {}", modifier.trim()) }
}

/// `prompt` without the phrase `modifier`; the rest keeps its order and spelling.
pub fn remove(prompt: &str, modifier: &str) -> String {
    let mut kept = Vec::new();
    let mut removed = false;
    for part in prompt.split(',') {
        if same(part, modifier) {
            removed = true;
        } else {
            kept.push(part);
        }
    }
    if !removed {
        return prompt.to_owned();
    }
    let joined = kept.join(",");
    joined.trim().trim_matches(',').trim().to_owned()
}

/// Adds or removes.
pub fn toggle(prompt: &str, modifier: &str) -> String {
    if contains(prompt, modifier) { remove(prompt, modifier) } else { add(prompt, modifier) }
}

fn same(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
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
    }

    proptest! {
        #[test]
        fn adding_makes_it_contained(prompt in "[a-z ,;\n]{0,40}", modifier in "[a-z]{1,8}( [a-z]{1,8})?") {
            prop_assert!(contains(&add(&prompt, &modifier), &modifier));
        }
    }
}
