//! `maquette generate`: pictures from words.

use super::args::Generate;
use super::json;
use super::session::{self, Failure, Session, numbered, wrong_answer};
use crate::base::geom::Extent;
use crate::job::sampling::Sampling;
use crate::job::spec::{GenerateSpec, InitSpec};
use crate::job::{JobOutput, JobSpec};
use crate::store::pictures;

pub(super) fn run(args: &Generate, session: &mut Session) -> Result<(), Failure> {
    session::check_out(&args.out)?;
    let spec = prepare(args)?;
    let output = session.run(JobSpec::Generate(spec.clone()))?;
    let JobOutput::Pictures(generated) = &*output else { return Err(wrong_answer()) };
    let mut files = Vec::new();
    for (seed, picture) in &generated.pictures {
        let path = if args.count == 1 { args.out.clone() } else { numbered(&args.out, &seed.to_string()) };
        let record = pictures::job_record(&spec, *seed, &generated.model_hash);
        pictures::write_png(&path, picture, Some(&record))?;
        files.push(path.display().to_string());
    }
    for remark in &generated.remarks {
        eprintln!("maquette: note: {remark}");
    }
    if args.json {
        return json::print(&json::Generate {
            schema: json::SCHEMA,
            files,
            seed: spec.sampling.seed,
            job: spec,
            model_sha256: generated.model_hash.clone(),
            remarks: generated.remarks.clone(),
        });
    }
    for ((seed, _), file) in generated.pictures.iter().zip(files) {
        println!("{file}  (seed {seed})");
    }
    Ok(())
}

fn prepare(args: &Generate) -> Result<GenerateSpec, Failure> {
    let init = match &args.init {
        None => None,
        Some(path) => Some(InitSpec {
            picture: pictures::read(path)?,
            mask: args.mask.as_ref().map(|mask| pictures::read_mask(mask)).transpose()?,
            strength: args.strength.unwrap_or(if args.mask.is_some() { 1.0 } else { 0.7 }),
        }),
    };
    let default = Sampling::default();
    let size = args.size.unwrap_or_else(|| Extent::new(default.size.width, default.size.height));
    Ok(GenerateSpec {
        model: args.model.as_str().into(),
        prompt: args.prompt.clone(),
        negative: args.negative.clone(),
        sampling: Sampling {
            sampler: args.sampler,
            steps: args.steps,
            guidance: args.guidance,
            seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            size,
        },
        count: args.count,
        init,
    })
}
