//! What only the window knows: where the canvas looks, which dialogs are open, which panel wants the keyboard.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use egui::{Rect, Vec2, pos2, vec2};

use crate::base::geom::{Extent, ImagePoint};
use crate::prompt::library::Library;
use crate::prompt::{modifier, phrase};
use crate::workbench::PanelKind;

/// Smallest and largest enlargement.
const ZOOM: std::ops::RangeInclusive<f32> = 0.02..=64.0;

/// Where the canvas looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Camera {
    /// Points of the screen for each pixel of the picture.
    pub(super) zoom: f32,
    /// The place of the picture that is in the middle of the panel.
    pub(super) center: Vec2,
    /// Keep the whole picture in view until the user zooms or pans.
    pub(super) fits: bool,
}

impl Default for Camera {
    fn default() -> Self {
        Self { zoom: 1.0, center: Vec2::ZERO, fits: true }
    }
}

impl Camera {
    /// Shows all of a picture of `extent` in `panel`.
    pub(super) fn fit(&mut self, panel: Rect, extent: Extent) {
        let size = vec2(extent.width.max(1) as f32, extent.height.max(1) as f32);
        let room = (panel.size() - vec2(48.0, 48.0)).max(vec2(16.0, 16.0));
        self.zoom = (room.x / size.x).min(room.y / size.y).clamp(*ZOOM.start(), *ZOOM.end());
        self.center = size * 0.5;
    }

    /// Enlarges by `factor` and keeps the picture's place under `anchor` where it is.
    pub(super) fn zoom_about(&mut self, factor: f32, anchor: egui::Pos2, panel: Rect) {
        let old = self.zoom;
        self.zoom = (old * factor).clamp(*ZOOM.start(), *ZOOM.end());
        let from_middle = anchor - panel.center();
        self.center += from_middle / old - from_middle / self.zoom;
        self.fits = false;
    }

    /// Where the picture is on the screen.
    pub(super) fn screen_from_image(&self, panel: Rect, extent: Extent) -> Rect {
        let min = panel.center() - self.center * self.zoom;
        Rect::from_min_size(min, vec2(extent.width as f32, extent.height as f32) * self.zoom)
    }

    /// The place of the picture under a place of the screen.
    pub(super) fn image_from_screen(&self, at: egui::Pos2, panel: Rect) -> ImagePoint {
        let place = self.center + (at - panel.center()) / self.zoom;
        ImagePoint::new(place.x, place.y)
    }

    /// The place of the screen over a place of the picture.
    pub(super) fn place(&self, at: ImagePoint, panel: Rect) -> egui::Pos2 {
        let origin = panel.center() - self.center * self.zoom;
        pos2(origin.x + at.x * self.zoom, origin.y + at.y * self.zoom)
    }
}

/// What only the window knows.
#[derive(Default)]
pub(super) struct View {
    pub(super) camera: Camera,
    /// Of the canvas, as laid out last.
    pub(super) canvas_rect: Option<Rect>,
    /// Of the picture that the camera was last set up for.
    pub(super) canvas_extent: Option<Extent>,
    pub(super) palette: Option<super::palette::Palette>,
    pub(super) about_open: bool,
    /// For one frame, as the dialog opens.
    pub(super) about_wants_focus: bool,
    /// The own path field, beside the system's dialog.
    pub(super) path_prompt: Option<super::dialogs::PathPrompt>,
    pub(super) focus: Option<PanelKind>,
    pub(super) library: super::panels::LibraryView,
    /// The place of the picture under the pointer, and the one that the status line shows.
    pub(super) hovered: Option<ImagePoint>,
    pub(super) hovered_in_status: Option<ImagePoint>,
    pub(super) modifiers: ActiveModifiers,
    pub(super) compare: super::panels::CompareLooks,
    pub(super) prompt: super::panels::prompt::PromptView,
    pub(super) proposal: super::proposal::ProposalView,
    /// Whether parameters are proposed, which is a dialog, too.
    pub(super) is_proposed: bool,
    /// Where the last file was opened or saved.
    folder: Option<PathBuf>,
}

impl View {
    /// Whether a dialog is open that takes all the keys.
    pub(super) fn modal_is_open(&self) -> bool {
        self.palette.is_some() || self.about_open || self.path_prompt.is_some() || self.is_proposed
    }

    /// Whether `panel` is to take the keyboard; true once.
    pub(super) fn take_focus(&mut self, panel: PanelKind) -> bool {
        self.focus.take_if(|wanted| *wanted == panel).is_some()
    }

    /// Where the next file is probably wanted.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default()
    }

    pub(super) fn remember_folder_of(&mut self, file: &Path) {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            self.folder = Some(folder.to_owned());
        }
    }
}

/// Which modifiers of the library are in the prompt, found anew only when one of the two changes.
#[derive(Default)]
pub(super) struct ActiveModifiers {
    /// The prompt and the number of modifiers that were looked through.
    seen: Option<(String, usize)>,
    active: HashSet<String>,
}

impl ActiveModifiers {
    /// Looks through `prompt` if it is not the one of the last call.
    pub(super) fn follow(&mut self, prompt: &str, library: &Library) {
        let count = library.modifiers.iter().map(|category| category.modifiers.len()).sum();
        if self.seen.as_ref().is_some_and(|(text, known)| text == prompt && *known == count) {
            return;
        }
        self.seen = Some((prompt.to_owned(), count));
        let known = library.modifiers.iter().flat_map(|category| &category.modifiers);
        let phrases: HashSet<String> = phrase::phrases(prompt).map(str::to_lowercase).collect();
        // A modifier with separators of its own is no single phrase; there are few.
        let is_in = |text: &&String| match phrase::phrases(text).nth(1) {
            None => phrases.contains(&text.trim().to_lowercase()),
            Some(_) => modifier::contains(prompt, text),
        };
        self.active = known.map(|known| &known.text).filter(is_in).cloned().collect();
    }

    pub(super) fn contains(&self, modifier: &str) -> bool {
        self.active.contains(modifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zooming_keeps_the_place_under_the_pointer() {
        let panel = Rect::from_min_size(pos2(100.0, 50.0), vec2(800.0, 600.0));
        let mut camera = Camera::default();
        camera.fit(panel, Extent::new(512, 512));
        for (factor, anchor) in [(2.0, pos2(300.0, 200.0)), (0.3, pos2(700.0, 500.0)), (9.0, pos2(101.0, 51.0))] {
            let before = camera.image_from_screen(anchor, panel);
            camera.zoom_about(factor, anchor, panel);
            assert!(before.distance(camera.image_from_screen(anchor, panel)) < 0.01);
            assert!((camera.place(before, panel) - anchor).length() < 0.05);
        }
    }
}
