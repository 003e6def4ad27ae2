//! Writing a grid to files.

use std::path::{Path, PathBuf};

use super::{CellFacts, Page, csv};
use crate::base::pixels::Picture;
use crate::store::runs::NewRun;
use crate::store::{atomic, pictures};

/// Writes a page for each value of the third axis to `path` (with several, NAME-z1.png, NAME-z2.png … beside it) and the table of numbers
/// beside it as CSV. `made` and `facts` are in the order of the cells. Gives what was written, the table last.
///
/// # Errors
/// If a file cannot be written, with its path.
pub fn write(run: &NewRun, made: &[Option<Picture>], facts: &[CellFacts], path: &Path) -> Result<Vec<PathBuf>, String> {
    let labels = |axis: usize| run.axes.get(axis).map_or_else(|| vec![String::new()], |axis| axis.values.clone());
    let (columns, rows, pages) = (labels(0), labels(1), labels(2));
    let size = columns.len() * rows.len();
    let mut written = Vec::new();
    for (z, name) in pages.iter().enumerate() {
        let cell = |i: usize| {
            let score = facts.get(i)?.score.map_or_else(String::new, |score| format!("{score:.3}"));
            Some((made.get(i)?.clone()?, score))
        };
        let cells: Vec<Option<(Picture, String)>> = (z * size..(z + 1) * size).map(cell).collect();
        let title = if pages.len() > 1 { format!("{}   {name}", run.title) } else { run.title.clone() };
        let picture = Page { title: &title, columns: &columns, rows: &rows, cells: &cells }.draw();
        let path = match pages.len() {
            1 => path.to_owned(),
            _ => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                path.with_file_name(format!("{stem}-z{}.png", z + 1))
            }
        };
        pictures::write_png(&path, &picture, None).map_err(|error| error.to_string())?;
        written.push(path);
    }
    let path = path.with_extension("csv");
    atomic::write(&path, &csv(run, facts)?)
        .map_err(|error| format!("cannot write this file ({error}): {}", path.display()))?;
    written.push(path);
    Ok(written)
}
