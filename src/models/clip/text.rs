//! The text tower (transformers `CLIPTextTransformer`, `SiglipTextModel`, open_clip `TextTransformer`); also Stable Diffusion's.

use std::cell::RefCell;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::{Embedding, Module};

use super::config::{Pooling, TextConfig};
use super::encoder::{Encoder, Sizes};
use super::{WEIGHTS, names};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::hook::Hooks;
use crate::models::kernels::{LayerNorm, shifted};
use crate::models::layers::{self, Adaptable, Linear, linear, linear_no_bias};
use crate::models::tensors::Tensors;

/// The text tower.
pub struct TextTower {
    tokens: Embedding,
    positions: Tensor,
    encoder: Encoder,
    final_norm: LayerNorm,
    projection: Option<Linear>,
    config: TextConfig,
    adaptable: Vec<Adaptable>,
    /// Learned vectors (n, width), whose ids follow those of the vocabulary.
    learned: RefCell<Option<Tensor>>,
}

impl TextTower {
    /// Builds the tower from `text_model.…`, and from `projection` (the name of that layer) if there is one.
    pub(super) fn load(config: &TextConfig, projection: &str, vb: &Tensors<'_>) -> Result<Self> {
        let TextConfig { width, length, vocab_size, epsilon, .. } = *config;
        if length == 0 || vocab_size == 0 {
            return Err(ModelError::BadInput(format!(
                "the configuration asks for texts of {length} of {vocab_size} tokens"
            )));
        }
        let root = vb.pp("text_model");
        let embeddings = root.pp("embeddings");
        let sizes = Sizes {
            width,
            inner: config.inner,
            layers: config.layers,
            heads: config.heads,
            activation: config.activation,
            epsilon,
        };
        let projection = match config.projection {
            None => None,
            Some((out, true)) => Some(linear(width, out, vb.pp(projection))?),
            Some((out, false)) => Some(linear_no_bias(width, out, vb.pp(projection))?),
        };
        Ok(Self {
            tokens: Embedding::new(embeddings.get((vocab_size, width), "token_embedding.weight")?, width),
            positions: embeddings.get((length, width), "position_embedding.weight")?,
            encoder: Encoder::load(sizes, &root.pp("encoder"))?,
            final_norm: LayerNorm::load(width, epsilon, &root.pp("final_layer_norm"))?,
            projection,
            config: config.clone(),
            adaptable: Vec::new(),
            learned: RefCell::default(),
        })
    }

    /// Reads a folder that holds a text tower alone (`CLIPTextModel`, `CLIPTextModelWithProjection`), with or without the prefix
    /// `text_model.`.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the task is cancelled.
    pub fn load_folder(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        let weights = files.weights(WEIGHTS)?;
        let config = TextConfig::load(files, weights.has(PROJECTION_WEIGHT))?;
        let vb = names::tensors(&weights, dtype, device, cx);
        let loaded =
            layers::gather(|| Self::load(&config, PROJECTION, &vb)).map_err(|error| super::explain(files, error));
        loaded.map(|(tower, adaptable)| Self { adaptable, ..tower })
    }

    /// The layers that a LoRA can change, where the tower was read from a folder of its own.
    pub fn adaptable(&self) -> &[Adaptable] {
        &self.adaptable
    }

    /// What a folder holds, for [`Self::load_folder`]; its weights are not read yet.
    ///
    /// # Errors
    /// If a file is missing or its header damaged.
    pub fn config_of(files: &ModelFiles) -> Result<TextConfig> {
        TextConfig::load(files, files.weights(WEIGHTS)?.has(PROJECTION_WEIGHT))
    }

    /// What it was built from.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// Longest sequence that it reads.
    pub fn max_length(&self) -> usize {
        self.config.length
    }

    /// How many tokens it knows: the ids of learned vectors begin here.
    pub fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    /// Takes `vectors` (n, width) for the ids from [`Self::vocabulary`] on, in place of those before; none if there are no vectors.
    ///
    /// # Errors
    /// If they are of another width.
    pub fn learn(&self, vectors: &[&Tensor]) -> Result<()> {
        let table = self.tokens.embeddings();
        let learned = match vectors {
            [] => None,
            vectors => Some(Tensor::cat(vectors, 0)?.to_device(table.device())?.to_dtype(table.dtype())?),
        };
        if let Some(learned) = learned.as_ref().filter(|learned| learned.dims().get(1) != Some(&self.width())) {
            let text = format!("vectors of shape {:?} do not fit a tower of width {}", learned.dims(), self.width());
            return Err(ModelError::BadInput(text));
        }
        *self.learned.borrow_mut() = learned;
        Ok(())
    }

    /// The embeddings (batch, length, width) of token ids, without positions: what [`Self::forward_embedded`] takes.
    ///
    /// # Errors
    /// If rows differ in length, are too long or hold unknown ids.
    pub fn embed(&self, ids: &[Vec<u32>]) -> Result<Tensor> {
        let length = ids.first().map_or(0, Vec::len);
        if length == 0 || length > self.max_length() || ids.iter().any(|row| row.len() != length) {
            return Err(ModelError::BadInput(format!(
                "the text tower reads rows of 1 to {} tokens, all of one length",
                self.max_length()
            )));
        }
        let (known, learned) = (self.vocabulary(), self.learned.borrow());
        let more = learned.as_ref().map_or(0, |learned| learned.dims().first().copied().unwrap_or(0));
        if let Some(id) = ids.iter().flatten().find(|id| **id as usize >= known + more) {
            return Err(ModelError::BadInput(format!(
                "the tokenizer gives the id {id}, and the text tower knows {known} tokens; they belong to different models"
            )));
        }
        let plain = |id: u32| if (id as usize) < known { id } else { 0 };
        let all: Vec<u32> = ids.iter().flatten().map(|id| plain(*id)).collect();
        let tensor = Tensor::from_vec(all, (ids.len(), length), self.positions.device())?;
        let mut embedded = self.tokens.forward(&tensor)?;
        let Some(learned) = learned.as_ref() else { return Ok(embedded) };
        for (row, ids) in ids.iter().enumerate() {
            for (place, id) in ids.iter().enumerate().filter(|(_, id)| **id as usize >= known) {
                let vector = learned.i(*id as usize - known)?.reshape((1, 1, self.width()))?;
                embedded = embedded.slice_assign(&[row..row + 1, place..place + 1, 0..self.width()], &vector)?;
            }
        }
        Ok(embedded)
    }

    /// States after the final layer norm, (batch, length, width), of token ids, `batch` rows of equal length.
    ///
    /// # Errors
    /// As [`Self::embed`]; if the task is cancelled.
    pub fn forward(&self, ids: &[Vec<u32>], cx: &TaskCx<'_>) -> Result<Tensor> {
        self.forward_embedded(&self.embed(ids)?, &mut Hooks::none(), cx)
    }

    /// The same of embeddings (batch, length, width), seen by `hooks`.
    ///
    /// # Errors
    /// If there are more positions than the tower has, the task is cancelled or a hook stops it.
    pub fn forward_embedded(&self, embeddings: &Tensor, hooks: &mut Hooks<'_>, cx: &TaskCx<'_>) -> Result<Tensor> {
        let states = self.states_before(embeddings, 0, hooks, cx)?;
        self.finish(&states, 0, hooks, cx)
    }

    /// Width of the states.
    pub fn width(&self) -> usize {
        self.config.width
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        self.encoder.layers.len()
    }

    /// The states (batch, length, width) of embeddings behind all but the last `left_out` layers, and before the final norm:
    /// transformers' `hidden_states[-1 - left_out]`.
    ///
    /// # Errors
    /// As [`Self::forward_embedded`]; if there are not as many layers.
    pub fn states_before(
        &self,
        embeddings: &Tensor,
        left_out: usize,
        hooks: &mut Hooks<'_>,
        cx: &TaskCx<'_>,
    ) -> Result<Tensor> {
        let (_, length, width) = embeddings.dims3()?;
        let (most, own) = self.positions.dims2()?;
        if length == 0 || length > most || width != own {
            return Err(ModelError::BadInput(format!(
                "the text tower reads 1 to {most} embeddings of width {own}, not {length} of width {width}"
            )));
        }
        let xs = shifted(embeddings, &self.positions.narrow(0, 0, length)?)?;
        let layers = self.layers();
        let last = layers.checked_sub(left_out).ok_or_else(|| {
            ModelError::BadInput(format!("the text tower has {layers} layers, so no {left_out} can be left out"))
        })?;
        self.encoder.run(xs, 0..last, self.config.is_causal, hooks, cx)
    }

    /// What the last `left_out` layers and the final norm make of states (batch, length, width) before them.
    ///
    /// # Errors
    /// If the task is cancelled or a hook stops it.
    pub fn finish(&self, states: &Tensor, left_out: usize, hooks: &mut Hooks<'_>, cx: &TaskCx<'_>) -> Result<Tensor> {
        let layers = self.layers();
        let last = layers.saturating_sub(left_out)..layers;
        self.norm(&self.encoder.run(states.clone(), last, self.config.is_causal, hooks, cx)?)
    }

    /// The final norm alone.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn norm(&self, states: &Tensor) -> Result<Tensor> {
        self.final_norm.forward(states)
    }

    /// The state that stands for each text, (batch, width), of states (batch, length, width) of these ids.
    ///
    /// # Errors
    /// If there are not as many states as ids.
    pub fn pool(&self, states: &Tensor, ids: &[Vec<u32>]) -> Result<Tensor> {
        let rows = ids.iter().enumerate().map(|(row, ids)| {
            let end = match self.config.pooling {
                // Learned vectors have larger ids than the end token.
                Pooling::Largest => ids
                    .iter()
                    .filter(|id| (**id as usize) < self.vocabulary())
                    .max()
                    .and_then(|largest| ids.iter().position(|id| id == largest)),
                Pooling::End(end) => ids.iter().position(|id| *id == end),
                Pooling::Last => ids.len().checked_sub(1),
                Pooling::First => Some(0),
            };
            Ok(states.get(row)?.get(end.unwrap_or(0))?)
        });
        let rows: Result<Vec<Tensor>> = rows.collect();
        Ok(Tensor::stack(&rows?, 0)?)
    }

    /// Pooled states (batch, width) in the common space, (batch, d), not yet of unit length; as they are where the tower has no
    /// projection.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn project(&self, pooled: &Tensor) -> Result<Tensor> {
        match &self.projection {
            Some(projection) => projection.forward(pooled),
            None => Ok(pooled.clone()),
        }
    }
}

/// CLIP's name of the projection.
pub(super) const PROJECTION: &str = "text_projection";
const PROJECTION_WEIGHT: &str = "text_projection.weight";
/// SigLIP's.
pub(super) const SIGLIP_PROJECTION: &str = "text_model.head";
