//! The icons: Lucide's SVGs, rendered in white once and tinted when shown.

use std::collections::HashMap;

use egui::{Color32, ColorImage, Context, Response, Sense, TextureHandle, TextureOptions, Ui, WidgetInfo, vec2};
use include_dir::{Dir, include_dir};

use super::theme::{self, ACCENT};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/icons");
/// Pixels a side: sharp at 16 points on a screen of twice the density.
const PIXELS: u32 = 32;

/// The rendered icons, by file name without ending.
pub(super) struct Icons {
    textures: HashMap<&'static str, TextureHandle>,
}

impl Icons {
    /// Renders the whole set, so that no frame has to.
    pub(super) fn new(ctx: &Context) -> Self {
        let names = FILES.files().filter_map(|file| file.path().to_str()?.strip_suffix(".svg"));
        let textures = names.map(|name| (name, ctx.load_texture(name, render(name), TextureOptions::LINEAR)));
        Self { textures: textures.collect() }
    }

    /// Paints an icon of 16 points into the middle of `rect`.
    pub(super) fn paint(&self, ui: &Ui, name: &'static str, rect: egui::Rect, tint: Color32) {
        let uv = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
        let place = egui::Rect::from_center_size(rect.center(), vec2(16.0, 16.0));
        debug_assert!(self.textures.contains_key(name), "no icon {name}");
        if let Some(texture) = self.textures.get(name) {
            ui.painter().image(texture.id(), place, uv, tint);
        }
    }

    /// A square button that shows an icon alone; its label is for the tooltip and for screen readers.
    pub(super) fn button(&self, ui: &mut Ui, name: &'static str, label: &str, is_on: bool, enabled: bool) -> Response {
        let tokens = theme::tokens(ui);
        let sense = if enabled { Sense::click() } else { Sense::hover() };
        let (rect, response) = ui.allocate_exact_size(vec2(32.0, 32.0), sense);
        response.widget_info(|| WidgetInfo::selected(egui::Role::Button, enabled, is_on, label));
        let fill = match (is_on, response.hovered() && enabled) {
            (true, _) => tokens.accent_soft,
            (false, true) => tokens.hovered,
            (false, false) => Color32::TRANSPARENT,
        };
        ui.painter().rect_filled(rect, 6.0, fill);
        if response.has_focus() {
            let line = egui::Stroke::new(1.5, ACCENT);
            ui.painter().rect_stroke(rect, 6.0, line, egui::StrokeKind::Inside);
        }
        let tint = match (enabled, is_on) {
            (false, _) => tokens.faint.gamma_multiply(0.5),
            (true, true) => {
                if ui.visuals().dark_mode {
                    Color32::WHITE
                } else {
                    ACCENT
                }
            }
            (true, false) => tokens.text,
        };
        self.paint(ui, name, rect, tint);
        response.on_hover_text(label)
    }
}

fn render(name: &str) -> ColorImage {
    let side = PIXELS as usize;
    let draw = || -> Option<ColorImage> {
        let svg = FILES.get_file(format!("{name}.svg"))?.contents_utf8()?.replace("currentColor", "#ffffff");
        let tree = resvg::usvg::Tree::from_str(&svg, &resvg::usvg::Options::default()).ok()?;
        let mut pixmap = resvg::tiny_skia::Pixmap::new(PIXELS, PIXELS)?;
        let scale = PIXELS as f32 / tree.size().width();
        resvg::render(&tree, resvg::tiny_skia::Transform::from_scale(scale, scale), &mut pixmap.as_mut());
        let pixels = pixmap.pixels().iter();
        let pixels = pixels.map(|p| Color32::from_rgba_premultiplied(p.red(), p.green(), p.blue(), p.alpha()));
        Some(ColorImage::new([side, side], pixels.collect()))
    };
    // The set is fixed when the program is built; a test renders every icon.
    draw().unwrap_or_else(|| ColorImage::filled([side, side], Color32::TRANSPARENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_icon_can_be_rendered() {
        let names = FILES.files().filter_map(|file| file.path().to_str()?.strip_suffix(".svg"));
        for name in names {
            assert!(render(name).pixels.iter().any(|pixel| pixel.a() > 200), "{name} is empty");
        }
    }
}
