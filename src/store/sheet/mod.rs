//! A finished grid as files: pages of pictures with the names of rows and columns, and a table of numbers.
//!
//! The text of a page is drawn by an SVG renderer with the font that ships with the program, and the system's fonts for what that lacks.

mod files;
mod label;
mod table;

pub use files::write;
pub use table::{CellFacts, csv};

use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use label::{Anchor, Label};

/// A page is made of at most this many pixels; larger pictures are scaled down.
const MOST_PIXELS: f64 = 64e6;
/// Between pictures, and around the page, in pixels.
const GAP: u32 = 8;
const PAPER: u8 = 255;

/// One page of a grid.
pub struct Page<'a> {
    /// Above everything; none if empty.
    pub title: &'a str,
    /// The names of the columns.
    pub columns: &'a [String],
    /// The names of the rows.
    pub rows: &'a [String],
    /// Row by row, `columns * rows` of them, each with a line to stand below it; `None` where there is no picture.
    pub cells: &'a [Option<(Picture, String)>],
}

/// Where things stand on a page, in pixels.
struct Places {
    cell: Extent,
    font: u32,
    /// Of the names of rows.
    left: u32,
    /// Of title and names of columns.
    top: u32,
    title: u32,
    note: u32,
    page: Extent,
}

impl Page<'_> {
    /// The page as a picture: black on white, pictures in their own size unless the page would become too large.
    pub fn draw(&self) -> Picture {
        let places = self.places();
        let mut sheet = Sheet::new(places.page);
        let Places { cell, font, left, top, title, note, .. } = places;
        if title > 0 {
            let label =
                Label { text: self.title, font: font + 2, width: places.page.width - 2 * GAP, anchor: Anchor::Start };
            label.draw(&mut sheet, [GAP, GAP], title);
        }
        for (x, name) in self.columns.iter().enumerate() {
            let at = [left + x as u32 * (cell.width + GAP), GAP + title];
            Label { text: name, font, width: cell.width, anchor: Anchor::Middle }.draw(
                &mut sheet,
                at,
                top - title - 2 * GAP,
            );
        }
        for (y, name) in self.rows.iter().enumerate() {
            let row = top + y as u32 * (cell.height + note + GAP);
            let width = left.saturating_sub(2 * GAP);
            Label { text: name, font, width, anchor: Anchor::End }.draw(&mut sheet, [GAP, row], cell.height);
            for x in 0..self.columns.len() {
                let at = [left + x as u32 * (cell.width + GAP), row];
                match self.cells.get(y * self.columns.len() + x).and_then(Option::as_ref) {
                    Some((picture, below)) => {
                        sheet.place(picture, at, cell);
                        let label = Label { text: below, font: font - 2, width: cell.width, anchor: Anchor::Middle };
                        label.draw(&mut sheet, [at[0], row + cell.height], note);
                    }
                    None => sheet.fill(at, cell, 236),
                }
            }
        }
        sheet.into_picture()
    }

    fn places(&self) -> Places {
        let sizes = self.cells.iter().flatten().map(|(picture, _)| picture.extent());
        let largest = sizes.fold(Extent::new(64, 64), |most, size| {
            Extent::new(most.width.max(size.width), most.height.max(size.height))
        });
        let count = |names: &[String]| names.len().max(1) as f64;
        let pixels = largest.area() as f64 * count(self.columns) * count(self.rows);
        let scale = (MOST_PIXELS / pixels).sqrt().min(1.0);
        let side = |side: u32| ((f64::from(side) * scale) as u32).max(16);
        let cell = Extent::new(side(largest.width), side(largest.height));
        let font = (cell.width / 12).clamp(13, 28);
        let has = |names: &[String]| names.iter().any(|name| !name.is_empty());
        let left = if has(self.rows) { GAP * 2 + (cell.width / 2).clamp(96, 320) } else { GAP };
        let lines = self.columns.iter().map(|name| Label::lines(name, font, cell.width).len()).max().unwrap_or(0);
        let title = if self.title.is_empty() { 0 } else { (font + 2) * 3 / 2 };
        let names = if has(self.columns) { lines as u32 * font * 5 / 4 } else { 0 };
        let note = if self.cells.iter().flatten().any(|(_, below)| !below.is_empty()) { font * 3 / 2 } else { 0 };
        let top = title + names + 2 * GAP;
        let page = Extent::new(
            left + self.columns.len() as u32 * (cell.width + GAP),
            top + self.rows.len() as u32 * (cell.height + note + GAP),
        );
        Places { cell, font, left, top, title, note, page }
    }
}

/// White paper to put things on.
struct Sheet {
    extent: Extent,
    rgb: Vec<u8>,
}

impl Sheet {
    fn new(extent: Extent) -> Self {
        Self { extent, rgb: vec![PAPER; extent.area() * 3] }
    }

    /// Lays `colour` over a pixel, as far as `coverage` of 255 says; outside nothing happens.
    fn blend(&mut self, [x, y]: [u32; 2], colour: [u8; 3], coverage: u8) {
        if x >= self.extent.width || y >= self.extent.height {
            return;
        }
        let at = (y as usize * self.extent.width as usize + x as usize) * 3;
        let share = u32::from(coverage);
        for (old, new) in self.rgb[at..at + 3].iter_mut().zip(colour) {
            *old = ((u32::from(*old) * (255 - share) + u32::from(new) * share + 127) / 255) as u8;
        }
    }

    fn fill(&mut self, [x0, y0]: [u32; 2], size: Extent, grey: u8) {
        for y in 0..size.height {
            (0..size.width).for_each(|x| self.blend([x0 + x, y0 + y], [grey; 3], 255));
        }
    }

    /// Puts `picture` into the middle of a place; made smaller if it is larger.
    fn place(&mut self, picture: &Picture, [x0, y0]: [u32; 2], size: Extent) {
        let scaled = fitted(picture, size);
        let extent = scaled.extent();
        let (left, top) = (x0 + (size.width - extent.width) / 2, y0 + (size.height - extent.height) / 2);
        for (y, row) in scaled.rgb().chunks_exact(extent.width.max(1) as usize * 3).enumerate() {
            let at = ((top as usize + y) * self.extent.width as usize + left as usize) * 3;
            if let Some(place) = self.rgb.get_mut(at..at + row.len()) {
                place.copy_from_slice(row);
            }
        }
    }

    fn into_picture(self) -> Picture {
        let extent = self.extent;
        Picture::from_rgb(extent, self.rgb).unwrap_or_else(|_| Picture::from_fn(extent, |_, _| [PAPER; 3]))
    }
}

fn fitted(picture: &Picture, size: Extent) -> Picture {
    let extent = picture.extent();
    if extent.width <= size.width && extent.height <= size.height {
        return picture.clone();
    }
    let scale =
        (f64::from(size.width) / f64::from(extent.width)).min(f64::from(size.height) / f64::from(extent.height));
    let side = |side: u32| ((f64::from(side) * scale) as u32).max(1);
    let small = Extent::new(side(extent.width), side(extent.height));
    let resized = image::RgbImage::from_raw(extent.width, extent.height, picture.rgb().to_vec())
        .map(|full| image::imageops::resize(&full, small.width, small.height, image::imageops::FilterType::Triangle));
    resized.and_then(|resized| Picture::from_rgb(small, resized.into_raw()).ok()).unwrap_or_else(|| picture.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pictures_and_names_stand_on_the_page() {
        let red = Picture::from_fn(Extent::new(64, 48), |_, _| [200, 0, 0]);
        let cells = [Some((red.clone(), "0.31".to_owned())), None];
        let (columns, rows) = (names(&["5", "10"]), names(&["a fox & <b>"]));
        let page = Page { title: "Steps × Seed", columns: &columns, rows: &rows, cells: &cells };
        let places = page.places();
        let sheet = page.draw();
        assert_eq!(sheet.extent(), places.page);
        let at = |x: u32, y: u32| sheet.pixel(x, y).unwrap();
        assert_eq!(at(places.left + 32, places.top + 24 + (places.cell.height - 48) / 2), [200, 0, 0]);
        assert_eq!(
            at(places.left + places.cell.width + GAP + 32, places.top + 24),
            [236; 3],
            "the cell without a picture"
        );
        let dark = |x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
            y.flat_map(|y| x.clone().map(move |x| (x, y))).filter(|(x, y)| at(*x, *y)[1] < 150).count()
        };
        assert!(dark(0..places.left - GAP, places.top..places.page.height) > 20, "the row has a name");
        assert!(
            dark(places.left..places.page.width, places.title + GAP..places.top - GAP) > 10,
            "the columns have names"
        );
        assert!(dark(0..places.page.width, 0..places.title) > 20, "there is a title");
    }

    #[test]
    fn a_page_never_becomes_too_large() {
        let large = Picture::from_fn(Extent::new(2048, 1024), |_, _| [9, 9, 9]);
        let cells: Vec<_> = (0..64).map(|_| Some((large.clone(), String::new()))).collect();
        let columns = names(&["a"; 8]);
        let page = Page { title: "", columns: &columns, rows: &columns, cells: &cells };
        let places = page.places();
        assert!((places.page.area() as f64) < MOST_PIXELS * 1.2, "{}", places.page);
        assert_eq!(places.cell.width / places.cell.height, 2);
    }
}
