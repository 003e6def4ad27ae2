//! Nets that take part in a picture beside the model's own.

use serde::Serialize;

use super::model::ModelRef;
use crate::base::pixels::Picture;

/// Nets beside the model's own; none by default.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct OtherNets {
    /// An autoencoder in place of the model's own: a folder in diffusers layout, or a file of a tiny autoencoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<ModelRef>,
    /// ControlNets. What several of them say is added up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<ControlSpec>,
}

/// A ControlNet and what it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlSpec {
    /// Its folder in diffusers layout.
    pub model: ModelRef,
    /// What it steers by, prepared as its training wants it: edges, depth, a pose. Resized to the size of the sampling; if it has
    /// the canvas's size and only a part of the canvas is repainted, that part of it is taken.
    pub picture: Picture,
    /// How strongly; 1 as in its training, 0 not at all.
    pub scale: f32,
    /// The share of the steps after which it begins, 0..1.
    pub start: f32,
    /// The share of the steps after which it ends, above `start` up to 1.
    pub end: f32,
}
