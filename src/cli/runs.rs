//! Running cells from the command line: what is in the file of runs already is not computed again, what is made is written there at once.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use super::session::{Failure, Session, wrong_answer};
use crate::job::spec::{EmbedInputs, EmbedSpec};
use crate::job::{JobOutput, JobSpec, ModelRef};
use crate::store::preferences::UserFolders;
use crate::store::presets;
use crate::store::runs::{CellPicture, NewRun, RunCell, Runs, RunsError};
use crate::workbench::grid::{Sources, scoring};

impl From<RunsError> for Failure {
    fn from(error: RunsError) -> Self {
        match error {
            RunsError::Failed(_) => Self::Failed(error.to_string()),
            _ => Self::BadInput(error.to_string()),
        }
    }
}

/// The user's file of runs; one in `folder` where the system has no place for a user's files.
pub(super) fn open(folder: &Path) -> Result<Runs, Failure> {
    let path = UserFolders::of_system().map_or_else(|| folder.join("runs.sqlite"), |folders| folders.runs_file());
    let (runs, warning) = Runs::open(&path)?;
    if let Some(warning) = warning {
        eprintln!("maquette: note: {warning}");
    }
    Ok(runs)
}

/// Calls `work` with what axes may name: the templates and wildcards of the library, the user's on top. Says which of the user's files
/// cannot be read if `says_warnings`.
pub(super) fn with_sources<R>(dice: u64, says_warnings: bool, work: impl FnOnce(&Sources<'_>) -> R) -> R {
    let presets = UserFolders::of_system().map(|folders| folders.presets);
    let (library, warnings) = presets::library(presets.as_deref());
    if says_warnings {
        warnings.iter().for_each(|warning| eprintln!("maquette: note: {warning}"));
    }
    let wildcards = presets::wildcards(&library);
    let templates: Vec<(String, String)> = library.templates.into_iter().map(|t| (t.name, t.text)).collect();
    work(&Sources { templates: &templates, wildcards: &wildcards, dice })
}

/// The engine and the file.
pub(super) struct Runner<'a> {
    pub(super) session: &'a mut Session,
    pub(super) runs: Runs,
    /// The model that scores.
    pub(super) clip: ModelRef,
    texts: HashMap<String, Vec<f32>>,
    /// The weights that each model's name meant so far.
    weights: HashMap<ModelRef, String>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(session: &'a mut Session, runs: Runs, clip: ModelRef) -> Self {
        Self { session, runs, clip, texts: HashMap::new(), weights: HashMap::new() }
    }

    /// The cells of a run, the cheapest first.
    pub(super) fn order(run: &NewRun) -> Vec<usize> {
        let mut order: Vec<usize> = (0..run.cells.len()).collect();
        order.sort_by(|a, b| run.cells[*a].cost.total_cmp(&run.cells[*b].cost));
        order
    }

    /// The picture of a cell: from the file, or made now; and whether it was made.
    pub(super) fn picture(&mut self, cell: &RunCell) -> Result<(CellPicture, bool), Failure> {
        if let Some(found) = self.runs.picture(&cell.job)? {
            self.note_weights(&cell.spec.model, &found.model_sha256);
            return Ok((found, false));
        }
        let begun = Instant::now();
        let output = self.session.run(JobSpec::Generate(cell.spec.clone()))?;
        let JobOutput::Pictures(generated) = &*output else { return Err(wrong_answer()) };
        let (_, picture) = generated.pictures.first().ok_or_else(wrong_answer)?;
        let made = CellPicture {
            picture: picture.clone(),
            model_sha256: generated.model_hash.clone(),
            seconds: begun.elapsed().as_secs_f64(),
        };
        self.runs.put_picture(cell, &made)?;
        self.note_weights(&cell.spec.model, &made.model_sha256);
        Ok((made, true))
    }

    /// Says so if pictures that were made before come from other weights under the same name.
    fn note_weights(&mut self, model: &ModelRef, sha256: &str) {
        let known = self.weights.entry(model.clone()).or_insert_with(|| sha256.to_owned());
        if known != sha256 {
            eprintln!("maquette: note: some of these pictures were made earlier with other weights of {model}");
            sha256.clone_into(known);
        }
    }

    /// The embedding of a cell's picture.
    pub(super) fn embedding(&mut self, cell: &RunCell, made: &CellPicture) -> Result<Vec<f32>, Failure> {
        if let Some((_, found)) = self.runs.embeddings(&cell.job)?.into_iter().find(|(model, _)| *model == self.clip.0)
        {
            return Ok(found);
        }
        let vector = self.embed(EmbedInputs::Images(vec![made.picture.clone()]))?.pop().ok_or_else(wrong_answer)?;
        self.runs.put_embedding(&cell.job, &self.clip.0, &vector)?;
        Ok(vector)
    }

    /// How well a cell's picture fits its text.
    pub(super) fn score(&mut self, run: &NewRun, cell: &RunCell, made: &CellPicture) -> Result<f32, Failure> {
        let text = scoring::score_text(run, cell);
        if let Some(found) = self.runs.score(&cell.job, &self.clip.0, &text)? {
            return Ok(found);
        }
        let picture = self.embedding(cell, made)?;
        let wanted = match self.texts.get(&text) {
            Some(known) => known.clone(),
            None => self.embed(EmbedInputs::Texts(vec![text.clone()]))?.pop().ok_or_else(wrong_answer)?,
        };
        let score = scoring::similarity(&picture, &wanted).ok_or_else(wrong_answer)?;
        self.texts.insert(text.clone(), wanted);
        self.runs.put_score(&cell.job, &self.clip.0, &text, score)?;
        Ok(score)
    }

    /// Unit-norm embeddings of texts or pictures.
    pub(super) fn embed(&mut self, inputs: EmbedInputs) -> Result<Vec<Vec<f32>>, Failure> {
        let output = self.session.run(JobSpec::Embed(EmbedSpec { model: self.clip.clone(), inputs }))?;
        let JobOutput::Embeddings(rows) = &*output else { return Err(wrong_answer()) };
        Ok(rows.clone())
    }
}
