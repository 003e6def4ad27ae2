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
    /// Whether the phrases of the prompt are shown as chips, too.
    pub prompt_chips: bool,
    /// Whether the seed stays as it is from one generation to the next.
    pub seed_locked: bool,
    /// The CLIP that lens and zero-shot use.
    pub clip_model: ModelRef,
    /// The diffusion model.
    pub diffusion_model: ModelRef,
    /// The prompts that were open, in the document's own form.
    pub prompts: Option<serde_json::Value>,
    /// What is marked in the library: "modifier foggy", "style Noir".
    pub favourites: std::collections::BTreeSet<String>,
    /// Where panels are, in the window's own form.
    pub layout: Option<serde_json::Value>,
    /// Size of the window in points.
    pub window_size: Option<[f32; 2]>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            lens_on: true,
            lens_follows_prompt: false,
            lens_opacity: 0.6,
            colormap: Colormap::default(),
            heatmap_scale: HeatmapScale::default(),
            mask_opacity: 0.5,
            marks_count: true,
            live_preview: true,
            prompt_chips: false,
            seed_locked: false,
            clip_model: ModelRef::builtin(),
            diffusion_model: ModelRef::builtin(),
            prompts: None,
            favourites: std::collections::BTreeSet::new(),
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
    /// What can be made again: thumbnails, measured effects.
    pub cache: PathBuf,
}

impl UserFolders {
    /// The places that the system provides for it; `None` if it provides none.
    pub fn of_system() -> Option<Self> {
        let folders = directories::ProjectDirs::from("", "", "maquette")?;
        Some(Self {
            config: folders.config_dir().to_owned(),
            presets: folders.data_dir().join("presets"),
            cache: folders.cache_dir().to_owned(),
        })
    }

    /// The file of the runs, which window and command line share.
    pub fn runs_file(&self) -> PathBuf {
        self.presets.with_file_name("runs.sqlite")
    }

    fn preferences_file(&self) -> PathBuf {
        self.config.join("preferences.json")
    }
}

impl Preferences {
    /// Reads what was remembered; each entry that is missing or makes no sense gets its default. Says so if something was
    /// not usable; a file that is not usable at all is kept beside the new one.
    pub fn read(folders: &UserFolders) -> (Self, Option<String>) {
        let path = folders.preferences_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Self::default(), None),
            Err(error) => return (Self::default(), Some(unusable(&path, &error.to_string()))),
        };
        let entries: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(&text) {
            Ok(entries) => entries,
            Err(error) => {
                let kept = path.with_extension("json.unusable");
                let kept = std::fs::copy(&path, &kept)
                    .map_or_else(|_| String::new(), |_| format!(", kept as {}", kept.display()));
                return (Self::default(), Some(unusable(&path, &format!("{error}{kept}"))));
            }
        };
        // An entry is usable if it can be read with all others missing.
        let (good, bad): (serde_json::Map<_, _>, serde_json::Map<_, _>) =
            entries.into_iter().partition(|(key, value)| {
                let alone = serde_json::Map::from_iter([(key.clone(), value.clone())]);
                serde_json::from_value::<Self>(alone.into()).is_ok()
            });
        let names: Vec<&str> = bad.keys().map(String::as_str).collect();
        let warning =
            (!names.is_empty()).then(|| unusable(&path, &format!("these entries make no sense: {}", names.join(", "))));
        match serde_json::from_value::<Self>(good.into()) {
            Ok(read) => (read.sensible(), warning),
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
        self.lens_opacity = within(self.lens_opacity, 0.0, 1.0, default.lens_opacity);
        self.mask_opacity = within(self.mask_opacity, 0.0, 1.0, default.mask_opacity);
        self.window_size = self.window_size.map(|size| size.map(|side| within(side, 200.0, 16_384.0, 900.0)));
        self
    }
}

fn unusable(path: &Path, reason: &str) -> String {
    format!("some preferences could not be read ({reason}); defaults are used for them: {}", path.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folders(root: &Path) -> UserFolders {
        UserFolders { config: root.join("config"), presets: root.join("presets"), cache: root.join("cache") }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        let preferences = Preferences { lens_on: false, window_size: Some([800.0, 600.0]), ..Preferences::default() };
        preferences.write(&folders(root.path())).unwrap();
        assert_eq!(Preferences::read(&folders(root.path())), (preferences, None));
    }

    #[test]
    fn damaged_preferences_give_defaults_and_a_warning() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("config")).unwrap();
        std::fs::write(root.path().join("config/preferences.json"), "{\"lens_on\": ").unwrap();
        let (preferences, warning) = Preferences::read(&folders(root.path()));
        assert_eq!(preferences, Preferences::default());
        assert!(warning.unwrap().contains("preferences.json"));
        assert_eq!(
            std::fs::read_to_string(root.path().join("config/preferences.json.unusable")).unwrap(),
            "{\"lens_on\": "
        );
    }

    #[test]
    fn one_bad_entry_costs_only_itself() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("config")).unwrap();
        let text =
            r#"{"theme": "plaid", "lens_on": false, "lens_opacity": null, "mask_opacity": 7, "of_a_later_version": 1}"#;
        std::fs::write(root.path().join("config/preferences.json"), text).unwrap();
        let (preferences, warning) = Preferences::read(&folders(root.path()));
        assert_eq!(preferences, Preferences { lens_on: false, mask_opacity: 1.0, ..Preferences::default() });
        let warning = warning.unwrap();
        assert!(
            warning.contains("theme") && warning.contains("lens_opacity") && !warning.contains("lens_on"),
            "{warning}"
        );
    }
}
