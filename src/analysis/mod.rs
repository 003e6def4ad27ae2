//! L3: looking at what nets see: heatmaps, zero-shot classification, annotation marks.
//!
//! [`Clip`] is a loaded CLIP with its memory; the other modules are pure arithmetic. Knows nothing of threads and windows.

pub mod annotate;
mod clip;
pub mod heatmap;
pub mod zero_shot;

pub use clip::Clip;
