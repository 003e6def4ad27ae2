//! Brush marks on the screen: exactly the pixels that `analysis::annotate` tints, one flat layer for each stroke, in tiles that are
//! converted only where a stroke grows.

use egui::{Color32, Painter, Rect};

use super::tiles::MaskTiles;
use crate::base::geom::{Extent, ImagePoint};
use crate::base::pixels::{Mask, Paint};

/// What is on the graphics side of the strokes, in the order in which they are painted.
#[derive(Default)]
pub(super) struct Strokes {
    list: Vec<Stroke>,
}

impl Strokes {
    /// Paints stroke number `at` of a picture of `extent` that is shown in `place`.
    pub(super) fn paint(
        &mut self,
        at: usize,
        (points, radius): (&[ImagePoint], f32),
        extent: Extent,
        painter: &Painter,
        place: Rect,
        tint: Color32,
    ) {
        if self.list.len() <= at {
            self.list.resize_with(at + 1, Stroke::default);
        }
        if let Some(stroke) = self.list.get_mut(at) {
            stroke.follow(points, radius, extent);
            stroke.tiles.paint(painter, &stroke.mask, place, tint);
        }
    }

    /// Forgets all strokes but the first `count`.
    pub(super) fn keep(&mut self, count: usize) {
        self.list.truncate(count);
    }
}

struct Stroke {
    points: Vec<ImagePoint>,
    radius: f32,
    mask: Mask,
    tiles: MaskTiles,
}

impl Default for Stroke {
    fn default() -> Self {
        let mask = Mask::empty(Extent::new(0, 0));
        Self { points: Vec::new(), radius: 0.0, mask, tiles: MaskTiles::default() }
    }
}

impl Stroke {
    /// Brings the coverage up to `points`; a stroke that only grew gets its new pieces.
    fn follow(&mut self, points: &[ImagePoint], radius: f32, extent: Extent) {
        if self.mask.extent() != extent || self.radius != radius || !points.starts_with(&self.points) {
            *self = Self { radius, mask: Mask::empty(extent), ..Self::default() };
        }
        let known = self.points.len();
        for (index, to) in points.iter().enumerate().skip(known) {
            let from = points[index.saturating_sub(1)];
            self.mask.paint_segment(from, *to, radius, Paint::Add);
        }
        self.points.extend_from_slice(&points[known..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::annotate;
    use crate::job::annotation::MarkShape;

    #[test]
    fn a_stroke_shows_the_pixels_that_are_scored_however_it_grows() {
        let (extent, radius) = (Extent::new(90, 70), 6.5);
        let points = [(10.0, 10.0), (40.0, 12.0), (41.5, 60.0), (8.0, 30.0)].map(|(x, y)| ImagePoint::new(x, y));
        let mut stroke = Stroke::default();
        for end in [1, 2, 4, 2, 3] {
            stroke.follow(&points[..end], radius, extent);
            let shape = MarkShape::Brush { points: points[..end].to_vec(), radius };
            assert_eq!(stroke.mask, annotate::coverage(&shape, extent), "{end} points");
        }
        stroke.follow(&points, radius, Extent::new(50, 50));
        assert_eq!(stroke.mask.extent(), Extent::new(50, 50));
    }
}
