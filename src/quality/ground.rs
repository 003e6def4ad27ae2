//! What scenes are drawn on: canvases with their label maps, colours and places.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::sprites::{Sprite, over};
use super::world::World;
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::models::error::{ModelError, Result};

/// How far a colour varies, up and down.
const COLOUR_JITTER: i16 = 6;
const STARS: usize = 36;

/// A square picture in the making, with the label of each pixel: 0 is background, k + 1 the k-th thing of the world.
pub(super) struct Canvas {
    side: u32,
    pixels: Vec<[u8; 3]>,
    pub(super) labels: Vec<u16>,
}

impl Canvas {
    fn from_fn(side: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> Self {
        let pixels: Vec<[u8; 3]> =
            (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).map(|(x, y)| colour(x, y)).collect();
        Self { side, labels: vec![0; pixels.len()], pixels }
    }

    /// A background of the world, by index.
    pub(super) fn background(world: &World, index: usize, side: u32, r: &mut impl Rng) -> Result<Self> {
        if let Some(colour) = world.colours.get(index) {
            let shade =
                colour.rgb.map(|v| (i16::from(v) + r.random_range(-COLOUR_JITTER..=COLOUR_JITTER)).clamp(0, 255) as u8);
            return Ok(Self::from_fn(side, |_, _| shade));
        }
        let name = world.places.get(index - world.colours.len()).map_or("", |place| place.name.as_str());
        Ok(match name {
            "sunset" => Self::gradient(side, [250, 120, 60], [120, 40, 110]),
            "night" => Self::night(side, r),
            "meadow" => Self::landscape(side, 0.72, [[120, 190, 250], [215, 240, 255], [90, 180, 70], [60, 140, 50]]),
            "sea" => Self::landscape(side, 0.6, [[140, 200, 250], [220, 240, 255], [30, 110, 190], [10, 60, 140]]),
            "checkerboard" => {
                let cell = (side / 8).max(1);
                Self::from_fn(
                    side,
                    |x, y| {
                        if (x / cell + y / cell).is_multiple_of(2) { [215, 215, 220] } else { [245; 3] }
                    },
                )
            }
            _ => {
                let reason = format!("this program cannot draw the place \"{name}\"");
                return Err(ModelError::BadFile { path: "(built in)/world/world.json".into(), reason });
            }
        })
    }

    fn gradient(side: u32, top: [u8; 3], bottom: [u8; 3]) -> Self {
        Self::from_fn(side, |_, y| mixed(top, bottom, y, side))
    }

    /// Sky above a horizon and land or water below it; each a part of a gradient over the whole height.
    fn landscape(side: u32, horizon: f64, [sky_top, sky_bottom, land_top, land_bottom]: [[u8; 3]; 4]) -> Self {
        let horizon = (f64::from(side) * horizon) as u32;
        Self::from_fn(side, |_, y| match y < horizon {
            true => mixed(sky_top, sky_bottom, y, side),
            false => mixed(land_top, land_bottom, y, side),
        })
    }

    fn night(side: u32, r: &mut impl Rng) -> Self {
        let mut canvas = Self::gradient(side, [10, 14, 50], [40, 40, 90]);
        let (end, unit) = (f64::from(side), f64::from(side) / 128.0);
        for _ in 0..STARS {
            let (x, y) = (r.random_range(0.0..end), r.random_range(0.0..end));
            let shade = r.random_range(150..=255);
            let radius = [0.5, 0.5, 1.2].choose(r).copied().unwrap_or(0.5) * unit;
            canvas.star(x, y, radius, shade);
        }
        canvas
    }

    /// An ellipse in whole pixels, within its bounds cut to whole numbers as Pillow does.
    fn star(&mut self, x: f64, y: f64, radius: f64, shade: u8) {
        let [left, right] = [(x - radius) as i64, (x + radius) as i64];
        let [top, bottom] = [(y - radius) as i64, (y + radius) as i64];
        let part = |at: i64, low: i64, high: i64| {
            // A little more than half the width: this gives Pillow's shapes for all sizes that stars have.
            ((2 * at - low - high) as f64 / 2.0 / ((high - low) as f64 / 2.0 + 0.3)).powi(2)
        };
        for py in top..=bottom {
            for px in (left..=right).filter(|px| part(*px, left, right) + part(py, top, bottom) <= 1.0) {
                if let Some(pixel) = self.index(px, py).and_then(|at| self.pixels.get_mut(at)) {
                    *pixel = [shade; 3];
                }
            }
        }
    }

    fn index(&self, x: i64, y: i64) -> Option<usize> {
        let inside = 0..i64::from(self.side);
        (inside.contains(&x) && inside.contains(&y)).then(|| (y * i64::from(self.side) + x) as usize)
    }

    /// Puts a sprite with its top left corner at (x, y); what is more than half opaque gets the label.
    pub(super) fn paste(&mut self, sprite: &Sprite, x: i64, y: i64, label: u16) {
        let side = sprite.side as usize;
        for (at, source) in sprite.rgba.chunks_exact(4).enumerate() {
            let Some(target) = self.index(x + (at % side) as i64, y + (at / side) as i64) else { continue };
            let below = self.pixels[target];
            self.pixels[target] = [0, 1, 2].map(|c| over(source[c], below[c], source[3]));
            if source[3] > 128 {
                self.labels[target] = label;
            }
        }
    }

    pub(super) fn picture(&self) -> Picture {
        let mut pixels = self.pixels.iter();
        Picture::from_fn(Extent::new(self.side, self.side), |_, _| pixels.next().copied().unwrap_or_default())
    }
}

/// The colour in row `y` of a gradient over `side` rows.
fn mixed(top: [u8; 3], bottom: [u8; 3], y: u32, side: u32) -> [u8; 3] {
    let t = f64::from(y) / f64::from(side.saturating_sub(1).max(1));
    [0, 1, 2].map(|c| ((1.0 - t) * f64::from(top[c]) + t * f64::from(bottom[c])) as u8)
}
