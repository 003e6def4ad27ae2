//! What a run is made of, as plain values.

use serde::{Deserialize, Serialize};

use crate::base::pixels::Picture;
use crate::job::spec::GenerateSpec;

/// Names a run in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

/// What a run was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// A grid of variants.
    Grid,
    /// A prompt with each of its parts left out in turn.
    Words,
    /// Pictures that were made on purpose.
    Pictures,
}

impl RunKind {
    const ALL: [Self; 3] = [Self::Grid, Self::Words, Self::Pictures];

    pub(super) fn of_id(id: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.id() == id).unwrap_or(Self::Pictures)
    }

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Words => "words",
            Self::Pictures => "pictures",
        }
    }
}

/// An axis as it is shown: its name and those of its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisLabels {
    /// What differs along it.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
}

/// One cell of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunCell {
    /// Its place along the three axes.
    pub at: [usize; 3],
    /// The hash of its request.
    pub job: String,
    /// Its request.
    pub spec: GenerateSpec,
    /// What it costs, in units that only compare.
    pub cost: f64,
}

/// A run that is to be written down.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// What it is for.
    pub kind: RunKind,
    /// What a person calls it.
    pub title: String,
    /// Up to three axes; those that are left out have one value.
    pub axes: Vec<AxisLabels>,
    /// The text that pictures are scored by; each by its own prompt if `None`.
    pub score_text: Option<String>,
    /// The cells.
    pub cells: Vec<RunCell>,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Its name in the file.
    pub id: RunId,
    /// What it is for.
    pub kind: RunKind,
    /// What a person calls it.
    pub title: String,
    /// When it was begun, in seconds since 1970.
    pub made_at: u64,
    /// Cells with a picture.
    pub done: usize,
    /// All cells.
    pub total: usize,
}

/// A run with its cells, in the order of the table: rows of the first page first.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// Its name in the file.
    pub id: RunId,
    /// What it asked.
    pub run: NewRun,
}

/// A picture of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellPicture {
    /// The picture.
    pub picture: Picture,
    /// Identifies the exact weights.
    pub model_sha256: String,
    /// How long it took, on the clock.
    pub seconds: f64,
}
