//! The header of a safetensors file, read with suspicion: every length, offset and shape is checked against the bytes that are there
//! before anything relies on it. What is kept is bounded by the header's own length, never by what the header claims.
//!
//! Knows nothing of files, tensors or the rest of the project: `tests/fuzz` compiles this file by itself.
//! The format: eight bytes with the header's length N (little endian), N bytes of JSON, then the tensors without gaps.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The longest header that safetensors allows.
const MAX_HEADER: u64 = 100_000_000;
/// More tensors than any model has.
const MAX_TENSORS: usize = 100_000;
/// More axes than any tensor has.
const MAX_AXES: usize = 16;
/// Bytes before the header.
const PREFIX: usize = 8;

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 16 bits: IEEE half.
    F16,
    /// 16 bits: the upper half of an [`Self::F32`].
    BF16,
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
    /// Anything else that safetensors knows: bits for each number.
    Other(&'static str, u8),
}

impl Kind {
    fn parse(name: &str) -> Option<Self> {
        const OTHERS: [(&str, u8); 16] = [
            ("BOOL", 8),
            ("U8", 8),
            ("I8", 8),
            ("I16", 16),
            ("U16", 16),
            ("I32", 32),
            ("U32", 32),
            ("I64", 64),
            ("U64", 64),
            ("C64", 64),
            ("F8_E4M3", 8),
            ("F8_E5M2", 8),
            ("F8_E8M0", 8),
            ("F6_E2M3", 6),
            ("F6_E3M2", 6),
            ("F4", 4),
        ];
        match name {
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::BF16),
            "F32" => Some(Self::F32),
            "F64" => Some(Self::F64),
            _ => OTHERS.iter().find(|(known, _)| *known == name).map(|(name, bits)| Self::Other(name, *bits)),
        }
    }

    /// Bits for each number.
    pub fn bits(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 16,
            Self::F32 => 32,
            Self::F64 => 64,
            Self::Other(_, bits) => usize::from(bits),
        }
    }

    /// Its name in safetensors.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::Other(name, _) => name,
        }
    }
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How its numbers are stored.
    pub kind: Kind,
    /// Its sides.
    pub shape: Vec<usize>,
    /// Where it is, counted from the start of the file; inside the file, and as long as kind and shape say.
    pub bytes: Range<usize>,
}

/// The tensors of a file by name.
pub type Entries = HashMap<String, Entry>;

/// Why a file is not usable: what is wrong with it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Some of the file is missing, or something was put into it.
    #[error("{0}; the file is cut short or damaged: download it again")]
    Damaged(String),
    /// This never was a safetensors file.
    #[error("{0}; this is not a safetensors file: a model in another format must be converted")]
    OtherFormat(String),
    /// The file says things that no model's file says.
    #[error("{0}; no honest program writes such a file: do not use it")]
    Hostile(String),
}

/// Reads the header of `file`, which is the whole file.
///
/// # Errors
/// If it is not exactly what the format asks for: [`HeaderError`] says what is wrong and what to do.
pub fn read(file: &[u8]) -> Result<Entries, HeaderError> {
    let (json, first) = split(file)?;
    let data = file.len() - first;
    let raw: RawHeader = serde_json::from_slice(json).map_err(|error| explain(&error))?;
    let mut entries = Entries::with_capacity(raw.tensors.len());
    for (name, raw) in raw.tensors {
        let entry = check(&name, raw, first, data)?;
        if entries.insert(name.clone(), entry).is_some() {
            return Err(HeaderError::Hostile(format!("the tensor {} is listed twice", quoted(&name))));
        }
    }
    check_order(&entries, first, file.len())?;
    Ok(entries)
}

/// What `file` says about itself in words: training settings, the base model. Empty if it says nothing that can be understood.
pub fn metadata(file: &[u8]) -> HashMap<String, String> {
    #[derive(Default, serde::Deserialize)]
    struct About {
        #[serde(rename = "__metadata__", default)]
        metadata: HashMap<String, String>,
    }
    let about = split(file).ok().and_then(|(json, _)| serde_json::from_slice::<About>(json).ok());
    about.unwrap_or_default().metadata
}

/// The JSON of the header, and where the tensors begin.
fn split(file: &[u8]) -> Result<(&[u8], usize), HeaderError> {
    let Some((prefix, rest)) = file.split_first_chunk::<PREFIX>() else {
        return Err(HeaderError::Damaged(format!("it has only {} bytes", file.len())));
    };
    let length = u64::from_le_bytes(*prefix);
    // Words, zip archives and pickles begin with bytes that make an absurd length.
    if length > MAX_HEADER {
        return Err(HeaderError::OtherFormat(format!("its header would be {length} bytes long")));
    }
    let json = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let json = json.ok_or_else(|| {
        HeaderError::Damaged(format!("its header is said to be {length} bytes long, and {} bytes follow", rest.len()))
    })?;
    if json.first() != Some(&b'{') {
        return Err(HeaderError::OtherFormat("its header does not begin with {".to_owned()));
    }
    Ok((json, PREFIX + json.len()))
}

fn explain(error: &serde_json::Error) -> HeaderError {
    let text = error.to_string();
    match error.is_data() {
        true => HeaderError::Hostile(format!("its header is not one of tensors ({text})")),
        false => HeaderError::Damaged(format!("its header is not valid ({text})")),
    }
}

/// A name from the file, short enough for a message.
fn quoted(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    format!("{short:?}")
}

fn check(name: &str, raw: RawEntry, first: usize, data: usize) -> Result<Entry, HeaderError> {
    let name = || quoted(name);
    let kind = Kind::parse(&raw.dtype).ok_or_else(|| {
        HeaderError::Hostile(format!("the tensor {} is of an unknown type {}", name(), quoted(&raw.dtype)))
    })?;
    let [start, end] = raw.data_offsets;
    let inside = |at: u64| usize::try_from(at).ok().filter(|at| *at <= data);
    let (Some(start), Some(end)) = (inside(start), inside(end)) else {
        return Err(HeaderError::Damaged(format!("the tensor {} ends at {end} of {data} bytes", name())));
    };
    let bits = raw.shape.0.iter().try_fold(kind.bits(), |bits, side| bits.checked_mul(*side));
    let length = bits.filter(|bits| bits.is_multiple_of(8)).map(|bits| bits / 8);
    if start > end || length != Some(end - start) {
        return Err(HeaderError::Hostile(format!(
            "the tensor {} of type {} and shape {:?} is said to lie at {start}..{end}",
            name(),
            kind.name(),
            raw.shape.0
        )));
    }
    Ok(Entry { kind, shape: raw.shape.0, bytes: first + start..first + end })
}

/// Tensors follow each other without gap or overlap from the first byte behind the header to the last of the file.
fn check_order(entries: &Entries, first: usize, last: usize) -> Result<(), HeaderError> {
    let mut order: Vec<(&Range<usize>, &String)> = entries.iter().map(|(name, entry)| (&entry.bytes, name)).collect();
    order.sort_unstable_by_key(|(bytes, _)| (bytes.start, bytes.end));
    let mut at = first;
    for (bytes, name) in order {
        if bytes.start != at {
            let what = if bytes.start < at { "overlaps another one" } else { "has a gap before it" };
            return Err(HeaderError::Hostile(format!("the tensor {} {what}", quoted(name))));
        }
        at = bytes.end;
    }
    if at == last {
        return Ok(());
    }
    Err(HeaderError::Damaged(format!("its tensors end at byte {at}, and the file has {last} bytes")))
}

/// The header as it is written, with nothing checked but how much of it there is.
struct RawHeader {
    tensors: Vec<(String, RawEntry)>,
}

#[derive(serde::Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Shape,
    data_offsets: [u64; 2],
}

struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if tensors.len() >= MAX_TENSORS {
                        return Err(A::Error::custom(format!("it lists more than {MAX_TENSORS} tensors")));
                    }
                    tensors.push((name, map.next_value()?));
                }
                Ok(RawHeader { tensors })
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sides;
        impl<'de> Visitor<'de> for Sides {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the sides of a tensor")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut sides = Vec::new();
                while let Some(side) = seq.next_element()? {
                    if sides.len() >= MAX_AXES {
                        return Err(A::Error::custom(format!("a tensor has more than {MAX_AXES} axes")));
                    }
                    sides.push(side);
                }
                Ok(Shape(sides))
            }
        }
        deserializer.deserialize_seq(Sides)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A file of this header and so many zeros behind it.
    fn file(json: &str, data: usize) -> Vec<u8> {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn tensor(name: &str, shape: &str, from: u64, to: u64) -> String {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    }

    #[track_caller]
    fn refused(bytes: &[u8], part: &str) {
        let message = read(bytes).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn an_honest_file_is_read() {
        let json =
            format!(r#"{{"__metadata__":{{"a":"b"}},{},{}}}   "#, tensor("y", "[2,1]", 4, 12), tensor("x", "[]", 0, 4));
        let entries = read(&file(&json, 12)).unwrap();
        assert_eq!(metadata(&file(&json, 12))["a"], "b");
        let first = 8 + json.len();
        assert_eq!(entries["x"], Entry { kind: Kind::F32, shape: vec![], bytes: first..first + 4 });
        assert_eq!(entries["y"].bytes, first + 4..first + 12);
        assert_eq!(read(&file("{}", 0)).unwrap().len(), 0);
        let sides = r#"{"f":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]},"z":{"dtype":"I64","shape":[0,9],"data_offsets":[3,3]}}"#;
        assert_eq!(read(&file(sides, 3)).unwrap()["z"].shape, [0, 9]);
    }

    #[test]
    fn a_short_or_foreign_file_is_refused() {
        for length in 0..8 {
            refused(&vec![0; length], "download it again");
        }
        refused(b"words, only words", "not a safetensors file");
        refused(b"PK\x03\x04\x00\x00\x08\x08 a zipped pickle", "not a safetensors file");
        refused(&file("[1, 2]", 0), "not a safetensors file");
        refused(&file("", 9), "not a safetensors file");
        let whole = file(&format!("{{{}}}", tensor("x", "[2]", 0, 8)), 8);
        for length in 8..whole.len() {
            refused(&whole[..length], "download it again");
        }
        refused(&[whole, vec![0]].concat(), "download it again");
    }

    #[test]
    fn a_header_longer_than_the_file_allocates_nothing() {
        for length in [11, 1_000_000, MAX_HEADER, MAX_HEADER + 1, u64::from(u32::MAX), u64::MAX] {
            let bytes = [&length.to_le_bytes()[..], b"{}"].concat();
            refused(&bytes, if length > MAX_HEADER { "would be" } else { "is said to be" });
        }
    }

    #[test]
    fn overlapping_or_missing_places_are_refused() {
        let two = |a: (u64, u64), b: (u64, u64)| {
            format!("{{{},{}}}", tensor("a", "[2]", a.0, a.1), tensor("b", "[2]", b.0, b.1))
        };
        assert!(read(&file(&two((0, 8), (8, 16)), 16)).is_ok());
        refused(&file(&two((0, 8), (4, 12)), 12), "overlaps");
        refused(&file(&two((0, 8), (0, 8)), 8), "overlaps");
        refused(&file(&two((0, 8), (12, 20)), 20), "gap");
        refused(&file(&two((0, 8), (16, 8)), 16), "said to lie");
        refused(&file(&two((0, 8), (8, 1 << 60)), 16), "ends at");
        refused(&file(&two((0, 8), (u64::MAX, 3)), 16), "ends at");
        refused(&file(&format!("{{{},{}}}", tensor("a", "[2]", 0, 8), tensor("a", "[2]", 8, 16)), 16), "twice");
    }

    #[test]
    fn impossible_shapes_and_types_are_refused() {
        let one = |shape: &str| file(&format!("{{{}}}", tensor("a", shape, 0, 8)), 8);
        refused(&one("[3]"), "said to lie");
        refused(&one("[4294967296,4294967296,4294967296]"), "said to lie");
        refused(&one("[-1]"), "not one of tensors");
        refused(&one("[2.0]"), "not one of tensors");
        refused(&one("\"2\""), "not one of tensors");
        refused(&one(&format!("[{}2]", "1,".repeat(20))), "axes");
        refused(&file(r#"{"a":{"dtype":"F7","shape":[8],"data_offsets":[0,8]}}"#, 8), "unknown type");
        refused(&file(r#"{"a":{"dtype":"F6_E2M3","shape":[3],"data_offsets":[0,2]}}"#, 2), "said to lie");
        refused(&file(r#"{"a":{"dtype":"F32","shape":[2]}}"#, 8), "data_offsets");
        refused(&file(r#"{"a":7}"#, 0), "not one of tensors");
        refused(&file("{\"a\":", 8), "not valid");
        refused(&file("{\"\u{0}\":1}", 8), "not valid");
        let mut bytes = file(r#"{"aa":1}"#, 0);
        bytes[10] = 0xff;
        refused(&bytes, "header");
        refused(&file(&format!("{{\"__metadata__\":{}", "[".repeat(100_000)), 0), "not valid");
    }

    #[test]
    fn a_million_tensors_are_refused() {
        let many: Vec<String> = (0..1_000_000).map(|i| tensor(&i.to_string(), "[0]", 0, 0)).collect();
        refused(&file(&format!("{{{}}}", many.join(",")), 0), "more than 100000 tensors");
    }
}
