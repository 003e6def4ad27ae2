//! L2: everything on disk that is not a model: pictures with their metadata, the runs that made them, preferences,
//! preset files.
//!
//! Invariants: a file is written to a temporary name and then renamed, so nothing is ever half-written; readers of user
//! files return a valid value and warnings. Knows nothing of engines and windows.

pub mod atomic;
pub mod cache;
pub mod exchange;
pub mod latents;
pub mod pictures;
pub mod preferences;
pub mod presets;
pub mod prompt_files;
pub mod runs;
pub mod samples;
pub mod sheet;
mod user_comment;
pub mod wildcards;
