//! Small pictures and heatmaps on the graphics side, one cache keyed by revision; the canvas picture and the mask are in `tiles`.

use std::collections::HashMap;

use egui::{Color32, ColorImage, Context, TextureHandle, TextureOptions};

use super::tiles::{MaskTiles, PictureTiles};
use crate::analysis::heatmap;
use crate::base::colormap::Colormap;
use crate::base::geom::Extent;
use crate::base::pixels::{Picture, Revision};
use crate::store::preferences::HeatmapScale;
use crate::workbench::lens::LensMap;

/// Pictures that were not shown for this many frames lose their texture.
const KEPT_FRAMES: u64 = 120;
/// Longer side of the enlarged heatmap: smooth enough to be stretched further by the graphics card.
const HEATMAP_SIDE: u32 = 160;
/// The fixed ends of the absolute scale: cosine similarities.
pub(super) const ABSOLUTE: (f32, f32) = (-0.2, 0.8);

struct Cached {
    texture: TextureHandle,
    used: u64,
}

/// The cache.
pub(super) struct Textures {
    ctx: Context,
    frame: u64,
    pictures: HashMap<Revision, Cached>,
    pub(super) canvas: PictureTiles,
    pub(super) mask: MaskTiles,
    heatmap: Option<((Revision, Colormap, HeatmapScale), TextureHandle)>,
}

impl Textures {
    pub(super) fn new(ctx: &Context) -> Self {
        let (canvas, mask) = (PictureTiles::new(ctx), MaskTiles::default());
        Self { ctx: ctx.clone(), frame: 0, pictures: HashMap::new(), canvas, mask, heatmap: None }
    }

    /// Forgets what was not shown lately.
    pub(super) fn begin_frame(&mut self) {
        self.frame += 1;
        self.canvas.begin_frame();
        let oldest = self.frame.saturating_sub(KEPT_FRAMES);
        self.pictures.retain(|_, cached| cached.used >= oldest);
    }

    /// The texture of a small `picture`: a preview or a result.
    pub(super) fn picture(&mut self, picture: &Picture) -> egui::TextureId {
        let (ctx, frame) = (&self.ctx, self.frame);
        let cached = self.pictures.entry(picture.revision()).or_insert_with(|| {
            let size = [picture.extent().width as usize, picture.extent().height as usize];
            let image = ColorImage::from_rgb(size, picture.rgb());
            Cached { texture: ctx.load_texture("picture", image, TextureOptions::LINEAR), used: frame }
        });
        cached.used = frame;
        cached.texture.id()
    }

    /// The texture of a heatmap.
    pub(super) fn heatmap(
        &mut self,
        map: &LensMap,
        extent: Extent,
        colormap: Colormap,
        scale: HeatmapScale,
    ) -> egui::TextureId {
        let key = (map.revision, colormap, scale);
        if let Some((shown, texture)) = &self.heatmap
            && *shown == key
        {
            return texture.id();
        }
        let grid = &map.phrase.grid;
        let (low, high) = match scale {
            HeatmapScale::MinMax => heatmap::range(grid),
            HeatmapScale::Absolute => ABSOLUTE,
        };
        let side = f64::from(HEATMAP_SIDE) / f64::from(extent.longest().max(1));
        let part = |v: u32| ((f64::from(v) * side).round() as u32).max(1);
        let size = Extent::new(part(extent.width), part(extent.height));
        let table = colormap.table().map(|[r, g, b]| Color32::from_rgb(r, g, b));
        let span = (high - low).max(1e-6);
        let values = heatmap::upsample(grid, size);
        let pixels = values.iter().map(|v| table[((v - low) / span * 255.0).clamp(0.0, 255.0) as usize]).collect();
        let image = ColorImage::new([size.width as usize, size.height as usize], pixels);
        let texture = self.ctx.load_texture("heatmap", image, TextureOptions::LINEAR);
        self.heatmap.insert((key, texture)).1.id()
    }
}
