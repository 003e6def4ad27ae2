//! The world that the built-in models know, as `assets/models/train/world.py` defines it: its things, styles, backgrounds and
//! effects, and which pairs of them training never shows.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::models::error::{ModelError, Result};

static WORLD: &[u8] = include_bytes!("../../assets/models/world/world.json");

/// What the world takes in the program.
pub(super) fn packed_bytes() -> u64 {
    WORLD.len() as u64
}

/// A thing that scenes show.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Thing {
    /// Its name.
    pub name: String,
    /// An adjective that is true of it in all styles; "" for none.
    pub adjective: String,
}

/// A drawing style.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Style {
    /// Its name.
    pub name: String,
    /// What captions call it.
    pub phrases: Vec<String>,
}

/// A background of one colour.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Colour {
    /// Its name.
    pub name: String,
    /// Red, green, blue.
    pub rgb: [u8; 3],
}

/// A background that is a place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// What captions call it.
    pub phrases: Vec<String>,
}

/// What is done to a whole picture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Effect {
    /// Its name, which captions use as it is.
    pub name: String,
    /// Whether style and background can still be seen.
    pub gentle: bool,
}

/// How often each kind of scene is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Kinds {
    pub(super) one: f64,
    pub(super) pair: f64,
    pub(super) several: f64,
    pub(super) many: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct HeldOut {
    style: f64,
    background: f64,
}

/// Everything that scenes are made of. Things, styles, backgrounds and effects are known by their index.
#[derive(Debug, Clone, Deserialize)]
pub struct World {
    /// The things.
    pub things: Vec<Thing>,
    /// The styles.
    pub styles: Vec<Style>,
    /// The first backgrounds.
    pub colours: Vec<Colour>,
    /// The other backgrounds.
    pub places: Vec<Place>,
    /// The effects.
    pub effects: Vec<Effect>,
    pub(super) kinds: Kinds,
    pub(super) plural_only: HashSet<String>,
    pub(super) irregular_plurals: HashMap<String, String>,
    held_out: HeldOut,
}

impl World {
    /// Reads what is built in.
    ///
    /// # Errors
    /// If the built-in file is damaged.
    pub fn load() -> Result<Self> {
        let bad = |reason: String| ModelError::BadFile { path: "(built in)/world/world.json".into(), reason };
        let world: Self = serde_json::from_slice(WORLD).map_err(|error| bad(error.to_string()))?;
        let lists = [world.styles.len(), world.colours.len(), world.places.len(), world.effects.len()];
        let phrases = world.styles.iter().map(|s| &s.phrases).chain(world.places.iter().map(|p| &p.phrases));
        // Scenes show up to four different things.
        if world.things.len() < 4 || lists.contains(&0) || phrases.into_iter().any(Vec::is_empty) {
            return Err(bad("a list in it is too short".to_owned()));
        }
        Ok(world)
    }

    /// The names of all backgrounds: colours, then places.
    pub fn backgrounds(&self) -> Vec<&str> {
        let colours = self.colours.iter().map(|colour| colour.name.as_str());
        colours.chain(self.places.iter().map(|place| place.name.as_str())).collect()
    }

    /// Whether training never shows the thing in this style.
    pub fn is_style_held_out(&self, thing: usize, style: usize) -> bool {
        is_in_share(&self.things[thing].name, &self.styles[style].name, self.held_out.style)
    }

    /// Whether training never shows the thing on this background.
    pub fn is_background_held_out(&self, thing: usize, background: usize) -> bool {
        self.backgrounds()
            .get(background)
            .is_some_and(|name| is_in_share(&self.things[thing].name, name, self.held_out.background))
    }
}

/// Whether the hash of a pair falls into the `share` that is held out.
fn is_in_share(name: &str, other: &str, share: f64) -> bool {
    f64::from(Sha256::digest(format!("{name}|{other}"))[0]) / 256.0 < share
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_world_is_whole_and_holds_out_the_pairs_that_training_does() {
        let world = World::load().unwrap();
        assert_eq!((world.things.len(), world.styles.len(), world.backgrounds().len()), (371, 4, 17));
        let things = 0..world.things.len();
        let by_style: Vec<usize> =
            (0..4).map(|s| things.clone().filter(|t| world.is_style_held_out(*t, s)).count()).collect();
        let by_background: usize =
            (0..17).map(|b| things.clone().filter(|t| world.is_background_held_out(*t, b)).count()).sum();
        // What `is_held_out` of world.py gives.
        assert_eq!((by_style, by_background), (vec![10, 9, 15, 8], 427));
    }
}
