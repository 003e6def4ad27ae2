//! The tensors of a model: one safetensors file, several with an index, or one file of `torch.save`. Mapped, never read as a whole; a tensor is copied out when a
//! net asks for it, under the name that the net knows it by.
//!
//! Every file passes [`super::header`] or [`super::pickle`] first. A tensor is refused if its shape is not the one asked for or its numbers are not finite.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor};
use memmap2::Mmap;
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::Deserialize;

use super::header::{self, Entry, Kind};
use super::variants::found;
use super::{ModelFiles, conversion, is_pickled, no_file, pickle, stand_in};
use crate::base::task::TaskCx;
use crate::models::error::{ModelError, Result};
use crate::models::tensors::Tensors;

/// Bytes that one thread looks through at a time.
const PIECE: usize = 1 << 20;
/// Bytes between two pauses.
const PAUSE: usize = 1 << 23;

/// Where a tensor of a net is among the tensors of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name for it.
    pub name: String,
    /// Of how many equal parts of its first axis which one: query, key and value often lie together.
    pub part: Option<(usize, usize)>,
    /// Whether the file holds the matrix on its side.
    pub is_transposed: bool,
}

impl Place {
    /// The whole tensor as it is.
    pub fn plain(name: impl Into<String>) -> Self {
        Self { name: name.into(), part: None, is_transposed: false }
    }
}

/// From a net's name of a tensor to its place.
pub type Naming = Box<dyn Fn(&Weights, &str) -> Place + Send + Sync>;

/// The tensors of a model. Cheap to clone.
#[derive(Clone)]
pub struct Weights(Arc<Inner>);

struct Inner {
    /// What was opened, for messages.
    path: PathBuf,
    shards: Arc<Vec<Shard>>,
    tensors: HashMap<String, Stored>,
    /// What a pickled file says about itself.
    texts: HashMap<String, String>,
    /// Whether tensors are given without their numbers.
    is_hollow: bool,
}

/// Where a tensor lies.
#[derive(Clone)]
struct Stored {
    shard: usize,
    entry: Entry,
    /// Whether the matrix lies on its side.
    is_turned: bool,
}

impl Stored {
    fn new(shard: usize, entry: Entry) -> Self {
        Self { shard, entry, is_turned: false }
    }

    /// Part `part` of three equal ones of the first axis, if it can be divided so.
    fn third(&self, part: usize) -> Option<Self> {
        let mut third = self.clone();
        let rows = third.entry.shape.first_mut().filter(|rows| **rows > 0 && rows.is_multiple_of(3))?;
        *rows /= 3;
        let length = self.entry.bytes.len() / 3;
        let start = self.entry.bytes.start + part * length;
        third.entry.bytes = start..start + length;
        Some(third)
    }
}

/// What a tensor is called in a view.
pub(super) enum Renaming {
    /// This.
    Whole(String),
    /// This, and its matrix lies on its side.
    Turned(String),
    /// These, a third of it each.
    Thirds([String; 3]),
}

struct Shard {
    path: PathBuf,
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mmap),
    BuiltIn(&'static [u8]),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::BuiltIn(bytes) => bytes,
        }
    }

    /// Lets the system take back the memory of bytes that have been copied out; without this a model would count twice.
    fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            #[expect(unsafe_code, reason = "taking pages back is unsafe in itself")]
            // Safety: the map is of a file, private and never written to: whoever looks again finds the file's bytes again.
            let advised =
                unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
            if let Err(error) = advised {
                tracing::debug!("the memory of a tensor was not given back: {error}");
            }
        }
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Opens `file`; or the same in parts (`….index.json`), or a variant (`….fp16.…`), as diffusers names them.
    ///
    /// # Errors
    /// If none of them is there, or one is not what it should be.
    pub(super) fn open(files: &ModelFiles, file: &str) -> Result<Self> {
        match found(files, file) {
            None => Err(ModelError::MissingFile { path: files.path_of(file) }),
            Some(index) if index.ends_with(".json") => Self::open_parts(files, &index),
            Some(name) => {
                let shard = Shard::open(files, &name)?;
                let (tensors, texts) = match is_pickled(&name) {
                    true => shard.unpickled()?,
                    false => {
                        let entries = shard.entries()?.into_iter();
                        (entries.map(|(name, entry)| (name, Stored::new(0, entry))).collect(), HashMap::new())
                    }
                };
                let (path, shards) = (files.path_of(&name), Arc::new(vec![shard]));
                Ok(Self(Arc::new(Inner { path, shards, tensors, texts, is_hollow: false })))
            }
        }
    }

    fn open_parts(files: &ModelFiles, index: &str) -> Result<Self> {
        let path = files.path_of(index);
        let bad = |reason: String| ModelError::BadFile { path: path.clone(), reason };
        let Index { weight_map } = files.read_json(index)?;
        let (mut shards, mut tensors) = (Vec::new(), HashMap::new());
        let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, part) in &weight_map {
            parts.entry(part).or_default().push(name);
        }
        for (part, names) in parts {
            if part.contains(['/', '\\', ':']) || !part.ends_with(".safetensors") {
                return Err(bad(format!("it names {part:?}, which is no safetensors file of this folder")));
            }
            let shard = Shard::open(files, part)?;
            let mut entries = shard.entries()?;
            for name in names {
                let entry = entries.remove(name).ok_or_else(|| {
                    bad(format!(
                        "it says that {part} holds the tensor {name:?}, which is not there: download both again"
                    ))
                })?;
                tensors.insert(name.to_owned(), Stored::new(shards.len(), entry));
            }
            shards.push(shard);
        }
        Ok(Self(Arc::new(Inner { path, shards: Arc::new(shards), tensors, texts: HashMap::new(), is_hollow: false })))
    }

    /// Whether the file has a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.tensors.contains_key(name)
    }

    /// The sides of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.tensors.get(name).map(|stored| &*stored.entry.shape)
    }

    /// That every tensor is of numbers that are read.
    ///
    /// # Errors
    /// Which one is not.
    pub fn are_readable(&self) -> Result<()> {
        let others = self.0.tensors.iter().filter_map(|(name, stored)| match stored.entry.kind {
            Kind::Other(kind, _) => Some((name, kind)),
            _ => None,
        });
        others.min().map_or(Ok(()), |(name, kind)| Err(self.bad(None, other_kind(name, kind))))
    }

    /// How a tensor's numbers are stored, and how many bytes they take.
    pub fn stored_as(&self, name: &str) -> Option<(Kind, usize)> {
        self.0.tensors.get(name).map(|stored| (stored.entry.kind, stored.entry.bytes.len()))
    }

    /// The same file with its tensors under other names; those that `rename` has none for are left out. If two get one name, the first
    /// in the order of the file's names has it.
    pub(super) fn view(&self, rename: impl Fn(&str) -> Option<Renaming>) -> Self {
        let mut names: Vec<&String> = self.0.tensors.keys().collect();
        names.sort_unstable();
        let mut tensors = HashMap::new();
        for name in names {
            let (Some(renaming), Some(stored)) = (rename(name), self.0.tensors.get(name)) else { continue };
            match renaming {
                Renaming::Whole(new) => {
                    tensors.entry(new).or_insert_with(|| stored.clone());
                }
                Renaming::Turned(new) => {
                    tensors.entry(new).or_insert_with(|| Stored { is_turned: !stored.is_turned, ..stored.clone() });
                }
                Renaming::Thirds(all) => {
                    let thirds = all.into_iter().enumerate();
                    for (new, third) in thirds.filter_map(|(part, new)| Some((new, stored.third(part)?))) {
                        tensors.entry(new).or_insert(third);
                    }
                }
            }
        }
        self.with(tensors, self.0.is_hollow)
    }

    /// The same file, whose tensors are all zeros that take no memory: no number is read, and what is missing or of another shape fails
    /// as ever. Nets are built of them to see whether they can be.
    pub(in crate::models) fn hollow(&self) -> Self {
        self.with(self.0.tensors.clone(), true)
    }

    fn with(&self, tensors: HashMap<String, Stored>, is_hollow: bool) -> Self {
        let (path, shards, texts) = (self.0.path.clone(), self.0.shards.clone(), self.0.texts.clone());
        Self(Arc::new(Inner { path, shards, tensors, texts, is_hollow }))
    }

    /// The file's own names of its tensors, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.tensors.keys().map(String::as_str)
    }

    /// What the file says about itself in words.
    pub fn metadata(&self) -> HashMap<String, String> {
        let header = || self.0.shards.first().map(|shard| header::metadata(shard.bytes.get())).unwrap_or_default();
        if self.0.texts.is_empty() { header() } else { self.0.texts.clone() }
    }

    /// For nets that use the file's own names.
    pub fn tensors<'a>(&self, dtype: DType, device: &Device, cx: &'a TaskCx<'a>) -> Tensors<'a> {
        Tensors::new(self, Box::new(|_, name| Place::plain(name)), dtype, device, cx)
    }

    fn bad(&self, shard: Option<usize>, reason: String) -> ModelError {
        let path = shard.and_then(|shard| self.0.shards.get(shard)).map_or(&self.0.path, |shard| &shard.path);
        ModelError::BadFile { path: path.clone(), reason }
    }

    /// The tensor at `place`; of the shape `wanted`, if that is given. Axes of length 1 do not count. Large ones are read with a
    /// `pause` now and then.
    ///
    /// # Errors
    /// If it is not there, of another shape, or not finite; those of a pause.
    pub(in crate::models) fn tensor(
        &self,
        place: &Place,
        wanted: Option<&Shape>,
        dtype: DType,
        device: &Device,
        pause: &dyn Fn() -> Result<()>,
    ) -> Result<Tensor> {
        pause()?;
        let name = &place.name;
        let Stored { shard, entry, is_turned } = self.0.tensors.get(name).ok_or_else(|| {
            self.bad(None, format!("it has no tensor {name:?}; the configuration does not fit the weights"))
        })?;
        let bad = |reason: String| self.bad(Some(*shard), reason);
        let bytes = self.0.shards.get(*shard).and_then(|shard| shard.bytes.get().get(entry.bytes.clone()));
        let bytes = bytes.ok_or_else(|| bad(format!("the tensor {name:?} is not inside the file")))?;
        let (mut shape, mut bytes) = (entry.shape.clone(), bytes);
        if let Some((part, parts)) = place.part {
            let rows = shape.first_mut().filter(|rows| **rows > 0 && rows.is_multiple_of(parts));
            let rows = rows.ok_or_else(|| bad(format!("the tensor {name:?} does not divide into {parts} parts")))?;
            *rows /= parts;
            let length = bytes.len() / parts;
            bytes = bytes.get(part * length..(part + 1) * length).unwrap_or_default();
        }
        let is_transposed = place.is_transposed != *is_turned;
        if is_transposed {
            shape.reverse();
        }
        let target = wanted.map_or_else(|| shape.clone(), |wanted| wanted.dims().to_vec());
        let sides = |shape: &[usize]| shape.iter().copied().filter(|side| *side != 1).collect::<Vec<_>>();
        if sides(&shape) != sides(&target) {
            return Err(bad(format!(
                "the tensor {name:?} is {shape:?} where {target:?} is expected; the configuration does not fit the weights"
            )));
        }
        let stored = match entry.kind {
            Kind::F16 => DType::F16,
            Kind::BF16 => DType::BF16,
            Kind::F32 => DType::F32,
            Kind::F64 => DType::F64,
            Kind::Other(kind, _) => {
                return Err(bad(other_kind(name, kind)));
            }
        };
        if self.0.is_hollow {
            return Ok(Tensor::zeros((), dtype, device)?.broadcast_as(target)?);
        }
        // Most tensors: copied piece by piece, while each is at hand.
        let is_plain = !is_transposed && dtype == DType::F32 && device.is_cpu();
        let mut numbers: Vec<f32> = Vec::with_capacity(if is_plain { target.iter().product() } else { 0 });
        for piece in bytes.chunks(PAUSE) {
            pause()?;
            if !is_finite(piece, entry.kind) {
                return Err(bad(format!(
                    "the tensor {name:?} holds numbers that are not finite (NaN or infinity); download it again, or use another copy of the model"
                )));
            }
            if is_plain {
                extend(&mut numbers, piece, entry.kind);
            }
        }
        pause()?;
        let release = || {
            if let Some(shard) = self.0.shards.get(*shard) {
                shard.bytes.release(entry.bytes.clone());
            }
        };
        if is_plain {
            release();
            return Ok(Tensor::from_vec(numbers, target, device)?);
        }
        let tensor = match is_transposed {
            false => Tensor::from_raw_buffer(bytes, stored, &target, device)?,
            true => {
                let stored_shape: Vec<usize> = shape.iter().rev().copied().collect();
                Tensor::from_raw_buffer(bytes, stored, &stored_shape, device)?.t()?.contiguous()?
            }
        };
        pause()?;
        let converted = tensor.to_dtype(dtype)?;
        release();
        Ok(converted)
    }
}

fn other_kind(name: &str, kind: &str) -> String {
    format!(
        "the tensor {name:?} is stored as {kind}; Maquette reads F16, BF16, F32 and F64: use a model in one of them"
    )
}

impl Shard {
    fn open(files: &ModelFiles, file: &str) -> Result<Self> {
        let path = files.path_of(file);
        let bad = |error: std::io::Error| ModelError::BadFile { path: path.clone(), reason: error.to_string() };
        let bytes = match files {
            ModelFiles::Embedded(dir) => dir
                .get_file(dir.path().join(file))
                .map(|found| Bytes::BuiltIn(found.contents()))
                .ok_or_else(|| ModelError::MissingFile { path: path.clone() })?,
            ModelFiles::Composed(_) => return Err(ModelError::MissingFile { path }),
            ModelFiles::Folder(_) if !path.is_file() => return Err(no_file(&path)),
            ModelFiles::Folder(_) => {
                let opened = std::fs::File::open(&path).map_err(bad)?;
                // An empty file cannot be mapped everywhere.
                if opened.metadata().map_err(bad)?.len() == 0 {
                    Bytes::BuiltIn(&[])
                } else {
                    #[expect(unsafe_code, reason = "mapping a file is unsafe in itself")]
                    // Safety: the map is read-only and private to this process; like every program that maps model files we rely
                    // on nobody truncating them while they are being read. Tensors are copied out on load.
                    let map = unsafe { Mmap::map(&opened) };
                    Bytes::Mapped(map.map_err(bad)?)
                }
            }
        };
        match stand_in::recognise(bytes.get()) {
            Some(reason) => Err(ModelError::BadFile { path, reason: reason.to_owned() }),
            None => Ok(Self { path, bytes }),
        }
    }

    fn unpickled(&self) -> Result<(HashMap<String, Stored>, HashMap<String, String>)> {
        let bad = |reason: String| ModelError::BadFile {
            path: self.path.clone(),
            reason: format!("this pickled file cannot be read: {reason}. {}", conversion(&self.path)),
        };
        let pickle::Contents { tensors, texts } = pickle::read(self.bytes.get()).map_err(bad)?;
        let stored = |(entry, is_turned)| Stored { shard: 0, entry, is_turned };
        Ok((tensors.into_iter().map(|(name, tensor)| (name, stored(tensor))).collect(), texts))
    }

    fn entries(&self) -> Result<header::Entries> {
        header::read(self.bytes.get())
            .map_err(|error| ModelError::BadFile { path: self.path.clone(), reason: error.to_string() })
    }
}

/// Every file that [`Weights::open`] would read for `file`; of other files, themselves.
pub(super) fn all_found(files: &ModelFiles, file: &str) -> Vec<String> {
    let Some(name) = found(files, file) else { return vec![file.to_owned()] };
    let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let parts: Vec<String> = match name.ends_with(".json").then(|| files.read_json::<Index>(&name)) {
        Some(Ok(index)) => index.weight_map.into_values().collect::<BTreeSet<_>>().into_iter().collect(),
        _ => Vec::new(),
    };
    [name].into_iter().chain(parts.into_iter().map(|part| format!("{folder}{part}"))).collect()
}

/// Adds the numbers of `bytes`, as many as are whole, in 32 bits.
fn extend(numbers: &mut Vec<f32>, bytes: &[u8], kind: Kind) {
    match kind {
        Kind::F16 => numbers.extend(bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32())),
        Kind::BF16 => numbers.extend(bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32())),
        Kind::F32 => numbers.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        Kind::F64 => numbers.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
        Kind::Other(..) => {}
    }
}

/// Whether no number is NaN or infinite: in all of these formats, those are the ones whose exponent has every bit set.
fn is_finite(bytes: &[u8], kind: Kind) -> bool {
    fn all<const N: usize>(bytes: &[u8], exponent: u64) -> bool {
        bytes.par_chunks(PIECE).all(|piece| {
            !piece.as_chunks::<N>().0.iter().fold(false, |bad, number| {
                let mut wide = [0; 8];
                wide[..N].copy_from_slice(number);
                bad | (u64::from_le_bytes(wide) & exponent == exponent)
            })
        })
    }
    match kind {
        Kind::F16 => all::<2>(bytes, 0x7c00),
        Kind::BF16 => all::<2>(bytes, 0x7f80),
        Kind::F32 => all::<4>(bytes, 0x7f80_0000),
        Kind::F64 => all::<8>(bytes, 0x7ff0_0000_0000_0000),
        Kind::Other(..) => true,
    }
}

#[cfg(test)]
mod tests;
