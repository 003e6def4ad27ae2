//! What a CLIP or SigLIP is made of, whatever its files call it: `config.json` as transformers writes it, or
//! `open_clip_config.json` ([`super::open_clip`]).
//!
//! A setting that our net does not have is refused by name; a missing one has the value that the reference gives it.

use serde::Deserialize;
use serde_json::Value;

use crate::models::error::{ModelError, Result};
use crate::models::files::{ModelFiles, Weights, json};
use crate::models::kernels::Activation;

/// The configuration that transformers writes.
pub(super) const CONFIG: &str = "config.json";
/// The value of `eos_token_id` in old files, where it is a mistake.
const LEGACY_END: u32 = 2;

/// Which of a text's states stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// That of the first token with this id.
    End(u32),
    /// That of the largest id, which in plain CLIP is the end token's.
    Largest,
    /// That of the last position, padding or not.
    Last,
    /// That of the first position.
    First,
}

/// The text tower.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Token ids.
    pub vocab_size: usize,
    /// Width of the states.
    pub width: usize,
    /// Width inside the MLPs.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of each layer.
    pub heads: usize,
    /// Longest sequence.
    pub length: usize,
    /// Activation of the MLPs.
    pub activation: Activation,
    /// Epsilon of the layer norms.
    pub epsilon: f64,
    /// Whether a position sees only itself and earlier ones.
    pub is_causal: bool,
    /// Which state stands for the text.
    pub pooling: Pooling,
    /// Width of the common space, if states are projected into it, and whether with a bias.
    pub projection: Option<(usize, bool)>,
}

impl TextConfig {
    /// Whether texts must be filled up to the full length: where every state depends on every position, padding counts. Where positions
    /// see only earlier ones, what is behind the end token changes nothing and needs no computing.
    pub fn needs_padding(&self) -> bool {
        !self.is_causal || self.pooling == Pooling::Last
    }
}

/// How the states of patches become one embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A class token among them, then a projection to a common space of this width (CLIP).
    ClassToken(usize),
    /// Attention of a learned query to all of them, then an MLP (SigLIP).
    AttentionPool,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Width of the states.
    pub width: usize,
    /// Width inside the MLPs.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of each layer.
    pub heads: usize,
    /// Side of the pictures that it was trained on, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Activation of the MLPs.
    pub activation: Activation,
    /// Epsilon of the layer norms.
    pub epsilon: f64,
    /// Whether there is a norm before the first layer.
    pub has_pre_norm: bool,
    /// What comes behind the last layer.
    pub head: Head,
}

/// A whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    /// The text tower.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Whether patch tokens were trained to carry meaning by themselves (our own addition).
    pub is_dense: bool,
}

impl ClipConfig {
    /// Reads a model's folder. `weights` are its own: some configurations leave it to them to say how large the model is.
    ///
    /// # Errors
    /// If no configuration is there, or it asks for something that our net does not have.
    pub fn load(files: &ModelFiles, weights: &Weights) -> Result<Self> {
        let is_huggingface = |value: &Value| {
            ["model_type", "text_config", "vision_config", "projection_dim"].iter().any(|key| value.get(key).is_some())
        };
        if files.has(CONFIG) {
            let value: Value = files.read_json(CONFIG)?;
            if is_huggingface(&value) || !files.has(super::open_clip::CONFIG) {
                return from_huggingface(&value).map_err(|reason| bad(files, CONFIG, reason));
            }
        }
        let file = super::open_clip::CONFIG;
        if !files.has(file) {
            return Err(ModelError::MissingFile { path: files.path_of(CONFIG) });
        }
        super::open_clip::parse(&files.read_json(file)?, weights).map_err(|reason| bad(files, file, reason))
    }
}

impl TextConfig {
    /// Reads the folder of a text tower alone (`CLIPTextModel`, `CLIPTextModelWithProjection`). `has_projection` says whether its
    /// weights hold the projection, which its configuration always describes.
    ///
    /// # Errors
    /// As [`ClipConfig::load`].
    pub fn load(files: &ModelFiles, has_projection: bool) -> Result<Self> {
        let value: Value = files.read_json(CONFIG)?;
        let tower: TextTower = json::from_value(&value).map_err(|reason| bad(files, CONFIG, reason))?;
        let projection = has_projection.then(|| (tower.projection_dim.unwrap_or(512), false));
        Ok(clip_text(tower, projection))
    }
}

/// `reason` is a problem of the configuration.
pub(super) fn bad(files: &ModelFiles, file: &str, reason: String) -> ModelError {
    ModelError::BadFile { path: files.path_of(file), reason }
}

/// A whole number or a list of equal ones.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or a list of two")]
pub(super) enum Side {
    One(usize),
    Two([usize; 2]),
}

impl Side {
    pub(super) fn square(self) -> std::result::Result<usize, String> {
        match self {
            Self::One(side) => Ok(side),
            Self::Two([height, width]) if height == width => Ok(height),
            Self::Two(_) => {
                Err("Maquette cannot run a vision tower for pictures or patches that are not square".to_owned())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a token's number or a list of such")]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Default, Deserialize)]
struct TextTower {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    max_position_embeddings: Option<usize>,
    hidden_act: Option<Activation>,
    layer_norm_eps: Option<f64>,
    eos_token_id: Option<Ids>,
    projection_dim: Option<usize>,
    projection_size: Option<usize>,
}

#[derive(Default, Deserialize)]
struct VisionTower {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_channels: Option<usize>,
    image_size: Option<Side>,
    patch_size: Option<Side>,
    hidden_act: Option<Activation>,
    layer_norm_eps: Option<f64>,
    vision_use_head: Option<bool>,
}

#[derive(Deserialize)]
struct Whole {
    model_type: Option<String>,
    projection_dim: Option<usize>,
    maquette: Option<Own>,
}

/// What our own models say beyond the standard.
#[derive(Deserialize)]
struct Own {
    #[serde(default)]
    dense: bool,
}

/// A tower's part of `whole`. In old files `text_config_dict` overrides `text_config`, and so for vision.
fn tower<T: serde::de::DeserializeOwned + Default>(whole: &Value, key: &str) -> std::result::Result<T, String> {
    let mut merged = serde_json::Map::new();
    for key in [key.to_owned(), format!("{key}_dict")] {
        if let Some(Value::Object(found)) = whole.get(&key) {
            merged.extend(found.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())));
        }
    }
    json::from_value(&Value::Object(merged)).map_err(|reason| format!("{key}: {reason}"))
}

fn from_huggingface(value: &Value) -> std::result::Result<ClipConfig, String> {
    let whole: Whole = json::from_value(value)?;
    let (text, vision) = (tower::<TextTower>(value, "text_config")?, tower::<VisionTower>(value, "vision_config")?);
    if vision.num_channels.is_some_and(|channels| channels != 3) {
        return Err("Maquette cannot run a vision tower for pictures of other than 3 channels".to_owned());
    }
    let is_dense = whole.maquette.is_some_and(|own| own.dense);
    match whole.model_type.as_deref() {
        None | Some("clip") => {
            let width = whole.projection_dim.unwrap_or(512);
            let vision = vision_tower(vision, VisionDefaults::CLIP, Head::ClassToken(width))?;
            Ok(ClipConfig { text: clip_text(text, Some((width, false))), vision, is_dense })
        }
        Some("siglip") => {
            if vision.vision_use_head == Some(false) {
                return Err(
                    "Maquette cannot run a SigLIP without its pooling head (\"vision_use_head\": false)".to_owned()
                );
            }
            let vision = vision_tower(vision, VisionDefaults::SIGLIP, Head::AttentionPool)?;
            Ok(ClipConfig { text: siglip_text(&text), vision, is_dense })
        }
        Some("siglip2") => {
            Err("Maquette cannot run SigLIP 2 of variable resolution (NaFlex); take one of fixed resolution, \
                                such as siglip2-base-patch16-224"
                .to_owned())
        }
        Some(other) => Err(format!("Maquette runs CLIP and SigLIP models; this is a model of type {other:?}")),
    }
}

fn clip_text(text: TextTower, projection: Option<(usize, bool)>) -> TextConfig {
    let end = match text.eos_token_id {
        Some(Ids::One(id)) => id,
        Some(Ids::Many(ids)) => ids.first().copied().unwrap_or(LEGACY_END),
        None => 49407,
    };
    TextConfig {
        vocab_size: text.vocab_size.unwrap_or(49408),
        width: text.hidden_size.unwrap_or(512),
        inner: text.intermediate_size.unwrap_or(2048),
        layers: text.num_hidden_layers.unwrap_or(12),
        heads: text.num_attention_heads.unwrap_or(8),
        length: text.max_position_embeddings.unwrap_or(77),
        activation: text.hidden_act.unwrap_or(Activation::QuickGelu),
        epsilon: text.layer_norm_eps.unwrap_or(1e-5),
        is_causal: true,
        pooling: if end == LEGACY_END { Pooling::Largest } else { Pooling::End(end) },
        projection,
    }
}

fn siglip_text(text: &TextTower) -> TextConfig {
    let width = text.hidden_size.unwrap_or(768);
    TextConfig {
        vocab_size: text.vocab_size.unwrap_or(32000),
        width,
        inner: text.intermediate_size.unwrap_or(3072),
        layers: text.num_hidden_layers.unwrap_or(12),
        heads: text.num_attention_heads.unwrap_or(12),
        length: text.max_position_embeddings.unwrap_or(64),
        activation: text.hidden_act.unwrap_or(Activation::GeluTanh),
        epsilon: text.layer_norm_eps.unwrap_or(1e-6),
        is_causal: false,
        pooling: Pooling::Last,
        projection: Some((text.projection_size.unwrap_or(width), true)),
    }
}

/// In what the vision towers of the two families differ if their files do not say.
struct VisionDefaults {
    patch_size: usize,
    activation: Activation,
    epsilon: f64,
    has_pre_norm: bool,
}

impl VisionDefaults {
    const CLIP: Self = Self { patch_size: 32, activation: Activation::QuickGelu, epsilon: 1e-5, has_pre_norm: true };
    const SIGLIP: Self = Self { patch_size: 16, activation: Activation::GeluTanh, epsilon: 1e-6, has_pre_norm: false };
}

fn vision_tower(vision: VisionTower, or: VisionDefaults, head: Head) -> std::result::Result<VisionConfig, String> {
    Ok(VisionConfig {
        width: vision.hidden_size.unwrap_or(768),
        inner: vision.intermediate_size.unwrap_or(3072),
        layers: vision.num_hidden_layers.unwrap_or(12),
        heads: vision.num_attention_heads.unwrap_or(12),
        image_size: vision.image_size.map_or(Ok(224), Side::square)?,
        patch_size: vision.patch_size.map_or(Ok(or.patch_size), Side::square)?,
        activation: vision.hidden_act.unwrap_or(or.activation),
        epsilon: vision.layer_norm_eps.unwrap_or(or.epsilon),
        has_pre_norm: or.has_pre_norm,
        head,
    })
}
