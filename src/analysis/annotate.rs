//! Drawing coloured marks into pictures, exactly as CPT (Yao et al. 2021) tints regions: alpha 127 of 255.

use crate::base::geom::Extent;
use crate::base::pixels::{Mask, Paint, Picture};
use crate::job::annotation::{Mark, MarkColour, MarkShape};

/// `picture` with `marks` drawn over it in their order. Each mark is one flat layer: a stroke that crosses itself is not
/// darker there.
pub fn draw(picture: &Picture, marks: &[Mark]) -> Picture {
    if marks.is_empty() {
        return picture.clone();
    }
    let extent = picture.extent();
    let mut rgb = picture.rgb().to_vec();
    for mark in marks {
        let mask = coverage(&mark.shape, extent);
        let Some(bounds) = mask.painted_bounds() else { continue };
        let row_of = |y: u32| (y as usize * extent.width as usize + bounds.x0 as usize) * 3;
        let covers = mask.coverage_in(bounds);
        let width = (bounds.x1 - bounds.x0) as usize;
        for (y, covers) in (bounds.y0..bounds.y1).zip(covers.chunks_exact(width)) {
            let row = rgb.get_mut(row_of(y)..row_of(y) + width * 3).unwrap_or_default();
            for (pixel, cover) in row.chunks_exact_mut(3).zip(covers) {
                tint(pixel, mark.colour.rgb(), *cover);
            }
        }
    }
    Picture::from_rgb(extent, rgb).unwrap_or_else(|_| picture.clone())
}

/// The pixels that a mark covers in a picture of `extent`.
pub fn coverage(shape: &MarkShape, extent: Extent) -> Mask {
    let mut mask = Mask::empty(extent);
    match shape {
        MarkShape::Box { rect } => {
            mask.paint_rect(*rect, Paint::Add);
        }
        MarkShape::Ellipse { rect } => {
            mask.paint_ellipse(*rect, Paint::Add);
        }
        MarkShape::Brush { points, radius } => {
            if let Some(first) = points.first() {
                mask.paint_segment(*first, *first, *radius, Paint::Add);
            }
            for pair in points.windows(2) {
                mask.paint_segment(pair[0], pair[1], *radius, Paint::Add);
            }
        }
    }
    mask
}

fn tint(pixel: &mut [u8], colour: [u8; 3], cover: u8) {
    let alpha = f32::from(MarkColour::ALPHA) / 255.0 * f32::from(cover) / 255.0;
    for (value, colour) in pixel.iter_mut().zip(colour) {
        *value = (f32::from(*value) + (f32::from(colour) - f32::from(*value)) * alpha).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geom::{ImagePoint, ImageRect};

    #[test]
    fn a_box_tints_its_pixels_as_cpt_does_and_no_others() {
        let picture = Picture::from_fn(Extent::new(8, 8), |x, y| [x as u8 * 30, y as u8 * 30, 100]);
        let rect = ImageRect::from_corners(ImagePoint::new(2.0, 2.0), ImagePoint::new(6.0, 5.0));
        for colour in MarkColour::ALL {
            let drawn = draw(&picture, &[Mark { shape: MarkShape::Box { rect }, colour }]);
            for (x, y) in (0..8).flat_map(|y| (0..8).map(move |x| (x, y))) {
                let old = picture.pixel(x, y).unwrap_or_default();
                let tinted = [0, 1, 2].map(|c| {
                    (f64::from(old[c]) * 128.0 / 255.0 + f64::from(colour.rgb()[c]) * 127.0 / 255.0).round() as u8
                });
                let inside = (2..6).contains(&x) && (2..5).contains(&y);
                assert_eq!(drawn.pixel(x, y), Some(if inside { tinted } else { old }), "{colour:?} at {x}, {y}");
            }
        }
    }

    #[test]
    fn a_stroke_over_itself_is_one_layer() {
        let picture = Picture::from_fn(Extent::new(40, 10), |_, _| [255; 3]);
        let points = [5.0, 35.0, 5.0].map(|x| ImagePoint::new(x, 5.0)).to_vec();
        let drawn =
            draw(&picture, &[Mark { shape: MarkShape::Brush { points, radius: 3.0 }, colour: MarkColour::Blue }]);
        assert_eq!(drawn.pixel(20, 5), Some([128, 133, 255]));
    }
}
