//! Figures whose cells are runs of the common training loop: which cells a figure needs, and what they
//! have left.
//!
//! What a figure compares and how it is judged stands with its paper, [`crate::pods`], [`crate::svg`]
//! and [`crate::tracking`]; [`found`] reads the cells.

pub(crate) mod found;

use std::path::{Path, PathBuf};

use agents::TrainSettings;
use anyhow::Result;
use bench_tasks::{Preset, Variant};
use serde::{Deserialize, Serialize};

use self::found::Found;
use crate::cell::{self, CellConfig};
use crate::figure::{Size, UNREADABLE};
use crate::plan::Profile;
use crate::report::Sheet;
use crate::{pods, svg, tracking};

/// A figure of such runs.
pub(crate) type Figure = crate::figure::Figure<Curve, Found>;

/// Cells that differ in their seed alone.
pub(crate) struct Curve {
    /// What the figures call it.
    pub(crate) key: String,
    /// Name in legends.
    pub(crate) label: String,
    pub(crate) task: &'static str,
    pub(crate) cells: Vec<CellConfig>,
}

/// Cells that differ in their seed, on a task as released; `changes` are settings of the task.
pub(crate) fn curve(
    size: &Size,
    name: (&str, String),
    task: &'static str,
    method: (&str, &impl Serialize),
    train: &TrainSettings,
    changes: &[(&str, &str)],
) -> Result<Curve> {
    curve_at((Preset::Released, task), size, name, method, train, changes)
}

/// The same at any preset.
pub(crate) fn curve_at(
    (preset, task): (Preset, &'static str),
    size: &Size,
    (key, label): (&str, String),
    (method, settings): (&str, &impl Serialize),
    train: &TrainSettings,
    changes: &[(&str, &str)],
) -> Result<Curve> {
    let changes: Vec<_> =
        changes.iter().map(|(key, value)| (format!("task.{key}"), (*value).to_owned())).collect();
    let cells = (0..size.seeds).map(|seed| {
        let mut config = CellConfig::new(task, preset, Variant::Real, method, seed)?;
        config.override_all(&changes)?;
        config.method = agents::to_table(method, settings)?;
        config.train = agents::to_table("train", train)?;
        Ok(config)
    });
    let cells = cells.collect::<Result<_>>()?;
    Ok(Curve { key: key.to_owned(), label, task, cells })
}

/// All figures, paper by paper.
pub(crate) fn figures() -> impl Iterator<Item = &'static Figure> {
    pods::FIGURES.into_iter().chain(svg::FIGURES).chain(tracking::FIGURES)
}

/// Names that the command line understands.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    [pods::PAPER, svg::PAPER, tracking::PAPER].into_iter().chain(figures().map(|figure| figure.id))
}

/// A figure with its curves.
pub(crate) struct Planned {
    figure: &'static Figure,
    profile: Profile,
    curves: Vec<Curve>,
}

/// A planned figure as the report finds it again (part of `plan.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredFigure {
    id: String,
    profile: Profile,
    /// Settings that were changed, in words; legends do not say so.
    changes: String,
    curves: Vec<StoredCurve>,
}

/// One of its curves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredCurve {
    key: String,
    label: String,
    task: String,
    cells: Vec<PathBuf>,
}

/// The figures of these names (papers or figures; without any, those of the overview).
///
/// # Errors
/// Settings that a task refuses.
pub(crate) fn plan(names: &[String], size: &Size) -> Result<Vec<Planned>> {
    let wanted = |figure: &Figure| match names {
        [] => figure.overview,
        names => names.iter().any(|name| figure.matches(name)),
    };
    let plan = |figure: &'static Figure| {
        Ok(Planned { figure, profile: size.profile, curves: (figure.cells)(size)? })
    };
    figures().filter(|figure| wanted(figure)).map(plan).collect()
}

impl Planned {
    /// All cells.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &CellConfig> {
        self.curves.iter().flat_map(|curve| &curve.cells)
    }

    /// The same, to be changed.
    pub(crate) fn cells_mut(&mut self) -> impl Iterator<Item = &mut CellConfig> {
        self.curves.iter_mut().flat_map(|curve| &mut curve.cells)
    }

    /// Leaves out curves on other tasks; false if none is left.
    pub(crate) fn keep_tasks(&mut self, tasks: &[String]) -> bool {
        self.curves.retain(|curve| tasks.iter().any(|task| task == curve.task));
        !self.curves.is_empty()
    }

    /// What the report needs to find it again, with cells below `root`.
    ///
    /// # Errors
    /// As [`CellConfig::id`].
    pub(crate) fn stored(&self, root: &Path, changes: &str) -> Result<StoredFigure> {
        let stored = |curve: &Curve| {
            let cells = curve.cells.iter().map(|config| cell::folder(root, config));
            Ok(StoredCurve {
                key: curve.key.clone(),
                label: curve.label.clone(),
                task: curve.task.to_owned(),
                cells: cells.collect::<Result<_>>()?,
            })
        };
        let curves = self.curves.iter().map(stored).collect::<Result<_>>()?;
        let (id, changes) = (self.figure.id.to_owned(), changes.to_owned());
        Ok(StoredFigure { id, profile: self.profile, changes, curves })
    }
}

/// The figures as the report shows them, from the cells at hand.
pub(crate) fn sheets(stored: &[StoredFigure]) -> Vec<Sheet> {
    let known = stored.iter().filter_map(|stored| {
        figures().find(|figure| figure.id == stored.id).map(|figure| sheet(figure, stored))
    });
    known.collect()
}

fn sheet(figure: &Figure, stored: &StoredFigure) -> Sheet {
    let mut found = Found::read(&stored.curves);
    let n_cells = stored.curves.iter().map(|curve| curve.cells.len()).sum();
    let finished = std::mem::take(&mut found.finished);
    let problems = std::mem::take(&mut found.problems);
    let mut sheet = figure.sheet(stored.profile, &found, n_cells, finished, problems);
    sheet.note += &stored.changes;
    sheet
}

/// The cells of figures that are there and cannot be read, each with the reason and the remedy.
pub(crate) fn unreadable(stored: &[StoredFigure]) -> Vec<String> {
    let problems = stored.iter().flat_map(|figure| Found::read(&figure.curves).problems);
    let unreadable = problems.filter(|problem| problem.kind == UNREADABLE);
    let mut texts: Vec<_> =
        unreadable.map(|problem| format!("`{}`: {}", problem.cell, problem.detail)).collect();
    texts.sort();
    texts.dedup();
    texts
}
