//! The changes that can be made to a document, each a value that can be logged, tested and replayed.

use super::{Canvas, Document, PromptTab, Steering};
use crate::base::geom::{ImagePoint, ImageRect};
use crate::base::pixels::{Paint, Picture};
use crate::job::annotation::{Mark, MarkShape};
use crate::job::sampling::Sampling;
use crate::job::spec::Combine;
use crate::prompt::stack::Applied;

/// The texts of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextField {
    /// What to show.
    Prompt,
    /// What to steer away from.
    Negative,
    /// What the lens looks for.
    LensPhrase,
    /// Class names, one a line.
    Classes,
    /// Templates, one a line.
    Templates,
}

impl TextField {
    /// Every text field.
    pub const ALL: [Self; 5] = [Self::Prompt, Self::Negative, Self::LensPhrase, Self::Classes, Self::Templates];
}

/// A change to a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Puts a picture on the canvas; mask and marks start empty.
    OpenPicture {
        /// The picture.
        picture: Picture,
        /// Its name.
        name: String,
    },
    /// Replaces a text.
    SetText {
        /// Which.
        field: TextField,
        /// By what.
        text: String,
    },
    /// Opens another prompt as a tab behind the one that is worked on, and goes there.
    AddPrompt(PromptTab),
    /// Goes to another prompt, by its place among the tabs.
    SelectPrompt(usize),
    /// Closes a prompt, by its place among the tabs.
    ClosePrompt(usize),
    /// Replaces the templates and styles in use.
    SetStack(Vec<Applied>),
    /// Replaces the sampling parameters.
    SetSampling(Sampling),
    /// Replaces the strength of inpainting, 0..=1.
    SetStrength(f32),
    /// Replaces what steers beside the prompts.
    SetSteering(Box<Steering>),
    /// Replaces the way templates are combined.
    SetCombine(Combine),
    /// Paints a straight piece of a brush stroke into the mask.
    PaintSegment {
        /// Where it starts.
        from: ImagePoint,
        /// Where it ends; may equal `from`.
        to: ImagePoint,
        /// Of the brush, in pixels.
        radius: f32,
        /// Add or erase.
        paint: Paint,
    },
    /// Paints a rectangle into the mask.
    PaintRect {
        /// The rectangle.
        rect: ImageRect,
        /// Add or erase.
        paint: Paint,
    },
    /// Paints an ellipse into the mask.
    PaintEllipse {
        /// The rectangle around it.
        rect: ImageRect,
        /// Add or erase.
        paint: Paint,
    },
    /// Empties the mask.
    ClearMask,
    /// Swaps inside and outside of the mask.
    InvertMask,
    /// Adds a mark on top.
    AddMark(Mark),
    /// Prolongs the brush stroke of the topmost mark.
    ExtendMark(ImagePoint),
    /// Removes the topmost mark.
    RemoveLastMark,
    /// Removes all marks.
    ClearMarks,
}

impl Edit {
    /// What a person calls this change, for the undo menu.
    pub fn name(&self) -> &'static str {
        match self {
            Self::OpenPicture { .. } => "open picture",
            Self::SetText { field: TextField::Prompt, .. } => "edit prompt",
            Self::SetText { field: TextField::Negative, .. } => "edit negative prompt",
            Self::SetText { field: TextField::LensPhrase, .. } => "edit lens phrase",
            Self::SetText { field: TextField::Classes, .. } => "edit classes",
            Self::SetText { field: TextField::Templates, .. } => "edit templates",
            Self::AddPrompt(_) => "open prompt",
            Self::SelectPrompt(_) => "switch prompt",
            Self::ClosePrompt(_) => "close prompt",
            Self::SetStack(_) => "change templates",
            Self::SetSampling(_) => "change sampling",
            Self::SetStrength(_) => "change strength",
            Self::SetSteering(_) => "change steering",
            Self::SetCombine(_) => "change ensemble",
            Self::PaintSegment { paint, .. } | Self::PaintRect { paint, .. } | Self::PaintEllipse { paint, .. } => {
                match paint {
                    Paint::Add => "paint mask",
                    Paint::Erase => "erase mask",
                }
            }
            Self::ClearMask => "clear mask",
            Self::InvertMask => "invert mask",
            Self::AddMark(_) | Self::ExtendMark(_) => "add mark",
            Self::RemoveLastMark => "remove mark",
            Self::ClearMarks => "clear marks",
        }
    }

    /// Whether a run of such edits in quick succession is one step for undo: typing, dragging a slider.
    pub fn merges_with(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::SetText { field: a, .. }, Self::SetText { field: b, .. }) => a == b,
            // Typing into a template's holes; anything else is a step of its own.
            (Self::SetStack(a), Self::SetStack(b)) => {
                let same = |(a, b): (&Applied, &Applied)| a.template.name == b.template.name && a.is_off == b.is_off;
                a.len() == b.len() && a.iter().zip(b).all(same)
            }
            (Self::SetSteering(a), Self::SetSteering(b)) => a.has_the_parts_of(b),
            (Self::SetSampling(_), Self::SetSampling(_)) | (Self::SetStrength(_), Self::SetStrength(_)) => true,
            _ => false,
        }
    }
}

/// Why an edit was refused; the document is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no picture to paint on.
    #[error("open a picture first; there is nothing to paint on yet")]
    NoPicture,
    /// No mark is there to change.
    #[error("there is no mark to change")]
    NoMark,
    /// There is no such prompt, or no other.
    #[error("there is no such prompt, or it is the only one")]
    NoPrompt,
    /// A number is not one, or lies outside its range.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
}

impl Document {
    /// Applies `edit`.
    ///
    /// # Errors
    /// If the edit makes no sense for this document, which then stays as it was.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), EditError> {
        match edit {
            Edit::OpenPicture { picture, name } => {
                // The same picture again keeps its identity, and with it everything that is known of it.
                let known = self.canvas.as_ref().map(|canvas| &canvas.picture).filter(|known| *known == picture);
                self.canvas = Some(Canvas::new(known.unwrap_or(picture).clone(), name.clone()));
            }
            Edit::SetText { field, text } => self.text_mut(*field).clone_from(text),
            Edit::AddPrompt(tab) => self.add_tab(tab.clone()),
            Edit::SelectPrompt(index) if self.select_tab(*index) => {}
            Edit::ClosePrompt(index) if self.close_tab(*index) => {}
            Edit::SelectPrompt(_) | Edit::ClosePrompt(_) => return Err(EditError::NoPrompt),
            Edit::SetStack(stack) => self.stack.clone_from(stack),
            Edit::SetSampling(sampling) => {
                if !(1..=Sampling::MAX_STEPS).contains(&sampling.steps) {
                    return Err(EditError::OutOfRange("the number of steps"));
                }
                if !sampling.guidance.is_finite() {
                    return Err(EditError::OutOfRange("the guidance scale"));
                }
                self.sampling = sampling.clone();
            }
            Edit::SetStrength(strength) => {
                if !(0.0..=1.0).contains(strength) {
                    return Err(EditError::OutOfRange("the strength"));
                }
                self.strength = *strength;
            }
            Edit::SetSteering(steering) => {
                steering.check()?;
                self.steering = (**steering).clone();
            }
            Edit::SetCombine(combine) => self.combine = *combine,
            _ => self.apply_to_canvas(edit)?,
        }
        Ok(())
    }

    fn apply_to_canvas(&mut self, edit: &Edit) -> Result<(), EditError> {
        let canvas = self.canvas.as_mut().ok_or(EditError::NoPicture)?;
        match edit {
            Edit::PaintSegment { from, to, radius, paint } => {
                canvas.mask.paint_segment(*from, *to, radius.max(0.5), *paint);
            }
            Edit::PaintRect { rect, paint } => {
                canvas.mask.paint_rect(*rect, *paint);
            }
            Edit::PaintEllipse { rect, paint } => {
                canvas.mask.paint_ellipse(*rect, *paint);
            }
            Edit::ClearMask => canvas.mask = crate::base::pixels::Mask::empty(canvas.extent()),
            Edit::InvertMask => canvas.mask.invert(),
            Edit::AddMark(mark) => canvas.marks.push(mark.clone()),
            Edit::ExtendMark(point) => match canvas.marks.last_mut() {
                Some(Mark { shape: MarkShape::Brush { points, .. }, .. }) => points.push(*point),
                _ => return Err(EditError::NoMark),
            },
            Edit::RemoveLastMark => {
                canvas.marks.pop().ok_or(EditError::NoMark)?;
            }
            Edit::ClearMarks => canvas.marks.clear(),
            Edit::OpenPicture { .. }
            | Edit::SetText { .. }
            | Edit::AddPrompt(_)
            | Edit::SelectPrompt(_)
            | Edit::ClosePrompt(_)
            | Edit::SetStack(_)
            | Edit::SetSampling(_)
            | Edit::SetStrength(_)
            | Edit::SetSteering(_)
            | Edit::SetCombine(_) => {}
        }
        Ok(())
    }

    fn text_mut(&mut self, field: TextField) -> &mut String {
        match field {
            TextField::Prompt => &mut self.prompt,
            TextField::Negative => &mut self.negative,
            TextField::LensPhrase => &mut self.lens_phrase,
            TextField::Classes => &mut self.classes,
            TextField::Templates => &mut self.templates,
        }
    }
}
