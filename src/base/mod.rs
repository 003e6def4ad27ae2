//! L0: what every layer may use: sizes and places, pixels, cancelling, progress, colour maps, the allocator.
//!
//! Knows nothing of prompts, models or windows. Depends on no other layer.

pub mod cancel;
pub mod colormap;
pub mod geom;
pub mod guard;
pub mod heap;
pub mod pixels;
pub mod statistics;
pub mod task;
