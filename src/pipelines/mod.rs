//! L3: nets composed into tasks: from prompts to pictures. The only sampling loop of the project is in `sample`.
//!
//! Knows nothing of threads and windows; stops and reports through `TaskCx`.

mod beside;
mod chunks;
mod compose;
mod conditioning;
mod control;
mod denoiser;
mod diffusion;
mod guidance;
mod inpaint;
mod latent_preview;
mod loras;
mod sample;
mod script;
mod text_encoder;
mod tokens;
mod weighting;
mod words;

pub use conditioning::{Conditioner, Encoded, fragments};
pub use diffusion::Diffusion;
pub use text_encoder::Reading;
pub use words::Word;
