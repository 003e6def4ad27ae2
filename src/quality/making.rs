//! The figures of the diffusion model: what its autoencoder loses, and what the judge recognises in its pictures.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::figures::{Check, Tally, plain};
use super::scene::{Asked, Combinations, Kind, Look, Scene, Wordiness};
use super::verdict::{are_on_their_sides, are_present, best, cells, thing, thing_inside};
use crate::base::geom::{ImagePoint, ImageRect};
use crate::base::pixels::{Mask, Paint, Picture};
use crate::base::task::TaskCx;
use crate::job::ModelRef;
use crate::job::nets::OtherNets;
use crate::job::output::{Bound, Figure, JudgeAccuracy};
use crate::job::sampling::Sampling;
use crate::job::spec::{GenerateSpec, InitSpec};
use crate::models::error::{ModelError, Result};
use crate::models::judge::{Judge, Verdict};

/// How far a mask reaches beyond the thing that it covers, in pixels.
const MASK_MARGIN: f32 = 5.0;
/// Pictures that are timed; the fastest counts.
const TIMED: u32 = 3;

/// The figures of generated pictures, and the least that is asked of each.
pub(super) const JUDGED: [(&str, f64); 7] = [
    ("generated_thing", 0.85),
    ("generated_style", 0.9),
    ("generated_background", 0.95),
    ("generated_effect", 0.85),
    ("two_things_present", 0.65),
    ("two_things_sides", 0.55),
    ("inpaint_thing", 0.75),
];

/// The figures of generated pictures, and how well the judge does on real scenes.
pub(super) fn judged(check: &Check<'_>, judge: &Judge) -> Result<(Vec<Figure>, JudgeAccuracy)> {
    let accuracy = judge_itself(check, judge)?;
    let OfOne { thing, style, background } = pictures_of_one(check, judge)?;
    let effect = pictures_with_effects(check, judge)?;
    let OfTwo { present, on_sides } = pictures_of_two(check, judge)?;
    let tallies = [thing, style, background, effect, present, on_sides, inpainting(check, judge)?];
    let figures = JUDGED.into_iter().zip(tallies).map(|((name, least), tally)| tally.figure(name, least));
    Ok((figures.collect(), accuracy))
}

/// Whole processor seconds of a picture with guidance.
pub(super) fn picture_cpu_seconds(check: &Check<'_>) -> Result<Figure> {
    let mut fastest = f64::INFINITY;
    check.each("Timing a picture", TIMED, |cx| {
        let before = (check.subjects.cpu_seconds)();
        generate(check, "a red apple on a blue background".to_owned(), 1, None, cx)?;
        fastest = fastest.min((check.subjects.cpu_seconds)() - before);
        Ok(())
    })?;
    Ok(Figure::new("picture_cpu_seconds", fastest, Bound::AtMost(1.5), TIMED))
}

/// The mean over scenes of their peak signal-to-noise ratio in decibels, after encoding and decoding.
pub(super) fn autoencoder(check: &Check<'_>) -> Result<Figure> {
    let (mut r, mut sum, count) = (check.random("autoencoder"), 0.0, check.scenes().div_ceil(2));
    check.each("Autoencoder", count, |cx| {
        let scene = check.maker.scene(&mut r, Asked { effect: None, ..plain(None) })?;
        sum += psnr(&scene.picture, &check.subjects.diffusion.reconstruct(&scene.picture, cx)?);
        Ok(())
    })?;
    Ok(Figure::new("autoencoder_psnr_db", sum / f64::from(count), Bound::AtLeast(30.0), count))
}

fn psnr(a: &Picture, b: &Picture) -> f64 {
    let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
    let mean = a.rgb().iter().zip(b.rgb()).map(square).sum::<f64>() / a.rgb().len().max(1) as f64;
    // Equal pictures have no finite ratio; one step in one value of a large picture is as near as bytes come.
    10.0 * (255.0 * 255.0 / mean.max(1e-6)).log10()
}

/// How many pictures of one thing show what was asked for.
#[derive(Default)]
struct OfOne {
    thing: Tally,
    style: Tally,
    background: Tally,
}

impl OfOne {
    fn add(&mut self, verdict: &Verdict, asked_thing: usize, asked: Look) {
        self.thing.add(thing(&cells(verdict)) == asked_thing);
        self.style.add(best(&verdict.style) == asked.style);
        self.background.add(best(&verdict.background) == asked.background);
    }
}

/// How many pictures of two things show what was asked for.
#[derive(Default)]
struct OfTwo {
    present: Tally,
    on_sides: Tally,
}

impl OfTwo {
    fn add(&mut self, verdict: &Verdict, pair: [usize; 2], is_beside: bool) {
        self.present.add(are_present(&cells(verdict), pair));
        self.on_sides.add(are_on_their_sides(verdict, pair, is_beside));
    }
}

/// The judge on scenes instead of generated pictures: more than this cannot be expected of any model.
fn judge_itself(check: &Check<'_>, judge: &Judge) -> Result<JudgeAccuracy> {
    let (mut one, mut two, mut effect, mut inside) =
        (OfOne::default(), OfTwo::default(), Tally::default(), Tally::default());
    let mut r = check.random("judge");
    check.each("The judge on scenes", check.scenes(), |cx| {
        let scene = check.maker.scene(&mut r, plain(Some(Kind::One)))?;
        let Scene { style, background, .. } = scene;
        let thing = scene.things.first().map_or(0, |(thing, _)| *thing);
        one.add(&judge.look(&scene.picture, cx)?, thing, Look { style, background, effect: None });
        let scene = check.maker.scene(&mut r, Asked { effect: Some(true), ..plain(Some(Kind::One)) })?;
        effect.add(Some(best(&judge.look(&scene.picture, cx)?.effect)) == scene.effect);
        let scene = check.maker.scene(&mut r, plain(Some(Kind::Pair)))?;
        let (verdict, [(first, place), (second, other)]) = (judge.look(&scene.picture, cx)?, pair_of(&scene)?);
        let (a, b) = (place.center(), other.center());
        two.add(&verdict, [first, second], (b.x - a.x).abs() > (b.y - a.y).abs());
        inside.add(thing_inside(&verdict, &mask_over(place, &scene.picture, &mut r)) == first);
        Ok(())
    })?;
    Ok(JudgeAccuracy {
        count: check.scenes(),
        thing: one.thing.share(),
        style: one.style.share(),
        background: one.background.share(),
        effect: effect.share(),
        two_things_present: two.present.share(),
        two_things_sides: two.on_sides.share(),
        inpaint_thing: inside.share(),
    })
}

fn pair_of(scene: &Scene) -> Result<[(usize, ImageRect); 2]> {
    scene.things.clone().try_into().map_err(|_| ModelError::BadInput("a scene of two things has another number".into()))
}

fn pictures_of_one(check: &Check<'_>, judge: &Judge) -> Result<OfOne> {
    let (mut r, mut tallies) = (check.random("generated"), OfOne::default());
    check.each("Generating one thing", check.pictures(), |cx| {
        let (names, asked) = check.maker.choose(&mut r, Kind::One, Combinations::All);
        let picture = picture_of(check, names[0], asked, &mut r, cx)?;
        tallies.add(&judge.look(&picture, cx)?, names[0], asked);
        Ok(())
    })?;
    Ok(tallies)
}

fn pictures_with_effects(check: &Check<'_>, judge: &Judge) -> Result<Tally> {
    let (mut r, mut tally) = (check.random("generated effects"), Tally::default());
    check.each("Generating effects", check.pictures(), |cx| {
        let (names, asked) = check.maker.choose(&mut r, Kind::One, Combinations::All);
        let effect = r.random_range(0..check.maker.world().effects.len());
        let picture = picture_of(check, names[0], Look { effect: Some(effect), ..asked }, &mut r, cx)?;
        tally.add(best(&judge.look(&picture, cx)?.effect) == effect);
        Ok(())
    })?;
    Ok(tally)
}

fn pictures_of_two(check: &Check<'_>, judge: &Judge) -> Result<OfTwo> {
    let (mut r, mut tallies) = (check.random("generated pairs"), OfTwo::default());
    check.each("Generating two things", check.pictures(), |cx| {
        let (names, asked) = check.maker.choose(&mut r, Kind::Pair, Combinations::All);
        let (pair, is_beside) = ([names[0], names[1]], r.random_bool(0.6));
        let [one_way, other_way] = check.maker.related(&mut r, pair, is_beside);
        let what = if r.random_bool(0.5) { one_way } else { other_way };
        let prompt = check.maker.caption(&mut r, &what, asked, Wordiness::FULL);
        let picture = generate(check, prompt, r.random(), None, cx)?;
        tallies.add(&judge.look(&picture, cx)?, pair, is_beside);
        Ok(())
    })?;
    Ok(tallies)
}

/// One of the two things of a scene is painted over; the prompt asks for a third in its place.
fn inpainting(check: &Check<'_>, judge: &Judge) -> Result<Tally> {
    let (mut r, mut tally) = (check.random("inpainting"), Tally::default());
    check.each("Inpainting", check.pictures(), |cx| {
        let scene = check.maker.scene(&mut r, plain(Some(Kind::Pair)))?;
        let [(first, place), (second, _)] = pair_of(&scene)?;
        let wanted = loop {
            let thing = r.random_range(0..check.maker.world().things.len());
            if thing != first && thing != second {
                break thing;
            }
        };
        let mask = mask_over(place, &scene.picture, &mut r);
        let asked = Look { style: scene.style, background: scene.background, effect: None };
        let prompt = check.maker.caption(&mut r, &check.maker.named(wanted), asked, Wordiness::FULL);
        let init = InitSpec { picture: scene.picture, mask: Some(mask.clone()), strength: 1.0 };
        let picture = generate(check, prompt, r.random(), Some(init), cx)?;
        tally.add(thing_inside(&judge.look(&picture, cx)?, &mask) == wanted);
        Ok(())
    })?;
    Ok(tally)
}

/// A rectangle or an ellipse over a place.
fn mask_over(place: ImageRect, picture: &Picture, r: &mut ChaCha8Rng) -> Mask {
    let mut mask = Mask::empty(picture.extent());
    let grown = |by: f32| {
        let middle = place.center();
        let (width, height) = (place.width() / 2.0 + by, place.height() / 2.0 + by);
        ImageRect::from_corners(
            ImagePoint::new(middle.x - width, middle.y - height),
            ImagePoint::new(middle.x + width, middle.y + height),
        )
    };
    match r.random_bool(0.5) {
        true => mask.paint_rect(grown(MASK_MARGIN), Paint::Add),
        // An ellipse needs more room for the corners.
        false => mask.paint_ellipse(grown(2.0 * MASK_MARGIN), Paint::Add),
    };
    mask
}

fn picture_of(check: &Check<'_>, thing: usize, asked: Look, r: &mut ChaCha8Rng, cx: &TaskCx<'_>) -> Result<Picture> {
    let what = check.article(&check.maker.called(r, thing));
    let prompt = check.maker.caption(r, &what, asked, Wordiness::FULL);
    generate(check, prompt, r.random(), None, cx)
}

/// A picture by the program's defaults: 20 steps of Euler with guidance 5.
fn generate(check: &Check<'_>, prompt: String, seed: u32, init: Option<InitSpec>, cx: &TaskCx<'_>) -> Result<Picture> {
    let spec = GenerateSpec {
        model: ModelRef::builtin(),
        prompt,
        negative: String::new(),
        sampling: Sampling { seed: seed.into(), ..Sampling::default() },
        count: 1,
        init,
        noise: None,
        nets: OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    };
    let made = check.subjects.diffusion.generate(&spec, cx)?.pictures.into_iter().next();
    made.map(|(_, picture)| picture).ok_or_else(|| ModelError::BadInput("no picture was made".into()))
}
