//! L3: nets composed into tasks: from prompts to pictures. The only sampling loop of the project is in `sample`.
//!
//! Knows nothing of threads and windows; stops and reports through `TaskCx`.

mod beside;
mod compose;
mod conditioning;
mod control;
mod denoiser;
mod diffusion;
mod inpaint;
mod latent_preview;
mod loras;
mod sample;

pub use diffusion::Diffusion;
