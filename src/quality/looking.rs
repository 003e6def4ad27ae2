//! The figures of the CLIP: what it says of whole scenes, and where its lens points.

use super::figures::{Check, Tally, plain};
use super::scene::{Asked, Combinations, Kind, Scene};
use super::verdict::best;
use crate::analysis::heatmap;
use crate::base::pixels::Picture;
use crate::base::task::TaskCx;
use crate::job::ModelRef;
use crate::job::output::{Bound, Figure};
use crate::job::spec::{Combine, HeatmapMethod, HeatmapSpec, MarkedPicture, ZeroShotSpec};
use crate::models::error::Result;

/// Pixels a side of the scenes that the lens looks at: it enlarges smaller pictures to this.
const LENS_SIDE: u32 = 256;

pub(super) fn figures(check: &Check<'_>) -> Result<Vec<Figure>> {
    let [top1, top5] = things(check, "zero-shot", Combinations::Seen)?;
    let [unseen, _] = things(check, "zero-shot, unseen pairs", Combinations::Unseen)?;
    let [style, background] = styles_and_backgrounds(check)?;
    let mut found = vec![
        top1.figure("zero_shot_top1", 0.92),
        top5.figure("zero_shot_top5", 0.98),
        unseen.figure("zero_shot_unseen_top1", 0.85),
        style.figure("zero_shot_style", 0.97),
        background.figure("zero_shot_background", 0.97),
        effects(check)?.figure("zero_shot_effect", 0.95),
        relations(check)?.figure("relations", 0.85),
    ];
    found.extend(lens(check)?);
    Ok(found)
}

fn marked(picture: &Picture) -> MarkedPicture {
    MarkedPicture { picture: picture.clone(), marks: Vec::new() }
}

/// The logits of texts for a picture.
fn logits(check: &Check<'_>, picture: &Picture, texts: &[String], template: &str, cx: &TaskCx<'_>) -> Result<Vec<f32>> {
    let spec = ZeroShotSpec {
        model: ModelRef::builtin(),
        images: vec![marked(picture)],
        classes: texts.to_vec(),
        templates: vec![template.to_owned()],
        own_texts: Vec::new(),
        combine: Combine::Embedding,
    };
    let table = check.subjects.clip.zero_shot(&spec, cx)?;
    Ok(table.images.into_iter().next().map(|image| image.logits).unwrap_or_default())
}

/// Scenes of one thing whose name is the best, or among the best five, of all names.
fn things(check: &Check<'_>, figure: &str, combinations: Combinations) -> Result<[Tally; 2]> {
    let names: Vec<String> = check.maker.world().things.iter().map(|thing| thing.name.clone()).collect();
    let (mut r, mut top1, mut top5) = (check.random(figure), Tally::default(), Tally::default());
    check.each("Zero-shot: things", check.scenes(), |cx| {
        let scene = check.maker.scene(&mut r, Asked { combinations, ..plain(Some(Kind::One)) })?;
        let logits = logits(check, &scene.picture, &names, "a picture of a {}", cx)?;
        let own = scene.things.first().and_then(|(thing, _)| logits.get(*thing)).copied().unwrap_or(f32::NAN);
        let better = logits.iter().filter(|logit| **logit > own).count();
        top1.add(own.is_finite() && better == 0);
        top5.add(own.is_finite() && better < 5);
        Ok(())
    })?;
    Ok([top1, top5])
}

/// Scenes of all kinds: "a sticker", "a red background". Places are no background colours and do not count.
fn styles_and_backgrounds(check: &Check<'_>) -> Result<[Tally; 2]> {
    let world = check.maker.world();
    let styles: Vec<String> =
        world.styles.iter().filter_map(|style| style.phrases.first()).map(|p| check.article(p)).collect();
    let backgrounds: Vec<String> =
        world.colours.iter().map(|colour| check.article(&format!("{} background", colour.name))).collect();
    let (mut r, mut style, mut background) = (check.random("attributes"), Tally::default(), Tally::default());
    check.each("Zero-shot: styles and backgrounds", check.scenes(), |cx| {
        let scene = check.maker.scene(&mut r, plain(None))?;
        style.add(best(&logits(check, &scene.picture, &styles, "{}", cx)?) == scene.style);
        if scene.background < backgrounds.len() {
            background.add(best(&logits(check, &scene.picture, &backgrounds, "{}", cx)?) == scene.background);
        }
        Ok(())
    })?;
    Ok([style, background])
}

fn effects(check: &Check<'_>) -> Result<Tally> {
    let names: Vec<String> = check.maker.world().effects.iter().map(|effect| effect.name.clone()).collect();
    let (mut r, mut tally) = (check.random("effects"), Tally::default());
    check.each("Zero-shot: effects", check.scenes(), |cx| {
        let scene = check.maker.scene(&mut r, Asked { effect: Some(true), ..plain(None) })?;
        tally.add(Some(best(&logits(check, &scene.picture, &names, "{}", cx)?)) == scene.effect);
        Ok(())
    })?;
    Ok(tally)
}

/// Captions that state a relation against the same with the relation turned round.
fn relations(check: &Check<'_>) -> Result<Tally> {
    let (mut r, mut tally) = (check.random("relations"), Tally::default());
    check.each("Relations", check.scenes(), |cx| {
        let (scene, reversed) = loop {
            let scene = check.maker.scene(&mut r, plain(Some(Kind::Pair)))?;
            if let Some(reversed) = scene.reversed_caption.clone() {
                break (scene, reversed);
            }
        };
        tally.add(best(&logits(check, &scene.picture, &[reversed, scene.caption.clone()], "{}", cx)?) == 1);
        Ok(())
    })?;
    Ok(tally)
}

fn lens(check: &Check<'_>) -> Result<Vec<Figure>> {
    let mut overlap = Overlap::new();
    let mut peaks = [Tally::default(); 2];
    for (tally, kind) in peaks.iter_mut().zip([Kind::One, Kind::Pair]) {
        let mut r = check.random(if kind == Kind::One { "lens, one thing" } else { "lens, two things" });
        let stage = if kind == Kind::One { "Lens: one thing" } else { "Lens: two things" };
        check.each(stage, check.scenes().div_ceil(2), |cx| {
            let scene = check.maker.scene(&mut r, Asked { side: LENS_SIDE, ..plain(Some(kind)) })?;
            look_for_things(check, &scene, tally, &mut overlap, cx)
        })?;
    }
    let [one, two] = peaks;
    Ok(vec![
        one.figure("lens_peak_one", 0.97),
        two.figure("lens_peak_two", 0.92),
        Figure::new("lens_iou", overlap.best(), Bound::AtLeast(0.6), overlap.count),
    ])
}

/// Points the lens at each thing of a scene by its name with its article, as a person would type it.
fn look_for_things(
    check: &Check<'_>,
    scene: &Scene,
    peaks: &mut Tally,
    overlap: &mut Overlap,
    cx: &TaskCx<'_>,
) -> Result<()> {
    let spec = HeatmapSpec {
        model: ModelRef::builtin(),
        image: marked(&scene.picture),
        phrases: scene.things.iter().map(|(thing, _)| check.maker.named(*thing)).collect(),
        method: HeatmapMethod::Auto,
    };
    let maps = check.subjects.clip.heatmaps(&spec, cx)?;
    let extent = scene.picture.extent();
    for (phrase, (thing, _)) in maps.phrases.iter().zip(&scene.things) {
        let label = *thing as u16 + 1;
        let [x, y] = heatmap::peak(&phrase.grid, extent);
        peaks.add(scene.labels.get((y * extent.width + x) as usize) == Some(&label));
        overlap.add(&heatmap::upsample(&phrase.grid, extent), scene.labels.iter().map(|found| *found == label));
    }
    Ok(())
}

/// The mean intersection over union of maps with their masks, for many thresholds at once.
#[derive(Debug)]
struct Overlap {
    /// By threshold.
    sums: [f64; Self::STEPS],
    count: u32,
}

impl Overlap {
    /// Thresholds from -0.2 to 0.8 in steps of a hundredth.
    const STEPS: usize = 100;
    const LOWEST: f32 = -0.2;

    fn new() -> Self {
        Self { sums: [0.0; Self::STEPS], count: 0 }
    }

    fn add(&mut self, map: &[f32], mask: impl Iterator<Item = bool>) {
        // How many pixels' values lie between this threshold and the next, inside and outside the mask.
        let mut pixels = [[0u32; 2]; Self::STEPS + 1];
        let mut masked = 0u32;
        for (value, is_inside) in map.iter().zip(mask) {
            let passed = ((value - Self::LOWEST) * Self::STEPS as f32 + 1.0).clamp(0.0, Self::STEPS as f32);
            pixels[passed as usize][usize::from(!is_inside)] += 1;
            masked += u32::from(is_inside);
        }
        let mut above = [0u32; 2];
        for (sum, [inside, outside]) in self.sums.iter_mut().zip(&pixels[1..]).rev() {
            above = [above[0] + inside, above[1] + outside];
            *sum += f64::from(above[0]) / f64::from((masked + above[1]).max(1));
        }
        self.count += 1;
    }

    /// At the best threshold.
    fn best(&self) -> f64 {
        self.sums.iter().fold(0.0f64, |best, sum| best.max(*sum)) / f64::from(self.count.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_single_threshold_is_found_over_all_maps() {
        let mut overlap = Overlap::new();
        overlap.add(&[0.1, 0.3, 0.5, 0.7], [false, false, true, true].into_iter());
        assert!((overlap.best() - 1.0).abs() < 1e-9);
        // Here 0.3 is inside too: either map loses a pixel at any single threshold.
        overlap.add(&[0.1, 0.3, 0.5, 0.7], [false, true, true, true].into_iter());
        assert!((overlap.best() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-9, "{}", overlap.best());
    }
}
