//! The run that is shown: its cells, what is known of each, in which order they are made and shown.

use std::sync::Arc;

use crate::job::ModelRef;
use crate::store::runs::{CellPicture, NewRun, RunId};
use crate::store::sheet::CellFacts;
use crate::workbench::grid::scoring;

/// The order of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Rows and columns.
    #[default]
    Grid,
    /// The best score first.
    Score,
}

/// What is known of a cell.
#[derive(Debug, Clone, Default)]
pub struct CellView {
    /// Its picture.
    pub picture: Option<Arc<CellPicture>>,
    /// The picture's embedding.
    pub embedding: Option<Arc<[f32]>>,
    /// How well the picture fits its text, as a cosine.
    pub score: Option<f32>,
    /// Why there is no picture.
    pub trouble: Option<String>,
    /// Whether the file has its picture, which may still be on its way here.
    pub(super) is_stored: bool,
}

impl CellView {
    /// Whether it has a picture.
    pub fn is_done(&self) -> bool {
        self.is_stored || self.picture.is_some()
    }
}

/// A run and its cells.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name in the file.
    pub id: RunId,
    /// What it asks.
    pub run: NewRun,
    pub(super) cells: Vec<CellView>,
    pub(super) is_running: bool,
    /// Why pictures are not scored.
    pub(super) unscored: Option<String>,
    pub(super) seconds_per_cost: Option<f64>,
}

impl Table {
    /// What is known of the cells, in the order of the run's.
    pub fn cells(&self) -> &[CellView] {
        &self.cells
    }

    /// Whether its cells are being made.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// Cells with a picture, and all cells.
    pub fn progress(&self) -> (usize, usize) {
        (self.cells.iter().filter(|cell| cell.is_done()).count(), self.cells.len())
    }

    /// Whether every cell has a picture.
    pub fn is_finished(&self) -> bool {
        self.cells.iter().all(CellView::is_done)
    }

    /// Why pictures are not scored, if they cannot be.
    pub fn unscored(&self) -> Option<&str> {
        self.unscored.as_deref()
    }

    /// How long the rest will take, in seconds; `None` before anything was measured.
    pub fn seconds_left(&self) -> Option<f64> {
        let left: f64 = self.open().map(|index| self.run.cells[index].cost).sum();
        Some(left * self.seconds_per_cost?)
    }

    /// The names of an axis's values; one without a name if there is no such axis.
    pub fn labels(&self, axis: usize) -> Vec<String> {
        self.run.axes.get(axis).map_or_else(|| vec![String::new()], |axis| axis.values.clone())
    }

    /// The index of the cell at this place.
    pub fn at(&self, place: [usize; 3]) -> Option<usize> {
        let lengths = [0, 1].map(|axis| self.run.axes.get(axis).map_or(1, |axis| axis.values.len()));
        let index = place[0] + lengths[0] * (place[1] + lengths[1] * place[2]);
        self.run.cells.get(index).is_some_and(|cell| cell.at == place).then_some(index)
    }

    /// The values of a cell along the axes.
    pub fn values(&self, index: usize) -> impl Iterator<Item = &str> {
        let places = self.run.cells.get(index).map(|cell| cell.at).unwrap_or_default();
        self.run.axes.iter().zip(places).filter_map(|(axis, at)| axis.values.get(at).map(String::as_str))
    }

    /// What a cell is called: the axes and its values along them.
    pub fn name(&self, index: usize) -> String {
        let Some(cell) = self.run.cells.get(index) else { return String::new() };
        let values = self
            .run
            .axes
            .iter()
            .zip(cell.at)
            .filter_map(|(axis, at)| Some(format!("{} {}", axis.name, axis.values.get(at)?)));
        values.collect::<Vec<_>>().join(", ")
    }

    /// The cells with a score, the best first, then the others.
    pub fn by_score(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.cells.len()).collect();
        let score = |index: usize| self.cells[index].score.unwrap_or(f32::NEG_INFINITY);
        order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
        order
    }

    /// What goes into the table of numbers.
    pub(super) fn facts(&self) -> Vec<CellFacts> {
        let fact = |cell: &CellView| CellFacts {
            score: cell.score,
            seconds: cell.picture.as_ref().map(|picture| picture.seconds),
            file: String::new(),
            trouble: cell.trouble.clone().unwrap_or_default(),
        };
        self.cells.iter().map(fact).collect()
    }

    /// Judges the pace anew by the pictures that are here.
    pub(super) fn measure_pace(&mut self) {
        let timed = self.run.cells.iter().zip(&self.cells).filter_map(|(cell, view)| {
            let seconds = view.picture.as_ref().map(|picture| picture.seconds).filter(|seconds| *seconds > 0.0)?;
            Some((seconds, cell.cost))
        });
        let (seconds, cost) = timed.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if cost > 0.0 {
            self.seconds_per_cost = Some(seconds / cost);
        }
    }

    fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.cells.len()).filter(|index| !self.cells[*index].is_done() && self.cells[*index].trouble.is_none())
    }

    /// The cheapest cell that is still to be made; of equals the first.
    pub(super) fn next(&self) -> Option<usize> {
        self.open().min_by(|a, b| self.run.cells[*a].cost.total_cmp(&self.run.cells[*b].cost))
    }

    /// A cell with a picture that has no embedding.
    pub(super) fn unembedded(&self) -> Option<usize> {
        self.cells.iter().position(|cell| cell.picture.is_some() && cell.embedding.is_none())
    }

    /// The indexes of all cells with this request.
    pub(super) fn with_job(&self, job: &str) -> Vec<usize> {
        (0..self.cells.len()).filter(|index| self.run.cells[*index].job == job).collect()
    }

    /// Whether a picture was made with a model of this name, but of other weights than these.
    pub(super) fn has_other_weights(&self, model: &ModelRef, sha256: &str) -> bool {
        let mut made = self.run.cells.iter().zip(&self.cells).filter(|(cell, _)| cell.spec.model == *model);
        made.any(|(_, view)| view.picture.as_ref().is_some_and(|picture| picture.model_sha256 != sha256))
    }

    /// The text that a cell is scored by.
    pub(super) fn text(&self, index: usize) -> String {
        self.run.cells.get(index).map(|cell| scoring::score_text(&self.run, cell)).unwrap_or_default()
    }
}
