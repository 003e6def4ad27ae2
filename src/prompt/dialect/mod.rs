//! Dialects of prompts: read into a [`Tree`], written from one, explained, and turned into each other.
//!
//! | dialect | weights | nested | what else |
//! |---|---|---|---|
//! | A1111 | `(x)` 1.1, `[x]` 1/1.1, `(x:w)` | multiply | `[a:b:t]`, `[a\|b]`, `AND`, `BREAK`, `<lora:…>`, `#` |
//! | ComfyUI | `(x)` 1.1, `(x:w)` | plain ones multiply, a number replaces | |
//! | Compel (InvokeAI) | `x+` 1.1, `x-` 0.9, `(x)1.3` | multiply | `("a", "b").and()`, `.blend()`, `withLora(…)` |
//! | NovelAI | `{x}` 1.05, `[x]` 1/1.05, `1.3::x::` | multiply | |
//! | SwarmUI | as ComfyUI | as ComfyUI | `<fromto[t]:a,b>`, `<alternate:a,b>`, `<break>`, `<lora:…>`, `<embed:…>` |
//!
//! Reading never fails. Writing says by a diagnostic what the dialect has no form for.
//!
//! # Limitations
//! A converted prompt says the same weights; how a program applies them to the embedding differs between dialects.

mod a1111;
mod comfy;
mod compel;
mod draws;
mod groups;
mod novelai;
mod swarm;
mod write;

use super::diagnostic::{self, Diagnostic};
use super::stages::{Stages, Stretch, StretchPart};
use super::tree::Tree;
pub use write::write;

/// A dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// AUTOMATIC1111's web UI, Forge, and what reads their prompts.
    A1111,
    /// ComfyUI.
    Comfy,
    /// Compel, as in InvokeAI.
    Compel,
    /// NovelAI.
    NovelAi,
    /// SwarmUI.
    Swarm,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::A1111, Self::Comfy, Self::Compel, Self::NovelAi, Self::Swarm];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::A1111 => "a1111",
            Self::Comfy => "comfyui",
            Self::Compel => "compel",
            Self::NovelAi => "novelai",
            Self::Swarm => "swarmui",
        }
    }
}

impl std::str::FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "a1111" | "automatic1111" | "forge" => Ok(Self::A1111),
            "comfyui" | "comfy" => Ok(Self::Comfy),
            "compel" | "invokeai" | "invoke" => Ok(Self::Compel),
            "novelai" | "nai" => Ok(Self::NovelAi),
            "swarmui" | "swarm" => Ok(Self::Swarm),
            _ => Err(format!(
                "\"{text}\" is no dialect; there are a1111, comfyui, compel, invokeai, novelai and swarmui"
            )),
        }
    }
}

/// Reads a prompt.
pub fn read(dialect: Dialect, text: &str) -> (Tree, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let tree = match dialect {
        Dialect::A1111 => a1111::read(text, &mut diagnostics),
        Dialect::Comfy => comfy::read(text, &mut diagnostics),
        Dialect::Compel => compel::read(text, &mut diagnostics),
        Dialect::NovelAi => novelai::read(text, &mut diagnostics),
        Dialect::Swarm => swarm::read(text, &mut diagnostics),
    };
    diagnostic::tidy(&mut diagnostics);
    (tree, diagnostics)
}

/// What the encoder gets, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// From the first to the last step.
    pub schedule: Vec<Stretch>,
    /// The extra networks, in order.
    pub extra_networks: Vec<super::network::ExtraNetwork>,
    /// Remarks, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// Explains a prompt for a number of steps.
pub fn explain(dialect: Dialect, text: &str, steps: u32) -> Explanation {
    if dialect == Dialect::A1111 {
        let stages = Stages::new(text, steps);
        let (schedule, diagnostics) = stages.schedule();
        return Explanation { schedule, extra_networks: stages.extra_networks, diagnostics };
    }
    let (tree, diagnostics) = read(dialect, text);
    let mut boundaries: Vec<u32> = tree.parts.iter().flat_map(|part| part.boundaries(steps)).collect();
    boundaries.sort_unstable();
    boundaries.dedup();
    let stretch = |until_step: u32| {
        let part = |part: &super::tree::TreePart| {
            let fragments = part.at(until_step, steps);
            let text = fragments.iter().map(|fragment| fragment.text.as_str()).collect();
            StretchPart { weight: part.weight, text, fragments }
        };
        Stretch { until_step, parts: tree.parts.iter().map(part).collect() }
    };
    let schedule = boundaries.into_iter().map(stretch).collect();
    Explanation { schedule, extra_networks: tree.extra_networks, diagnostics }
}

/// A prompt of one dialect in another one, and what could not be kept. Weights are written with at most four decimals. What is
/// left to chance (dynamicprompts' variants, wildcards and variables; SwarmUI's forms for these) is kept to be drawn.
pub fn convert(from: Dialect, to: Dialect, text: &str) -> (String, Vec<Diagnostic>) {
    convert_in(from, to, text, &mut draws::Turning::new(text))
}

/// The same inside of what is drawn.
fn convert_in(from: Dialect, to: Dialect, text: &str, turning: &mut draws::Turning) -> (String, Vec<Diagnostic>) {
    let (marked, draws) = draws::take(from, text);
    let (tree, mut diagnostics) = read(from, &marked);
    let mut tree = tree.with_short_weights(&write::signed(to));
    let has_mark = |dialect| matches!(dialect, Dialect::Comfy | Dialect::Swarm);
    if has_mark(from) && !has_mark(to) {
        tree.drop_embedding_marks();
    }
    let (written, more) = write(to, &tree);
    diagnostics.extend(more);
    let (written, more) = draws.put_back(to, &written, turning);
    diagnostics.extend(more);
    diagnostic::tidy(&mut diagnostics);
    (written, diagnostics)
}
