//! How well pictures fit texts, from embeddings.

use crate::prompt::stages::Stages;
use crate::store::runs::{NewRun, RunCell};

/// The text that a cell's picture is scored by: that of the run, or the cell's own prompt as plain words.
pub fn score_text(run: &NewRun, cell: &RunCell) -> String {
    match run.score_text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text.to_owned(),
        None => plain(&cell.spec.prompt),
    }
}

/// The words of a prompt without weights, schedules and networks: what holds at the last step.
pub fn plain(prompt: &str) -> String {
    let stretch = Stages::new(prompt, 1).at(1, &mut Vec::new());
    let parts = stretch.parts.iter().map(|part| {
        let words =
            part.fragments.iter().filter(|fragment| !fragment.is_break()).map(|fragment| fragment.text.as_str());
        words.collect::<String>()
    });
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The cosine of two unit-norm embeddings, -1 to 1; `None` if they are of different models.
pub fn similarity(a: &[f32], b: &[f32]) -> Option<f32> {
    (a.len() == b.len() && !a.is_empty()).then(|| a.iter().zip(b).map(|(a, b)| a * b).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_of_a_prompt_is_not_scored() {
        assert_eq!(plain("a (red fox:1.3), [old] <lora:ink:0.5>"), "a red fox, old");
        assert_eq!(plain("a fox AND snow:0.5"), "a fox, snow");
        assert_eq!(plain("a [dog:fox:0.5]"), "a fox");
        assert_eq!(plain(""), "");
    }

    #[test]
    fn embeddings_of_different_models_are_not_compared() {
        assert_eq!(similarity(&[1.0, 0.0], &[0.6, 0.8]), Some(0.6));
        assert_eq!(similarity(&[1.0], &[0.6, 0.8]), None);
        assert_eq!(similarity(&[], &[]), None);
    }
}
