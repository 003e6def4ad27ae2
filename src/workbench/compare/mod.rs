//! Comparing: grids that fill in the background, two results side by side, the parts of a prompt.
//!
//! Invariants: at most one job of a run is under way, in the batch lane; what is made is sent to the file of runs at once; a run that is
//! not finished can be taken up again whenever, by whichever program. The file is read and written on a thread of its own.

mod archive;
mod carry_out;
mod fold;
mod pair;
mod steps;
mod table;
mod words;

pub use archive::Plan;
pub use pair::{Pair, PairView, Pick, Side};
pub use table::{CellView, Sort, Table};
pub use words::Words;

use std::collections::HashMap;
use std::path::PathBuf;

use super::drawn::Drawn;
use super::grid::{AxisKind, AxisText};
use crate::engine::JobId;
use crate::job::spec::GenerateSpec;
use crate::prompt::vary::Grain;
use crate::store::preferences::UserFolders;
use crate::store::runs::{RunId, RunSummary};
use archive::Archive;

/// What the panel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompareView {
    /// The grid: its axes and its table.
    #[default]
    Grid,
    /// Two results side by side.
    Pair,
    /// The parts of the prompt.
    Words,
    /// Earlier runs.
    Runs,
}

impl CompareView {
    /// Every view, in the order of the panel.
    pub const ALL: [Self; 4] = [Self::Grid, Self::Pair, Self::Words, Self::Runs];

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grid => "Grid",
            Self::Pair => "A and B",
            Self::Words => "Words",
            Self::Runs => "Runs",
        }
    }
}

/// A request to the comparing part.
#[derive(Debug, Clone, PartialEq)]
pub enum CompareRequest {
    /// Show something else.
    Show(CompareView),
    /// Change an axis of the next grid: columns, rows or pages.
    SetAxis(usize, AxisText),
    /// Score pictures by this text; by their own prompts if empty.
    SetScoreText(String),
    /// Make the grid of the axes and of what is asked now.
    Begin,
    /// Stop after what is under way is stopped.
    Pause,
    /// Go on, and try again what failed.
    Resume,
    /// Show an earlier run.
    Open(RunId),
    /// Show an earlier run and go on with it.
    TakeUp(RunId),
    /// Forget an earlier run.
    Remove(RunId),
    /// Order the table.
    SortBy(Sort),
    /// Put a cell of the table on a side, by index.
    Choose(Side, usize),
    /// Put a made picture of the preview on a side, by index.
    ChooseResult(Side, usize),
    /// How the two sides are shown.
    SetPairView(PairView),
    /// Change the prompt and the settings to those of a cell, by index.
    UseCell(usize),
    /// Take the prompt apart this finely; by itself if `None`.
    SetGrain(Option<Grain>),
    /// Measure the parts of the prompt on pictures of so many seeds.
    MeasureWords(u32),
    /// Write the table's pictures as a page (or pages) to this PNG file, and its numbers beside it as CSV.
    Export(PathBuf),
}

/// How the next grid looks, as far as it is known.
#[derive(Debug)]
struct Draft {
    axes: [AxisText; 3],
    /// The request, the axes, and how often the files had changed that they may name.
    asked: Option<(GenerateSpec, [AxisText; 3], u64)>,
    number: u64,
    plan: Option<Result<Plan, String>>,
}

impl Default for Draft {
    fn default() -> Self {
        let axes =
            [AxisKind::Steps, AxisKind::Seed, AxisKind::Guidance].map(|kind| AxisText { kind, text: String::new() });
        Self { axes, asked: None, number: 0, plan: None }
    }
}

/// The state of comparing.
pub struct Compare {
    archive: Archive,
    view: CompareView,
    draft: Draft,
    score_text: String,
    table: Option<Table>,
    sort: Sort,
    runs: Vec<RunSummary>,
    /// Whether they were read at least once.
    is_listed: bool,
    pair: Pair,
    words: Words,
    /// What the words were drawn from.
    drawn: Drawn,
    /// What is under way for the table.
    job: Option<(JobId, steps::Doing)>,
    /// The embeddings of texts, by the model that scores.
    texts: HashMap<(String, String), Vec<f32>>,
}

impl Compare {
    pub(super) fn new(folders: Option<UserFolders>, wake: crate::engine::Wake) -> Self {
        let archive = Archive::spawn(folders, wake);
        archive.ask(archive::Ask::List);
        Self {
            archive,
            view: CompareView::default(),
            draft: Draft::default(),
            score_text: String::new(),
            table: None,
            sort: Sort::default(),
            runs: Vec::new(),
            is_listed: false,
            pair: Pair::default(),
            words: Words::default(),
            drawn: Drawn::default(),
            job: None,
            texts: HashMap::new(),
        }
    }

    /// What the panel shows.
    pub fn view(&self) -> CompareView {
        self.view
    }

    /// The axes of the next grid: columns, rows, pages.
    pub fn axes(&self) -> &[AxisText; 3] {
        &self.draft.axes
    }

    /// What the axes come to, or what is wrong with them; `None` while nothing was typed or it is being looked at.
    pub fn plan(&self) -> Option<&Result<Plan, String>> {
        self.draft.plan.as_ref()
    }

    /// The text that pictures are scored by; empty if each is by its own prompt.
    pub fn score_text(&self) -> &str {
        &self.score_text
    }

    /// The run that is shown.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// The order of the table.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// The earlier runs, newest first.
    pub fn runs(&self) -> &[RunSummary] {
        &self.runs
    }

    /// The runs that are not finished and not being worked on.
    pub fn paused(&self) -> impl Iterator<Item = &RunSummary> {
        let running = self.table.as_ref().filter(|table| table.is_running()).map(|table| table.id);
        self.runs.iter().filter(move |run| run.done < run.total && Some(run.id) != running)
    }

    /// The two results side by side.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The parts of the prompt.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// The job that makes or scores a picture of the table.
    pub fn job(&self) -> Option<JobId> {
        self.job.as_ref().map(|(id, _)| *id)
    }

    /// The index of the cell that is being made.
    pub fn making(&self) -> Option<usize> {
        match &self.job {
            Some((_, steps::Doing::Picture(index))) => Some(*index),
            _ => None,
        }
    }
}
