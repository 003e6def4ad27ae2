//! The tour's report as one self-contained page.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::session::Failure;
use super::tour::Section;
use crate::analysis::zero_shot::softmax;
use crate::job::output::ZeroShotTable;
use crate::store::pictures;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #20232a; --faint: #626873; --back: #f7f8fa; --card: #fff; --line: #d8dbe1; }
@media (prefers-color-scheme: dark) { :root { --text: #e2e4e8; --faint: #9a9fa8; --back: #18191c; --card: #1f2125; --line: #32353b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0 auto; max-width: 60rem; padding: 2rem 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 0; } p { color: var(--faint); margin: .25rem 0 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem; margin-top: 1rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; } img { width: 12rem; height: 12rem; border-radius: 6px; object-fit: contain; }
figcaption { color: var(--faint); font-size: .85rem; } .table { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .25rem .5rem; text-align: right; } th:first-child, td:first-child { text-align: left; white-space: nowrap; }
";

/// The page.
pub(super) fn html(sections: &[Section], table: &ZeroShotTable) -> Result<String, Failure> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Maquette tour</title>\n<style>{STYLE}</style>\n<h1>Maquette tour</h1>\n\
         <p>Everything here was made on this machine by the models that ship inside the program.</p>\n"
    );
    for section in sections {
        let _ = write!(
            page,
            "<section>\n<h2>{}</h2>\n<p>{}</p>\n<div class=\"row\">\n",
            section.title,
            escape(&section.text)
        );
        for (_, caption, picture) in &section.pictures {
            let png = pictures::to_png(picture, None).map_err(Failure::Failed)?;
            let caption = escape(caption);
            let _ = writeln!(
                page,
                "<figure><img alt=\"{caption}\" src=\"data:image/png;base64,{}\"><figcaption>{caption}</figcaption></figure>",
                STANDARD.encode(png)
            );
        }
        page.push_str("</div>\n");
        if section.title == "Zero-shot" {
            page.push_str(&heat_table(table));
        }
        page.push_str("</section>\n");
    }
    Ok(page)
}

fn heat_table(table: &ZeroShotTable) -> String {
    let Some(image) = table.images.first() else { return String::new() };
    let mut out = "<div class=\"table\"><table>\n<tr><th></th>".to_owned();
    for class in &table.classes {
        let _ = write!(out, "<th>{}</th>", escape(class));
    }
    let mut row = |name: &str, shares: &[f32]| {
        let _ = write!(out, "</tr>\n<tr><td>{}</td>", escape(name));
        for share in shares {
            let _ = write!(
                out,
                "<td style=\"background: rgb(74 122 232 / {:.2})\">{:.0}</td>",
                share.sqrt(),
                share * 100.0
            );
        }
    };
    row("all templates", &image.probabilities);
    for (template, logits) in table.templates.iter().zip(&image.by_template) {
        row(template, &softmax(logits));
    }
    out.push_str("</tr>\n</table></div>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
