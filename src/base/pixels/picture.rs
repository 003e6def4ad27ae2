//! An opaque picture of 8-bit sRGB pixels, shared and never changed.

use std::sync::{Arc, OnceLock};

use serde::{Serialize, Serializer, ser::SerializeStruct};
use sha2::{Digest, Sha256};

use super::Revision;
use crate::base::geom::Extent;

/// A picture: rows from the top, three bytes (red, green, blue) a pixel. Clones share the bytes.
#[derive(Clone)]
pub struct Picture(Arc<Inner>);

struct Inner {
    extent: Extent,
    rgb: Vec<u8>,
    revision: Revision,
    sha256: OnceLock<String>,
}

/// The bytes are not three per pixel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a picture of {extent} needs {} bytes, got {got}", .extent.area() * 3)]
pub struct WrongLength {
    extent: Extent,
    got: usize,
}

impl Picture {
    /// A picture of `extent` from its bytes, `height * width * 3` of them.
    ///
    /// # Errors
    /// [`WrongLength`] if there are more or fewer bytes.
    pub fn from_rgb(extent: Extent, rgb: Vec<u8>) -> Result<Self, WrongLength> {
        if rgb.len() != extent.area() * 3 {
            return Err(WrongLength { extent, got: rgb.len() });
        }
        Ok(Self(Arc::new(Inner { extent, rgb, revision: Revision::fresh(), sha256: OnceLock::new() })))
    }

    /// A picture whose pixel at column x and row y is `colour(x, y)`.
    pub fn from_fn(extent: Extent, mut colour: impl FnMut(u32, u32) -> [u8; 3]) -> Self {
        let mut rgb = Vec::with_capacity(extent.area() * 3);
        for y in 0..extent.height {
            for x in 0..extent.width {
                rgb.extend(colour(x, y));
            }
        }
        Self(Arc::new(Inner { extent, rgb, revision: Revision::fresh(), sha256: OnceLock::new() }))
    }

    /// The size in pixels.
    pub fn extent(&self) -> Extent {
        self.0.extent
    }

    /// All bytes, `height * width * 3`.
    pub fn rgb(&self) -> &[u8] {
        &self.0.rgb
    }

    /// The colour at column `x` and row `y`; `None` outside.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.0.extent.width || y >= self.0.extent.height {
            return None;
        }
        let at = (y as usize * self.0.extent.width as usize + x as usize) * 3;
        self.0.rgb.get(at..at + 3)?.try_into().ok()
    }

    /// Equal for clones; different for pictures made apart, even of equal pixels.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// The SHA-256 of size and bytes, in hexadecimal; computed once.
    pub fn sha256(&self) -> &str {
        self.0.sha256.get_or_init(|| {
            let mut hash = Sha256::new();
            hash.update(self.0.extent.width.to_le_bytes());
            hash.update(self.0.extent.height.to_le_bytes());
            hash.update(&self.0.rgb);
            format!("{:x}", hash.finalize())
        })
    }
}

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.extent == other.0.extent && self.0.rgb == other.0.rgb)
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}, {:?})", self.0.extent, self.0.revision)
    }
}

/// Pixels stay out of records: a picture is written as its size and hash.
impl Serialize for Picture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("Picture", 3)?;
        record.serialize_field("width", &self.0.extent.width)?;
        record.serialize_field("height", &self.0.extent.height)?;
        record.serialize_field("sha256", self.sha256())?;
        record.end()
    }
}
