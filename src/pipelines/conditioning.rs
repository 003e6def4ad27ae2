//! From texts to the states that steer a denoising net, with a memory for the last few texts.

use std::cell::RefCell;

use candle_core::{DType, Device, Tensor};

use crate::base::task::TaskCx;
use crate::models::Result;
use crate::models::clip::TextTower;
use crate::models::error::ModelError;
use crate::models::files::ModelFiles;
use crate::models::tokenizer::ClipTokenizer;

/// Texts whose states are kept.
const KEPT: usize = 16;

/// Tokenizer and text tower of a diffusion model.
pub(super) struct Conditioner {
    tokenizer: ClipTokenizer,
    tower: TextTower,
    /// Newest last.
    known: RefCell<Vec<(String, Tensor)>>,
}

impl Conditioner {
    pub(super) fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        let folder = |name: &str| files.sub(name).ok_or_else(|| ModelError::MissingFile { path: files.path_of(name) });
        let tower = TextTower::load_folder(&folder("text_encoder")?, dtype, device)?;
        Ok(Self {
            tokenizer: ClipTokenizer::load(&folder("tokenizer")?)?.for_tower(&tower),
            tower,
            known: RefCell::default(),
        })
    }

    pub(super) fn tokenizer(&self) -> &ClipTokenizer {
        &self.tokenizer
    }

    /// The text towers, in the order of their folders.
    pub(super) fn towers(&self) -> Vec<&TextTower> {
        vec![&self.tower]
    }

    /// Drops what is known: the towers have changed.
    pub(super) fn forget(&self) {
        self.known.borrow_mut().clear();
    }

    /// The states of `text`, (1, context length, width), and how many of its tokens were cut.
    pub(super) fn encode(&self, text: &str, cx: &TaskCx<'_>) -> Result<(Tensor, usize)> {
        let tokens = self.tokenizer.encode_padded(text)?;
        if let Some((_, states)) = self.known.borrow().iter().find(|(known, _)| known == text) {
            return Ok((states.clone(), tokens.cut));
        }
        let states = self.encode_afresh(text, cx)?;
        let mut known = self.known.borrow_mut();
        if known.len() >= KEPT {
            known.remove(0);
        }
        known.push((text.to_owned(), states.clone()));
        Ok((states, tokens.cut))
    }

    /// As [`Self::encode`], without looking at what is known.
    pub(super) fn encode_afresh(&self, text: &str, cx: &TaskCx<'_>) -> Result<Tensor> {
        let tokens = self.tokenizer.encode_padded(text)?;
        self.tower.forward(&[tokens.ids], cx)
    }
}
