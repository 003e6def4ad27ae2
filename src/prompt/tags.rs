//! Lists of tags with aliases and counts, in the form of a1111-sd-webui-tagcomplete: `tag,category,count,"alias1,alias2"`, one
//! a line, without a header. Searching by the beginning of any word takes microseconds in lists of hundreds of thousands.
//!
//! What a line lacks is empty; a line without a tag is left out. Opening files is `store`'s.

/// Tags of one search are looked at up to this number; those beyond come later in the alphabet.
const MOST_LOOKED_AT: usize = 60_000;

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// As in the file: "long_hair".
    pub name: String,
    /// What kind it is; the meaning of the numbers is the file's.
    pub category: i32,
    /// How often it was given.
    pub count: u64,
}

/// How well a tag fits what was typed; better ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It is what was typed.
    Whole,
    /// It begins with it.
    Start,
    /// Another name for it begins with it.
    Alias,
    /// One of its words begins with it.
    Word,
}

/// A tag that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// The tag.
    pub tag: &'a Tag,
    /// How well.
    pub fit: Fit,
    /// The other name that fits, if it is one.
    pub alias: Option<&'a str>,
}

/// A name by which a tag is found.
#[derive(Debug)]
struct Name {
    /// In lower case, with spaces.
    text: Box<str>,
    tag: u32,
    is_alias: bool,
}

/// Tags, sorted for searching.
#[derive(Debug, Default)]
pub struct Tags {
    tags: Vec<Tag>,
    names: Vec<Name>,
    /// For each beginning of a word: the name and the byte, sorted by the text from there on.
    words: Vec<(u32, u32)>,
}

impl Tags {
    /// Reads files, given as name and contents. Returns the tags, and how many lines of a file were not usable.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<String>) {
        let (mut tags, mut warnings) = (Self::default(), Vec::new());
        for (file, text) in files {
            let unread = tags.add(text);
            if unread > 0 {
                warnings.push(format!(
                    "{unread} lines are not of the form tag,category,count,\"aliases\" and are left out: {file}"
                ));
            }
        }
        tags.sort();
        (tags, warnings)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    fn add(&mut self, text: &str) -> usize {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut unread = 0;
        for record in reader.records() {
            let Ok(record) = record else {
                unread += 1;
                continue;
            };
            let field = |index: usize| record.get(index).unwrap_or_default().trim();
            let number = u32::try_from(self.tags.len()).unwrap_or(u32::MAX);
            if field(0).is_empty() || number == u32::MAX {
                unread += 1;
                continue;
            }
            self.name(field(0), number, false);
            for alias in field(3).split(',').map(str::trim).filter(|alias| !alias.is_empty()) {
                self.name(alias, number, true);
            }
            self.tags.push(Tag {
                name: field(0).to_owned(),
                category: field(1).parse().unwrap_or_default(),
                count: field(2).parse().unwrap_or_default(),
            });
        }
        unread
    }

    fn name(&mut self, name: &str, tag: u32, is_alias: bool) {
        let index = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let text = normal(name);
        let mut is_start = true;
        for (at, c) in text.char_indices() {
            if is_start && c != ' ' {
                self.words.push((index, u32::try_from(at).unwrap_or(u32::MAX)));
            }
            is_start = matches!(c, ' ' | '(' | '-');
        }
        self.names.push(Name { text: text.into(), tag, is_alias });
    }

    fn sort(&mut self) {
        let names = &self.names;
        self.words.sort_unstable_by(|a, b| from(names, *a).cmp(from(names, *b)));
    }

    /// The `most` best tags for what was typed, best first: by fit, then by count.
    pub fn search(&self, typed: &str, most: usize) -> Vec<Found<'_>> {
        let typed = normal(typed.trim());
        if typed.is_empty() {
            return Vec::new();
        }
        let start = self.words.partition_point(|word| from(&self.names, *word) < typed.as_str());
        let fitting = self.words.get(start..).unwrap_or_default();
        let fitting =
            fitting.iter().take(MOST_LOOKED_AT).take_while(|word| from(&self.names, **word).starts_with(&*typed));
        let mut best: Vec<(Fit, std::cmp::Reverse<u64>, u32, u32)> = Vec::new();
        for (index, at) in fitting {
            let Some(name) = self.names.get(*index as usize) else { continue };
            let Some(tag) = self.tags.get(name.tag as usize) else { continue };
            let fit = match (*at, name.is_alias) {
                (0, false) if name.text.len() == typed.len() => Fit::Whole,
                (0, false) => Fit::Start,
                (0, true) => Fit::Alias,
                _ => Fit::Word,
            };
            best.push((fit, std::cmp::Reverse(tag.count), name.tag, *index));
        }
        best.sort_unstable();
        let mut seen = std::collections::HashSet::new();
        let found = best.into_iter().filter(|(_, _, tag, _)| seen.insert(*tag)).take(most);
        let found = found.filter_map(|(fit, _, tag, name)| {
            let name = self.names.get(name as usize)?;
            let alias = name.is_alias.then_some(&*name.text);
            Some(Found { tag: self.tags.get(tag as usize)?, fit, alias })
        });
        found.collect()
    }
}

/// Whether this is a list of tags: its first line has a tag and two numbers.
pub fn is_list(text: &str) -> bool {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let is_number = |field: Option<&str>| field.is_some_and(|field| field.trim().parse::<u64>().is_ok());
    let first = reader.records().next().and_then(Result::ok);
    first.is_some_and(|row| {
        row.get(0).is_some_and(|tag| !tag.is_empty()) && is_number(row.get(1)) && is_number(row.get(2))
    })
}

fn from(names: &[Name], (index, at): (u32, u32)) -> &str {
    names.get(index as usize).and_then(|name| name.text.get(at as usize..)).unwrap_or_default()
}

fn normal(name: &str) -> String {
    name.to_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> Tags {
        let text = "long_hair,0,4000,\"longhair,/lh\"\nhair_ribbon,0,900,\nhair,0,10\nvery_long_hair,0,800,\nlong_skirt,0,9000\n";
        let (tags, warnings) = Tags::parse([("a.csv", text), ("b.csv", ",0,1\nink_(style),3,x,")]);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        tags
    }

    fn names(typed: &str) -> Vec<String> {
        tags().search(typed, 4).iter().map(|found| found.tag.name.clone()).collect()
    }

    #[test]
    fn the_best_fit_comes_first_then_the_most_frequent() {
        assert_eq!(names("hair"), ["hair", "hair_ribbon", "long_hair", "very_long_hair"]);
        assert_eq!(names("Long_"), ["long_skirt", "long_hair", "very_long_hair"]);
        assert_eq!(names("long h"), ["long_hair", "very_long_hair"]);
        assert_eq!(names("style"), ["ink_(style)"]);
        assert_eq!(names("x"), [""; 0]);
        assert_eq!(names(" "), [""; 0]);
    }

    #[test]
    fn aliases_lead_to_their_tag() {
        let tags = tags();
        let found = tags.search("longh", 3);
        assert_eq!(
            (found[0].tag.name.as_str(), found[0].alias, found[0].fit),
            ("long_hair", Some("longhair"), Fit::Alias)
        );
        assert_eq!(tags.len(), 6);
        assert!(!tags.is_empty());
    }
}
