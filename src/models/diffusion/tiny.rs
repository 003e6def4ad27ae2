//! The tiny autoencoder (diffusers `AutoencoderTiny`, madebyollin's TAESD): latents to pictures at a twentieth of the cost.

use crate::models::tensors::Tensors;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::{WEIGHTS, explain, refuse, unsupported};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::files::{ModelFiles, Place, Weights};
use crate::models::kernels::{Conv1x1, Conv3x3, Geometry, doubled};

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
    fn load(inputs: usize, outputs: usize, vb: &Tensors<'_>) -> Result<Self> {
        let conv =
            |index: usize, inputs: usize| Conv3x3::load(inputs, outputs, Geometry::SAME, &vb.pp("conv").pp(index));
        let skip = (inputs != outputs).then(|| Conv1x1::load_no_bias(inputs, outputs, Geometry::POINT, &vb.pp("skip")));
        Ok(Self { convs: [conv(0, inputs)?, conv(2, outputs)?, conv(4, outputs)?], skip: skip.transpose()? })
    }

    fn forward(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        let [first, second, third] = &self.convs;
        let hidden = first.forward_in(xs, cx)?.relu()?;
        let hidden = second.forward_in(&hidden, cx)?.relu()?;
        let hidden = third.forward_in(&hidden, cx)?;
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
    fn forward(&self, xs: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        match self {
            Self::Conv(conv) => conv.forward_in(xs, cx),
            Self::Relu => Ok(xs.relu()?),
            Self::Block(block) => block.forward(xs, cx),
            Self::Double => doubled(xs, cx),
        }
    }
}

fn run(layers: &[Layer], mut xs: Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
    for layer in layers {
        cx.checkpoint()?;
        xs = layer.forward(&xs, cx)?;
    }
    Ok(xs)
}

/// The tiny autoencoder.
pub struct TinyVae {
    /// Absent where only the decoder's file is there.
    encoder: Option<Vec<Layer>>,
    decoder: Vec<Layer>,
    scaling_factor: f64,
    factor: usize,
    latent_channels: usize,
}

impl TinyVae {
    /// Reads its folder.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the task is cancelled.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
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
        let vb = files.tensors(WEIGHTS, dtype, device, cx)?;
        let build = || -> Result<Self> {
            Ok(Self {
                encoder: Some(build_encoder(&config, &vb.pp("encoder.layers"))?),
                decoder: build_decoder(&config, &vb.pp("decoder.layers"))?,
                scaling_factor: config.scaling_factor,
                factor: 1 << (down.len() - 1),
                latent_channels: config.latent_channels,
            })
        };
        build().map_err(|error| explain(files, error))
    }

    /// The decoder among `files` that has one of its author's own file names.
    pub fn decoder_file(files: &ModelFiles) -> Option<String> {
        ["taesd", "taesdxl", "taesd3", "taef1"]
            .into_iter()
            .map(|name| format!("{name}_decoder.safetensors"))
            .find(|name| files.has(name))
    }

    /// The name of the encoder's file beside a decoder's.
    pub fn encoder_file(decoder: &str) -> String {
        decoder.replace("decoder", "encoder")
    }

    /// Reads `decoder`, a file as the tiny autoencoder's author publishes it (plain sequences of layers), and the encoder beside it,
    /// if that is there.
    ///
    /// # Errors
    /// If a file is damaged, or something else; if the task is cancelled.
    pub fn load_file(
        files: &ModelFiles,
        decoder: &str,
        dtype: DType,
        device: &Device,
        cx: &TaskCx<'_>,
    ) -> Result<Self> {
        let bad =
            |file: &str, reason: &str| ModelError::BadFile { path: files.path_of(file), reason: reason.to_owned() };
        let weights = files.weights(decoder)?;
        if weights.has("0.weight") && weights.has("1.conv.0.weight") {
            return Err(bad(
                decoder,
                "this is the encoder of a tiny autoencoder; give its decoder, taesd_decoder.safetensors",
            ));
        }
        let fault = "this is neither an autoencoder (encoder and decoder) nor the decoder of a tiny one (taesd_decoder.safetensors)";
        let mut config = TinyConfig::default();
        // Layer 0 bends latents and has no weights: diffusers does not count it.
        let Sequence { convs, blocks } = sequence(&weights, DECODER_SHIFT).ok_or_else(|| bad(decoder, fault))?;
        config.latent_channels = convs.first().map_or(0, |(_, inputs)| *inputs);
        config.out_channels = convs.last().map_or(0, |(outputs, _)| *outputs);
        config.decoder_block_out_channels = convs.iter().skip(1).map(|(_, inputs)| *inputs).collect();
        config.num_decoder_blocks = blocks;
        let layers = |weights: &Weights, half: &'static str, shift: usize| {
            let naming = move |_: &Weights, name: &str| Place::plain(authors_name(name, half, shift));
            Tensors::new(weights, Box::new(naming), dtype, device, cx)
        };
        let built = build_decoder(&config, &layers(&weights, "decoder.", DECODER_SHIFT).pp("decoder"))?;
        let file = Self::encoder_file(decoder);
        let encoder = match files.has(&file) && file != decoder {
            false => None,
            true => {
                let weights = files.weights(&file)?;
                let Sequence { convs, blocks } = sequence(&weights, 0)
                    .ok_or_else(|| bad(&file, "this is not the encoder that belongs to the decoder beside it"))?;
                config.in_channels = convs.first().map_or(0, |(_, inputs)| *inputs);
                config.encoder_block_out_channels =
                    convs.iter().map(|(outputs, _)| *outputs).take(blocks.len()).collect();
                config.num_encoder_blocks = blocks;
                Some(build_encoder(&config, &layers(&weights, "encoder.", 0).pp("encoder"))?)
            }
        };
        Ok(Self {
            encoder,
            decoder: built,
            scaling_factor: config.scaling_factor,
            factor: 1 << config.num_decoder_blocks.len().saturating_sub(1),
            latent_channels: config.latent_channels,
        })
    }

    /// Channels of latents.
    pub fn latent_channels(&self) -> usize {
        self.latent_channels
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
        let Some(encoder) = &self.encoder else {
            return Err(ModelError::BadInput(
                "this tiny autoencoder can only decode, and here a picture goes in: put taesd_encoder.safetensors beside it"
                    .to_owned(),
            ));
        };
        let seen = ((pictures + 1.0)? / 2.0)?;
        Ok((run(encoder, seen, cx)? * self.scaling_factor)?)
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

/// Layers that the author's decoder has before diffusers' first.
const DECODER_SHIFT: usize = 1;
/// More layers than this no tiny autoencoder has.
const MOST_LAYERS: usize = 256;

/// What a plain sequence of layers is made of.
struct Sequence {
    /// Channels out, channels in.
    convs: Vec<(usize, usize)>,
    /// How many residual blocks follow each convolution but the last.
    blocks: Vec<usize>,
}

/// The sequence that begins with layer `first`; `None` if that is not what the file holds.
fn sequence(weights: &Weights, first: usize) -> Option<Sequence> {
    let (mut convs, mut blocks) = (Vec::new(), Vec::new());
    for index in first..MOST_LAYERS {
        if weights.has(&format!("{index}.conv.0.weight")) {
            *blocks.last_mut()? += 1;
        } else if let Some(shape) = weights.shape(&format!("{index}.weight")) {
            convs.push((*shape.first()?, *shape.get(1)?));
            blocks.push(0);
        }
    }
    (convs.len() > 1 && blocks.pop() == Some(0)).then_some(Sequence { convs, blocks })
}

/// The author's name for diffusers' `half` and layer.
fn authors_name(name: &str, half: &str, shift: usize) -> String {
    let renamed = name.strip_prefix(half).and_then(|rest| {
        let (index, rest) = rest.split_once('.')?;
        Some(format!("{}.{rest}", index.parse::<usize>().ok()? + shift))
    });
    renamed.unwrap_or_else(|| name.to_owned())
}

fn build_encoder(config: &TinyConfig, vb: &Tensors<'_>) -> Result<Vec<Layer>> {
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

fn build_decoder(config: &TinyConfig, vb: &Tensors<'_>) -> Result<Vec<Layer>> {
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
