//! The library that prompts are made from: modifiers, templates, styles, wildcards, class lists and zero-shot templates.
//!
//! Plain values, found by name. Reading never fails: what cannot be understood becomes a warning that names file and line, and
//! the rest is kept. Files of the user come on top of those that ship: what has the same name replaces it. Opening files is
//! `store`'s; foreign formats are `exchange`'s.

mod files;
mod own_toml;

pub use own_toml::{read_modifiers, read_templates, write_modifiers, write_templates};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::expand::wildcards::Value;
use crate::base::geom::Extent;

/// A phrase that is put into a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modifier {
    /// The phrase.
    pub text: String,
    /// What it does to a picture, in a line; empty if nobody said.
    pub about: String,
    /// Whether the built-in models were trained on it.
    pub builtin: bool,
    /// Whether it belongs into the negative prompt.
    pub negative: bool,
}

impl Modifier {
    /// A phrase that nothing is said about.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// Modifiers of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModifierCategory {
    /// The heading.
    pub name: String,
    /// The folder of its file, with `/` between folders; "" for none.
    pub folder: String,
    /// Whether a file of the user's has a part in it.
    pub is_mine: bool,
    /// The phrases.
    pub modifiers: Vec<Modifier>,
}

/// What a template asks for beside its words; `None` leaves it as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Catalogue id or path of a diffusion model.
    pub model: Option<String>,
    /// Name of a sampler, as on the command line.
    pub sampler: Option<String>,
    /// Steps of sampling.
    pub steps: Option<u32>,
    /// Guidance scale.
    pub guidance: Option<f32>,
    /// Size of the picture in pixels.
    pub size: Option<Extent>,
}

impl Settings {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it asks for, in words: "30 steps, 512 x 512 px".
    pub fn describe(&self) -> String {
        let parts = [
            self.model.as_ref().map(|model| format!("model {model}")),
            self.sampler.as_ref().map(|sampler| format!("sampler {sampler}")),
            self.steps.map(|steps| format!("{steps} steps")),
            self.guidance.map(|guidance| format!("guidance {guidance}")),
            self.size.map(|size| format!("{size} px")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// A text with a hole for the prompt (`{subject}` or `{prompt}`), and other holes with what stands in them at first
/// (`{light=softbox}`). A style is a template too: one that is mostly looks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Template {
    /// The name in the list.
    pub name: String,
    /// The text; without a hole for the prompt it goes behind the prompt.
    pub text: String,
    /// What to steer away from, beside what the user says.
    pub negative: String,
    /// What it is for, in a line; empty if nobody said.
    pub about: String,
    /// The folder of its file, with `/` between folders; "" for none.
    pub folder: String,
    /// Whether the built-in models know its words.
    pub builtin: bool,
    /// Whether it is the user's.
    pub is_mine: bool,
    /// What it asks for beside its words.
    pub settings: Settings,
}

/// A named list of lines: class names or zero-shot templates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedList {
    /// The name in the list.
    pub name: String,
    /// The lines, without comments and blanks.
    pub lines: Vec<String>,
    /// Whether it is the user's.
    pub is_mine: bool,
}

/// How the texts of [`ClassPrompts`] speak of their class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClassTexts {
    /// Whole sentences, as of CuPL (Pratt et al. 2022).
    #[default]
    Sentences,
    /// Features, as of Menon and Vondrick 2022: "a long tail".
    Descriptors,
}

/// Texts for each class of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassPrompts {
    /// The name in the list.
    pub name: String,
    /// What its texts are.
    pub texts: ClassTexts,
    /// Each class with its texts, in the order of the file.
    pub classes: Vec<(String, Vec<String>)>,
    /// Whether it is the user's.
    pub is_mine: bool,
}

impl ClassPrompts {
    /// The texts for an encoder of each of `classes`, in their order; letter case and `_` for a space do not count in names.
    /// Features become texts as Menon and Vondrick 2022 have it: "hen, which has a long tail".
    ///
    /// # Errors
    /// Which classes have no texts here, as a person would say it.
    pub fn texts_of(&self, classes: &[String]) -> Result<Vec<Vec<String>>, String> {
        let key = |name: &str| name.trim().replace('_', " ").to_lowercase();
        let known: BTreeMap<String, &Vec<String>> =
            self.classes.iter().map(|(class, texts)| (key(class), texts)).collect();
        let missing: Vec<String> = classes.iter().filter(|class| !known.contains_key(&key(class))).cloned().collect();
        if !missing.is_empty() {
            let more = if missing.len() > 5 { format!(" and {} more", missing.len() - 5) } else { String::new() };
            let first: Vec<&str> = missing.iter().take(5).map(String::as_str).collect();
            return Err(format!("\"{}\" has no texts for {}{more}", self.name, first.join(", ")));
        }
        let of = |class: &String| {
            let texts = known.get(&key(class)).copied().cloned().unwrap_or_default();
            match self.texts {
                ClassTexts::Sentences => texts,
                ClassTexts::Descriptors => texts.iter().map(|feature| described(class, feature)).collect(),
            }
        };
        Ok(classes.iter().map(of).collect())
    }
}

/// A class with one of its features.
fn described(class: &str, feature: &str) -> String {
    let feature = feature.trim();
    let lower = feature.to_lowercase();
    let starts = |words: &[&str]| words.iter().any(|word| lower.starts_with(word));
    let link = match () {
        () if starts(&["a ", "an ", "used "]) => "which is ",
        () if starts(&["has ", "often ", "typically ", "may ", "can "]) => "which ",
        () => "which has ",
    };
    format!("{class}, {link}{feature}")
}

/// A wildcard's options.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WildcardList {
    /// The options, each in the grammar of templates.
    pub values: Vec<Value>,
    /// Whether it is the user's.
    pub is_mine: bool,
}

/// Everything that can be picked from, or one file's part of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Library {
    /// Modifiers by category.
    pub modifiers: Vec<ModifierCategory>,
    /// Prompt templates.
    pub templates: Vec<Template>,
    /// Looks that are laid over a prompt.
    pub styles: Vec<Template>,
    /// Options by the name that stands between `__`.
    pub wildcards: BTreeMap<String, WildcardList>,
    /// Lists of class names.
    pub classes: Vec<NamedList>,
    /// Lists of zero-shot templates.
    pub zero_shot: Vec<NamedList>,
    /// Texts for single classes.
    pub class_prompts: Vec<ClassPrompts>,
}

impl Library {
    /// Reads preset files, given as path inside the presets folder and contents, in the order of their paths.
    /// Returns the library and a warning for each thing that could not be used.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<String>) {
        let (mut library, mut warnings) = (Self::default(), Vec::new());
        for (path, text) in files {
            let (part, more) = files::read(path, text);
            library.add(part);
            warnings.extend(more.into_iter().map(|warning| format!("{warning}: {path}")));
        }
        (library, warnings)
    }

    /// Lays `part` on top: what has the same name is replaced in its place, categories of the same name become one.
    pub fn add(&mut self, part: Self) {
        for category in part.modifiers {
            match self.modifiers.iter_mut().find(|known| known.name == category.name) {
                Some(known) => known.add(category),
                None => self.modifiers.push(category),
            }
        }
        lay_over(&mut self.templates, part.templates, |template| &template.name);
        lay_over(&mut self.styles, part.styles, |style| &style.name);
        lay_over(&mut self.classes, part.classes, |list| &list.name);
        lay_over(&mut self.zero_shot, part.zero_shot, |list| &list.name);
        lay_over(&mut self.class_prompts, part.class_prompts, |prompts| &prompts.name);
        self.wildcards.extend(part.wildcards);
    }

    /// Says of everything in it that it is the user's.
    #[must_use]
    pub fn of_the_user(mut self) -> Self {
        self.modifiers.iter_mut().for_each(|category| category.is_mine = true);
        self.templates.iter_mut().chain(&mut self.styles).for_each(|template| template.is_mine = true);
        self.classes.iter_mut().chain(&mut self.zero_shot).for_each(|list| list.is_mine = true);
        self.class_prompts.iter_mut().for_each(|prompts| prompts.is_mine = true);
        self.wildcards.values_mut().for_each(|list| list.is_mine = true);
        self
    }

    /// Only what is the user's.
    #[must_use]
    pub fn only_mine(mut self) -> Self {
        self.modifiers.retain(|category| category.is_mine);
        self.templates.retain(|template| template.is_mine);
        self.styles.retain(|style| style.is_mine);
        self.classes.retain(|list| list.is_mine);
        self.zero_shot.retain(|list| list.is_mine);
        self.class_prompts.retain(|prompts| prompts.is_mine);
        self.wildcards.retain(|_, list| list.is_mine);
        self
    }

    /// The modifier of this text.
    pub fn modifier(&self, text: &str) -> Option<&Modifier> {
        self.modifiers.iter().flat_map(|category| &category.modifiers).find(|modifier| modifier.text == text)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it holds, counted: "12 styles, 3 wildcards".
    pub fn describe(&self) -> String {
        let modifiers = self.modifiers.iter().map(|category| category.modifiers.len()).sum();
        let counts = [
            (modifiers, "modifier", "modifiers"),
            (self.templates.len(), "template", "templates"),
            (self.styles.len(), "style", "styles"),
            (self.wildcards.len(), "wildcard", "wildcards"),
            (self.classes.len(), "class list", "class lists"),
            (self.zero_shot.len(), "zero-shot template list", "zero-shot template lists"),
            (self.class_prompts.len(), "set of class prompts", "sets of class prompts"),
        ];
        let said = counts.iter().filter(|(count, _, _)| *count > 0);
        let said: Vec<String> =
            said.map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many })).collect();
        if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
    }
}

impl ModifierCategory {
    fn add(&mut self, other: Self) {
        self.is_mine |= other.is_mine;
        if !other.folder.is_empty() {
            self.folder = other.folder;
        }
        lay_over(&mut self.modifiers, other.modifiers, |modifier| &modifier.text);
    }
}

/// Replaces what has the same name, in its place; the rest goes to the end.
fn lay_over<T>(under: &mut Vec<T>, over: Vec<T>, name: impl Fn(&T) -> &String) {
    for one in over {
        match under.iter_mut().find(|known| name(known) == name(&one)) {
            Some(known) => *known = one,
            None => under.push(one),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_texts_by_their_names() {
        let of = |texts, all: &[(&str, &[&str])]| ClassPrompts {
            texts,
            classes: all
                .iter()
                .map(|(class, texts)| ((*class).into(), texts.iter().map(|t| (*t).into()).collect()))
                .collect(),
            ..ClassPrompts::default()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let set = of(ClassTexts::Sentences, &[("sea lion", &["A seal."]), ("ox", &["An ox.", "Two horns."])]);
        assert_eq!(
            set.texts_of(&names(&["Ox", "Sea_Lion"])),
            Ok(vec![names(&["An ox.", "Two horns."]), names(&["A seal."])])
        );
        assert_eq!(set.texts_of(&names(&["ox", "hen", "emu"])), Err("\"\" has no texts for hen, emu".to_owned()));
        let set = of(ClassTexts::Descriptors, &[("hen", &["a small bird", "often brown", "two legs"])]);
        let texts = ["hen, which is a small bird", "hen, which often brown", "hen, which has two legs"];
        assert_eq!(set.texts_of(&names(&["hen"])), Ok(vec![names(&texts)]));
    }

    #[test]
    fn files_become_lists_and_bad_ones_become_warnings() {
        let (library, warnings) = Library::parse([
            ("modifiers/effects.toml", "[[category]]\nname = \"Effects\"\nbuiltin = true\nmodifiers = [\"foggy\"]"),
            ("modifiers/broken.toml", "[[category]\nname ="),
            ("styles/mine/a.csv", "name,prompt\nSoft,\"{prompt}, soft\"\n"),
            ("templates/basic.toml", "[[template]]\nname = \"Sketch\"\ntext = \"a sketch of {subject}\""),
            ("wildcards/colours.txt", "red\nblue\n"),
            ("zero_shot/classes/pets.txt", "# Pets\ncat\ndog\n"),
            ("zero_shot/templates/two_words.txt", "a {}\n"),
            ("README.md", "not a list"),
        ]);
        assert_eq!(library.modifiers.len(), 1);
        assert!(library.modifiers[0].modifiers[0].builtin);
        assert_eq!(library.templates[0].text, "a sketch of {subject}");
        assert_eq!((library.styles[0].name.as_str(), library.styles[0].folder.as_str()), ("Soft", "mine"));
        assert_eq!(library.wildcards["colours"].values.len(), 2);
        let pets = NamedList { name: "Pets".into(), lines: vec!["cat".into(), "dog".into()], is_mine: false };
        assert_eq!(library.classes, [pets]);
        assert_eq!(library.zero_shot[0].name, "two words");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with("modifiers/broken.toml"), "{warnings:?}");
    }

    #[test]
    fn what_comes_on_top_replaces_what_has_its_name() {
        let read = |text: &str| Library::parse([("modifiers/a.toml", text)]).0;
        let mut library = read(
            "[[category]]\nname = \"Light\"\nmodifiers = [\"soft\", \"hard\"]\n[[category]]\nname = \"Mood\"\nmodifiers = [\"calm\"]",
        );
        let mine = "[[category]]\nname = \"Light\"\nmodifiers = [{ text = \"soft\", about = \"Mine.\" }, \"my lamp\"]";
        library.add(read(mine).of_the_user());
        let light = &library.modifiers[0];
        let texts: Vec<&str> = light.modifiers.iter().map(|modifier| modifier.text.as_str()).collect();
        assert_eq!(texts, ["soft", "hard", "my lamp"]);
        assert_eq!(light.modifiers[0].about, "Mine.");
        assert!(light.is_mine && !library.modifiers[1].is_mine);
        assert_eq!(library.describe(), "4 modifiers");
    }
}
