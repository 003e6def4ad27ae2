//! CLIP's byte-level BPE tokenizer, from `tokenizer.json`, from `vocab.json` and `merges.txt`, or from open_clip's list of merges;
//! SigLIP's SentencePiece tokenizers from `tokenizer.json`.
//!
//! The second and third forms are assembled as OpenAI's `simple_tokenizer.py` works: NFC, one space for any run of them, lower case,
//! words by regular expression, `</w>` at the end of a word. Text is cut at the limit, never refused.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

use serde::Deserialize;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence, replace::ReplacePattern};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{Encoding, NormalizerWrapper, SplitDelimiterBehavior, Tokenizer};

use super::clip::TextConfig;
use super::error::{ModelError, Result};
use super::files::ModelFiles;
use crate::base::guard::guarded;

const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// The context length of every CLIP so far, where the tokenizer's own configuration does not say.
const USUAL_LENGTH: usize = 77;
/// That of every SigLIP.
const SIGLIP_LENGTH: usize = 64;
/// SentencePiece's mark of a space.
const SPACE: char = '\u{2581}';
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// open_clip's file of merges.
const BPE_FILES: [&str; 2] = ["bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"];
/// Tokens of single bytes; CLIP has as many again for ends of words.
const BYTES: usize = 256;
/// Merges of CLIP's vocabulary of 49408 tokens.
const OPENAI_MERGES: usize = 49152 - 256 - 2;
/// Letters of what a tokenizer says about its file.
const LONGEST_REASON: usize = 300;
/// Longer than any file of merges, in bytes.
const LONGEST_MERGES: u64 = 1 << 25;

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    tokenizer_class: Option<String>,
    model_max_length: Option<f64>,
    do_lower_case: Option<bool>,
    pad_token: Option<AddedToken>,
    eos_token: Option<AddedToken>,
}

#[derive(Deserialize, Default)]
struct SpecialTokens {
    pad_token: Option<AddedToken>,
    eos_token: Option<AddedToken>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a token in quotes or {\"content\": …}")]
enum AddedToken {
    Text(String),
    Full { content: String },
}

impl AddedToken {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Full { content: text } => text,
        }
    }
}

/// A text as a net reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// From the start token to the end token, at most the context length.
    pub ids: Vec<u32>,
    /// How many tokens did not fit.
    pub cut: usize,
}

/// What is done to a text before its tokenizer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleaning {
    /// Nothing: the tokenizer does what is needed.
    None,
    /// Lower case (transformers `Siglip2Tokenizer`).
    Lower,
    /// No ASCII punctuation, single spaces, and lower case if so wanted (transformers `SiglipTokenizer`).
    Canonical {
        /// Whether letters become small.
        lowers: bool,
    },
}

impl Cleaning {
    fn clean(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Lower => Cow::Owned(text.to_lowercase()),
            Self::Canonical { lowers } => {
                let lower = if lowers { text.to_lowercase() } else { text.to_owned() };
                // SentencePiece's mark of a space counts as one.
                let kept = lower.chars().filter(|c| !c.is_ascii_punctuation());
                let spaced: String = kept.map(|c| if c == SPACE { ' ' } else { c }).collect();
                // Python's idea of white space has four characters more.
                let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
                let words: Vec<&str> = spaced.split(is_space).filter(|word| !word.is_empty()).collect();
                // As the reference has it: a space before the first word is a token of its own.
                let lead = if spaced.starts_with(is_space) && !words.is_empty() { "\u{2581} " } else { "" };
                Cow::Owned(format!("{lead}{}", words.join(" ")))
            }
        }
    }
}

/// Turns text into token ids.
pub struct ClipTokenizer {
    inner: Tokenizer,
    cleaning: Cleaning,
    start: Option<u32>,
    end: u32,
    pad: u32,
    context_length: usize,
}

impl ClipTokenizer {
    /// Reads the tokenizer of a model folder.
    ///
    /// # Errors
    /// If its files are missing or damaged.
    pub fn load(files: &ModelFiles) -> Result<Self> {
        let config: TokenizerConfig = optional_json(files, "tokenizer_config.json")?;
        let special: SpecialTokens = optional_json(files, "special_tokens_map.json")?;
        let (file, mut inner) = read(files)?;
        // Texts are cut and filled up here, where what was cut is counted.
        let bad = |e: tokenizers::Error| bad_file(files, file, &e);
        inner.with_truncation(None).map_err(bad)?;
        inner.with_padding(None);
        let id = |token: &str| {
            inner.token_to_id(token).ok_or_else(|| bad_file(files, file, &format!("it has no token {token}").into()))
        };
        let is_clip = inner.token_to_id(START).is_some();
        let known = |names: [&'static str; 3]| names.into_iter().find(|name| inner.token_to_id(name).is_some());
        let end = config.eos_token.as_ref().or(special.eos_token.as_ref()).map(AddedToken::text);
        let end = match end.filter(|token| inner.token_to_id(token).is_some()) {
            Some(token) if !is_clip => id(token)?,
            _ => id(known([END, "</s>", "<eos>"]).unwrap_or(END))?,
        };
        let pad_token = config.pad_token.as_ref().or(special.pad_token.as_ref()).map(AddedToken::text);
        let usual_pad = || if is_clip { None } else { inner.token_to_id("<pad>") };
        let pad = pad_token.and_then(|token| inner.token_to_id(token)).or_else(usual_pad).unwrap_or(end);
        let usual = if is_clip { USUAL_LENGTH } else { SIGLIP_LENGTH };
        // "No limit" is written as a number like 1e30.
        let context_length = match config.model_max_length {
            Some(length) if (3.0..100_000.0).contains(&length) => length as usize,
            _ => usual,
        };
        let canonical = Cleaning::Canonical { lowers: config.do_lower_case.unwrap_or(true) };
        let cleaning =
            match (config.tokenizer_class.as_deref().map(|class| class.trim_end_matches("Fast")), inner.get_model()) {
                _ if is_clip => Cleaning::None,
                (Some("SiglipTokenizer"), _) => canonical,
                // SigLIP 2 has Gemma's tokenizer, but was trained on small letters.
                (Some("Siglip2Tokenizer" | "GemmaTokenizer"), _) => Cleaning::Lower,
                // Of any other class, tokenizer.json says all there is to do.
                (Some(_), _) => Cleaning::None,
                (None, ModelWrapper::Unigram(_)) => canonical,
                (None, _) => Cleaning::Lower,
            };
        Ok(Self { start: inner.token_to_id(START), inner, cleaning, end, pad, context_length })
    }

    /// For a tower with fewer positions than the tokenizer's own configuration allows: texts are cut to what it can read.
    #[must_use]
    pub fn for_tower(mut self, tower: &TextConfig) -> Self {
        let most = if tower.needs_padding() { usize::MAX } else { self.context_length };
        self.context_length = most.min(tower.length).max(3);
        self
    }

    /// Tokens that mark start and end.
    pub fn marks(&self) -> usize {
        1 + self.words_begin()
    }

    /// Where the first token of a text stands: behind the start token, if there is one.
    pub fn words_begin(&self) -> usize {
        usize::from(self.start.is_some())
    }

    /// How many tokens it knows.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// How many tokens of a text are read: the context without start and end.
    pub fn limit(&self) -> usize {
        self.context_length - self.marks()
    }

    /// The tokens of `text` alone: no marks, nothing cut.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn words(&self, text: &str) -> Result<Vec<u32>> {
        let text = self.cleaning.clean(text);
        let encoding = encoded(|| self.inner.encode_fast(&*text, false))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// As [`Self::words`], each with the bytes of `text` that it stands for; all of them where the text is changed before it is read.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn placed_words(&self, text: &str) -> Result<Vec<(u32, std::ops::Range<usize>)>> {
        let cleaned = self.cleaning.clean(text);
        let encoding = encoded(|| self.inner.encode(&*cleaned, false))?;
        let is_same = *cleaned == *text;
        let places = encoding.get_offsets().iter().map(|(from, to)| if is_same { *from..*to } else { 0..text.len() });
        Ok(encoding.get_ids().iter().copied().zip(places).collect())
    }

    /// The token as its vocabulary has it; empty if there is none of this number.
    pub fn token(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_default()
    }

    /// At most [`Self::limit`] tokens between start and end, filled up to the context length with the padding token.
    pub fn framed(&self, words: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut ids: Vec<u32> = self.start.into_iter().chain(words.take(self.limit())).chain([self.end]).collect();
        ids.resize(self.context_length, self.pad);
        ids
    }

    /// `text` from start to end token; what is beyond the limit is cut and counted.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let words = self.words(text)?;
        let kept = words.get(..self.limit()).unwrap_or(&words);
        let ids = self.start.into_iter().chain(kept.iter().copied()).chain([self.end]).collect();
        Ok(Tokens { ids, cut: words.len() - kept.len() })
    }

    /// As [`Self::encode`], filled up to the context length with the padding token.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode_padded(&self, text: &str) -> Result<Tokens> {
        let mut tokens = self.encode(text)?;
        tokens.ids.resize(self.context_length, self.pad);
        Ok(tokens)
    }
}

fn optional_json<T: serde::de::DeserializeOwned + Default>(files: &ModelFiles, file: &str) -> Result<T> {
    if files.has(file) { files.read_json(file) } else { Ok(T::default()) }
}

fn bad_file(files: &ModelFiles, file: &str, error: &tokenizers::Error) -> ModelError {
    // What is damaged may be one word as long as the file.
    let reason = error.to_string().chars().take(LONGEST_REASON).collect();
    ModelError::BadFile { path: files.path_of(file), reason }
}

/// What is said of a file that the tokenizers' library panics on.
fn nonsense(panic: &str) -> String {
    format!("it is cut short, or asks for something that makes no sense ({panic}): download it again")
}

fn encoded(encode: impl FnOnce() -> tokenizers::Result<Encoding>) -> Result<Encoding> {
    let said = |why: String| ModelError::BadInput(format!("cannot tokenize with this model's tokenizer: {why}"));
    guarded(encode).map_err(|panic| said(nonsense(&panic)))?.map_err(|error| said(error.to_string()))
}

type Merges = Vec<(String, String)>;

/// The tokenizer in the first of the forms that are there, and the file to blame.
fn read(files: &ModelFiles) -> Result<(&'static str, Tokenizer)> {
    if files.has("tokenizer.json") {
        let bad = |e: tokenizers::Error| bad_file(files, "tokenizer.json", &e);
        let bytes = files.read("tokenizer.json")?;
        let read = guarded(|| Tokenizer::from_bytes(bytes)).map_err(|panic| bad(nonsense(&panic).into()))?;
        let mut tokenizer = read.map_err(bad)?;
        if let ModelWrapper::BPE(model) = tokenizer.get_model()
            && model.dropout.is_some()
        {
            // For training: words would be split by chance.
            let mut model = model.clone();
            model.dropout = None;
            tokenizer.with_model(model);
        }
        return Ok(("tokenizer.json", tokenizer));
    }
    if files.has("vocab.json") || !BPE_FILES.iter().any(|file| files.has(file)) {
        if !files.has("vocab.json") && files.has("spiece.model") {
            let reason = "Maquette reads SentencePiece tokenizers from tokenizer.json: get that file too, or make it with \
                          transformers.AutoTokenizer.from_pretrained(…, use_fast=True).save_pretrained(…) in Python";
            return Err(bad_file(files, "spiece.model", &reason.into()));
        }
        let vocabulary: HashMap<String, u32> = files.read_json("vocab.json")?;
        let merges = files.read("merges.txt")?;
        let merges = pairs(&String::from_utf8_lossy(&merges));
        if merges.is_empty() && vocabulary.len() > 2 * BYTES + 2 {
            let reason = "it holds no merges, and vocab.json has words that are made by them: download it again";
            return Err(bad_file(files, "merges.txt", &reason.into()));
        }
        return Ok(("vocab.json", assemble(files, "merges.txt", vocabulary, merges)?));
    }
    let file = BPE_FILES.into_iter().find(|file| files.has(file)).unwrap_or(BPE_FILES[0]);
    let (vocabulary, merges) = from_merges(&bpe_text(files, file)?);
    Ok((file, assemble(files, file, vocabulary, merges)?))
}

fn pairs(merges: &str) -> Merges {
    let lines = merges.lines().filter(|line| !line.starts_with("#version"));
    lines.filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// open_clip's `bpe_simple_vocab_16e6.txt`, packed or not.
fn bpe_text(files: &ModelFiles, file: &str) -> Result<String> {
    let bytes = files.read(file)?;
    let mut text = String::new();
    let read = match file.ends_with(".gz") {
        true => flate2::read::GzDecoder::new(&*bytes).take(LONGEST_MERGES).read_to_string(&mut text),
        false => (&*bytes).take(LONGEST_MERGES).read_to_string(&mut text),
    };
    read.map_err(|error| bad_file(files, file, &error.to_string().into()))?;
    Ok(text)
}

/// The vocabulary that merges imply (open_clip `tokenizer.py`): bytes, bytes at the end of a word, merges, marks.
fn from_merges(text: &str) -> (HashMap<String, u32>, Merges) {
    // The first line is the version; what is beyond CLIP's vocabulary is left over from training.
    let merges: Merges = pairs(&text.lines().skip(1).take(OPENAI_MERGES).collect::<Vec<_>>().join("\n"));
    let bytes = byte_letters();
    let letters = bytes.iter().map(|c| c.to_string());
    let ends = bytes.iter().map(|c| format!("{c}</w>"));
    let merged = merges.iter().map(|(a, b)| format!("{a}{b}"));
    let tokens = letters.chain(ends).chain(merged).chain([START.to_owned(), END.to_owned()]);
    (tokens.zip(0u32..).collect(), merges)
}

/// The letters that stand for bytes in byte-level BPE, in the order of GPT-2's `bytes_to_unicode`: printable bytes first.
fn byte_letters() -> Vec<char> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shown = (0..256).filter(|byte| printable(*byte));
    let others = (0..256).filter(|byte| !printable(*byte)).count() as u32;
    shown.chain(256..256 + others).filter_map(char::from_u32).collect()
}

fn assemble(files: &ModelFiles, file: &str, vocabulary: HashMap<String, u32>, merges: Merges) -> Result<Tokenizer> {
    let bad = |e: tokenizers::Error| bad_file(files, file, &e);
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
        .unk_token(END.to_owned())
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix("</w>".to_owned())
        .build()
        .map_err(bad)?;
    let mut tokenizer = Tokenizer::new(bpe);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(bad)?;
    let normalizer: Vec<NormalizerWrapper> = vec![NFC.into(), spaces.into(), Lowercase.into()];
    tokenizer.with_normalizer(Some(Sequence::new(normalizer))).map_err(bad)?;
    let words =
        Split::new(SplitPattern::Regex(WORDS.to_owned()), SplitDelimiterBehavior::Removed, true).map_err(bad)?;
    let steps: Vec<PreTokenizerWrapper> = vec![words.into(), ByteLevel::new(false, true, true).into()];
    tokenizer.with_pre_tokenizer(Some(PreSequence::new(steps)));
    let special = [START, END].map(|token| tokenizers::AddedToken::from(token, true));
    tokenizer.add_special_tokens(special).map_err(bad)?;
    Ok(tokenizer)
}
