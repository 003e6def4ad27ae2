//! `maquette generate`: pictures from words.

use super::args::Generate;
use super::json;
use super::lora;
use super::models;
use super::session::{self, Failure, Session, numbered, say, wrong_answer};
use crate::base::geom::Extent;
use crate::engine::options::EngineOptions;
use crate::job::sampling::Sampling;
use crate::job::spec::{GenerateSpec, InitSpec};
use crate::job::{JobOutput, JobSpec, ModelRef};
use crate::models::diffusion::own_extent;
use crate::prompt::expand::wildcards::Wildcards;
use crate::prompt::reading::{draw, is_dynamic};
use crate::registry::Family;
use crate::store::{latents, pictures, presets};
use crate::workbench::named::NamedFiles;

pub(super) fn run(args: &Generate, session: &mut Session) -> Result<(), Failure> {
    session::check_out(&args.out)?;
    args.save_latents.as_deref().map_or(Ok(()), session::check_out)?;
    let spec = prepare(args, session.options())?;
    let (mut named, wildcards) = (lora::named_files(session.options())?, wildcards(&spec, session.options()));
    let (mut remarks, mut made): (Vec<String>, Option<GenerateSpec>) = (Vec::new(), None);
    let (mut files, mut model_sha256) = (Vec::new(), String::new());
    // A job for each picture: what is made is written at once and is not lost if a later one fails.
    for index in 0..args.count {
        let one = drawn(args, &spec, spec.sampling.seed_of(index), &mut named, &wildcards)?;
        let output = session.run(JobSpec::Generate(one.clone()))?;
        let JobOutput::Pictures(generated) = &*output else { return Err(wrong_answer()) };
        for (seed, picture) in &generated.pictures {
            let path = if args.count == 1 { args.out.clone() } else { numbered(&args.out, &seed.to_string()) };
            pictures::write_png(&path, picture, Some(&pictures::job_record(&one, *seed, &generated.model_hash)))?;
            if !args.json {
                let words = if one.prompt == spec.prompt { String::new() } else { format!("  {}", one.prompt) };
                say!("{}  (seed {seed}){words}", path.display());
            }
            files.push(path.display().to_string());
        }
        if let (Some(path), Some(made)) = (&args.save_latents, generated.latents.first()) {
            let seed = one.sampling.seed.to_string();
            latents::write(&if args.count == 1 { path.clone() } else { numbered(path, &seed) }, made)?;
        }
        for remark in generated.remarks.iter().filter(|remark| !remarks.contains(remark)).cloned().collect::<Vec<_>>() {
            eprintln!("maquette: note: {remark}");
            remarks.push(remark);
        }
        model_sha256.clone_from(&generated.model_hash);
        made.get_or_insert(one);
    }
    if args.json {
        let seed = spec.sampling.seed;
        let mut job = made.unwrap_or_else(|| spec.clone());
        if args.count > 1 {
            // Each picture may have words of its own; they are in its file.
            (job.count, job.prompt, job.negative) = (args.count, spec.prompt, spec.negative);
        }
        return json::print(&json::Generate { schema: json::SCHEMA, files, seed, job, model_sha256, remarks });
    }
    Ok(())
}

/// The size of the pictures that a model was trained on, if it can be found; what is wrong with a model is said when it is loaded.
fn own_size(model: &ModelRef, options: &EngineOptions) -> Option<Extent> {
    let files = models::catalogue(options).ok()?.resolve(model, Family::Diffusion).ok()?;
    own_extent(&files)
}

/// The wildcards that ship and the user's, if the prompts have anything to draw; says which files could not be read.
pub(super) fn wildcards(spec: &GenerateSpec, options: &EngineOptions) -> Wildcards {
    if !is_dynamic(&spec.prompt) && !is_dynamic(&spec.negative) {
        return Wildcards::default();
    }
    let (wildcards, warnings) = presets::all_wildcards(options.presets.as_deref());
    warnings.iter().for_each(|warning| eprintln!("maquette: note: {warning}"));
    wildcards
}

/// The request for the picture of a seed: its variants and wildcards are drawn by the seed, as in the window, and it has the files
/// that its prompts name.
pub(super) fn drawn(
    args: &Generate,
    spec: &GenerateSpec,
    seed: u64,
    files: &mut NamedFiles,
    wildcards: &Wildcards,
) -> Result<GenerateSpec, Failure> {
    let mut one = spec.clone();
    (one.count, one.sampling.seed) = (1, seed);
    for text in [&mut one.prompt, &mut one.negative] {
        *text = draw(text, seed, wildcards);
    }
    files.fit(&mut one, lora::chosen(args)).map_err(Failure::BadInput)?;
    Ok(one)
}

/// The request that the arguments stand for, before anything is drawn, with the files that they give.
pub(super) fn prepare(args: &Generate, options: &EngineOptions) -> Result<GenerateSpec, Failure> {
    let init = match &args.init {
        None => None,
        Some(path) => Some(InitSpec {
            picture: pictures::read(path)?,
            mask: args.mask.as_ref().map(|mask| pictures::read_mask(mask)).transpose()?,
            strength: args.strength.unwrap_or(if args.mask.is_some() { 1.0 } else { 0.7 }),
        }),
    };
    let model = ModelRef::from(args.model.as_str());
    // A blank is the text without words; no text at all is no negative prompt.
    let negative = match args.negative.as_deref() {
        None => String::new(),
        Some("") => " ".to_owned(),
        Some(text) => text.to_owned(),
    };
    Ok(GenerateSpec {
        model: model.clone(),
        prompt: args.prompt.clone(),
        sampling: Sampling {
            sampler: args.sampler,
            schedule: args.schedule,
            steps: args.steps,
            guidance: args.guidance,
            guidance_rescale: args.guidance_rescale,
            eta: args.eta,
            seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            rng: args.rng,
            size: args.size.or_else(|| own_size(&model, options)).unwrap_or(Sampling::default().size),
            clip_skip: args.clip_skip,
            emphasis: args.emphasis,
        },
        count: args.count,
        init,
        noise: args.noise.as_ref().map(|path| latents::read_noise(path)).transpose()?,
        nets: args.nets.read()?,
        embeddings: lora::embeddings(&args.embedding, options)?,
        loras: lora::loras(&args.lora, options)?,
        negative,
    })
}
