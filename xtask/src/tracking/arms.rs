//! The curves of the experiments.

use agents::TrainSettings;
use agents::tracking::{Horizon, TrackingSettings};
use anyhow::{Context as _, Result};
use bench_tasks::Preset;
use dynamics::Stream;

use crate::cell::CellConfig;
use crate::figure::{Size, not_run};
use crate::report::Verdict;
use crate::report::cells::Cell;
use crate::runs::{Curve, curve_at};

pub(super) const PENDULUM: &str = "double-pendulum-reach";
pub(super) const CAR: &str = "car-lap";
pub(super) const QUADRUPED: &str = "quadruped-lap";

/// Seconds of a roll-out of the car, 156 segments of 7 steps.
pub(super) const CAR_SECONDS: f64 = 21.84;

/// Complete seeds that a verdict needs.
pub(super) const MIN_SEEDS: usize = 5;

/// A policy on the double pendulum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pendulum {
    /// The regulator of the discrete model, the whole horizon.
    Regulator,
    /// Computed torque, the whole horizon.
    Torque,
    /// The regulator of the continuous model, costates cut at the decisions: as released.
    Released,
    /// No feedback; the network sees state and time. The step is for the sum over five roll-outs.
    Open(f64),
    /// No feedback, time alone.
    OpenTime(f64),
}

/// Those that are compared; without feedback at rates over three decades.
pub(super) const PENDULUMS: [Pendulum; 9] = [
    Pendulum::Regulator,
    Pendulum::Torque,
    Pendulum::Released,
    Pendulum::Open(1e-8),
    Pendulum::Open(1e-7),
    Pendulum::Open(4e-7),
    Pendulum::Open(2e-6),
    Pendulum::Open(1e-5),
    Pendulum::OpenTime(4e-7),
];

/// Roll-outs of the pendulum per step.
pub(super) const ROLLOUTS: usize = 5;

impl Pendulum {
    pub(super) fn name(self) -> String {
        match self {
            Self::Regulator => "feedback".to_owned(),
            Self::Torque => "feedback, computed torque".to_owned(),
            Self::Released => "feedback, cut, as released".to_owned(),
            Self::Open(rate) => format!("no feedback, {rate:.0e}"),
            Self::OpenTime(rate) => format!("no feedback, time alone, {rate:.0e}"),
        }
    }

    /// Key of the curve with this factor of the model's masses.
    pub(super) fn key(self, factor: f64) -> String {
        format!("{} {factor}", self.name())
    }
}

/// A policy on the pendulum whose model has these masses.
pub(super) fn pendulum(size: &Size, policy: Pendulum, factor: f64) -> Result<Curve> {
    let (control, segment, horizon, rate) = match policy {
        Pendulum::Regulator => ("discrete-lqr", 10, Horizon::Full, 1e-5),
        Pendulum::Torque => ("computed-torque", 10, Horizon::Full, 1e-5),
        Pendulum::Released => ("continuous-lqr", 10, Horizon::Segment, 2.5e-5),
        Pendulum::Open(rate) => ("open-loop", 1, Horizon::Full, rate),
        Pendulum::OpenTime(rate) => ("open-loop-time", 1, Horizon::Full, rate),
    };
    let settings = TrackingSettings {
        rollouts: ROLLOUTS,
        learning_rate: ROLLOUTS as f64 * rate,
        hidden: size.pick(vec![8; 2], vec![64; 2], vec![64; 2]),
        ..TrackingSettings::of(horizon)
    };
    let masses = format!("[{}, {}]", 0.1 * factor, 0.1 * factor);
    let steps = size.pick(30, 300, 300);
    let (horizon_text, segment) = (steps.to_string(), segment.to_string());
    let changes = [
        ("control", control),
        ("segment", &segment),
        ("nominal.masses", &masses),
        ("horizon", &horizon_text),
    ];
    let train = loop_of(size, size.pick(3, 100, 100) * ROLLOUTS as u64 * steps, 5);
    let name = (&*policy.key(factor), policy.name());
    let task = (Preset::Released, PENDULUM);
    curve_at(task, size, name, (horizon.method(), &settings), &train, &changes)
}

/// A step of the policy on car or quadruped: horizon and rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lap {
    pub(super) horizon: Horizon,
    pub(super) rate: f64,
}

impl Lap {
    pub(super) fn name(self) -> &'static str {
        match self.horizon {
            Horizon::Full => "whole horizon",
            Horizon::Segment => "cut at decisions",
        }
    }
}

/// `iterations` steps of the policy on a task of laps, with these settings of the task changed.
pub(super) fn laps(
    size: &Size,
    (key, label): (&str, String),
    task: (Preset, &'static str),
    lap: Lap,
    iterations: u64,
    changes: &[(&str, &str)],
) -> Result<Curve> {
    let settings = TrackingSettings {
        learning_rate: lap.rate,
        hidden: size.pick(vec![8; 2], vec![64; 2], vec![64; 2]),
        ..TrackingSettings::of(lap.horizon)
    };
    let steps = if task.1 == CAR { 156 * 7 } else { 64 * 9 };
    let train = loop_of(size, size.pick(2, iterations, iterations) * steps, 10);
    curve_at(task, size, (key, label), (lap.horizon.method(), &settings), &train, changes)
}

fn loop_of(size: &Size, total_steps: u64, episodes: usize) -> TrainSettings {
    TrainSettings {
        total_steps,
        evaluate_every_episodes: 1,
        evaluation_episodes: size.pick(2, episodes, episodes),
        common_starts: true,
        checkpoint_every_steps: (total_steps / 5).max(1),
        ..TrainSettings::default()
    }
}

/// Mean measures of the policy of a run before training, in the order of the task, from the starts of its
/// evaluations.
pub(super) fn untrained(run: &Cell) -> Result<Vec<f64>> {
    let config = CellConfig::read(&run.folder)?;
    let task = config.build_task()?;
    let method = agents::find_method(&config.method_name)?;
    let learner = method.build(task.as_task(), &config.method, config.seed)?;
    let stream = &mut Stream::new(0, "evaluation starts", 0);
    let found = agents::evaluate(task.as_task(), &mut *learner.policy()?, 10, stream)
        .context("the untrained policy cannot be evaluated")?;
    Ok(found.mean_measures())
}

/// Where a rule wants more seeds.
pub(super) fn too_few() -> Verdict {
    not_run(String::new(), format!("The rule needs {MIN_SEEDS} seeds of every curve"))
}
