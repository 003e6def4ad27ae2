//! The stack of templates and styles as the document holds it, and the prompt's modifiers: each change is one step for undo.

use super::Item;
use crate::document::{Edit, TextField};
use crate::job::sampling::Sampling;
use crate::prompt::library::Settings;
use crate::prompt::modifier;
use crate::prompt::stack::Applied;
use crate::prompt::template::{own_texts, own_texts_line};
use crate::workbench::Workbench;
use crate::workbench::notices::Level;

impl Workbench {
    pub(in crate::workbench) fn toggle_modifier(&mut self, text: &str) {
        let is_negative = self.library().modifier(text).is_some_and(|known| known.negative);
        let field = if is_negative { TextField::Negative } else { TextField::Prompt };
        let toggled = modifier::toggle(self.document().text(field), text);
        self.replace_text(field, toggled);
    }

    /// A change of a text that is not typing: a step of its own.
    pub(super) fn replace_text(&mut self, field: TextField, text: String) {
        self.history.end_run();
        self.edit(Edit::SetText { field, text });
        self.history.end_run();
    }

    /// Classes and one line among the templates, as one step to undo.
    pub(super) fn use_class_texts(&mut self, name: &str) {
        let Some(set) = self.shelf.library.class_prompts.iter().find(|set| set.name == name) else { return };
        let classes = set.classes.iter().map(|(class, _)| class.as_str()).collect::<Vec<_>>().join("\n");
        // Another set's texts are for other classes.
        let kept = self.document().templates.lines().filter(|line| own_texts(line).is_none());
        let line = own_texts_line(name);
        let templates = kept.chain([line.as_str()]).collect::<Vec<_>>().join("\n");
        self.history.end_run();
        self.history.begin_gesture();
        self.edit(Edit::SetText { field: TextField::Classes, text: classes });
        self.edit(Edit::SetText { field: TextField::Templates, text: templates });
        self.history.end_gesture();
    }

    pub(super) fn change_stack(&mut self, change: impl FnOnce(&mut Vec<Applied>)) {
        let mut stack = self.document().stack.clone();
        change(&mut stack);
        self.history.end_run();
        self.edit(Edit::SetStack(stack));
        self.history.end_run();
    }

    /// Typing into a hole: a run of it is one step.
    pub(super) fn fill_slot(&mut self, index: usize, name: String, value: String) {
        let mut stack = self.document().stack.clone();
        if let Some(applied) = stack.get_mut(index) {
            applied.values.insert(name, value);
            self.edit(Edit::SetStack(stack));
        }
    }

    pub(super) fn toggle_template(&mut self, item: &Item) {
        if self.document().stack.iter().any(|applied| item.is(applied)) {
            return self.change_stack(|stack| stack.retain(|applied| !item.is(applied)));
        }
        let Some(template) = item.template(self.library()).cloned() else { return };
        let settings = template.settings.clone();
        let mut stack = self.document().stack.clone();
        stack.push(Applied::new(template, matches!(item, Item::Style(_))));
        let sampling = with_settings(&self.document().sampling, &settings);
        self.history.end_run();
        self.history.begin_gesture();
        self.edit(Edit::SetSampling(sampling));
        self.edit(Edit::SetStack(stack));
        self.history.end_gesture();
        if let Some(model) = &settings.model {
            self.use_model(item.name(), model);
        }
    }

    /// A template's model. It is a preference, like a choice in the Models panel; one that is not known here stays out.
    fn use_model(&mut self, template: &str, model: &str) {
        let known = self.models.known().is_none_or(|known| known.iter().any(|one| one.reference.0 == model));
        if !known {
            let text = format!("\"{template}\" asks for the model {model}, which is not known here; the model stays.");
            return self.notices.add(Level::Warning, text, None);
        }
        if self.preferences.diffusion_model.0 != model {
            self.preferences.diffusion_model = model.into();
            self.notices.add(Level::Info, format!("\"{template}\" changed the diffusion model to {model}."), None);
        }
    }

    pub(super) fn write_stack(&mut self) {
        let (prompt, negative) = self.document().words();
        self.history.end_run();
        self.history.begin_gesture();
        self.edit(Edit::SetText { field: TextField::Prompt, text: prompt });
        self.edit(Edit::SetText { field: TextField::Negative, text: negative });
        self.edit(Edit::SetStack(Vec::new()));
        self.history.end_gesture();
    }
}

/// `sampling` with what a template asks for. Samplers without a known name were left out when the template was read.
fn with_settings(sampling: &Sampling, settings: &Settings) -> Sampling {
    let sampler = settings.sampler.as_ref().and_then(|name| name.parse().ok());
    Sampling {
        sampler: sampler.or(sampling.sampler),
        steps: settings.steps.map_or(sampling.steps, |steps| steps.clamp(1, Sampling::MAX_STEPS)),
        guidance: settings.guidance.unwrap_or(sampling.guidance),
        size: settings.size.unwrap_or(sampling.size),
        ..sampling.clone()
    }
}
