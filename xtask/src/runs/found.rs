//! What the cells of a figure have left.

use std::path::Path;

use anyhow::Result;

use crate::cell::CellConfig;
use crate::curves::{geometric, geometric_mean, interquartile, lines, lines_of};
use crate::figure::UNREADABLE;
use crate::report::cells::{self, Cell, CellState};
use crate::report::lines::{Line, Stroke};
use crate::report::stats::{Reach, final_return, first_reach, mean};
use crate::report::{Estimate, FinishedCell, Problem, ShownRollout, rollout};

use super::StoredCurve;

/// Everything the cells of a figure have left.
pub(crate) struct Found {
    pub(crate) groups: Vec<Group>,
    /// Whole cells.
    pub(crate) finished: Vec<FinishedCell>,
    /// Cells that cannot be used.
    pub(crate) problems: Vec<Problem>,
}

/// The runs of a curve, seeds in order.
pub(crate) struct Group {
    pub(crate) key: String,
    pub(crate) label: String,
    pub(crate) task: String,
    pub(crate) runs: Vec<Cell>,
}

/// What is shown of a run at each evaluation.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// The mean return.
    Return,
    /// Steps of the plant.
    EnvSteps,
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
    pub(crate) fn read(curves: &[StoredCurve]) -> Self {
        let mut found = Self { groups: Vec::new(), finished: Vec::new(), problems: Vec::new() };
        for StoredCurve { key, label, task, cells } in curves {
            let mut runs: Vec<Cell> = cells.iter().filter_map(|cell| found.load(cell)).collect();
            runs.sort_by_key(|run| run.seed);
            let [key, label, task] = [key, label, task].map(Clone::clone);
            found.groups.push(Group { key, label, task, runs });
        }
        found
    }

    fn load(&mut self, folder: &Path) -> Option<Cell> {
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
    pub(crate) fn group(&self, task: &str, key: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.task == task && group.key == key)
    }
}

impl Group {
    /// Whether there are this many runs.
    pub(crate) fn has(&self, n: usize) -> bool {
        self.runs.len() >= n
    }

    /// A number of each run at the end of training: the mean of its last evaluations.
    pub(crate) fn ends(&self, column: Column) -> Vec<f64> {
        let end = |run: &Cell| final_return(&column.of(run)).unwrap_or(f64::NAN);
        self.runs.iter().map(end).collect()
    }

    /// Geometric mean over seeds of that number.
    pub(crate) fn end(&self, column: Column) -> Estimate {
        geometric(&self.ends(column))
    }

    /// Seeds at each evaluation against the mean of another column.
    pub(crate) fn points(&self, x: Column, y: Column) -> Vec<(f64, Vec<f64>)> {
        let columns: Vec<_> = self.runs.iter().map(|run| (x.of(run), y.of(run))).collect();
        let n = columns.iter().map(|(x, y)| x.len().min(y.len())).min().unwrap_or(0);
        let at = |i: usize| {
            let x = columns.iter().map(|(x, _)| x[i]).sum::<f64>() / columns.len() as f64;
            (x, columns.iter().map(|(_, y)| y[i]).collect())
        };
        (0..n).map(at).collect()
    }

    /// The curve with its band, without what comes before a tenth of a second.
    pub(crate) fn lines(&self, x: Column, y: Column) -> [Line; 2] {
        let mut points = self.points(x, y);
        points.retain(|(at, _)| !matches!(x, Column::Seconds) || *at >= 0.1);
        lines(&self.label, Stroke::Plain, &points)
    }

    /// The curve of interquartile means with its band, for numbers of either sign.
    pub(crate) fn plain_lines(&self, x: Column, y: Column) -> [Line; 2] {
        lines_of(&self.label, Stroke::Plain, &self.points(x, y), interquartile)
    }

    /// The area under each run's curve divided by its length, by trapezoids: a mean over training.
    pub(crate) fn areas(&self, x: Column, y: Column) -> Vec<f64> {
        self.areas_until(f64::INFINITY, x, y)
    }

    /// The same of the part up to `x` = `end`.
    pub(crate) fn areas_until(&self, end: f64, x: Column, y: Column) -> Vec<f64> {
        let part = |run: &Cell| {
            let (mut x, y) = (x.of(run), y.of(run));
            x.retain(|x| *x <= end);
            area(&x, &y[..x.len().min(y.len())])
        };
        self.runs.iter().map(part).collect()
    }

    /// The mean of a column over the evaluations of each run that have it.
    pub(crate) fn means(&self, column: Column) -> Vec<f64> {
        let finite = |run: &Cell| -> Vec<f64> {
            column.of(run).into_iter().filter(|value| value.is_finite()).collect()
        };
        self.runs.iter().map(|run| mean(&finite(run)).unwrap_or(f64::NAN)).collect()
    }

    /// How much the cost has changed over the last quarter of the evaluations, as a share: by it one sees
    /// whether a curve would have gone on.
    pub(crate) fn trend(&self) -> f64 {
        let points = self.points(Column::Episodes, Column::Cost);
        let mean = |i: usize| points.get(i).map_or(f64::NAN, |(_, seeds)| geometric_mean(seeds));
        let last = points.len().saturating_sub(1);
        mean(last) / mean(last - last / 4) - 1.0
    }

    /// What `x` was for each run when the mean cost of three evaluations first fell to `level`.
    pub(crate) fn reached(&self, level: f64, x: Column) -> Vec<Reach> {
        let first = |run: &Cell| first_reach(&x.of(run), &run.curve.returns, -level);
        self.runs.iter().filter_map(first).collect()
    }

    /// The trajectories that the first policy of the first run would have left and that its last one has;
    /// none without a run.
    pub(crate) fn before_and_after(&self) -> Vec<ShownRollout> {
        let Some(run) = self.runs.first() else { return Vec::new() };
        let from = |when: &str| format!("{when} training: {}, seed {}", self.label, run.seed);
        let before = untrained(run).map_err(|error| format!("{error:#}"));
        let after = rollout::load(&run.folder.join("rollout.json"));
        vec![
            ShownRollout { from: from("Before"), rollout: before },
            ShownRollout { from: from("After"), rollout: after },
        ]
    }
}

impl Column {
    /// Its entries in a run.
    pub(crate) fn of(self, run: &Cell) -> Vec<f64> {
        match self {
            Self::Return => run.curve.returns.clone(),
            Self::EnvSteps => run.curve.env_steps.clone(),
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

/// Mean of a curve over its range by trapezoids; not a number below two points.
fn area(xs: &[f64], ys: &[f64]) -> f64 {
    let parts = xs.windows(2).zip(ys.windows(2));
    let sum: f64 = parts.map(|(x, y)| 0.5 * (x[1] - x[0]) * (y[0] + y[1])).sum();
    match (xs.first(), xs.last()) {
        (Some(first), Some(last)) if last > first => sum / (last - first),
        _ => f64::NAN,
    }
}

/// The trajectory that the run's first policy would have left.
fn untrained(run: &Cell) -> Result<rollout::Rollout> {
    let config = CellConfig::read(&run.folder)?;
    let task = config.build_task()?;
    let method = agents::find_method(&config.method_name)?;
    let learner = method.build(task.as_task(), &config.method, config.seed)?;
    let start = &mut agents::rollout_start(config.seed);
    let found = agents::record_rollout(task.as_task(), &mut *learner.policy()?, start)?;
    Ok(serde_json::from_value(serde_json::to_value(found)?)?)
}

/// Roll-outs of every kind so far.
fn rollouts(run: &Cell) -> Vec<f64> {
    let steps = setting(run, "task_settings.horizon");
    let others = summed(run, "other_rollouts");
    let own = run.curve.env_steps.iter().map(|env_steps| env_steps / steps);
    own.enumerate().map(|(i, own)| own + others.get(i).copied().unwrap_or(0.0)).collect()
}

/// Running sum of a metric of epochs, which is logged as its mean since the evaluation before; nothing
/// where a method has no such metric.
pub(crate) fn summed(run: &Cell, metric: &str) -> Vec<f64> {
    let (mut before, mut sum) = (0.0, 0.0);
    let means = run.metrics.get(metric).into_iter().flatten();
    means
        .zip(&run.curve.episodes)
        .map(|(mean, epochs)| {
            sum += mean * (epochs - before);
            before = *epochs;
            sum
        })
        .collect()
}

/// A number among the settings of a run.
fn setting(run: &Cell, key: &str) -> f64 {
    run.settings.get(key).and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::report::cells::{Curve, Timing};

    /// Three equal runs with these costs, of ten seconds and one episode of 100 steps an evaluation.
    pub(crate) fn group(key: &str, task: &str, costs: &[f64]) -> Group {
        let count = |scale: f64| (1..=costs.len()).map(|i| scale * i as f64).collect::<Vec<_>>();
        let run = |seed| Cell {
            seed,
            curve: Curve {
                env_steps: count(100.0),
                episodes: count(1.0),
                updates: count(50.0),
                returns: costs.iter().map(|cost| -cost).collect(),
            },
            timing: Some(Timing { train_seconds: count(10.0), total_seconds: count(11.0) }),
            settings: [("task_settings.horizon".to_owned(), "100".to_owned())].into(),
            ..Cell::default()
        };
        let [key, task] = [key, task].map(str::to_owned);
        Group { label: key.clone(), key, task, runs: (0..3).map(run).collect() }
    }

    /// What figures get of such groups.
    pub(crate) fn found(groups: Vec<Group>) -> Found {
        Found { groups, finished: Vec::new(), problems: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roll_outs_of_line_searches_count_whatever_the_evaluations_skip() {
        let mut group = fixture::group("k", "t", &[9.0, 8.0, 7.0, 6.0]);
        for run in &mut group.runs {
            run.curve.episodes = vec![1.0, 3.0, 5.0, 6.0];
            run.curve.env_steps = vec![200.0, 600.0, 1000.0, 1200.0];
            run.metrics.insert("other_rollouts".to_owned(), vec![5.0, 4.0, 3.0, 2.0]);
        }
        let run = &group.runs[0];
        // Two roll-outs of the policy an epoch, and 5, 4, 4, 3, 3, 2 others.
        assert_eq!(Column::Rollouts.of(run), [2.0 + 5.0, 6.0 + 13.0, 10.0 + 19.0, 12.0 + 21.0]);
        assert_eq!(summed(run, "gradients"), [0.0; 0]);
        let falling = fixture::group("k", "t", &[9.0, 8.0, 8.0, 7.0, 6.0]);
        assert!((falling.trend() - (6.0 / 7.0 - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn a_level_counts_once_three_evaluations_are_there_on_average() {
        let group = fixture::group("k", "t", &[9.0, 3.0, 9.0, 9.0, 6.0, 6.0, 6.0]);
        let reached = group.reached(6.0, Column::Seconds);
        assert!(reached.iter().all(|reach| !reach.censored && (reach.at - 70.0).abs() < 1e-9));
        let never = group.reached(1.0, Column::Seconds);
        assert!(never.iter().all(|reach| reach.censored && reach.at == 70.0));
    }
}
