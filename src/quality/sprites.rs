//! Things as small pictures with transparency, as `assets/models/train/sprites.py` renders them: 128 pixels a side, scaled to
//! what a scene needs. So they are as sharp in a scene as they were in training.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::drawings::Drawings;
use super::filters::Plane;
use super::world::World;
use crate::base::geom::Extent;
use crate::models::error::Result;
use crate::models::resample::{Kernel, resample};

/// Pixels a side.
const SIDE: u32 = 128;
/// The style that gets a rim and a shadow.
const STICKER: &str = "sticker";

/// A square picture of premultiplied red, green, blue and alpha.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sprite {
    pub(super) side: u32,
    pub(super) rgba: Vec<u8>,
}

impl Sprite {
    pub(super) fn resized(&self, side: u32) -> Self {
        if side == self.side || side == 0 {
            return self.clone();
        }
        let square = |side| Extent::new(side, side);
        Self { side, rgba: resample(&self.rgba, 4, square(self.side), square(side), Kernel::Lanczos) }
    }

    pub(super) fn mirrored(&self) -> Self {
        let row_bytes = self.side as usize * 4;
        let rows = self.rgba.chunks_exact(row_bytes.max(1));
        Self { side: self.side, rgba: rows.flat_map(|row| row.rchunks_exact(4).flatten().copied()).collect() }
    }

    fn alpha(&self) -> Plane {
        let values = self.rgba.iter().skip(3).step_by(4).copied().collect();
        Plane { extent: Extent::new(self.side, self.side), values }
    }

    /// This sprite over another of the same size.
    fn over(&self, below: &Self) -> Self {
        let pixels = self.rgba.chunks_exact(4).zip(below.rgba.chunks_exact(4));
        let rgba = pixels.flat_map(|(top, under)| [0, 1, 2, 3].map(|c| over(top[c], under[c], top[3])));
        Self { side: self.side, rgba: rgba.collect() }
    }

    /// This sprite moved into the middle of a transparent one of `side`.
    fn framed(&self, side: u32) -> Self {
        let margin = side.saturating_sub(self.side) / 2;
        let mut rgba = vec![0; (side * side * 4) as usize];
        for (y, row) in self.rgba.chunks_exact(self.side as usize * 4).enumerate() {
            let first = ((margin as usize + y) * side as usize + margin as usize) * 4;
            rgba[first..first + row.len()].copy_from_slice(row);
        }
        Self { side, rgba }
    }
}

/// A premultiplied value `top` of this alpha over `below`.
pub(super) fn over(top: u8, below: u8, alpha: u8) -> u8 {
    let kept = u32::from(below) * u32::from(255 - alpha) + 128;
    top.saturating_add((((kept >> 8) + kept) >> 8) as u8)
}

/// All things in all styles, each rendered when it is first asked for.
pub(super) struct Sprites {
    drawings: Drawings,
    /// By style and thing.
    rendered: RefCell<HashMap<(usize, usize), Rc<Sprite>>>,
}

impl Sprites {
    pub(super) fn load() -> Result<Self> {
        Ok(Self { drawings: Drawings::load()?, rendered: RefCell::default() })
    }

    pub(super) fn get(&self, world: &World, style: usize, thing: usize) -> Result<Rc<Sprite>> {
        if let Some(sprite) = self.rendered.borrow().get(&(style, thing)) {
            return Ok(sprite.clone());
        }
        let style_name = &world.styles[style].name;
        let plain = Sprite { side: SIDE, rgba: self.drawings.render(style_name, &world.things[thing].name, SIDE)? };
        let sprite = Rc::new(if style_name == STICKER { as_sticker(&plain) } else { plain });
        self.rendered.borrow_mut().insert((style, thing), sprite.clone());
        Ok(sprite)
    }
}

/// The icon, a little smaller, on a white rim with a soft shadow.
fn as_sticker(icon: &Sprite) -> Sprite {
    let side = icon.side as f32;
    let (rim, inner) = ((side * 0.045).round() as usize, (side * 0.86).round() as u32);
    let small = icon.resized(inner).framed(icon.side);
    let width = rim / 2 * 2 + 1;
    let largest = width * width - 1;
    let alpha = small.alpha().ranked(width, largest).ranked(width, largest).blurred(side / 128.0);
    let (dx, dy) = ((side * 0.012).round() as usize, (side * 0.025).round() as usize);
    let mut shadow = alpha.map(|_| 0);
    let stride = icon.side as usize;
    for (y, row) in alpha.values.chunks_exact(stride).enumerate().take(stride - dy) {
        let first = (y + dy) * stride + dx;
        let moved = row[..stride - dx].iter().map(|v| (u16::from(*v) * 90 / 255) as u8);
        shadow.values[first..first + stride - dx].iter_mut().zip(moved).for_each(|(out, v)| *out = v);
    }
    let shadow = coloured(&shadow.blurred(side / 50.0), [20, 20, 30]);
    small.over(&coloured(&alpha, [255; 3]).over(&shadow))
}

/// A sprite of one colour.
fn coloured(alpha: &Plane, colour: [u8; 3]) -> Sprite {
    let premultiplied = |c: u8, alpha: u8| ((u32::from(c) * u32::from(alpha) + 127) / 255) as u8;
    let pixel = |a: &u8| [premultiplied(colour[0], *a), premultiplied(colour[1], *a), premultiplied(colour[2], *a), *a];
    Sprite { side: alpha.extent.width, rgba: alpha.values.iter().flat_map(pixel).collect() }
}
