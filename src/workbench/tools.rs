//! The tools of the canvas as a state machine: the pointer's gestures become edits of the document.
//!
//! ```text
//! Idle     --Begin-->  Drawing   the history starts a gesture; brushes paint their first dot
//! Drawing  --Move-->   Drawing   brushes paint a segment; shapes only remember the corner
//! Drawing  --End-->    Idle      shapes are applied; the gesture becomes one undo step
//! Drawing  --Abort-->  Idle      Escape, or another tool: the document is as before Begin
//! ```

use crate::base::geom::{ImagePoint, ImageRect};
use crate::base::pixels::Paint;
use crate::document::{Edit, History};
use crate::job::annotation::{Mark, MarkColour, MarkShape};

/// Smallest and largest brush radius, in pixels of the picture.
pub const RADIUS_RANGE: std::ops::RangeInclusive<f32> = 1.0..=512.0;

/// The tools of the rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Tool {
    /// Moves the view.
    #[default]
    Pan,
    /// Adds to the mask.
    Brush,
    /// Takes away from the mask.
    Eraser,
    /// Adds a rectangle to the mask.
    Rectangle,
    /// Adds an ellipse to the mask.
    Ellipse,
    /// Draws a coloured box.
    MarkBox,
    /// Draws a coloured ellipse.
    MarkEllipse,
    /// Draws a coloured stroke.
    MarkBrush,
}

impl Tool {
    /// Every tool, in the order of the rail.
    pub const ALL: [Self; 8] = [
        Self::Pan,
        Self::Brush,
        Self::Eraser,
        Self::Rectangle,
        Self::Ellipse,
        Self::MarkBox,
        Self::MarkEllipse,
        Self::MarkBrush,
    ];

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pan => "Pan",
            Self::Brush => "Mask brush",
            Self::Eraser => "Mask eraser",
            Self::Rectangle => "Mask rectangle",
            Self::Ellipse => "Mask ellipse",
            Self::MarkBox => "Mark box",
            Self::MarkEllipse => "Mark ellipse",
            Self::MarkBrush => "Mark brush",
        }
    }

    /// Whether it draws with a round tip.
    pub fn has_radius(self) -> bool {
        matches!(self, Self::Brush | Self::Eraser | Self::MarkBrush)
    }

    /// Whether it draws coloured marks.
    pub fn draws_marks(self) -> bool {
        matches!(self, Self::MarkBox | Self::MarkEllipse | Self::MarkBrush)
    }
}

/// What the pointer did on the canvas, in pixels of the picture. Not sent for [`Tool::Pan`], which moves only the view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gesture {
    /// The button went down.
    Begin(ImagePoint),
    /// The pointer moved with the button down.
    Move(ImagePoint),
    /// The button went up.
    End(ImagePoint),
    /// Never mind.
    Abort,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Idle,
    Drawing { start: ImagePoint, last: ImagePoint },
}

/// The tool in hand and what it is doing.
#[derive(Debug)]
pub struct Tools {
    tool: Tool,
    radius: f32,
    colour: MarkColour,
    state: State,
}

impl Default for Tools {
    fn default() -> Self {
        Self { tool: Tool::default(), radius: 24.0, colour: MarkColour::default(), state: State::Idle }
    }
}

impl Tools {
    /// The tool in hand.
    pub fn tool(&self) -> Tool {
        self.tool
    }

    /// Radius of brush and eraser, in pixels of the picture.
    pub fn radius(&self) -> f32 {
        self.radius
    }

    /// Colour of new marks.
    pub fn colour(&self) -> MarkColour {
        self.colour
    }

    /// The rectangle that a shape tool is drawing right now, to be shown as a rubber band.
    pub fn rubber_band(&self) -> Option<ImageRect> {
        match (self.state, self.tool) {
            (State::Drawing { start, last }, Tool::Rectangle | Tool::Ellipse | Tool::MarkBox | Tool::MarkEllipse) => {
                Some(ImageRect::from_corners(start, last))
            }
            _ => None,
        }
    }

    /// Whether the button is down.
    pub fn is_drawing(&self) -> bool {
        self.state != State::Idle
    }

    pub(super) fn select(&mut self, tool: Tool, history: &mut History) {
        self.abort(history);
        self.tool = tool;
    }

    /// Gives up what is being drawn: the document is as before. False if nothing was.
    pub(super) fn abort(&mut self, history: &mut History) -> bool {
        let was_drawing = self.is_drawing();
        self.state = State::Idle;
        history.abort_gesture();
        was_drawing
    }

    pub(super) fn set_radius(&mut self, radius: f32) {
        if radius.is_finite() {
            self.radius = radius.clamp(*RADIUS_RANGE.start(), *RADIUS_RANGE.end());
        }
    }

    pub(super) fn set_colour(&mut self, colour: MarkColour) {
        self.colour = colour;
    }

    /// Takes one arrow of the state machine; returns the edits that it means.
    pub(super) fn on_gesture(&mut self, gesture: Gesture, history: &mut History) -> Vec<Edit> {
        match (self.state, gesture) {
            (State::Idle, Gesture::Begin(at)) if self.tool != Tool::Pan => {
                history.begin_gesture();
                self.state = State::Drawing { start: at, last: at };
                self.begin_stroke(at).into_iter().collect()
            }
            (State::Drawing { start, last }, Gesture::Move(to)) => {
                self.state = State::Drawing { start, last: to };
                self.continue_stroke(last, to).into_iter().collect()
            }
            (State::Drawing { start, last }, Gesture::End(to)) => {
                self.state = State::Idle;
                let mut edits = Vec::new();
                if to != last {
                    edits.extend(self.continue_stroke(last, to));
                }
                edits.extend(self.finish_shape(ImageRect::from_corners(start, to)));
                edits
            }
            (State::Drawing { .. }, Gesture::Abort) => {
                self.abort(history);
                Vec::new()
            }
            // A move or an end without a beginning, or a second button: nothing to do.
            _ => Vec::new(),
        }
    }

    fn begin_stroke(&self, at: ImagePoint) -> Option<Edit> {
        match self.tool {
            Tool::MarkBrush => {
                let shape = MarkShape::Brush { points: vec![at], radius: self.radius };
                Some(Edit::AddMark(Mark { shape, colour: self.colour }))
            }
            _ => self.continue_stroke(at, at),
        }
    }

    fn continue_stroke(&self, from: ImagePoint, to: ImagePoint) -> Option<Edit> {
        let segment = |paint| Edit::PaintSegment { from, to, radius: self.radius, paint };
        match self.tool {
            Tool::Brush => Some(segment(Paint::Add)),
            Tool::Eraser => Some(segment(Paint::Erase)),
            Tool::MarkBrush => Some(Edit::ExtendMark(to)),
            Tool::Pan | Tool::Rectangle | Tool::Ellipse | Tool::MarkBox | Tool::MarkEllipse => None,
        }
    }

    fn finish_shape(&self, rect: ImageRect) -> Option<Edit> {
        // A click without a drag is no shape.
        if rect.width() < 1.0 || rect.height() < 1.0 {
            return None;
        }
        let mark = |shape| Edit::AddMark(Mark { shape, colour: self.colour });
        match self.tool {
            Tool::Rectangle => Some(Edit::PaintRect { rect, paint: Paint::Add }),
            Tool::Ellipse => Some(Edit::PaintEllipse { rect, paint: Paint::Add }),
            Tool::MarkBox => Some(mark(MarkShape::Box { rect })),
            Tool::MarkEllipse => Some(mark(MarkShape::Ellipse { rect })),
            Tool::Pan | Tool::Brush | Tool::Eraser | Tool::MarkBrush => None,
        }
    }
}
