//! How much text counts between brackets that multiply, from the pairs of brackets alone.

use std::ops::Range;

/// A pair of brackets: the text inside, in bytes, and what it is multiplied by.
pub(super) struct Pair {
    pub(super) inside: Range<usize>,
    pub(super) factor: f64,
}

/// The weight from a byte on, ascending; 1 before the first. Weights are rounded to a thousandth.
///
/// Pairs may cross. Signs and zeros are counted apart from the logarithms that are added up.
pub(super) fn levels(pairs: Vec<Pair>) -> Vec<(usize, f32)> {
    // At a byte: change of the logarithm, of the number of negative factors, of the number of zeros.
    let mut changes: Vec<(usize, f64, i32, i32)> = Vec::with_capacity(2 * pairs.len());
    for Pair { inside, factor } in pairs.into_iter().filter(|pair| !pair.inside.is_empty()) {
        let (log, negative, zero) = match factor {
            0.0 => (0.0, 0, 1),
            factor => (factor.abs().ln(), i32::from(factor < 0.0), 0),
        };
        changes.push((inside.start, log, negative, zero));
        changes.push((inside.end, -log, -negative, -zero));
    }
    changes.sort_by_key(|change| change.0);
    let mut levels: Vec<(usize, f32)> = Vec::new();
    let (mut log, mut negatives, mut zeros) = (0.0_f64, 0, 0);
    for (at, by, negative, zero) in changes {
        log += by;
        negatives += negative;
        zeros += zero;
        let sign = if negatives % 2 == 0 { 1.0 } else { -1.0 };
        let weight = if zeros > 0 { 0.0 } else { sign * log.exp() };
        let weight = ((weight * 1e3).round() / 1e3).clamp(-1e9, 1e9) as f32;
        match levels.last_mut() {
            Some(last) if last.0 == at => last.1 = weight,
            _ => levels.push((at, weight)),
        }
    }
    levels
}
