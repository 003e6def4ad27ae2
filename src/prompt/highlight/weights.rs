//! How much text counts between brackets that multiply, from the pairs of brackets alone.

use std::ops::Range;

use crate::prompt::emphasis::LARGEST;

/// A pair of brackets: the text inside, in bytes, and what it is multiplied by.
pub(super) struct Pair {
    pub(super) inside: Range<usize>,
    pub(super) factor: f64,
}

/// The weight from a byte on up to `end`, ascending; 1 before the first. Weights are rounded to a thousandth.
///
/// Pairs may cross. Signs and zeros are counted apart from the logarithms that are added up.
pub(super) fn levels(end: usize, pairs: Vec<Pair>) -> Vec<(usize, f32)> {
    // At a byte: change of the logarithm, of the number of negative factors, of the number of zeros.
    let mut changes: Vec<(usize, f64, i32, i32)> = Vec::with_capacity(pairs.len());
    // Most factors are the same few.
    let mut known = (1.0, 0.0);
    for Pair { inside, factor } in pairs.into_iter().filter(|pair| !pair.inside.is_empty()) {
        if factor != 0.0 && factor != known.0 {
            known = (factor, factor.abs().ln());
        }
        let (log, negative, zero) = match factor {
            0.0 => (0.0, 0, 1),
            factor => (known.1, i32::from(factor < 0.0), 0),
        };
        changes.push((inside.start, log, negative, zero));
        if inside.end < end {
            changes.push((inside.end, -log, -negative, -zero));
        }
    }
    changes.sort_by_key(|change| change.0);
    let mut levels: Vec<(usize, f32)> = Vec::new();
    let (mut log, mut negatives, mut zeros) = (0.0_f64, 0, 0);
    let mut changes = changes.into_iter().peekable();
    while let Some((at, by, negative, zero)) = changes.next() {
        log += by;
        negatives += negative;
        zeros += zero;
        if changes.peek().is_some_and(|next| next.0 == at) {
            continue;
        }
        let weight = if zeros > 0 { 0.0 } else { rounded(log, negatives % 2 != 0) };
        if levels.last().map_or(1.0, |last| last.1) != weight {
            levels.push((at, weight));
        }
    }
    levels
}

/// A weight from its logarithm, to a thousandth and at most [`LARGEST`].
fn rounded(log: f64, is_negative: bool) -> f32 {
    // Beyond these it comes to the ends anyway, and deep brackets make many.
    let size = match log {
        ..-8.0 => 0.0,
        21.0.. => LARGEST,
        _ => ((log.exp() * 1e3).round() / 1e3).min(LARGEST),
    };
    (if is_negative { -size } else { size }) as f32
}
