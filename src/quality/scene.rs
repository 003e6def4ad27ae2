//! A maker of captioned scenes of the built-in models' world: what `World.scene` of `assets/models/train/world.py` draws, from
//! another source of chance (ChaCha8), so that every seed is one that training never used.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom, index};
use rand_chacha::ChaCha8Rng;

use super::effects;
use super::ground::Canvas;
use super::sprites::Sprites;
use super::words::{plural, reversed_relation, with_article};
use super::world::World;
use crate::base::geom::{ImagePoint, ImageRect};
use crate::base::pixels::Picture;
use crate::models::error::{ModelError, Result};

/// How many scenes have an effect if it is left to chance.
const EFFECT_SHARE: f64 = 0.2;

/// What a scene shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One thing: small, normal or large.
    One,
    /// Two things beside or above each other.
    Pair,
    /// Two to four of one thing.
    Several,
    /// Three or four different things.
    Many,
}

/// Which pairs of a thing with a style or a background scenes may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combinations {
    /// Only pairs that training shows.
    Seen,
    /// At least one pair that training never shows.
    Unseen,
    /// All.
    All,
}

/// What a scene is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// `None` leaves it to chance, as often as in training.
    pub kind: Option<Kind>,
    /// With an effect or without; `None` leaves it to chance.
    pub effect: Option<bool>,
    /// Which pairs.
    pub combinations: Combinations,
    /// Pixels a side.
    pub side: u32,
}

/// A picture with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The picture, square.
    pub picture: Picture,
    /// What it shows, in words.
    pub caption: String,
    /// The caption with its relation turned round, which is false of the picture; `None` if it states none.
    pub reversed_caption: Option<String>,
    /// For each pixel 0 or one more than the index of the thing there.
    pub labels: Vec<u16>,
    /// Index and place of each thing.
    pub things: Vec<(usize, ImageRect)>,
    /// Index of the style.
    pub style: usize,
    /// Index of the background.
    pub background: usize,
    /// Index of the effect.
    pub effect: Option<usize>,
}

/// How often a caption says what it need not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wordiness {
    pub(super) style: f64,
    pub(super) background: f64,
}

impl Wordiness {
    /// As in training.
    pub(super) const USUAL: Self = Self { style: 0.6, background: 0.92 };
    /// Always, so that a prompt says all that is judged.
    pub(super) const FULL: Self = Self { style: 1.0, background: 1.0 };
}

/// Style, background and effect of a scene, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) style: usize,
    pub(super) background: usize,
    pub(super) effect: Option<usize>,
}

/// Draws scenes.
pub struct SceneMaker {
    world: World,
    sprites: Sprites,
}

impl SceneMaker {
    /// Reads the built-in world and its drawings.
    ///
    /// # Errors
    /// If they are damaged.
    pub fn load() -> Result<Self> {
        Ok(Self { world: World::load()?, sprites: Sprites::load()? })
    }

    /// The world that the scenes are of.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// A new scene.
    ///
    /// # Errors
    /// If a drawing is damaged.
    pub fn scene(&self, r: &mut ChaCha8Rng, asked: Asked) -> Result<Scene> {
        let kind = asked.kind.unwrap_or_else(|| self.kind(r));
        let (names, mut look) = self.choose(r, kind, asked.combinations);
        let mut board = Board {
            maker: self,
            canvas: Canvas::background(&self.world, look.background, asked.side, r)?,
            style: look.style,
            side: f64::from(asked.side),
            things: Vec::new(),
        };
        let what = match kind {
            Kind::One => board.one(r, &names)?,
            Kind::Pair => board.pair(r, &names)?,
            Kind::Several => board.several(r, &names)?,
            Kind::Many => board.many(r, &names)?,
        };
        let (mut picture, labels, things) = (board.canvas.picture(), board.canvas.labels, board.things);
        if asked.effect.unwrap_or_else(|| r.random_bool(EFFECT_SHARE)) {
            let effect = r.random_range(0..self.world.effects.len());
            let name = &self.world.effects[effect].name;
            picture = effects::apply(name, &picture).ok_or_else(|| ModelError::BadFile {
                path: "(built in)/world/world.json".into(),
                reason: format!("this program cannot draw the effect \"{name}\""),
            })?;
            look.effect = Some(effect);
        }
        let caption = self.caption(r, &what, look, Wordiness::USUAL);
        let reversed_caption = reversed_relation(&what).map(|reversed| caption.replace(&what, &reversed));
        let Look { style, background, effect } = look;
        Ok(Scene { picture, caption, reversed_caption, labels, things, style, background, effect })
    }

    /// Which things a scene shows, and how it looks but for effects.
    pub(super) fn choose(&self, r: &mut ChaCha8Rng, kind: Kind, combinations: Combinations) -> (Vec<usize>, Look) {
        let world = &self.world;
        loop {
            let look = self.look(r);
            let count = match kind {
                Kind::One | Kind::Several => 1,
                Kind::Pair => 2,
                Kind::Many => [3, 3, 4].choose(r).copied().unwrap_or(3),
            };
            let names = index::sample(r, world.things.len(), count).into_vec();
            let is_unseen = names.iter().any(|name| {
                world.is_style_held_out(*name, look.style) || world.is_background_held_out(*name, look.background)
            });
            if combinations == Combinations::All || is_unseen == (combinations == Combinations::Unseen) {
                return (names, look);
            }
        }
    }

    fn look(&self, r: &mut ChaCha8Rng) -> Look {
        let (colours, places) = (self.world.colours.len(), self.world.places.len());
        let style = r.random_range(0..self.world.styles.len());
        let background =
            if r.random_bool(0.7) { r.random_range(0..colours) } else { colours + r.random_range(0..places) };
        Look { style, background, effect: None }
    }

    fn kind(&self, r: &mut ChaCha8Rng) -> Kind {
        let kinds = self.world.kinds;
        let shares = [
            (Kind::One, kinds.one),
            (Kind::Pair, kinds.pair),
            (Kind::Several, kinds.several),
            (Kind::Many, kinds.many),
        ];
        let mut left = r.random_range(0.0..1.0) * shares.iter().map(|(_, share)| share).sum::<f64>();
        for (kind, share) in shares {
            left -= share;
            if left < 0.0 {
                return kind;
            }
        }
        Kind::One
    }

    /// `what` with style, background and effect, in the language of the captions.
    pub(super) fn caption(&self, r: &mut ChaCha8Rng, what: &str, look: Look, wordiness: Wordiness) -> String {
        let one_of = |r: &mut ChaCha8Rng, of: &[String]| of.choose(r).cloned().unwrap_or_default();
        let style = r.random_bool(wordiness.style).then(|| one_of(r, &self.world.styles[look.style].phrases));
        let mut parts: Vec<String> =
            look.effect.iter().map(|effect| self.world.effects[*effect].name.clone()).collect();
        let mut text = match style {
            Some(style) if r.random_bool(0.5) => format!("{} of {what}", with_article(&self.world, &style)),
            style => {
                parts.extend(style);
                let opening = ["", "", "", "a photo of ", "a picture of ", "an image of "].choose(r);
                format!("{}{what}", opening.copied().unwrap_or_default())
            }
        };
        if r.random_bool(wordiness.background) {
            text = format!("{text} {}", self.place_phrase(r, look.background));
        }
        parts.shuffle(r);
        parts.insert(0, text);
        parts.join(", ")
    }

    fn place_phrase(&self, r: &mut ChaCha8Rng, background: usize) -> String {
        match self.world.colours.get(background) {
            Some(colour) => {
                let ground = with_article(&self.world, &format!("{} background", colour.name));
                let word = ["on", "on", "with"].choose(r).copied().unwrap_or("on");
                format!("{word} {ground}")
            }
            None => {
                let place = self.world.places.get(background - self.world.colours.len());
                place.and_then(|place| place.phrases.choose(r)).cloned().unwrap_or_default()
            }
        }
    }

    /// What captions call a thing: sometimes with its adjective.
    pub(super) fn called(&self, r: &mut ChaCha8Rng, thing: usize) -> String {
        let thing = &self.world.things[thing];
        let says_adjective = !thing.adjective.is_empty() && r.random_bool(0.35);
        if says_adjective { format!("{} {}", thing.adjective, thing.name) } else { thing.name.clone() }
    }

    /// Two things in words, beside or above each other; whether beside. The first is at the left or above.
    pub(super) fn related(&self, r: &mut ChaCha8Rng, [first, second]: [usize; 2], is_beside: bool) -> [String; 2] {
        let a = with_article(&self.world, &self.called(r, first));
        let b = with_article(&self.world, &self.called(r, second));
        match is_beside {
            true => [format!("{a} to the left of {b}"), format!("{b} to the right of {a}")],
            false => [format!("{a} above {b}"), format!("{b} below {a}")],
        }
    }

    /// The name of a thing with its article.
    pub(super) fn named(&self, thing: usize) -> String {
        with_article(&self.world, &self.world.things[thing].name)
    }
}

/// A scene in the making. Lengths are in pixels of 128 unless they are named otherwise.
struct Board<'a> {
    maker: &'a SceneMaker,
    canvas: Canvas,
    style: usize,
    side: f64,
    things: Vec<(usize, ImageRect)>,
}

impl Board<'_> {
    fn unit(&self) -> f64 {
        self.side / 128.0
    }

    /// A size in the picture's pixels that varies around `middle` by at most `amount`.
    fn about(&self, r: &mut ChaCha8Rng, middle: f64, amount: f64) -> f64 {
        (middle + jitter(r, amount)) * self.unit()
    }

    /// Puts a thing; all lengths in the picture's pixels.
    fn put(&mut self, thing: usize, cx: f64, cy: f64, size: f64, is_mirrored: bool) -> Result<()> {
        let size = size as u32;
        let sprite = self.maker.sprites.get(&self.maker.world, self.style, thing)?.resized(size);
        let sprite = if is_mirrored { sprite.mirrored() } else { sprite };
        let half = f64::from(size) / 2.0;
        let (x, y) = ((cx - half) as i64, (cy - half) as i64);
        self.canvas.paste(&sprite, x, y, thing as u16 + 1);
        let corner = ImagePoint::new(x as f32, y as f32);
        let opposite = ImagePoint::new(corner.x + size as f32, corner.y + size as f32);
        self.things.push((thing, ImageRect::from_corners(corner, opposite)));
        Ok(())
    }

    fn one(&mut self, r: &mut ChaCha8Rng, names: &[usize]) -> Result<String> {
        let (middle, amount, adjective) = match r.random_range(0.0..1.0) {
            z if z < 0.76 => (94.0, 12.0, ""),
            z if z < 0.92 => (50.0, 8.0, "small "),
            _ => (117.0, 5.0, "large "),
        };
        let size = self.about(r, middle, amount);
        let freedom = if adjective == "small " { 0.9 } else { 0.4 };
        let free = ((self.side - size) / 2.0 * freedom).max(3.0 * self.unit());
        let (cx, cy) = (self.side / 2.0 + jitter(r, free), self.side / 2.0 + jitter(r, free));
        let is_mirrored = r.random_bool(0.2);
        self.put(names[0], cx, cy, size, is_mirrored)?;
        Ok(with_article(&self.maker.world, &format!("{adjective}{}", self.maker.called(r, names[0]))))
    }

    fn pair(&mut self, r: &mut ChaCha8Rng, names: &[usize]) -> Result<String> {
        let (size, unit) = (self.about(r, 59.0, 5.0), self.unit());
        let is_beside = r.random_bool(0.6);
        for (name, place) in names.iter().zip([33.0, 95.0]) {
            let (along, across) = ((place + jitter(r, 3.0)) * unit, (64.0 + jitter(r, 10.0)) * unit);
            let (cx, cy) = if is_beside { (along, across) } else { (across, along) };
            self.put(*name, cx, cy, size, false)?;
        }
        let related = self.maker.related(r, [names[0], names[1]], is_beside);
        if is_beside && r.random_bool(0.5) {
            let [a, b] = [0, 1].map(|i| with_article(&self.maker.world, &self.maker.called(r, names[i])));
            let word = ["and", "next to"].choose(r).copied().unwrap_or("and");
            return Ok(format!("{a} {word} {b}"));
        }
        Ok(related.choose(r).cloned().unwrap_or_default())
    }

    fn several(&mut self, r: &mut ChaCha8Rng, names: &[usize]) -> Result<String> {
        let (count, places): (&str, &[(f64, f64)]) = match r.random_range(2..=4) {
            2 => ("two", &[(34.0, 64.0), (94.0, 64.0)]),
            3 => ("three", &[(34.0, 90.0), (94.0, 90.0), (64.0, 36.0)]),
            _ => ("four", &CORNERS),
        };
        let (size, unit) = (self.about(r, 54.0, 4.0), self.unit());
        for (x, y) in places {
            self.put(names[0], x * unit, y * unit, size, false)?;
        }
        Ok(format!("{count} {}", plural(&self.maker.world, &self.maker.world.things[names[0]].name)))
    }

    fn many(&mut self, r: &mut ChaCha8Rng, names: &[usize]) -> Result<String> {
        let (size, unit) = (self.about(r, 54.0, 4.0), self.unit());
        let mut places = CORNERS;
        places.shuffle(r);
        for (name, (x, y)) in names.iter().zip(places) {
            self.put(*name, x * unit, y * unit, size, false)?;
        }
        let mut listed: Vec<String> = names.iter().map(|name| self.maker.named(*name)).collect();
        let last = listed.pop().unwrap_or_default();
        Ok(format!("{} and {last}", listed.join(", ")))
    }
}

const CORNERS: [(f64, f64); 4] = [(34.0, 34.0), (94.0, 34.0), (34.0, 94.0), (94.0, 94.0)];

/// A number between `-amount` and `amount`.
fn jitter(r: &mut ChaCha8Rng, amount: f64) -> f64 {
    r.random_range(-1.0..=1.0) * amount
}
