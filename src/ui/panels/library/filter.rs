//! Which part of the library is shown: a category or a folder.

use std::collections::BTreeSet;

use crate::prompt::library::Library;

use super::Tab;

/// A part of the library.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Filter {
    #[default]
    All,
    Category(String),
    Folder(String),
}

impl Filter {
    pub(super) fn allows(&self, category: &str, folder: &str) -> bool {
        match self {
            Self::All => true,
            Self::Category(wanted) => wanted == category,
            Self::Folder(wanted) => folder == wanted || folder.starts_with(&format!("{wanted}/")),
        }
    }

    pub(super) fn title(&self) -> String {
        match self {
            Self::All => "All".to_owned(),
            Self::Category(name) => name.clone(),
            Self::Folder(name) => format!("Folder {name}"),
        }
    }

    /// What can be chosen in a tab, all of it first.
    pub(super) fn choices(tab: Tab, library: &Library) -> Vec<Self> {
        let categories: Vec<Self> = match tab {
            Tab::Modifiers => library.modifiers.iter().map(|one| Self::Category(one.name.clone())).collect(),
            _ => Vec::new(),
        };
        let wildcard_folders = library.wildcards.keys().filter_map(|name| Some(name.rsplit_once('/')?.0));
        let folders: BTreeSet<&str> = match tab {
            Tab::Modifiers => library.modifiers.iter().map(|one| one.folder.as_str()).collect(),
            Tab::Templates => library.templates.iter().map(|one| one.folder.as_str()).collect(),
            Tab::Styles => library.styles.iter().map(|one| one.folder.as_str()).collect(),
            Tab::Wildcards => wildcard_folders.collect(),
            Tab::ZeroShot => BTreeSet::new(),
        };
        let folders = folders.into_iter().filter(|folder| !folder.is_empty());
        let folders = folders.map(|folder| Self::Folder(folder.to_owned()));
        std::iter::once(Self::All).chain(categories).chain(folders).collect()
    }
}
