//! Maquette: a desktop prompt-engineering workbench for vision-language models.
//!
//! The UI reads `&Workbench` and sends `Command`s. `Workbench` is the only writer: it applies commands to the document
//! (undoable) or submits jobs to the engine. The engine answers with `Event`s, which `Workbench` folds into its state
//! before the next frame.
//!
//! Layers, lowest first; imports go downwards only (`tests/tidy.rs` checks it):
//!
//! | layer | modules | what |
//! |---|---|---|
//! | L0 | `base` | places, pixels, cancelling, colour maps |
//! | L1 | `job`, `document`, `prompt` | what can be asked; what is being made; the prompt's words |
//! | L2 | `registry`, `store`, `models` | which models exist; files; nets |
//! | L3 | `pipelines`, `analysis` | nets composed into tasks; looking at what nets did |
//! | L3 | `quality` | how good the built-in models are, measured with both |
//! | L4 | `engine` | one worker thread with a queue |
//! | L5 | `workbench` | the brain, without a window |
//! | L6 | `ui`, `cli` | the window; the command line |
//!
//! Invariants: nothing outside `ui` knows egui; nothing below `engine` knows threads; a `JobSpec` alone determines a
//! result; every submitted job gets exactly one terminal event; user text and user files never cause a panic.

pub mod analysis;
pub mod base;
pub mod cli;
pub mod document;
pub mod engine;
pub mod job;
pub mod models;
pub mod pipelines;
pub mod prompt;
pub mod quality;
pub mod registry;
pub mod store;
pub mod ui;
pub mod workbench;
