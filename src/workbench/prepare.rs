//! From document and preferences to requests: pure functions, nothing is sent from here.

use std::sync::Arc;

use super::command::PreviewTarget;
use crate::document::{ControlChoice, ControlPicture, Document};
use crate::job::JobSpec;
use crate::job::nets::{ControlSpec, OtherNets};
use crate::job::spec::{
    CountTokensSpec, GenerateSpec, HeatmapMethod, HeatmapSpec, InitSpec, MarkedPicture, OwnTexts, ZeroShotSpec,
};
use crate::prompt::library::Library;
use crate::prompt::reading::Question;
use crate::prompt::source::Traced;
use crate::prompt::template::{lines, own_texts};
use crate::store::preferences::Preferences;

/// Sets of texts that are kept ready.
const MOST_SETS: usize = 8;

/// The picture that lens and zero-shot look at; `None` if none is open.
fn marked_picture(document: &Document, preferences: &Preferences) -> Option<MarkedPicture> {
    let canvas = document.canvas.as_ref()?;
    let marks = if preferences.marks_count { canvas.marks.clone() } else { Vec::new() };
    Some(MarkedPicture { picture: canvas.picture.clone(), marks })
}

/// The request of the lens for `phrase`; `None` if there is no picture or nothing to look for, or the lens is off.
pub fn heatmap(document: &Document, preferences: &Preferences, phrase: &str) -> Option<HeatmapSpec> {
    if !preferences.lens_on || phrase.trim().is_empty() {
        return None;
    }
    Some(HeatmapSpec {
        model: preferences.clip_model.clone(),
        image: marked_picture(document, preferences)?,
        phrases: vec![phrase.trim().to_owned()],
        method: HeatmapMethod::Auto,
    })
}

/// The request of the zero-shot panel; `None` if there is no picture, no class or no template.
///
/// # Errors
/// What to change if a template names texts that `library` does not have.
pub fn zero_shot(
    document: &Document,
    preferences: &Preferences,
    library: &Arc<Library>,
    known: &mut KnownTexts,
) -> Result<Option<ZeroShotSpec>, String> {
    let (classes, templates) = (lines(&document.classes), lines(&document.templates));
    let Some(image) = marked_picture(document, preferences) else { return Ok(None) };
    if classes.is_empty() || templates.is_empty() {
        return Ok(None);
    }
    let (mut plain, mut own) = (Vec::new(), Vec::new());
    for template in templates {
        match own_texts(&template) {
            Some(name) => own.push(OwnTexts { by_class: known.of(library, name, &classes)?, name: template }),
            None => plain.push(template),
        }
    }
    Ok(Some(ZeroShotSpec {
        model: preferences.clip_model.clone(),
        images: vec![image],
        classes,
        templates: plain,
        own_texts: own,
        combine: document.combine,
    }))
}

/// The texts of the last sets and classes that were asked for: there may be tens of thousands.
#[derive(Debug, Default)]
pub struct KnownTexts(Vec<KnownSet>);

#[derive(Debug)]
struct KnownSet {
    library: Arc<Library>,
    name: String,
    classes: Vec<String>,
    texts: Arc<Vec<Vec<String>>>,
}

impl KnownTexts {
    fn of(&mut self, library: &Arc<Library>, name: &str, classes: &[String]) -> Result<Arc<Vec<Vec<String>>>, String> {
        self.0.retain(|known| Arc::ptr_eq(&known.library, library));
        if let Some(known) = self.0.iter().find(|known| known.name == name && known.classes == classes) {
            return Ok(known.texts.clone());
        }
        let texts = Arc::new(class_texts(library, name, classes)?);
        self.0.truncate(MOST_SETS - 1);
        let (library, name, classes) = (library.clone(), name.to_owned(), classes.to_vec());
        self.0.insert(0, KnownSet { library, name, classes, texts: texts.clone() });
        Ok(texts)
    }
}

fn class_texts(library: &Library, name: &str, classes: &[String]) -> Result<Vec<Vec<String>>, String> {
    let Some(set) = library.class_prompts.iter().find(|set| set.name == name) else {
        let names: Vec<&str> = library.class_prompts.iter().map(|set| set.name.as_str()).collect();
        let there = if names.is_empty() { "none yet: import a file of CuPL".to_owned() } else { names.join(", ") };
        return Err(format!("the library has no texts named \"{name}\"; there is {there}"));
    };
    set.texts_of(classes).map_err(|why| format!("{why}; take these classes out, or that template"))
}

/// The request for the tokens of prompt and negative prompt at a step, given what templates and choices made of them.
pub fn count_tokens(
    document: &Document,
    preferences: &Preferences,
    [prompt, negative]: &[Traced; 2],
    step: u32,
) -> CountTokensSpec {
    CountTokensSpec {
        model: preferences.diffusion_model.clone(),
        prompt: prompt.text().to_owned(),
        negative: negative.text().to_owned(),
        emphasis: document.sampling.emphasis,
        steps: document.sampling.steps,
        step: step.clamp(1, document.sampling.steps.max(1)),
    }
}

/// What is to be said of the prompts.
pub fn question(document: &Document) -> Question {
    Question {
        prompt: document.prompt.clone(),
        negative: document.negative.clone(),
        stack: document.stack.clone(),
        steps: document.sampling.steps,
        seed: document.sampling.seed,
    }
}

/// Why there is nothing to generate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NothingToGenerate {
    /// Inpainting needs a picture.
    #[error("open a picture first, then paint over what is to change")]
    NoPicture,
    /// Inpainting needs a mask.
    #[error("paint over what is to change first (the mask brush is on B)")]
    NoMask,
    /// A ControlNet follows the canvas, and there is none.
    #[error("open a picture first, or give the ControlNet {0} a picture of its own: it follows the canvas")]
    NoControlPicture(String),
    /// A file is still being read; it will take a moment.
    #[error("reading the files of LoRAs and embeddings")]
    Reading,
    /// A file that is asked for cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// The request for `count` pictures.
///
/// # Errors
/// If inpainting is asked for without a picture or a mask, or a ControlNet has nothing to steer by.
pub fn generate(
    document: &Document,
    preferences: &Preferences,
    target: PreviewTarget,
    count: u32,
) -> Result<GenerateSpec, NothingToGenerate> {
    let init = match target {
        PreviewTarget::NewPicture => None,
        PreviewTarget::Inpaint => {
            let canvas = document.canvas.as_ref().ok_or(NothingToGenerate::NoPicture)?;
            if canvas.mask.is_empty() {
                return Err(NothingToGenerate::NoMask);
            }
            Some(InitSpec {
                picture: canvas.picture.clone(),
                mask: Some(canvas.mask.clone()),
                strength: document.strength,
            })
        }
    };
    let (prompt, negative) = document.words();
    Ok(GenerateSpec {
        model: preferences.diffusion_model.clone(),
        prompt,
        negative,
        sampling: document.sampling.clone(),
        count,
        init,
        noise: None,
        nets: OtherNets { vae: None, controls: controls(document)? },
        loras: Vec::new(),
        embeddings: Vec::new(),
    })
}

/// The ControlNets that are on, with their pictures.
fn controls(document: &Document) -> Result<Vec<ControlSpec>, NothingToGenerate> {
    let spec = |control: &ControlChoice| {
        let ControlChoice { name, model, picture, scale, start, end, .. } = control;
        let of_canvas = || document.canvas.as_ref().map(|canvas| canvas.picture.clone());
        let picture = match picture {
            ControlPicture::File { picture, .. } => Some(picture.clone()),
            ControlPicture::Canvas => of_canvas(),
        };
        let picture = picture.ok_or_else(|| NothingToGenerate::NoControlPicture(name.clone()))?;
        Ok(ControlSpec { model: model.clone(), picture, scale: *scale, start: *start, end: *end })
    };
    document.steering.controls.iter().filter(|control| control.is_on).map(spec).collect()
}

/// What a job works on, in a few words.
pub fn describe(spec: &JobSpec) -> String {
    match spec {
        JobSpec::CountTokens(_) => String::new(),
        JobSpec::Heatmap(spec) => spec.phrases.join(", "),
        JobSpec::ZeroShot(spec) => format!("{} classes, {} templates", spec.classes.len(), spec.templates.len()),
        JobSpec::Generate(spec) => {
            let words: String = spec.prompt.split_whitespace().take(12).collect::<Vec<_>>().join(" ");
            if words.is_empty() { "(empty prompt)".to_owned() } else { words }
        }
        JobSpec::Embed(_) | JobSpec::Bench(_) => String::new(),
        JobSpec::CheckQuality(spec) => format!("{} scenes", spec.scenes),
    }
}
