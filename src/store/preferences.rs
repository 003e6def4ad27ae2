//! What the program remembers between runs: looks, lens settings, places of panels. Never anything a job depends on
//! without it being in the job.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::atomic;
use crate::base::colormap::Colormap;
use crate::job::ModelRef;

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the system says.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// How similarity becomes colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeatmapScale {
    /// The smallest and largest value of this map are the ends of the colours.
    #[default]
    MinMax,
    /// Fixed ends, so that maps can be compared.
    Absolute,
}

/// Everything remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Light or dark.
    pub theme: Theme,
    /// Size of everything in the window, 1 is normal.
    pub zoom: f32,
    /// Whether the lens is on.
    pub lens_on: bool,
    /// Whether the lens follows the phrase under the prompt's caret instead of its own phrase.
    pub lens_follows_prompt: bool,
    /// Opacity of the heatmap, 0..=1.
    pub lens_opacity: f32,
    /// Colours of the heatmap.
    pub colormap: Colormap,
    /// Ends of the colours.
    pub heatmap_scale: HeatmapScale,
    /// Opacity of the mask overlay, 0..=1.
    pub mask_opacity: f32,
    /// Whether lens and zero-shot see the marks.
    pub marks_count: bool,
    /// Whether a picture forms while typing.
    pub live_preview: bool,
    /// Whether the seed stays as it is from one generation to the next.
    pub seed_locked: bool,
    /// The CLIP that lens and zero-shot use.
    pub clip_model: ModelRef,
    /// The diffusion model.
    pub diffusion_model: ModelRef,
    /// Where panels are, in the window's own form.
    pub layout: Option<serde_json::Value>,
    /// Size of the window in points.
    pub window_size: Option<[f32; 2]>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            zoom: 1.0,
            lens_on: true,
            lens_follows_prompt: false,
            lens_opacity: 0.6,
            colormap: Colormap::default(),
            heatmap_scale: HeatmapScale::default(),
            mask_opacity: 0.5,
            marks_count: true,
            live_preview: true,
            seed_locked: false,
            clip_model: ModelRef::builtin(),
            diffusion_model: ModelRef::builtin(),
            layout: None,
            window_size: None,
        }
    }
}

/// Where the program keeps its files for this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFolders {
    /// Preferences.
    pub config: PathBuf,
    /// Presets that override the shipped ones.
    pub presets: PathBuf,
}

impl UserFolders {
    /// The places that the system provides for it; `None` if it provides none.
    pub fn of_system() -> Option<Self> {
        let folders = directories::ProjectDirs::from("", "", "maquette")?;
        Some(Self { config: folders.config_dir().to_owned(), presets: folders.data_dir().join("presets") })
    }

    fn preferences_file(&self) -> PathBuf {
        self.config.join("preferences.json")
    }
}

impl Preferences {
    /// Reads what was remembered; what is missing or makes no sense gets its default. Says so if a file was not usable.
    pub fn read(folders: &UserFolders) -> (Self, Option<String>) {
        let path = folders.preferences_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Self::default(), None),
            Err(error) => return (Self::default(), Some(unusable(&path, &error.to_string()))),
        };
        match serde_json::from_str::<Self>(&text) {
            Ok(read) => (read.sensible(), None),
            Err(error) => (Self::default(), Some(unusable(&path, &error.to_string()))),
        }
    }

    /// Writes what is to be remembered.
    ///
    /// # Errors
    /// If the folder cannot be made or written to.
    pub fn write(&self, folders: &UserFolders) -> std::io::Result<()> {
        std::fs::create_dir_all(&folders.config)?;
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        atomic::write(&folders.preferences_file(), &json)
    }

    fn sensible(mut self) -> Self {
        let default = Self::default();
        let within = |v: f32, low: f32, high: f32, or: f32| if v.is_finite() { v.clamp(low, high) } else { or };
        self.zoom = within(self.zoom, 0.5, 3.0, default.zoom);
        self.lens_opacity = within(self.lens_opacity, 0.0, 1.0, default.lens_opacity);
        self.mask_opacity = within(self.mask_opacity, 0.0, 1.0, default.mask_opacity);
        self
    }
}

fn unusable(path: &Path, reason: &str) -> String {
    format!(
        "the preferences could not be read ({reason}); defaults are used until you change something: {}",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folders(root: &Path) -> UserFolders {
        UserFolders { config: root.join("config"), presets: root.join("presets") }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        let preferences = Preferences { zoom: 1.5, lens_on: false, ..Preferences::default() };
        preferences.write(&folders(root.path())).unwrap();
        assert_eq!(Preferences::read(&folders(root.path())), (preferences, None));
    }

    #[test]
    fn damaged_preferences_give_defaults_and_a_warning() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("config")).unwrap();
        std::fs::write(root.path().join("config/preferences.json"), "{\"zoom\": ").unwrap();
        let (preferences, warning) = Preferences::read(&folders(root.path()));
        assert_eq!(preferences, Preferences::default());
        assert!(warning.unwrap().contains("preferences.json"));
    }
}
