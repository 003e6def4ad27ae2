//! Pictures and masks on the graphics side, in tiles: a large picture is scaled and converted on a thread of its own, and a few of
//! its tiles are handed over in each frame.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};

use egui::epaint::RectShape;
use egui::{Color32, ColorImage, Context, Painter, Rect, TextureHandle, TextureOptions, pos2};

use crate::base::geom::{Bounds, Extent};
use crate::base::pixels::{Mask, Picture, Revision};

const TILE: u32 = 1024;
/// The mask's tiles are smaller: they are converted in the frame that first paints into them.
const MASK_TILE: u32 = 256;
/// Up to this many pixels are prepared at once in the frame that needs them: well under a millisecond.
const AT_ONCE: usize = 1 << 18;
const UPLOADS_PER_FRAME: usize = 2;
/// A tile of a mask takes about a tenth of a millisecond.
const MASK_UPLOADS_PER_FRAME: usize = 12;
/// Scales that were not shown for this many frames are dropped.
const KEPT_FRAMES: u64 = 120;
/// The smallest scale is 1/32.
const COARSEST: u32 = 5;

/// One picture at one scale: `level` 1 is half the size, 2 a quarter. Crisp layers show pixels as squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    revision: Revision,
    level: u32,
    is_crisp: bool,
}

enum Content {
    Ready(ColorImage),
    Uploaded(TextureHandle),
}

/// A part of a scaled picture; its image has one more pixel on each inner side, so that no seam shows.
struct Tile {
    inner: Bounds,
    outer: Bounds,
    content: Content,
}

struct Layer {
    extent: Extent,
    /// `None` while the thread prepares them.
    tiles: Option<Vec<Tile>>,
    used: u64,
}

/// A place of the window that shows a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    /// The picture that is worked on.
    Canvas,
    /// The picture that forms, with rounded corners.
    Preview,
    /// One of many results.
    Thumbnail,
}

impl Slot {
    fn corner_radius(self) -> u8 {
        match self {
            Self::Canvas => 0,
            Self::Preview => 8,
            Self::Thumbnail => 6,
        }
    }
}

/// What a slot showed last in full: it stays until its successor of the same size is ready.
struct Shown {
    key: Key,
    extent: Extent,
}

/// The tiles of the pictures that were shown lately.
pub(super) struct PictureTiles {
    ctx: Context,
    sender: Sender<(Key, Vec<Tile>)>,
    receiver: Receiver<(Key, Vec<Tile>)>,
    layers: HashMap<Key, Layer>,
    shown: HashMap<Slot, Shown>,
    frame: u64,
    uploads_left: usize,
}

impl PictureTiles {
    pub(super) fn new(ctx: &Context) -> Self {
        let (sender, receiver) = channel();
        let (layers, shown) = (HashMap::new(), HashMap::new());
        Self { ctx: ctx.clone(), sender, receiver, layers, shown, frame: 0, uploads_left: 0 }
    }

    /// Takes what was prepared and forgets what was not shown lately.
    pub(super) fn begin_frame(&mut self) {
        self.frame += 1;
        self.uploads_left = UPLOADS_PER_FRAME;
        while let Ok((key, tiles)) = self.receiver.try_recv() {
            if let Some(layer) = self.layers.get_mut(&key) {
                layer.tiles = Some(tiles);
            }
        }
        let oldest = self.frame.saturating_sub(KEPT_FRAMES);
        self.layers.retain(|_, layer| layer.used >= oldest);
    }

    /// Paints `picture` into `place`, at the best scale that is ready; asks for another frame while a better one is not. Until there
    /// is anything of it, the last picture of the same size that `slot` showed stays.
    pub(super) fn paint(&mut self, slot: Slot, painter: &Painter, picture: &Picture, place: Rect, is_crisp: bool) {
        let extent = picture.extent();
        let scale = place.width() * painter.pixels_per_point() / extent.width.max(1) as f32;
        let level = if is_crisp { 0 } else { level_for(scale) };
        let wanted = Key { revision: picture.revision(), level, is_crisp };
        self.prepare(wanted, picture);
        if self.is_complete(wanted, painter, place) {
            if slot != Slot::Thumbnail {
                self.shown.insert(slot, Shown { key: wanted, extent });
            }
        } else {
            let last = self.shown.get(&slot).filter(|shown| shown.extent == extent).map(|shown| shown.key);
            let mut keys: Vec<Key> = self.layers.keys().copied().collect();
            keys.retain(|key| key.revision == wanted.revision && *key != wanted || Some(*key) == last);
            // The last picture at the bottom, then coarse under fine.
            keys.sort_by_key(|key| (key.revision == wanted.revision, std::cmp::Reverse(key.level)));
            for key in keys {
                self.paint_layer(key, false, slot, painter, place);
            }
        }
        self.paint_layer(wanted, true, slot, painter, place);
    }

    fn prepare(&mut self, key: Key, picture: &Picture) {
        if self.layers.contains_key(&key) {
            return;
        }
        let extent = (0..key.level).fold(picture.extent(), |extent, _| halved_extent(extent));
        let mut layer = Layer { extent, tiles: None, used: self.frame };
        if picture.extent().area() <= AT_ONCE {
            layer.tiles = Some(tiles_of(picture, key.level));
        } else {
            let (picture, sender, ctx) = (picture.clone(), self.sender.clone(), self.ctx.clone());
            let work = move || {
                // A closed channel means that the window is gone; then nobody needs the tiles.
                let _ = sender.send((key, tiles_of(&picture, key.level)));
                ctx.request_repaint();
            };
            if let Err(error) = std::thread::Builder::new().name("maquette-tiles".to_owned()).spawn(work) {
                tracing::error!(%error, "no thread for the canvas picture");
                return;
            }
        }
        self.layers.insert(key, layer);
    }

    fn is_complete(&self, key: Key, painter: &Painter, place: Rect) -> bool {
        let Some(Layer { extent, tiles: Some(tiles), .. }) = self.layers.get(&key) else { return false };
        let mut seen = tiles.iter().filter(|tile| screen(tile.inner, *extent, place).intersects(painter.clip_rect()));
        seen.all(|tile| matches!(tile.content, Content::Uploaded(_)))
    }

    fn paint_layer(&mut self, key: Key, may_upload: bool, slot: Slot, painter: &Painter, place: Rect) {
        let Some(layer) = self.layers.get_mut(&key) else { return };
        layer.used = self.frame;
        let filter = if key.is_crisp { egui::TextureFilter::Nearest } else { egui::TextureFilter::Linear };
        let options = TextureOptions { magnification: filter, ..TextureOptions::LINEAR };
        let Some(tiles) = &mut layer.tiles else { return };
        // Corners are round where one tile is the whole picture; the tiles of a larger one are plain.
        let radius = if tiles.len() == 1 { slot.corner_radius() } else { 0 };
        for tile in tiles {
            let at = screen(tile.inner, layer.extent, place);
            if !at.intersects(painter.clip_rect()) {
                continue;
            }
            if let Content::Ready(image) = &mut tile.content
                && may_upload
            {
                if self.uploads_left == 0 {
                    self.ctx.request_repaint();
                    continue;
                }
                self.uploads_left -= 1;
                let image = std::mem::take(image);
                tile.content = Content::Uploaded(self.ctx.load_texture("picture", image, options));
            }
            if let Content::Uploaded(texture) = &tile.content {
                let uv = uv_of(tile.inner, tile.outer);
                painter.add(RectShape::filled(at, radius, Color32::WHITE).with_texture(texture.id(), uv));
            }
        }
    }
}

/// The texture tiles of a mask that is shown; only what changed is converted again, a few tiles in each frame.
#[derive(Default)]
pub(super) struct MaskTiles {
    shown: Option<Mask>,
    tiles: Vec<MaskTile>,
}

struct MaskTile {
    bounds: Bounds,
    texture: Option<TextureHandle>,
    /// What the texture does not show yet.
    stale: Option<Bounds>,
}

impl MaskTiles {
    /// Paints `mask` into `place`, in `tint` where it is painted.
    pub(super) fn paint(&mut self, painter: &Painter, mask: &Mask, place: Rect, tint: Color32) {
        self.follow(mask);
        let is_seen = |tile: &MaskTile| screen(tile.bounds, mask.extent(), place).intersects(painter.clip_rect());
        self.upload(painter.ctx(), mask, is_seen);
        for tile in self.tiles.iter().filter(|tile| is_seen(tile)) {
            if let Some(texture) = &tile.texture {
                let at = screen(tile.bounds, mask.extent(), place);
                painter.image(texture.id(), at, Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0)), tint);
            }
        }
    }

    /// Takes note of what differs from the mask that was shown last.
    fn follow(&mut self, mask: &Mask) {
        let changed = match &self.shown {
            Some(shown) if shown.revision() == mask.revision() => return,
            Some(shown) if shown.extent() == mask.extent() => mask.changed_since(shown),
            _ => {
                let tile = |bounds| MaskTile { bounds, texture: None, stale: None };
                self.tiles = grid(mask.extent(), MASK_TILE).map(tile).collect();
                mask.changed_since(&Mask::empty(mask.extent()))
            }
        };
        self.shown = Some(mask.clone());
        let Some(changed) = changed else { return };
        for tile in &mut self.tiles {
            if let Some(part) = tile.bounds.intersection(changed) {
                tile.stale = Some(tile.stale.map_or(part, |stale| stale.union(part)));
            }
        }
    }

    /// Brings stale tiles that are seen up to date, as many as a frame has time for.
    fn upload(&mut self, ctx: &Context, mask: &Mask, is_seen: impl Fn(&MaskTile) -> bool) {
        let mut left = MASK_UPLOADS_PER_FRAME;
        for tile in self.tiles.iter_mut().filter(|tile| tile.stale.is_some() && is_seen(tile)) {
            if left == 0 {
                ctx.request_repaint();
                return;
            }
            left -= 1;
            let Some(part) = tile.stale.take() else { continue };
            match &mut tile.texture {
                Some(texture) => {
                    let place = [(part.x0 - tile.bounds.x0) as usize, (part.y0 - tile.bounds.y0) as usize];
                    texture.set_partial(place, coverage_image(mask, part), TextureOptions::LINEAR);
                }
                None => {
                    let image = coverage_image(mask, tile.bounds);
                    tile.texture = Some(ctx.load_texture("mask", image, TextureOptions::LINEAR));
                }
            }
        }
    }
}

fn coverage_image(mask: &Mask, bounds: Bounds) -> ColorImage {
    let size = [bounds.extent().width as usize, bounds.extent().height as usize];
    ColorImage::new(size, mask.coverage_in(bounds).into_iter().map(Color32::from_white_alpha).collect())
}

/// The level whose pixels are at least as fine as the screen's, for `scale` screen pixels to a pixel of the picture.
fn level_for(scale: f32) -> u32 {
    if scale >= 1.0 { 0 } else { ((1.0 / scale.max(1e-3)).log2().floor() as u32).min(COARSEST) }
}

fn halved_extent(extent: Extent) -> Extent {
    Extent::new(extent.width.div_ceil(2), extent.height.div_ceil(2))
}

/// The mean of each square of two by two pixels; an odd last row or column counts twice.
fn halved(extent: Extent, rgb: &[u8]) -> Vec<u8> {
    let (width, height) = (extent.width as usize, extent.height as usize);
    let half = halved_extent(extent);
    let mut out = Vec::with_capacity(half.area() * 3);
    for y in 0..half.height as usize {
        let (upper, lower) = (2 * y * width, (2 * y + 1).min(height - 1) * width);
        for x in 0..half.width as usize {
            let (left, right) = (2 * x, (2 * x + 1).min(width - 1));
            for c in 0..3 {
                let at = |row: usize, column: usize| u16::from(rgb[(row + column) * 3 + c]);
                let sum = at(upper, left) + at(upper, right) + at(lower, left) + at(lower, right);
                out.push(((sum + 2) / 4) as u8);
            }
        }
    }
    out
}

fn grid(extent: Extent, tile: u32) -> impl Iterator<Item = Bounds> {
    let edges = move |length: u32| (0..length).step_by(tile as usize).map(move |at| (at, (at + tile).min(length)));
    edges(extent.height).flat_map(move |(y0, y1)| edges(extent.width).map(move |(x0, x1)| Bounds { x0, y0, x1, y1 }))
}

fn tiles_of(picture: &Picture, level: u32) -> Vec<Tile> {
    let (mut extent, mut scaled) = (picture.extent(), None::<Vec<u8>>);
    for _ in 0..level {
        scaled = Some(halved(extent, scaled.as_deref().unwrap_or(picture.rgb())));
        extent = halved_extent(extent);
    }
    let rgb = scaled.as_deref().unwrap_or(picture.rgb());
    let tile = |inner: Bounds| {
        let outer = Bounds {
            x0: inner.x0.saturating_sub(1),
            y0: inner.y0.saturating_sub(1),
            x1: (inner.x1 + 1).min(extent.width),
            y1: (inner.y1 + 1).min(extent.height),
        };
        let row = |y: u32| {
            let start = (y as usize * extent.width as usize + outer.x0 as usize) * 3;
            rgb[start..start + outer.extent().width as usize * 3].chunks_exact(3)
        };
        let pixels = (outer.y0..outer.y1).flat_map(row).map(|p| Color32::from_rgb(p[0], p[1], p[2])).collect();
        let size = [outer.extent().width as usize, outer.extent().height as usize];
        Tile { inner, outer, content: Content::Ready(ColorImage::new(size, pixels)) }
    };
    grid(extent, TILE).map(tile).collect()
}

/// Where `bounds` of a picture of `extent`, shown in `place`, lies on the screen.
fn screen(bounds: Bounds, extent: Extent, place: Rect) -> Rect {
    let at = |x: u32, y: u32| {
        let (u, v) = (x as f32 / extent.width.max(1) as f32, y as f32 / extent.height.max(1) as f32);
        place.min + place.size() * egui::vec2(u, v)
    };
    Rect::from_min_max(at(bounds.x0, bounds.y0), at(bounds.x1, bounds.y1))
}

fn uv_of(inner: Bounds, outer: Bounds) -> Rect {
    let size = outer.extent();
    let part = |at: u32, start: u32, length: u32| (at - start) as f32 / length as f32;
    Rect::from_min_max(
        pos2(part(inner.x0, outer.x0, size.width), part(inner.y0, outer.y0, size.height)),
        pos2(part(inner.x1, outer.x0, size.width), part(inner.y1, outer.y0, size.height)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_takes_the_mean_of_four_pixels_and_repeats_an_odd_edge() {
        let picture = Picture::from_fn(Extent::new(3, 2), |x, y| [(10 * x + 100 * y) as u8, 7, (x * x) as u8]);
        let half = halved(picture.extent(), picture.rgb());
        // Columns 0 and 1: red 0, 10, 100, 110; blue 0, 1, 0, 1. Column 2 twice: red 20, 120; blue 4.
        assert_eq!(half, [55, 7, 1, 70, 7, 4]);
    }

    #[test]
    fn tiles_hold_every_pixel_once_and_an_edge_of_their_neighbours() {
        let picture = Picture::from_fn(Extent::new(1500, 1030), |x, y| [x as u8, y as u8, (x >> 8) as u8]);
        let tiles = tiles_of(&picture, 0);
        assert_eq!(tiles.iter().map(|tile| tile.inner.extent().area()).sum::<usize>(), 1500 * 1030);
        for tile in &tiles {
            let Content::Ready(image) = &tile.content else { panic!("a new tile was uploaded already") };
            for (x, y) in [(tile.outer.x0, tile.outer.y0), (tile.outer.x1 - 1, tile.outer.y1 - 1)] {
                let pixel = image[((x - tile.outer.x0) as usize, (y - tile.outer.y0) as usize)];
                let colour = picture.pixel(x, y).map(|[r, g, b]| Color32::from_rgb(r, g, b));
                assert_eq!(Some(pixel), colour);
            }
        }
        assert_eq!((tiles[1].outer.x0, tiles[1].outer.x1), (1023, 1500));
    }

    #[test]
    fn a_large_change_of_the_mask_is_handed_over_in_several_frames() {
        let ctx = Context::default();
        let mut mask = Mask::empty(Extent::new(1200, 1100));
        mask.invert();
        let mut tiles = MaskTiles::default();
        let mut frames = 0;
        while tiles.shown.is_none() || tiles.tiles.iter().any(|tile| tile.stale.is_some()) {
            tiles.follow(&mask);
            tiles.upload(&ctx, &mask, |_| true);
            frames += 1;
        }
        assert_eq!(frames, 25_usize.div_ceil(MASK_UPLOADS_PER_FRAME));
        assert!(tiles.tiles.iter().all(|tile| tile.texture.is_some()));
    }

    #[test]
    fn the_level_is_the_coarsest_that_is_not_coarser_than_the_screen() {
        assert_eq!([2.0, 1.0, 0.7, 0.5, 0.26, 0.25, 0.0001].map(level_for), [0, 0, 0, 1, 1, 2, COARSEST]);
    }
}
