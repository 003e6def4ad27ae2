//! The lens: where in the picture a phrase is, kept current while the user types.

use std::sync::Arc;

use crate::base::geom::{Extent, ImagePoint};
use crate::base::pixels::Revision;
use crate::engine::JobId;
use crate::job::output::{Grid, PhraseMap};
use crate::job::spec::HeatmapSpec;
use crate::prompt::reading::Reading;

/// The newest heatmap and what is under way.
#[derive(Debug, Default)]
pub struct Lens {
    pub(super) asked: Option<HeatmapSpec>,
    pub(super) job: Option<JobId>,
    pub(super) map: Option<LensMap>,
    pub(super) failed: Option<String>,
    /// The phrase under the caret of the prompt.
    pub(super) under_caret: String,
    /// What it is of, and where the caret was.
    pub(super) looked_at: Option<(Arc<Reading>, usize)>,
}

/// A heatmap with the picture that it belongs to.
#[derive(Debug, Clone)]
pub struct LensMap {
    /// What was found.
    pub phrase: Arc<PhraseMap>,
    /// The picture it was found in.
    pub picture: Revision,
    /// Tells maps apart.
    pub revision: Revision,
}

impl LensMap {
    /// The similarity at a place of a picture of `extent`: the patch's value, bilinear between patch centres.
    pub fn value_at(&self, at: ImagePoint, extent: Extent) -> Option<f32> {
        let inside = at.x >= 0.0 && at.y >= 0.0 && at.x < extent.width as f32 && at.y < extent.height as f32;
        let Grid { rows, columns, values } = &self.phrase.grid;
        if !inside || *rows == 0 || *columns == 0 {
            return None;
        }
        let place =
            |v: f32, side: u32, cells: usize| (v / side as f32 * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
        let (x, y) = (place(at.x, extent.width, *columns), place(at.y, extent.height, *rows));
        let (x0, y0) = (x.floor() as usize, y.floor() as usize);
        let cell = |r: usize, c: usize| values.get(r.min(rows - 1) * columns + c.min(columns - 1)).copied();
        let (fx, fy) = (x - x0 as f32, y - y0 as f32);
        let top = cell(y0, x0)? * (1.0 - fx) + cell(y0, x0 + 1)? * fx;
        let bottom = cell(y0 + 1, x0)? * (1.0 - fx) + cell(y0 + 1, x0 + 1)? * fx;
        Some(top * (1.0 - fy) + bottom * fy)
    }
}

impl Lens {
    /// The newest heatmap; may be older than what is asked now.
    pub fn map(&self) -> Option<&LensMap> {
        self.map.as_ref()
    }

    /// Whether a newer heatmap is on its way.
    pub fn is_pending(&self) -> bool {
        self.job.is_some()
    }

    /// Why there is no heatmap for what is asked now.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}
