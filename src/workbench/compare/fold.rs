//! Folding in what the engine and the file of runs answer.

use std::sync::Arc;

use super::archive::{Answer, Ask};
use super::steps::Doing;
use super::{CellView, Table};
use crate::engine::{EventKind, JobId};
use crate::job::{JobError, JobOutput};
use crate::store::runs::{CellPicture, RunId, RunKind, RunSummary};
use crate::workbench::jobs::JobState;
use crate::workbench::notices::Level;
use crate::workbench::{Action, Workbench, sentence};

impl Workbench {
    /// Takes a terminal event of one of comparing's jobs.
    pub(in crate::workbench) fn compare_event(&mut self, id: JobId, kind: &EventKind) {
        if !kind.is_terminal() {
            return;
        }
        if self.compare.words.job == Some(id) {
            self.compare.words.job = None;
            self.words_event(kind);
            return;
        }
        let Some((_, doing)) = self.compare.job.take_if(|(job, _)| *job == id) else { return };
        match (kind, doing) {
            (EventKind::Finished(output), doing) => self.table_finished(id, &doing, output),
            // Somebody pressed "Cancel all".
            (EventKind::Cancelled, Doing::Picture(_)) => {
                if let Some(table) = &mut self.compare.table {
                    table.is_running = false;
                }
            }
            (EventKind::Cancelled, _) => self.stop_scoring("Stopped. Resume starts it again.".to_owned()),
            (EventKind::Failed(error), Doing::Picture(index)) => self.cell_failed(index, error),
            (EventKind::Failed(error), _) => self.stop_scoring(sentence(&error.to_string())),
            _ => {}
        }
    }

    fn words_event(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Finished(output) => {
                if let JobOutput::Embeddings(rows) = &**output {
                    self.compare.words.embeddings.clone_from(rows);
                }
            }
            EventKind::Failed(error) => self.compare.words.failed = Some(sentence(&error.to_string())),
            _ => self.compare.words.failed = Some("Stopped. Any change starts it again.".to_owned()),
        }
        self.refresh_words();
    }

    fn table_finished(&mut self, id: JobId, doing: &Doing, output: &JobOutput) {
        match (doing, output) {
            (Doing::Picture(index), JobOutput::Pictures(generated)) => {
                let Some((_, picture)) = generated.pictures.first() else { return };
                let made = CellPicture {
                    picture: picture.clone(),
                    model_sha256: generated.model_hash.clone(),
                    seconds: self.seconds_of(id),
                };
                self.cell_made(*index, made);
            }
            (Doing::Embedding(index), JobOutput::Embeddings(rows)) => {
                if let Some(vector) = rows.first() {
                    self.cell_embedded(*index, vector);
                }
            }
            (Doing::Texts(texts), JobOutput::Embeddings(rows)) => {
                let model = self.preferences.clip_model.0.clone();
                for (text, row) in texts.iter().zip(rows) {
                    self.compare.texts.insert((model.clone(), text.clone()), row.clone());
                }
            }
            _ => return self.stop_scoring("The engine gave an answer of the wrong kind.".to_owned()),
        }
        self.score_cells();
    }

    /// How long a job ran, by the clock of the frames.
    pub(in crate::workbench) fn seconds_of(&self, id: JobId) -> f64 {
        match self.jobs.get(id).map(|job| &job.state) {
            Some(JobState::Running { since, .. }) => self.now.saturating_sub(*since).as_secs_f64(),
            _ => 0.0,
        }
    }

    fn cell_embedded(&mut self, index: usize, vector: &[f32]) {
        let Some(table) = &mut self.compare.table else { return };
        let Some(job) = table.run.cells.get(index).map(|cell| cell.job.clone()) else { return };
        let shared: Arc<[f32]> = vector.into();
        for same in table.with_job(&job) {
            table.cells[same].embedding = Some(shared.clone());
        }
        let model = self.preferences.clip_model.0.clone();
        self.compare.archive.ask(Ask::PutEmbedding { job, model, vector: vector.to_vec() });
    }

    fn cell_failed(&mut self, index: usize, error: &JobError) {
        let Some(table) = &mut self.compare.table else { return };
        let Some(job) = table.run.cells.get(index).map(|cell| cell.job.clone()) else { return };
        for same in table.with_job(&job) {
            table.cells[same].trouble = Some(sentence(&error.to_string()));
        }
    }

    fn stop_scoring(&mut self, why: String) {
        if let Some(table) = &mut self.compare.table {
            table.unscored = Some(why);
        }
    }

    pub(in crate::workbench) fn fold_archive(&mut self) {
        while let Some(answer) = self.compare.archive.poll() {
            match answer {
                Answer::Listed(runs) => self.runs_listed(runs),
                Answer::Planned { number, plan } if number == self.compare.draft.number => {
                    self.compare.draft.plan = Some(plan);
                }
                Answer::Planned { .. } => {}
                Answer::Opened { run, stored, seconds_per_cost, is_running } => {
                    let cells = stored.into_iter().map(|is_stored| CellView { is_stored, ..CellView::default() });
                    let (id, run) = (run.id, run.run);
                    if run.kind == RunKind::Grid {
                        self.compare.score_text = run.score_text.clone().unwrap_or_default();
                    }
                    let cells = cells.collect();
                    self.compare.table = Some(Table { id, run, cells, is_running, unscored: None, seconds_per_cost });
                }
                Answer::Cell { run, job, made, embeddings, scores } => {
                    self.cell_read(run, &job, *made, embeddings, &scores);
                }
                Answer::NotStored { text } => {
                    self.pause_table();
                    self.notices.add(Level::Error, sentence(&text), None);
                }
                Answer::Difference { number, picture, mean } => {
                    if number == self.compare.pair.number {
                        self.compare.pair.apart = Some((picture, mean));
                    }
                }
                Answer::Exported { paths } => {
                    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                    self.notices.add(Level::Info, format!("Saved {}.", names.join(", ")), None);
                }
                Answer::Warning(text) => self.notices.add(Level::Warning, sentence(&text), None),
                Answer::Failed(text) => self.notices.add(Level::Error, sentence(&text), None),
            }
        }
    }

    /// What was left unfinished is said once, at the start.
    fn runs_listed(&mut self, runs: Vec<RunSummary>) {
        self.compare.runs = runs;
        if std::mem::replace(&mut self.compare.is_listed, true) {
            return;
        }
        let paused: Vec<&str> = self.compare.paused().map(|run| run.title.as_str()).collect();
        let text = match paused[..] {
            [] => return,
            [one] => format!("A run is paused and can be resumed: {one}."),
            [newest, ..] => format!("{} runs are paused and can be resumed, the newest: {newest}.", paused.len()),
        };
        self.notices.add(Level::Info, text, Some(Action::FocusCompare));
    }

    fn cell_read(
        &mut self,
        run: RunId,
        job: &str,
        made: CellPicture,
        embeddings: Vec<(String, Vec<f32>)>,
        scores: &[(String, String, f32)],
    ) {
        let model = &self.preferences.clip_model.0;
        let Some(table) = self.compare.table.as_mut().filter(|table| table.id == run) else { return };
        let made = Arc::new(made);
        let embedding =
            embeddings.into_iter().find(|(name, _)| name == model).map(|(_, vector)| Arc::<[f32]>::from(vector));
        for index in table.with_job(job) {
            let text = table.text(index);
            let known = scores.iter().find(|(name, scored, _)| name == model && *scored == text);
            table.cells[index].score = known.map(|(.., score)| *score);
            table.cells[index].picture = Some(made.clone());
            table.cells[index].embedding.clone_from(&embedding);
        }
        self.score_cells();
    }
}
