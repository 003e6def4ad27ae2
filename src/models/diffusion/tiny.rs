//! The tiny autoencoder (diffusers `AutoencoderTiny`, madebyollin's TAESD): latents to pictures at a twentieth of the cost.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use serde::Deserialize;

use super::{WEIGHTS, explain, refuse, unsupported};
use crate::base::task::TaskCx;
use crate::models::error::Result;
use crate::models::files::ModelFiles;
use crate::models::kernels::{Conv1x1, Conv3x3, Geometry};

/// Settings and the only value that they may have besides null and false.
const UNSUPPORTED: [(&str, &str); 3] =
    [("act_fn", "relu"), ("upsample_fn", "nearest"), ("upsampling_scaling_factor", "2")];

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
struct TinyConfig {
    in_channels: usize,
    out_channels: usize,
    latent_channels: usize,
    encoder_block_out_channels: Vec<usize>,
    decoder_block_out_channels: Vec<usize>,
    num_encoder_blocks: Vec<usize>,
    num_decoder_blocks: Vec<usize>,
    scaling_factor: f64,
}

impl Default for TinyConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            encoder_block_out_channels: vec![64; 4],
            decoder_block_out_channels: vec![64; 4],
            num_encoder_blocks: vec![1, 3, 3, 3],
            num_decoder_blocks: vec![3, 3, 3, 1],
            scaling_factor: 1.0,
        }
    }
}

/// diffusers' `AutoencoderTinyBlock`: three convolutions beside a skip.
struct Block {
    convs: [Conv3x3; 3],
    skip: Option<Conv1x1>,
}

impl Block {
    fn load(inputs: usize, outputs: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let conv =
            |index: usize, inputs: usize| Conv3x3::load(inputs, outputs, Geometry::SAME, &vb.pp("conv").pp(index));
        let skip = (inputs != outputs).then(|| Conv1x1::load_no_bias(inputs, outputs, Geometry::POINT, &vb.pp("skip")));
        Ok(Self { convs: [conv(0, inputs)?, conv(2, outputs)?, conv(4, outputs)?], skip: skip.transpose()? })
    }

    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let [first, second, third] = &self.convs;
        let hidden = third.forward(&second.forward(&first.forward(xs)?.relu()?)?.relu()?)?;
        let kept = match &self.skip {
            Some(skip) => skip.forward(xs)?,
            None => xs.clone(),
        };
        Ok((hidden + kept)?.relu()?)
    }
}

enum Layer {
    Conv(Conv3x3),
    Relu,
    Block(Block),
    Double,
}

impl Layer {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match self {
            Self::Conv(conv) => conv.forward(xs),
            Self::Relu => Ok(xs.relu()?),
            Self::Block(block) => block.forward(xs),
            Self::Double => {
                let (_, _, height, width) = xs.dims4()?;
                Ok(xs.upsample_nearest2d(height * 2, width * 2)?)
            }
        }
    }
}

fn run(layers: &[Layer], mut xs: Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    for layer in layers {
        cx.checkpoint()?;
        xs = layer.forward(&xs)?;
    }
    Ok(xs)
}

/// The tiny autoencoder.
pub struct TinyVae {
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
    scaling_factor: f64,
    factor: usize,
}

impl TinyVae {
    /// Reads its folder.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        let config: TinyConfig = files.read_json("config.json")?;
        refuse(files, &UNSUPPORTED)?;
        let (down, up) = (&config.encoder_block_out_channels, &config.decoder_block_out_channels);
        let fits = down.len() == config.num_encoder_blocks.len() && up.len() == config.num_decoder_blocks.len();
        if !fits || down.is_empty() || down.len() != up.len() || config.scaling_factor == 0.0 {
            return Err(unsupported(
                files,
                "block_out_channels",
                "lists of different lengths, or a scaling factor of zero",
            ));
        }
        let vb = files.tensors(WEIGHTS, dtype, device)?;
        let build = || -> Result<Self> {
            Ok(Self {
                encoder: build_encoder(&config, &vb.pp("encoder.layers"))?,
                decoder: build_decoder(&config, &vb.pp("decoder.layers"))?,
                scaling_factor: config.scaling_factor,
                factor: 1 << (down.len() - 1),
            })
        };
        build().map_err(|error| explain(files, error))
    }

    /// Pixels of a picture's side for each latent.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Latents (batch, latent channels, h / factor, w / factor) for the denoising net of pictures (batch, 3, h, w) in -1..=1.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn encode(&self, pictures: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        let seen = ((pictures + 1.0)? / 2.0)?;
        Ok((run(&self.encoder, seen, cx)? * self.scaling_factor)?)
    }

    /// Pictures (batch, 3, h * factor, w * factor), about -1..=1, of the denoising net's latents (batch, latent channels, h, w).
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn decode(&self, latents: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        // Latents beyond three deviations are bent back: the net never saw any.
        let bounded = (((latents / (3.0 * self.scaling_factor))?).tanh()? * 3.0)?;
        Ok(((run(&self.decoder, bounded, cx)? * 2.0)? - 1.0)?)
    }
}

fn build_encoder(config: &TinyConfig, vb: &VarBuilder<'_>) -> Result<Vec<Layer>> {
    let channels = &config.encoder_block_out_channels;
    let mut layers = Vec::new();
    for (level, (&width, &blocks)) in channels.iter().zip(&config.num_encoder_blocks).enumerate() {
        let next = vb.pp(layers.len());
        layers.push(Layer::Conv(match level {
            0 => Conv3x3::load(config.in_channels, width, Geometry::SAME, &next)?,
            _ => Conv3x3::load_no_bias(width, width, Geometry { stride: 2, ..Geometry::SAME }, &next)?,
        }));
        for _ in 0..blocks {
            layers.push(Layer::Block(Block::load(width, width, &vb.pp(layers.len()))?));
        }
    }
    let last = channels.last().copied().unwrap_or(0);
    layers.push(Layer::Conv(Conv3x3::load(last, config.latent_channels, Geometry::SAME, &vb.pp(layers.len()))?));
    Ok(layers)
}

fn build_decoder(config: &TinyConfig, vb: &VarBuilder<'_>) -> Result<Vec<Layer>> {
    let channels = &config.decoder_block_out_channels;
    let first = channels.first().copied().unwrap_or(0);
    let mut layers =
        vec![Layer::Conv(Conv3x3::load(config.latent_channels, first, Geometry::SAME, &vb.pp(0))?), Layer::Relu];
    for (level, (&width, &blocks)) in channels.iter().zip(&config.num_decoder_blocks).enumerate() {
        for _ in 0..blocks {
            layers.push(Layer::Block(Block::load(width, width, &vb.pp(layers.len()))?));
        }
        let is_last = level + 1 == channels.len();
        if !is_last {
            layers.push(Layer::Double);
        }
        let next = vb.pp(layers.len());
        layers.push(Layer::Conv(match is_last {
            true => Conv3x3::load(width, config.out_channels, Geometry::SAME, &next)?,
            false => Conv3x3::load_no_bias(width, width, Geometry::SAME, &next)?,
        }));
    }
    Ok(layers)
}
