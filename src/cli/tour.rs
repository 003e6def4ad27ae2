//! `maquette tour`: the main job on the bundled sample without a window, as pictures and as a report.

use super::args::Tour;
use super::session::{self, Failure, Session, say, wrong_answer};
use super::{heatmap, json, tour_report};
use crate::base::geom::{Extent, ImagePoint, ImageRect};
use crate::base::pixels::{Mask, Paint, Picture};
use crate::job::nets::OtherNets;
use crate::job::output::{Generated, ZeroShotTable};
use crate::job::sampling::Sampling;
use crate::job::spec::{Combine, GenerateSpec, HeatmapMethod, HeatmapSpec, InitSpec, MarkedPicture, ZeroShotSpec};
use crate::job::{JobOutput, JobSpec, ModelRef};
use crate::models::preprocess::resize;
use crate::prompt::template::lines;
use crate::store::{pictures, presets, samples};

const SAMPLE: &str = "apple-and-cat.png";
const PHRASES: [&str; 2] = ["an apple", "a cat"];
const PROMPT: &str = "a red apple on a blue background";
const INPAINT_PROMPT: &str = "a yellow star on a teal background";
/// The part of the sample that is repainted: where the apple is, in pixels of the sample's 512.
const INPAINT_BOX: [f32; 4] = [25.0, 55.0, 255.0, 285.0];
const SEEDS: std::ops::RangeInclusive<u64> = 1..=4;

/// One section of the report.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) text: String,
    /// File name, caption and picture.
    pub(super) pictures: Vec<(String, String, Picture)>,
}

pub(super) fn run(args: &Tour, session: &mut Session) -> Result<(), Failure> {
    let unusable =
        |error: std::io::Error| Failure::BadInput(format!("cannot make this folder ({error}): {}", args.out.display()));
    std::fs::create_dir_all(&args.out).map_err(unusable)?;
    let sample = samples::open(SAMPLE)?;
    let (looking, phrases) = look(&sample, session)?;
    let (making, generated) = make(session)?;
    let (repainting, repainted) = repaint(&sample, session)?;
    let (classifying, table) = classify(&sample, session)?;
    let sections = [looking, making, repainting, classifying];
    for (file, _, picture) in sections.iter().flat_map(|section| &section.pictures) {
        pictures::write_png(&args.out.join(file), picture, None)?;
    }
    let record = serde_json::json!({
        "schema": json::SCHEMA,
        "sample": SAMPLE,
        "heatmap": { "phrases": phrases },
        "generate": { "prompt": PROMPT, "seeds": seeds(&generated), "model_sha256": generated.model_hash },
        "inpaint": { "prompt": INPAINT_PROMPT, "seeds": seeds(&repainted) },
        "zero_shot": table,
        "files": sections.iter().flat_map(|s| &s.pictures).map(|(file, _, _)| file).collect::<Vec<_>>(),
    });
    let text = serde_json::to_vec_pretty(&record).map_err(|e| Failure::Failed(format!("cannot write JSON: {e}")))?;
    session::write(&args.out.join("report.json"), &text)?;
    session::write(&args.out.join("report.html"), tour_report::html(&sections, &table)?.as_bytes())?;
    say!("{}", args.out.join("report.html").display());
    say!("{}", args.out.join("report.json").display());
    Ok(())
}

fn seeds(generated: &Generated) -> Vec<u64> {
    generated.pictures.iter().map(|(seed, _)| *seed).collect()
}

fn marked(picture: &Picture) -> MarkedPicture {
    MarkedPicture { picture: picture.clone(), marks: Vec::new() }
}

fn look(sample: &Picture, session: &mut Session) -> Result<(Section, Vec<json::Phrase>), Failure> {
    let spec = HeatmapSpec {
        model: ModelRef::builtin(),
        image: marked(sample),
        phrases: PHRASES.map(str::to_owned).to_vec(),
        method: HeatmapMethod::Auto,
    };
    let output = session.run(JobSpec::Heatmap(spec))?;
    let JobOutput::Heatmaps(maps) = &*output else { return Err(wrong_answer()) };
    let phrases: Vec<json::Phrase> =
        maps.phrases.iter().map(|phrase| heatmap::summary(phrase, sample.extent())).collect();
    let mut shown = vec![("sample.png".to_owned(), "the sample".to_owned(), sample.clone())];
    for (index, phrase) in maps.phrases.iter().enumerate() {
        let caption = format!("“{}”, score {:.2}", phrase.text, phrase.score);
        shown.push((format!("heatmap-{}.png", index + 1), caption, heatmap::overlay(sample, &phrase.grid)));
    }
    let text = "Where in the picture is this phrase? Bright is similar.".to_owned();
    Ok((Section { title: "Lens", text, pictures: shown }, phrases))
}

fn generate(prompt: &str, count: u32, init: Option<InitSpec>, session: &mut Session) -> Result<Generated, Failure> {
    let spec = GenerateSpec {
        model: ModelRef::builtin(),
        prompt: prompt.to_owned(),
        negative: String::new(),
        sampling: Sampling { seed: *SEEDS.start(), ..Sampling::default() },
        count,
        init,
        noise: None,
        nets: OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    };
    let output = session.run(JobSpec::Generate(spec))?;
    match &*output {
        JobOutput::Pictures(generated) => Ok(generated.clone()),
        _ => Err(wrong_answer()),
    }
}

fn make(session: &mut Session) -> Result<(Section, Generated), Failure> {
    let generated = generate(PROMPT, SEEDS.count() as u32, None, session)?;
    let shown = generated
        .pictures
        .iter()
        .map(|(seed, picture)| (format!("generated-{seed}.png"), format!("seed {seed}"), picture.clone()));
    let text = format!("“{PROMPT}”, four seeds, {} steps.", Sampling::default().steps);
    Ok((Section { title: "Generation", text, pictures: shown.collect() }, generated))
}

/// Repaints the place of one thing, at the size of the built-in model.
fn repaint(sample: &Picture, session: &mut Session) -> Result<(Section, Generated), Failure> {
    let size = Sampling::default().size;
    let canvas = resize(sample, size);
    let scale = size.width as f32 / sample.extent().width as f32;
    let [x0, y0, x1, y1] = INPAINT_BOX.map(|v| v * scale);
    let mut mask = Mask::empty(size);
    mask.paint_rect(ImageRect::from_corners(ImagePoint::new(x0, y0), ImagePoint::new(x1, y1)), Paint::Add);
    let shown_mask = Picture::from_fn(Extent::new(size.width, size.height), |x, y| [mask.coverage(x, y); 3]);
    let init = InitSpec { picture: canvas.clone(), mask: Some(mask), strength: 1.0 };
    let generated = generate(INPAINT_PROMPT, 2, Some(init), session)?;
    let mut shown = vec![
        ("inpaint-canvas.png".to_owned(), "the canvas".to_owned(), canvas),
        ("inpaint-mask.png".to_owned(), "the mask".to_owned(), shown_mask),
    ];
    let results = generated.pictures.iter();
    shown.extend(
        results.map(|(seed, picture)| (format!("inpainted-{seed}.png"), format!("seed {seed}"), picture.clone())),
    );
    let text = format!("“{INPAINT_PROMPT}”, only inside the mask: every other pixel is as it was.");
    Ok((Section { title: "Inpainting", text, pictures: shown }, generated))
}

fn classify(sample: &Picture, session: &mut Session) -> Result<(Section, ZeroShotTable), Failure> {
    let (library, _) = presets::library(None);
    let classes =
        library.classes.first().map(|list| list.lines.clone()).unwrap_or_else(|| lines("apple\ncat\ndog\nbanana"));
    let templates =
        library.zero_shot.first().map(|list| list.lines.clone()).unwrap_or_else(|| lines("a picture of a {}"));
    // The right half of the sample shows one thing alone.
    let half = sample.extent().width / 2;
    let picture = Picture::from_fn(Extent::new(half, half), |x, y| {
        sample.pixel(half + x, half / 2 + y + half / 4).unwrap_or([0; 3])
    });
    let spec = ZeroShotSpec {
        model: ModelRef::builtin(),
        images: vec![marked(&picture)],
        classes,
        templates,
        own_texts: Vec::new(),
        combine: Combine::Embedding,
    };
    let output = session.run(JobSpec::ZeroShot(spec))?;
    let JobOutput::ZeroShot(table) = &*output else { return Err(wrong_answer()) };
    let text = "Which class does the picture show? Probability in percent, by template and for all templates together."
        .to_owned();
    let shown = vec![("zero-shot.png".to_owned(), "the picture".to_owned(), picture)];
    Ok((Section { title: "Zero-shot", text, pictures: shown }, table.clone()))
}
