//! Numbers that a diffusion net works on: noise that is given, latents that are asked for.

use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The latents of one picture, row by row and channel by channel; cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Latents {
    shape: [usize; 3],
    values: Arc<[f32]>,
}

impl Latents {
    /// `None` unless there are as many `values` as `shape` (channels, height, width) says, and at least one.
    pub fn new(shape: [usize; 3], values: Vec<f32>) -> Option<Self> {
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side))?;
        (count > 0 && values.len() == count).then(|| Self { shape, values: values.into() })
    }

    /// Channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The numbers.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl Serialize for Latents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut record = serializer.serialize_struct("Latents", 2)?;
        record.serialize_field("shape", &self.shape)?;
        record.serialize_field("sha256", &format!("{:x}", Sha256::digest(bytes)))?;
        record.end()
    }
}
