//! The files that a document's LoRAs and learned words are in: found by name and read on a background thread, remembered here.
//!
//! Invariant: what a document asks for is asked for once, until the models are looked for anew.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::models::{self, KnownModel};
use super::prepare::NothingToGenerate;
use crate::document::{Document, Steering};
use crate::job::lora::{EmbeddingUse, LoraUse};
use crate::job::spec::GenerateSpec;
use crate::prompt::named::{self, NamedLora};
use crate::registry::{self, Sort};

/// A file that a document asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// A LoRA by its path.
    Lora(PathBuf),
    /// A LoRA by the name that a prompt has for it.
    NamedLora(String),
    /// A learned word by its path.
    Embedding(PathBuf),
    /// A learned word by the name that a prompt marks as one.
    NamedEmbedding(String),
}

/// Where it is, and the SHA-256 of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    path: PathBuf,
    sha256: String,
}

/// What was found for each, or why nothing was.
pub(super) type Answers = Vec<(Wanted, Result<Read, String>)>;

/// What a prompt names.
#[derive(Debug, Default, Clone, PartialEq)]
struct Names {
    texts: [String; 2],
    loras: Vec<NamedLora>,
    marked: Vec<String>,
}

/// The files of the document.
#[derive(Debug, Default)]
pub struct Resources {
    /// `None` while it is being read.
    known: HashMap<Wanted, Option<Result<Read, String>>>,
    names: Names,
    /// What the prompts name that were drawn last.
    drawn: Names,
    revision: u64,
}

impl Resources {
    /// Whether anything is being read.
    pub fn is_pending(&self) -> bool {
        self.known.values().any(Option::is_none)
    }

    /// The LoRAs that the prompt names, each with what is wrong with it, if anything is.
    pub fn named_loras(&self) -> impl Iterator<Item = (&NamedLora, Option<String>)> {
        self.names.loras.iter().map(|lora| {
            let answer = self.known.get(&Wanted::NamedLora(lora.name.clone())).and_then(Option::as_ref);
            (lora, answer.and_then(|answer| answer.as_ref().err()).map(|reason| super::sentence(reason)))
        })
    }

    /// Takes note of what `document` asks for; gives what has to be read for it.
    pub(super) fn follow(&mut self, document: &Document, known: Option<&[KnownModel]>) -> Vec<Wanted> {
        let words = <[String; 2]>::from(document.words());
        if self.names.texts != words {
            self.names = Names::of(words);
        }
        let loras = document.steering.loras.iter().filter(|lora| lora.is_on);
        let chosen = loras.map(|lora| Wanted::Lora(lora.path.clone()));
        let all = chosen.chain(self.names.wanted(known)).collect();
        self.new_of(all)
    }

    /// Takes note of prompts that were drawn from the document's; gives what has to be read for them.
    pub(super) fn follow_drawn(&mut self, texts: [&str; 2], known: Option<&[KnownModel]>) -> Vec<Wanted> {
        if self.names.texts == texts {
            return Vec::new();
        }
        if self.drawn.texts != texts {
            self.drawn = Names::of(texts.map(str::to_owned));
        }
        let all = self.drawn.wanted(known);
        self.new_of(all)
    }

    fn new_of(&mut self, all: Vec<Wanted>) -> Vec<Wanted> {
        let new: Vec<Wanted> = all.into_iter().filter(|wanted| !self.known.contains_key(wanted)).collect();
        self.known.extend(new.iter().map(|wanted| (wanted.clone(), None)));
        new
    }

    /// What these texts name.
    fn names_of(&self, texts: [&str; 2]) -> Cow<'_, Names> {
        let known = [&self.names, &self.drawn].into_iter().find(|names| names.texts == texts);
        known.map_or_else(|| Cow::Owned(Names::of(texts.map(str::to_owned))), Cow::Borrowed)
    }

    pub(super) fn on_read(&mut self, answers: Answers) {
        self.known.extend(answers.into_iter().map(|(wanted, answer)| (wanted, Some(answer))));
    }

    /// Everything is to be read anew when it is next asked for.
    pub(super) fn forget(&mut self) {
        self.revision += 1;
        self.known.retain(|_, answer| answer.is_none());
    }

    /// A number that changes with the files that there are.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Puts the LoRAs into `spec` that are chosen.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) fn apply_chosen(&self, spec: &mut GenerateSpec, steering: &Steering) -> Result<(), NothingToGenerate> {
        for lora in steering.loras.iter().filter(|lora| lora.is_on) {
            let Read { path, sha256 } = self.get(Wanted::Lora(lora.path.clone()))?;
            let text_strength = lora.text_strength.unwrap_or(lora.strength);
            spec.loras.push(LoraUse { path, sha256, text_strength, unet_strength: lora.strength });
        }
        Ok(())
    }

    /// Puts LoRAs and learned words into `spec`: those that are chosen, and those that its own prompts name. A LoRA that is chosen and named is taken as it was chosen.
    ///
    /// # Errors
    /// If one is still being read, or cannot be used.
    pub(super) fn apply(
        &self,
        spec: &mut GenerateSpec,
        steering: &Steering,
        known: Option<&[KnownModel]>,
    ) -> Result<(), NothingToGenerate> {
        self.apply_chosen(spec, steering)?;
        let names = self.names_of([&spec.prompt, &spec.negative]);
        for lora in &names.loras {
            let Read { path, sha256 } = self.get(Wanted::NamedLora(lora.name.clone()))?;
            if !spec.loras.iter().any(|chosen| chosen.path == path) {
                let (text_strength, unet_strength) = (lora.text_strength, lora.unet_strength);
                spec.loras.push(LoraUse { path, sha256, text_strength, unet_strength });
            }
        }
        for wanted in names.wanted_words(known) {
            let Read { path, sha256 } = self.get(wanted)?;
            if !spec.embeddings.iter().any(|chosen| chosen.path == path) {
                spec.embeddings.push(EmbeddingUse { path, sha256 });
            }
        }
        Ok(())
    }

    fn get(&self, wanted: Wanted) -> Result<Read, NothingToGenerate> {
        match self.known.get(&wanted) {
            Some(Some(Ok(read))) => Ok(read.clone()),
            Some(Some(Err(reason))) => Err(NothingToGenerate::Unusable(reason.clone())),
            Some(None) | None => Err(NothingToGenerate::Reading),
        }
    }
}

impl Names {
    fn wanted(&self, known: Option<&[KnownModel]>) -> Vec<Wanted> {
        let named = self.loras.iter().map(|lora| Wanted::NamedLora(lora.name.clone()));
        named.chain(self.wanted_words(known)).collect()
    }

    /// Words that are known and that a prompt names; and those that it marks as such and that are not known.
    fn wanted_words(&self, known: Option<&[KnownModel]>) -> Vec<Wanted> {
        let words = known.unwrap_or_default().iter().filter(|model| model.sort == Sort::Embedding);
        let named: Vec<&KnownModel> =
            words.filter(|word| self.texts.iter().any(|text| named::names(text, &word.name))).collect();
        let unknown = self.marked.iter().filter(|word| !named.iter().any(|known| named::names(word, &known.name)));
        let unknown = unknown.map(|word| Wanted::NamedEmbedding(word.clone()));
        named.iter().map(|word| Wanted::Embedding(PathBuf::from(&word.reference.0))).chain(unknown).collect()
    }

    fn of(texts: [String; 2]) -> Self {
        let marked = texts.iter().flat_map(|text| named::marked_words(text)).collect();
        Self { loras: named::loras(&texts[0]), marked, texts }
    }
}

/// Finds and reads files. Slow: for a background thread.
///
/// # Errors
/// If the user's catalogue cannot be read.
pub(super) fn read(presets: Option<&Path>, wanted: Vec<Wanted>) -> Result<Answers, String> {
    let catalogue = models::catalogue(presets)?;
    let is_by_name = |wanted: &Wanted| matches!(wanted, Wanted::NamedLora(_) | Wanted::NamedEmbedding(_));
    let shelf = if wanted.iter().any(is_by_name) { catalogue.shelf() } else { registry::Shelf::default() };
    let find = |wanted: &Wanted| -> Result<Read, registry::RegistryError> {
        let lora =
            |path: &Path| registry::lora_use(path, 1.0, 1.0).map(|LoraUse { path, sha256, .. }| Read { path, sha256 });
        let word =
            |path: &Path| registry::embedding_use(path).map(|EmbeddingUse { path, sha256 }| Read { path, sha256 });
        match wanted {
            Wanted::Lora(path) => lora(path),
            Wanted::Embedding(path) => word(path),
            Wanted::NamedLora(name) => lora(&shelf.named(name, Sort::Lora)?.path),
            Wanted::NamedEmbedding(name) => word(&shelf.named(name, Sort::Embedding)?.path),
        }
    };
    let answer = |wanted: Wanted| {
        let found = find(&wanted).map_err(|error| error.0);
        (wanted, found)
    };
    Ok(wanted.into_iter().map(answer).collect())
}
