//! The library of modifiers, prompt templates, class lists and zero-shot templates, read from preset files.
//!
//! Reading never fails: what cannot be understood becomes a warning that names the file, and the rest is kept. A later file
//! of the same path replaces an earlier one, so a user's folder overrides what ships. Opening files is `store`'s.

use serde::Deserialize;

use super::template::lines;

/// A group of modifiers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifierCategory {
    /// The heading.
    pub name: String,
    /// Whether the built-in models were trained on these phrases.
    #[serde(default)]
    pub builtin: bool,
    /// The phrases, as they are put into a prompt.
    pub modifiers: Vec<String>,
}

/// A prompt with a `{subject}` hole.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptTemplate {
    /// The name in the list.
    pub name: String,
    /// The text with the hole.
    pub text: String,
    /// Whether the built-in models know its words.
    #[serde(default)]
    pub builtin: bool,
}

/// A named list of lines: class names or zero-shot templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedList {
    /// The name in the list.
    pub name: String,
    /// The lines, without comments and blanks.
    pub lines: Vec<String>,
}

/// Everything that can be picked from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Library {
    /// Modifiers by category.
    pub modifiers: Vec<ModifierCategory>,
    /// Prompt templates.
    pub templates: Vec<PromptTemplate>,
    /// Lists of class names.
    pub classes: Vec<NamedList>,
    /// Lists of zero-shot templates.
    pub zero_shot: Vec<NamedList>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModifierFile {
    category: Vec<ModifierCategory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateFile {
    template: Vec<PromptTemplate>,
}

impl Library {
    /// Reads preset files, given as path inside the presets folder and contents, in the order of their paths.
    /// Returns the library and a warning for each file that could not be used.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<String>) {
        let (mut library, mut warnings) = (Self::default(), Vec::new());
        for (path, text) in files {
            if let Err(problem) = library.add(path, text) {
                warnings.push(format!("{problem}; this list is left out: {path}"));
            }
        }
        (library, warnings)
    }

    fn add(&mut self, path: &str, text: &str) -> Result<(), toml::de::Error> {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        match (folder, file.rsplit_once('.')) {
            ("modifiers", Some((_, "toml"))) => self.modifiers.extend(toml::from_str::<ModifierFile>(text)?.category),
            ("templates", Some((_, "toml"))) => self.templates.extend(toml::from_str::<TemplateFile>(text)?.template),
            ("zero_shot/classes", Some((stem, "txt"))) => self.classes.push(named(stem, text)),
            ("zero_shot/templates", Some((stem, "txt"))) => self.zero_shot.push(named(stem, text)),
            // Other files in the folder (a README, the model catalogue) are not lists.
            _ => {}
        }
        Ok(())
    }
}

/// The name is the first line's comment if it has one, else the file's name.
fn named(stem: &str, text: &str) -> NamedList {
    let title = text.lines().next().and_then(|line| line.trim().strip_prefix('#')).map(str::trim);
    let name = title.filter(|t| !t.is_empty()).map_or_else(|| stem.replace(['_', '-'], " "), ToOwned::to_owned);
    NamedList { name, lines: lines(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_lists_and_bad_ones_become_warnings() {
        let (library, warnings) = Library::parse([
            ("modifiers/effects.toml", "[[category]]\nname = \"Effects\"\nbuiltin = true\nmodifiers = [\"foggy\"]"),
            ("modifiers/broken.toml", "[[category]\nname ="),
            ("templates/basic.toml", "[[template]]\nname = \"Sketch\"\ntext = \"a sketch of {subject}\""),
            ("zero_shot/classes/pets.txt", "# Pets\ncat\ndog\n"),
            ("zero_shot/templates/two_words.txt", "a {}\n"),
            ("README.md", "not a list"),
        ]);
        assert_eq!(library.modifiers.len(), 1);
        assert_eq!(library.templates[0].text, "a sketch of {subject}");
        assert_eq!(library.classes, [NamedList { name: "Pets".into(), lines: vec!["cat".into(), "dog".into()] }]);
        assert_eq!(library.zero_shot[0].name, "two words");
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].ends_with("modifiers/broken.toml"), "{warnings:?}");
    }
}
