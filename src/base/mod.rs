//! L0: plain values that every layer may use: sizes and places, pixels, cancelling, progress, colour maps.
//!
//! Knows nothing of prompts, models or windows. Depends on no other layer.

pub mod cancel;
pub mod colormap;
pub mod geom;
pub mod pixels;
pub mod statistics;
pub mod task;
