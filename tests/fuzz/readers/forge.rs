//! Files of weights as fuzz targets make them: honest where nothing else is asked for, so that they are read to the end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use serde_json::{Map, Value, json};

/// Larger tensors only take time.
const MOST_NUMBERS: usize = 1 << 16;

/// A folder of the product's test files.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A place in memory for this process's files, if the system has one.
pub fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let temp = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = temp.join(format!("maquette-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
}

/// How numbers are stored.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub enum Kind {
    F32,
    F16,
    Bf16,
    F64,
    I64,
    Bool,
    F8,
    F4,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::Bool => "BOOL",
            Self::F8 => "F8_E4M3",
            Self::F4 => "F4",
        }
    }

    fn bits(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 64,
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Bool | Self::F8 => 8,
            Self::F4 => 4,
        }
    }
}

/// What all numbers of a tensor are.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub enum Fill {
    Ordinary,
    Zero,
    NotANumber,
    Infinite,
    Huge,
    Bits(u8),
}

/// One tensor of a file.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub name: String,
    pub kind: Kind,
    pub shape: Vec<usize>,
    pub fill: Fill,
}

impl Tensor {
    /// An ordinary one.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), kind: Kind::F32, shape: shape.into(), fill: Fill::Ordinary }
    }

    fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |all, side| all.checked_mul(*side)).filter(|count| *count <= MOST_NUMBERS)
    }

    /// Its numbers as a file holds them; `None` if there are too many, or they are no whole bytes.
    fn bytes(&self) -> Option<Vec<u8>> {
        let bits = self.count()? * self.kind.bits();
        let length = bits.is_multiple_of(8).then_some(bits / 8)?;
        let number: f32 = match self.fill {
            // Between a hundredth and two in all formats.
            Fill::Ordinary => return Some(vec![0x3c; length]),
            Fill::Bits(bits) => return Some(vec![bits; length]),
            Fill::Zero => 0.0,
            Fill::NotANumber => f32::NAN,
            Fill::Infinite => f32::INFINITY,
            Fill::Huge => 3e38,
        };
        let bytes = match self.kind {
            Kind::F32 => number.to_le_bytes().to_vec(),
            Kind::F16 => half::f16::from_f32(number).to_le_bytes().to_vec(),
            Kind::Bf16 => half::bf16::from_f32(number).to_le_bytes().to_vec(),
            Kind::F64 => f64::from(number).to_le_bytes().to_vec(),
            Kind::I64 | Kind::Bool | Kind::F8 | Kind::F4 => vec![1],
        };
        Some(bytes.into_iter().cycle().take(length).collect())
    }
}

/// A change of one tensor.
#[derive(Arbitrary, Debug, Clone)]
pub enum Change {
    Drop,
    Rename(String),
    Reshape(Vec<u8>),
    /// One side becomes this long.
    Side(u8, u16),
    Turn,
    Store(Kind),
    Fill(Fill),
    Double,
}

impl Change {
    /// Makes the change in the tensor of this number.
    pub fn apply(self, tensors: &mut Vec<Tensor>, index: usize) {
        let Some(index) = index.checked_rem(tensors.len()) else { return };
        let tensor = &mut tensors[index];
        match self {
            Self::Drop => {
                tensors.remove(index);
            }
            Self::Rename(name) => tensor.name = name,
            Self::Reshape(shape) => tensor.shape = shape.into_iter().take(18).map(usize::from).collect(),
            Self::Side(axis, length) => {
                if let Some(axis) = usize::from(axis).checked_rem(tensor.shape.len()) {
                    tensor.shape[axis] = length.into();
                }
            }
            Self::Turn => tensor.shape.reverse(),
            Self::Store(kind) => tensor.kind = kind,
            Self::Fill(fill) => tensor.fill = fill,
            Self::Double => {
                let again = tensor.clone();
                tensors.push(again);
            }
        }
    }
}

/// Bytes that are put over those of a file.
#[derive(Arbitrary, Debug)]
pub struct Damage {
    at: u32,
    bytes: Vec<u8>,
    cut: u16,
}

impl Damage {
    /// Does it.
    pub fn apply(&self, file: &mut Vec<u8>) {
        let start = (self.at as usize).checked_rem(file.len()).unwrap_or(0);
        file.iter_mut().skip(start).zip(&self.bytes).for_each(|(old, new)| *old = *new);
        file.truncate(file.len().saturating_sub(self.cut.into()));
    }
}

/// A safetensors file of these tensors, the first of each name.
pub fn safetensors(about: &Map<String, Value>, tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    if !about.is_empty() {
        header.insert("__metadata__".to_owned(), Value::Object(about.clone()));
    }
    for tensor in tensors {
        let Some(bytes) = tensor.bytes().filter(|_| !header.contains_key(&tensor.name)) else { continue };
        let offsets = [data.len(), data.len() + bytes.len()];
        let entry = json!({"dtype": tensor.kind.name(), "shape": tensor.shape, "data_offsets": offsets});
        header.insert(tensor.name.clone(), entry);
        data.extend(bytes);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// What `torch.save` makes of a dictionary of dictionaries: names with a slash are inside the one before it.
pub fn pickled(about: &Map<String, Value>, tensors: &[Tensor]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let word = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let int = |number: usize| [b"J", &(number as u32).to_le_bytes()[..]].concat();
    for (key, value) in about {
        pickle.extend(word(key));
        pickle.extend(value.as_str().map_or_else(|| b"N".to_vec(), word));
    }
    for tensor in tensors {
        let Some(bytes) = tensor.bytes() else { continue };
        let (outer, name) = tensor.name.split_once('/').map_or((None, &*tensor.name), |(a, b)| (Some(a), b));
        if let Some(outer) = outer {
            pickle.extend([&word(outer)[..], b"}("].concat());
        }
        let storage = match tensor.kind {
            Kind::F32 => "FloatStorage",
            Kind::F16 => "HalfStorage",
            Kind::Bf16 => "BFloat16Storage",
            Kind::F64 => "DoubleStorage",
            Kind::I64 => "LongStorage",
            Kind::Bool => "BoolStorage",
            Kind::F8 | Kind::F4 => "ByteStorage",
        };
        pickle.extend(word(name));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(word("storage"));
        pickle.extend(format!("ctorch\n{storage}\n").bytes());
        pickle.extend(
            [&word(&files.len().to_string())[..], &word("cpu"), &int(tensor.count().unwrap_or(0)), b"tQ"].concat(),
        );
        pickle.extend([&int(0)[..], b"("].concat());
        tensor.shape.iter().for_each(|side| pickle.extend(int(*side)));
        pickle.extend(b"t(");
        for axis in 1..=tensor.shape.len() {
            pickle.extend(int(tensor.shape[axis..].iter().product()));
        }
        pickle.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
        if outer.is_some() {
            pickle.push(b'u');
        }
        files.push((format!("x/data/{}", files.len()), bytes));
    }
    pickle.extend(b"u.");
    files.insert(0, ("x/data.pkl".to_owned(), pickle));
    zip(&files)
}

/// A zip archive of these files, not packed.
pub fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let offset = (out.len() as u32).to_le_bytes();
        let length = (bytes.len() as u32).to_le_bytes();
        let same = [&[0; 14][..], &length, &length, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        out.extend([b"PK\x03\x04", &same[..], name.as_bytes(), bytes].concat());
        list.extend([b"PK\x01\x02\0\0", &same[..], &[0; 10], &offset, name.as_bytes()].concat());
    }
    let (count, start) = ((files.len() as u16).to_le_bytes(), (out.len() as u32).to_le_bytes());
    let length = (list.len() as u32).to_le_bytes();
    out.extend(list);
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &length, &start, &[0; 2]].concat());
    out
}

/// A value where a file of settings has another.
#[derive(Arbitrary, Debug, Clone)]
pub enum Setting {
    Remove,
    Null,
    Bool(bool),
    Whole(i64),
    Power(u8),
    Float(f64),
    Text(String),
    List(Vec<i16>),
    Words(Vec<String>),
    Empty,
    Deep(u8),
}

impl Setting {
    fn value(self) -> Option<Value> {
        Some(match self {
            Self::Remove => return None,
            Self::Null => Value::Null,
            Self::Bool(is) => is.into(),
            Self::Whole(number) => number.into(),
            Self::Power(bits) => (1u64 << (bits % 64)).into(),
            Self::Float(number) => number.into(),
            Self::Text(text) => text.into(),
            Self::List(numbers) => numbers.into(),
            Self::Words(words) => words.into(),
            Self::Empty => json!({}),
            Self::Deep(levels) => (0..levels).fold(json!(1), |inner, _| json!([inner])),
        })
    }
}

/// `text`, of JSON, with the values at these places changed.
pub fn edited(text: &str, edits: Vec<(u16, Setting)>) -> String {
    fn places(value: &Value, at: &str, all: &mut Vec<String>) {
        let mut inside = |key: &str, value: &Value| {
            let mut path = at.to_owned();
            let _ = write!(path, "/{}", key.replace('~', "~0").replace('/', "~1"));
            all.push(path.clone());
            places(value, &path, all);
        };
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| inside(key, value)),
            Value::Array(values) => values.iter().enumerate().for_each(|(i, value)| inside(&i.to_string(), value)),
            _ => {}
        }
    }
    let Ok(mut whole) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    for (place, setting) in edits {
        let mut all = Vec::new();
        places(&whole, "", &mut all);
        let Some(path) = usize::from(place).checked_rem(all.len()).map(|i| all.swap_remove(i)) else { break };
        let Some((outer, key)) = path.rsplit_once('/') else { continue };
        match (whole.pointer_mut(outer), setting.value()) {
            (Some(Value::Object(fields)), None) => {
                fields.shift_remove(&key.replace("~1", "/").replace("~0", "~"));
            }
            (Some(_), Some(value)) => {
                if let Some(old) = whole.pointer_mut(&path) {
                    *old = value;
                }
            }
            _ => {}
        }
    }
    whole.to_string()
}
