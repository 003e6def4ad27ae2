//! The little English that captions need: articles, plurals, and relations turned round.

use super::world::World;

const RELATIONS: [(&str, &str); 4] = [
    (" to the left of ", " to the right of "),
    (" to the right of ", " to the left of "),
    (" above ", " below "),
    (" below ", " above "),
];

/// `noun` with its indefinite article; plural things and stuffs have none.
pub(super) fn with_article(world: &World, noun: &str) -> String {
    if noun.split(' ').next_back().is_some_and(|last| world.plural_only.contains(last)) {
        return noun.to_owned();
    }
    let is_spoken_with_y = noun.starts_with("uni") || noun.starts_with("ufo");
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) && !is_spoken_with_y { "an" } else { "a" };
    format!("{article} {noun}")
}

/// More than one `noun`.
pub(super) fn plural(world: &World, noun: &str) -> String {
    if world.plural_only.contains(noun) {
        return noun.to_owned();
    }
    if let Some(plural) = world.irregular_plurals.get(noun) {
        return plural.clone();
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// `text` with its relation turned round ("left" for "right", "above" for "below"); `None` if it has none.
pub(super) fn reversed_relation(text: &str) -> Option<String> {
    RELATIONS.iter().find(|(word, _)| text.contains(word)).map(|(word, other)| text.replace(word, other))
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_captions_that_training_saw() {
        let world = World::load().unwrap();
        for (noun, one, more) in [
            ("apple", "an apple", "apples"),
            ("unicorn", "a unicorn", "unicorns"),
            ("cherries", "cherries", "cherries"),
            ("goose", "a goose", "geese"),
            ("fox", "a fox", "foxes"),
            ("strawberry", "a strawberry", "strawberries"),
            ("key", "a key", "keys"),
            ("flat design", "a flat design", "flat designs"),
        ] {
            assert_eq!((with_article(&world, noun), plural(&world, noun)), (one.to_owned(), more.to_owned()));
        }
        assert_eq!(reversed_relation("a cat above an ox").unwrap(), "a cat below an ox");
        assert_eq!(reversed_relation("a cat to the left of an ox").unwrap(), "a cat to the right of an ox");
        assert_eq!(reversed_relation("a cat and an ox"), None);
    }
}
