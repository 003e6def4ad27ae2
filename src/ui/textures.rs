//! What is on the graphics side: the tiles of pictures, of the mask and of brush marks, and the heatmap.

use egui::{Color32, ColorImage, Context, TextureHandle, TextureOptions};

use super::strokes::Strokes;
use super::tiles::{MaskTiles, PictureTiles};
use crate::analysis::heatmap;
use crate::base::colormap::Colormap;
use crate::base::geom::Extent;
use crate::base::pixels::Revision;
use crate::store::preferences::HeatmapScale;
use crate::workbench::lens::LensMap;

/// Longer side of the enlarged heatmap: smooth enough to be stretched further by the graphics card.
const HEATMAP_SIDE: u32 = 160;
/// The fixed ends of the absolute scale: cosine similarities.
pub(super) const ABSOLUTE: (f32, f32) = (-0.2, 0.8);

/// The cache.
pub(super) struct Textures {
    ctx: Context,
    pub(super) pictures: PictureTiles,
    pub(super) mask: MaskTiles,
    pub(super) strokes: Strokes,
    heatmap: Option<((Revision, Colormap, HeatmapScale), TextureHandle)>,
}

impl Textures {
    pub(super) fn new(ctx: &Context) -> Self {
        let (mask, strokes) = (MaskTiles::default(), Strokes::default());
        Self { ctx: ctx.clone(), pictures: PictureTiles::new(ctx), mask, strokes, heatmap: None }
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
