//! Sizes and places. A point says in its type which space it lives in, so spaces cannot be mixed by accident.
//!
//! Pixel coordinates are continuous: pixel (0, 0) covers the square from (0.0, 0.0) to (1.0, 1.0).
//! Screen space belongs to `ui`, latent space to `pipelines`; neither is known here.

use serde::{Deserialize, Serialize};

/// A size in pixels: `width` x `height`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Extent {
    /// A size of `width` x `height` pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// How many pixels there are.
    pub const fn area(self) -> usize {
        self.width as usize * self.height as usize
    }

    /// The longer side in pixels.
    pub fn longest(self) -> u32 {
        self.width.max(self.height)
    }

    /// The shorter side in pixels.
    pub fn shortest(self) -> u32 {
        self.width.min(self.height)
    }

    /// The bounds that cover the whole extent.
    pub const fn bounds(self) -> Bounds {
        Bounds { x0: 0, y0: 0, x1: self.width, y1: self.height }
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The text is not of the form `WIDTHxHEIGHT`, such as `512x768`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a size; write WIDTHxHEIGHT, such as 128x128")]
pub struct NotAnExtent(String);

impl std::str::FromStr for Extent {
    type Err = NotAnExtent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (width, height) = text.trim().split_once(['x', 'X', '×'])?;
            let extent = Self::new(width.trim().parse().ok()?, height.trim().parse().ok()?);
            (extent.width > 0 && extent.height > 0).then_some(extent)
        };
        parse().ok_or_else(|| NotAnExtent(text.to_owned()))
    }
}

/// A point in a picture, in continuous pixel coordinates of that picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImagePoint {
    /// To the right, in pixels.
    pub x: f32,
    /// Downwards, in pixels.
    pub y: f32,
}

impl ImagePoint {
    /// The point (`x`, `y`).
    pub const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// The distance to `other` in pixels.
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// The point `t` of the way from here to `other`.
    pub fn lerp(self, other: Self, t: f32) -> Self {
        Self::new(self.x + (other.x - self.x) * t, self.y + (other.y - self.y) * t)
    }
}

/// A rectangle in a picture, in continuous pixel coordinates; `min` is at most `max` on both axes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImageRect {
    /// The corner at the upper left.
    pub min: ImagePoint,
    /// The corner at the lower right.
    pub max: ImagePoint,
}

impl ImageRect {
    /// The rectangle that has `a` and `b` as opposite corners.
    pub fn from_corners(a: ImagePoint, b: ImagePoint) -> Self {
        Self { min: ImagePoint::new(a.x.min(b.x), a.y.min(b.y)), max: ImagePoint::new(a.x.max(b.x), a.y.max(b.y)) }
    }

    /// Width in pixels.
    pub fn width(self) -> f32 {
        self.max.x - self.min.x
    }

    /// Height in pixels.
    pub fn height(self) -> f32 {
        self.max.y - self.min.y
    }

    /// The point in the middle.
    pub fn center(self) -> ImagePoint {
        self.min.lerp(self.max, 0.5)
    }
}

/// A half-open rectangle of whole pixels: columns `x0..x1`, rows `y0..y1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// First column.
    pub x0: u32,
    /// First row.
    pub y0: u32,
    /// One past the last column.
    pub x1: u32,
    /// One past the last row.
    pub y1: u32,
}

impl Bounds {
    /// The pixels of `extent` that a shape reaching from `min` to `max` can touch; `None` if it touches none.
    pub fn touched(min: ImagePoint, max: ImagePoint, extent: Extent) -> Option<Self> {
        let low = |v: f32, end: u32| v.floor().clamp(0.0, end as f32) as u32;
        let high = |v: f32, end: u32| v.ceil().clamp(0.0, end as f32) as u32;
        let bounds = Self {
            x0: low(min.x, extent.width),
            y0: low(min.y, extent.height),
            x1: high(max.x, extent.width),
            y1: high(max.y, extent.height),
        };
        (bounds.x0 < bounds.x1 && bounds.y0 < bounds.y1).then_some(bounds)
    }

    /// What lies in both; `None` if that is nothing.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (x0, y0) = (self.x0.max(other.x0), self.y0.max(other.y0));
        let (x1, y1) = (self.x1.min(other.x1), self.y1.min(other.y1));
        (x0 < x1 && y0 < y1).then_some(Self { x0, y0, x1, y1 })
    }

    /// The smallest bounds that hold both.
    pub fn union(self, other: Self) -> Self {
        Self {
            x0: self.x0.min(other.x0),
            y0: self.y0.min(other.y0),
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
        }
    }

    /// The size in pixels.
    pub const fn extent(self) -> Extent {
        Extent::new(self.x1 - self.x0, self.y1 - self.y0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!("512x768".parse(), Ok(Extent::new(512, 768)));
        assert_eq!(" 64 X 32 ".parse(), Ok(Extent::new(64, 32)));
        for bad in ["", "512", "0x5", "-1x4", "axb", "5x5x5"] {
            assert!(bad.parse::<Extent>().is_err(), "{bad:?} was taken for a size");
        }
    }

    #[test]
    fn fitting_keeps_the_shape_and_never_enlarges() {}

    #[test]
    fn shapes_outside_the_picture_touch_nothing() {
        let extent = Extent::new(10, 10);
        let at = ImagePoint::new;
        assert_eq!(Bounds::touched(at(-5.0, -5.0), at(-1.0, 20.0), extent), None);
        assert_eq!(Bounds::touched(at(-5.0, 2.5), at(1.2, 3.0), extent), Some(Bounds { x0: 0, y0: 2, x1: 2, y1: 3 }));
    }
}
