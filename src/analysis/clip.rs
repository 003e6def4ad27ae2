//! A loaded CLIP with a memory for what it saw and read last: a new phrase on the same picture costs only its text tower.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::annotate;
use super::zero_shot::{self, dot};
use crate::base::geom::Extent;
use crate::base::pixels::{Picture, Revision};
use crate::base::task::{Progress, TaskCx};
use crate::job::annotation::Mark;
use crate::job::output::{Grid, Heatmaps, PhraseMap, ZeroShotImage, ZeroShotTable};
use crate::job::spec::{EmbedInputs, EmbedSpec, HeatmapMethod, HeatmapSpec, MarkedPicture, ZeroShotSpec};
use crate::models::clip::{ClipModel, unit};
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;
use crate::models::preprocess::{Preprocessor, lens_extent, resize};
use crate::models::tokenizer::ClipTokenizer;
use crate::prompt::template::fill_class;

/// Texts whose embeddings are kept: a large class list times a few dozen templates.
const KEPT_TEXTS: usize = 20_000;
/// Pictures whose embeddings are kept.
const KEPT_PICTURES: usize = 8;
/// The lens looks at pictures of this many times the training's side, so its grid is finer.
const LENS_SCALE: u32 = 2;
/// Above this side the lens keeps the training's size: large towers are fine enough and slow enough.
const LENS_SCALE_LIMIT: usize = 160;

/// Sets of texts for single classes whose directions are kept.
const KEPT_SETS: usize = 4;

/// The texts of each class, and their mean directions.
type KnownSet = (Arc<Vec<Vec<String>>>, Vec<Vec<f32>>);

struct KnownText {
    embedding: Rc<Vec<f32>>,
    cut: usize,
}

/// What is known of a picture with its marks.
#[derive(Clone)]
struct Seen {
    picture: Revision,
    marks: Vec<Mark>,
    /// As the model was trained to see it.
    whole: Option<Rc<Vec<f32>>>,
    /// By method: unit-norm patch embeddings (rows * columns, d).
    patches: Option<(HeatmapMethod, Tensor, usize, usize)>,
}

/// A loaded CLIP.
pub struct Clip {
    model: ClipModel,
    tokenizer: ClipTokenizer,
    preprocessor: Preprocessor,
    texts: RefCell<std::collections::HashMap<String, KnownText>>,
    /// Newest first.
    sets: RefCell<Vec<KnownSet>>,
    /// Newest last.
    seen: RefCell<Vec<Seen>>,
    dtype: DType,
    device: Device,
}

impl Clip {
    /// Reads the folder of a CLIP or SigLIP, as transformers or open_clip writes it.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load(files: &ModelFiles, dtype: DType, device: &Device, cx: &TaskCx<'_>) -> Result<Self> {
        let model = ClipModel::load_in(files, dtype, device, cx)?;
        Ok(Self {
            preprocessor: Preprocessor::load(files, model.vision.image_size() as u32, model.convention())?,
            tokenizer: ClipTokenizer::load(files)?.for_tower(model.text.config()),
            model,
            texts: RefCell::default(),
            sets: RefCell::default(),
            seen: RefCell::default(),
            dtype,
            device: device.clone(),
        })
    }

    /// Where in its picture the phrases of `spec` are: the cosine of each phrase's embedding with each patch's. Methods `patch` and
    /// `maskclip` take a patch's embedding from the last layer's states and from its value path; CLIP then projects it, SigLIP passes
    /// it through its pooling head as if it were the only patch.
    ///
    /// # Errors
    /// If the task is cancelled or the tensor library fails.
    pub fn heatmaps(&self, spec: &HeatmapSpec, cx: &TaskCx<'_>) -> Result<Heatmaps> {
        let (patches, rows, columns) = self.patches(&spec.image, self.method(spec.method), cx)?;
        let whole = self.whole(&spec.image, cx)?;
        let bare = self.without_marks(&spec.image, cx)?;
        let mut phrases = Vec::new();
        for text in &spec.phrases {
            let (embedding, tokens_cut) = self.text(text, cx)?;
            let column = Tensor::from_slice(&embedding, (embedding.len(), 1), &self.device)?;
            let values = finite(patches.matmul(&column)?.flatten_all()?.to_vec1::<f32>()?)?;
            phrases.push(PhraseMap {
                text: text.clone(),
                score: dot(&whole, &embedding),
                score_without_marks: bare.as_ref().map(|bare| dot(bare, &embedding)),
                grid: Grid { rows, columns, values },
                tokens_cut,
            });
        }
        Ok(Heatmaps { phrases })
    }

    /// Which of the classes of `spec` its pictures show.
    ///
    /// # Errors
    /// If the task is cancelled or the tensor library fails.
    pub fn zero_shot(&self, spec: &ZeroShotSpec, cx: &TaskCx<'_>) -> Result<ZeroShotTable> {
        let rows = spec.templates.len() + spec.own_texts.len();
        let total = (rows + spec.images.len()) as u32;
        let mut texts = Vec::new();
        for (done, template) in spec.templates.iter().enumerate() {
            cx.progress(Progress::steps("Reading the templates", done as u32, total));
            let row: Result<Vec<Vec<f32>>> =
                spec.classes.iter().map(|class| Ok(self.text(&fill_class(template, class), cx)?.0.to_vec())).collect();
            texts.push(row?);
        }
        for own in &spec.own_texts {
            texts.push(self.directions(&own.by_class, cx)?);
        }
        let scoring = self.model.scoring();
        let mut images = Vec::new();
        for image in &spec.images {
            cx.progress(Progress::steps("Looking at pictures", (rows + images.len()) as u32, total));
            let mut scored = zero_shot::score(&self.whole(image, cx)?, &texts, scoring, spec.combine);
            if let Some(bare) = self.without_marks(image, cx)? {
                let ZeroShotImage { probabilities, .. } = zero_shot::score(&bare, &texts, scoring, spec.combine);
                scored.probabilities_without_marks = Some(probabilities);
            }
            images.push(scored);
        }
        let classes = spec.classes.clone();
        let templates = spec.templates.iter().chain(spec.own_texts.iter().map(|own| &own.name)).cloned().collect();
        Ok(ZeroShotTable { classes, templates, scoring, images })
    }

    /// For each class the mean direction of its texts; those of the last sets are kept, since there may be tens of thousands of texts.
    fn directions(&self, by_class: &Arc<Vec<Vec<String>>>, cx: &TaskCx<'_>) -> Result<Vec<Vec<f32>>> {
        if let Some((_, known)) = self.sets.borrow().iter().find(|(texts, _)| texts == by_class) {
            return Ok(known.clone());
        }
        let mut directions = Vec::with_capacity(by_class.len());
        for texts in by_class.iter() {
            cx.progress(Progress::steps("Reading the classes' texts", directions.len() as u32, by_class.len() as u32));
            let all: Result<Vec<Vec<f32>>> = texts.iter().map(|text| Ok(self.text_encode(text, cx)?.0)).collect();
            directions.push(zero_shot::mean_direction(all?.iter().map(Vec::as_slice)));
        }
        let mut sets = self.sets.borrow_mut();
        sets.truncate(KEPT_SETS - 1);
        sets.insert(0, (by_class.clone(), directions.clone()));
        Ok(directions)
    }

    /// Unit-norm embeddings, one row for each input.
    ///
    /// # Errors
    /// If the task is cancelled or the tensor library fails.
    pub fn embed(&self, spec: &EmbedSpec, cx: &TaskCx<'_>) -> Result<Vec<Vec<f32>>> {
        match &spec.inputs {
            EmbedInputs::Texts(texts) => texts.iter().map(|text| Ok(self.text(text, cx)?.0.to_vec())).collect(),
            EmbedInputs::Images(images) => images.iter().map(|image| self.image_encode(image, cx)).collect(),
        }
    }

    /// The unit-norm embedding of a text and how many of its tokens were cut, computed anew.
    ///
    /// # Errors
    /// If the task is cancelled or the tensor library fails.
    pub fn text_encode(&self, text: &str, cx: &TaskCx<'_>) -> Result<(Vec<f32>, usize)> {
        // Where later tokens cannot change earlier states, nothing behind the end token needs computing.
        let tokens = match self.model.text.config().needs_padding() {
            true => self.tokenizer.encode_padded(text)?,
            false => self.tokenizer.encode(text)?,
        };
        let ids = [tokens.ids];
        let states = self.model.text.forward(&ids, cx)?;
        let pooled = self.model.text.pool(&states, &ids)?;
        let embedding = self.model.project_text(&pooled)?.flatten_all()?.to_vec1::<f32>()?;
        Ok((finite(embedding)?, tokens.cut))
    }

    /// The unit-norm embedding of a picture as the model was trained to see it, computed anew.
    ///
    /// # Errors
    /// If the task is cancelled or the tensor library fails.
    pub fn image_encode(&self, picture: &Picture, cx: &TaskCx<'_>) -> Result<Vec<f32>> {
        let pixels = self.preprocessor.to_tensor(&self.preprocessor.fitted(picture), self.dtype, &self.device)?;
        let seen = self.model.vision.forward(&pixels, cx)?;
        finite(unit(&seen.pooled)?.flatten_all()?.to_vec1::<f32>()?)
    }

    /// What `Auto` means for this model.
    fn method(&self, asked: HeatmapMethod) -> HeatmapMethod {
        match asked {
            HeatmapMethod::Auto if self.model.is_dense() => HeatmapMethod::Patch,
            HeatmapMethod::Auto => HeatmapMethod::MaskClip,
            method => method,
        }
    }

    fn text(&self, text: &str, cx: &TaskCx<'_>) -> Result<(Rc<Vec<f32>>, usize)> {
        if let Some(known) = self.texts.borrow().get(text) {
            return Ok((known.embedding.clone(), known.cut));
        }
        let (embedding, cut) = self.text_encode(text, cx)?;
        let embedding = Rc::new(embedding);
        let mut texts = self.texts.borrow_mut();
        if texts.len() >= KEPT_TEXTS {
            texts.clear();
        }
        texts.insert(text.to_owned(), KnownText { embedding: embedding.clone(), cut });
        Ok((embedding, cut))
    }

    fn whole(&self, image: &MarkedPicture, cx: &TaskCx<'_>) -> Result<Rc<Vec<f32>>> {
        if let Some(known) = self.known(image).whole {
            return Ok(known);
        }
        let embedding = Rc::new(self.image_encode(&annotate::draw(&image.picture, &image.marks), cx)?);
        self.remember(image, |seen| seen.whole = Some(embedding.clone()));
        Ok(embedding)
    }

    /// The embedding of the picture without its marks, if it has any.
    fn without_marks(&self, image: &MarkedPicture, cx: &TaskCx<'_>) -> Result<Option<Rc<Vec<f32>>>> {
        if image.marks.is_empty() {
            return Ok(None);
        }
        self.whole(&MarkedPicture { picture: image.picture.clone(), marks: Vec::new() }, cx).map(Some)
    }

    fn patches(&self, image: &MarkedPicture, method: HeatmapMethod, cx: &TaskCx<'_>) -> Result<(Tensor, usize, usize)> {
        if let Some((known, patches, rows, columns)) = self.known(image).patches
            && known == method
        {
            return Ok((patches, rows, columns));
        }
        let (side, patch) = (self.model.vision.image_size(), self.model.vision.patch_size());
        let scale = if side <= LENS_SCALE_LIMIT { LENS_SCALE } else { 1 };
        let extent: Extent = lens_extent(image.picture.extent(), side as u32 * scale, patch as u32);
        let picture = resize(&annotate::draw(&image.picture, &image.marks), extent);
        let seen = self.model.vision.forward(&self.preprocessor.to_tensor(&picture, self.dtype, &self.device)?, cx)?;
        let patches = match method {
            HeatmapMethod::Patch => self.model.vision.patches(&seen)?,
            HeatmapMethod::Auto | HeatmapMethod::MaskClip => self.model.vision.values(&seen)?,
        };
        let patches = unit(&patches.squeeze(0)?)?.contiguous()?;
        let found = (method, patches.clone(), seen.rows, seen.columns);
        self.remember(image, |known| known.patches = Some(found));
        Ok((patches, seen.rows, seen.columns))
    }

    fn known(&self, image: &MarkedPicture) -> Seen {
        let seen = self.seen.borrow();
        let found = seen.iter().find(|seen| seen.picture == image.picture.revision() && seen.marks == image.marks);
        found.cloned().unwrap_or_else(|| Seen {
            picture: image.picture.revision(),
            marks: image.marks.clone(),
            whole: None,
            patches: None,
        })
    }

    fn remember(&self, image: &MarkedPicture, change: impl FnOnce(&mut Seen)) {
        let mut known = self.known(image);
        change(&mut known);
        let mut seen = self.seen.borrow_mut();
        seen.retain(|old| old.picture != known.picture || old.marks != known.marks);
        if seen.len() >= KEPT_PICTURES {
            seen.remove(0);
        }
        seen.push(known);
    }
}

/// Refuses what is no longer numbers.
fn finite(values: Vec<f32>) -> Result<Vec<f32>> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    let reason = "this model's numbers grew beyond all bounds, so nothing can be compared: its weights or its \
                  preprocessor_config.json are damaged, or it needs --precision f32";
    Err(ModelError::BadInput(reason.to_owned()))
}
