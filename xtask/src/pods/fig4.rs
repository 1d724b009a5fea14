//! Figure 4: learning curves on every pendulum.

use anyhow::Result;

use super::arms::{LARGE, PPO, SAC, SMALL, baseline, pods};
use crate::curves::geometric_mean;
use crate::figure::{Findings, MIN_SEEDS, Size, not_run};
use crate::plan::Profile;
use crate::report::lines::{Marks, Panel, Scale, picture};
use crate::report::{Entry, Illustration, Kind, ShownRollout, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "pods/fig4",
    title: "Learning curves of PODS, SAC and PPO on the pendulums",
    claim: "PODS improves steadily and ends highest on every task; SAC may lead at first, PPO stays \
            lowest (Zamora Mora et al. 2021, figure 4)",
    note: SETTINGS,
    rule: "With geometric means over seeds of the cost over the test starts. PODS is steady on a task \
           if no evaluation of a curve that has three seeds lies more than 5 % of the curve's range above \
           an earlier one; it ends highest if the best of these curves ends at most 2 % above \
           SAC and PPO (mean of the last three evaluations). Reproduced: both on every task. \
           Partly: PODS ends highest on at least half the tasks. Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

/// What all comparisons with SAC and PPO have in common.
pub(super) const SETTINGS: &str = "Constants of the tasks are proposals, so costs differ from the paper's. All methods have \
     policies of two tanh layers of 64 and start from the same weights. SAC and PPO have the \
     settings of Spinning Up, with which the paper ran them, but for networks of 2×64 throughout, \
     rewards of SAC divided by 10, an update of SAC after every step, and phases of PPO that end \
     for the value function too where the KL limit is passed. Observations of PODS are normalised, \
     theirs are not. They learn with a discount of 0.99 and see time limits as \
     cuts; returns are undiscounted for all. Cable payload, rope, cloth and GPS are not there yet.";

pub(super) fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: networks of 2×8, two epochs, a few episodes, two tasks.",
        Profile::Quick => {
            "Quick profile: k = 64 (15 epochs) and 128 (10 epochs), 12,000 steps of SAC (2,000 of \
             them random) and 32,000 of PPO, 100 test starts."
        }
        Profile::Paper => {
            "Paper profile: k = 500 and 4000, 20 epochs, 100,000 steps of SAC and the 200,000 of PPO \
             that are Spinning Up's default, 1,000 test starts."
        }
    }
}

/// The curves that figures 4, 8, 9, 10 and table 1 share.
pub(super) fn cells(size: &Size) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for task in size.tasks() {
        curves.extend([pods(size, SMALL, task)?, pods(size, LARGE, task)?]);
        curves.extend([baseline(size, SAC, task)?, baseline(size, PPO, task)?]);
    }
    Ok(curves)
}

/// Share of a curve's range that it may rise by on its way.
const STEADY: f64 = 0.05;
const LEVEL_WITH: f64 = 1.02;

/// The methods' curves on a task.
pub(super) struct Contest<'f> {
    pub(super) task: &'f str,
    /// The curves of PODS with enough seeds, one at least.
    pub(super) pods: Vec<&'f Group>,
    pub(super) sac: &'f Group,
    pub(super) ppo: &'f Group,
}

impl<'f> Contest<'f> {
    /// Those of all tasks, tasks in order; none unless all have enough seeds.
    pub(super) fn all(found: &'f Found) -> Option<Vec<Self>> {
        let of = |task: &'f str| {
            let group = |key: &&str| found.group(task, key).filter(|group| group.has(MIN_SEEDS));
            let pods: Vec<_> = [SMALL, LARGE].iter().filter_map(group).collect();
            let contest = Self { task, pods, sac: group(&SAC)?, ppo: group(&PPO)? };
            (!contest.pods.is_empty()).then_some(contest)
        };
        let all: Option<Vec<_>> = tasks(found).into_iter().map(of).collect();
        all.filter(|all| !all.is_empty())
    }

    /// A number of PODS, SAC and PPO at the end of training; PODS with the smallest of its curves.
    pub(super) fn ends(&self, column: Column) -> [f64; 3] {
        let end = |group: &Group| group.end(column).value.unwrap_or(f64::NAN);
        let pods = self.pods.iter().map(|group| end(group)).fold(f64::NAN, f64::min);
        [pods, end(self.sac), end(self.ppo)]
    }

    /// Whether PODS costs at most a little more than both others.
    pub(super) fn is_best(&self) -> bool {
        let [pods, sac, ppo] = self.ends(Column::Cost);
        pods <= LEVEL_WITH * sac && pods <= LEVEL_WITH * ppo
    }

    /// Whether PPO costs most.
    pub(super) fn is_ppo_last(&self) -> bool {
        let [pods, sac, ppo] = self.ends(Column::Cost);
        ppo > pods && ppo > sac
    }

    fn is_steady(&self) -> bool {
        self.pods.iter().all(|group| largest_rise(group) <= STEADY)
    }
}

/// The tasks of a figure in order.
pub(super) fn tasks(found: &Found) -> Vec<&str> {
    let mut tasks: Vec<&str> = Vec::new();
    for group in &found.groups {
        if !tasks.contains(&&*group.task) {
            tasks.push(&group.task);
        }
    }
    tasks
}

/// A panel per task.
pub(super) fn panels(
    found: &Found,
    (x, y): (Column, Column),
    labels: [&'static str; 2],
) -> Vec<Panel> {
    let panel = |task: &str| Panel {
        title: task.to_owned(),
        x: Scale { label: labels[0], marks: Marks::Decades },
        y: Scale { label: labels[1], marks: Marks::Decades },
        lines: [SMALL, LARGE, SAC, PPO]
            .iter()
            .filter_map(|key| found.group(task, key))
            .flat_map(|group| group.lines(x, y))
            .collect(),
    };
    tasks(found).into_iter().map(panel).collect()
}

/// The finished runs of a group for a table.
pub(super) fn seeds(group: &Group) -> Entry {
    Entry::text(group.runs.len().to_string())
}

/// Where the rule wants more seeds.
pub(super) fn too_few() -> Verdict {
    let reason = format!("The rule needs {MIN_SEEDS} seeds of every method on every task");
    not_run(String::new(), reason)
}

fn judge(found: &Found) -> Result<Findings> {
    let labels = ["training time [s]", "mean cost over test starts"];
    let by_time = panels(found, (Column::Seconds, Column::Cost), labels);
    let labels = ["roll-outs", "mean cost over test starts"];
    let by_rollouts = panels(found, (Column::Rollouts, Column::Cost), labels);
    let pictures = vec![
        Illustration {
            name: "time",
            caption:
                "Cost, minus the return, against seconds of training on one thread: geometric \
                      mean over seeds with 95 % band, on logarithmic axes."
                    .to_owned(),
            picture: picture("Cost against training time", &by_time),
        },
        Illustration {
            name: "rollouts",
            caption: "The same against simulated roll-outs of 100 steps, those of line searches \
                      included."
                .to_owned(),
            picture: picture("Cost against roll-outs", &by_rollouts),
        },
    ];
    let mut table = Table::new(
        &["task", "curve", "seeds", "cost at the end", "largest rise", "last quarter"],
        2,
    );
    for group in found.groups.iter().filter(|group| group.has(1)) {
        table.push(vec![
            Entry::text(&group.task),
            Entry::text(&group.label),
            seeds(group),
            Entry::estimate(&group.end(Column::Cost), None),
            Entry::text(format!("{:.1} %", 100.0 * largest_rise(group))),
            Entry::text(format!("{:+.1} %", 100.0 * group.trend())),
        ]);
    }
    Ok(Findings {
        verdict: Contest::all(found).map_or_else(too_few, |all| decide(&all)),
        pictures,
        rollouts: before_and_after(found),
        tables: vec![(
            "Costs at the end, largest rises, and change over the last quarter".to_owned(),
            table,
        )],
    })
}

/// How far a curve rises above what it had reached, as a share of its range.
fn largest_rise(group: &Group) -> f64 {
    let points = group.points(Column::Episodes, Column::Cost);
    let means: Vec<f64> = points.iter().map(|(_, seeds)| geometric_mean(seeds)).collect();
    let (mut least, mut most, mut rise) = (f64::INFINITY, f64::NEG_INFINITY, 0.0_f64);
    for mean in means {
        least = least.min(mean);
        most = most.max(mean);
        rise = rise.max(mean - least);
    }
    rise / (most - least)
}

fn decide(all: &[Contest<'_>]) -> Verdict {
    let n = all.len();
    let count = |test: &dyn Fn(&Contest<'_>) -> bool| all.iter().filter(|c| test(c)).count();
    let (best, steady) = (count(&|c| c.is_best()), count(&|c| c.is_steady()));
    let last = count(&|c| c.is_ppo_last());
    let kind = match () {
        () if best == n && steady == n => Kind::Reproduced,
        () if 2 * best >= n => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let ours = format!(
        "PODS ends highest on {best} of {n} tasks and is steady on {steady}; PPO ends lowest on {last}"
    );
    let reason = format!("PODS is highest on {best} and steady on {steady} of {n} tasks");
    Verdict { kind, ours, reason }
}

/// A start of the first task under the policy before training and after it.
fn before_and_after(found: &Found) -> Vec<ShownRollout> {
    let first = tasks(found).first().and_then(|task| found.group(task, SMALL));
    first.map_or_else(Vec::new, Group::before_and_after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::found::fixture::{found, group};

    #[test]
    fn ends_and_rises_decide() {
        let of = |costs: &[f64]| group("k", "t", costs);
        assert!((largest_rise(&of(&[100.0, 20.0, 60.0, 10.0])) - 40.0 / 90.0).abs() < 1e-12);
        let (good, fair, bad) =
            (of(&[99.0, 10.0, 10.0, 10.0]), of(&[99.0, 12.0, 12.0, 12.0]), of(&[60.0; 4]));
        let shaky = of(&[99.0, 20.0, 30.0, 10.0, 10.0, 10.0]);
        let contest = |pods, sac| Contest { task: "t", pods: vec![pods, &good], sac, ppo: &bad };
        assert_eq!(decide(&[contest(&good, &fair)]).kind, Kind::Reproduced);
        assert_eq!(decide(&[contest(&shaky, &fair)]).kind, Kind::Partly);
        let lost = Contest { task: "t", pods: vec![&fair], sac: &good, ppo: &bad };
        assert_eq!(decide(&[lost]).kind, Kind::NotReproduced);
        let unknown = of(&[f64::NAN; 4]);
        assert_eq!(decide(&[contest(&good, &unknown)]).kind, Kind::NotReproduced);
    }

    #[test]
    fn a_task_counts_once_and_needs_every_method() {
        let costs = [9.0; 3];
        let of = |task| [SMALL, SAC, PPO].map(|key| group(key, task, &costs));
        let mut groups: Vec<_> = of("a").into_iter().chain(of("b")).collect();
        groups.push(group("sac-field", "a", &costs));
        let all = found(groups);
        assert_eq!(tasks(&all), ["a", "b"]);
        assert_eq!(Contest::all(&all).unwrap().len(), 2);
        let mut few: Vec<_> = of("a").into();
        few[1].runs.truncate(2);
        assert!(Contest::all(&found(few)).is_none());
    }
}
