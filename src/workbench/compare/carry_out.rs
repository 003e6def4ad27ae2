//! Carrying out requests.

use std::sync::Arc;

use super::archive::{Ask, Export};
use super::steps::Doing;
use super::{CompareRequest, CompareView, Pick, Side};
use crate::document::{Edit, TextField};
use crate::store::runs::{AxisLabels, CellPicture, NewRun, RunCell, RunId, RunKind};
use crate::workbench::grid::{Grid, Sources, cost, scoring, words};
use crate::workbench::named::keep_named;
use crate::workbench::notices::Level;
use crate::workbench::preview::MadePicture;
use crate::workbench::{Workbench, sentence};

impl Workbench {
    pub(in crate::workbench) fn compare_request(&mut self, request: CompareRequest) {
        match request {
            CompareRequest::Show(view) => self.compare.view = view,
            CompareRequest::SetAxis(index, axis) => {
                if let Some(place) = self.compare.draft.axes.get_mut(index) {
                    *place = axis;
                    self.compare.draft.plan = None;
                }
            }
            CompareRequest::SetScoreText(text) => self.set_score_text(text),
            CompareRequest::Begin => self.begin_grid(),
            CompareRequest::Pause => self.pause_table(),
            CompareRequest::Resume => self.resume_table(),
            CompareRequest::Open(id) => self.open_run(id, false),
            CompareRequest::TakeUp(id) => self.open_run(id, true),
            CompareRequest::Remove(id) => {
                if self.compare.table.as_ref().is_some_and(|table| table.id == id) {
                    self.leave_table();
                    self.compare.table = None;
                }
                self.compare.archive.ask(Ask::Remove(id));
            }
            CompareRequest::SortBy(sort) => self.compare.sort = sort,
            CompareRequest::Choose(side, index) => self.choose_cell(side, index),
            CompareRequest::ChooseResult(side, index) => self.choose_result(side, index),
            CompareRequest::SetPairView(view) => self.compare.pair.view = view,
            CompareRequest::UseCell(index) => self.use_cell(index),
            CompareRequest::SetGrain(grain) => self.compare.words.grain = grain,
            CompareRequest::MeasureWords(seeds) => self.measure_words(seeds),
            CompareRequest::Export(path) => self.export_table(path),
        }
    }

    fn open_run(&mut self, id: RunId, resume: bool) {
        self.leave_table();
        if self.compare.view == CompareView::Runs {
            self.compare.view = CompareView::Grid;
        }
        self.compare.archive.ask(Ask::Open { id, resume });
    }

    fn set_score_text(&mut self, text: String) {
        if let Some(table) = self.compare.table.as_mut().filter(|table| table.run.kind != RunKind::Words) {
            table.run.score_text = Some(text.clone()).filter(|text| !text.trim().is_empty());
            table.cells.iter_mut().for_each(|cell| cell.score = None);
        }
        self.compare.score_text = text;
        self.score_cells();
    }

    fn begin_grid(&mut self) {
        let Some(Ok(plan)) = &self.compare.draft.plan else { return };
        let title = plan.grid.title(&self.document().prompt);
        let score_text = Some(self.compare.score_text.clone()).filter(|text| !text.trim().is_empty());
        let run = plan.grid.clone().into_run(RunKind::Grid, title, score_text);
        self.begin_run(run);
    }

    fn begin_run(&mut self, run: NewRun) {
        self.leave_table();
        self.compare.archive.ask(Ask::Begin(Box::new(run)));
    }

    fn measure_words(&mut self, seeds: u32) {
        let base = match self.drawn_spec() {
            Ok(base) => base,
            Err(missing) => return self.notices.add(Level::Warning, sentence(&missing.to_string()), None),
        };
        let first = base.sampling.seed;
        let seeds: Vec<u64> = (0..u64::from(seeds.clamp(1, 64))).map(|i| first.wrapping_add(i)).collect();
        let axes = words::axes(words::parts(&base.prompt, self.compare.words.grain).0, &seeds);
        let wildcards = crate::prompt::expand::wildcards::Wildcards::default();
        let sources = Sources { templates: &[], wildcards: &wildcards, dice: first };
        match Grid::read(&base, &axes, &sources) {
            Ok(mut grid) => {
                let chosen = self.chosen();
                let kept: Result<(), std::convert::Infallible> = grid.change(|spec| {
                    keep_named(spec, chosen);
                    Ok(())
                });
                let Ok(()) = kept;
                let title = grid.title(&base.prompt);
                self.begin_run(grid.into_run(RunKind::Words, title, Some(scoring::plain(&base.prompt))));
            }
            Err(error) => self.notices.add(Level::Warning, sentence(&error.to_string()), None),
        }
    }

    pub(super) fn pause_table(&mut self) {
        if let Some(table) = &mut self.compare.table {
            table.is_running = false;
        }
        // Not waited for: whoever resumes at once must not be paused by the end of it.
        if let Some((id, _)) = self.compare.job.take_if(|(_, doing)| matches!(doing, Doing::Picture(_))) {
            self.engine.cancel(id);
        }
    }

    fn resume_table(&mut self) {
        if let Some(table) = &mut self.compare.table {
            table.is_running = true;
            table.unscored = None;
            table.cells.iter_mut().for_each(|cell| cell.trouble = None);
        }
    }

    /// Another run is to be shown: what is under way for this one ends; it can be taken up again.
    fn leave_table(&mut self) {
        self.pause_table();
        if let Some((id, _)) = self.compare.job.take() {
            self.engine.cancel(id);
        }
    }

    fn choose_cell(&mut self, side: Side, index: usize) {
        let Some(table) = &self.compare.table else { return };
        let Some((cell, view)) = table.run.cells.get(index).zip(table.cells.get(index)) else { return };
        let Some(made) = &view.picture else { return };
        let pick =
            Pick { name: table.name(index), picture: made.picture.clone(), spec: cell.spec.clone(), score: view.score };
        self.choose(side, pick);
    }

    fn choose_result(&mut self, side: Side, index: usize) {
        let Some(made) = self.preview.results().get(index) else { return };
        let pick =
            Pick { name: format!("Seed {}", made.seed), picture: made.picture.clone(), spec: alone(made), score: None };
        self.choose(side, pick);
    }

    fn choose(&mut self, side: Side, pick: Pick) {
        if let Some((number, [first, second])) = self.compare.pair.choose(side, pick) {
            self.compare.archive.ask(Ask::Difference { number, first, second });
            self.compare.view = CompareView::Pair;
        }
    }

    /// One step of undo for each text that changes, and one for the settings.
    fn use_cell(&mut self, index: usize) {
        let Some(cell) = self.compare.table.as_ref().and_then(|table| table.run.cells.get(index)) else { return };
        let spec = cell.spec.clone();
        self.history.begin_gesture();
        self.edit(Edit::SetText { field: TextField::Prompt, text: spec.prompt });
        self.edit(Edit::SetText { field: TextField::Negative, text: spec.negative });
        // They are in the prompt already.
        self.edit(Edit::SetStack(Vec::new()));
        self.edit(Edit::SetSampling(spec.sampling));
        self.history.end_gesture();
        self.preferences.diffusion_model = spec.model;
    }

    fn export_table(&mut self, path: std::path::PathBuf) {
        let Some(table) = &self.compare.table else { return };
        let pictures = table.cells.iter().map(|cell| cell.picture.as_ref().map(|made| made.picture.clone()));
        let export = Export { path, run: table.run.clone(), facts: table.facts(), pictures: pictures.collect() };
        self.compare.archive.ask(Ask::Export(Box::new(export)));
    }

    /// Keeps pictures that were made on purpose among the runs.
    pub(in crate::workbench) fn keep_pictures(&self, made: &[MadePicture], seconds: f64) {
        let Some(first) = made.first() else { return };
        let cells = made.iter().enumerate().map(|(x, made)| {
            let spec = alone(made);
            RunCell { at: [x, 0, 0], job: spec.hash(), cost: cost(&spec), spec }
        });
        let values = made.iter().map(|made| made.seed.to_string()).collect();
        let run = NewRun {
            kind: RunKind::Pictures,
            title: first.spec.prompt.split_whitespace().take(12).collect::<Vec<_>>().join(" "),
            axes: vec![AxisLabels { name: "Seed".to_owned(), values }],
            score_text: None,
            cells: cells.collect(),
        };
        let each = seconds / made.len() as f64;
        let pictures = made.iter().map(|made| CellPicture {
            picture: made.picture.clone(),
            model_sha256: made.model_hash.clone(),
            seconds: each,
        });
        self.compare.archive.ask(Ask::Keep { run: Box::new(run), pictures: pictures.collect() });
    }

    pub(super) fn cell_made(&mut self, index: usize, made: CellPicture) {
        let Some(table) = &mut self.compare.table else { return };
        let Some(cell) = table.run.cells.get(index).cloned() else { return };
        if table.has_other_weights(&cell.spec.model, &made.model_sha256) {
            let text = format!(
                "Some pictures of this run were made with other weights of {}; remove the run and make it anew to compare fairly.",
                cell.spec.model
            );
            self.notices.add(Level::Warning, text, None);
        }
        let shared = Arc::new(made);
        for same in table.with_job(&cell.job) {
            table.cells[same].picture = Some(shared.clone());
        }
        table.measure_pace();
        let made = Box::new((*shared).clone());
        self.compare.archive.ask(Ask::Put { cell: Box::new(cell), made });
    }
}

/// The request for this picture of its batch alone.
fn alone(made: &MadePicture) -> crate::job::spec::GenerateSpec {
    let mut spec = made.spec.clone();
    (spec.sampling.seed, spec.count) = (made.seed, 1);
    spec
}
