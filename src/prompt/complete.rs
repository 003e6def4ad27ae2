//! What could be meant by the beginning that was just typed: wildcards behind `__`, extra networks behind `<`, embeddings
//! behind `embedding:`, and for other words modifiers and tags.
//!
//! Finding what is being typed and ranking what fits are functions of text; where the names come from is the caller's.

use std::ops::Range;

use super::tags::{Fit, Tags};

/// Letters from which on ordinary words are completed.
const SHORTEST_WORD: usize = 2;

/// What kind of thing is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A phrase of the library, or a tag.
    Word,
    /// A wildcard.
    Wildcard,
    /// A LoRA.
    Lora,
    /// A learned word.
    Embedding,
}

/// What is being typed at the caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// What kind of thing it begins.
    pub kind: Kind,
    /// The beginning of the name: "col" of `__col`.
    pub name: String,
    /// What a completion replaces, in bytes: `__col`.
    pub span: Range<usize>,
}

/// What a name stands for that files give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The words that it was made to answer to.
    pub triggers: Vec<String>,
    /// The weight that its maker prefers, as written.
    pub weight: Option<String>,
}

/// Where the names come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Phrases and the name of their category.
    pub modifiers: &'a [(String, String)],
    /// Names of wildcards and their number of options.
    pub wildcards: &'a [(String, usize)],
    /// LoRA files.
    pub loras: &'a [Named],
    /// Learned words.
    pub embeddings: &'a [Named],
    /// Tags.
    pub tags: &'a Tags,
}

/// Something that could be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What replaces the span.
    pub insert: String,
    /// What the list shows.
    pub label: String,
    /// What it shows beside it: where it comes from, how often it is used.
    pub detail: String,
}

/// What is being typed before byte `caret`; `None` if nothing that could be completed.
pub fn typed_at(text: &str, caret: usize) -> Option<Typed> {
    let before = text.get(..caret)?;
    let line = before.get(before.rfind('\n').map_or(0, |at| at + 1)..)?;
    let line_start = caret - line.len();
    if line.contains('#') {
        return None;
    }
    let typed = |kind, at: usize, mark: usize| {
        let name = line.get(at + mark..)?.to_owned();
        Some(Typed { kind, name, span: line_start + at..caret })
    };
    if let Some(at) = open_wildcard(line) {
        return typed(Kind::Wildcard, at, 2);
    }
    if let Some(at) = line.rfind('<').filter(|at| !line.get(*at..).unwrap_or_default().contains('>')) {
        let inside = line.get(at + 1..)?;
        if let Some(name) = inside.strip_prefix("lora:") {
            return if name.contains(':') { None } else { typed(Kind::Lora, at, 6) };
        }
        if "lora:".starts_with(inside) {
            return Some(Typed { kind: Kind::Lora, name: String::new(), span: line_start + at..caret });
        }
    }
    let is_end = |c: char| ",;|()[]{}<>:.".contains(c);
    let start = line.rfind(is_end).map_or(0, |at| at + 1);
    let mark = "embedding:";
    if let Some(at) = line.rfind(mark)
        && line.get(at + mark.len()..).is_some_and(|name| !name.contains(is_end) && !name.contains(' '))
    {
        return typed(Kind::Embedding, at, mark.len());
    }
    let phrase = line.get(start..)?;
    let at = start + phrase.len() - phrase.trim_start().len();
    let name = line.get(at..)?;
    (name.chars().count() >= SHORTEST_WORD && !name.ends_with(' ')).then(|| typed(Kind::Word, at, 0))?
}

/// Where an open `__` stands at the end of `line`.
fn open_wildcard(line: &str) -> Option<usize> {
    let at = line.rfind("__")?;
    let name = line.get(at + 2..)?;
    let is_name = |c: char| c.is_alphanumeric() || "-_/*.".contains(c);
    if !name.chars().all(is_name) {
        return None;
    }
    // Every second one closes the one before it.
    let phrase = line.rfind([',', ' ', '{', '|', '(']).map_or(0, |start| start + 1);
    let marks = line.get(phrase.min(at)..at)?.matches("__").count();
    (marks % 2 == 0).then_some(at)
}

/// The `most` best completions, best first.
pub fn candidates(typed: &Typed, sources: &Sources<'_>, most: usize) -> Vec<Candidate> {
    match typed.kind {
        Kind::Wildcard => named(
            &typed.name,
            sources.wildcards.iter().map(|(name, count)| {
                let detail = if *count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
                (name.as_str(), Candidate { insert: format!("__{name}__"), label: name.clone(), detail })
            }),
            most,
        ),
        Kind::Lora => {
            named(&typed.name, sources.loras.iter().map(|lora| (lora.name.as_str(), lora_candidate(lora))), most)
        }
        Kind::Embedding => {
            named(&typed.name, sources.embeddings.iter().map(|one| (one.name.as_str(), embedding_candidate(one))), most)
        }
        Kind::Word => words(&typed.name, sources, most),
    }
}

fn lora_candidate(lora: &Named) -> Candidate {
    let weight = lora.weight.as_deref().unwrap_or("1");
    let triggers = lora.triggers.join(", ");
    let space = if triggers.is_empty() { "" } else { " " };
    Candidate {
        insert: format!("<lora:{}:{weight}>{space}{triggers}", lora.name),
        label: lora.name.clone(),
        detail: if triggers.is_empty() { "LoRA".to_owned() } else { triggers },
    }
}

fn embedding_candidate(one: &Named) -> Candidate {
    let triggers = one.triggers.join(", ");
    Candidate {
        insert: format!("embedding:{}", one.name),
        label: one.name.clone(),
        detail: if triggers.is_empty() { "embedding".to_owned() } else { triggers },
    }
}

/// Modifiers, embeddings and tags. What begins with the words comes before what only holds them.
fn words(typed: &str, sources: &Sources<'_>, most: usize) -> Vec<Candidate> {
    let wanted = typed.to_lowercase();
    let mut ranked: Vec<((Fit, u8), std::cmp::Reverse<u64>, Candidate)> = Vec::new();
    for (text, category) in sources.modifiers {
        // What is there already needs no completion.
        if let Some(fit) = fit(&text.to_lowercase(), &wanted).filter(|fit| *fit != Fit::Whole) {
            let candidate = Candidate { insert: text.clone(), label: text.clone(), detail: category.clone() };
            ranked.push(((fit, 0), std::cmp::Reverse(0), candidate));
        }
    }
    for one in sources.embeddings {
        if let Some(fit) = fit(&one.name.to_lowercase(), &wanted) {
            ranked.push(((fit, 1), std::cmp::Reverse(0), embedding_candidate(one)));
        }
    }
    for found in sources.tags.search(typed, most).into_iter().filter(|found| found.fit != Fit::Whole) {
        let label = match found.alias {
            Some(alias) => format!("{} ({alias})", found.tag.name),
            None => found.tag.name.clone(),
        };
        let candidate = Candidate { insert: plain_tag(&found.tag.name), label, detail: short_count(found.tag.count) };
        ranked.push(((found.fit, 2), std::cmp::Reverse(found.tag.count), candidate));
    }
    ranked.sort_by_key(|(fit, count, _)| (*fit, *count));
    ranked.into_iter().take(most).map(|(_, _, candidate)| candidate).collect()
}

fn named<'a>(typed: &str, all: impl Iterator<Item = (&'a str, Candidate)>, most: usize) -> Vec<Candidate> {
    let wanted = typed.to_lowercase();
    let mut ranked: Vec<(Fit, usize, Candidate)> = all
        .filter_map(|(name, candidate)| {
            let name = name.to_lowercase();
            let fit = match wanted.is_empty() {
                true => Fit::Start,
                false => fit(&name, &wanted).or_else(|| name.contains(&wanted).then_some(Fit::Word))?,
            };
            Some((fit, name.len(), candidate))
        })
        .collect();
    ranked.sort_by(|a, b| (a.0, a.1, &a.2.label).cmp(&(b.0, b.1, &b.2.label)));
    ranked.into_iter().take(most).map(|(.., candidate)| candidate).collect()
}

/// How well `name` fits `wanted`, both in lower case.
fn fit(name: &str, wanted: &str) -> Option<Fit> {
    if name == wanted {
        return Some(Fit::Whole);
    }
    if name.starts_with(wanted) {
        return Some(Fit::Start);
    }
    let starts_word =
        |at: usize| name.get(..at).and_then(|before| before.chars().next_back()).is_some_and(|c| !c.is_alphanumeric());
    name.match_indices(wanted).any(|(at, _)| starts_word(at)).then_some(Fit::Word)
}

/// A tag as words: no underscores, brackets as text.
fn plain_tag(name: &str) -> String {
    // Faces such as ">_<" are left as they are.
    let spaced = if name.chars().any(char::is_alphabetic) { name.replace('_', " ") } else { name.to_owned() };
    spaced.replace('(', "\\(").replace(')', "\\)")
}

fn short_count(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        1000..1_000_000 => format!("{:.1}k", count as f64 / 1e3),
        _ => format!("{:.1}M", count as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Option<(Kind, String, usize)> {
        typed_at(text, text.len()).map(|typed| (typed.kind, typed.name, typed.span.start))
    }

    #[test]
    fn what_is_typed_is_told_by_what_is_before_it() {
        assert_eq!(typed("a __col"), Some((Kind::Wildcard, "col".to_owned(), 2)));
        assert_eq!(typed("__"), Some((Kind::Wildcard, String::new(), 0)));
        assert_eq!(typed("__a__ fo"), Some((Kind::Word, "__a__ fo".to_owned(), 0)));
        assert_eq!(typed("__a__"), Some((Kind::Word, "__a__".to_owned(), 0)));
        assert_eq!(typed("a <lora:in"), Some((Kind::Lora, "in".to_owned(), 2)));
        assert_eq!(typed("a <lo"), Some((Kind::Lora, String::new(), 2)));
        assert_eq!(typed("<lora:ink:0."), None);
        assert_eq!(typed("<lora:ink:0.8> fo"), Some((Kind::Word, "fo".to_owned(), 15)));
        assert_eq!(typed("(embedding:go"), Some((Kind::Embedding, "go".to_owned(), 1)));
        assert_eq!(typed("a fox, (soft li"), Some((Kind::Word, "soft li".to_owned(), 8)));
        assert_eq!(typed("a fox, s"), None);
        assert_eq!(typed("a fox "), None);
        assert_eq!(typed("# fo"), None);
        assert_eq!(typed("é, übe"), Some((Kind::Word, "übe".to_owned(), 4)));
    }

    fn check(text: &str, wanted: &[&str]) {
        let (tags, _) = Tags::parse([("t", "soft_focus,0,5000\nsoft_(artist),1,20\nlong_hair,0,9,lh")]);
        let modifier = |text: &str| (text.to_owned(), "Light".to_owned());
        let named = |name: &str, triggers: &[&str]| Named {
            name: name.to_owned(),
            triggers: triggers.iter().map(ToString::to_string).collect(),
            weight: None,
        };
        let sources = Sources {
            modifiers: &[modifier("golden hour"), modifier("soft light"), modifier("foggy")],
            wildcards: &[("colour".to_owned(), 3), ("animal/cold".to_owned(), 1)],
            loras: &[named("sea-ink", &[]), named("ink", &["ink drawing", "lines"])],
            embeddings: &[named("goodhands", &[])],
            tags: &tags,
        };
        let typed = typed_at(text, text.len());
        let found = typed.map(|typed| candidates(&typed, &sources, 3)).unwrap_or_default();
        assert_eq!(found.iter().map(|candidate| candidate.insert.as_str()).collect::<Vec<_>>(), wanted, "{text:?}");
    }

    #[test]
    fn the_best_candidate_comes_first() {
        check("__co", &["__colour__", "__animal/cold__"]);
        check("__", &["__colour__", "__animal/cold__"]);
        check("<lora:in", &["<lora:ink:1> ink drawing, lines", "<lora:sea-ink:1>"]);
        check("embedding:g", &["embedding:goodhands"]);
        check("a, soft", &["soft light", "soft focus", "soft \\(artist\\)"]);
        check("go", &["golden hour", "embedding:goodhands"]);
        check("hour", &["golden hour"]);
        check("lh", &["long hair"]);
        check("foggy", &[]);
    }
}
