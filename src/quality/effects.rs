//! The effects of the built-in models' world: what `EFFECT_FUNCTIONS` of `assets/models/train/world.py` do with Pillow.

use super::filters::Plane;
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::models::resample::{Kernel, resample};

/// Squares a side of pixel art.
const PIXELS: u32 = 24;
const EDGES: [[f32; 3]; 3] = [[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]];
const SMOOTH: [[f32; 5]; 5] = [
    [1.0, 1.0, 1.0, 1.0, 1.0],
    [1.0, 5.0, 5.0, 5.0, 1.0],
    [1.0, 5.0, 44.0, 5.0, 1.0],
    [1.0, 5.0, 5.0, 5.0, 1.0],
    [1.0, 1.0, 1.0, 1.0, 1.0],
];

/// `picture` under the effect of this name; `None` if there is no such effect.
pub fn apply(effect: &str, picture: &Picture) -> Option<Picture> {
    Some(match effect {
        "pencil sketch" => {
            let gray = sketch(picture);
            Plane::join(&[gray.clone(), gray.clone(), gray])
        }
        "pixel art" => pixelated(picture),
        "black and white photo" => toned(picture, [255.0; 3]),
        "sepia toned" => toned(picture, [262.0, 225.0, 170.0]),
        "neon glow" => neon(picture),
        "foggy" => blended(picture, [225, 228, 232], 0.55),
        "watercolor painting" => watercolor(picture),
        "blurry" => Plane::join(&Plane::split(picture).map(|plane| plane.blurred(3.0 * unit(picture)))),
        "blueprint" => blueprint(picture),
        _ => return None,
    })
}

/// Sizes in the effects are for pictures 128 pixels wide.
fn unit(picture: &Picture) -> f32 {
    picture.extent().width as f32 / 128.0
}

/// Brightness divided by what is around it.
fn sketch(picture: &Picture) -> Plane {
    let gray = Plane::luma(picture);
    let around = gray.map(|v| 255 - v).blurred(4.0 * unit(picture));
    gray.zip(&around, |a, b| (f32::from(a) * 255.0 / (256.0 - f32::from(b))).min(255.0) as u8)
}

fn toned(picture: &Picture, colour: [f64; 3]) -> Picture {
    let gray = Plane::luma(picture);
    let tone = |full: f64| gray.map(|v| (f64::from(f32::from(v) / 255.0) * full).clamp(0.0, 255.0) as u8);
    Plane::join(&colour.map(tone))
}

fn pixelated(picture: &Picture) -> Picture {
    let (extent, squares) = (picture.extent(), Extent::new(PIXELS, PIXELS));
    if extent.area() == 0 {
        return picture.clone();
    }
    let small = resample(picture.rgb(), 3, extent, squares, Kernel::Box);
    let cell = |at: u32, side: u32| ((f64::from(at) + 0.5) * f64::from(PIXELS) / f64::from(side)) as usize;
    Picture::from_fn(extent, |x, y| {
        let first = (cell(y, extent.height) * PIXELS as usize + cell(x, extent.width)) * 3;
        [small[first], small[first + 1], small[first + 2]]
    })
}

/// Bright edges with a glow. The outermost two pixels have none, for edges are not known there.
fn neon(picture: &Picture) -> Picture {
    let Extent { width, height } = picture.extent();
    let is_inside = |at: u32| {
        let (x, y) = (at % width, at / width);
        x >= 2 && y >= 2 && x + 2 < width && y + 2 < height
    };
    let mut ground = [8u8, 4, 20].into_iter();
    let lit = Plane::split(picture).map(|plane| {
        let mut edges = plane.convolved(&EDGES, 1.0);
        edges.values.iter_mut().zip(0..).filter(|(_, at)| !is_inside(*at)).for_each(|(v, _)| *v = 0);
        let glow = edges.blurred(3.0 * unit(picture)).map(|v| v.saturating_mul(2));
        let bright = edges.map(|v| (f64::from(v) * 2.2).min(255.0) as u8);
        let least = ground.next().unwrap_or(0);
        bright.zip(&glow, |a, b| a.saturating_add(b).saturating_add(least))
    });
    Plane::join(&lit)
}

fn watercolor(picture: &Picture) -> Picture {
    let soft = Plane::split(picture).map(|plane| plane.ranked(5, 12).convolved(&SMOOTH, 100.0));
    blended(&Plane::join(&soft), [255, 252, 245], 0.3)
}

fn blueprint(picture: &Picture) -> Picture {
    let lines = sketch(picture).values;
    let (paper, ink) = ([25.0, 70.0, 160.0], [235.0, 243.0, 255.0]);
    let mut lines = lines.iter().map(|v| f64::from((1.6 * (255.0 - f32::from(*v)) / 255.0).clamp(0.0, 1.0)));
    Picture::from_fn(picture.extent(), |_, _| {
        let line = lines.next().unwrap_or(0.0);
        [0, 1, 2].map(|c| (paper[c] + (ink[c] - paper[c]) * line) as u8)
    })
}

/// As `Image.blend`, which cuts off fractions.
fn blended(picture: &Picture, colour: [u8; 3], share: f32) -> Picture {
    Picture::from_fn(picture.extent(), |x, y| {
        let old = picture.pixel(x, y).unwrap_or([0; 3]).map(f32::from);
        [0, 1, 2].map(|c| (old[c] + share * (f32::from(colour[c]) - old[c])) as u8)
    })
}
