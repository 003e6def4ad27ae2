//! What can differ along an axis, and what it is called here and in A1111's web UI.

use crate::prompt::values::ValueError;

/// What differs along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AxisKind {
    /// Steps of sampling.
    #[default]
    Steps,
    /// Classifier-free guidance scale.
    Guidance,
    /// How far guidance is brought back to the contrast of the prompt alone.
    GuidanceRescale,
    /// Start of the noise.
    Seed,
    /// How the sampler walks.
    Sampler,
    /// Which noise levels it visits.
    Schedule,
    /// How much of the noise is fresh.
    Eta,
    /// The layer of the text towers that counts.
    ClipSkip,
    /// What weights in the prompts do.
    Emphasis,
    /// Size of the picture.
    Size,
    /// How far to depart from the picture that it starts from.
    Strength,
    /// The diffusion model.
    Model,
    /// Whole prompts.
    Prompt,
    /// Whole negative prompts.
    Negative,
    /// The expansions of a prompt with variants and wildcards.
    Expansion,
    /// The first value searched in both prompts and replaced by each.
    Replace,
    /// The values in every order.
    Order,
    /// The weight of a phrase.
    Weight,
    /// A modifier added to the prompt.
    Modifier,
    /// The prompt put into a template.
    Template,
    /// A part of the prompt left out.
    LeaveOut,
}

impl AxisKind {
    /// Every kind, in the order of the menus.
    pub const ALL: [Self; 21] = [
        Self::Steps,
        Self::Guidance,
        Self::Seed,
        Self::Sampler,
        Self::Schedule,
        Self::Size,
        Self::Replace,
        Self::Order,
        Self::Weight,
        Self::Modifier,
        Self::Template,
        Self::Expansion,
        Self::LeaveOut,
        Self::Prompt,
        Self::Negative,
        Self::Model,
        Self::ClipSkip,
        Self::GuidanceRescale,
        Self::Eta,
        Self::Emphasis,
        Self::Strength,
    ];

    /// The name that people see.
    pub fn name(self) -> &'static str {
        self.texts().0
    }

    /// What its values look like.
    pub fn hint(self) -> &'static str {
        self.texts().1
    }

    /// Other names that are understood: those of A1111's web UI among them.
    fn others(self) -> &'static [&'static str] {
        match self {
            Self::Guidance => &["cfg scale", "cfg"],
            Self::Schedule => &["schedule type", "scheduler"],
            Self::Strength => &["denoising", "denoising strength"],
            Self::Model => &["checkpoint name", "checkpoint"],
            Self::Negative => &["negative"],
            Self::Expansion => &["expansion", "wildcards", "variants"],
            Self::Replace => &["prompt s/r", "s/r", "search and replace"],
            Self::Order => &["order"],
            Self::ClipSkip => &["clipskip"],
            Self::LeaveOut => &["leave one out"],
            _ => &[],
        }
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Steps => ("Steps", "10, 20 or 10-30 (+10)"),
            Self::Guidance => ("Guidance", "3, 5, 7.5 or 1-9 [5]"),
            Self::GuidanceRescale => ("Guidance rescale", "0, 0.35, 0.7"),
            Self::Seed => ("Seed", "1-4; -1 is a random one"),
            Self::Sampler => ("Sampler", "euler, dpm++2m or all"),
            Self::Schedule => ("Schedule", "default, karras or all"),
            Self::Eta => ("Eta", "0, 0.5, 1"),
            Self::ClipSkip => ("Clip skip", "1-3"),
            Self::Emphasis => ("Emphasis", "a1111, comfyui or all"),
            Self::Size => ("Size", "128x128, 160x128"),
            Self::Strength => ("Strength", "0.4-1 [4]; needs a picture to start from"),
            Self::Model => ("Model", "names from the Models panel"),
            Self::Prompt => ("Prompt", "\"a fox, foggy\", a cat"),
            Self::Negative => ("Negative prompt", "blurry, \"blurry, dark\""),
            Self::Expansion => ("Prompt expansions", "all, or how many: 4"),
            Self::Replace => ("Prompt S/R", "red, blue, green: red is replaced by each"),
            Self::Order => ("Prompt order", "fox, snow, ink: in every order"),
            Self::Weight => ("Weight", "red apple, 0.6-1.4 [5]"),
            Self::Modifier => ("Modifier", "none, foggy, pencil sketch"),
            Self::Template => ("Template", "none, names of templates, or texts with {subject}"),
            Self::LeaveOut => ("Leave out", "phrases or words, or phrases of the prompt"),
        }
    }

    /// Earlier ones make what later ones change.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Prompt | Self::Negative | Self::Expansion => 0,
            Self::LeaveOut => 1,
            Self::Replace => 2,
            Self::Order => 3,
            Self::Weight => 4,
            Self::Modifier => 5,
            Self::Template => 6,
            _ => 7,
        }
    }

    /// Whether one axis of each would contradict each other.
    pub(super) fn excludes(self, other: Self) -> bool {
        let makes_prompt = |kind| matches!(kind, Self::Prompt | Self::Expansion);
        match self {
            Self::Replace | Self::Weight | Self::Modifier => false,
            kind if makes_prompt(kind) => makes_prompt(other),
            kind => kind == other,
        }
    }
}

impl std::str::FromStr for AxisKind {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim().to_lowercase();
        let is_it = |kind: &Self| kind.name().to_lowercase() == wanted || kind.others().contains(&wanted.as_str());
        Self::ALL.into_iter().find(is_it).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            ValueError(format!("there is no axis \"{}\"; choose one of {}", text.trim(), known.join(", ")))
        })
    }
}
