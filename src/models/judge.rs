//! The judge: a small convolutional net that says what a scene of the built-in models' world shows. It is no part of the
//! program's models: it shares nothing with them, has never seen a generated picture, and only measures them.
//!
//! `assets/models/train/train_judge.py` trains it: diffusers' encoder over a few pixels at a time; for each cell logits of
//! things (and of none), styles, backgrounds and effects (and of none), the last three averaged over the cells.

use crate::models::tensors::Tensors;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::diffusion::{Encoder, EncoderConfig};
use super::error::{ModelError, Result};
use super::files::ModelFiles;
use crate::base::pixels::Picture;
use crate::base::task::TaskCx;

const WEIGHTS: &str = "model.safetensors";

/// What is told apart, by head, in the order of the logits; "" is none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Heads {
    /// Names of things; the last is none.
    pub thing: Vec<String>,
    /// Names of styles.
    pub style: Vec<String>,
    /// Names of backgrounds.
    pub background: Vec<String>,
    /// Names of effects; the last is none.
    pub effect: Vec<String>,
}

impl Heads {
    fn sizes(&self) -> [usize; 4] {
        [&self.thing, &self.style, &self.background, &self.effect].map(Vec::len)
    }
}

#[derive(Debug, Deserialize)]
struct Config {
    block_out_channels: Vec<usize>,
    layers_per_block: usize,
    norm_num_groups: usize,
    unshuffle: usize,
    heads: Heads,
}

/// What the judge says of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Cells from top to bottom.
    pub rows: usize,
    /// Cells from left to right.
    pub columns: usize,
    /// Logits of things, by cell (row by row), then thing.
    pub things: Vec<Vec<f32>>,
    /// Logits of styles.
    pub style: Vec<f32>,
    /// Logits of backgrounds.
    pub background: Vec<f32>,
    /// Logits of effects.
    pub effect: Vec<f32>,
}

/// The loaded judge.
pub struct Judge {
    encoder: Encoder,
    unshuffle: usize,
    heads: Heads,
    dtype: DType,
    device: Device,
}

impl Judge {
    /// Reads `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        let config: Config = files.read_json("config.json")?;
        let bad = |file: &str, reason: String| ModelError::BadFile { path: files.path_of(file), reason };
        if config.block_out_channels.is_empty() || config.norm_num_groups == 0 || config.unshuffle == 0 {
            return Err(bad("config.json", "a judge needs blocks, groups and pixels".to_owned()));
        }
        let cx = TaskCx::detached();
        let vb = files.tensors(WEIGHTS, dtype, device, &cx)?;
        Self::build(config, &vb, dtype, device).map_err(|error| match error {
            ModelError::Tensor(error) => bad(WEIGHTS, format!("{error}; the configuration does not fit the weights")),
            other => other,
        })
    }

    fn build(config: Config, vb: &Tensors<'_>, dtype: DType, device: &Device) -> Result<Self> {
        let encoder = EncoderConfig {
            inputs: 3 * config.unshuffle * config.unshuffle,
            outputs: config.heads.sizes().iter().sum(),
            block_out_channels: config.block_out_channels,
            layers_per_block: config.layers_per_block,
            norm_num_groups: config.norm_num_groups,
            has_attention: false,
        };
        Ok(Self {
            encoder: Encoder::load(&encoder, &vb.pp("encoder"))?,
            unshuffle: config.unshuffle,
            heads: config.heads,
            dtype,
            device: device.clone(),
        })
    }

    /// What the judge tells apart.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// What `picture` shows. It was trained on 128 pixels a side.
    ///
    /// # Errors
    /// If the sides are no multiples of a cell's, or the task is cancelled.
    pub fn look(&self, picture: &Picture, cx: &TaskCx<'_>) -> Result<Verdict> {
        let logits = self.encoder.forward(&self.pixels(picture)?.to_dtype(self.dtype)?, cx)?;
        let (_, _, rows, columns) = logits.dims4()?;
        // (cells, logits)
        let by_cell = logits.squeeze(0)?.flatten_from(1)?.t()?.contiguous()?.to_dtype(DType::F32)?;
        let [thing, style, background, effect] = self.heads.sizes();
        let mean = |first: usize, count: usize| -> Result<Vec<f32>> {
            Ok(by_cell.narrow(1, first, count)?.mean(0)?.to_vec1()?)
        };
        Ok(Verdict {
            rows,
            columns,
            things: by_cell.narrow(1, 0, thing)?.to_vec2()?,
            style: mean(thing, style)?,
            background: mean(thing + style, background)?,
            effect: mean(thing + style + background, effect)?,
        })
    }

    /// (1, 3 * u * u, height / u, width / u) in -1..=1, as torch's `pixel_unshuffle`: channel, then row, then column of a block.
    fn pixels(&self, picture: &Picture) -> Result<Tensor> {
        let (width, height, u) = (picture.extent().width as usize, picture.extent().height as usize, self.unshuffle);
        if !width.is_multiple_of(u) || !height.is_multiple_of(u) {
            return Err(ModelError::BadInput(format!("the judge needs sides that are multiples of {u} pixels")));
        }
        let values: Vec<f32> = picture.rgb().iter().map(|v| f32::from(*v) / 127.5 - 1.0).collect();
        let blocks = Tensor::from_vec(values, (height / u, u, width / u, u, 3), &self.device)?;
        Ok(blocks.permute((4, 1, 3, 0, 2))?.contiguous()?.reshape((1, 3 * u * u, height / u, width / u))?)
    }
}
