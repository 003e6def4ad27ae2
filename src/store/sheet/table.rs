//! A run as a table of numbers, one row a cell.

use crate::store::runs::NewRun;

/// What is known of a cell beside its request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellFacts {
    /// How well the picture fits its text, as a cosine.
    pub score: Option<f32>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// Its file, if it is in one.
    pub file: String,
    /// Why there is no picture; empty if there is one.
    pub trouble: String,
}

/// The table as the bytes of a CSV file. `facts` are in the order of the cells.
///
/// # Errors
/// If the writer fails, with its message.
pub fn csv(run: &NewRun, facts: &[CellFacts]) -> Result<Vec<u8>, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| error.to_string();
    let axes = run.axes.iter().map(|axis| axis.name.as_str());
    let rest = [
        "prompt", "negative", "model", "sampler", "schedule", "steps", "guidance", "seed", "size", "score", "seconds",
        "job", "file", "error",
    ];
    writer.write_record(axes.chain(rest)).map_err(failed)?;
    for (cell, facts) in run.cells.iter().zip(facts) {
        let labels = run.axes.iter().zip(cell.at).map(|(axis, at)| axis.values.get(at).cloned().unwrap_or_default());
        let (spec, sampling) = (&cell.spec, &cell.spec.sampling);
        let numbers = [
            spec.prompt.clone(),
            spec.negative.clone(),
            spec.model.0.clone(),
            sampling.sampler.map_or("", |sampler| sampler.id()).to_owned(),
            sampling.schedule.id().to_owned(),
            sampling.steps.to_string(),
            sampling.guidance.to_string(),
            sampling.seed.to_string(),
            sampling.size.to_string(),
            facts.score.map(|score| score.to_string()).unwrap_or_default(),
            facts.seconds.map(|seconds| format!("{seconds:.3}")).unwrap_or_default(),
            cell.job.clone(),
            facts.file.clone(),
            facts.trouble.clone(),
        ];
        writer.write_record(labels.chain(numbers)).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| error.to_string())
}
