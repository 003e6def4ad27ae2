//! By how much a LoRA's products are multiplied: alpha / rank. Kohya writes alpha beside each layer; PEFT into `adapter_config.json`;
//! diffusers puts the same into the header of the file. Where nobody says, alpha is the rank, which the tensors tell better than any setting.

use std::path::PathBuf;
use std::rc::Rc;

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Net;
use crate::models::error::{ModelError, Result};
use crate::models::files::{ModelFiles, Weights, json};

const CONFIG: &str = "adapter_config.json";
/// The key of diffusers' settings in a header.
const IN_HEADER: &str = "lora_adapter_metadata";

/// PEFT's settings of one net.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    lora_alpha: Option<f64>,
    /// Alpha of the layers with such names.
    alpha_pattern: Map<String, Value>,
    /// Alpha is divided by the rank's square root (Kalajdzievski 2023).
    use_rslora: bool,
    use_dora: bool,
}

/// How one net's layers are scaled.
#[derive(Debug, Default)]
struct Scaling {
    alpha: Option<f64>,
    /// The first that a layer's name matches has its alpha.
    patterns: Vec<(Regex, f64)>,
    use_rslora: bool,
}

impl Scaling {
    /// # Errors
    /// What is wrong with the settings.
    fn of(settings: Map<String, Value>) -> std::result::Result<Self, String> {
        // A null means the default, as a missing field does.
        let known = settings.into_iter().filter(|(_, value)| !value.is_null()).collect();
        let Settings { lora_alpha, alpha_pattern, use_rslora, use_dora } = json::from_value(&Value::Object(known))?;
        if use_dora {
            return Err("this is a DoRA, which Maquette cannot read; use a LoRA".to_owned());
        }
        let patterns: std::result::Result<_, String> = alpha_pattern
            .iter()
            .map(|(pattern, alpha)| {
                let alpha = alpha.as_f64().ok_or_else(|| format!("its alpha_pattern {pattern:?} has no number"))?;
                // PEFT: re.match(rf"(.*\.)?({key})$", name).
                let regex = Regex::new(&format!(r"^(.*\.)?({pattern})$")).map_err(|error| {
                    format!("its alpha_pattern {pattern:?} is no regular expression ({error}); correct it, or save the LoRA again")
                })?;
                Ok((regex, alpha))
            })
            .collect();
        Ok(Self { alpha: lora_alpha, patterns: patterns?, use_rslora })
    }

    /// The alpha of the layer `path` if there is one for it or for all.
    fn alpha(&self, path: &str) -> std::result::Result<Option<f64>, String> {
        for (regex, alpha) in &self.patterns {
            if regex.is_match(path).map_err(|error| format!("its alpha_pattern {:?}: {error}", regex.as_str()))? {
                return Ok(Some(*alpha));
            }
        }
        Ok(self.alpha)
    }
}

/// The scaling of each net.
pub(super) struct Scales {
    /// What says so, for messages.
    path: PathBuf,
    unet: Rc<Scaling>,
    text: [Rc<Scaling>; 2],
}

impl Scales {
    pub(super) fn load(files: &ModelFiles, file: &str, weights: &Weights) -> Result<Self> {
        // PEFT's settings are about the file beside them, whatever net that is of.
        let is_peft = file.starts_with("adapter_model.") && files.has(CONFIG);
        let path = files.path_of(if is_peft { CONFIG } else { file });
        let bad = |reason: String| ModelError::BadFile { path: path.clone(), reason };
        let settings: Map<String, Value> = match (is_peft, weights.metadata().get(IN_HEADER)) {
            (true, _) => files.read_json(CONFIG)?,
            (false, None) => Map::new(),
            (false, Some(text)) => {
                json::from_slice(text.as_bytes()).map_err(|reason| bad(format!("its {IN_HEADER}: {reason}")))?
            }
        };
        let [unet, first, second] = each(settings).map_err(bad)?;
        Ok(Self { path, unet, text: [first, second] })
    }

    /// What the product for the layer `path` is multiplied by; `alpha` is what the file says beside it.
    pub(super) fn scale(&self, net: Net, path: &str, alpha: Option<f64>, rank: Option<usize>) -> Result<f64> {
        let Some(rank) = rank.filter(|rank| *rank > 0).map(|rank| rank as f64) else { return Ok(1.0) };
        let scaling = match net {
            Net::Unet => &self.unet,
            Net::Text(tower) => self.text.get(tower).unwrap_or(&self.unet),
        };
        let bad = |reason: String| ModelError::BadFile { path: self.path.clone(), reason };
        let said = alpha.map_or_else(|| scaling.alpha(path).map_err(bad), |alpha| Ok(Some(alpha)))?;
        Ok(said.unwrap_or(rank) / if scaling.use_rslora { rank.sqrt() } else { rank })
    }
}

/// The scaling of the denoising net and of both text towers. Keys with the name of a net and a dot before them are about that net; where
/// no key has one, the settings are about everything in the file.
fn each(settings: Map<String, Value>) -> std::result::Result<[Rc<Scaling>; 3], String> {
    if !settings.keys().any(|key| key.contains('.')) {
        let all = Rc::new(Scaling::of(settings)?);
        return Ok([all.clone(), all.clone(), all]);
    }
    let of = |net: &str| {
        let inside =
            settings.iter().filter_map(|(key, value)| Some((key.strip_prefix(net)?.to_owned(), value.clone())));
        Scaling::of(inside.collect()).map(Rc::new)
    };
    Ok([of("unet.")?, of("text_encoder.")?, of("text_encoder_2.")?])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The file `x.safetensors` with these settings in its header.
    fn in_header(settings: &str) -> Result<Scales> {
        let folder = tempfile::tempdir().unwrap();
        let header = serde_json::json!({"__metadata__": {IN_HEADER: settings}}).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        std::fs::write(folder.path().join("x.safetensors"), bytes).unwrap();
        let files = ModelFiles::Folder(folder.path().to_owned());
        Scales::load(&files, "x.safetensors", &files.weights("x.safetensors")?)
    }

    const Q: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";

    #[test]
    fn settings_without_a_prefix_are_about_everything() {
        let scales = in_header(r#"{"lora_alpha": 16, "r": 4, "use_rslora": false, "rank_pattern": {}}"#).unwrap();
        for net in [Net::Unet, Net::Text(0), Net::Text(1)] {
            assert_eq!(scales.scale(net, Q, None, Some(4)).unwrap(), 4.0);
        }
        assert_eq!(
            scales.scale(Net::Unet, Q, Some(2.0), Some(4)).unwrap(),
            0.5,
            "what stands beside the layer comes first"
        );
        let scales = in_header(r#"{"lora_alpha": 16, "use_rslora": true}"#).unwrap();
        assert_eq!(scales.scale(Net::Unet, Q, None, Some(4)).unwrap(), 8.0);
        let scales = in_header(r#"{"unet.lora_alpha": 8, "text_encoder_2.lora_alpha": 2, "unet.r": 4}"#).unwrap();
        let all = [Net::Unet, Net::Text(0), Net::Text(1)].map(|net| scales.scale(net, Q, None, Some(4)).unwrap());
        assert_eq!(all, [2.0, 1.0, 0.5]);
    }

    #[test]
    fn patterns_are_regular_expressions_of_whole_names() {
        let alpha = |pattern: &str| {
            let settings = serde_json::json!({"lora_alpha": 4, "alpha_pattern": {pattern: 12}}).to_string();
            in_header(&settings).and_then(|scales| scales.scale(Net::Unet, Q, None, Some(4)))
        };
        for fits in [
            "to_q",
            "attn1.to_q",
            r"attn\d\.to_(q|k)",
            "down_blocks.*to_q",
            &format!("^{Q}"),
            "(?!x)attn1.to_q",
            "up.x|to_q",
        ] {
            assert_eq!(alpha(fits).unwrap(), 3.0, "{fits}");
        }
        for other in ["o_q", "attn2.to_q", "attn1", "to_q.x", "^to_q", "up_blocks.*to_q"] {
            assert_eq!(alpha(other).unwrap(), 1.0, "{other}");
        }
        let first = r#"{"alpha_pattern": {"to_q": 8, "attn1.to_q": 12}}"#;
        assert_eq!(in_header(first).unwrap().scale(Net::Unet, Q, None, Some(4)).unwrap(), 2.0);
        let error = alpha("to_(q").err().unwrap().to_string();
        assert!(error.contains("to_(q") && error.contains("x.safetensors") && error.contains("no regular"), "{error}");
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for (settings, part) in [
            ("[]", "JSON object"),
            (r#"{"lora_alpha": "much"}"#, "\"lora_alpha\""),
            (r#"{"alpha_pattern": {"to_q": "much"}}"#, "no number"),
            (r#"{"use_dora": true}"#, "DoRA"),
        ] {
            let error = in_header(settings).err().unwrap().to_string();
            assert!(error.contains(part) && error.contains("x.safetensors"), "{error}");
        }
        assert!(in_header(r#"{"lora_alpha": null, "alpha_pattern": null}"#).is_ok());
    }
}
