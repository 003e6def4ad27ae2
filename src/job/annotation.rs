//! Coloured marks on a picture: annotation prompts in the sense of CPT (Yao et al. 2021, `thunlp/CPT`).
//!
//! Values only; `analysis::annotate` draws them into pixels.

use serde::{Deserialize, Serialize};

use crate::base::geom::{ImagePoint, ImageRect};

/// CPT's five colours, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkColour {
    /// (240, 0, 30)
    #[default]
    Red,
    /// (155, 50, 210)
    Purple,
    /// (255, 255, 25)
    Yellow,
    /// (0, 10, 255)
    Blue,
    /// (0, 255, 0)
    Green,
}

impl MarkColour {
    /// Every colour, in CPT's order.
    pub const ALL: [Self; 5] = [Self::Red, Self::Purple, Self::Yellow, Self::Blue, Self::Green];

    /// Opacity of every mark, of 255.
    pub const ALPHA: u8 = 127;

    /// The colour word, as a prompt would say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Purple => "purple",
            Self::Yellow => "yellow",
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }

    /// Red, green, blue.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [240, 0, 30],
            Self::Purple => [155, 50, 210],
            Self::Yellow => [255, 255, 25],
            Self::Blue => [0, 10, 255],
            Self::Green => [0, 255, 0],
        }
    }
}

/// The outline of a mark; filled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum MarkShape {
    /// A rectangle.
    Box {
        /// Its corners.
        rect: ImageRect,
    },
    /// The ellipse inscribed in a rectangle.
    Ellipse {
        /// The rectangle.
        rect: ImageRect,
    },
    /// What a disc sweeps along a path.
    Brush {
        /// The path; at least one point.
        points: Vec<ImagePoint>,
        /// The radius of the disc in pixels.
        radius: f32,
    },
}

/// A coloured mark on a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Where.
    pub shape: MarkShape,
    /// In which of CPT's colours.
    pub colour: MarkColour,
}
