//! Position embeddings for pictures of other sizes than the training's: torch's bicubic `interpolate(align_corners=False)`.

use candle_core::Tensor;

use crate::models::error::Result;

/// From a square grid (grid * grid, width) to (rows * columns, width).
pub(super) fn interpolate(square: &Tensor, grid: usize, rows: usize, columns: usize) -> Result<Tensor> {
    let (dtype, device) = (square.dtype(), square.device());
    let down = Tensor::from_vec(weights(grid, rows), (rows, grid), device)?.to_dtype(dtype)?;
    let across = Tensor::from_vec(weights(grid, columns), (columns, grid), device)?.to_dtype(dtype)?;
    let width = square.dim(1)?;
    // Rows first: (rows, grid) x (grid, grid * width), then columns within each row.
    let tall = down.matmul(&square.contiguous()?.reshape((grid, grid * width))?)?.reshape((rows, grid, width))?;
    let across = across.unsqueeze(0)?.broadcast_as((rows, columns, grid))?.contiguous()?;
    Ok(across.matmul(&tall)?.reshape((rows * columns, width))?)
}

/// The (to, from) matrix: a = -0.75, half-pixel centres, edges repeated.
fn weights(from: usize, to: usize) -> Vec<f32> {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let mut matrix = vec![0.0; from * to];
    for (output, row) in matrix.chunks_exact_mut(from).enumerate() {
        let place = (output as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let (base, t) = (place.floor(), place - place.floor());
        for (offset, weight) in [(-1.0, far(t + 1.0)), (0.0, near(t)), (1.0, near(1.0 - t)), (2.0, far(2.0 - t))] {
            let at = (base + offset).clamp(0.0, from as f64 - 1.0) as usize;
            row[at] += weight as f32;
        }
    }
    matrix
}
