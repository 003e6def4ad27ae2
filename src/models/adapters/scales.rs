//! By how much a LoRA's products are multiplied: alpha / rank. Kohya writes alpha beside each layer; PEFT into `adapter_config.json`;
//! diffusers puts the same into the header of the file. Where nobody says, alpha is the rank.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Net;
use crate::models::error::{ModelError, Result};
use crate::models::files::{ModelFiles, Weights};

const CONFIG: &str = "adapter_config.json";
/// The key of diffusers' settings in a header.
const IN_HEADER: &str = "lora_adapter_metadata";

/// PEFT's settings of one net.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    lora_alpha: Option<f64>,
    /// Alpha of the layers whose names end so.
    alpha_pattern: HashMap<String, f64>,
    /// Alpha is divided by the rank's square root (Kalajdzievski 2023).
    use_rslora: bool,
    use_dora: bool,
}

/// The settings of each net.
pub(super) struct Scales {
    unet: Settings,
    text: [Settings; 2],
}

impl Scales {
    pub(super) fn load(files: &ModelFiles, file: &str, weights: &Weights) -> Result<Self> {
        // PEFT's settings are about the file beside them, whatever net that is of.
        if file.starts_with("adapter_model.") && files.has(CONFIG) {
            let read = || files.read_json::<Settings>(CONFIG);
            let settings = read()?;
            if settings.use_dora {
                let reason = "this is a DoRA, which Maquette cannot read; use a LoRA".to_owned();
                return Err(ModelError::BadFile { path: files.path_of(CONFIG), reason });
            }
            return Ok(Self { unet: settings, text: [read()?, read()?] });
        }
        let all: Map<String, Value> =
            weights.metadata().get(IN_HEADER).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let of = |net: &str| {
            let inside = all.iter().filter_map(|(key, value)| Some((key.strip_prefix(net)?, value)));
            let inside = inside.filter_map(|(key, value)| Some((key.strip_prefix('.')?.to_owned(), value.clone())));
            Settings::deserialize(Value::Object(inside.collect())).unwrap_or_default()
        };
        Ok(Self { unet: of("unet"), text: [of("text_encoder"), of("text_encoder_2")] })
    }

    /// What the product for the layer `path` is multiplied by; `alpha` is what the file says beside it.
    pub(super) fn scale(&self, net: Net, path: &str, alpha: Option<f64>, rank: Option<usize>) -> f64 {
        let Some(rank) = rank.filter(|rank| *rank > 0).map(|rank| rank as f64) else { return 1.0 };
        let settings = match net {
            Net::Unet => &self.unet,
            Net::Text(tower) => self.text.get(tower).unwrap_or(&self.unet),
        };
        let is_about = |pattern: &str| {
            path.strip_suffix(pattern.trim_start_matches('^'))
                .is_some_and(|head| head.is_empty() || head.ends_with('.'))
        };
        let own = || settings.alpha_pattern.iter().find(|(pattern, _)| is_about(pattern)).map(|(_, alpha)| *alpha);
        let alpha = alpha.or_else(own).or(settings.lora_alpha).unwrap_or(rank);
        alpha / if settings.use_rslora { rank.sqrt() } else { rank }
    }
}
