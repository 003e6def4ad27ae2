//! Rendering thumbnails and measuring effects: one job of the batch lane after the other.

use std::collections::VecDeque;
use std::time::Duration;

use super::effect::{EffectReport, KnownEffect, Measurement};
use super::tasks::{Beside, LibraryTask, Scene};
use super::thumbnails::{Run, Thumbnail, Wanted};
use super::{FIRST_SEED, Item, QUIET, Running};
use crate::base::pixels::Picture;
use crate::document::Document;
use crate::engine::{JobId, Lane};
use crate::job::sampling::Sampling;
use crate::job::{JobOutput, JobSpec, ModelRef};
use crate::workbench::background::FileTask;
use crate::workbench::notices::Level;
use crate::workbench::{Workbench, sentence};

/// What thumbnails and effects depend on beside their item.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ground {
    words: (String, String),
    sampling: Sampling,
    models: (ModelRef, ModelRef),
    beside: Beside,
    /// How often the files had changed that prompts name.
    files: u64,
}

impl Workbench {
    fn ground(&self) -> Ground {
        let models = (self.preferences.diffusion_model.clone(), self.preferences.clip_model.clone());
        let sampling = Sampling { seed: FIRST_SEED, ..self.document().sampling.clone() };
        let (words, files) = (self.document().words(), self.resources.revision());
        Ground { words, sampling, models, beside: self.beside(), files }
    }

    /// What steers whatever the words name. A ControlNet that follows the canvas, say, while there is none, is left out.
    fn beside(&self) -> Beside {
        self.chosen_spec(1).map(Beside::of).unwrap_or_default()
    }

    /// The document with a seed that stays: what is known of the library is not lost with each throw of the dice.
    fn without_chance(&self) -> Document {
        let mut document = self.document().clone();
        document.sampling.seed = FIRST_SEED;
        document
    }

    /// Marks what is of another prompt, and looks up what is kept of this one when it has been left alone for a moment.
    /// Returns when to call again.
    pub(in crate::workbench) fn look_up_kept(&mut self) -> Option<Duration> {
        let ground = self.ground();
        if self.shelf.looked_up.as_ref() == Some(&ground) || self.shelf.cache.is_none() {
            return None;
        }
        let since = match &self.shelf.changed {
            Some((known, since)) if *known == ground => *since,
            _ => {
                self.shelf.thumbnails.all_are_old();
                self.shelf.effects.known.values_mut().for_each(|known| known.is_current = false);
                self.shelf.changed = Some((ground.clone(), self.now));
                self.now
            }
        };
        if self.now < since + QUIET {
            return Some(since + QUIET);
        }
        let library = &self.shelf.library;
        let modifiers = library.modifiers.iter().flat_map(|category| &category.modifiers);
        let items = modifiers
            .map(|one| Item::Modifier(one.text.clone()))
            .chain(library.templates.iter().map(|one| Item::Template(one.name.clone())))
            .chain(library.styles.iter().map(|one| Item::Style(one.name.clone())));
        let items = items.collect();
        self.find_kept(items, false);
        None
    }

    pub(super) fn find_kept(&mut self, items: Vec<Item>, renders: bool) {
        if renders && self.shelf.thumbnails.run.is_some() {
            return;
        }
        let ground = self.ground();
        if !renders || self.shelf.cache.is_none() {
            (self.shelf.looked_up, self.shelf.changed) = (Some(ground), None);
        }
        self.shelf.search += 1;
        let scene = Box::new(self.scene());
        let (cache, number, files) = (self.shelf.cache.clone(), self.shelf.search, self.shelf.files.clone());
        self.background.start(FileTask::Library(LibraryTask::Find { cache, scene, files, items, number, renders }));
    }

    fn scene(&self) -> Scene {
        Scene {
            document: self.without_chance(),
            preferences: self.preferences.clone(),
            library: self.shelf.library.clone(),
            seeds: self.shelf.effects.seeds,
            beside: self.beside(),
            known: self.known_files(),
        }
    }

    pub(super) fn on_found(
        &mut self,
        number: u64,
        renders: bool,
        found: Vec<(Wanted, Option<Picture>)>,
        effects: Vec<EffectReport>,
        refused: &[(Item, String)],
    ) {
        let is_newest = number == self.shelf.search;
        if !is_newest && !renders {
            return;
        }
        let mut missing = VecDeque::new();
        let (document, beside) = (self.without_chance(), self.beside());
        for (wanted, picture) in found {
            match picture {
                Some(picture) => self.show_thumbnail(&wanted, picture, &document, &beside),
                None => missing.push_back(wanted),
            }
        }
        for report in effects {
            let known = KnownEffect { report, is_current: is_newest };
            self.shelf.effects.known.insert(known.report.modifier.clone(), known);
        }
        if renders && let Some((item, why)) = refused.first() {
            let others = match refused.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more thumbnails cannot)"),
            };
            let text = format!("\"{}\" cannot be rendered: {why}{others}", item.name());
            self.notices.add(Level::Warning, sentence(&text), None);
        }
        if renders && !missing.is_empty() {
            let total = missing.len();
            self.shelf.thumbnails.run = Some(Run { waiting: missing, total, ..Run::default() });
            self.render_next();
        }
    }

    /// Shows a thumbnail and says whether it is what would be made of `document` now.
    fn show_thumbnail(&mut self, wanted: &Wanted, picture: Picture, document: &Document, beside: &Beside) {
        let spec = &wanted.spec;
        let now = wanted.item.on(document, &self.shelf.library);
        let is_current = now.is_some_and(|now| {
            now.words() == wanted.words
                && now.sampling == spec.sampling
                && self.preferences.diffusion_model == spec.model
                && *beside == wanted.beside
        });
        let thumbnail = Thumbnail { picture, prompt: spec.prompt.clone(), is_current };
        self.shelf.thumbnails.shown.insert(wanted.item.clone(), thumbnail);
    }

    fn render_next(&mut self) {
        let Some(run) = &mut self.shelf.thumbnails.run else { return };
        let Some(wanted) = run.waiting.pop_front() else {
            self.shelf.thumbnails.run = None;
            return;
        };
        let id = self.submit(JobSpec::Generate(wanted.spec.clone()), Lane::Batch);
        if let Some(run) = &mut self.shelf.thumbnails.run {
            run.job = Some((id, wanted));
        }
    }

    pub(super) fn on_kept(&mut self, wanted: &Wanted, small: Picture, warning: Option<String>) {
        let (document, beside) = (self.without_chance(), self.beside());
        self.show_thumbnail(wanted, small, &document, &beside);
        if let Some(warning) = warning {
            self.notices.add(Level::Warning, sentence(&warning), None);
        }
    }

    pub(super) fn stop_thumbnails(&mut self) {
        if let Some(run) = self.shelf.thumbnails.run.take()
            && let Some((id, _)) = run.job
        {
            self.engine.cancel(id);
        }
    }

    pub(super) fn measure(&mut self, modifiers: Vec<String>, seeds: u32) {
        let effects = &mut self.shelf.effects;
        effects.seeds = seeds.clamp(1, 64);
        if effects.running.is_none() {
            (effects.done, effects.total) = (0, 0);
        }
        let new: Vec<String> = modifiers.into_iter().filter(|one| !effects.waiting.contains(one)).collect();
        effects.total += new.len();
        effects.waiting.extend(new);
        if effects.running.is_none() {
            self.measure_next();
        }
    }

    fn measure_next(&mut self) {
        let Some(modifier) = self.shelf.effects.waiting.pop_front() else { return };
        let (ground, scene, files) = (self.ground(), Box::new(self.scene()), self.shelf.files.clone());
        let effects = &mut self.shelf.effects;
        effects.number += 1;
        effects.running = Some(Running { modifier: modifier.clone(), ground, job: None });
        let (baseline, number) = (effects.baseline.clone().map(Box::new), effects.number);
        self.background.start(FileTask::Library(LibraryTask::Prepare { scene, files, modifier, baseline, number }));
    }

    pub(super) fn on_prepared(&mut self, number: u64, measurement: Result<Box<Measurement>, String>) {
        let effects = &mut self.shelf.effects;
        if effects.number != number || effects.running.is_none() {
            return;
        }
        match measurement {
            Ok(measurement) => self.measure_on(*measurement),
            Err(why) => {
                let modifier = effects.running.take().map(|running| running.modifier).unwrap_or_default();
                effects.done += 1;
                let text = format!("\"{modifier}\" cannot be measured: {why}");
                self.notices.add(Level::Warning, sentence(&text), None);
                self.measure_next();
            }
        }
    }

    /// The next job of the measurement that is running, or its end.
    fn measure_on(&mut self, measurement: Measurement) {
        if let Some(spec) = measurement.next() {
            let id = self.submit(spec, Lane::Batch);
            if let Some(running) = &mut self.shelf.effects.running {
                running.job = Some((measurement, id));
            }
        } else {
            self.measured(&measurement);
            self.measure_next();
        }
    }

    pub(super) fn stop_measuring(&mut self) {
        self.shelf.effects.waiting.clear();
        if let Some((_, id)) = self.shelf.effects.running.take().and_then(|running| running.job) {
            self.engine.cancel(id);
        }
    }

    /// A job ended well; does nothing if it is neither a thumbnail nor part of a measurement.
    pub(in crate::workbench) fn library_job_finished(&mut self, id: JobId, output: &JobOutput) {
        if let Some(run) = &mut self.shelf.thumbnails.run
            && run.job.as_ref().is_some_and(|(job, _)| *job == id)
            && let Some((_, wanted)) = run.job.take()
        {
            run.done += 1;
            if let JobOutput::Pictures(made) = output
                && let Some((_, picture)) = made.pictures.first()
            {
                let (picture, model_hash) = (picture.clone(), made.model_hash.clone());
                let (cache, wanted) = (self.shelf.cache.clone(), Box::new(wanted));
                let task = LibraryTask::KeepThumbnail { cache, wanted, picture, model_hash };
                self.background.start(FileTask::Library(task));
            }
            self.render_next();
        }
        let running = self.shelf.effects.running.as_mut();
        if let Some((mut measurement, _)) = running.and_then(|running| running.job.take_if(|(_, job)| *job == id)) {
            measurement.take(output);
            self.measure_on(measurement);
        }
    }

    fn measured(&mut self, measurement: &Measurement) {
        self.shelf.effects.done += 1;
        self.shelf.effects.baseline = measurement.baseline();
        let running = self.shelf.effects.running.take();
        let Some(report) = measurement.report().cloned() else { return };
        let key = measurement.key();
        let is_current = running.is_some_and(|running| running.ground == self.ground());
        if let Some(cache) = self.shelf.cache.clone() {
            let report = Box::new(report.clone());
            self.background.start(FileTask::Library(LibraryTask::KeepEffect { cache, key, report }));
        }
        self.shelf.effects.known.insert(report.modifier.clone(), KnownEffect { report, is_current });
    }

    /// A job failed or was stopped: what it was part of stops with it.
    pub(in crate::workbench) fn library_job_ended(&mut self, id: JobId) {
        let run = self.shelf.thumbnails.run.as_ref();
        if run.is_some_and(|run| run.job.as_ref().is_some_and(|(job, _)| *job == id)) {
            self.shelf.thumbnails.run = None;
        }
        let measuring = self.shelf.effects.running.as_ref().and_then(|running| running.job.as_ref());
        if measuring.is_some_and(|(_, job)| *job == id) {
            self.stop_measuring();
        }
    }
}
