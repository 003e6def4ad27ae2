//! Keeping the live panels current: compares what each panel should show with what was last asked, and asks anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::background::FileTask;
use super::drawn::Drawn;
use super::named::KnownFile;
use super::notices::Level;
use super::resources::Wanted;
use super::{Workbench, prepare};
use crate::engine::{InteractiveKind, JobId, Lane};
use crate::job::JobSpec;
use crate::job::output::TokenizedText;
use crate::job::spec::{CountTokensSpec, GenerateSpec};
use crate::prompt::phrase::{is_plain, phrase_at};
use crate::prompt::reading::is_dynamic;
use crate::prompt::source::Traced;
use crate::prompt::stack::compose_traced;
use crate::registry::Sort;

/// A live picture is asked for after this much quiet: short, because a newer request stops an older one at once.
const PREVIEW_QUIET: Duration = Duration::from_millis(90);

/// Prompt and negative prompt with their tokens.
#[derive(Debug)]
pub struct TokenizedPrompts {
    /// The prompts as they were typed: the places of tokens are theirs. A token that stands for no typed word has an empty one.
    pub texts: [String; 2],
    /// How they are read, templates over them and everything drawn.
    pub tokens: [TokenizedText; 2],
    /// At which step, counted from 1.
    pub step: u32,
}

/// The question for tokens, and the last answer.
#[derive(Debug)]
pub(super) struct Tokens {
    /// The step whose words are asked for, counted from 1; the last one if there are fewer.
    pub(super) step: u32,
    pub(super) asked: Option<AskedTokens>,
    pub(super) job: Option<JobId>,
    pub(super) of: Option<TokenizedPrompts>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { step: 1, asked: None, job: None, of: None }
    }
}

/// A question for tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AskedTokens {
    spec: CountTokensSpec,
    /// The prompts as they were typed.
    typed: [String; 2],
    /// What became of them.
    made: [Traced; 2],
}

impl AskedTokens {
    /// The answer, with places in the prompts as they were typed.
    pub(super) fn answered(&self, mut tokens: [TokenizedText; 2]) -> TokenizedPrompts {
        for (text, made) in tokens.iter_mut().zip(&self.made) {
            let encoders = text.parts.iter_mut().flatten();
            for token in encoders.flat_map(|encoder| &mut encoder.chunks).flatten() {
                token.span = made.span(token.span.clone());
            }
        }
        TokenizedPrompts { texts: self.typed.clone(), tokens, step: self.spec.step }
    }
}

impl Workbench {
    /// Submits what live panels need. Returns when the next debounce ends.
    pub(super) fn submit_live(&mut self) -> Option<Duration> {
        self.ask_reader();
        self.read_resources();
        self.submit_tokens();
        self.submit_heatmap();
        self.submit_zero_shot();
        self.submit_preview()
    }

    fn ask_reader(&mut self) {
        for warning in self.reader.poll() {
            self.notices.add(Level::Warning, super::sentence(&warning), None);
        }
        let question = prepare::question(self.document());
        self.reader.ask(question);
    }

    /// Has files read that the document asks for by name, and the list of what there is, once.
    fn read_resources(&mut self) {
        if self.folders.is_some() && self.models.known().is_none() && !self.models.is_pending() {
            self.read_models();
        }
        let wanted = self.resources.follow(self.history.document(), self.models.known());
        self.read(wanted);
        let document = self.history.document();
        let (prompt, negative) = document.words();
        if is_dynamic(&prompt) || is_dynamic(&negative) {
            // What is drawn may name others.
            let spec = prepare::generate(document, &self.preferences, self.preview.target, 1).ok();
            if let Some(spec) = spec.and_then(|spec| Drawn::live(spec, &self.reader)) {
                let wanted = self.resources.follow_drawn([&spec.prompt, &spec.negative], self.models.known());
                self.read(wanted);
            }
        }
    }

    fn read(&mut self, wanted: Vec<Wanted>) {
        if !wanted.is_empty() {
            let presets = self.folders.as_ref().map(|folders| folders.presets.clone());
            self.background.start(FileTask::ReadResources { presets, wanted });
        }
    }

    /// The request for what the preview shows, once the reader has drawn it: a frame has no time for that.
    fn live_spec(&self) -> Result<GenerateSpec, prepare::NothingToGenerate> {
        let spec = prepare::generate(self.history.document(), &self.preferences, self.preview.target, 1)?;
        let mut spec = Drawn::live(spec, &self.reader).ok_or(prepare::NothingToGenerate::Reading)?;
        self.resources.apply(&mut spec, &self.history.document().steering, self.models.known())?;
        Ok(spec)
    }

    /// The same for callers that cannot wait, with everything drawn here and now.
    pub(super) fn drawn_spec(&mut self) -> Result<GenerateSpec, prepare::NothingToGenerate> {
        let specs = self.drawn_specs(1)?;
        specs.into_iter().next().ok_or(prepare::NothingToGenerate::Reading)
    }

    /// The requests for `count` pictures of it: one for all of them, or one for each if they are of different words.
    pub(super) fn drawn_specs(&mut self, count: u32) -> Result<Vec<GenerateSpec>, prepare::NothingToGenerate> {
        let spec = prepare::generate(self.history.document(), &self.preferences, self.preview.target, count)?;
        let mut specs = self.drawn.each(spec, &self.reader);
        for spec in &specs {
            let wanted = self.resources.follow_drawn([&spec.prompt, &spec.negative], self.models.known());
            self.read(wanted);
        }
        for spec in &mut specs {
            self.resources.apply(spec, &self.history.document().steering, self.models.known())?;
        }
        Ok(specs)
    }

    /// The request for `count` pictures of it before anything is drawn, with the LoRAs that are chosen.
    pub(super) fn chosen_spec(&self, count: u32) -> Result<GenerateSpec, prepare::NothingToGenerate> {
        let document = self.document();
        let mut spec = prepare::generate(document, &self.preferences, self.preview.target, count)?;
        self.resources.apply_chosen(&mut spec, &document.steering)?;
        Ok(spec)
    }

    /// The LoRAs and learned words on this machine, for finding by name what prompts ask for.
    pub(super) fn known_files(&self) -> Vec<KnownFile> {
        let models = self.models.known().unwrap_or_default().iter();
        let models = models.filter(|model| matches!(model.sort, Sort::Lora | Sort::Embedding));
        let known = models.map(|model| KnownFile {
            sort: model.sort,
            name: model.name.clone(),
            path: PathBuf::from(&model.reference.0),
        });
        known.collect()
    }

    fn submit_tokens(&mut self) {
        let document = self.history.document();
        let mut made = compose_traced(&document.stack, &document.prompt, &document.negative);
        if made.iter().any(|text| is_dynamic(text.text())) {
            // What is drawn is counted, as soon as it is known.
            let Some(reading) = self.reader.reading().filter(|_| self.reader.is_current()) else { return };
            made.clone_from(&reading.made);
        }
        let spec = prepare::count_tokens(document, &self.preferences, &made, self.tokens.step);
        let wanted = AskedTokens { spec, typed: [document.prompt.clone(), document.negative.clone()], made };
        if self.tokens.asked.as_ref() != Some(&wanted) {
            let job = JobSpec::CountTokens(wanted.spec.clone());
            self.tokens.asked = Some(wanted);
            self.tokens.job = Some(self.submit(job, Lane::Interactive(InteractiveKind::Tokens)));
        }
    }

    /// Takes note of the phrase under the caret of the prompt. If the prompt has signs of the language, what it says is known a moment
    /// after it is typed; until then the phrase stays.
    fn follow_caret(&mut self) {
        let (prompt, caret) = (&self.history.document().prompt, self.prompt_caret);
        if !self.preferences.lens_follows_prompt {
            return;
        }
        if is_plain(prompt) {
            self.lens.looked_at = None;
            let phrase = phrase_at(prompt, caret);
            if self.lens.under_caret != phrase {
                self.lens.under_caret = phrase.to_owned();
            }
            return;
        }
        let Some(reading) = self.reader.reading().filter(|_| self.reader.is_current()) else { return };
        let looked_at = self.lens.looked_at.as_ref();
        if !looked_at.is_some_and(|(known, at)| Arc::ptr_eq(known, reading) && *at == caret) {
            self.lens.under_caret = reading.said.phrase_at(prompt, caret).to_owned();
            self.lens.looked_at = Some((reading.clone(), caret));
        }
    }

    fn submit_heatmap(&mut self) {
        // While a mark is being drawn the picture changes with every move; the lens follows when it is done.
        if self.history.in_gesture() {
            return;
        }
        self.follow_caret();
        let wanted = prepare::heatmap(self.document(), &self.preferences, self.lens_phrase());
        if self.lens.asked == wanted {
            return;
        }
        self.lens.failed = None;
        self.lens.asked.clone_from(&wanted);
        match wanted {
            Some(spec) => {
                self.lens.job = Some(self.submit(JobSpec::Heatmap(spec), Lane::Interactive(InteractiveKind::Heatmap)));
            }
            None => {
                self.lens.map = None;
                if let Some(job) = self.lens.job.take() {
                    self.engine.cancel(job);
                }
            }
        }
    }

    fn submit_zero_shot(&mut self) {
        if self.history.in_gesture() {
            return;
        }
        let (document, library) = (self.history.document(), self.shelf.library());
        let wanted = prepare::zero_shot(document, &self.preferences, library, &mut self.zero_shot.texts);
        if self.zero_shot.asked == wanted {
            return;
        }
        self.zero_shot.failed = wanted.as_ref().err().cloned();
        self.zero_shot.asked.clone_from(&wanted);
        match wanted.unwrap_or_default() {
            Some(spec) => {
                self.zero_shot.job =
                    Some(self.submit(JobSpec::ZeroShot(spec), Lane::Interactive(InteractiveKind::Scores)));
            }
            None => {
                self.zero_shot.table = None;
                if let Some(job) = self.zero_shot.job.take() {
                    self.engine.cancel(job);
                }
            }
        }
    }

    fn submit_preview(&mut self) -> Option<Duration> {
        if self.history.in_gesture() {
            return None;
        }
        if !self.preferences.live_preview {
            self.preview.asked = None;
            self.preview.changed = None;
            if let Some(job) = self.preview.job.take() {
                self.engine.cancel(job);
            }
            return None;
        }
        let wanted = match self.live_spec() {
            Ok(spec) => spec,
            // A moment only; until then the picture stays.
            Err(prepare::NothingToGenerate::Reading) => return None,
            Err(missing) => {
                self.preview.failed = Some(super::sentence(&missing.to_string()));
                self.preview.asked = None;
                self.preview.changed = None;
                self.preview.live = None;
                if let Some(job) = self.preview.job.take() {
                    self.engine.cancel(job);
                }
                return None;
            }
        };
        if self.preview.asked.as_ref() == Some(&wanted) {
            self.preview.changed = None;
            return None;
        }
        let since = match &self.preview.changed {
            Some((spec, since)) if *spec == wanted => *since,
            _ => {
                self.preview.changed = Some((wanted.clone(), self.now));
                self.now
            }
        };
        // The very first picture need not wait for quiet.
        let quiet = if self.preview.asked.is_none() { Duration::ZERO } else { PREVIEW_QUIET };
        let due = since + quiet;
        if self.now < due {
            return Some(due);
        }
        self.preview.changed = None;
        self.preview.failed = None;
        self.preview.asked = Some(wanted.clone());
        self.preview.select(None);
        self.preview.job = Some(self.submit(JobSpec::Generate(wanted), Lane::Interactive(InteractiveKind::Preview)));
        None
    }
}
