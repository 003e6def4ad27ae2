//! Requests with variants and wildcards, made definite: what is drawn depends on the seed of the picture and stands in the
//! request, which alone says what is made.

use super::reader::Reader;
use crate::job::spec::GenerateSpec;
use crate::prompt::reading::{draw, is_dynamic};

/// Draws once for each question that is asked again and again.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// The last request, and what became of its prompts.
    last: Option<(Key, [String; 2])>,
}

#[derive(Debug, PartialEq)]
struct Key {
    texts: [String; 2],
    seed: u64,
    /// How often the wildcards had changed.
    revision: u64,
}

impl Drawn {
    /// The request for the first of its pictures.
    pub(super) fn one(&mut self, mut spec: GenerateSpec, reader: &Reader) -> GenerateSpec {
        if !is_dynamic(&spec.prompt) && !is_dynamic(&spec.negative) {
            return spec;
        }
        let key = Key {
            texts: [std::mem::take(&mut spec.prompt), std::mem::take(&mut spec.negative)],
            seed: spec.sampling.seed,
            revision: reader.revision(),
        };
        let [prompt, negative] = self.draw(key, reader);
        spec.prompt.clone_from(prompt);
        spec.negative.clone_from(negative);
        spec
    }

    /// The same for what follows the typing: as the reader has drawn it beside the window, `None` until it has.
    pub(super) fn live(mut spec: GenerateSpec, reader: &Reader) -> Option<GenerateSpec> {
        if is_dynamic(&spec.prompt) || is_dynamic(&spec.negative) {
            let reading = reader.reading().filter(|_| reader.is_current())?;
            [spec.prompt, spec.negative] = reading.made.each_ref().map(|made| made.text().to_owned());
        }
        Some(spec)
    }

    /// A text for pictures of a seed.
    pub(super) fn text(&mut self, text: String, seed: u64, reader: &Reader) -> String {
        if !is_dynamic(&text) {
            return text;
        }
        let key = Key { texts: [text, String::new()], seed, revision: reader.revision() };
        self.draw(key, reader)[0].clone()
    }

    fn draw(&mut self, key: Key, reader: &Reader) -> &[String; 2] {
        let last = self.last.take().filter(|(last, _)| *last == key);
        let drawn = last.unwrap_or_else(|| {
            let texts = key.texts.each_ref().map(|text| draw(text, key.seed, &reader.known().names.wildcards));
            (key, texts)
        });
        &self.last.insert(drawn).1
    }

    /// One request for all pictures, or one for each if they are of different words.
    pub(super) fn each(&mut self, spec: GenerateSpec, reader: &Reader) -> Vec<GenerateSpec> {
        if !is_dynamic(&spec.prompt) && !is_dynamic(&spec.negative) {
            return vec![spec];
        }
        let one = |offset: u32| {
            let mut one = spec.clone();
            one.count = 1;
            one.sampling.seed = spec.sampling.seed.saturating_add(offset.into());
            self.one(one, reader)
        };
        (0..spec.count).map(one).collect()
    }
}
