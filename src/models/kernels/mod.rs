//! The arithmetic that our nets share, in one place so that it can be made faster in one place.

mod activation;
mod attention;
mod conv;
mod direct;
mod exponentials;
mod fresh;
mod gradient;
mod layer_norm;
mod linear;
mod norm;
mod plain;
mod product;
mod sharing;
mod simd;
mod tiles;
mod turned;
mod turns;
mod winograd;
mod word;

pub use activation::{Activation, geglu};
pub use attention::{Attending, attention, attention_in};
pub use conv::{Conv1x1, Conv3x3, Geometry};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use norm::GroupNorm;
pub use plain::{doubled, joined, shifted, sum};
pub use product::bytes_in_memory;
pub use turned::turned;
pub use word::{can_multiply_pairs, multiply_in_bf16};

use candle_core::{CpuStorage, Layout, Storage, Tensor};

use crate::models::error::Result;

/// What `work` makes of the numbers of a tensor of 32 bits on the CPU, which are not copied if they lie one after the other.
fn with_numbers<R>(xs: &Tensor, work: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let xs = xs.contiguous()?;
    let (storage, layout) = xs.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => work(contiguous(storage, layout)?),
        _ => Err(crate::models::ModelError::BadInput("weights are not on the CPU".to_owned())),
    }
}

/// The numbers of a tensor that lie one after the other.
fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_slice::<f32>()?.get(start..end).unwrap_or_default()),
        None => candle_core::bail!("a kernel was given a tensor with gaps"),
    }
}
