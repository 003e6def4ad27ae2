//! Tensors in the files of `torch.save` (`.ckpt`, `.pt`, `.bin`): a zip archive of a pickle that describes them and of their numbers. The
//! pickle is read by a machine that runs nothing; of everything it describes only tensors and words are looked at.
//!
//! # Limitations
//! Files of PyTorch before 1.6, TorchScript, and tensors whose numbers lie scattered are not read.

mod machine;
mod zip;

use std::collections::HashMap;
use std::ops::Range;

use self::machine::{Described, Id, Value};
use super::header::{Entry, Kind};

/// Longer than the description of any model.
const LONGEST_PICKLE: usize = 16 << 20;
/// More tensors than any model has.
const MOST_TENSORS: usize = 100_000;
/// How many dictionaries inside each other are looked into.
const DEEPEST: usize = 4;
/// Entries of dictionaries that are looked at.
const MOST_ENTRIES: usize = 1_000_000;
/// Longer names and texts are not kept, in bytes, and not more texts than this.
const LONGEST_TEXT: usize = 1 << 10;
const MOST_TEXTS: usize = 1000;

/// A tensor of a file, and whether its matrix lies on its side.
pub type Tensor = (Entry, bool);

/// What a file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The tensors by name; in dictionaries of dictionaries names are joined by dots, without `state_dict`.
    pub tensors: HashMap<String, Tensor>,
    /// The texts of the outermost dictionary.
    pub texts: HashMap<String, String>,
}

/// What `file`, which is the whole file, holds.
///
/// # Errors
/// If it is not of this format: what is wrong with it.
pub fn read(file: &[u8]) -> Result<Contents, String> {
    if !file.starts_with(b"PK") {
        return Err(
            "it is pickled in a form that is not read: by a PyTorch before 1.6, or by another program".to_owned()
        );
    }
    let files = zip::files(file).ok_or("it is cut short or damaged, or its parts are packed")?;
    let (root, pickle) = files
        .iter()
        .filter_map(|(name, place)| Some((name.strip_suffix("data.pkl")?, place.clone())))
        .min_by_key(|(root, _)| root.len())
        .ok_or("it is a zip archive without a pickle of PyTorch")?;
    if files.contains_key(&format!("{root}constants.pkl")) {
        return Err("it is a program of TorchScript, which is not run".to_owned());
    }
    let order = files.get(&format!("{root}byteorder")).and_then(|place| file.get(place.clone()));
    if order.is_some_and(|order| order != b"little") {
        return Err("its numbers are in the byte order of another kind of computer".to_owned());
    }
    let pickle = file.get(pickle).filter(|pickle| pickle.len() <= LONGEST_PICKLE).ok_or("its pickle is too long")?;
    let described = machine::run(pickle).map_err(|reason| format!("its pickle is not one of PyTorch: {reason}"))?;
    let storage = |key: &str| files.get(&format!("{root}data/{key}")).cloned();
    let mut reader = Reader { described: &described, storage: &storage, contents: Contents::default(), entries: 0 };
    let top = unwrapped(&described);
    reader.collect(top, "", 0)?;
    for (key, value) in described.dict(described.top).unwrap_or_default().iter().take(MOST_TEXTS) {
        if let (Some(key), Some(text)) = (described.text(*key), described.text(*value))
            && key.len().max(text.len()) <= LONGEST_TEXT
        {
            reader.contents.texts.insert(key.to_owned(), text.to_owned());
        }
    }
    Ok(reader.contents)
}

/// The dictionary of weights: that under `state_dict`, if there is one.
fn unwrapped(described: &Described) -> Id {
    let inner = described.dict(described.top).unwrap_or_default().iter();
    inner
        .filter(|(key, _)| described.text(*key) == Some("state_dict"))
        .map(|(_, value)| *value)
        .next()
        .unwrap_or(described.top)
}

struct Reader<'a> {
    described: &'a Described,
    storage: &'a dyn Fn(&str) -> Option<Range<usize>>,
    contents: Contents,
    /// How many entries were looked at: dictionaries may be in each other many times.
    entries: usize,
}

impl Reader<'_> {
    fn collect(&mut self, dict: Id, prefix: &str, depth: usize) -> Result<(), String> {
        let described = self.described;
        for (key, value) in described.dict(dict).unwrap_or_default() {
            self.entries += 1;
            if self.contents.tensors.len() >= MOST_TENSORS || self.entries >= MOST_ENTRIES {
                return Err(format!("it holds more than {MOST_TENSORS} tensors or {MOST_ENTRIES} other things"));
            }
            let Some(key) = described.text(*key).filter(|key| prefix.len() + key.len() <= LONGEST_TEXT) else {
                continue;
            };
            match described.get(*value) {
                Value::Call(..) => {
                    if let Some(tensor) = self.tensor(*value, 0) {
                        let tensor = tensor.map_err(|reason| format!("the tensor {prefix}{key:?} {reason}"))?;
                        self.contents.tensors.insert(format!("{prefix}{key}"), tensor);
                    }
                }
                Value::Dict(_) | Value::Like(_) if depth < DEEPEST => {
                    self.collect(*value, &format!("{prefix}{key}."), depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The tensor that this call would make; `None` if it would make something else.
    fn tensor(&self, id: Id, depth: usize) -> Option<Result<Tensor, String>> {
        let described = self.described;
        let Value::Call(what, arguments) = described.get(id) else { return None };
        let Value::Global(module, name) = described.get(*what) else { return None };
        let arguments = described.tuple(*arguments)?;
        match (module.as_str(), name.as_str()) {
            ("torch._utils", "_rebuild_parameter") if depth < DEEPEST => self.tensor(*arguments.first()?, depth + 1),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => {
                let [storage, offset, shape, strides, ..] = *arguments else { return None };
                Some(self.rebuilt(storage, offset, shape, strides))
            }
            _ => None,
        }
    }

    fn rebuilt(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Tensor, String> {
        let described = self.described;
        let parts = match described.get(storage) {
            Value::Outside(id) => described.tuple(*id),
            _ => None,
        };
        let Some([_, kind, key, ..]) = parts else { return Err("has no numbers".to_owned()) };
        let kind = match described.get(*kind) {
            Value::Global(_, name) => kind_of(name).ok_or_else(|| format!("is stored as {name}, which is not read"))?,
            _ => return Err("is stored in an unknown way".to_owned()),
        };
        let place = described.text(*key).and_then(self.storage).ok_or("has numbers that are not in the file")?;
        let sizes = || Some((described.number(offset)?, described.numbers(shape)?, described.numbers(strides)?));
        let (offset, shape, strides) = sizes().ok_or("has no sizes that make sense")?;
        let is_turned = match () {
            () if is_row_by_row(&shape, &strides) => false,
            () if shape.len() == 2 && strides.iter().rev().eq([shape[0], 1].iter()) => true,
            () => return Err("lies scattered in the file".to_owned()),
        };
        let width = kind.bits() / 8;
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        let range = || {
            let start = offset.checked_mul(width)?.checked_add(place.start)?;
            let end = start.checked_add(count?.checked_mul(width)?)?;
            (end <= place.end).then_some(start..end)
        };
        let bytes = range().ok_or("is larger than its numbers in the file")?;
        // On its side it is kept as it lies.
        let shape = if is_turned { shape.into_iter().rev().collect() } else { shape };
        Ok((Entry { kind, shape, bytes }, is_turned))
    }
}

fn kind_of(storage: &str) -> Option<Kind> {
    Some(match storage {
        "FloatStorage" => Kind::F32,
        "HalfStorage" => Kind::F16,
        "BFloat16Storage" => Kind::BF16,
        "DoubleStorage" => Kind::F64,
        "LongStorage" => Kind::Other("I64", 64),
        "IntStorage" => Kind::Other("I32", 32),
        "ShortStorage" => Kind::Other("I16", 16),
        "CharStorage" => Kind::Other("I8", 8),
        "ByteStorage" => Kind::Other("U8", 8),
        "BoolStorage" => Kind::Other("BOOL", 8),
        _ => return None,
    })
}

/// Whether numbers follow each other without gap; axes of length 1 may have any stride, and so may tensors of no numbers.
fn is_row_by_row(shape: &[usize], strides: &[usize]) -> bool {
    if shape.len() != strides.len() {
        return false;
    }
    let mut next = 1usize;
    for (side, stride) in shape.iter().zip(strides).rev() {
        if *side != 1 && *stride != next && !shape.contains(&0) {
            return false;
        }
        next = next.saturating_mul(*side);
    }
    true
}
