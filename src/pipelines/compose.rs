//! Between canvas and net: pictures as tensors, the region that inpainting looks at, and pasting the result back so that
//! nothing outside the mask changes by a single bit.

use candle_core::{DType, Device, Tensor};

use crate::base::geom::{Bounds, Extent};
use crate::base::pixels::{Mask, Picture};
use crate::models::Result;
use crate::models::preprocess::{resize, resize_by};
use crate::models::resample::{Kernel, resample_part};

/// How much larger than the mask the region around it is, so that the net sees what it paints into.
const CONTEXT: f32 = 1.5;

/// (1, 3, height, width) in -1..=1.
pub(super) fn to_tensor(picture: &Picture, dtype: DType, device: &Device) -> Result<Tensor> {
    let plane = |channel: usize| picture.rgb().iter().skip(channel).step_by(3).map(|v| f32::from(*v) / 127.5 - 1.0);
    let values: Vec<f32> = plane(0).chain(plane(1)).chain(plane(2)).collect();
    let shape = (1, 3, picture.extent().height as usize, picture.extent().width as usize);
    Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
}

/// The first picture of (batch, 3, height, width) in -1..=1.
pub(super) fn from_tensor(tensor: &Tensor) -> Result<Picture> {
    let (_, _, height, width) = tensor.dims4()?;
    let values = tensor.narrow(0, 0, 1)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let area = height * width;
    let byte = |v: f32| ((v * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8;
    Ok(Picture::from_fn(Extent::new(width as u32, height as u32), |x, y| {
        let at = y as usize * width + x as usize;
        [0, 1, 2].map(|c| byte(values[c * area + at]))
    }))
}

/// `picture` at `size` as diffusers' `VaeImageProcessor` makes it: by Pillow's Lanczos filter, whatever becomes of its shape.
pub(super) fn fitted(picture: &Picture, size: Extent) -> Picture {
    resize_by(picture, size, Kernel::Lanczos)
}

/// The part of a canvas that the net works on: the whole canvas if it has the net's size, else a part around the mask that
/// has the net's shape as far as the canvas allows.
pub(super) fn region(canvas: Extent, painted: Bounds, size: Extent) -> Bounds {
    if canvas == size {
        return canvas.bounds();
    }
    let (painted_width, painted_height) = ((painted.x1 - painted.x0) as f32, (painted.y1 - painted.y0) as f32);
    let shape = size.width as f32 / size.height as f32;
    // In net pixels one net pixel is never spread over less than one canvas pixel.
    let width = (painted_width * CONTEXT).max(painted_height * CONTEXT * shape).max(size.width as f32);
    let height = width / shape;
    let scale = (canvas.width as f32 / width).min(canvas.height as f32 / height).min(1.0);
    let (width, height) = ((width * scale).round() as u32, (height * scale).round() as u32);
    // A mask that does not fit into that shape gets all the room there is.
    let span = |low: u32, high: u32, want: u32, limit: u32| {
        let want = want.max(high - low).clamp(1, limit);
        let start = (i64::from(low) + i64::from(high) - i64::from(want)) / 2;
        let start = start.clamp(0, i64::from(limit - want)) as u32;
        (start, start + want)
    };
    let (x0, x1) = span(painted.x0, painted.x1, width, canvas.width);
    let (y0, y1) = span(painted.y0, painted.y1, height, canvas.height);
    Bounds { x0, y0, x1, y1 }
}

/// The pixels inside `bounds`, which must lie inside the picture.
pub(super) fn crop(picture: &Picture, bounds: Bounds) -> Picture {
    Picture::from_fn(bounds.extent(), |x, y| picture.pixel(bounds.x0 + x, bounds.y0 + y).unwrap_or([0; 3]))
}

/// `canvas` with `painted` (of any size) laid over `bounds` as far as `mask` covers; where it does not, nothing changes.
pub(super) fn paste(canvas: &Picture, painted: &Picture, bounds: Bounds, mask: &Mask) -> Picture {
    let painted = resize(painted, bounds.extent());
    Picture::from_fn(canvas.extent(), |x, y| {
        let old = canvas.pixel(x, y).unwrap_or([0; 3]);
        let inside = (bounds.x0..bounds.x1).contains(&x) && (bounds.y0..bounds.y1).contains(&y);
        let cover = if inside { u32::from(mask.coverage(x, y)) } else { 0 };
        if cover == 0 {
            return old;
        }
        let new = painted.pixel(x - bounds.x0, y - bounds.y0).unwrap_or(old);
        std::array::from_fn(|c| ((u32::from(old[c]) * (255 - cover) + u32::from(new[c]) * cover + 127) / 255) as u8)
    })
}

/// The mask of `bounds` on a latent grid of `width` x `height`: 1 wherever any pixel beneath is covered, (1, 1, h, w).
pub(super) fn latent_mask(
    mask: &Mask,
    bounds: Bounds,
    width: usize,
    height: usize,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let extent = bounds.extent();
    // The pixels that a cell touches: several if the canvas is finer than the grid, a part of one if it is coarser.
    let span = |cell: usize, cells: usize, pixels: u32, origin: u32| {
        let at = |cell: usize| cell as u64 * u64::from(pixels);
        let (low, high) = (at(cell) / cells as u64, at(cell + 1).div_ceil(cells as u64));
        origin + low as u32..origin + high as u32
    };
    let is_covered = |column: usize, row: usize| {
        span(row, height, extent.height, bounds.y0)
            .any(|y| span(column, width, extent.width, bounds.x0).any(|x| mask.coverage(x, y) > 0))
    };
    let cells = (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
    let values: Vec<f32> = cells.map(|(column, row)| if is_covered(column, row) { 1.0 } else { 0.0 }).collect();
    Ok(Tensor::from_vec(values, (1, 1, height, width), device)?.to_dtype(dtype)?)
}

/// Which pixels of a picture a mask covers, yes or no, as diffusers' inpainting has it: resized by Lanczos, cut at one half.
pub(super) struct Covered {
    size: Extent,
    pixels: Vec<bool>,
}

impl Covered {
    /// The part `bounds` of `mask` at `size`.
    pub(super) fn of(mask: &Mask, bounds: Bounds, size: Extent) -> Self {
        let mut coverage = mask.coverage_in(bounds);
        if bounds.extent() != size {
            coverage = resample_part(&coverage, 1, bounds.extent(), size, size.bounds(), Kernel::Lanczos);
        }
        Self { size, pixels: coverage.into_iter().map(|value| value >= 128).collect() }
    }

    /// `picture` (1, 3, height, width) in -1..=1 with what is covered replaced by 0.
    pub(super) fn hidden(&self, picture: &Tensor) -> Result<Tensor> {
        let keep: Vec<f32> = self.pixels.iter().map(|covered| f32::from(u8::from(!covered))).collect();
        let keep =
            Tensor::from_vec(keep, (1, 1, self.size.height as usize, self.size.width as usize), picture.device())?;
        Ok(picture.broadcast_mul(&keep.to_dtype(picture.dtype())?)?)
    }

    /// 1 where the top left pixel of a cell is covered, (1, 1, height, width).
    pub(super) fn nearest(&self, height: usize, width: usize, dtype: DType, device: &Device) -> Result<Tensor> {
        let at = |cell: usize, cells: usize, pixels: u32| cell * pixels as usize / cells;
        let covered = |row: usize, column: usize| {
            let pixel =
                at(row, height, self.size.height) * self.size.width as usize + at(column, width, self.size.width);
            f32::from(u8::from(self.pixels.get(pixel).copied().unwrap_or(false)))
        };
        let cells = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
        let values: Vec<f32> = cells.map(|(row, column)| covered(row, column)).collect();
        Ok(Tensor::from_vec(values, (1, 1, height, width), device)?.to_dtype(dtype)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::geom::{ImagePoint, ImageRect};
    use crate::base::pixels::Paint;

    #[test]
    fn pasting_leaves_every_pixel_outside_the_mask() {
        let canvas = Picture::from_fn(Extent::new(90, 70), |x, y| [x as u8, y as u8, 200]);
        let mut mask = Mask::empty(canvas.extent());
        mask.paint_ellipse(
            ImageRect::from_corners(ImagePoint::new(50.0, 20.0), ImagePoint::new(80.0, 60.0)),
            Paint::Add,
        );
        let bounds = region(canvas.extent(), mask.painted_bounds().unwrap(), Extent::new(32, 32));
        let painted = Picture::from_fn(Extent::new(32, 32), |_, _| [1, 2, 3]);
        let pasted = paste(&canvas, &painted, bounds, &mask);
        for (x, y) in (0..70).flat_map(|y| (0..90).map(move |x| (x, y))) {
            match mask.coverage(x, y) {
                0 => assert_eq!(pasted.pixel(x, y), canvas.pixel(x, y)),
                255 => assert_eq!(pasted.pixel(x, y), Some([1, 2, 3])),
                _ => {}
            }
        }
    }

    #[test]
    fn the_region_holds_the_mask_and_stays_on_the_canvas() {
        let size = Extent::new(128, 128);
        for (canvas, painted) in [
            (Extent::new(512, 512), Bounds { x0: 500, y0: 0, x1: 512, y1: 9 }),
            (Extent::new(100, 600), Bounds { x0: 0, y0: 0, x1: 100, y1: 600 }),
            (Extent::new(40, 30), Bounds { x0: 3, y0: 3, x1: 9, y1: 30 }),
            (Extent::new(2000, 300), Bounds { x0: 100, y0: 10, x1: 1900, y1: 20 }),
        ] {
            let found = region(canvas, painted, size);
            assert_eq!(found.union(painted), found, "{canvas}");
            assert_eq!(found.union(canvas.bounds()), canvas.bounds(), "{canvas}");
        }
        assert_eq!(region(size, Bounds { x0: 1, y0: 1, x1: 2, y1: 2 }, size), size.bounds());
    }
}
