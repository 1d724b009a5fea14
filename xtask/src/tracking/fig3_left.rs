//! Figure 3, left: the car against model-free and model-based reinforcement learning over the same
//! architecture.

use agents::mbpo::{EnsembleSettings, MbpoSettings};
use agents::tracking::Horizon;
use agents::{PpoSettings, SacSettings, TrainSettings};
use anyhow::Result;
use bench_tasks::Preset;
use serde::Serialize;

use super::arms::{CAR, CAR_SECONDS, Lap, MIN_SEEDS, laps, too_few, untrained};
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, picture};
use crate::report::stats::mean;
use crate::report::{Entry, Estimate, Illustration, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure, curve_at};

pub(super) const FIGURE: Figure = Figure {
    id: "tracking-feedback/fig3-left",
    title: "The car against SAC, PPO and MBPO over the same controller",
    claim: "The policy gradient through the controller needs minutes of driving; SAC, PPO and MBPO, which act \
            on the same controller's set points and gains, need several times as much (Westenbroek et al. \
            2023, figure 3 left)",
    note: "The plant is the simulated car identified from the paper's hardware logs. The baselines decide once \
           per segment; their actions are the outputs of the paper's network, and their observation has, beside \
           the network's inputs, the last set point and where the task's own is: without them the process is \
           not Markov. Neither code nor numbers of the paper's baselines are published. SAC and MBPO learn ten \
           times the rewards. MBPO has the published settings but for what minutes of data ask for: 156 random \
           decisions; fits every 78, of at most 40 passes by batches of 32, of which four are kept; 2,000 \
           roll-outs; an entropy weight that starts at 0.2; and updates of which half is real: with the published \
           5 % its policies exploit the model and stay worse than the controller alone.",
    rule: "Curves are costs per step of the policy without noise after the first 5.6 s of a roll-out, mean over \
           seeds. A method reaches a level when the mean of three evaluations does. (a) Ours has at most 0.045 \
           within 3 minutes and 0.025 within 8; (b) each baseline needs at least three times as long for 0.045 or \
           does not come to it; (c) MBPO is in between: it passes the controller alone before SAC does, and both \
           are at least twice as costly first. Reproduced: all. Partly: (a), and two of three baselines need as \
           much. Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

const KNOTS: &str = "car-lap-knots";
const BASELINES: [&str; 3] = ["sac", "ppo", "mbpo"];
const OURS: Lap = Lap { horizon: Horizon::Full, rate: 1e-4 };
const KEY: &str = "ours";
/// Decisions of a roll-out.
const DECISIONS: u64 = 156;

fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: two roll-outs, small networks.",
        Profile::Quick => {
            "Quick profile: 25 minutes of driving for SAC and PPO, 11 for MBPO, networks of 2×128 (PPO 2×64), \
             MBPO's models of 3×128 with 5 updates per decision; 11 minutes of driving for ours."
        }
        Profile::Paper => {
            "Paper profile: 47 minutes of driving for SAC and PPO, 11 for MBPO, networks of 2×256 (PPO 2×64), MBPO's \
             models of 4×200 with 10 updates per decision; 11 minutes of driving for ours."
        }
    }
}

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let name = (KEY, "ours, whole horizon".to_owned());
    let mut all = vec![laps(size, name, (Preset::Paper, CAR), OURS, 30, &[])?];
    let width = size.pick(8, 128, 256);
    let sac = SacSettings {
        actor_hidden: vec![width; 2],
        critic_hidden: vec![width; 2],
        reward_scale: 10.0,
        random_steps: size.pick(50, 500, 500),
        update_after: size.pick(50, 500, 500),
        batch_size: size.pick(16, 256, 256),
        ..SacSettings::sac()
    };
    all.push(baseline(size, BASELINES[0], "SAC", &sac, size.pick(2, 70, 130))?);
    let ppo = PpoSettings {
        rollout_steps: size.pick(156, 780, 780),
        hidden: size.pick(vec![8; 2], vec![64; 2], vec![64; 2]),
        log_std: -1.0,
        ..PpoSettings::default()
    };
    all.push(baseline(size, BASELINES[1], "PPO", &ppo, size.pick(2, 70, 130))?);
    let default = MbpoSettings::default();
    let mbpo = MbpoSettings {
        refit_every: 78,
        rollouts: size.pick(50, 2_000, 2_000),
        updates: size.pick(1, 5, 10),
        real_share: 0.5,
        model: EnsembleSettings {
            hidden: size.pick(vec![8; 2], vec![128; 3], vec![200; 4]),
            batch: 32,
            max_epochs: size.pick(2, 40, 40),
            ..default.model
        },
        sac: SacSettings { random_steps: 156, update_after: 156, alpha: 0.2, ..sac },
        ..default
    };
    all.push(baseline(size, BASELINES[2], "MBPO", &mbpo, size.pick(2, 30, 30))?);
    Ok(all)
}

/// A method that decides, on so many roll-outs.
fn baseline(
    size: &Size,
    method: &str,
    label: &str,
    settings: &impl Serialize,
    rollouts: u64,
) -> Result<Curve> {
    let train = TrainSettings {
        total_steps: rollouts * DECISIONS,
        evaluate_every_episodes: size.pick(1, 2, 2),
        evaluation_episodes: size.pick(2, 10, 10),
        common_starts: true,
        checkpoint_every_steps: 10 * DECISIONS,
        ..TrainSettings::default()
    };
    let task = (Preset::Paper, KNOTS);
    curve_at(task, size, (method, label.to_owned()), (method, settings), &train, &[])
}

/// Minutes of driving of an evaluation: roll-outs are episodes of either task.
fn minutes(group: &Group) -> Vec<(f64, Vec<f64>)> {
    let mut points = group.points(Column::Episodes, Column::Named("cost_per_step"));
    points.iter_mut().for_each(|(x, _)| *x *= CAR_SECONDS / 60.0);
    points
}

/// Minutes at which the mean over seeds of three evaluations first is at most `level`.
fn reached(points: &[(f64, Vec<f64>)], level: f64) -> Option<f64> {
    let means: Vec<_> =
        points.iter().map(|(x, seeds)| (*x, mean(seeds).unwrap_or(f64::INFINITY))).collect();
    let first = means.windows(3).find(|part| part.iter().map(|p| p.1).sum::<f64>() <= 3.0 * level);
    first.map(|part| part[2].0)
}

fn judge(found: &Found) -> Result<Findings> {
    let group = |key: &str, n: usize| {
        let task = if key == KEY { CAR } else { KNOTS };
        found.group(task, key).filter(|group| group.has(n))
    };
    let keys = || std::iter::once(KEY).chain(BASELINES);
    let shown: Vec<_> = keys().filter_map(|key| group(key, 1)).collect();
    let mut lines: Vec<Line> = shown
        .iter()
        .flat_map(|group| crate::curves::lines(&group.label, Stroke::Plain, &minutes(group)))
        .collect();
    let end = lines.iter().flat_map(|l| &l.points).map(|p| p.0).fold(1.0, f64::max);
    let alone = match group(KEY, 1) {
        Some(ours) => untrained(&ours.runs[0])?[0],
        None => f64::NAN,
    };
    if alone.is_finite() {
        lines.push(Line {
            name: "controller alone".to_owned(),
            stroke: Stroke::Guide,
            points: vec![(0.0, alone), (end, alone)],
        });
    }
    let panel = Panel {
        title: String::new(),
        x: Scale { label: "minutes of driving", marks: Marks::Linear },
        y: Scale { label: "cost per step", marks: Marks::Decades },
        lines,
    };
    let mut table = Table::new(
        &[
            "method",
            "seeds",
            "0.045 after",
            "0.025 after",
            "the controller alone after",
            "worst on the way",
            "at the end",
            "minutes",
        ],
        1,
    );
    for group in &shown {
        let points = minutes(group);
        let after = |level| match reached(&points, level) {
            Some(minutes) => Entry::text(format!("{minutes:.1} min")),
            None => Entry::text("not reached"),
        };
        let worst = worst(&points);
        let costs = group.ends(Column::Named("cost_per_step"));
        table.push(vec![
            Entry::text(group.label.clone()),
            Entry::text(group.runs.len().to_string()),
            after(0.045),
            after(0.025),
            after(alone),
            Entry::text(format!("{worst:.3}")),
            Entry::estimate(&Estimate::mean(&costs), Some(3)),
            Entry::text(format!("{:.0}", points.last().map_or(f64::NAN, |p| p.0))),
        ]);
    }
    let judged: Option<Vec<_>> = keys().map(|key| Some(minutes(group(key, MIN_SEEDS)?))).collect();
    let verdict = judged.map_or_else(too_few, |all| {
        let baselines = BASELINES.iter().zip(&all[1..]).map(|(name, points)| Baseline {
            name,
            level: reached(points, 0.045),
            alone: reached(points, alone),
            worst: worst(points) / alone,
            minutes: points.last().map_or(0.0, |point| point.0),
        });
        let baselines: Vec<_> = baselines.collect();
        decide([reached(&all[0], 0.045), reached(&all[0], 0.025)], &baselines)
    });
    Ok(Findings {
        verdict,
        pictures: vec![Illustration {
            name: "curves",
            caption: "Cost per step of the policy without noise: geometric mean over seeds with 95 % band.".to_owned(),
            picture: picture("Cost per step against minutes of driving", &[panel]),
        }],
        rollouts: Vec::new(),
        tables: vec![("Minutes of driving to a level of the mean cost over seeds".to_owned(), table)],
    })
}

/// Largest mean over seeds.
fn worst(points: &[(f64, Vec<f64>)]) -> f64 {
    points.iter().filter_map(|(_, seeds)| mean(seeds)).fold(0.0, f64::max)
}

/// A baseline's minutes.
struct Baseline {
    name: &'static str,
    /// To 0.045.
    level: Option<f64>,
    /// To the controller alone.
    alone: Option<f64>,
    /// Largest cost, in units of that of the controller alone.
    worst: f64,
    /// In all.
    minutes: f64,
}

/// Minutes of ours to both levels, and the baselines.
fn decide(ours: [Option<f64>; 2], baselines: &[Baseline]) -> Verdict {
    let fast = ours[0].is_some_and(|m| m <= 3.0) && ours[1].is_some_and(|m| m <= 8.0);
    let first = ours[0].unwrap_or(f64::INFINITY);
    let slower = baselines.iter().filter(|b| b.level.is_none_or(|m| m >= 3.0 * first)).count();
    let of = |name| baselines.iter().find(|baseline| baseline.name == name);
    let between = match (of("mbpo"), of("sac")) {
        (Some(mbpo), Some(sac)) => {
            let passes = |b: &Baseline| b.alone.unwrap_or(f64::INFINITY);
            passes(mbpo) < passes(sac) && mbpo.worst >= 2.0 && sac.worst >= 2.0
        }
        _ => false,
    };
    let kind = match (fast, slower) {
        (true, n) if n == baselines.len() && between => Kind::Reproduced,
        (true, 2..) => Kind::Partly,
        _ => Kind::NotReproduced,
    };
    let words = |minutes: Option<f64>, all: f64| match minutes {
        Some(minutes) => format!("after {minutes:.1} min"),
        None => format!("not within {all:.0} min"),
    };
    let others: Vec<_> =
        baselines.iter().map(|b| format!("{} {}", b.name, words(b.level, b.minutes))).collect();
    Verdict {
        kind,
        ours: format!(
            "0.045 {} and 0.025 {}; 0.045: {}",
            words(ours[0], 11.0),
            words(ours[1], 11.0),
            others.join(", ")
        ),
        reason: format!(
            "{slower} of {} baselines need at least three times as long; MBPO is {}in between",
            baselines.len(),
            if between { "" } else { "not " }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_means_of_three_evaluations() {
        let points: Vec<_> = [0.1, 0.04, 0.06, 0.04, 0.03]
            .iter()
            .enumerate()
            .map(|(i, c)| (i as f64, vec![*c]))
            .collect();
        assert_eq!(reached(&points, 0.045), Some(4.0));
        assert_eq!(reached(&points, 0.01), None);
    }

    #[test]
    fn our_speed_and_the_baselines_count() {
        let kind = |ours, levels: [Option<f64>; 3], mbpo_alone| {
            let alone = [Some(12.0), Some(1.0), mbpo_alone];
            let baselines: Vec<_> = BASELINES
                .into_iter()
                .zip(levels.into_iter().zip(alone))
                .map(|(name, (level, alone))| Baseline {
                    name,
                    level,
                    alone,
                    worst: 4.0,
                    minutes: 25.0,
                })
                .collect();
            decide([ours, Some(6.0)], &baselines).kind
        };
        let slow = [None, Some(12.0), Some(7.0)];
        assert_eq!(kind(Some(2.0), slow, Some(8.0)), Kind::Reproduced);
        assert_eq!(kind(Some(2.0), slow, None), Kind::Partly);
        assert_eq!(kind(Some(2.0), [None, Some(12.0), Some(4.0)], Some(8.0)), Kind::Partly);
        assert_eq!(kind(Some(5.0), [None; 3], Some(8.0)), Kind::NotReproduced);
    }
}
