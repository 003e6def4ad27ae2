//! Grids: a request and up to three axes become cells, each a request of its own. Pure: nothing is sent or stored from here.

mod axis;
mod change;
mod cost;
mod kind;
pub mod scoring;
pub mod words;

pub use axis::{Axis, AxisValue, Sources};
pub use cost::cost;
pub use kind::AxisKind;

use crate::job::spec::GenerateSpec;
use crate::prompt::expand::wildcards::Wildcards;
use crate::prompt::reading::draw;
use crate::prompt::values::ValueError;
use crate::store::runs::{AxisLabels, NewRun, RunCell, RunKind};

/// More pictures than this are a slip.
pub const MOST_CELLS: usize = 5000;

/// An axis as it is typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AxisText {
    /// What differs along it.
    pub kind: AxisKind,
    /// Its values.
    pub text: String,
}

impl std::str::FromStr for AxisText {
    type Err = ValueError;

    /// Reads `Steps: 5, 10`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((name, values)) = text.split_once(':') else {
            return Err(ValueError(format!(
                "\"{text}\" is no axis; write its name, a colon and its values: \"Steps: 5, 10\""
            )));
        };
        Ok(Self { kind: name.parse()?, text: values.trim().to_owned() })
    }
}

/// Axes and cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// One to three.
    pub axes: Vec<Axis>,
    /// The rows of the first page first.
    pub cells: Vec<RunCell>,
}

impl Grid {
    /// All combinations of the axes' values, applied to `base`. What is to be drawn in a cell's prompts is drawn by the seed of
    /// its picture, as for a single one.
    ///
    /// # Errors
    /// If two axes change the same thing, an axis has no value, or there are more than [`MOST_CELLS`].
    pub fn new(base: &GenerateSpec, axes: Vec<Axis>, wildcards: &Wildcards) -> Result<Self, ValueError> {
        check(&axes)?;
        let lengths: Vec<usize> = (0..3).map(|i| axes.get(i).map_or(1, |axis| axis.values.len())).collect();
        let mut order: Vec<usize> = (0..axes.len()).collect();
        // What makes a prompt comes before what changes a part of it.
        order.sort_by_key(|i| axes[*i].kind.rank());
        let mut cells = Vec::new();
        for z in 0..lengths[2] {
            for y in 0..lengths[1] {
                for x in 0..lengths[0] {
                    let at = [x, y, z];
                    let mut spec = GenerateSpec { count: 1, ..base.clone() };
                    for i in &order {
                        axes[*i].values[at[*i]].apply(&mut spec);
                    }
                    for text in [&mut spec.prompt, &mut spec.negative] {
                        *text = draw(text, spec.sampling.seed, wildcards);
                    }
                    cells.push(RunCell { at, job: spec.hash(), cost: cost(&spec), spec });
                }
            }
        }
        Ok(Self { axes, cells })
    }

    /// Reads the axes and makes the grid.
    ///
    /// # Errors
    /// As [`Grid::new`] and [`Axis::read`]; the message names the axis.
    pub fn read(base: &GenerateSpec, axes: &[AxisText], sources: &Sources<'_>) -> Result<Self, ValueError> {
        let read = axes.iter().map(|axis| {
            Axis::read(axis, base, sources).map_err(|error| ValueError(format!("{}: {error}", axis.kind.name())))
        });
        Self::new(base, read.collect::<Result<_, _>>()?, sources.wildcards)
    }

    /// Changes the request of each cell.
    ///
    /// # Errors
    /// The first that `change` gives.
    pub fn change<E>(&mut self, mut change: impl FnMut(&mut GenerateSpec) -> Result<(), E>) -> Result<(), E> {
        for cell in &mut self.cells {
            change(&mut cell.spec)?;
            cell.job = cell.spec.hash();
        }
        Ok(())
    }

    /// What is written down of it.
    pub fn into_run(self, kind: RunKind, title: String, score_text: Option<String>) -> NewRun {
        let axes = self.axes.into_iter().map(|axis| AxisLabels {
            name: axis.kind.name().to_owned(),
            values: axis.values.into_iter().map(|value| value.label).collect(),
        });
        NewRun { kind, title, axes: axes.collect(), score_text, cells: self.cells }
    }

    /// What it is called where nobody gave it a name.
    pub fn title(&self, prompt: &str) -> String {
        let names: Vec<&str> = self.axes.iter().map(|axis| axis.kind.name()).collect();
        let words: String = prompt.split_whitespace().take(6).collect::<Vec<_>>().join(" ");
        format!("{}: {}", names.join(" × "), words.trim_end_matches([',', '.']))
    }
}

fn check(axes: &[Axis]) -> Result<(), ValueError> {
    if axes.is_empty() {
        return Err(ValueError("a grid needs at least one axis".to_owned()));
    }
    for (i, axis) in axes.iter().enumerate() {
        let name = axis.kind.name();
        if axis.values.is_empty() {
            return Err(ValueError(format!("{name}: type at least one value: {}", axis.kind.hint())));
        }
        let again = axes.iter().take(i).any(|earlier| earlier.kind.excludes(axis.kind));
        if again {
            return Err(ValueError(format!("{name}: another axis decides this already; choose one of the two")));
        }
    }
    let count = axes.iter().fold(1usize, |count, axis| count.saturating_mul(axis.values.len()));
    if count > MOST_CELLS {
        return Err(ValueError(format!("{count} pictures are too many for one grid; at most {MOST_CELLS} are made")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
