//! Pillow's picture filters on one channel of 8 bits (`BoxBlur.c`, `RankFilter.c`, `Filter.c`, `Convert.c`), to the byte but
//! for rounding in its float kernels.

use crate::base::geom::Extent;
use crate::base::pixels::Picture;

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plane {
    pub(super) extent: Extent,
    pub(super) values: Vec<u8>,
}

impl Plane {
    /// Red, green and blue of a picture.
    pub(super) fn split(picture: &Picture) -> [Self; 3] {
        [0, 1, 2].map(|channel| Self {
            extent: picture.extent(),
            values: picture.rgb().iter().skip(channel).step_by(3).copied().collect(),
        })
    }

    /// The picture of three channels of one size.
    pub(super) fn join([red, green, blue]: &[Self; 3]) -> Picture {
        let mut pixels = red.values.iter().zip(&green.values).zip(&blue.values);
        Picture::from_fn(red.extent, |_, _| pixels.next().map_or([0; 3], |((r, g), b)| [*r, *g, *b]))
    }

    /// A picture's brightness, as `convert("L")`.
    pub(super) fn luma(picture: &Picture) -> Self {
        let weigh = |p: &[u8]| {
            let [r, g, b] = [0, 1, 2].map(|c| p.get(c).copied().map_or(0, u32::from));
            ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
        };
        Self { extent: picture.extent(), values: picture.rgb().chunks_exact(3).map(weigh).collect() }
    }

    pub(super) fn map(&self, change: impl Fn(u8) -> u8) -> Self {
        Self { extent: self.extent, values: self.values.iter().map(|v| change(*v)).collect() }
    }

    pub(super) fn zip(&self, other: &Self, mix: impl Fn(u8, u8) -> u8) -> Self {
        let values = self.values.iter().zip(&other.values).map(|(a, b)| mix(*a, *b)).collect();
        Self { extent: self.extent, values }
    }

    /// `GaussianBlur(radius)`: three box blurs that come close to it (Gwosdek et al. 2011).
    pub(super) fn blurred(&self, radius: f32) -> Self {
        const PASSES: f32 = 3.0;
        let variance = radius * radius / PASSES;
        let length = (12.0 * variance + 1.0).sqrt();
        let whole = ((length - 1.0) / 2.0).floor();
        let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
            / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
        let reach = whole + part;
        let rows = (0..3).fold(self.clone(), |plane, _| plane.box_blurred_along_rows(reach));
        (0..3).fold(rows.transposed(), |plane, _| plane.box_blurred_along_rows(reach)).transposed()
    }

    fn box_blurred_along_rows(&self, reach: f32) -> Self {
        const ONE: u32 = 1 << 24;
        let radius = reach as usize;
        let inner = (ONE as f32 / (reach * 2.0 + 1.0)) as u32;
        let outer = (ONE - (radius as u32 * 2 + 1) * inner) / 2;
        let width = self.extent.width as usize;
        let mut values = Vec::with_capacity(self.values.len());
        for row in self.values.chunks_exact(width.max(1)) {
            let at = |x: usize, shift: isize| u32::from(row[x.saturating_add_signed(shift).min(width - 1)]);
            let far = radius as isize + 1;
            for x in 0..width {
                let sum: u32 = (1 - far..far).map(|shift| at(x, shift)).sum();
                let total = sum.wrapping_mul(inner).wrapping_add((at(x, -far) + at(x, far)).wrapping_mul(outer));
                values.push((total.wrapping_add(ONE / 2) >> 24) as u8);
            }
        }
        Self { extent: self.extent, values }
    }

    fn transposed(&self) -> Self {
        let (width, height) = (self.extent.width as usize, self.extent.height as usize);
        let values = (0..width).flat_map(|x| (0..height).map(move |y| self.values[y * width + x])).collect();
        Self { extent: Extent::new(self.extent.height, self.extent.width), values }
    }

    /// `RankFilter(size, rank)`: the value of this rank among the `size * size` around each pixel; edges are repeated.
    pub(super) fn ranked(&self, size: usize, rank: usize) -> Self {
        let (width, height) = (self.extent.width as usize, self.extent.height as usize);
        let reach = (size / 2) as isize;
        let mut values = Vec::with_capacity(self.values.len());
        let mut window = Vec::with_capacity(size * size);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            window.clear();
            for row in (-reach..=reach).map(|dy| y.saturating_add_signed(dy).min(height - 1)) {
                let columns = (-reach..=reach).map(|dx| x.saturating_add_signed(dx).min(width - 1));
                window.extend(columns.map(|column| self.values[row * width + column]));
            }
            let rank = rank.min(window.len() - 1);
            values.push(*window.select_nth_unstable(rank).1);
        }
        Self { extent: self.extent, values }
    }

    /// A convolution with a symmetrical kernel of `N` x `N`; the pixels where it does not fit are kept.
    pub(super) fn convolved<const N: usize>(&self, kernel: &[[f32; N]; N], scale: f32) -> Self {
        let (width, height, reach) = (self.extent.width as usize, self.extent.height as usize, N / 2);
        let mut out = self.clone();
        for y in reach..height.saturating_sub(reach) {
            for x in reach..width.saturating_sub(reach) {
                let mut sum = 0.5f32;
                for (dy, row) in kernel.iter().enumerate() {
                    let first = (y + dy - reach) * width + x - reach;
                    let pixels = self.values[first..first + N].iter();
                    sum += row.iter().zip(pixels).map(|(weight, v)| weight / scale * f32::from(*v)).sum::<f32>();
                }
                out.values[y * width + x] = sum.clamp(0.0, 255.0) as u8;
            }
        }
        out
    }
}
