//! All rows by name.

use std::path::Path;

use anyhow::{Result, bail};
use bench_tasks::registry;

use super::case::{Case, Precision};
use super::optimal_control::{Measure, Problems};
use super::planar::{Planar, Stage};
use super::robots::{Algorithm, CHAINS, Robot};
use super::steps::{Stepped, Tasks};
use super::{child, networks, optimal_control, planar, robots, springs, steps, values};

/// A row that can be measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    /// Its name.
    pub(super) name: String,
    /// One line about it.
    pub(super) what: String,
    /// Numbers of threads, each a row of its own.
    pub(super) threads: &'static [usize],
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Peak(Precision),
    Update { value_gradient: bool },
    Learning(Stepped),
    Environment { task: &'static str, derivatives: bool },
    Tree { robot: Robot, algorithm: Algorithm },
    Planar { model: Planar, stage: Stage },
    OptimalControl(Measure),
    Value(values::Measure),
    Springs(springs::Measure),
    Policy,
    Memory,
    Start,
}

/// Why a row is not measured here.
#[derive(Debug)]
pub(super) struct Unavailable(pub(super) String);

impl Definition {
    fn new(name: impl Into<String>, kind: Kind, threads: &'static [usize], what: &str) -> Self {
        Self { name: name.into(), what: what.to_owned(), threads, kind }
    }

    /// The row on so many threads, ready to be measured; or why it cannot be measured here. Robots
    /// that are not built in are looked for in the folder `robots`.
    ///
    /// # Errors
    /// Networks or models that cannot be built.
    pub(super) fn case<'a>(
        &self,
        threads: usize,
        tasks: &'a Tasks,
        problems: &'a Problems<'_>,
        robots: Option<&Path>,
    ) -> Result<Result<Case<'a>, Unavailable>> {
        let name = &self.name;
        Ok(Ok(match self.kind {
            Kind::Peak(precision) => networks::peak(name, threads, precision),
            Kind::Update { value_gradient } => networks::update(name, threads, value_gradient)?,
            Kind::Learning(method) => match steps::learning(name, threads, method, tasks) {
                Ok(case) => case,
                Err(error) => return Ok(Err(Unavailable(format!("{error:#}")))),
            },
            Kind::Environment { task, derivatives } => {
                steps::environment(name, task, derivatives, tasks)?
            }
            Kind::Tree { robot, algorithm } => {
                if !robot.is_built_in() && robots.is_none() {
                    let reason = "its file comes with example-robot-data in the peers' environment";
                    return Ok(Err(Unavailable(reason.to_owned())));
                }
                robots::case(name, robot, algorithm, robots)?
            }
            Kind::Planar { model, stage } => planar::case(name, model, stage)?,
            Kind::OptimalControl(measure) => {
                optimal_control::case(name, threads, measure, problems)?
            }
            Kind::Value(measure) => values::case(name, measure, problems.dvp())?,
            Kind::Springs(measure) => springs::case(name, threads, measure, problems.springs())?,
            Kind::Policy => networks::policy(name)?,
            Kind::Start => child::start_case(name),
            Kind::Memory => match child::memory_case(name) {
                Some(case) => case,
                None => {
                    let reason = "this system has no /proc that tells the peak of memory";
                    return Ok(Err(Unavailable(reason.to_owned())));
                }
            },
        }))
    }

    /// The peak that the row's operations are compared with.
    fn precision(&self) -> Option<Precision> {
        match self.kind {
            Kind::Update { .. } => Some(Precision::F32),
            Kind::Value(values::Measure::Epoch) => Some(Precision::F64),
            _ => None,
        }
    }
}

/// Name of the row with the machine's peak.
pub(super) fn peak_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "peak-f32",
        Precision::F64 => "peak-f64",
    }
}

/// Every row in the order of the table.
pub(super) fn definitions() -> Vec<Definition> {
    const ONE: &[usize] = &[1];
    const BOTH: &[usize] = &[1, 2];
    let peak = |precision, threads, what| {
        Definition::new(peak_name(precision), Kind::Peak(precision), threads, what)
    };
    let update = |name, value_gradient, what| {
        Definition::new(name, Kind::Update { value_gradient }, BOTH, what)
    };
    let step =
        |name, method, threads, what| Definition::new(name, Kind::Learning(method), threads, what);
    let mut rows = vec![
        peak(
            Precision::F32,
            BOTH,
            "a large matrix product on every thread at once, f32: what the percentages refer to",
        ),
        peak(Precision::F64, ONE, "a large matrix product, f64"),
        update("sac-update", false, "SAC, batch 256, actor 2×256, twin critics 2×512 tanh"),
        update("vg-sac-update", true, "VG-SAC, the same shapes"),
        step("sac-step", Stepped::Sac, BOTH, "SAC on the pendulum, 2×256, batch 256, whole steps"),
        step("vg-sac-step", Stepped::VgSac, BOTH, "VG-SAC, likewise"),
        step("td3-step", Stepped::Td3, BOTH, "TD3, likewise"),
        step("ddpg-step", Stepped::Ddpg, ONE, "DDPG, likewise"),
        step("vg-ddpg-step", Stepped::VgDdpg, ONE, "DDPG with value gradients, likewise"),
        step(
            "ppo-step",
            Stepped::Ppo,
            ONE,
            "PPO on the pendulum, 2×64, roll-outs of 1,024 steps, 10 epochs of batch 64",
        ),
    ];
    for entry in registry() {
        for (suffix, derivatives, with) in
            [("", false, ""), ("-derivatives", true, " with the derivatives of every transition")]
        {
            rows.push(Definition::new(
                format!("env-step-{}{suffix}", entry.name),
                Kind::Environment { task: entry.name, derivatives },
                ONE,
                &format!("task `{}` under random actions{with}", entry.name),
            ));
        }
    }
    rows.extend(rigid_bodies());
    rows.extend(optimal_control::rows().into_iter().map(|(name, measure, on_threads, what)| {
        let threads = if on_threads { BOTH } else { ONE };
        Definition::new(name, Kind::OptimalControl(measure), threads, &what)
    }));
    rows.extend(
        values::rows()
            .map(|(name, measure, what)| Definition::new(name, Kind::Value(measure), ONE, &what)),
    );
    rows.extend(springs::rows().into_iter().map(|(name, measure, threads, what)| {
        Definition::new(name, Kind::Springs(measure), threads, &what)
    }));
    rows.extend([
        Definition::new(
            "policy-eval",
            Kind::Policy,
            ONE,
            "deterministic action at one state, 2×256",
        ),
        Definition::new(
            "memory",
            Kind::Memory,
            ONE,
            "peak resident memory of a SAC run, 100,000 transitions in memory, 2×256",
        ),
        Definition::new(
            "start",
            Kind::Start,
            ONE,
            "from the start of the process to the end of the first update, SAC 2×256",
        ),
    ]);
    rows
}

/// The rows about rigid bodies.
fn rigid_bodies() -> Vec<Definition> {
    const ONE: &[usize] = &[1];
    let chains = CHAINS.into_iter().map(Robot::Chain);
    let robots = [Robot::Arm, Robot::Quadruped, Robot::Humanoid].into_iter().chain(chains);
    let trees = robots.flat_map(|robot| {
        robot.algorithms().iter().map(move |&algorithm| {
            let name = format!("{}-{}", robot.name(), algorithm.name());
            let what = format!("{}: {}", robot.what(), algorithm.what());
            Definition::new(name, Kind::Tree { robot, algorithm }, ONE, &what)
        })
    });
    let planar = [Planar::Hopper, Planar::HalfCheetah].into_iter().flat_map(|model| {
        Stage::ALL.into_iter().map(move |stage| {
            let name = format!("{}-{}", model.name(), stage.name());
            let what = format!("{}: {}", model.name(), stage.what());
            Definition::new(name, Kind::Planar { model, stage }, ONE, &what)
        })
    });
    trees.chain(planar).collect()
}

/// The rows whose names begin with one of `prefixes` (all where there are none), and the peaks that
/// they are compared with.
///
/// # Errors
/// A prefix that no name begins with.
pub(super) fn select(prefixes: &[String]) -> Result<Vec<Definition>> {
    let all = definitions();
    for prefix in prefixes {
        if !all.iter().any(|row| row.name.starts_with(prefix.as_str())) {
            let valid: Vec<&str> = all.iter().map(|row| row.name.as_str()).collect();
            bail!("there is no measurement `{prefix}`; there are: {}", valid.join(", "));
        }
    }
    let is_named = |row: &Definition| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| row.name.starts_with(prefix.as_str()))
    };
    let peaks: Vec<&str> = all
        .iter()
        .filter(|row| is_named(row))
        .filter_map(Definition::precision)
        .map(peak_name)
        .collect();
    Ok(all
        .iter()
        .filter(|row| is_named(row) || peaks.contains(&row.name.as_str()))
        .cloned()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefixes: &[&str]) -> Vec<String> {
        let prefixes: Vec<String> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        select(&prefixes).unwrap().into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn prefixes_choose_rows_and_updates_bring_their_peak() {
        assert_eq!(names(&["vg-sac"]), ["peak-f32", "vg-sac-update", "vg-sac-step"]);
        assert_eq!(names(&["start", "policy"]), ["policy-eval", "start"]);
        assert_eq!(names(&["sobolev"]), ["peak-f64", "sobolev-epoch"]);
        assert_eq!(names(&["dvp-"]), ["dvp-terminal", "dvp-iteration"]);
        assert_eq!(
            names(&["pods-"]),
            [
                "pods-2d-gradient",
                "pods-double-gradient",
                "pods-horizons-riccati-25",
                "pods-horizons-riccati-50",
                "pods-horizons-riccati-100",
                "pods-horizons-riccati-200",
                "pods-horizons-riccati-400",
                "pods-horizons-dense-25",
                "pods-horizons-dense-50",
                "pods-horizons-dense-100",
                "pods-horizons-dense-200",
                "pods-horizons-dense-400",
                "pods-horizons-conjugate-gradient-25",
                "pods-horizons-conjugate-gradient-50",
                "pods-horizons-conjugate-gradient-100",
                "pods-horizons-conjugate-gradient-200",
                "pods-horizons-conjugate-gradient-400",
                "pods-rollouts",
                "pods-epoch"
            ]
        );
        assert_eq!(
            names(&["hopper", "arm-aba"]),
            [
                "arm-aba",
                "arm-aba-derivatives",
                "arm-aba-differences",
                "hopper-step",
                "hopper-jacobians",
                "hopper-differences"
            ]
        );
        assert_eq!(names(&["chain-"]).len(), 36);
        assert_eq!(names(&["ddp-unicycle-tick"]), ["ddp-unicycle-tick", "ddp-unicycle-tick-fresh"]);
        assert_eq!(names(&["ddp-"]).len(), 28);
        assert_eq!(names(&[]).len(), definitions().len());
    }

    #[test]
    fn names_are_unique() {
        let mut found = names(&[]);
        found.sort();
        found.dedup();
        assert_eq!(found.len(), definitions().len());
    }
}
