//! What the first start shows, so that the first second already shows something.

use crate::document::{Canvas, Document, PromptTabs};
use crate::prompt::library::Library;
use crate::store::preferences::Preferences;
use crate::store::samples;

/// The sample that is on the canvas at the first start; the first of them if it is not there.
const FIRST_SAMPLE: &str = "apple-and-cat.png";

/// A document with a sample picture, a prompt, a lens phrase and class lists that suit it; or the prompts of the last time.
pub fn first_document(library: &Library, preferences: &Preferences) -> Document {
    let name = samples::names().into_iter().find(|name| *name == FIRST_SAMPLE).or(samples::names().first().copied());
    let canvas = name.and_then(|name| samples::open(name).ok().map(|picture| Canvas::new(picture, name)));
    let mut document = Document {
        canvas,
        prompt: "a red apple on a blue background".to_owned(),
        lens_phrase: "a cat".to_owned(),
        classes: library.classes.first().map(|list| list.lines.join("\n")).unwrap_or_default(),
        templates: library.zero_shot.first().map(|list| list.lines.join("\n")).unwrap_or_default(),
        ..Document::default()
    };
    let remembered =
        preferences.prompts.as_ref().and_then(|json| serde_json::from_value::<PromptTabs>(json.clone()).ok());
    document.set_prompt_tabs(remembered.unwrap_or_default());
    document
}
