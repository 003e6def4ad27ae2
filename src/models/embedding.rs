//! Textual inversions (Gal et al. 2022): words that were learned as vectors, in all the forms that programs save them in.
//!
//! | form | holds |
//! |---|---|
//! | A1111 `.pt` | `string_to_param` of `*`: (n, width), and `name` |
//! | kohya `.safetensors` | `emb_params`: (n, width) |
//! | diffusers `learned_embeds.bin`, `.safetensors` | the word itself: (width) or (n, width) |
//! | SDXL | `clip_l`: (n, width of the first tower), `clip_g`: (n, width of the second) |
//! | A1111 `.png` | the first form as JSON in base64, in the text `sd-ti-embedding` |
//!
//! # Limitations
//! Of pictures only those that carry the text are read, not those with the vectors hidden in their pixels alone.

use std::path::Path;

use base64::Engine;
use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::error::{ModelError, Result};
use super::files::{ModelFiles, is_weights, no_file};
use crate::base::task::TaskCx;

/// More vectors than any word has.
const MOST_VECTORS: usize = 1024;
/// Larger pictures hold something else.
const LARGEST_PICTURE: u64 = 64 << 20;
/// Longer texts in pictures hold something else, in bytes.
const LONGEST_TEXT: usize = 16 << 20;
/// The key of the text in a picture.
const IN_PICTURES: &str = "sd-ti-embedding";
/// What the vectors are called; the second where an object held them.
const ALONE: [&str; 3] = ["string_to_param.*", "string_to_param._parameters.*", "emb_params"];
/// Names of tensors that are no words.
const NO_WORDS: [&str; 5] = ["*", "emb_params", "clip_l", "clip_g", "weight"];

/// A learned word.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// What stands for it in a prompt: the word that the file names, or else the file's name without ending.
    pub name: String,
    /// The vectors (n, width) for each text tower, in f32 on the CPU: one for most models, two for SDXL, the first tower first. All of them
    /// have the same n.
    pub vectors: Vec<Tensor>,
}

impl Embedding {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is no textual inversion.
    pub fn load(path: &Path) -> Result<Self> {
        let bad = |reason: String| ModelError::BadFile { path: path.to_owned(), reason };
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !path.is_file() {
            return Err(no_file(path));
        }
        if file.to_lowercase().ends_with(".png") {
            let (name, vectors) = in_picture(path).map_err(bad)?;
            return Ok(Self { name: name.unwrap_or(stem), vectors: vec![vectors] });
        }
        if !is_weights(&file) {
            return Err(bad("a textual inversion is a .safetensors, .pt, .bin or .png file".to_owned()));
        }
        let folder = ModelFiles::Folder(path.parent().map(Path::to_owned).unwrap_or_default());
        let weights = folder.weights(&file)?;
        let names: Vec<&str> = weights.names().collect();
        let chosen: Vec<&str> = match names[..] {
            _ if weights.has("clip_l") && weights.has("clip_g") => vec!["clip_l", "clip_g"],
            [only] => vec![only],
            _ => match ALONE.into_iter().find(|name| weights.has(name)) {
                Some(found) => vec![found],
                None => {
                    return Err(bad(format!(
                        "this is no textual inversion: it holds {} tensors and none of the names that one has",
                        names.len()
                    )));
                }
            },
        };
        let cx = TaskCx::detached();
        let vb = weights.tensors(DType::F32, &Device::Cpu, &cx);
        let mut vectors = Vec::new();
        for name in &chosen {
            let shape = weights.shape(name).unwrap_or_default();
            if !matches!(shape, [1..=MOST_VECTORS, 1..=usize::MAX] | [1..=usize::MAX]) {
                return Err(bad(format!("this is no textual inversion: its tensor {name:?} is {shape:?}")));
            }
            let tensor = vb.get_unchecked(name)?;
            vectors.push(if tensor.rank() == 1 { tensor.unsqueeze(0)? } else { tensor });
        }
        let counts: Vec<usize> = vectors.iter().filter_map(|tensor| tensor.dims().first().copied()).collect();
        if counts.iter().any(|count| Some(count) != counts.first()) {
            return Err(bad("its two text towers have different numbers of vectors".to_owned()));
        }
        let own = chosen.first().filter(|name| !NO_WORDS.contains(name) && !name.contains("string_to_param"));
        let said = || weights.metadata().get("name").filter(|name| !name.trim().is_empty()).cloned();
        let name = own.map(|name| (*name).to_owned()).or_else(said).unwrap_or(stem);
        Ok(Self { name, vectors })
    }

    /// How many tokens the word takes.
    pub fn len(&self) -> usize {
        self.vectors.first().and_then(|tensor| tensor.dims().first().copied()).unwrap_or(0)
    }

    /// Whether it takes none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The vectors for text tower `index` of `width`.
    ///
    /// # Errors
    /// If the word was learned for another kind of model.
    pub fn for_tower(&self, index: usize, width: usize) -> Result<&Tensor> {
        let vectors = self.vectors.get(index).filter(|tensor| tensor.dims().get(1) == Some(&width));
        vectors.ok_or_else(|| {
            let widths: Vec<String> = self.vectors.iter().map(|tensor| format!("{}", tensor.dims().get(1).unwrap_or(&0))).collect();
            ModelError::BadInput(format!(
                "the embedding {} was learned for a text tower of width {}, and this model's is {width}; use one that was learned for this \
                 kind of model",
                self.name,
                widths.join(" and ")
            ))
        })
    }
}

/// Name and vectors from the text of a picture.
fn in_picture(path: &Path) -> std::result::Result<(Option<String>, Tensor), String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if about.len() > LARGEST_PICTURE {
        return Err("this picture is too large for a textual inversion".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let text = text_of_png(&bytes)
        .ok_or_else(|| format!("this picture has no text {IN_PICTURES:?}, so it is no textual inversion"))?;
    let json = base64::engine::general_purpose::STANDARD.decode(text.trim());
    let json = json.map_err(|error| format!("its text {IN_PICTURES:?} is damaged ({error})"))?;
    let value: Value =
        serde_json::from_slice(&json).map_err(|error| format!("its text {IN_PICTURES:?} is damaged ({error})"))?;
    let name = value.get("name").and_then(Value::as_str).filter(|name| !name.trim().is_empty()).map(str::to_owned);
    let rows = value
        .get("string_to_param")
        .and_then(|words| words.get("*"))
        .map(|words| words.get("TORCHTENSOR").unwrap_or(words));
    let rows = rows.and_then(Value::as_array).filter(|rows| (1..=MOST_VECTORS).contains(&rows.len()));
    let rows = rows.ok_or("its text holds no vectors")?;
    let (mut numbers, mut width) = (Vec::new(), None);
    for row in rows {
        let row: Option<Vec<f32>> = row
            .as_array()
            .and_then(|row| row.iter().map(|number| number.as_f64().map(|number| number as f32)).collect());
        let row = row.filter(|row| !row.is_empty() && row.iter().all(|number| number.is_finite()));
        let row = row.filter(|row| *width.get_or_insert(row.len()) == row.len()).ok_or("its vectors are damaged")?;
        numbers.extend(row);
    }
    let vectors = Tensor::from_vec(numbers, (rows.len(), width.unwrap_or(0)), &Device::Cpu);
    Ok((name, vectors.map_err(|error| error.to_string())?))
}

fn text_of_png(bytes: &[u8]) -> Option<String> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().ok()?;
    // The text may also follow the pixels.
    let is_ours = |keyword: &str| keyword == IN_PICTURES;
    if !reader.info().uncompressed_latin1_text.iter().any(|chunk| is_ours(&chunk.keyword)) {
        let _ = reader.finish();
    }
    let info = reader.info();
    let plain =
        info.uncompressed_latin1_text.iter().find(|chunk| is_ours(&chunk.keyword)).map(|chunk| chunk.text.clone());
    // A few bytes can be a text of gigabytes.
    let packed = || {
        let mut chunk = info.compressed_latin1_text.iter().find(|chunk| is_ours(&chunk.keyword))?.clone();
        chunk.decompress_text_with_limit(LONGEST_TEXT).ok()?;
        chunk.get_text().ok()
    };
    let wide = || {
        let mut chunk = info.utf8_text.iter().find(|chunk| is_ours(&chunk.keyword))?.clone();
        chunk.decompress_text_with_limit(LONGEST_TEXT).ok()?;
        chunk.get_text().ok()
    };
    plain.or_else(packed).or_else(wide)
}
