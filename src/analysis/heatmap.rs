//! Arithmetic on heatmaps: similarities over patches, their peaks, and their enlargement to pixels.

use crate::base::geom::Extent;
use crate::job::output::Grid;

/// Smallest and largest value.
pub fn range(grid: &Grid) -> (f32, f32) {
    grid.values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// The middle of the patch with the largest value, in pixels of a picture of `extent`.
pub fn peak(grid: &Grid, extent: Extent) -> [u32; 2] {
    let best = grid.values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
    let (rows, columns) = (grid.rows.max(1), grid.columns.max(1));
    let middle = |cell: usize, cells: usize, side: u32| ((cell as f64 + 0.5) / cells as f64 * f64::from(side)) as u32;
    [middle(best % columns, columns, extent.width), middle(best / columns, rows, extent.height)]
}

/// `grid` at `extent`, row by row: bilinear between patch centres, constant beyond them.
pub fn upsample(grid: &Grid, extent: Extent) -> Vec<f32> {
    if grid.rows == 0 || grid.columns == 0 {
        return vec![0.0; extent.area()];
    }
    let places = |side: u32, cells: usize| -> Vec<(usize, usize, f32)> {
        let last = cells - 1;
        (0..side)
            .map(|at| {
                let place = ((at as f32 + 0.5) / side as f32 * cells as f32 - 0.5).clamp(0.0, last as f32);
                let low = place as usize;
                (low, (low + 1).min(last), place - low as f32)
            })
            .collect()
    };
    let columns = places(extent.width, grid.columns);
    let mut out = Vec::with_capacity(extent.area());
    for (top, bottom, fy) in places(extent.height, grid.rows) {
        let row = |r: usize| grid.values.get(r * grid.columns..(r + 1) * grid.columns).unwrap_or(&[]);
        let (top, bottom) = (row(top), row(bottom));
        let mixed: Vec<f32> = top.iter().zip(bottom).map(|(a, b)| a + (b - a) * fy).collect();
        out.extend(columns.iter().map(|(left, right, fx)| mixed[*left] + (mixed[*right] - mixed[*left]) * fx));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enlarging_is_linear_between_patch_centres() {
        let grid = Grid { rows: 1, columns: 2, values: vec![0.0, 1.0] };
        assert_eq!(upsample(&grid, Extent::new(8, 2))[..8], [0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 1.0, 1.0]);
        assert_eq!(upsample(&grid, Extent::new(2, 1)), [0.0, 1.0]);
    }

    #[test]
    fn the_peak_is_in_the_middle_of_its_patch() {
        let grid = Grid { rows: 2, columns: 4, values: vec![0.0, 0.1, 0.2, 0.1, 0.0, 0.3, 0.9, 0.1] };
        assert_eq!(peak(&grid, Extent::new(400, 100)), [250, 75]);
        assert_eq!(range(&grid), (0.0, 0.9));
    }
}
