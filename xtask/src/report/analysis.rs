//! From folders of cells to every number of the report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cells::{self, Cell, CellState, Curve, Timing};
use super::ratio::{self, RatioSeries};
use super::sheet::Sheet;
use super::stats::{self, Estimate, Reach};
use super::verdict::{self, Verdict};
use super::{FigureSpec, Group, Rule, RunInfo, rollout};

/// Points of a mean curve.
const GRID: usize = 121;

/// Everything a report shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Version of this layout.
    pub(crate) schema: u32,
    /// Heading of the page.
    pub(crate) title: String,
    /// How the numbers were made.
    pub(crate) info: RunInfo,
    /// The comparisons of learning curves in order.
    pub(crate) figures: Vec<FigureData>,
    /// The other figures, behind them.
    #[serde(default)]
    pub(crate) sheets: Vec<Sheet>,
}

/// One figure with its numbers and verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FigureData {
    /// See [`FigureSpec`].
    pub(crate) id: String,
    /// See [`FigureSpec`].
    pub(crate) title: String,
    /// See [`FigureSpec`].
    pub(crate) claim: String,
    /// See [`FigureSpec`].
    pub(crate) note: String,
    /// See [`FigureSpec`].
    pub(crate) rule: Rule,
    /// The rule written out.
    pub(crate) rule_text: String,
    /// See [`FigureSpec`].
    pub(crate) return_range: Option<(f64, f64)>,
    /// Levels of return.
    pub(crate) levels: Vec<f64>,
    /// The groups in order.
    pub(crate) groups: Vec<GroupData>,
    /// Sample-efficiency ratios; the first series decides the verdict.
    pub(crate) ratios: Vec<RatioSeries>,
    /// Probability that a seed of the method ends higher than one of the baseline.
    pub(crate) improvement: Estimate,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// Roll-out of the method's best seed; read from its cell, so not part of the JSON.
    #[serde(skip)]
    pub(crate) rollout: Option<ShownRollout>,
}

/// The roll-out that a figure shows, or why it shows none.
#[derive(Clone, Debug)]
pub(crate) struct ShownRollout {
    /// Which run it is from.
    pub(crate) from: String,
    /// The trajectory.
    pub(crate) rollout: Result<rollout::Rollout, String>,
}

/// The numbers of one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct GroupData {
    /// See [`Group`].
    pub(crate) label: String,
    /// See [`Group`].
    pub(crate) command: String,
    /// Number of cells asked for.
    pub(crate) expected: usize,
    /// Complete cells by seed.
    pub(crate) seeds: Vec<SeedData>,
    /// Cells that could not be used.
    pub(crate) problems: Vec<Problem>,
    /// What is odd about cells that were used.
    pub(crate) warnings: Vec<String>,
    /// Mean of the last evaluations.
    pub(crate) final_return: Estimate,
    /// The same as interquartile mean.
    pub(crate) final_iqm: Estimate,
    /// Standard deviation of the final return over seeds.
    pub(crate) final_sd: Option<f64>,
    /// Mean over seeds of the best single evaluation.
    pub(crate) best_return: Estimate,
    /// Mean number of environment steps.
    pub(crate) env_steps: Option<f64>,
    /// Mean number of network updates.
    pub(crate) updates: Option<f64>,
    /// Mean seconds of training.
    pub(crate) train_seconds: Estimate,
    /// Updates per second of training.
    pub(crate) updates_per_second: Option<f64>,
    /// Mean steps and seconds to every level.
    pub(crate) reached: Vec<LevelData>,
    /// Mean return against environment steps.
    pub(crate) by_steps: Option<Band>,
    /// Mean return against seconds of training.
    pub(crate) by_seconds: Option<Band>,
    /// Settings shared by all its cells.
    pub(crate) settings: BTreeMap<String, String>,
}

/// One complete cell's numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SeedData {
    /// Seed.
    pub(crate) seed: u64,
    /// Name of the cell's folder.
    pub(crate) cell: String,
    /// Mean of the last evaluations.
    pub(crate) final_return: f64,
    /// Best single evaluation.
    pub(crate) best_return: f64,
    /// Steps to every level.
    pub(crate) steps_to_level: Vec<Reach>,
    /// Seconds of training to every level.
    pub(crate) seconds_to_level: Option<Vec<Reach>>,
    /// Evaluations.
    pub(crate) curve: Curve,
    /// Times of the evaluations.
    pub(crate) timing: Option<Timing>,
    /// Folder of the cell.
    #[serde(skip)]
    folder: PathBuf,
}

/// One group at one level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LevelData {
    /// Return level.
    pub(crate) level: f64,
    /// Mean steps, seeds that never reach it counted at their run's length.
    pub(crate) steps: Estimate,
    /// Mean seconds of training, likewise.
    pub(crate) seconds: Estimate,
    /// Seeds that never reach it.
    pub(crate) censored: usize,
}

/// A cell that could not be used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// Name of the folder.
    pub(crate) cell: String,
    /// `missing`, `failed` or `unreadable`.
    pub(crate) kind: String,
    /// What was wrong.
    pub(crate) detail: String,
}

/// A mean curve with its 95 % band.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Band {
    /// Abscissae.
    pub(crate) x: Vec<f64>,
    /// Mean over seeds.
    pub(crate) mean: Vec<f64>,
    /// Interval at every point; absent for a single seed.
    pub(crate) interval: Option<Vec<stats::Interval>>,
}

impl Report {
    /// Loads the cells of all figures and computes everything.
    pub(crate) fn new(title: &str, info: &RunInfo, figures: &[FigureSpec]) -> Self {
        let figures = figures.iter().map(|f| figure(f, info)).collect();
        let (title, info) = (title.to_owned(), info.clone());
        Self { schema: 1, title, info, figures, sheets: Vec::new() }
    }

    /// Id, title, claim and verdict of every figure in order.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (&str, &str, &str, &Verdict)> {
        let figures = self.figures.iter();
        let figures = figures.map(|f| (&*f.id, &*f.title, &*f.claim, &f.verdict));
        figures.chain(self.sheets.iter().map(|s| (&*s.id, &*s.title, &*s.claim, &s.verdict)))
    }

    /// Sum over all cells of their whole time, in seconds.
    pub(crate) fn cell_seconds(&self) -> f64 {
        let mut seen = BTreeSet::new();
        let seeds = self.figures.iter().flat_map(|f| &f.groups).flat_map(|g| &g.seeds);
        let learning: f64 = seeds
            .filter(|s| seen.insert(&s.cell))
            .filter_map(|s| s.timing.as_ref()?.total_seconds.last())
            .sum();
        let others = self.sheets.iter().flat_map(|sheet| &sheet.cells);
        learning + others.filter(|c| seen.insert(&c.name)).map(|c| c.seconds).sum::<f64>()
    }
}

impl FigureData {
    /// Whether any cell is complete, so that there is something to plot.
    pub(crate) fn has_cells(&self) -> bool {
        self.groups.iter().any(|g| !g.seeds.is_empty())
    }
}

impl GroupData {
    /// Every seed's final return.
    pub(crate) fn final_returns(&self) -> Vec<f64> {
        self.seeds.iter().map(|s| s.final_return).collect()
    }

    /// Every seed's steps to level `i`.
    pub(crate) fn steps_to(&self, i: usize) -> Vec<Reach> {
        self.seeds.iter().filter_map(|s| s.steps_to_level.get(i).copied()).collect()
    }

    /// Every timed seed's seconds to level `i`.
    pub(crate) fn seconds_to(&self, i: usize) -> Vec<Reach> {
        let timed = self.seeds.iter().filter_map(|s| s.seconds_to_level.as_ref());
        timed.filter_map(|s| s.get(i).copied()).collect()
    }

    /// Every timed seed's seconds of training.
    pub(crate) fn seconds(&self) -> Vec<f64> {
        let timed = self.seeds.iter().filter_map(|s| s.timing.as_ref());
        timed.filter_map(|t| t.train_seconds.last().copied()).collect()
    }
}

fn figure(spec: &FigureSpec, info: &RunInfo) -> FigureData {
    let groups: Vec<GroupData> = spec.groups.iter().map(|g| group(g, &spec.levels)).collect();
    let labels: Vec<String> = groups.iter().map(|g| g.label.clone()).collect();
    let (method, baseline) = spec.rule.method_and_baseline();
    let improvement = match (groups.get(method), groups.get(baseline)) {
        (Some(a), Some(b)) => Estimate::improvement(&a.final_returns(), &b.final_returns()),
        _ => Estimate::default(),
    };
    let ratios = ratio::ratios(&spec.rule, &groups, &spec.levels);
    let verdict = verdict::decide(&spec.rule, &groups, &ratios, &spec.levels, &info.profile);
    FigureData {
        id: spec.id.clone(),
        title: spec.title.clone(),
        claim: spec.claim.clone(),
        note: spec.note.clone(),
        rule: spec.rule,
        rule_text: verdict::rule_text(&spec.rule, &labels),
        return_range: spec.return_range,
        levels: spec.levels.clone(),
        rollout: groups.get(method).and_then(best_rollout),
        groups,
        ratios,
        improvement,
        verdict,
    }
}

/// The roll-out of the seed with the highest final return (the lowest seed among equals).
fn best_rollout(group: &GroupData) -> Option<ShownRollout> {
    let best =
        group.seeds.iter().reduce(|a, b| if b.final_return > a.final_return { b } else { a })?;
    let from = format!("{}, seed {}, the best of {}", group.label, best.seed, group.seeds.len());
    Some(ShownRollout { from, rollout: rollout::load(&best.folder.join("rollout.json")) })
}

fn group(spec: &Group, levels: &[f64]) -> GroupData {
    let mut out = GroupData {
        label: spec.label.clone(),
        command: spec.command.clone(),
        expected: spec.cells.len(),
        ..GroupData::default()
    };
    let mut complete = Vec::new();
    for folder in &spec.cells {
        let (kind, detail) = match cells::load(folder) {
            CellState::Complete(cell) => {
                complete.push(*cell);
                continue;
            }
            CellState::Missing => ("missing", "not run yet".to_owned()),
            CellState::Failed(why) => ("failed", why),
            CellState::Corrupt(why) => ("unreadable", why),
        };
        let problem = Problem { cell: name_of(folder), kind: kind.to_owned(), detail };
        out.problems.push(problem);
    }
    complete.sort_by_key(|c| c.seed);
    check_consistency(&complete, &mut out);
    out.seeds = complete.into_iter().filter_map(|c| seed_data(c, levels)).collect();
    summarise(&mut out, levels);
    out
}

fn name_of(folder: &std::path::Path) -> String {
    folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}

fn seed_data(cell: Cell, levels: &[f64]) -> Option<SeedData> {
    let returns = &cell.curve.returns;
    let reach = |x: &[f64]| -> Option<Vec<Reach>> {
        levels.iter().map(|&level| stats::first_reach(x, returns, level)).collect()
    };
    Some(SeedData {
        seed: cell.seed,
        cell: name_of(&cell.folder),
        final_return: stats::final_return(returns)?,
        best_return: returns.iter().copied().reduce(f64::max)?,
        steps_to_level: reach(&cell.curve.env_steps)?,
        seconds_to_level: cell.timing.as_ref().and_then(|t| reach(&t.train_seconds)),
        curve: cell.curve,
        timing: cell.timing,
        folder: cell.folder,
    })
}

/// Collects shared settings, and notes what seeds of one group should not differ in.
fn check_consistency(cells: &[Cell], out: &mut GroupData) {
    for cell in cells {
        out.warnings
            .extend(cell.warnings.iter().map(|w| format!("{}: {w}", name_of(&cell.folder))));
    }
    for pair in cells.windows(2).filter(|p| p[0].seed == p[1].seed) {
        out.warnings.push(format!("seed {} occurs twice", pair[0].seed));
    }
    let Some(first) = cells.first() else { return };
    let keys: BTreeSet<&String> = cells.iter().flat_map(|c| c.settings.keys()).collect();
    for key in keys {
        let value = first.settings.get(key);
        if cells.iter().all(|c| c.settings.get(key) == value) {
            let value = value.cloned().unwrap_or_default();
            out.settings.insert(key.clone(), value);
        } else {
            out.warnings.push(format!("`{key}` differs between the seeds"));
            out.settings.insert(key.clone(), "differs between seeds".to_owned());
        }
    }
}

fn summarise(out: &mut GroupData, levels: &[f64]) {
    let finals = out.final_returns();
    out.final_return = Estimate::mean(&finals);
    out.final_iqm = Estimate::of(&[&finals], |s| stats::interquartile_mean(s[0]));
    out.final_sd = stats::standard_deviation(&finals);
    let last = |values: &[f64]| values.last().copied();
    let column = |f: &dyn Fn(&SeedData) -> Option<f64>| -> Vec<f64> {
        out.seeds.iter().filter_map(f).collect()
    };
    let best = column(&|s| Some(s.best_return));
    let rates = column(&|s| {
        let seconds = last(&s.timing.as_ref()?.train_seconds).filter(|t| *t > 0.0)?;
        Some(last(&s.curve.updates)? / seconds)
    });
    out.env_steps = stats::mean(&column(&|s| last(&s.curve.env_steps)));
    out.updates = stats::mean(&column(&|s| last(&s.curve.updates)));
    out.best_return = Estimate::mean(&best);
    out.updates_per_second = stats::mean(&rates);
    out.train_seconds = Estimate::mean(&out.seconds());
    out.reached = levels
        .iter()
        .enumerate()
        .map(|(i, &level)| {
            let steps = out.steps_to(i);
            let at = |r: &[Reach]| r.iter().map(|r| r.at).collect::<Vec<f64>>();
            LevelData {
                level,
                censored: steps.iter().filter(|r| r.censored).count(),
                steps: Estimate::mean(&at(&steps)),
                seconds: Estimate::mean(&at(&out.seconds_to(i))),
            }
        })
        .collect();
    let returns = |s: &SeedData| s.curve.returns.clone();
    let steps = out.seeds.iter().map(|s| (s.curve.env_steps.clone(), returns(s))).collect();
    let timed = out
        .seeds
        .iter()
        .filter_map(|s| Some((s.timing.as_ref()?.train_seconds.clone(), returns(s))));
    let timed: Vec<_> = timed.collect();
    // A mean over some of the seeds would not be comparable with the other plot.
    let all_timed = timed.len() == out.seeds.len();
    (out.by_steps, out.by_seconds) = (band(steps), all_timed.then(|| band(timed)).flatten());
}

/// Mean and interval of curves on the grid that all of them cover.
fn band(curves: Vec<(Vec<f64>, Vec<f64>)>) -> Option<Band> {
    let abscissae: Vec<&[f64]> = curves.iter().map(|c| c.0.as_slice()).collect();
    let x = stats::common_grid(&abscissae, GRID);
    let estimates: Vec<Estimate> = x
        .iter()
        .map(|&x| {
            let at: Vec<f64> =
                curves.iter().filter_map(|c| stats::interpolate(&c.0, &c.1, x)).collect();
            Estimate::mean(&at)
        })
        .collect();
    let mean: Vec<f64> = estimates.iter().filter_map(|e| e.value).collect();
    let interval = estimates.iter().map(|e| e.interval).collect();
    (!x.is_empty() && mean.len() == x.len()).then_some(Band { x, mean, interval })
}
