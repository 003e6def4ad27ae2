//! How prompts are split into tokens and chunks, for showing it: each token with its place in what the user wrote.

use super::conditioning::{Conditioner, verbatim};
use super::script::{all_texts, negative_text};
use crate::job::output::{EncoderTokens, TokenCount, TokenText, TokenizedText};
use crate::job::sampling::Emphasis;
use crate::job::spec::CountTokensSpec;
use crate::models::Result;
use crate::prompt::emphasis;
use crate::prompt::source::Traced;
use crate::prompt::stages::Stages;

use super::text_encoder::TextEncoder;

/// Reads a prompt, or a negative one.
///
/// # Errors
/// If a tokenizer fails.
pub(super) fn read(
    conditioner: &Conditioner,
    text: &str,
    is_negative: bool,
    spec: &CountTokensSpec,
) -> Result<TokenizedText> {
    let steps = spec.steps.max(1);
    let step = spec.step.clamp(1, steps);
    let texts: Vec<Traced> = match is_negative {
        true => vec![negative_text(text, steps, step)],
        false => Stages::new(text, steps).schedules.iter().map(|schedule| schedule.at(step)).collect(),
    };
    let mut parts = Vec::new();
    for part in &texts {
        let tokens = conditioner.encoders().iter().map(|encoder| encoder_tokens(encoder, part, spec.emphasis));
        parts.push(tokens.collect::<Result<Vec<_>>>()?);
    }
    let mut count = TokenCount { tokens: 0, limit: 0, chunks: 1 };
    for fragments in all_texts(text, is_negative, steps, spec.emphasis) {
        let one = conditioner.count(&fragments)?;
        count = TokenCount { tokens: count.tokens.max(one.tokens), chunks: count.chunks.max(one.chunks), ..one };
    }
    Ok(TokenizedText { count, parts })
}

fn encoder_tokens(encoder: &TextEncoder, text: &Traced, emphasis: Emphasis) -> Result<EncoderTokens> {
    let (fragments, places) = match emphasis {
        Emphasis::None => (verbatim(text.text()), vec![text.clone()]),
        _ => (emphasis::parse_traced(text, &mut Vec::new()), emphasis::traced(text)),
    };
    let mut chunks = Vec::new();
    for chunk in encoder.chunks(&fragments)? {
        let tokens = chunk.into_iter().map(|token| {
            let (from, to) = token.place;
            let source = places.get(token.fragment);
            let words = source.and_then(|source| source.text().get(from..to)).map(str::trim).unwrap_or_default();
            TokenText {
                text: if words.is_empty() { encoder.tokenizer().token(token.id) } else { words.to_owned() },
                weight: token.weight as f32,
                span: source.map(|source| source.span(from..to)).unwrap_or_default(),
            }
        });
        chunks.push(tokens.collect());
    }
    Ok(EncoderTokens { limit: encoder.tokenizer().limit(), chunks })
}
