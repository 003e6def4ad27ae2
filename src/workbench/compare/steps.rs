//! What is done in every frame: the axes are looked at when they change, the next cell is made when the last one is done.

use std::sync::Arc;

use super::archive::{Ask, WantedPlan};
use super::{CompareView, Table};
use crate::engine::{InteractiveKind, Lane};
use crate::job::JobSpec;
use crate::job::spec::{EmbedInputs, EmbedSpec};
use crate::workbench::grid::scoring;
use crate::workbench::grid::words::{self, Measured};
use crate::workbench::named::Chosen;
use crate::workbench::{Workbench, prepare};

/// Texts that are embedded in one job.
const TEXTS_AT_ONCE: usize = 32;

/// What a job of the table is for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Doing {
    /// The picture of a cell, by index.
    Picture(usize),
    /// The embedding of a cell's picture.
    Embedding(usize),
    /// The embeddings of texts.
    Texts(Vec<String>),
}

impl Workbench {
    pub(in crate::workbench) fn submit_compare(&mut self) {
        self.look_at_axes();
        self.submit_words();
        if self.compare.job.is_some() {
            return;
        }
        let Some((doing, spec)) = self.next_of_table() else {
            // Finished, or all that is left has failed.
            if let Some(table) = &mut self.compare.table {
                table.is_running = false;
            }
            return;
        };
        let id = self.submit(spec, Lane::Batch);
        self.compare.job = Some((id, doing));
    }

    fn next_of_table(&self) -> Option<(Doing, JobSpec)> {
        let table = self.compare.table.as_ref()?;
        let model = self.preferences.clip_model.clone();
        let embed = |inputs| JobSpec::Embed(EmbedSpec { model: model.clone(), inputs });
        if table.unscored.is_none() {
            let texts = self.missing_texts(table);
            if !texts.is_empty() {
                return Some((Doing::Texts(texts.clone()), embed(EmbedInputs::Texts(texts))));
            }
            if let Some(index) = table.unembedded()
                && let Some(picture) = &table.cells[index].picture
            {
                return Some((Doing::Embedding(index), embed(EmbedInputs::Images(vec![picture.picture.clone()]))));
            }
        }
        let index = table.next().filter(|_| table.is_running)?;
        Some((Doing::Picture(index), JobSpec::Generate(table.run.cells[index].spec.clone())))
    }

    /// The texts of cells with a picture that have no embedding yet.
    fn missing_texts(&self, table: &Table) -> Vec<String> {
        let model = &self.preferences.clip_model.0;
        let mut texts: Vec<String> = Vec::new();
        for index in (0..table.cells.len()).filter(|index| table.cells[*index].picture.is_some()) {
            if table.cells[index].score.is_some() {
                continue;
            }
            let text = table.text(index);
            if !texts.contains(&text) && !self.compare.texts.contains_key(&(model.clone(), text.clone())) {
                texts.push(text);
            }
            if texts.len() == TEXTS_AT_ONCE {
                break;
            }
        }
        texts
    }

    /// Scores what can be scored: a picture with an embedding whose text has one.
    pub(super) fn score_cells(&mut self) {
        let model = self.preferences.clip_model.0.clone();
        let Some(table) = &mut self.compare.table else { return };
        let mut scores = Vec::new();
        for index in 0..table.cells.len() {
            let cell = &table.cells[index];
            if cell.score.is_some() {
                continue;
            }
            let Some(embedding) = &cell.embedding else { continue };
            let text = table.text(index);
            let Some(wanted) = self.compare.texts.get(&(model.clone(), text.clone())) else { continue };
            if let Some(score) = scoring::similarity(embedding, wanted) {
                scores.push((table.run.cells[index].job.clone(), text, score));
                table.cells[index].score = Some(score);
            }
        }
        if !scores.is_empty() {
            self.compare.archive.ask(Ask::PutScores { model, scores });
        }
        self.refresh_words();
    }

    fn look_at_axes(&mut self) {
        let axes = self.compare.draft.axes.clone();
        if axes.iter().all(|axis| axis.text.trim().is_empty()) {
            self.compare.draft.plan = None;
            self.compare.draft.asked = None;
            return;
        }
        let base = match self.chosen_spec(1) {
            Ok(base) => base,
            Err(prepare::NothingToGenerate::Reading) => {
                self.compare.draft.plan = None;
                self.compare.draft.asked = None;
                return;
            }
            Err(missing) => {
                self.compare.draft.plan = Some(Err(missing.to_string()));
                self.compare.draft.asked = None;
                return;
            }
        };
        let asked = Some((base.clone(), axes.clone(), self.reader.revision() + self.resources.revision()));
        if self.compare.draft.asked == asked {
            return;
        }
        self.compare.draft.number += 1;
        (self.compare.draft.asked, self.compare.draft.plan) = (asked, None);
        let typed = axes.into_iter().filter(|axis| !axis.text.trim().is_empty()).collect();
        let templates = self.library().templates.iter().map(|t| (t.name.clone(), t.text.clone())).collect();
        let (known, chosen) = (self.known_files(), self.chosen());
        let number = self.compare.draft.number;
        let wanted = Box::new(WantedPlan { base, axes: typed, templates, known, chosen });
        self.compare.archive.ask(Ask::Plan { number, wanted });
    }

    /// What is used whatever the prompt says.
    pub(super) fn chosen(&self) -> Chosen {
        Chosen { loras: self.document().steering.loras.iter().filter(|lora| lora.is_on).count(), words: 0 }
    }

    /// The embeddings of the prompt without each of its parts: text alone, so at once.
    fn submit_words(&mut self) {
        if self.compare.view != CompareView::Words {
            return;
        }
        let prompt = self.drawn_prompt();
        let (used, parts) = words::parts(&prompt, self.compare.words.grain);
        let wanted = (self.preferences.clip_model.clone(), words::texts(&prompt, &parts));
        let words = &mut self.compare.words;
        if words.prompt == prompt && words.parts == parts && words.asked.as_ref() == Some(&wanted) {
            return;
        }
        (words.prompt, words.used, words.parts) = (prompt, used, parts);
        (words.embeddings, words.failed) = (Vec::new(), None);
        let is_empty = words.parts.is_empty();
        words.asked = Some(wanted.clone());
        if is_empty {
            if let Some(job) = words.job.take() {
                self.engine.cancel(job);
            }
        } else {
            let spec = JobSpec::Embed(EmbedSpec { model: wanted.0, inputs: EmbedInputs::Texts(wanted.1) });
            self.compare.words.job = Some(self.submit(spec, Lane::Interactive(InteractiveKind::Words)));
        }
        self.refresh_words();
    }

    /// The prompt as the model gets it: templates over it, everything drawn.
    fn drawn_prompt(&mut self) -> String {
        let (prompt, seed) = (self.document().words().0, self.document().sampling.seed);
        self.compare.drawn.text(prompt, seed, &self.reader)
    }

    /// Puts the figures of the parts together anew.
    pub(super) fn refresh_words(&mut self) {
        let pictures = self.measured_parts().unwrap_or_default();
        let words = &mut self.compare.words;
        words.values = words::values(&words.prompt, &words.parts, &words.embeddings, &pictures);
    }

    /// What the table says of the parts, seed by seed, if it is a run of this prompt.
    fn measured_parts(&self) -> Option<Vec<Vec<Measured>>> {
        let (table, words) = (self.compare.table.as_ref()?, &self.compare.words);
        let whole = table.run.cells.first()?;
        let columns = table.labels(0).len();
        let is_it = table.run.kind == crate::store::runs::RunKind::Words
            && whole.spec.prompt == words.prompt
            && columns == words.parts.len() + 1;
        let measure = |cell: &super::CellView| Measured {
            score: cell.score,
            embedding: cell.embedding.as_ref().map(|embedding: &Arc<[f32]>| embedding.to_vec()),
        };
        is_it.then(|| table.cells.chunks(columns).map(|row| row.iter().map(measure).collect()).collect())
    }
}
