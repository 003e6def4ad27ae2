//! Requests as they are stored: JSON, with pictures, masks and noise kept beside it under their hashes.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::base::geom::Extent;
use crate::base::pixels::{Mask, Picture};
use crate::job::ModelRef;
use crate::job::latents::Latents;
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::job::nets::{ControlSpec, OtherNets};
use crate::job::sampling::Sampling;
use crate::job::spec::{GenerateSpec, InitSpec};
use crate::store::pictures;

/// Bytes that a request needs beside its JSON, by their hash there.
pub(super) type Blob = (String, Vec<u8>);

/// The request as JSON, and what it needs beside it.
pub(super) fn to_record(spec: &GenerateSpec) -> Result<(String, Vec<Blob>), String> {
    let mut blobs = Vec::new();
    let mut add = |picture: &Picture| -> Result<(), String> {
        blobs.push((picture.sha256().to_owned(), pictures::to_png(picture, None)?));
        Ok(())
    };
    if let Some(init) = &spec.init {
        add(&init.picture)?;
    }
    spec.nets.controls.iter().try_for_each(|control| add(&control.picture))?;
    if let Some(mask) = spec.init.as_ref().and_then(|init| init.mask.as_ref()) {
        let bytes = mask.to_coverage();
        blobs.push((hash(&bytes), bytes));
    }
    if let Some(noise) = &spec.noise {
        let bytes: Vec<u8> = noise.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        blobs.push((hash(&bytes), bytes));
    }
    let json = serde_json::to_string(spec).map_err(|error| error.to_string())?;
    Ok((json, blobs))
}

fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The request of a record; `blob` finds what it needs beside it.
pub(super) fn from_record(json: &str, blob: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<GenerateSpec, String> {
    let record: Record = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let controls = record.controls.into_iter().map(|control| {
        Ok(ControlSpec {
            model: control.model,
            picture: control.picture.read(blob)?,
            scale: control.scale,
            start: control.start,
            end: control.end,
        })
    });
    let controls = controls.collect::<Result<_, String>>()?;
    let init = record.init.map(|init| {
        Ok::<_, String>(InitSpec {
            picture: init.picture.read(blob)?,
            mask: init.mask.map(|mask| mask.read(blob)).transpose()?,
            strength: init.strength,
        })
    });
    Ok(GenerateSpec {
        model: record.model,
        prompt: record.prompt,
        negative: record.negative,
        sampling: record.sampling,
        count: record.count,
        init: init.transpose()?,
        noise: record.noise.map(|noise| noise.read(blob)).transpose()?,
        nets: OtherNets { vae: record.vae, controls },
        loras: record.loras,
        embeddings: record.embeddings,
    })
}

#[derive(Deserialize)]
struct Record {
    model: ModelRef,
    prompt: String,
    negative: String,
    sampling: Sampling,
    count: u32,
    init: Option<InitRecord>,
    noise: Option<NoiseRecord>,
    vae: Option<ModelRef>,
    #[serde(default)]
    controls: Vec<ControlRecord>,
    #[serde(default)]
    loras: Vec<LoraUse>,
    #[serde(default)]
    embeddings: Vec<EmbeddingUse>,
}

#[derive(Deserialize)]
struct InitRecord {
    picture: PixelRecord,
    mask: Option<MaskRecord>,
    strength: f32,
}

#[derive(Deserialize)]
struct ControlRecord {
    model: ModelRef,
    picture: PixelRecord,
    scale: f32,
    start: f32,
    end: f32,
}

#[derive(Deserialize)]
struct PixelRecord {
    sha256: String,
}

#[derive(Deserialize)]
struct MaskRecord {
    width: u32,
    height: u32,
    sha256: String,
}

#[derive(Deserialize)]
struct NoiseRecord {
    shape: [usize; 3],
    sha256: String,
}

fn find(sha256: &str, what: &str, blob: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    blob(sha256).ok_or_else(|| format!("{what} that it starts from is missing"))
}

impl PixelRecord {
    fn read(&self, blob: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Picture, String> {
        let bytes = find(&self.sha256, "the picture", blob)?;
        pictures::decode_bytes(&bytes, self.sha256.as_ref()).map_err(|error| error.to_string())
    }
}

impl MaskRecord {
    fn read(&self, blob: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Mask, String> {
        let (extent, coverage) = (Extent::new(self.width, self.height), find(&self.sha256, "the mask", blob)?);
        if coverage.len() != extent.area() {
            return Err("the mask is damaged".to_owned());
        }
        Ok(Mask::from_coverage(extent, &coverage))
    }
}

impl NoiseRecord {
    fn read(&self, blob: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Latents, String> {
        let bytes = find(&self.sha256, "the noise", blob)?;
        let values = bytes.chunks_exact(4).filter_map(|four| four.try_into().ok().map(f32::from_le_bytes)).collect();
        Latents::new(self.shape, values).ok_or_else(|| "the noise is damaged".to_owned())
    }
}
