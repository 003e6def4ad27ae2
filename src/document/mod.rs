//! L1: what the user is making, as plain data that is cheap to clone, changed by one function.
//!
//! Invariant: a [`Document`] changes only through [`Document::apply`]; [`History`] keeps the states to go back to.
//! Knows nothing of engines, files or windows.

mod edit;
mod history;
mod steering;
mod tabs;

pub use edit::{Edit, EditError, TextField};
pub use history::History;
pub use steering::{ControlChoice, ControlPicture, LoraChoice, Steering};
pub use tabs::{PromptTab, PromptTabs};

use crate::base::geom::Extent;
use crate::base::pixels::{Mask, Picture};
use crate::job::annotation::Mark;
use crate::job::sampling::Sampling;
use crate::job::spec::Combine;
use crate::prompt::stack::{self, Applied};

/// Everything that undo brings back.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The picture on the canvas, if one is open.
    pub canvas: Option<Canvas>,
    /// What to show.
    pub prompt: String,
    /// What to steer away from.
    pub negative: String,
    /// The prompts of the other tabs, in order.
    pub waiting: Vec<PromptTab>,
    /// Where this one stands among them: at most their number.
    pub tab: usize,
    /// The templates and styles that are laid over both, in this order.
    pub stack: Vec<Applied>,
    /// How previews and pictures are sampled.
    pub sampling: Sampling,
    /// How far inpainting departs from the canvas, 0..=1.
    pub strength: f32,
    /// LoRAs and ControlNets.
    pub steering: Steering,
    /// What the lens looks for when it does not follow the prompt.
    pub lens_phrase: String,
    /// Class names of the zero-shot panel, one a line.
    pub classes: String,
    /// Templates of the zero-shot panel, one a line.
    pub templates: String,
    /// How the templates become one answer.
    pub combine: Combine,
}

/// A picture with what was painted over it.
#[derive(Debug, Clone, PartialEq)]
pub struct Canvas {
    /// The picture itself.
    pub picture: Picture,
    /// Where it came from, for the title: a file name or "Generated".
    pub name: String,
    /// What inpainting may change; always of the picture's size.
    pub mask: Mask,
    /// Coloured marks, lowest first.
    pub marks: Vec<Mark>,
}

impl Canvas {
    /// A canvas with nothing painted on it.
    pub fn new(picture: Picture, name: impl Into<String>) -> Self {
        let mask = Mask::empty(picture.extent());
        Self { picture, name: name.into(), mask, marks: Vec::new() }
    }

    /// The size of the picture in pixels.
    pub fn extent(&self) -> Extent {
        self.picture.extent()
    }
}

impl Default for Document {
    fn default() -> Self {
        Self {
            canvas: None,
            prompt: String::new(),
            negative: String::new(),
            waiting: Vec::new(),
            tab: 0,
            stack: Vec::new(),
            sampling: Sampling::default(),
            strength: 0.9,
            steering: Steering::default(),
            lens_phrase: String::new(),
            classes: String::new(),
            templates: String::new(),
            combine: Combine::default(),
        }
    }
}

impl Document {
    /// The text in `field`.
    pub fn text(&self, field: TextField) -> &str {
        match field {
            TextField::Prompt => &self.prompt,
            TextField::Negative => &self.negative,
            TextField::LensPhrase => &self.lens_phrase,
            TextField::Classes => &self.classes,
            TextField::Templates => &self.templates,
        }
    }

    /// Prompt and negative prompt as a model gets them: under the templates and styles in use.
    pub fn words(&self) -> (String, String) {
        stack::compose(&self.stack, &self.prompt, &self.negative)
    }

    /// What keeping `self` beside `other` costs in memory, roughly, in bytes.
    pub(crate) fn bytes_not_shared_with(&self, other: &Self) -> usize {
        let texts: usize = TextField::ALL.into_iter().map(|field| self.text(field).len()).sum();
        let canvas = self.canvas.as_ref().map_or(0, |mine| {
            let theirs = other.canvas.as_ref();
            let same_picture = theirs.is_some_and(|c| c.picture.revision() == mine.picture.revision());
            let picture = if same_picture { 0 } else { mine.picture.rgb().len() };
            let mask = theirs.map_or_else(|| mine.extent().area(), |c| mine.mask.bytes_not_shared_with(&c.mask));
            picture + mask
        });
        let waiting: usize = self.waiting.iter().map(|tab| tab.prompt.len() + tab.negative.len()).sum();
        texts + waiting + canvas + self.steering.bytes_not_shared_with(&other.steering)
    }
}
