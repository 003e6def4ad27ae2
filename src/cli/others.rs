//! `maquette embed` and `maquette bench`.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};

use super::args::{Bench, Embed};
use super::json;
use super::session::{self, Failure, Session, say, wrong_answer};
use crate::job::output::Timing;
use crate::job::spec::{BenchSpec, EmbedInputs, EmbedSpec};
use crate::job::{JobOutput, JobSpec};

/// Runs of each part that is timed.
const REPEATS: u32 = 5;

pub(super) fn embed(args: &Embed, session: &mut Session) -> Result<(), Failure> {
    session::check_out(&args.out)?;
    let (inputs, names) = if args.image.is_empty() {
        (EmbedInputs::Texts(args.text.clone()), args.text.clone())
    } else {
        let names = args.image.iter().map(|path| path.display().to_string()).collect();
        (EmbedInputs::Images(session::read_pictures(&args.image)?), names)
    };
    let output = session.run(JobSpec::Embed(EmbedSpec { model: args.model.as_str().into(), inputs }))?;
    let JobOutput::Embeddings(rows) = &*output else { return Err(wrong_answer()) };
    let width = rows.first().map_or(0, Vec::len);
    let bytes: Vec<u8> = rows.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    let failed = |error: safetensors::SafeTensorError| Failure::Failed(format!("cannot write safetensors: {error}"));
    let view = TensorView::new(Dtype::F32, vec![rows.len(), width], &bytes).map_err(failed)?;
    let inputs = serde_json::to_string(&names).unwrap_or_default();
    let metadata = HashMap::from([("inputs".to_owned(), inputs), ("model".to_owned(), args.model.clone())]);
    let file = safetensors::serialize(HashMap::from([("embeddings", view)]), Some(metadata)).map_err(failed)?;
    session::write(&args.out, &file)?;
    say!("{}  ({} rows of {width})", args.out.display(), rows.len());
    Ok(())
}

pub(super) fn bench(args: &Bench, session: &mut Session) -> Result<(), Failure> {
    let spec = BenchSpec { model: args.model.as_str().into(), repeats: REPEATS };
    let output = session.run(JobSpec::Bench(spec))?;
    let JobOutput::Bench(report) = &*output else { return Err(wrong_answer()) };
    if args.json {
        return json::print(&json::Bench::from(report));
    }
    say!("{} threads, peak memory {:.0} MB", report.threads, report.peak_memory_bytes as f64 / 1e6);
    let parts = [
        ("load", report.load),
        ("text encode", report.text_encode),
        ("image encode", report.image_encode),
        ("denoise step", report.denoise_step),
        ("decode", report.decode),
    ];
    for (name, timing) in parts {
        match timing {
            Some(Timing { cpu_seconds, wall_seconds, longest_stretch_seconds, relative_error }) => {
                let [cpu, wall, stretch] = [cpu_seconds, wall_seconds, longest_stretch_seconds].map(|s| s * 1e3);
                let error = relative_error.map_or_else(String::new, |error| format!(", {error:.1e} from 32 bits"));
                say!("{name:13} {cpu:8.1} ms CPU {wall:8.1} ms wall, at most {stretch:.1} ms without a pause{error}");
            }
            None => say!("{name:13} (the model has no such part)"),
        }
    }
    Ok(())
}
