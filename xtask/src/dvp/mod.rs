//! The experiments of DVP (Parag et al., ICRA 2022): values learned from trajectory optimisation.
//!
//! A [`Figure`] is a set of [`Cell`]s and what is made of their results: pictures, tables and a
//! verdict by a written rule. Cells lie in one store, `dvp` in the output folder, and are found
//! again by later runs and by other figures. [`loops`] has the runs of the loop, [`fits`] single
//! regressions, [`control`] what learned values are used for, [`truth`] the long horizons they are
//! measured against, [`ppo_critic`] all of this for the discounted problem that PPO learns too;
//! `fig1` to `fig8`, `samples` and `closed_loop` plan the cells of a figure and judge them.

mod cell;
mod closed_loop;
mod control;
mod fig1;
mod fig2;
mod fig3;
mod fig4;
mod fig5;
mod fig6;
mod fig7;
mod fig8;
mod fits;
mod found;
mod loops;
mod ppo_critic;
mod run;
mod samples;
mod settings;
mod system;
mod truth;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use self::cell::Cell;
use self::found::Found;
pub(crate) use self::run::run_missing;
pub(crate) use self::system::System;
use crate::figure::{Findings, MIN_SEEDS, Size, UNREADABLE};
use crate::plan::Profile;
use crate::report::Sheet;

/// Name of the paper on the command line.
const PAPER: &str = "dvp";
/// Folder of the cells below the output folder.
const STORE: &str = "dvp";

/// A figure of the paper, or one that it argues for.
pub(crate) type Figure = crate::figure::Figure<Cell, Found>;

const FIGURES: [&Figure; 10] = [
    &fig1::FIGURE,
    &fig2::FIGURE,
    &fig3::FIGURE,
    &fig4::FIGURE,
    &fig5::FIGURE,
    &fig6::FIGURE,
    &fig7::FIGURE,
    &fig8::FIGURE,
    &samples::FIGURE,
    &closed_loop::FIGURE,
];

/// All figures.
pub(crate) fn figures() -> impl Iterator<Item = &'static Figure> {
    FIGURES.into_iter()
}

/// Names that the command line understands.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(PAPER).chain(figures().map(|figure| figure.id))
}

/// A figure with its cells.
pub(crate) struct Planned {
    figure: &'static Figure,
    size: Size,
    /// The cells, ground truth included.
    pub(crate) cells: Vec<Cell>,
}

/// A planned figure as the report finds it again (part of `plan.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredFigure {
    id: String,
    profile: Profile,
    cells: Vec<PathBuf>,
}

/// The figures of these names (papers or figures; without any, those of the overview) with every
/// cell that they need.
///
/// # Errors
/// Settings that a task refuses.
pub(crate) fn plan(names: &[String], size: &Size) -> Result<Vec<Planned>> {
    let wanted = |figure: &Figure| match names {
        [] => figure.overview,
        names => names.iter().any(|name| figure.matches(name)),
    };
    figures().filter(|figure| wanted(figure)).map(|figure| Planned::new(figure, size)).collect()
}

impl Planned {
    fn new(figure: &'static Figure, size: &Size) -> Result<Self> {
        let mut cells: Vec<Cell> = Vec::new();
        for cell in (figure.cells)(size)? {
            for cell in cell.needs().into_iter().chain([cell]) {
                if !cells.contains(&cell) {
                    cells.push(cell);
                }
            }
        }
        Ok(Self { figure, size: *size, cells })
    }

    /// All steps of its cells.
    pub(crate) fn steps(&self) -> u64 {
        self.cells.iter().map(Cell::steps).sum()
    }

    /// What the report needs to find it again, with cells in the store below `out`.
    ///
    /// # Errors
    /// As [`Cell::id`].
    pub(crate) fn stored(&self, out: &Path) -> Result<StoredFigure> {
        let root = out.join(STORE);
        let cells = self.cells.iter().map(|cell| cell.folder(&root));
        let cells = cells.collect::<Result<_>>()?;
        Ok(StoredFigure { id: self.figure.id.to_owned(), profile: self.size.profile, cells })
    }
}

/// The figures as the report shows them, from what is in the store.
pub(crate) fn sheets(stored: &[StoredFigure]) -> Vec<Sheet> {
    let known = stored.iter().filter_map(|stored| {
        figures().find(|figure| figure.id == stored.id).map(|figure| sheet(figure, stored))
    });
    known.collect()
}

/// The cells of figures that are there and cannot be read, each with the reason and the remedy.
pub(crate) fn unreadable(stored: &[StoredFigure]) -> Vec<String> {
    let folders: BTreeSet<&PathBuf> = stored.iter().flat_map(|figure| &figure.cells).collect();
    let folders: Vec<PathBuf> = folders.into_iter().cloned().collect();
    let problems = Found::read(&folders).problems.into_iter();
    let unreadable = problems.filter(|problem| problem.kind == UNREADABLE);
    unreadable.map(|problem| format!("`{}`: {}", problem.cell, problem.detail)).collect()
}

fn sheet(figure: &Figure, stored: &StoredFigure) -> Sheet {
    let mut found = Found::read(&stored.cells);
    let finished = std::mem::take(&mut found.finished);
    let problems = std::mem::take(&mut found.problems);
    figure.sheet(stored.profile, &found, stored.cells.len(), finished, problems)
}
