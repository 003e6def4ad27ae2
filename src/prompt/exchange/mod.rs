//! The library files of other programs, read and written. One module a format; all of them functions of text alone.
//!
//! Reading gives a value and warnings, never an error: what cannot be read is named with its line or entry, and the rest is kept.
//! Writing gives files and warnings about what the format has no place for.
//!
//! | format | whose |
//! |---|---|
//! | `styles-csv` | AUTOMATIC1111's `styles.csv`, Forge, SD.Next; InvokeAI's CSV |
//! | `fooocus` | Fooocus, twri's sdxl_prompt_styler: a JSON list of `name`, `prompt`, `negative_prompt` |
//! | `invokeai`, `invokeai-preset` | InvokeAI's lists of styles, and its own exports with `preset_data` |
//! | `easy-diffusion` | Easy Diffusion's `modifiers.json` |
//! | `wildcards-txt`, `wildcards-yaml`, `wildcards-json` | dynamicprompts and all that read its files |
//! | `clip-text`, `clip-json`, `clip-python` | zero-shot templates and class lists of OpenAI's CLIP, open_clip, CLIP_benchmark |
//! | `cupl`, `descriptors` | texts for single classes: CuPL; Menon and Vondrick, WaffleCLIP |
//! | `modifiers`, `templates`, `styles` | this program |

pub mod class_prompts;
pub mod csv;
pub mod easy_diffusion;
mod format;
pub mod json;
pub mod styles_csv;
pub mod styles_json;
pub mod template_lists;
pub mod wildcards;
pub mod yaml;

pub use format::{File, Format, UnknownFormat, read, recognise, write};

use super::library::Template;
use super::template;

/// What could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The line of the file, counted from 1, where one can be named.
    pub line: Option<usize>,
    /// What is wrong and what became of it, naming the entry.
    pub text: String,
}

impl Warning {
    /// About a line.
    pub fn at(line: usize, text: impl Into<String>) -> Self {
        Self { line: Some(line), text: text.into() }
    }

    /// About a whole file, or what is to be written.
    pub fn general(text: impl Into<String>) -> Self {
        Self { line: None, text: text.into() }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Warnings that are kept of one file.
const MOST_WARNINGS: usize = 200;

fn add(warnings: &mut Vec<Warning>, make: impl FnOnce() -> Warning) {
    if warnings.len() < MOST_WARNINGS {
        warnings.push(make());
    }
}

/// A template as other programs know them: one hole, called `{prompt}`. Says what is lost.
fn portable(template: &Template, warnings: &mut Vec<Warning>) -> (String, String) {
    if !template.settings.is_empty() {
        let lost = template.settings.describe();
        add(warnings, || Warning::general(format!("\"{}\" is written without its settings ({lost})", template.name)));
    }
    (template::with_one_hole(&template.text), template::with_one_hole(&template.negative))
}
