//! Laying out a long text that is being typed: only the rows that a key changes are laid out anew, and colours are put on rows
//! that are laid out already. egui lays out whole paragraphs, which takes 20 ms for a prompt of two thousand tokens.
//!
//! Rows break where egui breaks them, but for a word that fits by less than a pixel: a piece of the paragraph is given to it, and its
//! last row, which may go on, is dropped.
//! A row depends on the text from its own start to the end of the first word of the next one, so after a change rows are laid
//! out from the one before the changed one until one starts where an old one did.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use egui::emath::GuiRounding as _;
use egui::epaint::text::{PlacedRow, Row};
use egui::text::{CharIndex, LayoutJob};
use egui::{Color32, FontId, Galley, Rect, Ui, pos2, vec2};

/// Rows that are given to egui at once, about: the last one is dropped.
const PIECE: usize = 3;
/// Bytes of a row as long as none is known.
const ROW: usize = 100;

/// What a layout depends on besides the text.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    width: f32,
    font: FontId,
    line_height: f32,
    pixels_per_point: f32,
}

/// A row of the text.
#[derive(Clone)]
struct Line {
    /// Of the text, the line end included.
    bytes: usize,
    row: Arc<Row>,
    ends_with_newline: bool,
    /// The row with colours, and what they were.
    coloured: Option<(u64, Arc<Row>)>,
}

/// The rows of a text and what they were made from.
#[derive(Default)]
pub(super) struct TextLayout {
    text: String,
    setting: Option<Setting>,
    /// Laid out in every frame: it is another one when egui has thrown its glyphs away, and ours with them.
    canary: Option<Arc<Galley>>,
    lines: Vec<Line>,
    /// Where each line starts, in bytes.
    starts: Vec<usize>,
    galley: Option<(u64, Arc<Galley>)>,
}

/// A colour from a byte on.
pub(super) type Colours<'a> = &'a [(usize, Color32)];

impl TextLayout {
    /// Lays out `text` at `width` and colours it; `colours` is sorted and begins at 0.
    pub(super) fn lay_out(&mut self, ui: &Ui, text: &str, width: f32, colours: Colours<'_>) -> Arc<Galley> {
        let font = egui::TextStyle::Body.resolve(ui.style());
        let line_height = ui.fonts_mut(|fonts| fonts.row_height(&font)) + ui.spacing().extra_text_line_spacing;
        let setting = Setting { width, font, line_height, pixels_per_point: ui.pixels_per_point() };
        let canary =
            ui.fonts_mut(|fonts| fonts.layout_no_wrap("m".to_owned(), setting.font.clone(), Color32::PLACEHOLDER));
        let is_same = self.setting.as_ref() == Some(&setting)
            && self.canary.as_ref().is_some_and(|known| Arc::ptr_eq(known, &canary));
        if !is_same {
            *self = Self { setting: Some(setting.clone()), canary: Some(canary.clone()), ..Self::default() };
        }
        if self.text != text || self.lines.is_empty() {
            self.update(ui, text, &setting);
            self.galley = None;
        }
        let mut hasher = DefaultHasher::new();
        for (from, colour) in colours {
            (from, colour.to_array()).hash(&mut hasher);
        }
        let colouring = hasher.finish();
        match &self.galley {
            Some((known, galley)) if *known == colouring => galley.clone(),
            _ => {
                let galley = Arc::new(self.assemble(&setting, &canary, colours));
                self.galley = Some((colouring, galley.clone()));
                galley
            }
        }
    }

    /// The places of a range of bytes, row by row, from the top left of the text; rows outside of `rows` are left out.
    pub(super) fn places(&self, range: Range<usize>, galley: &Galley, rows: Range<f32>) -> Vec<Rect> {
        let first = self.starts.partition_point(|start| *start <= range.start).saturating_sub(1);
        let mut found = Vec::new();
        let lines = self.lines.iter().zip(&self.starts).zip(&galley.rows).skip(first);
        for ((line, start), placed) in lines.take_while(|((_, start), _)| **start < range.end.max(range.start + 1)) {
            if placed.max_y() < rows.start || placed.min_y() > rows.end {
                continue;
            }
            let text = self.text.get(*start..start + line.bytes).unwrap_or_default();
            let column = |byte: usize| {
                let inside = byte.saturating_sub(*start).min(text.len());
                CharIndex(text.get(..inside).unwrap_or_default().chars().count())
            };
            let (left, right) = (placed.row.x_offset(column(range.start)), placed.row.x_offset(column(range.end)));
            found.push(Rect::from_min_max(
                placed.pos + vec2(left, 0.0),
                pos2(placed.pos.x + right, placed.pos.y + placed.row.size.y),
            ));
        }
        found
    }

    fn update(&mut self, ui: &Ui, text: &str, setting: &Setting) {
        let old = std::mem::take(&mut self.text);
        let (prefix, suffix) = common(&old, text);
        let changed = self.starts.partition_point(|start| *start <= prefix).saturating_sub(1);
        let mut kept = changed;
        // What a row holds may have been too long for the row before it.
        if kept > 0 && !self.lines.get(kept - 1).is_some_and(|line| line.ends_with_newline) {
            kept -= 1;
        }
        let mut at = self.starts.get(kept).copied().unwrap_or(0);
        let mut lines: Vec<Line> = self.lines.get(..kept).unwrap_or_default().to_vec();
        // An old row that starts here and has nothing but old text from here on.
        let old_line_at = |at: usize| {
            let place =
                (at + old.len()).checked_sub(text.len()).filter(|_| at + suffix >= text.len() && at < text.len())?;
            self.starts.binary_search(&place).ok()
        };
        loop {
            if at > 0
                && let Some(index) = old_line_at(at)
            {
                lines.extend(self.lines.get(index..).unwrap_or_default().iter().cloned());
                break;
            }
            if at >= text.len() {
                if lines.last().is_none_or(|line| line.ends_with_newline) {
                    lines.extend(rows(ui, "", setting).into_iter().map(|row| Line::new(0, row, false)));
                }
                break;
            }
            // Long for a new text, short for a key in a known one.
            let known = lines.last().map(|line| line.bytes).filter(|bytes| *bytes > 8 && !old.is_empty());
            let length = known.map_or(4 * PIECE * ROW, |bytes| (PIECE * bytes).max(ROW));
            for line in piece(ui, text, at, length, setting) {
                at += line.bytes;
                lines.push(line);
                if old_line_at(at).is_some() {
                    break;
                }
            }
        }
        self.starts = lines
            .iter()
            .scan(0, |start, line| {
                let here = *start;
                *start += line.bytes;
                Some(here)
            })
            .collect();
        self.lines = lines;
        text.clone_into(&mut self.text);
    }

    fn assemble(&mut self, setting: &Setting, any: &Arc<Galley>, colours: Colours<'_>) -> Galley {
        let mut job = LayoutJob::simple(self.text.clone(), setting.font.clone(), Color32::PLACEHOLDER, setting.width);
        job.keep_trailing_whitespace = true;
        let mut galley = Galley::concat(Arc::new(job), std::slice::from_ref(any), setting.pixels_per_point);
        galley.rows.clear();
        (galley.num_vertices, galley.num_indices) = (0, 0);
        (galley.rect, galley.mesh_bounds) = (Rect::ZERO, Rect::NOTHING);
        let mut y = 0.0;
        for (line, start) in self.lines.iter_mut().zip(&self.starts) {
            let text = self.text.get(*start..start + line.bytes).unwrap_or_default();
            let row = line.with_colours(text, *start, colours);
            let pos = pos2(0.0, y).round_to_pixels(setting.pixels_per_point);
            y += row.size.y;
            galley.mesh_bounds |= row.visuals.mesh_bounds.translate(pos.to_vec2());
            galley.rect |= Rect::from_min_size(pos, row.size);
            galley.num_vertices += row.visuals.mesh.vertices.len();
            galley.num_indices += row.visuals.mesh.indices.len();
            galley.rows.push(PlacedRow { pos, row, ends_with_newline: line.ends_with_newline });
        }
        galley.rect.max.x = galley.rect.max.x.min(setting.width);
        galley.rect = galley.rect.round_ui();
        galley
    }
}

impl Line {
    fn new(bytes: usize, row: Arc<Row>, ends_with_newline: bool) -> Self {
        Self { bytes, row, ends_with_newline, coloured: None }
    }

    /// The row with `colours` on it; `text` is the line's own, which starts at byte `start` of the whole.
    fn with_colours(&mut self, text: &str, start: usize, colours: Colours<'_>) -> Arc<Row> {
        let first = colours.partition_point(|(from, _)| *from <= start).saturating_sub(1);
        let own: Vec<(usize, Color32)> = colours
            .get(first..)
            .unwrap_or_default()
            .iter()
            .take_while(|(from, _)| *from < start + self.bytes)
            .map(|(from, colour)| (from.saturating_sub(start), *colour))
            .collect();
        let mut hasher = DefaultHasher::new();
        for (from, colour) in &own {
            (from, colour.to_array()).hash(&mut hasher);
        }
        let key = hasher.finish();
        if let Some((known, row)) = &self.coloured
            && *known == key
        {
            return row.clone();
        }
        let mut row = Row::clone(&self.row);
        paint(&mut row, text, &own);
        let row = Arc::new(row);
        self.coloured = Some((key, row.clone()));
        row
    }
}

/// Puts colours on the glyphs of a row; those that have colours of their own keep them.
fn paint(row: &mut Row, text: &str, colours: &[(usize, Color32)]) {
    let last = row.visuals.glyph_vertex_range.end;
    let mut colours = colours.iter().peekable();
    let mut colour = None;
    for ((byte, _), index) in text.char_indices().zip(0..row.glyphs.len()) {
        while let Some((_, next)) = colours.next_if(|(from, _)| *from <= byte) {
            colour = Some(*next);
        }
        let Some(glyph) = row.glyphs.get(index).filter(|glyph| !glyph.is_color) else { continue };
        let end = row.glyphs.get(index + 1).map_or(last, |next| next.first_vertex as usize);
        let vertices = row.visuals.mesh.vertices.get_mut(glyph.first_vertex as usize..end).unwrap_or_default();
        if let Some(colour) = colour {
            vertices.iter_mut().for_each(|vertex| vertex.color = colour);
        }
    }
}

/// The lines of the text from byte `at`, where a row starts, as far as a piece of `length` bytes reaches; at least one.
fn piece(ui: &Ui, text: &str, at: usize, length: usize, setting: &Setting) -> Vec<Line> {
    let rest = text.get(at..).unwrap_or_default();
    let paragraph = rest.find('\n').unwrap_or(rest.len());
    let mut length = length;
    loop {
        let mut end = length.min(paragraph);
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let mut rows = rows(ui, rest.get(..end).unwrap_or_default(), setting);
        let is_whole = end == paragraph;
        if !is_whole {
            // It may go on.
            rows.pop();
        }
        if rows.is_empty() {
            length *= 2;
            continue;
        }
        let mut chars = rest.chars();
        let count = rows.len();
        let line = |(index, row): (usize, Arc<Row>)| {
            let bytes = chars.by_ref().take(row.glyphs.len()).map(char::len_utf8).sum::<usize>();
            let is_end = is_whole && index + 1 == count && paragraph < rest.len();
            Line::new(bytes + usize::from(is_end), row, is_end)
        };
        return rows.into_iter().enumerate().map(line).collect();
    }
}

/// What egui makes of a piece of one paragraph.
fn rows(ui: &Ui, text: &str, setting: &Setting) -> Vec<Arc<Row>> {
    let mut job = LayoutJob::simple(text.to_owned(), setting.font.clone(), Color32::PLACEHOLDER, setting.width);
    job.keep_trailing_whitespace = true;
    for section in &mut job.sections {
        section.format.line_height = Some(setting.line_height);
    }
    let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
    galley.rows.iter().map(|placed| placed.row.clone()).collect()
}

/// How many bytes at the start and at the end of two texts are the same; the two do not overlap, and end at whole characters.
pub(super) fn common(old: &str, new: &str) -> (usize, usize) {
    let same = |(a, b): &(u8, u8)| a == b;
    let mut prefix = old.bytes().zip(new.bytes()).take_while(same).count();
    while !old.is_char_boundary(prefix) || !new.is_char_boundary(prefix) {
        prefix -= 1;
    }
    let most = old.len().min(new.len()) - prefix;
    let mut suffix = old.bytes().rev().zip(new.bytes().rev()).take(most).take_while(same).count();
    while !old.is_char_boundary(old.len() - suffix) || !new.is_char_boundary(new.len() - suffix) {
        suffix -= 1;
    }
    (prefix, suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rows say, one a line.
    fn shown(galley: &Galley) -> Vec<String> {
        galley
            .rows
            .iter()
            .map(|row| format!("{}{}", row.row.text(), if row.ends_with_newline { "¶" } else { "" }))
            .collect()
    }

    /// What egui itself makes of a text.
    fn wanted(ui: &Ui, text: &str, width: f32) -> Arc<Galley> {
        let font = egui::TextStyle::Body.resolve(ui.style());
        let mut job = LayoutJob::simple(text.to_owned(), font.clone(), Color32::PLACEHOLDER, width);
        job.keep_trailing_whitespace = true;
        let line_height = ui.fonts_mut(|fonts| fonts.row_height(&font)) + ui.spacing().extra_text_line_spacing;
        for section in &mut job.sections {
            section.format.line_height = Some(line_height);
        }
        ui.fonts_mut(|fonts| fonts.layout_job(job))
    }

    fn with_ui(check: impl Fn(&Ui)) {
        let mut harness = egui_kittest::Harness::builder().allow_missing_glyphs().build_ui(|ui| check(ui));
        harness.run_steps(1);
    }

    #[test]
    fn rows_hold_the_text_and_fit_however_it_came_about() {
        let words = "an old lighthouse (at sea:1.2), über alles __colour__ paper, ".repeat(60);
        with_ui(|ui| {
            for width in [90.0, 260.0, 700.0] {
                let mut layout = TextLayout::default();
                let mut text = words.clone();
                // Deterministic edits all over the text.
                for step in 0..80_usize {
                    let mut at = (step * 7919) % (text.len() + 1);
                    while !text.is_char_boundary(at) {
                        at -= 1;
                    }
                    match step % 4 {
                        0 => text.insert(at, 'x'),
                        1 => text.insert_str(at, " wonderful"),
                        2 => text.insert(at, '\n'),
                        _ => {
                            let end = text.len().min(at + 30);
                            let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(at);
                            text.replace_range(at..end, "");
                        }
                    }
                    let found = layout.lay_out(ui, &text, width, &[(0, Color32::RED)]);
                    let wanted = wanted(ui, &text, width);
                    // Where a piece begins, places are rounded to whole pixels anew, so a word that only just fits may not.
                    let together = shown(&found).concat().replace('¶', "\n");
                    assert_eq!(together, text, "step {step} at width {width}");
                    assert!(
                        found.rows.iter().all(|row| row.row.text().trim_end().is_empty() || row.size.x < width + 8.0)
                    );
                    let (rows, wanted) = (found.rows.len(), wanted.rows.len());
                    assert!(
                        rows.abs_diff(wanted) <= 1 + wanted / 30,
                        "step {step} at width {width}: {rows}, not {wanted}"
                    );
                }
            }
            for text in ["", "\n", "a", "a\n", "\n\na", "averyverylongwordwithoutanyspace".repeat(2).as_str()] {
                let found = TextLayout::default().lay_out(ui, text, 120.0, &[(0, Color32::RED)]);
                assert_eq!(shown(&found), shown(&wanted(ui, text, 120.0)), "{text:?}");
            }
        });
    }

    #[test]
    fn places_are_those_of_the_characters() {
        with_ui(|ui| {
            let mut layout = TextLayout::default();
            let text = "über alles\nzwei";
            let galley = layout.lay_out(ui, text, 500.0, &[(0, Color32::RED)]);
            let everywhere = f32::NEG_INFINITY..f32::INFINITY;
            let second = layout.places(12..16, &galley, everywhere.clone());
            let first = layout.places(0..5, &galley, everywhere.clone());
            assert_eq!((first.len(), second.len(), layout.places(3..14, &galley, everywhere).len()), (1, 1, 2));
            assert_eq!(second[0].left(), 0.0);
            assert_eq!(first[0].right(), galley.pos_from_cursor(egui::text::CCursor::new(4)).left());
        });
    }

    #[test]
    fn only_what_changed_gets_another_colour() {
        with_ui(|ui| {
            let mut layout = TextLayout::default();
            let text = "one two\nthree";
            let before = layout.lay_out(ui, text, 500.0, &[(0, Color32::RED)]);
            let after = layout.lay_out(ui, text, 500.0, &[(0, Color32::RED), (8, Color32::BLUE)]);
            assert!(Arc::ptr_eq(&before.rows[0].row, &after.rows[0].row));
            let colours: Vec<Color32> =
                after.rows[1].row.visuals.mesh.vertices.iter().map(|vertex| vertex.color).collect();
            assert!(!colours.is_empty() && colours.iter().all(|colour| *colour == Color32::BLUE));
        });
    }

    #[test]
    fn common_ends_do_not_overlap() {
        assert_eq!(common("aaa", "aa"), (2, 0));
        assert_eq!(common("abc", "axc"), (1, 1));
        assert_eq!(common("é", "è"), (0, 0));
        assert_eq!(common("", "a"), (0, 0));
    }
}
