//! `maquette heatmap`: where in a picture phrases are.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};

use super::args::Heatmap;
use super::json;
use super::session::{self, Failure, Session, numbered, say, wrong_answer};
use crate::analysis::heatmap;
use crate::base::colormap::Colormap;
use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::job::output::{Grid, Heatmaps, PhraseMap};
use crate::job::spec::{HeatmapSpec, MarkedPicture};
use crate::job::{JobOutput, JobSpec};
use crate::store::pictures;

/// Opacity of the heatmap over the picture.
const OPACITY: f32 = 0.6;

pub(super) fn run(args: &Heatmap, session: &mut Session) -> Result<(), Failure> {
    session::check_out(&args.out)?;
    if let Some(data) = &args.data {
        session::check_out(data)?;
    }
    let picture = pictures::read(&args.image)?;
    let spec = HeatmapSpec {
        model: args.model.as_str().into(),
        image: MarkedPicture { picture: picture.clone(), marks: Vec::new() },
        phrases: args.text.clone(),
        method: args.method,
    };
    let output = session.run(JobSpec::Heatmap(spec))?;
    let JobOutput::Heatmaps(maps) = &*output else { return Err(wrong_answer()) };
    for (index, phrase) in maps.phrases.iter().enumerate() {
        let path =
            if maps.phrases.len() == 1 { args.out.clone() } else { numbered(&args.out, &(index + 1).to_string()) };
        pictures::write_png(&path, &overlay(&picture, &phrase.grid), None)?;
    }
    if let Some(path) = &args.data {
        session::write(path, &numbers(maps, picture.extent())?)?;
    }
    let cut = |phrase: &&PhraseMap| phrase.tokens_cut > 0;
    let remark = |p: &PhraseMap| {
        format!(
            "the phrase \"{}…\" is {} tokens too long; the rest was not read",
            p.text.chars().take(40).collect::<String>(),
            p.tokens_cut
        )
    };
    let remarks: Vec<String> = maps.phrases.iter().filter(cut).map(remark).collect();
    for remark in &remarks {
        eprintln!("maquette: note: {remark}");
    }
    let phrases: Vec<json::Phrase> = maps.phrases.iter().map(|phrase| summary(phrase, picture.extent())).collect();
    if args.json {
        return json::print(&json::Heatmap { schema: json::SCHEMA, phrases, remarks });
    }
    for phrase in phrases {
        let [x, y] = phrase.peak;
        say!(
            "{}  score {:.3}, from {:.3} to {:.3}, peak at {x},{y}",
            phrase.text,
            phrase.score,
            phrase.min,
            phrase.max
        );
    }
    Ok(())
}

/// What is said of one phrase.
pub(super) fn summary(phrase: &PhraseMap, extent: Extent) -> json::Phrase {
    let (min, max) = heatmap::range(&phrase.grid);
    json::Phrase { text: phrase.text.clone(), score: phrase.score, min, max, peak: heatmap::peak(&phrase.grid, extent) }
}

/// The picture with the heatmap over it, from its smallest to its largest value.
pub(super) fn overlay(picture: &Picture, grid: &Grid) -> Picture {
    let extent = picture.extent();
    let (low, high) = heatmap::range(grid);
    let values = heatmap::upsample(grid, extent);
    let table = Colormap::Inferno.table();
    let span = (high - low).max(1e-6);
    Picture::from_fn(extent, |x, y| {
        let at = y as usize * extent.width as usize + x as usize;
        let value = values.get(at).map_or(0.0, |v| (v - low) / span);
        let colour = table[(value * 255.0).clamp(0.0, 255.0) as usize];
        let old = picture.pixel(x, y).unwrap_or([0; 3]);
        [0, 1, 2].map(|c| (f32::from(old[c]) * (1.0 - OPACITY) + f32::from(colour[c]) * OPACITY).round() as u8)
    })
}

/// "grid" (phrases, rows, columns) and "heatmap" (phrases, height, width) as a safetensors file.
fn numbers(maps: &Heatmaps, extent: Extent) -> Result<Vec<u8>, Failure> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (rows, columns) = maps.phrases.first().map_or((0, 0), |phrase| (phrase.grid.rows, phrase.grid.columns));
    let grids: Vec<u8> = maps.phrases.iter().flat_map(|phrase| bytes(&phrase.grid.values)).collect();
    let full: Vec<u8> =
        maps.phrases.iter().flat_map(|phrase| bytes(&heatmap::upsample(&phrase.grid, extent))).collect();
    let count = maps.phrases.len();
    let failed = |error: safetensors::SafeTensorError| Failure::Failed(format!("cannot write safetensors: {error}"));
    let grid = TensorView::new(Dtype::F32, vec![count, rows, columns], &grids).map_err(failed)?;
    let shape = vec![count, extent.height as usize, extent.width as usize];
    let heatmap = TensorView::new(Dtype::F32, shape, &full).map_err(failed)?;
    safetensors::serialize(HashMap::from([("grid", grid), ("heatmap", heatmap)]), None).map_err(failed)
}
