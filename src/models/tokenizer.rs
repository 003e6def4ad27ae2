//! CLIP's byte-level BPE tokenizer, from `tokenizer.json` or from `vocab.json` and `merges.txt`.
//!
//! The second form is assembled as OpenAI's `simple_tokenizer.py` works: NFC, one space for any run of them, lower case,
//! words by regular expression, `</w>` at the end of a word. Text is cut at the limit, never refused.

use std::collections::HashMap;

use serde::Deserialize;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence, replace::ReplacePattern};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, SplitDelimiterBehavior, Tokenizer};

use super::clip::TextTower;
use super::error::{ModelError, Result};
use super::files::ModelFiles;

const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// The context length of every CLIP so far, where the tokenizer's own configuration does not say.
const USUAL_LENGTH: usize = 77;

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
    pad_token: Option<AddedToken>,
}

#[derive(Deserialize, Default)]
struct SpecialTokens {
    pad_token: Option<AddedToken>,
}

#[derive(Deserialize)]
#[serde(untagged)]
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

/// Turns text into token ids.
pub struct ClipTokenizer {
    inner: Tokenizer,
    start: u32,
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
        let (file, inner) = if files.has("tokenizer.json") {
            let bad = |e: tokenizers::Error| bad_file(files, "tokenizer.json", &e);
            ("tokenizer.json", Tokenizer::from_bytes(files.read("tokenizer.json")?).map_err(bad)?)
        } else {
            ("vocab.json", assemble(files)?)
        };
        let id = |token: &str| {
            inner.token_to_id(token).ok_or_else(|| bad_file(files, file, &format!("it has no token {token}").into()))
        };
        let (start, end) = (id("<|startoftext|>")?, id("<|endoftext|>")?);
        let pad_token = config.pad_token.as_ref().or(special.pad_token.as_ref()).map(AddedToken::text);
        let pad = pad_token.and_then(|token| inner.token_to_id(token)).unwrap_or(end);
        // "No limit" is written as a number like 1e30.
        let context_length = match config.model_max_length {
            Some(length) if (3.0..100_000.0).contains(&length) => length as usize,
            _ => USUAL_LENGTH,
        };
        Ok(Self { inner, start, end, pad, context_length })
    }

    /// For a tower with fewer positions than the tokenizer's own configuration allows: texts are cut to what it can read.
    #[must_use]
    pub fn for_tower(mut self, tower: &TextTower) -> Self {
        self.context_length = self.context_length.min(tower.max_length()).max(3);
        self
    }

    /// How many tokens of a text are read: the context without start and end.
    pub fn limit(&self) -> usize {
        self.context_length - 2
    }

    /// `text` from start to end token; what is beyond the limit is cut and counted.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let encoding =
            self.inner.encode_fast(text, false).map_err(|e| ModelError::BadInput(format!("cannot tokenize: {e}")))?;
        let words = encoding.get_ids();
        let kept = words.get(..self.limit()).unwrap_or(words);
        let ids = std::iter::once(self.start).chain(kept.iter().copied()).chain([self.end]).collect();
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
    ModelError::BadFile { path: files.path_of(file), reason: error.to_string() }
}

fn assemble(files: &ModelFiles) -> Result<Tokenizer> {
    let vocabulary: HashMap<String, u32> = files.read_json("vocab.json")?;
    let merges = files.read("merges.txt")?;
    let merges = String::from_utf8_lossy(&merges);
    let merges = merges.lines().filter(|line| !line.starts_with("#version"));
    let merges = merges.filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let bad = |e: tokenizers::Error| bad_file(files, "merges.txt", &e);
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
        .unk_token("<|endoftext|>".to_owned())
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
    let special = ["<|startoftext|>", "<|endoftext|>"].map(|token| tokenizers::AddedToken::from(token, true));
    tokenizer.add_special_tokens(special).map_err(bad)?;
    Ok(tokenizer)
}
