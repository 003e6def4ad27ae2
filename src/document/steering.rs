//! What steers the diffusion model beside the prompts: LoRAs and ControlNets, as they were chosen. Files are named by their paths and
//! read elsewhere.

use std::path::PathBuf;

use super::EditError;
use crate::base::pixels::Picture;
use crate::job::ModelRef;

/// Everything that was chosen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Steering {
    /// In the order in which they were added.
    pub loras: Vec<LoraChoice>,
    /// What several of them say is added up.
    pub controls: Vec<ControlChoice>,
}

/// A LoRA.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraChoice {
    /// What people call it.
    pub name: String,
    /// Its file or folder.
    pub path: PathBuf,
    /// Whether it works at the moment.
    pub is_on: bool,
    /// How strongly; 1 is what it was trained for.
    pub strength: f32,
    /// How strongly it works on the words; as on the picture if `None`.
    pub text_strength: Option<f32>,
}

/// A ControlNet.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlChoice {
    /// What people call it.
    pub name: String,
    /// Its folder.
    pub model: ModelRef,
    /// What it steers by.
    pub picture: ControlPicture,
    /// Whether it works at the moment.
    pub is_on: bool,
    /// How strongly; 1 as in its training.
    pub scale: f32,
    /// The share of the steps after which it begins.
    pub start: f32,
    /// The share of the steps after which it ends.
    pub end: f32,
}

/// What a ControlNet steers by.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlPicture {
    /// Whatever is on the canvas.
    Canvas,
    /// A picture of its own.
    File {
        /// The picture.
        picture: Picture,
        /// The name of its file.
        name: String,
    },
}

impl LoraChoice {
    /// As it is when it was just added.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), path: path.into(), is_on: true, strength: 1.0, text_strength: None }
    }
}

impl ControlChoice {
    /// As it is when it was just added: it follows the canvas.
    pub fn new(name: impl Into<String>, model: ModelRef) -> Self {
        let picture = ControlPicture::Canvas;
        Self { name: name.into(), model, picture, is_on: true, scale: 1.0, start: 0.0, end: 1.0 }
    }
}

impl Steering {
    /// Strongest that anything can be.
    pub const MOST: f32 = 100.0;

    pub(super) fn check(&self) -> Result<(), EditError> {
        let is_strength = |number: f32| number.abs() <= Self::MOST;
        let loras = self.loras.iter().flat_map(|lora| [Some(lora.strength), lora.text_strength]).flatten();
        if !loras.chain(self.controls.iter().map(|control| control.scale)).all(is_strength) {
            return Err(EditError::OutOfRange("a strength"));
        }
        let is_stretch =
            |control: &ControlChoice| 0.0 <= control.start && control.start < control.end && control.end <= 1.0;
        if !self.controls.iter().all(is_stretch) {
            return Err(EditError::OutOfRange("the stretch of steps of a ControlNet"));
        }
        Ok(())
    }

    /// Whether the two differ in nothing but numbers, as while a slider is dragged.
    pub(super) fn has_the_parts_of(&self, other: &Self) -> bool {
        let lora = |a: &LoraChoice, b: &LoraChoice| {
            a.path == b.path && a.is_on == b.is_on && a.text_strength.is_some() == b.text_strength.is_some()
        };
        let control =
            |a: &ControlChoice, b: &ControlChoice| a.model == b.model && a.is_on == b.is_on && a.picture == b.picture;
        self.loras.len() == other.loras.len()
            && self.controls.len() == other.controls.len()
            && self.loras.iter().zip(&other.loras).all(|(a, b)| lora(a, b))
            && self.controls.iter().zip(&other.controls).all(|(a, b)| control(a, b))
    }

    /// Bytes of pictures that `other` does not hold as well.
    pub(super) fn bytes_not_shared_with(&self, other: &Self) -> usize {
        fn pictures(steering: &Steering) -> impl Iterator<Item = &Picture> {
            steering.controls.iter().filter_map(|control| match &control.picture {
                ControlPicture::File { picture, .. } => Some(picture),
                ControlPicture::Canvas => None,
            })
        }
        let is_shared = |mine: &Picture| pictures(other).any(|theirs| theirs.revision() == mine.revision());
        pictures(self).filter(|mine| !is_shared(mine)).map(|mine| mine.rgb().len()).sum()
    }
}
