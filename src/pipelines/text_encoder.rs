//! One text tower of a diffusion model with its tokenizer: chunks of tokens become states.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};

use super::chunks::{self, Chunk};
use super::weighting::{self, Blend, Masked};
use super::words::Word;
use crate::base::task::TaskCx;
use crate::job::sampling::Emphasis;
use crate::models::clip::{TextConfig, TextTower};
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::hook::Hooks;
use crate::models::part::Part;
use crate::models::tokenizer::ClipTokenizer;
use crate::prompt::emphasis::Fragment;

/// How the states of a prompt are taken from a text tower.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// The layer whose states count, from the last one, which is 1; the model's own if `None`.
    pub clip_skip: Option<u32>,
    /// What weights do.
    pub emphasis: Emphasis,
}

/// A text tower and its tokenizer.
pub(super) struct TextEncoder {
    tokenizer: ClipTokenizer,
    tower: Part<TextTower>,
    config: TextConfig,
    /// Which tower of the model it is.
    index: usize,
    /// Whether states are those before the last layer, without the final norm (SDXL), instead of the last with it.
    is_penultimate: bool,
    /// Learned words, and the id of the first vector of each.
    words: RefCell<(Vec<Word>, Vec<u32>)>,
}

impl TextEncoder {
    /// Reads the folders `text_encoder…` and `tokenizer…` of tower `index` of a model, but for the tower's weights.
    pub(super) fn load(
        index: usize,
        tower: &ModelFiles,
        tokenizer: &ModelFiles,
        is_penultimate: bool,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let config = TextTower::config_of(tower)?;
        let (files, device) = (tower.clone(), device.clone());
        Ok(Self {
            tokenizer: ClipTokenizer::load(tokenizer)?.for_tower(&config),
            tower: Part::new(move |cx| TextTower::load_folder(&files, dtype, &device, cx)),
            config,
            index,
            is_penultimate,
            words: RefCell::default(),
        })
    }

    pub(super) fn tokenizer(&self) -> &ClipTokenizer {
        &self.tokenizer
    }

    /// The tower, which is read if it is not here, and knows the learned words.
    pub(super) fn tower(&self, cx: &TaskCx<'_>) -> Result<Rc<TextTower>> {
        let tower = self.tower.get(cx)?;
        tower.learn(&self.vectors(&self.words.borrow().0)?)?;
        Ok(tower)
    }

    /// Gives the tower back until it is needed again.
    pub(super) fn release(&self) {
        self.tower.release();
    }

    /// Knows `words` from now on and no others.
    pub(super) fn learn(&self, words: &[Word]) -> Result<()> {
        self.vectors(words)?;
        let mut next = self.config.vocab_size as u32;
        let first_ids = words.iter().map(|word| {
            let first = next;
            next += word.embedding.len() as u32;
            first
        });
        let first_ids = first_ids.collect();
        *self.words.borrow_mut() = (words.to_vec(), first_ids);
        Ok(())
    }

    /// The vectors of `words` for this tower.
    fn vectors<'a>(&self, words: &'a [Word]) -> Result<Vec<&'a Tensor>> {
        words.iter().map(|word| word.embedding.for_tower(self.index, self.width())).collect()
    }

    /// Width of the states.
    pub(super) fn width(&self) -> usize {
        self.config.width
    }

    /// How many chunks `fragments` take.
    pub(super) fn chunks(&self, fragments: &[Fragment]) -> Result<Vec<Chunk>> {
        let (words, first_ids) = &*self.words.borrow();
        chunks::chunks(fragments, &self.tokenizer, &chunks::Learned { words, first_ids })
    }

    /// The states of `fragments`, (1, chunks * context length, width), filled up with empty chunks.
    pub(super) fn states(
        &self,
        fragments: &[Fragment],
        count: usize,
        reading: Reading,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        let left_out = self.left_out(reading.clip_skip)?;
        let plain = |chunk: &[_], masked: Option<&[bool]>| self.chunk_states(chunk, masked, left_out, cx);
        let empty = OnceCell::new();
        let empty = || match empty.get() {
            Some(states) => Ok(Tensor::clone(states)),
            None => plain(&[], None).map(|states| empty.get_or_init(|| states).clone()),
        };
        let chunks = self.chunks(fragments)?;
        let has_tokens = |index: usize| chunks.iter().flatten().any(|token| token.fragment == index);
        let counting = fragments.iter().enumerate().map(|(i, f)| if has_tokens(i) { f.weight } else { 1.0 });
        let counting: Vec<f64> = counting.collect();
        let mut all = Vec::new();
        for chunk in &chunks {
            let states = plain(chunk, None)?;
            let weights = self.framed(chunk, 1.0, |token| token.weight);
            all.push(match reading.emphasis {
                Emphasis::Compel => {
                    let blend = Blend { weights: &weights, fragments: &counting };
                    let without = |index: usize| {
                        let masked = self.framed(chunk, false, |token| token.fragment == index);
                        masked.contains(&true).then(|| plain(chunk, Some(&masked))).transpose()
                    };
                    blend.applied(&states, &empty, &without)?
                }
                emphasis => weighting::weighted(states, &weights, emphasis, &empty)?,
            });
        }
        while all.len() < count {
            all.push(empty()?);
        }
        Ok(Tensor::cat(&all, 1)?)
    }

    /// The state that stands for the first chunk, in the tower's common space: (1, d). Neither weights nor skipped layers change it.
    pub(super) fn pooled(&self, fragments: &[Fragment], cx: &TaskCx<'_>) -> Result<Tensor> {
        let chunk = self.chunks(fragments)?.into_iter().next().unwrap_or_default();
        let ids = [self.tokenizer.framed(chunk.iter().map(|token| token.id))];
        let tower = self.tower(cx)?;
        let states = tower.forward(&ids, cx)?;
        tower.project(&tower.pool(&states, &ids)?)
    }

    /// Layers whose work is not wanted.
    fn left_out(&self, clip_skip: Option<u32>) -> Result<usize> {
        let (least, layers) = (if self.is_penultimate { 2 } else { 1 }, self.config.layers);
        match clip_skip {
            Some(asked) if asked == 0 || asked as usize > layers.max(least) => Err(ModelError::BadInput(format!(
                "a CLIP skip of {asked} asks for a layer that the text tower does not have; choose from 1 (the last) to {layers}"
            ))),
            asked => Ok((asked.unwrap_or(0) as usize).max(least) - 1),
        }
    }

    /// The unweighted states of one chunk, (1, context length, width); nothing looks at positions that are `masked`.
    fn chunk_states(
        &self,
        chunk: &[chunks::Token],
        masked: Option<&[bool]>,
        left_out: usize,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        let tower = self.tower(cx)?;
        let embeddings = tower.embed(&[self.tokenizer.framed(chunk.iter().map(|token| token.id))])?;
        let mut hook = masked.map(|masked| Masked::new(masked, &embeddings)).transpose()?;
        let mut hooks = match &mut hook {
            Some(hook) => Hooks::new(Some(hook)),
            None => Hooks::none(),
        };
        let states = tower.states_before(&embeddings, left_out, &mut hooks, cx)?;
        if self.is_penultimate { Ok(states) } else { tower.norm(&states) }
    }

    /// A value for each position of a chunk's context: that of its token, and `other` for marks and padding.
    fn framed<T: Copy>(&self, chunk: &[chunks::Token], other: T, value: impl Fn(&chunks::Token) -> T) -> Vec<T> {
        let before = std::iter::repeat_n(other, self.tokenizer.words_begin());
        let mut values: Vec<T> = before.chain(chunk.iter().map(value)).collect();
        values.resize(self.tokenizer.limit() + self.tokenizer.marks(), other);
        values
    }
}
