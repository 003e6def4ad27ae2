//! The autoencoder between pictures and latents (diffusers `AutoencoderKL`).

use std::rc::Rc;

use crate::models::tensors::Tensors;
use candle_core::{DType, Device, Tensor};

use super::blocks::{ResnetBlock, Upsample, conv1x1};
use super::config::VaeConfig;
use super::encoder::{self, Encoder, EncoderConfig, Ends, Middle};
use super::{WEIGHTS, explain, refuse, unsupported};
use crate::base::task::TaskCx;
use crate::models::error::Result;
use crate::models::files::ModelFiles;
use crate::models::kernels::{Conv1x1, Conv3x3, Geometry, GroupNorm};
use crate::models::part::Part;

/// Settings and the only value that they may have besides null and false.
const UNSUPPORTED: [(&str, &str); 3] = [("act_fn", "silu"), ("latents_mean", "null"), ("latents_std", "null")];

struct VaeEncoder {
    net: Encoder,
    quant: Option<Conv1x1>,
}

struct Decoder {
    post_quant: Option<Conv1x1>,
    ends: Ends,
    middle: Middle,
    blocks: Vec<DecoderBlock>,
}

struct DecoderBlock {
    resnets: Vec<ResnetBlock>,
    upsample: Option<Upsample>,
}

/// The autoencoder.
pub struct Vae {
    config: VaeConfig,
    /// Read when the first picture is to be encoded: making pictures from words needs none.
    encoder: Part<VaeEncoder>,
    decoder: Part<Decoder>,
    /// What it computes in, whatever pictures and latents are made of.
    dtype: DType,
}

impl Vae {
    /// Reads a `vae/` folder; the encoder's weights when it is first used.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device) -> Result<Self> {
        Self::load_in(files, dtype, device, &TaskCx::detached())
    }

    /// As [`Self::load`], with pauses for the task.
    ///
    /// # Errors
    /// As [`Self::load`]; or if the task is cancelled.
    pub fn load_in(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        let config: VaeConfig = files.read_json("config.json")?;
        if config.block_out_channels.is_empty() || config.scaling_factor == 0.0 {
            return Err(unsupported(files, "block_out_channels", "none, or a scaling factor of zero"));
        }
        if config.norm_num_groups == 0 {
            return Err(unsupported(files, "norm_num_groups", "0"));
        }
        refuse(files, &UNSUPPORTED)?;
        let blocks = [("DownEncoderBlock2D", &config.down_block_types), ("UpDecoderBlock2D", &config.up_block_types)];
        for (known, kinds) in blocks {
            if let Some(other) = kinds.iter().find(|kind| *kind != known) {
                return Err(unsupported(files, "block type", other));
            }
        }
        let dtype = if config.force_upcast && dtype == DType::F16 { DType::F32 } else { dtype };
        let source = Rc::new((config.clone(), files.clone(), device.clone()));
        let same = source.clone();
        let vae = Self {
            encoder: Part::new(move |cx| {
                let (config, files, device) = &*same;
                let vb = files.tensors(WEIGHTS, dtype, device, cx)?;
                build_encoder(config, &vb).map_err(|error| explain(files, error))
            }),
            decoder: Part::new(move |cx| {
                let (config, files, device) = &*source;
                let vb = files.tensors(WEIGHTS, dtype, device, cx)?;
                build_decoder(config, &vb).map_err(|error| explain(files, error))
            }),
            dtype,
            config,
        };
        vae.decoder.get(cx)?;
        Ok(vae)
    }

    /// Reads the encoder now.
    ///
    /// # Errors
    /// If it does not fit the configuration, or the task is cancelled.
    pub(super) fn read_encoder(&self, cx: &TaskCx<'_>) -> Result<()> {
        self.encoder.get(cx).map(drop)
    }

    /// Gives the weights back until they are needed again.
    pub fn release(&self) {
        self.encoder.release();
        self.decoder.release();
    }

    /// The same with latents scaled as those of `other`.
    pub(super) fn scaled_like(mut self, other: &Self) -> Self {
        self.config.scaling_factor = other.config.scaling_factor;
        self.config.shift_factor = other.config.shift_factor;
        self
    }

    /// Pixels of a picture's side for each latent.
    pub fn factor(&self) -> usize {
        1 << (self.config.block_out_channels.len() - 1)
    }

    /// Channels of the widest activation at the size of the picture.
    pub(super) fn widest_at_full_size(&self) -> usize {
        // The block of the full size gets what the one before it made.
        self.config.block_out_channels.iter().take(2).copied().max().unwrap_or(1)
    }

    /// Side of a tile in latents, as the configuration says.
    pub(super) fn tile_side(&self) -> usize {
        (self.config.sample_size.at(0) / self.factor()).max(1)
    }

    /// Channels of latents.
    pub fn latent_channels(&self) -> usize {
        self.config.latent_channels
    }

    /// The mean of the latents (batch, latent channels, h / factor, w / factor), scaled for the denoising net, of pictures
    /// (batch, 3, h, w) in -1..=1.
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn encode_mean(&self, pictures: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        let encoder = self.encoder.get(cx)?;
        let xs = encoder.net.forward(&pictures.to_dtype(self.dtype)?, cx)?;
        let moments = match &encoder.quant {
            Some(quant) => quant.forward(&xs)?,
            None => xs,
        };
        let mean = moments.narrow(1, 0, self.config.latent_channels)?;
        let latents = ((mean - self.config.shift_factor.unwrap_or(0.0))? * self.config.scaling_factor)?;
        Ok(latents.to_dtype(pictures.dtype())?)
    }

    /// Pictures (batch, 3, h * factor, w * factor), about -1..=1, of scaled latents (batch, latent channels, h, w).
    ///
    /// # Errors
    /// If shapes do not fit, or the task is cancelled.
    pub fn decode(&self, latents: &Tensor, cx: &TaskCx<'_>) -> Result<Tensor> {
        let decoder = self.decoder.get(cx)?;
        let Decoder { post_quant, ends, middle, blocks } = &*decoder;
        let asked = latents.dtype();
        let latents = latents.to_dtype(self.dtype)?;
        let latents = ((latents / self.config.scaling_factor)? + self.config.shift_factor.unwrap_or(0.0))?;
        let latents = match post_quant {
            Some(post_quant) => post_quant.forward(&latents)?,
            None => latents,
        };
        let mut xs = middle.forward(&ends.conv_in.forward_in(&latents, cx)?, cx)?;
        for block in blocks {
            for resnet in &block.resnets {
                xs = resnet.forward(&xs, None, cx)?;
            }
            if let Some(upsample) = &block.upsample {
                xs = upsample.forward(&xs, cx)?;
            }
        }
        Ok(ends.last(&xs, cx)?.to_dtype(asked)?)
    }
}

fn encoder_config(config: &VaeConfig) -> EncoderConfig {
    EncoderConfig {
        inputs: config.in_channels,
        outputs: 2 * config.latent_channels,
        block_out_channels: config.block_out_channels.clone(),
        layers_per_block: config.layers_per_block,
        norm_num_groups: config.norm_num_groups,
        has_attention: config.mid_block_add_attention,
    }
}

fn build_encoder(config: &VaeConfig, vb: &Tensors<'_>) -> Result<VaeEncoder> {
    let moments = 2 * config.latent_channels;
    let quant = config.use_quant_conv.then(|| conv1x1(moments, moments, &vb.pp("quant_conv"))).transpose()?;
    Ok(VaeEncoder { net: Encoder::load(&encoder_config(config), &vb.pp("encoder"))?, quant })
}

fn build_decoder(config: &VaeConfig, vb: &Tensors<'_>) -> Result<Decoder> {
    let latent = config.latent_channels;
    let post_quant = config.use_post_quant_conv.then(|| conv1x1(latent, latent, &vb.pp("post_quant_conv")));
    let post_quant = post_quant.transpose()?;
    let vb = vb.pp("decoder");
    let norms = encoder::norms(config.norm_num_groups);
    let channels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
    let (first, last) = (channels.first().copied().unwrap_or(0), channels.last().copied().unwrap_or(0));
    let mut inputs = first;
    let mut blocks = Vec::new();
    for (level, &outputs) in channels.iter().enumerate() {
        let vb = vb.pp("up_blocks").pp(level);
        let mut resnets = Vec::new();
        for i in 0..=config.layers_per_block {
            resnets.push(ResnetBlock::load(inputs, outputs, norms, &vb.pp("resnets").pp(i))?);
            inputs = outputs;
        }
        let doubles = level + 1 < channels.len();
        let upsample = doubles.then(|| Upsample::load(outputs, &vb.pp("upsamplers.0"))).transpose()?;
        blocks.push(DecoderBlock { resnets, upsample });
    }
    let ends = Ends {
        conv_in: Conv3x3::load(config.latent_channels, first, Geometry::SAME, &vb.pp("conv_in"))?,
        norm_out: GroupNorm::load(norms.groups, last, norms.epsilon, &vb.pp("conv_norm_out"))?,
        conv_out: Conv3x3::load(last, config.out_channels, Geometry::SAME, &vb.pp("conv_out"))?,
    };
    let middle = Middle::load(first, config.mid_block_add_attention, norms, &vb.pp("mid_block"))?;
    Ok(Decoder { post_quant, ends, middle, blocks })
}
