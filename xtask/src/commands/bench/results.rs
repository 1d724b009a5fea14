//! What has been measured, as the JSON output has it, and which targets it reaches.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::{Case, Precision, Unit};
use super::catalogue::peak_name;
use super::peers::Peers;
use super::stats::{Series, range};
use crate::report::RunInfo;

/// Everything that is told of a measurement.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    /// What the numbers were made with.
    pub(super) machine: RunInfo,
    /// Samples were short and few: the numbers mean nothing.
    pub(super) quick: bool,
    /// Instructions that the compiler may use for our code on every machine, beyond those that are
    /// chosen while it runs.
    pub(super) target_features: String,
    /// Versions of the peers' packages.
    pub(super) peer_versions: BTreeMap<String, String>,
    /// Packages of peers that are not installed, so that their rows have no peer.
    pub(super) missing_peers: Vec<String>,
    /// The rows in the order of the table.
    pub(super) rows: Vec<Row>,
    /// Exponents p of the time ∝ T^p of an iteration at horizon T, by problem.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) growth: BTreeMap<String, f64>,
    /// Rows that were asked for and could not be measured.
    pub(super) skipped: Vec<Skipped>,
}

/// One row.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Name on the command line.
    pub(super) name: String,
    /// One line about it.
    pub(super) what: String,
    /// Threads that it may use.
    pub(super) threads: usize,
    /// What the numbers count.
    pub(super) unit: &'static str,
    /// Median of the blocks' medians.
    pub(super) median: f64,
    /// Best sample.
    pub(super) best: f64,
    /// Distance of the quartiles as a share of the median.
    pub(super) spread: f64,
    /// Number of samples.
    pub(super) n: usize,
    /// All samples, block by block.
    pub(super) samples: Series,
    /// Gradient updates a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) updates_per_second: Option<f64>,
    /// 10⁹ needed operations a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gflops: Option<f64>,
    /// The same as a share of the peak of as many threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share_of_peak: Option<f64>,
    /// How many times better than the same on one thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) speed_up: Option<f64>,
    /// Other libraries on the same case.
    pub(super) peers: Vec<PeerRow>,
    /// Targets, as far as they were measured.
    pub(super) targets: Vec<Verdict>,
}

/// One peer in one row.
#[derive(Debug, Serialize)]
pub(super) struct PeerRow {
    /// Its name, as readers know it.
    pub(super) peer: String,
    /// Median of the alternations' medians, in the row's unit.
    pub(super) median: f64,
    /// Best sample.
    pub(super) best: f64,
    /// Number of samples.
    pub(super) n: usize,
    /// How many times better our median is.
    pub(super) ratio: f64,
}

/// A target and what was found.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    /// What it is about, in words.
    pub(super) what: String,
    /// The bound.
    pub(super) needed: f64,
    /// What was measured.
    pub(super) found: f64,
    /// Whether the bound is kept.
    pub(super) reached: bool,
}

/// A row that was asked for and could not be measured.
#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    /// Its name.
    pub(super) name: String,
    /// Threads that it asks for.
    pub(super) threads: usize,
    /// Why.
    pub(super) reason: String,
}

/// What a target compares.
#[derive(Debug, Clone, Copy)]
enum Target {
    /// At least so many times as good as this peer.
    TimesPeer(&'static str, f64),
    /// At least this share of the machine's peak.
    ShareOfPeak(f64),
    /// At least so many times as good as on one thread.
    SpeedUp(f64),
    /// At most so much.
    AtMost(f64),
}

const TARGETS: [(&str, Target); 41] = [
    ("sac-update", Target::ShareOfPeak(0.7)),
    ("sac-update", Target::TimesPeer("PyTorch", 1.5)),
    ("sac-update", Target::TimesPeer("JAX", 1.1)),
    ("vg-sac-update", Target::TimesPeer("PyTorch", 2.0)),
    ("vg-sac-update", Target::TimesPeer("JAX", 1.3)),
    ("sac-step", Target::TimesPeer("SBX", 1.5)),
    ("sac-step", Target::TimesPeer("SB3", 2.5)),
    ("ppo-step", Target::TimesPeer("SB3", 4.0)),
    ("sobolev-epoch", Target::TimesPeer("PyTorch", 5.0)),
    ("sobolev-epoch", Target::TimesPeer("JAX", 1.3)),
    ("dvp-terminal", Target::AtMost(30.0)),
    ("dvp-iteration", Target::AtMost(1.0)),
    ("pods-2d-gradient", Target::AtMost(100.0)),
    ("pods-double-gradient", Target::AtMost(400.0)),
    ("pods-rollouts", Target::SpeedUp(1.8)),
    ("pods-epoch", Target::AtMost(5.0)),
    ("policy-eval", Target::AtMost(12.0)),
    ("memory", Target::AtMost(200.0)),
    ("start", Target::AtMost(0.3)),
    ("arm-rnea", Target::TimesPeer("Pinocchio", 1.0)),
    ("arm-aba", Target::TimesPeer("Pinocchio", 1.0)),
    ("arm-aba-derivatives", Target::TimesPeer("Pinocchio", 1.0)),
    ("quadruped-rnea-derivatives", Target::TimesPeer("Pinocchio", 1.0)),
    ("quadruped-aba-derivatives", Target::TimesPeer("Pinocchio", 1.0)),
    ("humanoid-rnea-derivatives", Target::TimesPeer("Pinocchio", 1.0)),
    ("humanoid-aba-derivatives", Target::TimesPeer("Pinocchio", 1.0)),
    ("ddp-arm-calc", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-arm-calc-diff", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-arm-backward", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-arm-roll-out", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-arm-solve", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-arm-solve", Target::AtMost(30.0)),
    ("ddp-unicycle-20", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-unicycle-50", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-unicycle-100", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-unicycle-200", Target::TimesPeer("Crocoddyl", 1.0)),
    ("ddp-unicycle-tick", Target::TimesPeer("Crocoddyl", 1.0)),
    ("hopper-step", Target::TimesPeer("MuJoCo", 3.0)),
    ("halfcheetah-step", Target::TimesPeer("MuJoCo", 3.0)),
    ("hopper-jacobians", Target::TimesPeer("MuJoCo", 5.0)),
    ("halfcheetah-jacobians", Target::TimesPeer("MuJoCo", 5.0)),
];

/// Peers as the scripts and as readers call them.
const PEERS: [(&str, &str); 7] = [
    ("pytorch", "PyTorch"),
    ("jax", "JAX"),
    ("stable-baselines3", "SB3"),
    ("sbx", "SBX"),
    ("pinocchio", "Pinocchio"),
    ("mujoco", "MuJoCo"),
    ("crocoddyl", "Crocoddyl"),
];

/// A row as it was measured: the case, one line about it, its samples.
pub(super) type Measured<'a> = (Case<'a>, String, Series);

/// The rows of what was measured.
pub(super) fn rows(measured: Vec<Measured<'_>>, peers: Option<&Peers>) -> Vec<Row> {
    let peaks: Vec<(&'static str, usize, f64)> = [Precision::F32, Precision::F64]
        .into_iter()
        .map(peak_name)
        .flat_map(|name| {
            let of_name = measured.iter().filter(move |(case, ..)| case.name == name);
            of_name.map(move |(case, _, series)| (name, case.threads, series.median()))
        })
        .collect();
    let single: Vec<(String, f64)> = measured
        .iter()
        .filter(|(case, ..)| case.threads == 1)
        .map(|(case, _, series)| (case.name.clone(), series.median()))
        .collect();
    measured
        .into_iter()
        .map(|(case, what, samples)| row(case, what, samples, &peaks, &single, peers))
        .collect()
}

fn row(
    case: Case<'_>,
    what: String,
    samples: Series,
    peaks: &[(&'static str, usize, f64)],
    single: &[(String, f64)],
    peers: Option<&Peers>,
) -> Row {
    let Case { name, threads, unit, flops, updates_per_step, .. } = case;
    let median = samples.median();
    let one = single.iter().find(|(of, _)| threads > 1 && *of == name);
    // Rows of operations alone have their rate as the number itself.
    let counted = flops.filter(|_| unit == Unit::Milliseconds);
    let gflops = counted.map(|(flops, _)| 1e-6 * flops / median);
    let share_of_peak = counted.and_then(|(_, precision)| {
        let of = (peak_name(precision), threads);
        let (.., peak) = peaks.iter().find(|(name, threads, _)| (*name, *threads) == of)?;
        Some(gflops? / peak)
    });
    let updates_per_second = match unit {
        Unit::StepsPerSecond => updates_per_step.map(|updates| updates * median),
        _ => counted.map(|_| 1e3 / median),
    };
    let peers = peers.map_or_else(Vec::new, |peers| peer_rows(peers, &name, threads, unit, median));
    let speed_up = one.map(|(_, one)| unit.ratio(median, *one));
    let targets = TARGETS.iter().filter(|(row, _)| *row == name);
    Row {
        targets: targets
            .filter_map(|(_, target)| {
                verdict(*target, unit, median, share_of_peak, speed_up, &peers)
            })
            .collect(),
        what,
        threads,
        unit: unit.name(),
        median,
        best: unit.best(samples.range()),
        spread: samples.spread(),
        n: samples.n(),
        samples,
        updates_per_second,
        gflops,
        share_of_peak,
        speed_up,
        peers,
        name,
    }
}

/// The peers in one row, in the order of [`PEERS`].
fn peer_rows(peers: &Peers, row: &str, threads: usize, unit: Unit, ours: f64) -> Vec<PeerRow> {
    let mut rows = Vec::new();
    for (script, peer) in PEERS {
        let Some(series) = peers.of(row, threads, script) else { continue };
        let median = series.median();
        rows.push(PeerRow {
            peer: peer.to_owned(),
            median,
            best: unit.best(range(series.bests.iter().copied())),
            n: series.n,
            ratio: unit.ratio(ours, median),
        });
    }
    rows
}

/// Whether a target is reached; nothing where it was not measured.
fn verdict(
    target: Target,
    unit: Unit,
    median: f64,
    share_of_peak: Option<f64>,
    speed_up: Option<f64>,
    peers: &[PeerRow],
) -> Option<Verdict> {
    let (what, needed, found, reached) = match target {
        Target::TimesPeer(peer, needed) => {
            let found = peers.iter().find(|row| row.peer == peer)?.ratio;
            (format!("≥ {needed}× {peer}"), needed, found, found >= needed)
        }
        Target::ShareOfPeak(needed) => {
            let found = share_of_peak?;
            (format!("≥ {:.0} % of peak", 100.0 * needed), needed, found, found >= needed)
        }
        Target::SpeedUp(needed) => {
            let found = speed_up?;
            (format!("≥ {needed}× one thread"), needed, found, found >= needed)
        }
        Target::AtMost(needed) => {
            (format!("≤ {needed} {}", unit.name()), needed, median, median <= needed)
        }
    };
    Some(Verdict { what, needed, found, reached })
}

#[cfg(test)]
mod tests {
    use super::super::case::Source;
    use super::*;

    fn measured(
        name: &str,
        threads: usize,
        unit: Unit,
        flops: Option<(f64, Precision)>,
        value: f64,
    ) -> Measured<'static> {
        let mut series = Series::default();
        series.begin_block();
        series.push(value);
        let case = Case {
            name: name.to_owned(),
            threads,
            unit,
            flops,
            updates_per_step: None,
            source: Source::Process(Box::new(|| Ok(0.0))),
        };
        (case, "about it".to_owned(), series)
    }

    #[test]
    fn the_share_of_the_peak_is_that_of_as_many_threads() {
        let flops = Some((2e9, Precision::F32));
        let found = rows(
            vec![
                measured("peak-f32", 1, Unit::Gflops, flops, 100.0),
                measured("peak-f32", 2, Unit::Gflops, flops, 160.0),
                measured("sac-update", 1, Unit::Milliseconds, flops, 25.0),
                measured("sac-update", 2, Unit::Milliseconds, flops, 12.5),
                measured("vg-sac-update", 4, Unit::Milliseconds, flops, 12.5),
                measured("sobolev-epoch", 1, Unit::Milliseconds, Some((1.0, Precision::F64)), 1.0),
            ],
            None,
        );
        assert_eq!(found[0].share_of_peak, None);
        // 2 GFLOP in 25 ms are 80 GFLOP/s, in 12.5 ms 160.
        assert_eq!(found[2].gflops, Some(80.0));
        assert_eq!(found[2].share_of_peak, Some(0.8));
        assert_eq!(found[2].updates_per_second, Some(40.0));
        assert_eq!([2, 3, 4].map(|i| found[i].speed_up), [None, Some(2.0), None]);
        assert_eq!(found[1].speed_up, Some(1.6), "more operations a second are better");
        assert_eq!(found[3].share_of_peak, Some(1.0));
        assert!(found[2].targets[0].reached);
        assert_eq!(found[4].share_of_peak, None, "the peak of four threads was not measured");
        assert_eq!(found[5].share_of_peak, None, "its peak was not measured");
    }

    #[test]
    fn targets_are_judged_where_they_were_measured() {
        let peers =
            [PeerRow { peer: "SB3".to_owned(), median: 100.0, best: 110.0, n: 3, ratio: 2.4 }];
        let judge = |target| verdict(target, Unit::StepsPerSecond, 240.0, None, Some(1.7), &peers);
        let found = judge(Target::TimesPeer("SB3", 2.5)).unwrap();
        assert_eq!((found.what.as_str(), found.reached), ("≥ 2.5× SB3", false));
        assert!(judge(Target::TimesPeer("SB3", 2.4)).unwrap().reached);
        assert_eq!(judge(Target::TimesPeer("SBX", 1.5)), None);
        assert_eq!(judge(Target::ShareOfPeak(0.7)), None);
        let found = judge(Target::SpeedUp(1.8)).unwrap();
        assert_eq!((found.what.as_str(), found.reached), ("≥ 1.8× one thread", false));
        assert!(judge(Target::SpeedUp(1.7)).unwrap().reached);
        let small =
            verdict(Target::AtMost(12.0), Unit::Microseconds, 12.5, None, None, &[]).unwrap();
        assert_eq!((small.what.as_str(), small.reached), ("≤ 12 µs", false));
    }
}
