//! What the cells of a figure have left.

use std::path::PathBuf;

use crate::curves::{geometric, lines};
use crate::figure::UNREADABLE;
use crate::report::cells::{self, Cell, CellState};
use crate::report::lines::{Line, Stroke};
use crate::report::stats::WINDOW;
use crate::report::{Estimate, FinishedCell, Problem, ShownRollout, rollout};

use super::StoredCurve;

/// Everything the cells of a figure have left.
pub(crate) struct Found {
    pub(super) groups: Vec<Group>,
    /// Whole cells.
    pub(super) finished: Vec<FinishedCell>,
    /// Cells that cannot be used.
    pub(super) problems: Vec<Problem>,
}

/// The runs of a curve, seeds in order.
pub(super) struct Group {
    pub(super) key: String,
    pub(super) label: String,
    pub(super) task: String,
    pub(super) runs: Vec<Cell>,
}

/// What is shown of a run at each evaluation.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Minus the mean return.
    Cost,
    /// Epochs of PODS and BPTT, otherwise episodes.
    Episodes,
    /// Seconds of training.
    Seconds,
    /// Simulated roll-outs: those of policies, of line searches and of statistics.
    Rollouts,
    /// A column of `curve.csv`.
    Named(&'static str),
}

impl Found {
    pub(super) fn read(curves: &[StoredCurve]) -> Self {
        let mut found = Self { groups: Vec::new(), finished: Vec::new(), problems: Vec::new() };
        for StoredCurve { key, label, task, cells } in curves {
            let mut runs: Vec<Cell> = cells.iter().filter_map(|cell| found.load(cell)).collect();
            runs.sort_by_key(|run| run.seed);
            let [key, label, task] = [key, label, task].map(Clone::clone);
            found.groups.push(Group { key, label, task, runs });
        }
        found
    }

    fn load(&mut self, folder: &PathBuf) -> Option<Cell> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (kind, detail) = match cells::load(folder) {
            CellState::Complete(cell) => {
                let seconds = cell.timing.as_ref().and_then(|t| t.total_seconds.last().copied());
                let (seed, seconds) = (cell.seed, seconds.unwrap_or(f64::NAN));
                if self.finished.iter().all(|known| known.name != name) {
                    self.finished.push(FinishedCell { name, seed, seconds });
                }
                return Some(*cell);
            }
            CellState::Missing => ("missing", "not run yet".to_owned()),
            CellState::Failed(error) => ("failed", error),
            CellState::Corrupt(why) => {
                (UNREADABLE, format!("{why}; delete the folder to run the cell again"))
            }
        };
        self.problems.push(Problem { cell: name, kind: kind.to_owned(), detail });
        None
    }

    /// The runs of a curve on a task.
    pub(super) fn group(&self, task: &str, key: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.task == task && group.key == key)
    }
}

impl Group {
    /// Whether there are this many runs.
    pub(super) fn has(&self, n: usize) -> bool {
        self.runs.len() >= n
    }

    /// A number of each run at the end of training: the mean of its last evaluations.
    pub(super) fn ends(&self, column: Column) -> Vec<f64> {
        self.runs.iter().map(|run| end(&column.of(run))).collect()
    }

    /// Geometric mean over seeds of that number.
    pub(super) fn end(&self, column: Column) -> Estimate {
        geometric(&self.ends(column))
    }

    /// Seeds at each evaluation against the mean of another column.
    pub(super) fn points(&self, x: Column, y: Column) -> Vec<(f64, Vec<f64>)> {
        let columns: Vec<_> = self.runs.iter().map(|run| (x.of(run), y.of(run))).collect();
        let n = columns.iter().map(|(x, y)| x.len().min(y.len())).min().unwrap_or(0);
        let at = |i: usize| {
            let x = columns.iter().map(|(x, _)| x[i]).sum::<f64>() / columns.len() as f64;
            (x, columns.iter().map(|(_, y)| y[i]).collect())
        };
        (0..n).map(at).collect()
    }

    /// The curve with its band, without what comes before a tenth of a second.
    pub(super) fn lines(&self, x: Column, y: Column) -> [Line; 2] {
        let mut points = self.points(x, y);
        points.retain(|(at, _)| !matches!(x, Column::Seconds) || *at >= 0.1);
        lines(&self.label, Stroke::Plain, &points)
    }

    /// What `x` was for each run when its cost first fell to `level`; the end of the run, and true, for
    /// one that never got there.
    pub(super) fn reached(&self, level: f64, x: Column) -> Vec<(f64, bool)> {
        let first = |run: &Cell| {
            let x = x.of(run);
            match Column::Cost.of(run).iter().position(|cost| *cost <= level) {
                Some(i) => (x[i], false),
                None => (x.last().copied().unwrap_or(f64::NAN), true),
            }
        };
        self.runs.iter().map(first).collect()
    }

    /// The trajectory that the first run has left.
    pub(super) fn rollout(&self, what: &str) -> Option<ShownRollout> {
        let run = self.runs.first()?;
        let from = format!("{what}: {}, seed {}", self.label, run.seed);
        Some(ShownRollout { from, rollout: rollout::load(&run.folder.join("rollout.json")) })
    }
}

/// Mean of the last entries.
fn end(values: &[f64]) -> f64 {
    let last = &values[values.len().saturating_sub(WINDOW)..];
    last.iter().sum::<f64>() / last.len() as f64
}

impl Column {
    /// Its entries in a run.
    pub(super) fn of(self, run: &Cell) -> Vec<f64> {
        match self {
            Self::Cost => run.curve.returns.iter().map(|r| -r).collect(),
            Self::Episodes => run.curve.episodes.clone(),
            Self::Seconds => {
                let n = run.curve.returns.len();
                run.timing.as_ref().map_or(vec![f64::NAN; n], |t| t.train_seconds.clone())
            }
            Self::Rollouts => rollouts(run),
            Self::Named(name) => run.metrics.get(name).cloned().unwrap_or_default(),
        }
    }
}

/// Roll-outs of every kind so far. The metric is a mean over the epochs since the evaluation before.
fn rollouts(run: &Cell) -> Vec<f64> {
    let Some(others) = run.metrics.get("other_rollouts") else { return run.curve.episodes.clone() };
    let steps = setting(run, "task_settings.horizon");
    let mut before = 0.0;
    let mut sum = 0.0;
    let rows = others.iter().zip(&run.curve.episodes).zip(&run.curve.env_steps);
    rows.map(|((others, epochs), env_steps)| {
        sum += others * (epochs - before);
        before = *epochs;
        sum + env_steps / steps
    })
    .collect()
}

/// A number among the settings of a run.
fn setting(run: &Cell, key: &str) -> f64 {
    run.settings.get(key).and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
}
