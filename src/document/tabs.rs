//! Several prompts in one document: one is being worked on, the others wait as tabs.
//!
//! The one that is worked on is the document's own prompt and negative prompt; its place among the others is a number.

use serde::{Deserialize, Serialize};

use super::Document;
use crate::prompt::stack::Applied;

/// A prompt that waits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PromptTab {
    /// What to show.
    pub prompt: String,
    /// What to steer away from.
    pub negative: String,
}

/// All prompts of a document, as they are remembered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PromptTabs {
    /// In the order of their tabs.
    pub tabs: Vec<PromptTab>,
    /// The one that is worked on.
    pub chosen: usize,
    /// Templates and styles over them.
    pub stack: Vec<Applied>,
}

impl Document {
    /// All prompts in the order of their tabs, and which one is worked on.
    pub fn prompt_tabs(&self) -> PromptTabs {
        let mut tabs = self.waiting.clone();
        let chosen = self.tab.min(tabs.len());
        tabs.insert(chosen, PromptTab { prompt: self.prompt.clone(), negative: self.negative.clone() });
        PromptTabs { tabs, chosen, stack: self.stack.clone() }
    }

    /// Takes these prompts; nothing changes if there are none.
    pub fn set_prompt_tabs(&mut self, PromptTabs { mut tabs, chosen, stack }: PromptTabs) {
        let chosen = chosen.min(tabs.len().saturating_sub(1));
        if tabs.is_empty() {
            return;
        }
        let PromptTab { prompt, negative } = tabs.remove(chosen);
        (self.prompt, self.negative, self.waiting, self.tab) = (prompt, negative, tabs, chosen);
        self.stack = stack;
    }

    /// How many prompts there are.
    pub fn prompt_count(&self) -> usize {
        self.waiting.len() + 1
    }

    /// The prompt of a tab; `None` if there is no such tab.
    pub fn prompt_of_tab(&self, index: usize) -> Option<&str> {
        match index.cmp(&self.tab) {
            std::cmp::Ordering::Equal => Some(&self.prompt),
            std::cmp::Ordering::Less => self.waiting.get(index).map(|tab| tab.prompt.as_str()),
            std::cmp::Ordering::Greater => self.waiting.get(index - 1).map(|tab| tab.prompt.as_str()),
        }
    }

    /// Opens a tab behind the one that is worked on and goes there.
    pub(super) fn add_tab(&mut self, tab: PromptTab) {
        let mut all = self.prompt_tabs();
        all.chosen += 1;
        all.tabs.insert(all.chosen, tab);
        self.set_prompt_tabs(all);
    }

    /// Goes to another tab; false if there is no such tab.
    pub(super) fn select_tab(&mut self, index: usize) -> bool {
        let all = self.prompt_tabs();
        let exists = index < all.tabs.len();
        if exists {
            self.set_prompt_tabs(PromptTabs { chosen: index, ..all });
        }
        exists
    }

    /// Closes a tab; false if there is no such tab or no other.
    pub(super) fn close_tab(&mut self, index: usize) -> bool {
        let mut all = self.prompt_tabs();
        if index >= all.tabs.len() || all.tabs.len() == 1 {
            return false;
        }
        all.tabs.remove(index);
        if index < all.chosen {
            all.chosen -= 1;
        }
        self.set_prompt_tabs(all);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Applied, PromptTabs};
    use crate::document::{Document, Edit, EditError, PromptTab, TextField};
    use crate::prompt::library::Template;

    fn shown(document: &Document) -> String {
        let all = document.prompt_tabs();
        let mark = |at: usize| if at == all.chosen { "*" } else { "" };
        let tabs = all.tabs.iter().enumerate().map(|(at, tab)| format!("{}{}/{}", mark(at), tab.prompt, tab.negative));
        tabs.collect::<Vec<_>>().join(" ")
    }

    fn tab(prompt: &str, negative: &str) -> PromptTab {
        PromptTab { prompt: prompt.to_owned(), negative: negative.to_owned() }
    }

    #[test]
    fn each_tab_keeps_its_own_texts() -> Result<(), EditError> {
        let mut document = Document { prompt: "a".into(), ..Document::default() };
        document.apply(&Edit::AddPrompt(tab("b", "x")))?;
        assert_eq!(shown(&document), "a/ *b/x");
        document.apply(&Edit::SelectPrompt(0))?;
        document.apply(&Edit::SetText { field: TextField::Negative, text: "y".into() })?;
        document.apply(&Edit::AddPrompt(tab("c", "")))?;
        assert_eq!(shown(&document), "a/y *c/ b/x");
        assert_eq!([0, 1, 2, 3].map(|at| document.prompt_of_tab(at)), [Some("a"), Some("c"), Some("b"), None]);
        document.apply(&Edit::ClosePrompt(0))?;
        assert_eq!(shown(&document), "*c/ b/x");
        document.apply(&Edit::ClosePrompt(0))?;
        assert_eq!(shown(&document), "*b/x");
        assert_eq!(document.apply(&Edit::ClosePrompt(0)), Err(EditError::NoPrompt));
        assert_eq!(document.apply(&Edit::SelectPrompt(1)), Err(EditError::NoPrompt));
        assert_eq!(document.prompt_count(), 1);
        Ok(())
    }

    #[test]
    fn remembered_tabs_come_back() {
        let mut document = Document { prompt: "a".into(), ..Document::default() };
        document.add_tab(tab("b", ""));
        let mut other = Document::default();
        other.set_prompt_tabs(document.prompt_tabs());
        assert_eq!(shown(&other), shown(&document));
        other.set_prompt_tabs(Default::default());
        assert_eq!(shown(&other), shown(&document));
    }

    #[test]
    fn templates_over_the_prompts_are_remembered_with_them() {
        let template =
            Template { name: "Ink".to_owned(), text: "{subject} in {place=ink}".to_owned(), ..Template::default() };
        let mut applied = Applied::new(template, true);
        applied.values.insert("place".to_owned(), "chalk".to_owned());
        let document = Document { prompt: "a fox".to_owned(), stack: vec![applied], ..Document::default() };
        let mut again = Document::default();
        let read = |json: serde_json::Value| serde_json::from_value::<PromptTabs>(json).unwrap_or_default();
        again.set_prompt_tabs(read(serde_json::to_value(document.prompt_tabs()).unwrap_or_default()));
        assert_eq!(again.words().0, "a fox in chalk");
        again.set_prompt_tabs(read(serde_json::json!({ "tabs": [{ "prompt": "a cat" }], "chosen": 0 })));
        assert_eq!(again.words().0, "a cat", "what was remembered without templates has none");
    }
}
