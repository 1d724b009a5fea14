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
           decisions, fits every 78 by batches of 32, 2,000 roll-outs, and updates of which half is real: with \
           the published 5 % its policies exploit the model and stay worse than the controller alone.",
    rule: "Curves are costs per step of the policy without noise after the first 5.6 s of a roll-out. A method \
           reaches a level when the mean of three evaluations does. Reproduced: ours has at most 0.045 within 3 \
           minutes and 0.025 within 8, in the mean over seeds, and each baseline needs at least three times as \
           long for 0.045 or does not come to it. Partly: ours does, and two baselines need as much. Not \
           reproduced: otherwise.",
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
    if let Some(ours) = group(KEY, 1) {
        let alone = untrained(&ours.runs[0])?[0];
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
        let worst = points.iter().filter_map(|(_, seeds)| mean(seeds)).fold(0.0, f64::max);
        let costs = group.ends(Column::Named("cost_per_step"));
        table.push(vec![
            Entry::text(group.label.clone()),
            Entry::text(group.runs.len().to_string()),
            after(0.045),
            after(0.025),
            Entry::text(format!("{worst:.3}")),
            Entry::estimate(&Estimate::mean(&costs), Some(3)),
            Entry::text(format!("{:.0}", points.last().map_or(f64::NAN, |p| p.0))),
        ]);
    }
    let judged: Option<Vec<_>> = keys().map(|key| Some(minutes(group(key, MIN_SEEDS)?))).collect();
    let verdict = judged.map_or_else(too_few, |all| {
        let baselines: Vec<_> = all[1..].iter().map(|points| reached(points, 0.045)).collect();
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

/// Minutes of ours to both levels, and of the baselines to the first.
fn decide(ours: [Option<f64>; 2], baselines: &[Option<f64>]) -> Verdict {
    let fast = ours[0].is_some_and(|m| m <= 3.0) && ours[1].is_some_and(|m| m <= 8.0);
    let first = ours[0].unwrap_or(f64::INFINITY);
    let slower = baselines.iter().filter(|b| b.is_none_or(|b| b >= 3.0 * first)).count();
    let kind = match (fast, slower) {
        (true, n) if n == baselines.len() => Kind::Reproduced,
        (true, 2) => Kind::Partly,
        _ => Kind::NotReproduced,
    };
    let words =
        |minutes: &Option<f64>| minutes.map_or("never".to_owned(), |m| format!("{m:.1} min"));
    let others: Vec<_> = BASELINES
        .iter()
        .zip(baselines)
        .map(|(name, minutes)| format!("{name} {}", words(minutes)))
        .collect();
    Verdict {
        kind,
        ours: format!(
            "0.045 after {} and 0.025 after {}; 0.045: {}",
            words(&ours[0]),
            words(&ours[1]),
            others.join(", ")
        ),
        reason: format!(
            "{slower} of {} baselines need at least three times as long",
            baselines.len()
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
        let kind = |ours, baselines: [Option<f64>; 3]| decide([ours, Some(6.0)], &baselines).kind;
        assert_eq!(kind(Some(2.0), [None, Some(12.0), Some(7.0)]), Kind::Reproduced);
        assert_eq!(kind(Some(2.0), [None, Some(12.0), Some(4.0)]), Kind::Partly);
        assert_eq!(kind(Some(5.0), [None, None, None]), Kind::NotReproduced);
    }
}
