//! Reading the judge's verdicts: which thing a picture or a part of it shows, and where things are.

use crate::analysis::zero_shot::softmax;
use crate::base::geom::Extent;
use crate::base::pixels::Mask;
use crate::models::judge::Verdict;

/// The index of the largest value.
pub(super) fn best(values: &[f32]) -> usize {
    values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at)
}

/// Probabilities of things in each cell; the last is that of none.
pub(super) fn cells(verdict: &Verdict) -> Vec<Vec<f32>> {
    verdict.things.iter().map(|logits| softmax(logits)).collect()
}

/// How much of the cells with a weight each thing fills, without none.
fn shares(cells: &[Vec<f32>], weights: impl Iterator<Item = f32>) -> Vec<f32> {
    let things = cells.first().map_or(0, |cell| cell.len().saturating_sub(1));
    let mut sums = vec![0.0; things];
    for (cell, weight) in cells.iter().zip(weights) {
        sums.iter_mut().zip(cell).for_each(|(sum, p)| *sum += p * weight);
    }
    sums
}

/// The thing that fills most of the picture.
pub(super) fn thing(cells: &[Vec<f32>]) -> usize {
    best(&shares(cells, std::iter::repeat(1.0)))
}

/// The thing that fills most of what is under the mask; a cell counts by the share of it that is masked.
pub(super) fn thing_inside(verdict: &Verdict, mask: &Mask) -> usize {
    let Extent { width, height } = mask.extent();
    let (wide, high) = (width as usize / verdict.columns.max(1), height as usize / verdict.rows.max(1));
    let weight = |cell: usize| {
        let (left, top) = (cell % verdict.columns * wide, cell / verdict.columns * high);
        let pixels = (0..high).flat_map(|dy| (0..wide).map(move |dx| ((left + dx) as u32, (top + dy) as u32)));
        pixels.map(|(x, y)| f32::from(mask.coverage(x, y))).sum::<f32>()
    };
    best(&shares(&cells(verdict), (0..verdict.things.len()).map(weight)))
}

/// Whether the two things that fill most of the picture are these two.
pub(super) fn are_present(cells: &[Vec<f32>], pair: [usize; 2]) -> bool {
    let shares = shares(cells, std::iter::repeat(1.0));
    let more = |thing: usize| shares.iter().filter(|share| shares.get(thing).is_some_and(|own| *share > own)).count();
    pair.into_iter().all(|thing| more(thing) < 2)
}

/// The middle of a thing, column and row, by the probabilities of the cells.
fn middle(verdict: &Verdict, cells: &[Vec<f32>], thing: usize) -> [f32; 2] {
    let mut sums = [0.0f32; 3];
    for (at, cell) in cells.iter().enumerate() {
        let p = cell.get(thing).copied().unwrap_or(0.0);
        let (column, row) = ((at % verdict.columns) as f32, (at / verdict.columns) as f32);
        sums = [sums[0] + p * column, sums[1] + p * row, sums[2] + p];
    }
    [sums[0] / sums[2].max(f32::MIN_POSITIVE), sums[1] / sums[2].max(f32::MIN_POSITIVE)]
}

/// Whether both things are there and the first is at the left of the second, or above it.
pub(super) fn are_on_their_sides(verdict: &Verdict, pair: [usize; 2], is_beside: bool) -> bool {
    let cells = cells(verdict);
    let [first, second] = pair.map(|thing| middle(verdict, &cells, thing));
    let axis = usize::from(!is_beside);
    are_present(&cells, pair) && first[axis] < second[axis]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geom::{ImagePoint, ImageRect};
    use crate::base::pixels::Paint;

    /// Two by two cells, two things: the first fills the left, the second the lower right.
    fn verdict() -> Verdict {
        let cell = |thing: usize| (0..3).map(|k| if k == thing { 9.0 } else { 0.0 }).collect();
        let things = [0, 2, 0, 1].map(cell).to_vec();
        Verdict { rows: 2, columns: 2, things, style: vec![], background: vec![], effect: vec![] }
    }

    #[test]
    fn things_are_where_their_cells_are() {
        let verdict = verdict();
        assert_eq!(thing(&cells(&verdict)), 0);
        assert!(are_present(&cells(&verdict), [0, 1]));
        assert!(are_on_their_sides(&verdict, [0, 1], true) && !are_on_their_sides(&verdict, [1, 0], true));
        assert!(are_on_their_sides(&verdict, [0, 1], false));
        let mut mask = Mask::empty(Extent::new(16, 16));
        mask.paint_rect(ImageRect::from_corners(ImagePoint::new(8.0, 0.0), ImagePoint::new(16.0, 16.0)), Paint::Add);
        assert_eq!(thing_inside(&verdict, &mask), 1);
    }
}
