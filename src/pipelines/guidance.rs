//! What a denoising net is told at each step, and how its answers become one: classifier-free guidance (Ho and Salimans 2022) by one
//! prompt or by several at once (Liu et al. 2022).

use candle_core::{DType, Tensor};

use super::conditioning::{Conditioner, Encoded};
use super::script::{Script, Spans, Words};
use super::text_encoder::Reading;
use crate::base::geom::Extent;
use crate::base::task::TaskCx;
use crate::job::sampling::Sampling;
use crate::job::spec::GenerateSpec;
use crate::models::Result;
use crate::models::diffusion::{AddedText, Conditions, TimeIds, UnetConfig};
use crate::models::error::ModelError;
use crate::prompt::emphasis::Fragment;

/// Longer prompts are refused: each chunk costs time in every layer of the net.
const MOST_CHUNKS: usize = 200;

/// One of several values for each step.
#[derive(Debug, Clone)]
pub(super) struct Timeline<T> {
    /// Each with the step up to which it holds, counted from 1.
    earlier: Vec<(usize, T)>,
    /// What holds from then on.
    last: T,
}

impl<T> Timeline<T> {
    /// `None` if there is no value at all.
    fn new(mut spans: Spans<T>) -> Option<Self> {
        let (_, last) = spans.pop()?;
        Some(Self { earlier: spans, last })
    }

    /// The value of a step, counted from 1.
    fn at(&self, step: usize) -> &T {
        self.earlier.iter().find(|(until, _)| step <= *until).map_or(&self.last, |(_, value)| value)
    }
}

/// A prompt among those that steer together.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) prompt: Encoded,
    /// How strongly it steers, as a factor of the guidance scale.
    pub(super) weight: f64,
}

/// The numbers that SDXL's nets are told besides a prompt: sizes, and in refiners a score.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sizes {
    /// With the prompt.
    pub(super) prompt: TimeIds,
    /// With the negative prompt.
    pub(super) negative: TimeIds,
}

/// What a net makes of latents (batch, channels, h, w) under conditions.
pub(super) type Net<'a> = dyn Fn(&Tensor, &Conditions) -> Result<Tensor> + 'a;

/// What steers a run.
pub(super) struct Guidance {
    /// Whether the net is told the scale instead of being asked twice; there is one part then.
    is_told_scale: bool,
    prompt: Timeline<Vec<Part>>,
    negative: Timeline<Encoded>,
    sizes: Option<Sizes>,
    /// At 1 or less the prompt alone is followed.
    scale: f64,
    /// How far the contrast is brought back to that of the prompt alone, 0..=1.
    rescale: f64,
}

impl Guidance {
    /// What steers pictures of `size` that `spec` asks for, made in `steps` steps; remarks say what of it changes nothing.
    pub(super) fn new(
        spec: &GenerateSpec,
        (size, steps): (Extent, usize),
        conditioner: &Conditioner,
        net: &UnetConfig,
        remarks: &mut Vec<String>,
        cx: &TaskCx<'_>,
    ) -> Result<Self> {
        let Sampling { clip_skip, emphasis, guidance, guidance_rescale, .. } = spec.sampling;
        let script = Script::new(spec, steps, remarks);
        let is_told_scale = net.time_cond_proj_dim.is_some();
        if is_told_scale {
            if script.prompt.iter().any(|(_, parts)| parts.len() > 1) {
                let text = "this model was trained to follow one prompt, with its guidance built in; take AND out of the prompt";
                return Err(ModelError::BadInput(text.to_owned()));
            }
            if !spec.negative.trim().is_empty() {
                let remark = "this model was trained with its guidance built in: the negative prompt changed nothing";
                remarks.push(remark.to_owned());
            }
        }
        let chunks = conditioner.chunks(script.texts())?;
        if chunks > MOST_CHUNKS {
            let text = format!("the prompt would be read in {chunks} chunks and {MOST_CHUNKS} is the most; shorten it");
            return Err(ModelError::BadInput(text));
        }
        let reader = Reader { conditioner, chunks, reading: Reading { clip_skip, emphasis }, read: Vec::new() };
        let (prompt, negative) = reader.read(script, cx)?;
        let nothing = || ModelError::BadInput("there is no prompt for any step".to_owned());
        Ok(Self {
            is_told_scale,
            prompt: Timeline::new(prompt).ok_or_else(nothing)?,
            negative: Timeline::new(negative).ok_or_else(nothing)?,
            sizes: conditioner.sizes(size),
            scale: f64::from(guidance),
            rescale: f64::from(guidance_rescale),
        })
    }

    /// Type of the numbers that the net reads.
    pub(super) fn dtype(&self) -> DType {
        self.negative.last.states.dtype()
    }

    /// The guided output for `input` (1, channels, h, w) at a step counted from 1. `net` gives that of the net alone for inputs and
    /// conditions of any batch.
    pub(super) fn output(&self, input: &Tensor, step: usize, net: &Net<'_>) -> Result<Tensor> {
        let (parts, negative) = (self.prompt.at(step), self.negative.at(step));
        if let [Part { prompt, weight }] = parts.as_slice()
            && (self.is_told_scale || (self.scale <= 1.0 && *weight == 1.0))
        {
            return self.asked(input, &[prompt], self.ids(true), net);
        }
        let outputs = self.outputs(input, parts, negative, net)?;
        let without = outputs.narrow(0, 0, 1)?;
        let scale = self.scale.max(1.0);
        let followed = |scale: f64| -> Result<Tensor> {
            let mut followed = without.clone();
            for (index, part) in parts.iter().enumerate() {
                let way = (outputs.narrow(0, index + 1, 1)? - &without)?;
                followed = (followed + (way * (scale * part.weight))?)?;
            }
            Ok(followed)
        };
        let prompted = || match parts.as_slice() {
            [Part { weight: 1.0, .. }] => Ok(outputs.narrow(0, 1, 1)?),
            _ => followed(1.0),
        };
        rescaled(followed(scale)?, prompted, self.rescale)
    }

    /// The outputs for the negative prompt and for each part.
    fn outputs(&self, input: &Tensor, parts: &[Part], negative: &Encoded, net: &Net<'_>) -> Result<Tensor> {
        let prompts: Vec<&Encoded> = parts.iter().map(|part| &part.prompt).collect();
        let (ids, other) = (self.ids(true), self.ids(false));
        if ids == other {
            let all: Vec<&Encoded> = std::iter::once(negative).chain(prompts).collect();
            return self.asked(input, &all, ids, net);
        }
        // The net is told the same sizes for all of a batch.
        let without = self.asked(input, &[negative], other, net)?;
        Ok(Tensor::cat(&[without, self.asked(input, &prompts, ids, net)?], 0)?)
    }

    /// The sizes that belong to the prompt, or to the negative one.
    fn ids(&self, is_prompt: bool) -> Option<&TimeIds> {
        self.sizes.as_ref().map(|sizes| if is_prompt { &sizes.prompt } else { &sizes.negative })
    }

    /// One call of the net with a batch of prompts.
    fn asked(&self, input: &Tensor, prompts: &[&Encoded], ids: Option<&TimeIds>, net: &Net<'_>) -> Result<Tensor> {
        let inputs = vec![input; prompts.len()];
        net(&Tensor::cat(&inputs, 0)?, &conditions(prompts, ids, self.scale)?)
    }
}

/// Reads the texts of a script, each once.
struct Reader<'a> {
    conditioner: &'a Conditioner,
    chunks: usize,
    reading: Reading,
    /// What was read so far.
    read: Vec<(Vec<Fragment>, Encoded)>,
}

impl Reader<'_> {
    fn read(mut self, script: Script, cx: &TaskCx<'_>) -> Result<(Spans<Vec<Part>>, Spans<Encoded>)> {
        let (mut prompt, mut negative) = (Vec::new(), Vec::new());
        for (until, words) in script.prompt {
            let mut parts = Vec::new();
            for Words { fragments, weight } in words {
                parts.push(Part { prompt: self.encoded(fragments, cx)?, weight });
            }
            prompt.push((until, parts));
        }
        for (until, fragments) in script.negative {
            negative.push((until, self.conditioner.encode_negative(&fragments, self.chunks, self.reading, cx)?));
        }
        Ok((prompt, negative))
    }

    fn encoded(&mut self, fragments: Vec<Fragment>, cx: &TaskCx<'_>) -> Result<Encoded> {
        if let Some((_, encoded)) = self.read.iter().find(|(known, _)| *known == fragments) {
            return Ok(encoded.clone());
        }
        let encoded = self.conditioner.encode(&fragments, self.chunks, self.reading, cx)?;
        self.read.push((fragments, encoded.clone()));
        Ok(encoded)
    }
}

/// What a net is told of a batch of prompts.
pub(super) fn conditions(prompts: &[&Encoded], ids: Option<&TimeIds>, scale: f64) -> Result<Conditions> {
    let states: Vec<&Tensor> = prompts.iter().map(|prompt| &prompt.states).collect();
    let pooled: Option<Vec<&Tensor>> = prompts.iter().map(|prompt| prompt.pooled.as_ref()).collect();
    let added = match (pooled, ids) {
        (Some(pooled), Some(ids)) => Some(AddedText { pooled: Tensor::cat(&pooled, 0)?, time_ids: ids.clone() }),
        _ => None,
    };
    Ok(Conditions { states: Tensor::cat(&states, 0)?, added, guidance: Some(scale) })
}

/// `guided` with its contrast brought back to that of the `prompted` output alone, as far as `amount` says (Lin et al. 2023,
/// section 3.4).
fn rescaled(guided: Tensor, prompted: impl FnOnce() -> Result<Tensor>, amount: f64) -> Result<Tensor> {
    if amount == 0.0 {
        return Ok(guided);
    }
    let deviation = |xs: &Tensor| -> Result<f64> {
        let values: Vec<f32> = xs.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
        Ok(values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>().sqrt())
    };
    let ratio = deviation(&prompted()?)? / deviation(&guided)?;
    Ok((guided * if ratio.is_finite() { amount * ratio + 1.0 - amount } else { 1.0 })?)
}
