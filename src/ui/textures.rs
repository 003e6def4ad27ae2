//! Pictures, masks and heatmaps on the graphics side: one cache, keyed by revision; masks are patched where they changed.

use std::collections::HashMap;

use egui::{Color32, ColorImage, Context, TextureHandle, TextureOptions};

use crate::analysis::heatmap;
use crate::base::colormap::Colormap;
use crate::base::geom::Extent;
use crate::base::pixels::{Mask, Picture, Revision};
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
    pictures: HashMap<(Revision, bool), Cached>,
    mask: Option<(Mask, TextureHandle)>,
    heatmap: Option<((Revision, Colormap, HeatmapScale), TextureHandle)>,
}

impl Textures {
    pub(super) fn new(ctx: &Context) -> Self {
        Self { ctx: ctx.clone(), frame: 0, pictures: HashMap::new(), mask: None, heatmap: None }
    }

    /// Forgets what was not shown lately.
    pub(super) fn begin_frame(&mut self) {
        self.frame += 1;
        let oldest = self.frame.saturating_sub(KEPT_FRAMES);
        self.pictures.retain(|_, cached| cached.used >= oldest);
    }

    /// The texture of `picture`; `is_crisp` shows its pixels as squares when enlarged.
    pub(super) fn picture(&mut self, picture: &Picture, is_crisp: bool) -> egui::TextureId {
        let (ctx, frame) = (&self.ctx, self.frame);
        let cached = self.pictures.entry((picture.revision(), is_crisp)).or_insert_with(|| {
            let limit = ctx.input(|i| i.max_texture_side) as u32;
            let shown = crate::models::preprocess::resize(picture, picture.extent().fitted_within(limit));
            let options = TextureOptions {
                magnification: if is_crisp { egui::TextureFilter::Nearest } else { egui::TextureFilter::Linear },
                ..TextureOptions::LINEAR
            };
            let size = [shown.extent().width as usize, shown.extent().height as usize];
            Cached {
                texture: ctx.load_texture("picture", ColorImage::from_rgb(size, shown.rgb()), options),
                used: frame,
            }
        });
        cached.used = frame;
        cached.texture.id()
    }

    /// The texture of `mask`: white where it is painted.
    pub(super) fn mask(&mut self, mask: &Mask) -> egui::TextureId {
        match &mut self.mask {
            Some((shown, texture)) if shown.revision() == mask.revision() => texture.id(),
            Some((shown, texture)) if shown.extent() == mask.extent() => {
                if let Some(changed) = mask.changed_since(shown) {
                    let size = [changed.extent().width as usize, changed.extent().height as usize];
                    let place = [changed.x0 as usize, changed.y0 as usize];
                    texture.set_partial(place, alpha_image(size, &mask.coverage_in(changed)), TextureOptions::LINEAR);
                }
                *shown = mask.clone();
                texture.id()
            }
            _ => {
                let size = [mask.extent().width as usize, mask.extent().height as usize];
                let image = alpha_image(size, &mask.to_coverage());
                let texture = self.ctx.load_texture("mask", image, TextureOptions::LINEAR);
                self.mask.insert((mask.clone(), texture)).1.id()
            }
        }
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

fn alpha_image(size: [usize; 2], coverage: &[u8]) -> ColorImage {
    ColorImage::new(size, coverage.iter().map(|v| Color32::from_white_alpha(*v)).collect())
}
