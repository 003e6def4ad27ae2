//! Zero-shot classification (Radford et al. 2021): from similarities of one picture with class x template texts to logits
//! and probabilities, one template at a time and all together.

use crate::job::output::{Scoring, ZeroShotImage};
use crate::job::spec::Combine;

/// Probabilities of logits; they add up to 1.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|v| (v - largest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter().map(|v| v / sum).collect()
}

/// Probabilities of logits: one for all classes together, or each class by itself.
pub fn probabilities(logits: &[f32], scoring: Scoring) -> Vec<f32> {
    match scoring {
        Scoring::Softmax { .. } => softmax(logits),
        Scoring::Sigmoid { .. } => logits.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect(),
    }
}

fn logit(cosine: f32, scoring: Scoring) -> f32 {
    match scoring {
        Scoring::Softmax { scale } => scale * cosine,
        Scoring::Sigmoid { scale, bias } => scale * cosine + bias,
    }
}

/// The logit that gives back the probability `p`.
fn logit_of(p: f32, scoring: Scoring) -> f32 {
    match scoring {
        Scoring::Softmax { .. } => p.max(f32::MIN_POSITIVE).ln(),
        Scoring::Sigmoid { .. } => p.max(f32::MIN_POSITIVE).ln() - (1.0 - p).max(f32::MIN_POSITIVE).ln(),
    }
}

/// The scores of one picture. `image` is its unit-norm embedding, `texts[template][class]` are unit-norm embeddings.
pub fn score(image: &[f32], texts: &[Vec<Vec<f32>>], scoring: Scoring, combine: Combine) -> ZeroShotImage {
    let by_template: Vec<Vec<f32>> =
        texts.iter().map(|classes| classes.iter().map(|text| logit(dot(image, text), scoring)).collect()).collect();
    let (logits, probabilities) = together(image, texts, &by_template, scoring, combine);
    ZeroShotImage { logits, probabilities, by_template, probabilities_without_marks: None }
}

/// Logits and probabilities of the ensemble, by class.
fn together(
    image: &[f32],
    texts: &[Vec<Vec<f32>>],
    by_template: &[Vec<f32>],
    scoring: Scoring,
    combine: Combine,
) -> (Vec<f32>, Vec<f32>) {
    let classes = by_template.first().map_or(0, Vec::len);
    let templates = by_template.len().max(1) as f32;
    let mean = |rows: &[Vec<f32>]| -> Vec<f32> {
        (0..classes).map(|c| rows.iter().map(|row| row[c]).sum::<f32>() / templates).collect()
    };
    let logits = match combine {
        Combine::Embedding => (0..classes).map(|c| logit(dot(image, &mean_embedding(texts, c)), scoring)).collect(),
        Combine::Logit => mean(by_template),
        Combine::Max => {
            (0..classes).map(|c| by_template.iter().map(|row| row[c]).fold(f32::NEG_INFINITY, f32::max)).collect()
        }
        Combine::Probability => {
            let rows: Vec<Vec<f32>> = by_template.iter().map(|row| probabilities(row, scoring)).collect();
            let means = mean(&rows);
            // Logits that give back these probabilities.
            return (means.iter().map(|p| logit_of(*p, scoring)).collect(), means);
        }
    };
    let probabilities = probabilities(&logits, scoring);
    (logits, probabilities)
}

/// The mean of a class's embeddings over all templates, made unit-norm again.
fn mean_embedding(texts: &[Vec<Vec<f32>>], class: usize) -> Vec<f32> {
    mean_direction(texts.iter().filter_map(|classes| classes.get(class)).map(Vec::as_slice))
}

/// The mean of embeddings, made unit-norm.
pub(super) fn mean_direction<'a>(embeddings: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut sum: Vec<f32> = Vec::new();
    for embedding in embeddings {
        sum.resize(embedding.len(), 0.0);
        sum.iter_mut().zip(embedding).for_each(|(s, v)| *s += v);
    }
    let length = dot(&sum, &sum).sqrt().max(f32::MIN_POSITIVE);
    sum.iter().map(|v| v / length).collect()
}

/// The inner product: of unit-norm rows, the cosine of their angle.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f32], b: &[f32]) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} is not {b:?}");
    }

    /// Two templates, two classes, in a plane; the picture lies on the first axis.
    fn texts() -> Vec<Vec<Vec<f32>>> {
        vec![vec![vec![1.0, 0.0], vec![0.0, 1.0]], vec![vec![0.6, 0.8], vec![0.8, 0.6]]]
    }

    #[test]
    fn each_way_of_combining_does_what_it_says() {
        let score = |combine| score(&[1.0, 0.0], &texts(), Scoring::Softmax { scale: 10.0 }, combine);
        close(&score(Combine::Logit).logits, &[8.0, 4.0]);
        close(&score(Combine::Max).logits, &[10.0, 8.0]);
        let norm = |x: f32, y: f32| 10.0 * x / x.hypot(y);
        close(&score(Combine::Embedding).logits, &[norm(1.6, 0.8), norm(0.8, 1.6)]);
        let (a, b) = (softmax(&[10.0, 0.0]), softmax(&[6.0, 8.0]));
        close(&score(Combine::Probability).probabilities, &[(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0]);
        close(
            &score(Combine::Probability).logits.iter().map(|v| v.exp()).collect::<Vec<_>>(),
            &score(Combine::Probability).probabilities,
        );
        assert_eq!(score(Combine::Max).by_template.len(), 2);
    }

    #[test]
    fn classes_of_a_sigmoid_model_do_not_compete() {
        let scoring = Scoring::Sigmoid { scale: 10.0, bias: -5.0 };
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        for combine in Combine::ALL {
            let both = score(&[1.0, 0.0], &texts(), scoring, combine);
            let first: Vec<Vec<Vec<f32>>> = texts().into_iter().map(|row| row[..1].to_vec()).collect();
            close(&score(&[1.0, 0.0], &first, scoring, combine).probabilities, &both.probabilities[..1]);
            let back: Vec<f32> = both.logits.iter().map(|v| sigmoid(*v)).collect();
            close(&back, &both.probabilities);
        }
        let mean = score(&[1.0, 0.0], &texts(), scoring, Combine::Probability);
        close(&mean.probabilities, &[(sigmoid(5.0) + sigmoid(1.0)) / 2.0, (sigmoid(-5.0) + sigmoid(3.0)) / 2.0]);
        close(&mean.by_template[1], &[1.0, 3.0]);
    }

    #[test]
    fn probabilities_of_huge_logits_are_finite() {
        close(&softmax(&[1000.0, 0.0]), &[1.0, 0.0]);
    }
}
