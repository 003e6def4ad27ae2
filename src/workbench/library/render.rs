//! Rendering thumbnails and measuring effects: one job of the batch lane after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::effect::{EffectReport, KnownEffect, Measurement};
use super::tasks::{Beside, Found, LibraryTask, Scene};
use super::thumbnails::{Run, Thumbnail, Wanted};
use super::{FIRST_SEED, Item, QUIET, Running};
use crate::base::pixels::Picture;
use crate::document::Document;
use crate::engine::{JobId, Lane};
use crate::job::sampling::Sampling;
use crate::job::{JobOutput, JobSpec, ModelRef};
use crate::workbench::background::FileTask;
use crate::workbench::command::PreviewTarget;
use crate::workbench::notices::Level;
use crate::workbench::prepare::NothingToGenerate;
use crate::workbench::{Workbench, prepare, sentence};

/// What thumbnails and effects depend on beside their item.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::workbench) struct Ground {
    words: (String, String),
    sampling: Sampling,
    models: (ModelRef, ModelRef),
    /// Why it is not known, otherwise: a file that is chosen may be missing.
    beside: Result<Beside, NothingToGenerate>,
    /// How often the files had changed that prompts name, and how often the library.
    revisions: [u64; 2],
}

impl Ground {
    /// Whether pictures of the same words are the same on `other`.
    fn makes_as(&self, other: &Self) -> bool {
        self.sampling == other.sampling
            && self.models.0 == other.models.0
            && self.beside == other.beside
            && self.revisions == other.revisions
    }
}

impl Workbench {
    fn ground(&self) -> Ground {
        let models = (self.preferences.diffusion_model.clone(), self.preferences.clip_model.clone());
        let sampling = Sampling { seed: FIRST_SEED, ..self.document().sampling.clone() };
        let revisions = [self.resources.revision(), self.shelf.revision];
        Ground { words: self.document().words(), sampling, models, beside: self.beside(), revisions }
    }

    /// What steers whatever the words name. ControlNets are left out if one that follows the canvas has none.
    fn beside(&self) -> Result<Beside, NothingToGenerate> {
        if self.models.known().is_none() && self.models.is_pending() {
            // What prompts name is not known yet.
            return Err(NothingToGenerate::Reading);
        }
        let document = self.document();
        let generate =
            |document: &Document| prepare::generate(document, &self.preferences, PreviewTarget::NewPicture, 1);
        let spec = generate(document).or_else(|_| generate(&self.without_chance()));
        let mut spec = spec?;
        self.resources.apply_chosen(&mut spec, &document.steering)?;
        Ok(Beside::of(spec))
    }

    /// The document with a seed that stays: what is known of the library is not lost with each throw of the dice. And without
    /// ControlNets.
    fn without_chance(&self) -> Document {
        let mut document = self.document().clone();
        document.sampling.seed = FIRST_SEED;
        document.steering.controls.clear();
        document
    }

    /// Marks what is of another prompt, and looks up what is kept of this one when it has been left alone for a moment.
    /// Returns when to call again.
    pub(in crate::workbench) fn look_up_kept(&mut self) -> Option<Duration> {
        let ground = self.ground();
        self.go_on_with(&ground);
        let shelf = &mut self.shelf;
        if shelf.changed.as_ref().is_some_and(|(changed, _)| *changed != ground) {
            // Also back to what it was: all has been marked as old.
            (shelf.looked_up, shelf.changed) = (None, None);
        }
        if shelf.looked_up.as_deref() == Some(&ground) {
            let is_quiet = shelf.thumbnails.run.is_none() && shelf.effects.running.is_none();
            if is_quiet && shelf.looks_again {
                self.look_up(ground);
            }
            return None;
        }
        let since = match &shelf.changed {
            Some((_, since)) => *since,
            None => {
                shelf.thumbnails.all_are_old();
                shelf.effects.known.values_mut().for_each(|known| known.is_current = false);
                shelf.changed = Some((ground.clone(), self.now));
                self.now
            }
        };
        if self.now < since + QUIET {
            return Some(since + QUIET);
        }
        self.look_up(ground);
        None
    }

    fn look_up(&mut self, ground: Ground) {
        let ground = Arc::new(ground);
        let shelf = &mut self.shelf;
        (shelf.looked_up, shelf.changed, shelf.looks_again) = (Some(ground.clone()), None, false);
        let (true, Ok(beside)) = (shelf.cache.is_some(), ground.beside.clone()) else { return };
        let library = &shelf.library;
        let modifiers = library.modifiers.iter().flat_map(|category| &category.modifiers);
        let items = modifiers
            .map(|one| Item::Modifier(one.text.clone()))
            .chain(library.templates.iter().map(|one| Item::Template(one.name.clone())))
            .chain(library.styles.iter().map(|one| Item::Style(one.name.clone())));
        let items = items.collect();
        let number = self.next_search();
        self.find(number, ground, beside, items, false);
    }

    /// Goes on with what had to wait for files to be read.
    fn go_on_with(&mut self, ground: &Ground) {
        if ground.beside == Err(NothingToGenerate::Reading) {
            return;
        }
        if let Some(items) = self.shelf.thumbnails.run.as_mut().and_then(|run| run.asked.take()) {
            self.shelf.thumbnails.run = None;
            self.render(items);
        }
        let effects = &mut self.shelf.effects;
        if std::mem::take(&mut effects.waits_for_files)
            && let Some(running) = effects.running.take()
        {
            effects.waiting.push_front(running.modifier);
            self.measure_next();
        }
    }

    fn next_search(&mut self) -> u64 {
        self.shelf.searches += 1;
        self.shelf.searches
    }

    fn find(&mut self, number: u64, ground: Arc<Ground>, beside: Beside, items: Vec<Item>, renders: bool) {
        let newest = if renders { &self.shelf.newest_render } else { &self.shelf.newest }.clone();
        newest.store(number, Ordering::Relaxed);
        let (scene, cache, files) = (Box::new(self.scene(beside)), self.shelf.cache.clone(), self.shelf.files.clone());
        let task = LibraryTask::Find { cache, scene, ground, files, items, number, newest, renders };
        self.background.start(FileTask::Library(task));
    }

    fn scene(&self, beside: Beside) -> Scene {
        Scene {
            document: self.without_chance(),
            preferences: self.preferences.clone(),
            library: self.shelf.library.clone(),
            seeds: self.shelf.effects.seeds,
            beside,
            known: self.known_files(),
        }
    }

    pub(super) fn render(&mut self, items: Vec<Item>) {
        if self.shelf.thumbnails.run.is_some() {
            return;
        }
        let ground = Arc::new(self.ground());
        match ground.beside.clone() {
            Ok(beside) => {
                let number = self.next_search();
                self.shelf.thumbnails.run = Some(Run { number, ..Run::default() });
                self.find(number, ground, beside, items, true);
            }
            Err(NothingToGenerate::Reading) => {
                self.shelf.thumbnails.run = Some(Run { asked: Some(items), ..Run::default() });
            }
            Err(why) => self.notices.add(Level::Warning, sentence(&format!("nothing can be rendered: {why}")), None),
        }
    }

    pub(super) fn on_found(&mut self, Found { number, ground, renders, thumbnails, effects, refused }: Found) {
        let is_awaited = match renders {
            true => self.shelf.thumbnails.run.as_ref().is_some_and(|run| run.number == number),
            false => self.shelf.newest.load(Ordering::Relaxed) == number,
        };
        if !is_awaited {
            return;
        }
        let (mut missing, is_now) = (VecDeque::new(), *ground == self.ground());
        for (wanted, picture) in thumbnails {
            match picture {
                Some(picture) => self.show_thumbnail(&wanted, picture, is_now),
                None => missing.push_back(wanted),
            }
        }
        for report in effects {
            self.show_effect(report, is_now);
        }
        self.shelf.looks_again |= !is_now;
        if renders {
            self.tell_refused("rendered", &refused);
            self.shelf.thumbnails.run = Some(Run { number, total: missing.len(), waiting: missing, ..Run::default() });
            self.render_next();
        }
    }

    pub(super) fn on_not_found(&mut self, number: u64, text: &str) {
        let run = self.shelf.thumbnails.run.take_if(|run| run.number == number);
        if run.is_some() || self.shelf.newest.load(Ordering::Relaxed) == number {
            self.notices.add(Level::Error, sentence(text), None);
        }
    }

    /// Says what cannot be `done`: the first of them, and how many more.
    fn tell_refused(&mut self, done: &str, refused: &[(String, String)]) {
        let Some((name, why)) = refused.first() else { return };
        let text = match refused.len() - 1 {
            0 => format!("\"{name}\" cannot be {done}: {why}"),
            1 => format!("\"{name}\" and another one cannot be {done}: {why}"),
            more => format!("\"{name}\" and {more} others cannot be {done}: {why}"),
        };
        self.notices.add(Level::Warning, sentence(&text), None);
    }

    /// Shows what a modifier does, unless that of now is shown already.
    fn show_effect(&mut self, report: EffectReport, is_current: bool) {
        let known = &mut self.shelf.effects.known;
        if is_current || !known.get(&report.modifier).is_some_and(|known| known.is_current) {
            known.insert(report.modifier.clone(), KnownEffect { report, is_current });
        }
    }

    /// Whether a thumbnail is what would be made now.
    fn is_of_now(&self, wanted: &Wanted) -> bool {
        let words = wanted.item.on(self.document(), &self.shelf.library).map(|document| document.words());
        words.as_ref() == Some(&wanted.words) && wanted.ground.makes_as(&self.ground())
    }

    /// Shows a thumbnail, unless that of now is shown already.
    fn show_thumbnail(&mut self, wanted: &Wanted, picture: Picture, is_current: bool) {
        let shown = &mut self.shelf.thumbnails.shown;
        if is_current || !shown.get(&wanted.item).is_some_and(|shown| shown.is_current) {
            let thumbnail = Thumbnail { picture, prompt: wanted.spec.prompt.clone(), is_current };
            shown.insert(wanted.item.clone(), thumbnail);
        }
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
        let is_current = self.is_of_now(wanted);
        self.show_thumbnail(wanted, small, is_current);
        // It may be kept for the ground that there is now.
        self.shelf.looks_again |= !is_current;
        if let Some(warning) = warning {
            self.notices.add(Level::Warning, sentence(&warning), None);
        }
    }

    pub(in crate::workbench) fn stop_thumbnails(&mut self) {
        self.shelf.newest_render.store(0, Ordering::Relaxed);
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
        for modifier in modifiers {
            let is_running = effects.running.as_ref().is_some_and(|running| running.modifier == modifier);
            if !is_running && !effects.waiting.contains(&modifier) {
                effects.total += 1;
                effects.waiting.push_back(modifier);
            }
        }
        if effects.running.is_none() {
            self.measure_next();
        }
    }

    fn measure_next(&mut self) {
        let Some(modifier) = self.shelf.effects.waiting.pop_front() else {
            let refused = std::mem::take(&mut self.shelf.effects.refused);
            return self.tell_refused("measured", &refused);
        };
        let ground = Arc::new(self.ground());
        let beside = match ground.beside.clone() {
            Ok(beside) => beside,
            Err(NothingToGenerate::Reading) => {
                let effects = &mut self.shelf.effects;
                // No answer is awaited.
                effects.number += 1;
                effects.waits_for_files = true;
                effects.running = Some(Running { modifier, ground, job: None });
                return;
            }
            Err(why) => {
                self.notices.add(Level::Warning, sentence(&format!("nothing can be measured: {why}")), None);
                return self.stop_measuring();
            }
        };
        let (scene, files) = (Box::new(self.scene(beside)), self.shelf.files.clone());
        let effects = &mut self.shelf.effects;
        effects.number += 1;
        effects.running = Some(Running { modifier: modifier.clone(), ground: ground.clone(), job: None });
        let (baseline, number) = (effects.baseline.clone().map(Box::new), effects.number);
        let afresh = effects.done == 0 || effects.prepared_on.as_ref() != Some(&ground);
        effects.prepared_on = Some(ground.clone());
        let task = LibraryTask::Prepare { scene, files, modifier, baseline, number, afresh };
        self.background.start(FileTask::Library(task));
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
                effects.refused.push((modifier, why));
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

    pub(in crate::workbench) fn stop_measuring(&mut self) {
        let effects = &mut self.shelf.effects;
        effects.waiting.clear();
        effects.waits_for_files = false;
        let refused = std::mem::take(&mut effects.refused);
        self.tell_refused("measured", &refused);
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
        let is_current = running.is_some_and(|running| *running.ground == self.ground());
        if let Some(cache) = self.shelf.cache.clone() {
            let report = Box::new(report.clone());
            self.background.start(FileTask::Library(LibraryTask::KeepEffect { cache, key, report }));
        }
        self.show_effect(report, is_current);
    }

    /// A measurement is kept; it may be of the ground that there is now.
    pub(super) fn on_effect_kept(&mut self, modifier: &str) {
        if self.shelf.effects.known.get(modifier).is_some_and(|known| !known.is_current) {
            self.shelf.looks_again = true;
        }
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
