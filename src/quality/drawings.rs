//! The drawings of all things in all styles as SVG, unpacked from what is built in.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;
use resvg::{tiny_skia, usvg};

use crate::models::error::{ModelError, Result};

static ICONS: &[u8] = include_bytes!("../../assets/models/world/icons.json.gz");

/// What the drawings take in the program.
pub(super) fn packed_bytes() -> u64 {
    ICONS.len() as u64
}

/// SVGs by style, then thing.
pub(super) struct Drawings(HashMap<String, HashMap<String, Drawing>>);

/// Width, height, and what is between the `<svg>` tags.
type Drawing = (f32, f32, String);

impl Drawings {
    pub(super) fn load() -> Result<Self> {
        let mut json = Vec::new();
        GzDecoder::new(ICONS).read_to_end(&mut json).map_err(|error| bad(error.to_string()))?;
        serde_json::from_slice(&json).map(Self).map_err(|error| bad(error.to_string()))
    }

    /// The drawing at `side` x `side` pixels: premultiplied red, green, blue and alpha.
    pub(super) fn render(&self, style: &str, thing: &str, side: u32) -> Result<Vec<u8>> {
        let unusable = |reason: &str| bad(format!("{thing} ({style}): {reason}"));
        let (width, height, body) = self
            .0
            .get(style)
            .and_then(|things| things.get(thing))
            .ok_or_else(|| unusable("there is no such drawing"))?;
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
             viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">{body}</svg>"
        );
        let tree = usvg::Tree::from_str(&svg, &usvg::Options::default()).map_err(|e| unusable(&e.to_string()))?;
        let mut pixmap = tiny_skia::Pixmap::new(side, side).ok_or_else(|| unusable("it has no size"))?;
        let scale = tiny_skia::Transform::from_scale(side as f32 / width, side as f32 / height);
        resvg::render(&tree, scale, &mut pixmap.as_mut());
        Ok(pixmap.take())
    }
}

fn bad(reason: String) -> ModelError {
    ModelError::BadFile { path: "(built in)/world/icons.json.gz".into(), reason }
}
