//! L3: how good the built-in models are: scenes of their world, made here with seeds that training never used, and the
//! figures measured on them.
//!
//! A module of its own because it needs both `analysis` (CLIP) and `pipelines` (diffusion), which do not know each other.
//! The world's data and drawings come from `assets/models/world`, written by `assets/models/train/export_world.py`; they are
//! read only when something is measured.

mod drawings;
pub mod effects;
mod figures;
mod filters;
mod ground;
mod looking;
mod making;
pub mod scene;
mod sprites;
mod verdict;
mod words;
pub mod world;

pub use figures::{Subjects, measure};
