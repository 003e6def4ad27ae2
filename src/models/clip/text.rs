//! The text tower (transformers `CLIPTextTransformer`); also Stable Diffusion's text encoder.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Embedding, LayerNorm, Module, VarBuilder, embedding, layer_norm};

use super::config::TextConfig;
use super::encoder::{Encoder, Sizes};
use super::{WEIGHTS, explain};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::hook::Hooks;

/// The value of `eos_token_id` in old files, where it is a mistake.
const LEGACY_END: u32 = 2;

/// The text tower.
pub struct TextTower {
    tokens: Embedding,
    positions: Tensor,
    encoder: Encoder,
    final_norm: LayerNorm,
    end_token: u32,
}

impl TextTower {
    pub(super) fn load(config: &TextConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let embeddings = vb.pp("embeddings");
        let sizes = Sizes {
            width: config.hidden_size,
            inner: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
        };
        let shape = (config.max_position_embeddings, config.hidden_size);
        Ok(Self {
            tokens: embedding(config.vocab_size, config.hidden_size, embeddings.pp("token_embedding"))?,
            positions: embeddings.get(shape, "position_embedding.weight")?,
            encoder: Encoder::load(sizes, &vb.pp("encoder"))?,
            final_norm: layer_norm(config.hidden_size, config.layer_norm_eps, vb.pp("final_layer_norm"))?,
            end_token: config.eos_token_id,
        })
    }

    /// Reads a folder that holds a text tower alone (`CLIPTextModel`), with or without the prefix `text_model.`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load_folder(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        let config: TextConfig = files.read_json("config.json")?;
        let root = files.tensors(WEIGHTS, dtype, device)?;
        let prefixed = root.contains_tensor("text_model.final_layer_norm.weight");
        let vb = if prefixed { root.pp("text_model") } else { root };
        Self::load(&config, &vb).map_err(|error| explain(files, error))
    }

    /// Longest sequence that it reads.
    pub fn max_length(&self) -> usize {
        self.positions.dims().first().copied().unwrap_or(0)
    }

    /// States after the final layer norm, (batch, length, width), of token ids, `batch` rows of equal length.
    ///
    /// # Errors
    /// If rows differ in length, are too long or hold unknown ids.
    pub fn forward(&self, ids: &[Vec<u32>], cx: &TaskCx<'_>) -> Result<Tensor> {
        let length = ids.first().map_or(0, Vec::len);
        if length == 0 || length > self.max_length() || ids.iter().any(|row| row.len() != length) {
            return Err(ModelError::BadInput(format!(
                "the text tower reads rows of 1 to {} tokens, all of one length",
                self.max_length()
            )));
        }
        let device = self.positions.device();
        let tensor = Tensor::from_vec(ids.concat(), (ids.len(), length), device)?;
        let xs = self.tokens.forward(&tensor)?.broadcast_add(&self.positions.narrow(0, 0, length)?)?;
        let encoded = self.encoder.forward(xs, true, &mut Hooks::none(), cx)?;
        Ok(self.final_norm.forward(&encoded.last)?)
    }

    /// The state that stands for each text, (batch, width): that of the first end token, as transformers has it.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn pool(&self, states: &Tensor, ids: &[Vec<u32>]) -> Result<Tensor> {
        let rows = ids.iter().enumerate().map(|(row, ids)| {
            let end = if self.end_token == LEGACY_END {
                ids.iter().max().and_then(|largest| ids.iter().position(|id| id == largest))
            } else {
                ids.iter().position(|id| *id == self.end_token)
            };
            Ok(states.get(row)?.get(end.unwrap_or(0))?)
        });
        let rows: Result<Vec<Tensor>> = rows.collect();
        Ok(Tensor::stack(&rows?, 0)?)
    }
}
