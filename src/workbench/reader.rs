//! Reading prompts on a thread of their own: what can be said of the text, and the names that it may use. The newest question
//! wins; a frame never waits for an answer.
//!
//! The user's folders of wildcards and tags are looked at again while questions come, so that a changed file counts at once.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::models;
use crate::engine::Wake;
use crate::prompt::complete::Named;
use crate::prompt::reading::{self, Names, Question, Reading};
use crate::prompt::tags::Tags;
use crate::registry::Sort;
use crate::store::{presets, prompt_files};

/// Folders are looked at no more often.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The names that prompts may use, and what is known of them.
#[derive(Debug, Default)]
pub struct Known {
    /// For reading prompts.
    pub names: Names,
    /// Wildcards and how many lines each has.
    pub wildcards: Vec<(String, usize)>,
    /// LoRA files.
    pub loras: Vec<Named>,
    /// Learned words.
    pub embeddings: Vec<Named>,
    /// Tags for completion.
    pub tags: Tags,
}

impl Known {
    /// Those that ship and those of the user's presets. What is wrong with them the library says.
    fn take_wildcards(&mut self, presets: Option<&Path>) {
        let (read, _) = presets::all_wildcards(presets);
        self.wildcards = read.lengths().map(|(name, count)| (name.to_owned(), count)).collect();
        self.names.wildcards = read;
    }
}

/// Asks the thread, and keeps its last answer.
pub struct Reader {
    desk: Arc<Desk>,
    told: Receiver<Told>,
    asked: Option<Question>,
    reading: Option<Arc<Reading>>,
    known: Arc<Known>,
    /// How often the names have changed.
    revision: u64,
}

/// Where questions lie.
#[derive(Default)]
struct Desk {
    slip: Mutex<Slip>,
    bell: Condvar,
}

#[derive(Default)]
struct Slip {
    question: Option<Question>,
    models_changed: bool,
    files_changed: bool,
    /// The LoRAs and learned words that were found, until they are taken note of.
    found: Option<Found>,
    is_over: bool,
}

/// LoRAs and learned words; `None` if the places where they are cannot be looked through.
type Found = Option<[Vec<Named>; 2]>;

enum Told {
    Known(Arc<Known>),
    Reading(Box<Reading>),
    Warning(String),
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.desk.slip().is_over = true;
        self.desk.bell.notify_all();
    }
}

impl Desk {
    fn slip(&self) -> MutexGuard<'_, Slip> {
        // What lies there is whole whenever the lock is free.
        self.slip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Starts the thread; `presets` is the user's folder.
    pub(super) fn new(presets: Option<PathBuf>, wake: Wake) -> Self {
        let desk = Arc::new(Desk::default());
        let (sender, told) = channel();
        let shelf = Shelf { presets, stamp: None, looked: None, loras: None, embeddings: None };
        let (known, asked) = (Arc::default(), None);
        desk.slip().models_changed = true;
        let worker = Worker { desk: desk.clone(), sender, wake, shelf, known, asked, is_finding: false };
        let spawned = std::thread::Builder::new().name("maquette-prompts".to_owned()).spawn(move || worker.run());
        if let Err(error) = spawned {
            tracing::error!(%error, "the system cannot start a thread that reads prompts");
        }
        Self { desk, told, asked: None, reading: None, known: Arc::default(), revision: 0 }
    }

    /// What is said of a prompt; of the one before while the newest is being read.
    pub fn reading(&self) -> Option<&Arc<Reading>> {
        self.reading.as_ref()
    }

    /// The names that prompts may use.
    pub fn known(&self) -> &Arc<Known> {
        &self.known
    }

    /// A number that changes with the names.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the newest question is answered.
    pub fn is_current(&self) -> bool {
        self.asked.as_ref() == self.reading.as_ref().map(|reading| &reading.question)
    }

    pub(super) fn ask(&mut self, question: Question) {
        if self.asked.as_ref() != Some(&question) {
            self.asked = Some(question.clone());
            self.desk.slip().question = Some(question);
            self.desk.bell.notify_all();
        }
    }

    /// The models on this machine may be others now.
    pub(super) fn models_changed(&mut self) {
        self.desk.slip().models_changed = true;
        self.desk.bell.notify_all();
    }

    /// The files of the user's presets are others now.
    pub(super) fn files_changed(&mut self) {
        self.desk.slip().files_changed = true;
        self.desk.bell.notify_all();
    }

    /// Takes what was told meanwhile; gives warnings about files.
    pub(super) fn poll(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        for told in self.told.try_iter() {
            match told {
                Told::Known(known) => (self.known, self.revision) = (known, self.revision + 1),
                Told::Reading(reading) => self.reading = Some(Arc::new(*reading)),
                Told::Warning(text) => warnings.push(text),
            }
        }
        warnings
    }
}

/// What was read, and when.
struct Shelf {
    presets: Option<PathBuf>,
    stamp: Option<u64>,
    looked: Option<Instant>,
    loras: Option<Vec<Named>>,
    embeddings: Option<Vec<Named>>,
}

struct Worker {
    desk: Arc<Desk>,
    sender: Sender<Told>,
    wake: Wake,
    shelf: Shelf,
    known: Arc<Known>,
    /// The question that was answered last.
    asked: Option<Question>,
    /// Whether the folders of models are being looked through.
    is_finding: bool,
}

/// What there is to do.
enum Errand {
    Answer(Question),
    /// Look through the folders of models.
    Find,
    /// They were looked through.
    Found(Found),
    /// Read the files of presets again.
    Look,
}

impl Worker {
    fn run(mut self) {
        while let Some(errand) = self.next() {
            match errand {
                Errand::Answer(question) => {
                    self.asked = Some(question.clone());
                    self.answer(question, false);
                }
                Errand::Find => self.find(),
                Errand::Found(found) => {
                    self.is_finding = false;
                    // What was known stays if the places cannot be looked through.
                    if let Some([loras, embeddings]) = found {
                        (self.shelf.loras, self.shelf.embeddings) = (Some(loras), Some(embeddings));
                        self.answer_again();
                    }
                }
                Errand::Look => self.answer_again(),
            }
        }
    }

    /// The same question may have another answer now.
    fn answer_again(&mut self) {
        match self.asked.clone() {
            Some(question) => self.answer(question, true),
            None => self.shelf.stamp = None,
        }
    }

    /// Looks through all folders of models, which takes long, on a thread of its own: questions are answered meanwhile.
    fn find(&mut self) {
        let (desk, presets) = (self.desk.clone(), self.shelf.presets.clone());
        let find = move || {
            // A file that nobody foresaw must not be the end of looking.
            let found = catch_unwind(|| presets.and_then(|presets| named_files(&presets)));
            desk.slip().found = Some(found.unwrap_or_default());
            desk.bell.notify_all();
        };
        match std::thread::Builder::new().name("maquette-names".to_owned()).spawn(find) {
            Ok(_) => self.is_finding = true,
            Err(error) => tracing::error!(%error, "the system cannot start a thread that looks for models"),
        }
    }

    fn answer(&mut self, question: Question, anew: bool) {
        // A text that nobody foresaw must not end the reading of all others, nor may those wait who wait for an answer.
        let read = catch_unwind(AssertUnwindSafe(|| {
            self.look(anew);
            reading::read(question.clone(), &self.known.names)
        }));
        let reading = read.unwrap_or_else(|_| {
            tracing::error!("a prompt could not be read; this is a bug, please report it");
            Reading::of_failed(question)
        });
        // Nobody listens any more at the end of the program.
        let _ = self.sender.send(Told::Reading(Box::new(reading)));
        (self.wake)();
    }

    /// Waits for something to do; `None` at the end of the program. Questions come first.
    fn next(&self) -> Option<Errand> {
        let mut slip = self.desk.slip();
        loop {
            if slip.is_over {
                return None;
            }
            if let Some(question) = slip.question.take() {
                return Some(Errand::Answer(question));
            }
            if let Some(found) = slip.found.take() {
                return Some(Errand::Found(found));
            }
            if std::mem::take(&mut slip.files_changed) {
                return Some(Errand::Look);
            }
            // One after the other, so that the last answer is the newest.
            if !self.is_finding && std::mem::take(&mut slip.models_changed) {
                return Some(Errand::Find);
            }
            slip = self.desk.bell.wait(slip).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads files that changed since they were last read; `anew` reads them in any case.
    fn look(&mut self, anew: bool) {
        let shelf = &mut self.shelf;
        let Some(presets) = shelf.presets.clone() else {
            // Nothing to look through but what ships.
            if shelf.stamp.is_none() {
                shelf.stamp = Some(0);
                let mut known = Known::default();
                known.take_wildcards(None);
                self.known = Arc::new(known);
                let _ = self.sender.send(Told::Known(self.known.clone()));
            }
            return;
        };
        let is_due = shelf.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN);
        if !is_due && !anew {
            return;
        }
        let folders = [presets.join("wildcards"), presets.join("tags")];
        let stamp = prompt_files::stamp(&[&folders[0], &folders[1]]);
        shelf.looked = Some(Instant::now());
        if shelf.stamp == Some(stamp) && !anew {
            return;
        }
        let mut warnings = Vec::new();
        let mut known = Known::default();
        known.take_wildcards(Some(&presets));
        let (tags, more) = prompt_files::read_tags(&folders[1]);
        known.tags = tags;
        warnings.extend(more);
        let names =
            |list: &Option<Vec<Named>>| list.as_ref().map(|list| list.iter().map(|one| one.name.clone()).collect());
        known.names.loras = names(&shelf.loras);
        known.names.embeddings = names(&shelf.embeddings)
            .map(|names: HashSet<String>| names.into_iter().map(|name| name.to_lowercase()).collect());
        known.loras = shelf.loras.clone().unwrap_or_default();
        known.embeddings = shelf.embeddings.clone().unwrap_or_default();
        shelf.stamp = Some(stamp);
        self.known = Arc::new(known);
        let _ = self.sender.send(Told::Known(self.known.clone()));
        for warning in warnings {
            let _ = self.sender.send(Told::Warning(warning));
        }
    }
}

/// The LoRAs and learned words in the folders that the user's catalogue remembers.
fn named_files(presets: &Path) -> Found {
    let found = models::catalogue(Some(presets)).ok()?.found();
    Some([Sort::Lora, Sort::Embedding].map(|sort| {
        let named = found.iter().filter(|one| one.sort == sort);
        named.map(|one| prompt_files::named(&one.name, &one.path)).collect()
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(reader: &mut Reader, is_wanted: impl Fn(&Reading) -> bool) -> Arc<Reading> {
        let start = Instant::now();
        while !reader.is_current() || !reader.reading().is_some_and(|reading| is_wanted(reading)) {
            assert!(start.elapsed().as_secs() < 20, "no answer came");
            assert_eq!(reader.poll(), Vec::<String>::new());
            std::thread::yield_now();
        }
        reader.reading().unwrap().clone()
    }

    fn question(prompt: &str) -> Question {
        Question { prompt: prompt.to_owned(), steps: 20, ..Question::default() }
    }

    #[test]
    fn the_newest_question_is_answered() {
        let mut reader = Reader::new(None, Arc::new(|| ()));
        for prompt in ["a", "a f", "a fox, fox, fox"] {
            reader.ask(question(prompt));
        }
        let reading = answer(&mut reader, |_| true);
        assert_eq!((reading.question.prompt.as_str(), reading.remarks.len()), ("a fox, fox, fox", 1));
    }

    #[test]
    fn wildcards_of_the_users_folder_are_known() {
        let presets = tempfile::tempdir().unwrap();
        std::fs::create_dir(presets.path().join("wildcards")).unwrap();
        std::fs::write(presets.path().join("wildcards/colour.txt"), "red\n").unwrap();
        let mut reader = Reader::new(Some(presets.path().to_owned()), Arc::new(|| ()));
        reader.ask(question("a __colour__ fox <lora:none:1>"));
        let reading = answer(&mut reader, |reading| !reading.remarks.is_empty() || !reading.drawn.is_empty());
        assert_eq!(reading.drawn.first().map(String::as_str), Some("a red fox <lora:none:1>"));
        assert!(reader.known().wildcards.contains(&("colour".to_owned(), 1)));
        assert!(reader.known().wildcards.iter().any(|(name, _)| name == "animals"), "those that ship are there too");
        // The file is another one now, and the models are looked for again.
        std::fs::write(presets.path().join("wildcards/colour.txt"), "deep blue\n").unwrap();
        reader.models_changed();
        reader.ask(question("a __colour__ cat"));
        answer(&mut reader, |reading| reading.drawn.first().is_some_and(|drawn| drawn == "a deep blue cat"));
    }
}
