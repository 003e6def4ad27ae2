//! Words on a page.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::Sheet;

/// Longer texts are cut.
const MOST_LINES: usize = 4;

/// Where the lines of a label are in line.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text in lines of at most `width` pixels.
pub(super) struct Label<'a> {
    pub(super) text: &'a str,
    pub(super) font: u32,
    pub(super) width: u32,
    pub(super) anchor: Anchor,
}

impl Label<'_> {
    /// Draws it into a place of its width and of `height`, in the middle from top to bottom.
    pub(super) fn draw(&self, sheet: &mut Sheet, [x0, y0]: [u32; 2], height: u32) {
        let lines = Self::lines(self.text, self.font, self.width);
        if lines.is_empty() || self.width == 0 || height == 0 {
            return;
        }
        let Some(pixmap) = self.render(&lines, height) else { return };
        for (i, pixel) in pixmap.pixels().iter().enumerate() {
            let (x, y) = (i as u32 % pixmap.width(), i as u32 / pixmap.width());
            let colour = pixel.demultiply();
            sheet.blend([x0 + x, y0 + y], [colour.red(), colour.green(), colour.blue()], colour.alpha());
        }
    }

    fn render(&self, lines: &[String], height: u32) -> Option<Pixmap> {
        let (fonts, family) = fonts();
        let (x, anchor) = match self.anchor {
            Anchor::Start => (0, "start"),
            Anchor::Middle => (self.width / 2, "middle"),
            Anchor::End => (self.width, "end"),
        };
        let step = self.font * 5 / 4;
        let first = (height as i64 - (lines.len() as u32 * step) as i64) / 2 + i64::from(self.font);
        let spans = lines.iter().enumerate().map(|(i, line)| {
            let y = first + i as i64 * i64::from(step);
            format!(r##"<text x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"##, escape(line))
        });
        let svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{height}" font-family="{}" font-size="{}" fill="#202329">{}</svg>"##,
            self.width,
            escape(family),
            self.font,
            spans.collect::<String>()
        );
        let options = Options { fontdb: fonts.clone(), ..Options::default() };
        let tree = Tree::from_str(&svg, &options).ok()?;
        let mut pixmap = Pixmap::new(self.width, height)?;
        resvg::render(&tree, Transform::identity(), &mut pixmap.as_mut());
        Some(pixmap)
    }

    /// `text` in lines that fit, by the usual width of its characters; what does not fit ends with an ellipsis.
    pub(super) fn lines(text: &str, font: u32, width: u32) -> Vec<String> {
        let room = f64::from(width) / f64::from(font.max(1));
        let mut lines: Vec<(String, f64)> = Vec::new();
        for word in text.split_whitespace() {
            let length = breadth(word);
            match lines.last_mut() {
                Some((line, used)) if *used + 0.3 + length <= room => {
                    line.push(' ');
                    line.push_str(word);
                    *used += 0.3 + length;
                }
                _ => lines.push((word.to_owned(), length)),
            }
        }
        let is_cut = lines.len() > MOST_LINES;
        lines.truncate(MOST_LINES);
        let last = lines.len().saturating_sub(1);
        let cut = lines.into_iter().enumerate().map(|(i, (line, used))| match used > room || (is_cut && i == last) {
            true => cut_to(&line, room),
            false => line,
        });
        cut.collect()
    }
}

fn cut_to(line: &str, room: f64) -> String {
    let mut used = 1.0;
    let kept: String = line
        .chars()
        .take_while(|c| {
            used += breadth_of(*c);
            used <= room
        })
        .collect();
    format!("{}…", kept.trim_end())
}

fn breadth(text: &str) -> f64 {
    text.chars().map(breadth_of).sum()
}

/// In units of the font's size. East Asian characters and emoji are square.
fn breadth_of(c: char) -> f64 {
    match c {
        '\u{2e80}'.. => 1.0,
        'm' | 'w' | 'M' | 'W' | '@' => 0.85,
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '\'' => 0.28,
        _ => 0.54,
    }
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '"' => safe.push_str("&quot;"),
            // Not allowed in XML at all.
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// The fonts, read once, and the name of the one that ships with the program.
fn fonts() -> &'static (Arc<fontdb::Database>, String) {
    static FONTS: OnceLock<(Arc<fontdb::Database>, String)> = OnceLock::new();
    FONTS.get_or_init(|| {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
        let family = fonts.faces().next().and_then(|face| face.families.first()).map(|(name, _)| name.clone());
        fonts.load_system_fonts();
        (Arc::new(fonts), family.unwrap_or_else(|| "sans-serif".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_and_cut() {
        assert_eq!(Label::lines("a red fox in snow", 10, 50), ["a red fox", "in snow"]);
        assert_eq!(Label::lines("", 10, 60), Vec::<String>::new());
        let long = Label::lines(&"word ".repeat(80), 10, 60);
        assert_eq!(long.len(), MOST_LINES);
        assert!(long.last().is_some_and(|last| last.ends_with('…')), "{long:?}");
        assert!(Label::lines("unbreakableunbreakable", 10, 60)[0].ends_with('…'));
    }

    #[test]
    fn texts_of_other_scripts_and_with_signs_of_xml_can_be_drawn() {
        for text in ["a < b & \"c\"", "\u{ac00}\u{b098}", "x\u{1}y"] {
            let lines = Label::lines(text, 16, 200);
            assert!(
                Label { text, font: 16, width: 200, anchor: Anchor::Middle }.render(&lines, 30).is_some(),
                "{text}"
            );
        }
    }
}
