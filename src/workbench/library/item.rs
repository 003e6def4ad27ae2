//! What of the library can be laid over a document, by name.

use crate::document::Document;
use crate::prompt::library::{Library, Template};
use crate::prompt::modifier;
use crate::prompt::stack::Applied;

/// A modifier, a template or a style, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// By its text.
    Modifier(String),
    /// By its name.
    Template(String),
    /// By its name.
    Style(String),
}

impl Item {
    /// Its name among everything that can be marked: "style Noir".
    pub fn key(&self) -> String {
        match self {
            Self::Modifier(text) => format!("modifier {text}"),
            Self::Template(name) => format!("template {name}"),
            Self::Style(name) => format!("style {name}"),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Modifier(name) | Self::Template(name) | Self::Style(name) => name,
        }
    }

    /// The template or style of this name.
    pub fn template<'a>(&self, library: &'a Library) -> Option<&'a Template> {
        match self {
            Self::Modifier(_) => None,
            Self::Template(name) => library.templates.iter().find(|template| template.name == *name),
            Self::Style(name) => library.styles.iter().find(|style| style.name == *name),
        }
    }

    /// Whether it is what stands on a stack there.
    pub fn is(&self, applied: &Applied) -> bool {
        applied.template.name == self.name()
            && match self {
                Self::Modifier(_) => false,
                Self::Template(_) => !applied.is_style,
                Self::Style(_) => applied.is_style,
            }
    }

    /// `document` with it; unchanged if it is there already. `None` if the library has none of this name.
    pub fn on(&self, document: &Document, library: &Library) -> Option<Document> {
        let mut with = document.clone();
        match self {
            Self::Modifier(text) => {
                let words = if library.modifier(text)?.negative { &mut with.negative } else { &mut with.prompt };
                *words = modifier::add(words, text);
            }
            _ => match with.stack.iter_mut().find(|applied| self.is(applied)) {
                Some(applied) => applied.is_off = false,
                None => {
                    let template = self.template(library)?.clone();
                    with.stack.push(Applied::new(template, matches!(self, Self::Style(_))));
                }
            },
        }
        Some(with)
    }
}
