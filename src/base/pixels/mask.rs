//! A mask: how much of each pixel is painted, from 0 to 255, in shared 64x64 tiles.
//!
//! Painting copies only the tiles that it touches, so that keeping every undo state is cheap.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeStruct};
use sha2::{Digest, Sha256};

use super::Revision;
use crate::base::geom::{Bounds, Extent, ImagePoint, ImageRect};

const TILE: u32 = 64;
const TILE_PIXELS: usize = (TILE * TILE) as usize;
type Tile = [u8; TILE_PIXELS];

/// Whether a shape adds to the mask or takes away from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum Paint {
    /// The shape becomes part of the mask.
    Add,
    /// The shape is removed from the mask.
    Erase,
}

/// Coverage of a picture's pixels, 0 (outside) to 255 (inside). Clones share tiles.
#[derive(Clone)]
pub struct Mask {
    extent: Extent,
    /// Row by row; `None` is an all-zero tile.
    tiles: Vec<Option<Arc<Tile>>>,
    revision: Revision,
}

impl Mask {
    /// An empty mask for a picture of `extent`.
    pub fn empty(extent: Extent) -> Self {
        let tiles = extent.width.div_ceil(TILE) as usize * extent.height.div_ceil(TILE) as usize;
        Self { extent, tiles: vec![None; tiles], revision: Revision::fresh() }
    }

    /// A mask from its coverage, `height * width` bytes; shorter input counts as zero.
    pub fn from_coverage(extent: Extent, coverage: &[u8]) -> Self {
        let mut mask = Self::empty(extent);
        let width = extent.width as usize;
        mask.paint_with(extent.bounds(), Paint::Add, |x, y| {
            coverage.get(y as usize * width + x as usize).copied().unwrap_or(0)
        });
        mask
    }

    /// The size in pixels.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Changes with every change of the pixels.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether no pixel is painted.
    pub fn is_empty(&self) -> bool {
        self.tiles.iter().flatten().all(|tile| tile.iter().all(|v| *v == 0))
    }

    /// The coverage of the pixel at column `x` and row `y`; 0 outside.
    pub fn coverage(&self, x: u32, y: u32) -> u8 {
        if x >= self.extent.width || y >= self.extent.height {
            return 0;
        }
        self.tiles[self.tile_index(x, y)].as_ref().map_or(0, |tile| tile[Self::index_in_tile(x, y)])
    }

    /// All coverages, `height * width` bytes.
    pub fn to_coverage(&self) -> Vec<u8> {
        self.coverage_in(self.extent.bounds())
    }

    /// The coverages inside `bounds` (which must lie inside the mask), row by row.
    pub fn coverage_in(&self, bounds: Bounds) -> Vec<u8> {
        let mut out = Vec::with_capacity(bounds.extent().area());
        for y in bounds.y0..bounds.y1 {
            let mut x = bounds.x0;
            while x < bounds.x1 {
                let run = (TILE - x % TILE).min(bounds.x1 - x) as usize;
                match &self.tiles[self.tile_index(x, y)] {
                    Some(tile) => out.extend_from_slice(&tile[Self::index_in_tile(x, y)..][..run]),
                    None => out.resize(out.len() + run, 0),
                }
                x += run as u32;
            }
        }
        out
    }

    /// The smallest bounds that hold every painted pixel; `None` if there is none.
    pub fn painted_bounds(&self) -> Option<Bounds> {
        let mut found: Option<Bounds> = None;
        for (at, tile) in self.tiles.iter().enumerate() {
            let Some(tile) = tile else { continue };
            let columns = self.extent.width.div_ceil(TILE);
            let (left, top) = (at as u32 % columns * TILE, at as u32 / columns * TILE);
            for (index, _) in tile.iter().enumerate().filter(|(_, v)| **v > 0) {
                let (x, y) = (left + index as u32 % TILE, top + index as u32 / TILE);
                let pixel = Bounds { x0: x, y0: y, x1: x + 1, y1: y + 1 };
                found = Some(found.map_or(pixel, |bounds| bounds.union(pixel)));
            }
        }
        found
    }

    /// The smallest bounds of whole tiles that may differ from `earlier`, a mask of the same size; `None` if none does.
    pub fn changed_since(&self, earlier: &Self) -> Option<Bounds> {
        let columns = self.extent.width.div_ceil(TILE);
        let same = |a: &Option<Arc<Tile>>, b: &Option<Arc<Tile>>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let differing = self.tiles.iter().zip(&earlier.tiles).enumerate().filter(|(_, (a, b))| !same(a, b));
        let bounds = differing.map(|(at, _)| {
            let (x0, y0) = (at as u32 % columns * TILE, at as u32 / columns * TILE);
            Bounds { x0, y0, x1: (x0 + TILE).min(self.extent.width), y1: (y0 + TILE).min(self.extent.height) }
        });
        bounds.reduce(Bounds::union)
    }

    /// Paints the capsule that a disc of `radius` sweeps from `from` to `to`, with an edge one pixel soft.
    /// Returns what may have changed.
    pub fn paint_segment(&mut self, from: ImagePoint, to: ImagePoint, radius: f32, paint: Paint) -> Option<Bounds> {
        let reach = radius + 1.0;
        let bounds = Bounds::touched(
            ImagePoint::new(from.x.min(to.x) - reach, from.y.min(to.y) - reach),
            ImagePoint::new(from.x.max(to.x) + reach, from.y.max(to.y) + reach),
            self.extent,
        )?;
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        let length_squared = dx * dx + dy * dy;
        let (surely_inside, surely_outside) = (squared((radius - 0.5).max(0.0)), squared(radius + 0.5));
        self.paint_with(bounds, paint, |x, y| {
            let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
            let t = if length_squared > 0.0 { ((px - from.x) * dx + (py - from.y) * dy) / length_squared } else { 0.0 };
            let t = t.clamp(0.0, 1.0);
            let (away_x, away_y) = (px - from.x - t * dx, py - from.y - t * dy);
            let distance_squared = away_x * away_x + away_y * away_y;
            // A root only for the pixels of the soft edge.
            match distance_squared {
                d if d <= surely_inside => 255,
                d if d >= surely_outside => 0,
                d => coverage_from_distance(d.sqrt() - radius),
            }
        });
        Some(bounds)
    }

    /// Paints `rect`. Returns what may have changed.
    pub fn paint_rect(&mut self, rect: ImageRect, paint: Paint) -> Option<Bounds> {
        let bounds = Bounds::touched(rect.min, rect.max, self.extent)?;
        self.paint_with(bounds, paint, |x, y| {
            let overlap =
                |low: f32, high: f32, at: u32| (high.min(at as f32 + 1.0) - low.max(at as f32)).clamp(0.0, 1.0);
            (overlap(rect.min.x, rect.max.x, x) * overlap(rect.min.y, rect.max.y, y) * 255.0).round() as u8
        });
        Some(bounds)
    }

    /// Paints the ellipse inscribed in `rect`. Returns what may have changed.
    pub fn paint_ellipse(&mut self, rect: ImageRect, paint: Paint) -> Option<Bounds> {
        let bounds = Bounds::touched(rect.min, rect.max, self.extent)?;
        let (center, rx, ry) = (rect.center(), rect.width() * 0.5, rect.height() * 0.5);
        if rx <= 0.0 || ry <= 0.0 {
            return None;
        }
        // A pixel's half diagonal away from the outline even where the ellipse is thinnest.
        let soft = 1.0 / rx.min(ry);
        let (surely_inside, surely_outside) = (squared((1.0 - soft).max(0.0)), squared(1.0 + soft));
        self.paint_with(bounds, paint, |x, y| {
            let (ux, uy) = ((x as f32 + 0.5 - center.x) / rx, (y as f32 + 0.5 - center.y) / ry);
            match ux * ux + uy * uy {
                squared if squared <= surely_inside => return 255,
                squared if squared >= surely_outside => return 0,
                _ => {}
            }
            // First-order distance to the ellipse: f / |grad f| for f = |u| - 1.
            let length = ux.hypot(uy);
            let gradient = (ux / rx).hypot(uy / ry).max(1e-9) / length.max(1e-9);
            coverage_from_distance((length - 1.0) / gradient)
        });
        Some(bounds)
    }

    /// Replaces every coverage by 255 minus it.
    pub fn invert(&mut self) {
        self.revision = Revision::fresh();
        let (width, height) = (self.extent.width, self.extent.height);
        let columns = width.div_ceil(TILE);
        // Most tiles are empty and inside: they share one full tile.
        let full = Arc::new([255; TILE_PIXELS]);
        for (at, slot) in self.tiles.iter_mut().enumerate() {
            let (left, top) = (at as u32 % columns * TILE, at as u32 / columns * TILE);
            if slot.is_none() && left + TILE <= width && top + TILE <= height {
                *slot = Some(full.clone());
                continue;
            }
            let tile = Arc::make_mut(slot.get_or_insert_with(|| Arc::new([0; TILE_PIXELS])));
            for (index, pixel) in tile.iter_mut().enumerate() {
                let is_inside = left + index as u32 % TILE < width && top + index as u32 / TILE < height;
                *pixel = if is_inside { 255 - *pixel } else { 0 };
            }
        }
    }

    /// The bytes of the tiles that `other` does not share: what keeping `self` beside `other` costs.
    pub fn bytes_not_shared_with(&self, other: &Self) -> usize {
        let shares = |(at, tile): (usize, &Arc<Tile>)| {
            other.tiles.get(at).is_some_and(|o| o.as_ref().is_some_and(|o| Arc::ptr_eq(o, tile)))
        };
        let tiles = self.tiles.iter().enumerate().filter_map(|(at, tile)| tile.as_ref().map(|tile| (at, tile)));
        tiles.filter(|tile| !shares(*tile)).count() * TILE_PIXELS
    }

    fn paint_with(&mut self, bounds: Bounds, paint: Paint, coverage: impl Fn(u32, u32) -> u8) {
        self.revision = Revision::fresh();
        let columns = self.extent.width.div_ceil(TILE);
        for tile_y in bounds.y0 / TILE..bounds.y1.div_ceil(TILE) {
            for tile_x in bounds.x0 / TILE..bounds.x1.div_ceil(TILE) {
                let slot = &mut self.tiles[(tile_y * columns + tile_x) as usize];
                if slot.is_none() && paint == Paint::Erase {
                    continue;
                }
                let tile = Arc::make_mut(slot.get_or_insert_with(|| Arc::new([0; TILE_PIXELS])));
                for y in bounds.y0.max(tile_y * TILE)..bounds.y1.min((tile_y + 1) * TILE) {
                    for x in bounds.x0.max(tile_x * TILE)..bounds.x1.min((tile_x + 1) * TILE) {
                        let pixel = &mut tile[Self::index_in_tile(x, y)];
                        *pixel = match paint {
                            Paint::Add => (*pixel).max(coverage(x, y)),
                            Paint::Erase => (*pixel).min(255 - coverage(x, y)),
                        };
                    }
                }
                if tile.iter().all(|v| *v == 0) {
                    *slot = None;
                }
            }
        }
    }

    fn tile_index(&self, x: u32, y: u32) -> usize {
        (y / TILE * self.extent.width.div_ceil(TILE) + x / TILE) as usize
    }

    fn index_in_tile(x: u32, y: u32) -> usize {
        (y % TILE * TILE + x % TILE) as usize
    }
}

fn squared(v: f32) -> f32 {
    v * v
}

fn coverage_from_distance(distance: f32) -> u8 {
    ((0.5 - distance).clamp(0.0, 1.0) * 255.0).round() as u8
}

impl PartialEq for Mask {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Option<Arc<Tile>>, &Option<Arc<Tile>>)| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (Some(only), None) | (None, Some(only)) => only.iter().all(|v| *v == 0),
        };
        self.extent == other.extent
            && (self.revision == other.revision || self.tiles.iter().zip(&other.tiles).all(same))
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({}, painted {:?})", self.extent, self.painted_bounds())
    }
}

/// Coverage stays out of records: a mask is written as its size and hash.
impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("Mask", 3)?;
        record.serialize_field("width", &self.extent.width)?;
        record.serialize_field("height", &self.extent.height)?;
        record.serialize_field("sha256", &format!("{:x}", Sha256::digest(self.to_coverage())))?;
        record.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(mask: &Mask, expect: Expect) {
        let row = |y| {
            (0..mask.extent.width).map(|x| [' ', '.', 'o', '#'][mask.coverage(x, y) as usize / 64]).collect::<String>()
        };
        let rows: Vec<String> = (0..mask.extent.height).map(|y| format!("|{}\n", row(y).trim_end())).collect();
        expect.assert_eq(&rows.concat());
    }

    #[test]
    fn shapes_cover_what_they_should() {
        let at = ImagePoint::new;
        let mut mask = Mask::empty(Extent::new(14, 7));
        mask.paint_segment(at(3.5, 3.5), at(6.5, 3.5), 2.5, Paint::Add);
        mask.paint_rect(ImageRect::from_corners(at(10.0, 1.0), at(13.0, 6.0)), Paint::Add);
        mask.paint_segment(at(11.5, 3.5), at(11.5, 3.5), 1.0, Paint::Erase);
        check(
            &mask,
            expect![[r#"
                |
                |  ######  ###
                | ######## #.#
                | ######## . .
                | ######## #.#
                |  ######  ###
                |
            "#]],
        );
    }

    #[test]
    fn an_ellipse_stays_inside_its_rectangle() {
        let mut mask = Mask::empty(Extent::new(12, 6));
        let rect = ImageRect::from_corners(ImagePoint::new(1.0, 1.0), ImagePoint::new(11.0, 5.0));
        mask.paint_ellipse(rect, Paint::Add);
        check(
            &mask,
            expect![[r#"
                |
                |  .o####o.
                | ##########
                | ##########
                |  .o####o.
                |
            "#]],
        );
    }

    #[test]
    fn painting_shares_the_tiles_it_does_not_touch() {
        let mut before = Mask::empty(Extent::new(256, 256));
        before
            .paint_rect(ImageRect::from_corners(ImagePoint::new(0.0, 0.0), ImagePoint::new(256.0, 256.0)), Paint::Add);
        let mut after = before.clone();
        after.paint_segment(ImagePoint::new(10.0, 10.0), ImagePoint::new(10.0, 10.0), 4.0, Paint::Erase);
        assert_eq!(after.bytes_not_shared_with(&before), TILE_PIXELS);
        assert_ne!(after, before);
    }

    #[test]
    fn coverage_survives_a_round_trip_at_odd_sizes() {
        let extent = Extent::new(131, 67);
        let coverage: Vec<u8> = (0..extent.area()).map(|i| (i * 7 % 256) as u8).collect();
        let mut mask = Mask::from_coverage(extent, &coverage);
        assert_eq!(mask.to_coverage(), coverage);
        mask.invert();
        assert!(mask.to_coverage().iter().zip(&coverage).all(|(a, b)| *a == 255 - b));
        mask.invert();
        assert_eq!(mask.to_coverage(), coverage);
        let mut nothing = Mask::empty(extent);
        nothing.invert();
        assert_eq!(nothing.painted_bounds(), Some(extent.bounds()));
    }
}
