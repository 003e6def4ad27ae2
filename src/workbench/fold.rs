//! Folding what the engine and the background threads tell into the state, and the commands that start them.

use std::sync::Arc;

use super::background::{FileDone, FileTask};
use super::command::FileCommand;
use super::lens::LensMap;
use super::notices::Level;
use super::preview::{LivePicture, MadePicture};
use super::proposal::{Field, Proposal};
use super::tools::Gesture;
use super::{Action, PreviewTarget, Workbench, prepare, sentence};
use crate::base::pixels::{Picture, Revision};
use crate::base::task::Progress;
use crate::document::{ControlPicture, Edit};
use crate::engine::{Event, EventKind, JobId, Lane};
use crate::job::output::Generated;
use crate::job::{JobError, JobOutput, JobSpec};

impl Workbench {
    pub(super) fn fold_events(&mut self) {
        for Event { id, kind } in self.engine.poll() {
            self.compare_event(id, &kind);
            match kind {
                EventKind::Started => self.jobs.started(id, self.now),
                EventKind::Progress(progress) => self.on_progress(id, &progress),
                EventKind::Finished(output) => {
                    self.on_finished(id, &output);
                    self.jobs.ended(id);
                }
                EventKind::Failed(error) => {
                    self.on_failed(id, &error);
                    self.jobs.ended(id);
                }
                EventKind::Cancelled => {
                    self.on_cancelled(id);
                    self.jobs.ended(id);
                }
            }
        }
    }

    fn on_progress(&mut self, id: JobId, progress: &Progress) {
        self.jobs.progressed(id, progress);
        if self.preview.job == Some(id)
            && let (Some(picture), Some(spec)) = (&progress.preview, &self.preview.asked)
        {
            self.preview.live =
                Some(LivePicture { picture: picture.clone(), is_final: false, spec: spec.clone(), job: id });
        }
    }

    fn on_finished(&mut self, id: JobId, output: &Arc<JobOutput>) {
        match &**output {
            JobOutput::Tokens { prompt, negative } if self.tokens.job == Some(id) => {
                let asked = self.tokens.asked.as_ref();
                self.tokens.of = asked.map(|asked| asked.answered([prompt.clone(), negative.clone()]));
            }
            JobOutput::Heatmaps(maps) if self.lens.job == Some(id) => {
                let picture = self.lens.asked.as_ref().map(|asked| asked.image.picture.revision());
                self.lens.map = maps.phrases.first().zip(picture).map(|(phrase, picture)| LensMap {
                    phrase: Arc::new(phrase.clone()),
                    picture,
                    revision: Revision::fresh(),
                });
            }
            JobOutput::ZeroShot(table) if self.zero_shot.job == Some(id) => {
                self.zero_shot.table = Some(Arc::new(table.clone()));
            }
            JobOutput::Pictures(generated) => self.on_pictures(id, generated),
            _ => {}
        }
        self.library_job_finished(id, output);
        self.forget_job(id);
    }

    fn on_pictures(&mut self, id: JobId, generated: &Generated) {
        if self.preview.job == Some(id) {
            if let (Some((_, picture)), Some(spec)) = (generated.pictures.first(), &self.preview.asked) {
                self.preview.live =
                    Some(LivePicture { picture: picture.clone(), is_final: true, spec: spec.clone(), job: id });
            }
            self.preview.remarks.clone_from(&generated.remarks);
            return;
        }
        let Some(at) = self.preview.batches.iter().position(|(batch, _)| *batch == id) else { return };
        let (_, spec) = self.preview.batches.swap_remove(at);
        for remark in &generated.remarks {
            self.notices.add(Level::Info, sentence(remark), None);
        }
        let hash = &generated.model_hash;
        let made: Vec<MadePicture> = generated
            .pictures
            .iter()
            .map(|(seed, picture)| MadePicture {
                picture: picture.clone(),
                seed: *seed,
                spec: spec.clone(),
                model_hash: hash.clone(),
            })
            .collect();
        self.keep_pictures(&made, self.seconds_of(id));
        self.preview.add_results(made);
    }

    fn on_failed(&mut self, id: JobId, error: &JobError) {
        let text = sentence(&error.to_string());
        if self.lens.job == Some(id) {
            self.lens.failed = Some(text.clone());
            self.lens.map = None;
        }
        if self.zero_shot.job == Some(id) {
            self.zero_shot.failed = Some(text.clone());
            self.zero_shot.table = None;
        }
        if self.preview.job == Some(id) {
            self.preview.failed = Some(text.clone());
        }
        let name = self.jobs.get(id).map_or("Job", |job| job.name);
        self.notices.add(Level::Error, format!("{name}: {text}"), None);
        self.forget_job(id);
    }

    /// A live request that was stopped and not replaced stays unanswered until something changes; its panel says so.
    fn on_cancelled(&mut self, id: JobId) {
        let stopped = || Some("Stopped. Any change starts it again.".to_owned());
        if self.lens.job == Some(id) {
            self.lens.failed = stopped();
            self.lens.map = None;
        }
        if self.zero_shot.job == Some(id) {
            self.zero_shot.failed = stopped();
            self.zero_shot.table = None;
        }
        if self.preview.job == Some(id) {
            self.preview.failed = stopped();
        }
        if self.tokens.job == Some(id) {
            self.tokens.of = None;
        }
        self.forget_job(id);
    }

    fn forget_job(&mut self, id: JobId) {
        self.library_job_ended(id);
        let slots = [&mut self.tokens.job, &mut self.lens.job, &mut self.zero_shot.job, &mut self.preview.job];
        for slot in slots {
            if *slot == Some(id) {
                *slot = None;
            }
        }
        self.preview.batches.retain(|(batch, _)| *batch != id);
    }

    pub(super) fn gesture(&mut self, gesture: Gesture) {
        if self.document().canvas.is_none() {
            return;
        }
        let ends = matches!(gesture, Gesture::End(_));
        for edit in self.tools.on_gesture(gesture, &mut self.history) {
            self.edit(edit);
        }
        if ends {
            self.history.end_gesture();
        }
    }

    /// A step of its own.
    pub(super) fn edit_apart(&mut self, edit: Edit) {
        self.history.end_run();
        self.edit(edit);
        self.history.end_run();
    }

    /// Keeps parameters from outside until they are taken over or dropped; text that holds none is nothing.
    pub(super) fn propose(&mut self, source: &str, text: &str) {
        let read = Proposal::read(source, text, self.document());
        if let Some(proposal) = read.filter(|proposal| !proposal.changes(self.document()).is_empty()) {
            self.proposal = Some(proposal);
        }
    }

    pub(super) fn apply_proposal(&mut self, without: &[Field]) {
        let Some(proposal) = self.proposal.take() else { return };
        let edits = proposal.edits(self.document(), without);
        // One step, whatever it changes.
        self.history.end_gesture();
        self.history.begin_gesture();
        for edit in edits {
            self.edit(edit);
        }
        self.history.end_gesture();
    }

    pub(super) fn generate(&mut self, count: u32) {
        match self.drawn_specs(count.clamp(1, 64)) {
            Ok(specs) => {
                for spec in specs {
                    let id = self.submit(JobSpec::Generate(spec.clone()), Lane::Batch);
                    self.preview.batches.push((id, spec));
                }
                // The picture that was previewed is the one that is made; the next one is another.
                if !self.preferences.seed_locked {
                    self.new_seed();
                }
            }
            // It is made as soon as everything is read.
            Err(prepare::NothingToGenerate::Reading) => self.preview.waiting = Some(count),
            Err(missing) => {
                let fix = match missing {
                    prepare::NothingToGenerate::NoMask => Action::ToolBrush,
                    prepare::NothingToGenerate::Unusable(_) => Action::AddModels,
                    _ => Action::Open,
                };
                self.notices.add(Level::Warning, sentence(&missing.to_string()), Some(fix));
            }
        }
    }

    pub(super) fn new_seed(&mut self) {
        let mut sampling = self.document().sampling.clone();
        // Short seeds are easier to read, to remember and to pass on.
        sampling.seed = u64::from(rand::random::<u32>());
        self.edit(Edit::SetSampling(sampling));
    }

    pub(super) fn send_to_canvas(&mut self, index: Option<usize>) {
        let chosen = index.or(self.preview.selected());
        let (picture, name) = match chosen {
            Some(index) => match self.preview.results().get(index) {
                Some(made) => (made.picture.clone(), format!("Seed {}", made.seed)),
                None => return,
            },
            None => match self.preview.live() {
                Some(live) if live.is_final => (live.picture.clone(), "Preview".to_owned()),
                _ => return,
            },
        };
        self.edit(Edit::OpenPicture { picture, name });
        if self.preview.target == PreviewTarget::Inpaint {
            // The new canvas has no mask yet; a live inpainting of nothing would only be an error.
            self.preview.set_target(PreviewTarget::NewPicture);
        }
    }

    pub(super) fn file(&mut self, command: FileCommand) {
        let task = match command {
            FileCommand::Open(path) => FileTask::Open(path),
            FileCommand::OpenDropped(path) => FileTask::OpenDropped(path),
            FileCommand::OpenControl(index, path) => FileTask::OpenControl { index, path },
            FileCommand::OpenSample(name) => FileTask::OpenSample(name),
            FileCommand::Paste { extent, rgba } => FileTask::Convert { extent, rgba },
            FileCommand::SaveCanvas(path) => match &self.document().canvas {
                Some(canvas) => FileTask::SavePicture { path, picture: canvas.picture.clone(), metadata: None },
                None => return,
            },
            FileCommand::SaveMask(path) => match &self.document().canvas {
                Some(canvas) => FileTask::SaveMask { path, mask: canvas.mask.clone() },
                None => return,
            },
            FileCommand::SaveResult(index, path) => match self.preview.results().get(index) {
                Some(made) => FileTask::SavePicture {
                    path,
                    picture: made.picture.clone(),
                    metadata: Some(Box::new((made.spec.clone(), made.seed, made.model_hash.clone()))),
                },
                None => return,
            },
        };
        self.background.start(task);
    }

    fn set_control_picture(&mut self, index: usize, picture: Picture, name: String) {
        let mut steering = self.document().steering.clone();
        // It may have been taken away while the file was read.
        if let Some(control) = steering.controls.get_mut(index) {
            control.picture = ControlPicture::File { picture, name };
            self.edit(Edit::SetSteering(Box::new(steering)));
        }
    }

    pub(super) fn read_models(&mut self) {
        self.models.ask();
        let presets = self.folders.as_ref().map(|folders| folders.presets.clone());
        self.background.start(FileTask::ReadModels(presets));
    }

    pub(super) fn add_models(&mut self, path: std::path::PathBuf) {
        let presets = self.folders.as_ref().map(|folders| folders.presets.clone());
        self.background.start(FileTask::AddModels { presets, path });
    }

    pub(super) fn fold_background(&mut self) {
        while let Some(done) = self.background.poll() {
            match done {
                FileDone::Opened { picture, name, parameters } => {
                    // A stroke under way was meant for the picture that is going.
                    self.tools.abort(&mut self.history);
                    if let Some(text) = parameters {
                        self.propose(&name, &text);
                    }
                    self.edit(Edit::OpenPicture { picture, name });
                }
                FileDone::Saved { path } => {
                    self.notices.add(Level::Info, format!("Saved {}.", path.display()), None);
                }
                FileDone::ModelsRead(read) => {
                    if let Err(reason) = &read {
                        self.notices.add(Level::Error, sentence(reason), None);
                    }
                    self.models.on_read(read.ok());
                    self.reader.models_changed();
                    // Files may have come, gone or changed.
                    self.resources.forget();
                }
                FileDone::ResourcesRead(answers) => {
                    self.resources.on_read(answers);
                    if let Some(count) = self.preview.waiting.take() {
                        self.generate(count);
                    }
                }
                FileDone::ControlOpened { index, picture, name } => self.set_control_picture(index, picture, name),
                FileDone::ModelsAdded { text } => {
                    self.notices.add(Level::Info, text, None);
                    self.read_models();
                }
                FileDone::Library(done) => self.fold_library(done),
                FileDone::Failed { text } => self.notices.add(Level::Error, sentence(&text), None),
            }
        }
    }
}
