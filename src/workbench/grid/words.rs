//! Which parts of a prompt carry the picture: leave one out, look what changes. Pure: from embeddings to figures.

use std::ops::Range;

use super::{AxisKind, AxisText, scoring};
use crate::prompt::vary::{self, Grain};

/// A part whose embedding changes less than this share of what the strongest changes is dead in text space.
const DEAD_SHARE: f32 = 0.12;

/// Several values of one figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Their mean.
    pub mean: f32,
    /// Their standard deviation; 0 of one value.
    pub deviation: f32,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    /// Of `values`; `None` of none.
    pub fn of(values: &[f32]) -> Option<Self> {
        let count = values.len();
        let mean = values.iter().sum::<f32>() / count as f32;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / (count.max(2) - 1) as f32;
        (count > 0).then(|| Self { mean, deviation: variance.sqrt(), count })
    }

    /// How far the mean may be off: the standard error.
    pub fn error(&self) -> f32 {
        self.deviation / (self.count.max(1) as f32).sqrt()
    }
}

/// What is known of one part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PartValue {
    /// Where it stands in the prompt, in bytes.
    pub span: Range<usize>,
    /// Its text.
    pub text: String,
    /// How far the embedding of the prompt moves without it: 1 minus the cosine.
    pub embedding_change: Option<f32>,
    /// How much worse the picture fits the whole prompt without it, over seeds.
    pub score_change: Option<Spread>,
    /// How far the picture moves in the space of embeddings without it, over seeds: 1 minus the cosine.
    pub picture_change: Option<Spread>,
    /// Whether it can go: nothing that was measured tells that it does something.
    pub is_dead: bool,
}

/// The parts of `prompt`: phrases, or words where there are not two phrases.
pub fn parts(prompt: &str, grain: Option<Grain>) -> (Grain, Vec<Range<usize>>) {
    let phrases = vary::parts(prompt, Grain::Phrases);
    match grain {
        Some(Grain::Words) => (Grain::Words, vary::parts(prompt, Grain::Words)),
        None if phrases.len() < 2 => (Grain::Words, vary::parts(prompt, Grain::Words)),
        _ => (Grain::Phrases, phrases),
    }
}

/// The texts to embed: the whole prompt, then it without each part; all as plain words.
pub fn texts(prompt: &str, parts: &[Range<usize>]) -> Vec<String> {
    let without = parts.iter().map(|part| scoring::plain(&vary::without(prompt, part)));
    std::iter::once(scoring::plain(prompt)).chain(without).collect()
}

/// The axes of the run that measures on pictures: parts by seeds.
pub fn axes(grain: Grain, seeds: &[u64]) -> [AxisText; 2] {
    let text = match grain {
        Grain::Phrases => "phrases",
        Grain::Words => "words",
    };
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    [
        AxisText { kind: AxisKind::LeaveOut, text: text.to_owned() },
        AxisText { kind: AxisKind::Seed, text: seeds.join(", ") },
    ]
}

/// What was measured on one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// How well it fits the whole prompt.
    pub score: Option<f32>,
    /// Its embedding.
    pub embedding: Option<Vec<f32>>,
}

/// Puts together what is known. `embeddings` are those of [`texts`]; `pictures` are by row (a seed) and by part, the whole prompt first.
pub fn values(
    prompt: &str,
    parts: &[Range<usize>],
    embeddings: &[Vec<f32>],
    pictures: &[Vec<Measured>],
) -> Vec<PartValue> {
    // Rounding makes a cosine a little larger than 1.
    let change = |a: &[f32], b: &[f32]| scoring::similarity(a, b).map(|cosine| (1.0 - cosine).max(0.0));
    let mut values: Vec<PartValue> = parts
        .iter()
        .enumerate()
        .map(|(i, part)| {
            let pairs = || pictures.iter().filter_map(|row| Some((row.first()?, row.get(i + 1)?)));
            let scores: Vec<f32> = pairs().filter_map(|(whole, without)| Some(whole.score? - without.score?)).collect();
            let moves: Vec<f32> = pairs()
                .filter_map(|(whole, without)| change(whole.embedding.as_ref()?, without.embedding.as_ref()?))
                .collect();
            PartValue {
                span: part.clone(),
                text: prompt.get(part.clone()).unwrap_or_default().to_owned(),
                embedding_change: embeddings.first().zip(embeddings.get(i + 1)).and_then(|(a, b)| change(a, b)),
                score_change: Spread::of(&scores),
                picture_change: Spread::of(&moves),
                is_dead: false,
            }
        })
        .collect();
    let strongest = values.iter().filter_map(|value| value.embedding_change).fold(0.0, f32::max);
    for value in &mut values {
        value.is_dead = is_dead(value, strongest);
    }
    values
}

/// Pictures have the last word: a part without which they fit no worse, beyond chance, is dead. Before there are any, the text decides.
fn is_dead(value: &PartValue, strongest: f32) -> bool {
    match (value.score_change, value.embedding_change) {
        (Some(change), _) if change.count > 1 => change.mean <= change.error(),
        (Some(change), _) => change.mean <= 0.0,
        // Of a LoRA no text tells.
        (None, Some(change)) => change < strongest * DEAD_SHARE && !scoring::plain(&value.text).is_empty(),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(score: f32, embedding: [f32; 2]) -> Measured {
        Measured { score: Some(score), embedding: Some(embedding.to_vec()) }
    }

    #[test]
    fn one_phrase_is_taken_apart_into_words() {
        assert_eq!(parts("a red fox", None), (Grain::Words, vec![0..1, 2..5, 6..9]));
        assert_eq!(parts("a fox, ink", None), (Grain::Phrases, vec![0..5, 7..10]));
        assert_eq!(parts("a fox, ink", Some(Grain::Words)).1.len(), 3);
        assert_eq!(texts("a (red:1.2) fox", std::slice::from_ref(&(2..11))), ["a red fox", "a fox"]);
    }

    #[test]
    fn what_moves_nothing_is_dead_and_pictures_have_the_last_word() {
        let (prompt, parts) = ("fox, ink, nice", [0..3, 5..8, 10..14]);
        let whole = vec![1.0, 0.0];
        let embeddings = [whole.clone(), vec![0.5, 0.866], vec![0.8, 0.6], vec![0.999, 0.045]];
        let text_only = values(prompt, &parts, &embeddings, &[]);
        let dead: Vec<bool> = text_only.iter().map(|value| value.is_dead).collect();
        assert_eq!(dead, [false, false, true]);
        assert!(text_only[0].embedding_change.is_some_and(|change| (change - 0.5).abs() < 1e-6));

        // By row: the whole prompt, without fox, without ink, without nice.
        let row = |scores: [f32; 4]| scores.map(|score| measured(score, [1.0, 0.0])).to_vec();
        let pictures = [row([0.30, 0.10, 0.31, 0.20]), row([0.32, 0.14, 0.31, 0.24])];
        let with_pictures = values(prompt, &parts, &embeddings, &pictures);
        let dead: Vec<bool> = with_pictures.iter().map(|value| value.is_dead).collect();
        assert_eq!(dead, [false, true, false], "ink changes the text but not the fit; nice does the opposite");
        let fox = with_pictures[0].score_change;
        assert!(fox.is_some_and(|fox| (fox.mean - 0.19).abs() < 1e-6 && fox.count == 2 && fox.deviation > 0.0));
        assert_eq!(with_pictures[0].picture_change.map(|change| change.mean), Some(0.0));
    }

    #[test]
    fn that_a_lora_does_nothing_only_pictures_can_tell() {
        let (prompt, parts) = ("fox, <lora:ink:1>", [0..3, 5..17]);
        let embeddings = [vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0]];
        assert_eq!(&prompt[parts[1].clone()], "<lora:ink:1>");
        assert!(!values(prompt, &parts, &embeddings, &[])[1].is_dead);
        let row = [0.3, 0.1, 0.3].map(|score| measured(score, [1.0, 0.0])).to_vec();
        assert!(values(prompt, &parts, &embeddings, &[row])[1].is_dead);
    }

    #[test]
    fn half_finished_rows_count_as_far_as_they_are() {
        let pictures = [vec![measured(0.3, [1.0, 0.0]), Measured::default(), measured(0.1, [0.0, 1.0])]];
        let values = values("a, b", &[0..1, 3..4], &[], &pictures);
        assert_eq!(values[0].score_change, None);
        assert_eq!(values[1].picture_change.map(|change| change.mean), Some(1.0));
        assert_eq!(Spread::of(&[]), None);
    }
}
