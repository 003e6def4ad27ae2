//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use super::lora::LoraArgument;
use super::nets::NetArgs;
use crate::base::geom::Extent;
use crate::engine::options::{DeviceChoice, EngineOptions, Precision};
use crate::job::sampling::{Emphasis, RandomSource, Sampler, Schedule};
use crate::job::spec::{Combine, HeatmapMethod};
use crate::store::preferences::UserFolders;

/// A workbench for prompts of vision-language models. Without a command it opens its window.
#[derive(Debug, Parser)]
#[command(version)]
pub(super) struct Args {
    /// Picture to open in the window
    pub(super) file: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Threads that compute (default: one a core)
    #[arg(long, global = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Where to compute
    #[arg(long, global = true, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// Width of numbers
    #[arg(long, global = true, value_enum, default_value = "auto")]
    precision: Precision,
    /// Megabytes that a model's autoencoder may need before it works in tiles (default: a third of the memory)
    #[arg(long, global = true, value_name = "MB")]
    vae_memory: Option<u64>,
    /// Give parts of a diffusion model back as soon as they have done their work, and read them again for the next picture
    #[arg(long, global = true)]
    low_memory: bool,
}

impl Args {
    pub(super) fn engine_options(&self) -> EngineOptions {
        EngineOptions {
            threads: self.threads.map(usize::from),
            device: self.device,
            precision: self.precision,
            vae_memory: self.vae_memory,
            // A single picture needs each part once.
            frees_parts: self.low_memory || matches!(&self.command, Some(Command::Generate(made)) if made.count == 1),
            presets: UserFolders::of_system().map(|folders| folders.presets),
            yields_to_window: self.command.is_none(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what Maquette does on the bundled sample, without a window
    Tour(Tour),
    /// Make pictures from words
    Generate(Box<Generate>),
    /// Show where in a picture phrases are
    Heatmap(Heatmap),
    /// Compare class templates on pictures; or, by a command of its own, variants of a prompt and its settings
    Compare(Box<Compare>),
    /// Write unit-norm embeddings of pictures or texts
    Embed(Embed),
    /// Time the parts of a model
    Bench(Bench),
    /// Read, expand and translate prompts
    Prompt {
        #[command(subcommand)]
        command: super::prompt::Prompt,
    },
    /// Modifiers, templates, styles, wildcards and zero-shot lists
    Library {
        #[command(subcommand)]
        command: super::library::LibraryCommand,
    },
    /// Models that are known by name
    Models {
        #[command(subcommand)]
        command: Models,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Models {
    /// Remember a folder or file with models: it is read in place. Folders of A1111's web UI, ComfyUI (and its
    /// extra_model_paths.yaml) and Hugging Face's cache will do
    Add {
        /// The folder or file
        path: PathBuf,
    },
    /// List them
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what a model is and what it lacks; or measure how good the built-in ones are, on scenes that their training never saw
    Check(Check),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Tour {
    /// Folder for pictures and report; made if it is missing
    #[arg(long)]
    pub(super) out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Generate {
    /// What to show
    #[arg(long)]
    pub(super) prompt: String,
    /// What to steer away from; "" is an empty text, which SDXL models tell from none
    #[arg(long)]
    pub(super) negative: Option<String>,
    /// Catalogue id, folder in diffusers layout, single .safetensors file, or a name from `models list`
    #[arg(long, default_value = "builtin")]
    pub(super) model: String,
    /// ddim, pndm, euler, euler-a, heun, dpm++2m, dpm++2m-sde, dpm++sde, unipc, lcm or tcd (default: what the model's own
    /// scheduler_config.json says)
    #[arg(long)]
    pub(super) sampler: Option<Sampler>,
    /// Noise levels to visit: default (what the model says), karras, exponential or uniform
    #[arg(long, default_value = "default")]
    pub(super) schedule: Schedule,
    /// Fresh noise of ddim and tcd, 0 to 1 (default: none for ddim, 0.3 for tcd)
    #[arg(long)]
    pub(super) eta: Option<f32>,
    /// Steps of sampling
    #[arg(long, default_value_t = 20)]
    pub(super) steps: u32,
    /// Classifier-free guidance scale
    #[arg(long, default_value_t = 5.0, allow_negative_numbers = true)]
    pub(super) guidance: f32,
    /// Takes the excess contrast of strong guidance back, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    pub(super) guidance_rescale: f32,
    /// Layer of the text towers whose states count, from the last, which is 1 (default: the model's own)
    #[arg(long)]
    pub(super) clip_skip: Option<u32>,
    /// What weights like (this:1.3) do: a1111, a1111-no-norm, comfyui, compel, ignore or none (brackets are words)
    #[arg(long, default_value = "a1111")]
    pub(super) emphasis: Emphasis,
    /// Start of the noise (default: a random one, which is printed)
    #[arg(long, allow_negative_numbers = true)]
    pub(super) seed: Option<u64>,
    /// Whose random numbers a seed means: cpu or cuda (those of PyTorch)
    #[arg(long, default_value = "cpu")]
    pub(super) rng: RandomSource,
    /// safetensors file with the first noise under "noise", (1, channels, height, width); it decides the size
    #[arg(long, conflicts_with = "count")]
    pub(super) noise: Option<PathBuf>,
    /// safetensors file to write what is decoded to, under "latents"; with --count, NAME-SEED.safetensors beside it
    #[arg(long)]
    pub(super) save_latents: Option<PathBuf>,
    /// Textual inversion that prompts may name, by its path or its name in a remembered place; may be repeated
    #[arg(long)]
    pub(super) embedding: Vec<PathBuf>,
    /// LoRA that changes the model, PATH[:STRENGTH[:TEXT_STRENGTH]], or its name in a remembered place instead of the path; may be
    /// repeated
    #[arg(long)]
    pub(super) lora: Vec<LoraArgument>,
    /// WIDTHxHEIGHT in pixels (default: what the model was trained on)
    #[arg(long)]
    pub(super) size: Option<Extent>,
    /// Pictures to make, with consecutive seeds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) count: u32,
    /// Picture to start from
    #[arg(long)]
    pub(super) init: Option<PathBuf>,
    /// What to repaint of it: white on black, of the same size
    #[arg(long, requires = "init")]
    pub(super) mask: Option<PathBuf>,
    /// How far to depart from it, 0 to 1
    #[arg(long, requires = "init")]
    pub(super) strength: Option<f32>,
    #[command(flatten)]
    pub(super) nets: NetArgs,
    /// PNG file to write; with --count, NAME-SEED.png beside it
    #[arg(long)]
    pub(super) out: PathBuf,
    /// A JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Heatmap {
    /// Picture to look at
    #[arg(long)]
    pub(super) image: PathBuf,
    /// Phrase to look for; may be repeated
    #[arg(long, required = true)]
    pub(super) text: Vec<String>,
    /// Catalogue id or folder in Hugging Face layout
    #[arg(long, default_value = "builtin")]
    pub(super) model: String,
    /// auto, patch or maskclip
    #[arg(long, default_value = "auto")]
    pub(super) method: HeatmapMethod,
    /// PNG file to write; with several phrases, NAME-1.png, NAME-2.png … beside it
    #[arg(long)]
    pub(super) out: PathBuf,
    /// safetensors file for the numbers
    #[arg(long)]
    pub(super) data: Option<PathBuf>,
    /// A JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Compare {
    #[command(flatten)]
    pub(super) classes: Option<CompareClasses>,
    #[command(subcommand)]
    pub(super) command: Option<CompareCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum CompareCommand {
    /// Make pictures of a prompt and its settings in variants: a grid that can be resumed, as a page with labels and a table
    Grid(super::grid::Grid),
    /// Find which parts of a prompt carry the picture: each is left out in turn
    Words(super::words::Words),
}

#[derive(Debug, ClapArgs)]
pub(super) struct CompareClasses {
    /// File of class names, one a line; without it those of --class-texts
    #[arg(long, required_unless_present = "class_texts")]
    pub(super) classes: Option<PathBuf>,
    /// File of templates with {}, one a line
    #[arg(long, required_unless_present = "class_texts")]
    pub(super) templates: Option<PathBuf>,
    /// JSON of sentences (CuPL) or features for each class, which count as one more template; may be repeated
    #[arg(long)]
    pub(super) class_texts: Vec<PathBuf>,
    /// Picture to classify; may be repeated
    #[arg(long, required = true)]
    pub(super) image: Vec<PathBuf>,
    /// Catalogue id or folder in Hugging Face layout
    #[arg(long, default_value = "builtin")]
    pub(super) model: String,
    /// embedding, logit, probability or max
    #[arg(long, default_value = "embedding")]
    pub(super) combine: Combine,
    /// CSV file to write
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
    /// A JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Embed {
    /// Picture to embed; may be repeated
    #[arg(long, required_unless_present = "text", conflicts_with = "text")]
    pub(super) image: Vec<PathBuf>,
    /// Text to embed; may be repeated
    #[arg(long)]
    pub(super) text: Vec<String>,
    /// Catalogue id or folder in Hugging Face layout
    #[arg(long, default_value = "builtin")]
    pub(super) model: String,
    /// safetensors file to write: unit-norm rows under "embeddings"
    #[arg(long)]
    pub(super) out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Bench {
    /// Catalogue id, folder, single .safetensors file, or a name from `models list`
    #[arg(long, default_value = "builtin")]
    pub(super) model: String,
    /// A JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Check {
    /// Folder, file or name of a model; or "builtin", which is measured
    pub(super) model: String,
    /// Scenes for each figure; a quarter as many pictures are generated for each
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) scenes: u32,
    /// Start of the random numbers that scenes and prompts are drawn with
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Folder of a trained judge, which recognises what generated pictures show
    #[arg(long, value_name = "FOLDER")]
    pub(super) judge: Option<PathBuf>,
    /// A JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}
