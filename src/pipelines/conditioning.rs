//! From the words of a prompt to what steers a denoising net, with a memory for the last few prompts.
//!
//! A model has one text tower (Stable Diffusion 1 and 2), two (SDXL) or the second alone (SDXL's refiner): the states of all are
//! joined feature by feature, and the second one also gives a pooled text.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::guidance::Sizes;
use super::text_encoder::{Reading, TextEncoder};
use super::words::Word;
use crate::base::geom::Extent;
use crate::base::task::TaskCx;
use crate::job::output::TokenCount;
use crate::job::sampling::Emphasis;
use crate::models::Result;
use crate::models::clip::TextTower;
use crate::models::diffusion::UnetConfig;
use crate::models::error::ModelError;
use crate::models::files::ModelFiles;
use crate::prompt::emphasis::{self, Fragment};

/// Prompts whose states are kept.
const KEPT: usize = 16;
/// The folder of SDXL's second text tower.
const SECOND: &str = "text_encoder_2";

/// What `model_index.json` says about prompts.
#[derive(Default, Deserialize)]
struct ModelIndex {
    force_zeros_for_empty_prompt: Option<bool>,
    #[serde(default)]
    requires_aesthetics_score: bool,
}

/// A prompt as a denoising net reads it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The states of its tokens, (1, chunks * context length, width).
    pub states: Tensor,
    /// What stands for all of it, (1, width), in models with a second text tower.
    pub pooled: Option<Tensor>,
}

/// What an [`Encoded`] depends on.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    fragments: Vec<Fragment>,
    chunks: usize,
    reading: Reading,
}

/// Tokenizers and text towers of a diffusion model.
pub struct Conditioner {
    encoders: Vec<TextEncoder>,
    has_pooled: bool,
    /// Of the whole model.
    index: ModelIndex,
    /// Newest last.
    known: RefCell<Vec<(Key, Encoded)>>,
    words: RefCell<Vec<Word>>,
}

/// Keeps learned words known; what was known before is known again in the end.
pub struct Learning<'a> {
    conditioner: &'a Conditioner,
    before: Vec<Word>,
}

impl Drop for Learning<'_> {
    fn drop(&mut self) {
        // They were known before, so they fit.
        if let Err(error) = self.conditioner.set_words(&std::mem::take(&mut self.before)) {
            tracing::error!(%error, "learned words could not be put back");
        }
    }
}

/// The weighted fragments of a prompt without parts and schedule, for weights of this kind.
pub fn fragments(text: &str, emphasis: Emphasis) -> Vec<Fragment> {
    if emphasis == Emphasis::None { verbatim(text) } else { emphasis::parse(text).0 }
}

/// A text whose brackets are words.
pub(super) fn verbatim(text: &str) -> Vec<Fragment> {
    vec![Fragment { text: text.to_owned(), weight: 1.0, span: 0..text.len() }]
}

impl Conditioner {
    /// Reads the folders `text_encoder`, `tokenizer`, `text_encoder_2` and `tokenizer_2` of a model, as far as it has them; the towers'
    /// weights when they are needed.
    ///
    /// # Errors
    /// If none is there, or one is incomplete or damaged.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        let is_xl = files.sub(SECOND).is_some();
        let mut encoders = Vec::new();
        for (tower, tokenizer) in [("text_encoder", "tokenizer"), (SECOND, "tokenizer_2")] {
            let Some(tower) = files.sub(tower) else { continue };
            let missing = || ModelError::MissingFile { path: files.path_of(tokenizer) };
            let tokenizer = files.sub(tokenizer).ok_or_else(missing)?;
            encoders.push(TextEncoder::load(encoders.len(), &tower, &tokenizer, is_xl, dtype, device)?);
        }
        if encoders.is_empty() {
            return Err(ModelError::MissingFile { path: files.path_of("text_encoder") });
        }
        let index =
            if files.has("model_index.json") { files.read_json("model_index.json")? } else { ModelIndex::default() };
        Ok(Self { encoders, has_pooled: is_xl, index, known: RefCell::default(), words: RefCell::default() })
    }

    /// Knows `words`, and no others, until the returned value is dropped.
    ///
    /// # Errors
    /// If one was learned for another kind of model.
    pub fn learn(&self, words: &[Word]) -> Result<Learning<'_>> {
        let before = self.words.borrow().clone();
        // Dropped if a word does not fit: then all is as before.
        let learning = Learning { conditioner: self, before };
        self.set_words(words)?;
        Ok(learning)
    }

    fn set_words(&self, words: &[Word]) -> Result<()> {
        if words.is_empty() && self.words.borrow().is_empty() {
            return Ok(());
        }
        self.forget();
        *self.words.borrow_mut() = words.to_vec();
        self.encoders.iter().try_for_each(|encoder| encoder.learn(words))
    }

    /// Whether a denoising net, read from `unet`, understands what this gives.
    pub(super) fn check(&self, net: &UnetConfig, unet: &ModelFiles) -> Result<()> {
        let bad = |reason: String| Err(ModelError::BadFile { path: unet.path_of("config.json"), reason });
        let width: usize = self.encoders.iter().map(TextEncoder::width).sum();
        if width != net.cross_attention_dim {
            return bad(format!(
                "the denoising net reads prompts of width {} and the text towers beside it give {width}; they are not of one model",
                net.cross_attention_dim
            ));
        }
        if net.addition_embed_type.is_some() && !self.has_pooled {
            return bad(format!(
                "the denoising net wants a pooled text, and there is no {SECOND} beside it to make one"
            ));
        }
        Ok(())
    }

    /// What a net with a pooled text is told besides it, for a picture of `size`: original size, corner of the crop, size; refiners
    /// get a score for beauty (diffusers' defaults) in place of the last.
    pub(super) fn sizes(&self, size: Extent) -> Option<Sizes> {
        let (height, width) = (f64::from(size.height), f64::from(size.width));
        let ids = |last: &[f64]| [&[height, width, 0.0, 0.0], last].concat();
        self.has_pooled.then(|| match self.index.requires_aesthetics_score {
            true => Sizes { prompt: ids(&[6.0]), negative: ids(&[2.5]) },
            false => Sizes { prompt: ids(&[height, width]), negative: ids(&[height, width]) },
        })
    }

    /// How many chunks the longest of several prompts takes.
    ///
    /// # Errors
    /// If a tokenizer fails.
    pub fn chunks<'a>(&self, prompts: impl IntoIterator<Item = &'a [Fragment]>) -> Result<usize> {
        let mut most = 1;
        for fragments in prompts {
            for encoder in &self.encoders {
                most = most.max(encoder.chunks(fragments)?.len());
            }
        }
        Ok(most)
    }

    /// The text towers, in the order of their folders; they are read if they are not here.
    pub(super) fn towers(&self, cx: &TaskCx<'_>) -> Result<Vec<Rc<TextTower>>> {
        self.encoders.iter().map(|encoder| encoder.tower(cx)).collect()
    }

    /// Gives the towers back until they are needed again.
    pub(super) fn release(&self) {
        self.encoders.iter().for_each(TextEncoder::release);
    }

    /// Drops what is known: the towers have changed.
    pub(super) fn forget(&self) {
        self.known.borrow_mut().clear();
    }

    /// The text encoders, in the order of their folders; at least one.
    pub(super) fn encoders(&self) -> &[TextEncoder] {
        &self.encoders
    }

    /// The length of a prompt.
    ///
    /// # Errors
    /// If a tokenizer fails.
    pub fn count(&self, fragments: &[Fragment]) -> Result<TokenCount> {
        let mut count = TokenCount { tokens: 0, limit: 0, chunks: self.chunks([fragments])? };
        if let Some(encoder) = self.encoders.first() {
            count.tokens = encoder.chunks(fragments)?.iter().map(Vec::len).sum();
            count.limit = encoder.tokenizer().limit();
        }
        Ok(count)
    }

    /// `fragments` read by all towers, filled up with empty chunks to at least `chunks`.
    ///
    /// # Errors
    /// If the reading asks for layers that are not there, or the task is cancelled.
    pub fn encode(&self, fragments: &[Fragment], chunks: usize, reading: Reading, cx: &TaskCx<'_>) -> Result<Encoded> {
        let key = Key { fragments: fragments.to_vec(), chunks: chunks.max(self.chunks([fragments])?), reading };
        if let Some((_, encoded)) = self.known.borrow().iter().find(|(known, _)| *known == key) {
            return Ok(encoded.clone());
        }
        let encoded = self.encode_afresh(&key.fragments, key.chunks, reading, cx)?;
        let mut known = self.known.borrow_mut();
        if known.len() >= KEPT {
            known.remove(0);
        }
        known.push((key, encoded.clone()));
        Ok(encoded)
    }

    /// As [`Self::encode`], of what is to be avoided: in some models, nothing is zeros instead of the states of an empty text.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_negative(
        &self,
        fragments: &[Fragment],
        chunks: usize,
        reading: Reading,
        cx: &TaskCx<'_>,
    ) -> Result<Encoded> {
        let encoded = self.encode(fragments, chunks, reading, cx)?;
        let is_empty = fragments.iter().all(|fragment| fragment.text.is_empty());
        // diffusers' pipelines for SDXL do so if nothing is said.
        let zeroes = self.has_pooled && self.index.force_zeros_for_empty_prompt.unwrap_or(true);
        if !(zeroes && is_empty) {
            return Ok(encoded);
        }
        let pooled = encoded.pooled.as_ref().map(Tensor::zeros_like).transpose()?;
        Ok(Encoded { states: encoded.states.zeros_like()?, pooled })
    }

    /// As [`Self::encode`], without looking at what is known.
    pub(super) fn encode_afresh(
        &self,
        fragments: &[Fragment],
        chunks: usize,
        reading: Reading,
        cx: &TaskCx<'_>,
    ) -> Result<Encoded> {
        let states = self.encoders.iter().map(|encoder| encoder.states(fragments, chunks, reading, cx));
        let states: Vec<Tensor> = states.collect::<Result<_>>()?;
        let pooled = match self.encoders.last() {
            Some(encoder) if self.has_pooled => Some(encoder.pooled(fragments, cx)?),
            _ => None,
        };
        Ok(Encoded { states: Tensor::cat(&states, 2)?, pooled })
    }
}
