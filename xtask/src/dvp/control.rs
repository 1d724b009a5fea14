//! What a learned value is good for: short horizons that end in it, planned once (figure 2) and in
//! a closed loop.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use agents::dvp::DvpSettings;
use anyhow::Result;
use ddp::{ClosedLoop, Method, Mpc, MpcSettings, Problem, Settings, TickSchedule};
use dynamics::{Objective, Stream, Task, TerminalCost, ZeroTerminalCost};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::cell::Work;
use super::loops::train;
use super::system::{System, all_converged, costs, solve, solve_from_all, turning_guesses};

/// Plans of several horizons from one start, with a learned value at their end and without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paths {
    /// Where they start.
    pub(crate) start: Vec<f64>,
    /// Steps of the plans.
    pub(crate) horizons: Vec<usize>,
    /// Steps of the plan that they are compared with.
    pub(crate) reference: usize,
    /// The loop that learns the value.
    pub(crate) settings: DvpSettings,
}

/// What `result.json` of the plans holds; points are (x, y).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PathsResult {
    /// The plan of the long horizon, its end cost that of one more step.
    pub(crate) reference: Vec<[f64; 2]>,
    /// Plans with the learned value, by horizon.
    pub(crate) with_value: BTreeMap<usize, Vec<[f64; 2]>>,
    /// Plans without, likewise; their end cost is that of one more step.
    pub(crate) without: BTreeMap<usize, Vec<[f64; 2]>>,
}

/// Closed loops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClosedLoops {
    /// Starts, the same for all seeds.
    pub(crate) starts: usize,
    /// Steps of each run, with a plan in every one.
    pub(crate) ticks: usize,
    /// Horizons that end in the learned value.
    pub(crate) with_value: Vec<usize>,
    /// Horizons that do not; their end cost is that of one more step.
    pub(crate) without: Vec<usize>,
    /// Iterations of a plan at most.
    pub(crate) iterations: usize,
    /// Steps of the horizon that gives the best cost, and the cost of what follows a run.
    pub(crate) reference: usize,
    /// The loop that learns the value.
    pub(crate) settings: DvpSettings,
}

/// What `result.json` of closed loops holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClosedLoopsResult {
    /// Controllers that end in the learned value.
    pub(crate) with_value: Vec<Controller>,
    /// Controllers that do not.
    pub(crate) without: Vec<Controller>,
}

/// A controller over all starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Controller {
    /// Steps of its horizon.
    pub(crate) horizon: usize,
    /// (J − V)/V: sum of the costs J of all runs and what follows them, against the sum of the
    /// values V of the long horizon.
    pub(crate) excess: f64,
    /// Mean iterations of the first plan of a run.
    pub(crate) first_iterations: f64,
    /// Mean iterations of a later one.
    pub(crate) iterations: f64,
}

/// Mean microseconds of a plan after the first, for `timing.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TickTimes {
    /// Of the controllers that end in the learned value.
    pub(crate) with_value: Vec<f64>,
    /// Of those that do not.
    pub(crate) without: Vec<f64>,
}

impl Paths {
    /// Runs it; nothing if it was asked to stop.
    ///
    /// # Errors
    /// What loop and solver report.
    pub(crate) fn run(
        &self,
        system: &System,
        seed: u64,
        work: &mut Work<'_>,
    ) -> Result<Option<PathsResult>> {
        let task = system.build()?;
        let task = task.as_task();
        let Some(dvp) = train(task, &self.settings, seed, work, |_, _| {})? else {
            return Ok(None);
        };
        let objective = costs(task)?;
        let reference = self.plan(task, &objective.terminal, self.reference)?;
        let plans = |terminal: &dyn Fn(usize) -> Result<Vec<[f64; 2]>>| {
            self.horizons
                .iter()
                .map(|t| Ok((*t, terminal(*t)?)))
                .collect::<Result<BTreeMap<_, _>>>()
        };
        let learned = dvp.terminal_cost();
        let with_value = plans(&|horizon| self.plan(task, &learned, horizon))?;
        let without = plans(&|horizon| self.plan(task, &objective.terminal, horizon))?;
        Ok(Some(PathsResult { reference, with_value, without }))
    }

    fn plan<E: TerminalCost>(
        &self,
        task: &dyn Task,
        terminal: &E,
        horizon: usize,
    ) -> Result<Vec<[f64; 2]>> {
        let start = DVector::from_column_slice(&self.start);
        let solutions = solve(task, terminal, horizon, Method::Fddp, &[start])?;
        all_converged(&solutions)?;
        Ok(solutions.iter().flat_map(|s| s.xs.iter().map(|x| [x[0], x[1]])).collect())
    }
}

impl ClosedLoops {
    /// Runs it; nothing if it was asked to stop.
    ///
    /// # Errors
    /// What loop and solver report.
    pub(crate) fn run(
        &self,
        system: &System,
        seed: u64,
        work: &mut Work<'_>,
    ) -> Result<Option<(ClosedLoopsResult, TickTimes)>> {
        let task = system.build()?;
        let task = task.as_task();
        let Some(dvp) = train(task, &self.settings, seed, work, |_, _| {})? else {
            return Ok(None);
        };
        let objective = costs(task)?;
        let starts = system.starts(&mut Stream::new(0, "dvp closed loops", 0), self.starts);
        let best = self.long_values(task, &starts)?;
        let learned = dvp.terminal_cost();
        let (mut result, mut times) =
            (ClosedLoopsResult { with_value: vec![], without: vec![] }, TickTimes::default());
        for horizon in &self.with_value {
            let Some((row, time)) =
                self.controller(task, &learned, *horizon, &starts, best, work)?
            else {
                return Ok(None);
            };
            result.with_value.push(row);
            times.with_value.push(time);
        }
        for horizon in &self.without {
            let end = &objective.terminal;
            let Some((row, time)) = self.controller(task, end, *horizon, &starts, best, work)?
            else {
                return Ok(None);
            };
            result.without.push(row);
            times.without.push(time);
        }
        Ok(Some((result, times)))
    }

    /// Sum of the values of the long horizon.
    fn long_values(&self, task: &dyn Task, states: &[DVector<f64>]) -> Result<f64> {
        let zero = ZeroTerminalCost { ndx: task.nominal().any_ndx() };
        // Runs end near the line x = 0, where a solve from rest finds no reason to turn and first
        // order in the dynamics creeps.
        let guesses = turning_guesses(0.1 * PI);
        let solutions = solve_from_all(task, &zero, self.reference, Method::Ddp, states, &guesses)?;
        all_converged(&solutions)?;
        Ok(solutions.iter().map(|s| s.cost).sum())
    }

    fn controller<E: TerminalCost>(
        &self,
        task: &dyn Task,
        terminal: &E,
        horizon: usize,
        starts: &[DVector<f64>],
        best: f64,
        work: &Work<'_>,
    ) -> Result<Option<(Controller, f64)>> {
        let objective = costs(task)?;
        let model = task.nominal();
        let problem = Problem::new(&model, &objective.stage, terminal, horizon);
        let plan = MpcSettings { iterations: self.iterations, ..MpcSettings::default() };
        let schedule = TickSchedule { steps_per_tick: 1, nodes_per_step: 1.0 };
        let (mut paid, mut first, mut later, mut seconds) = (0.0, 0.0, 0.0, 0.0);
        let mut ends = Vec::new();
        for start in starts {
            if work.stopped() {
                return Ok(None);
            }
            let mut mpc =
                Mpc::new(problem, Method::Fddp, Settings::default(), plan, objective.us0)?;
            let run = mpc.run(&model, start, self.ticks, schedule, |_, _| {})?;
            paid += stage_costs(&objective, &run);
            if let Some((tick, rest)) = run.ticks.split_first() {
                first += tick.iterations as f64;
                later += rest.iter().map(|tick| tick.iterations as f64).sum::<f64>();
                seconds += rest.iter().map(|tick| tick.seconds).sum::<f64>();
            }
            ends.extend(run.xs.into_iter().next_back());
        }
        let runs = starts.len().max(1) as f64;
        let plans = runs * self.ticks.saturating_sub(1).max(1) as f64;
        let excess = (paid + self.long_values(task, &ends)? - best) / best;
        let (first_iterations, iterations) = (first / runs, later / plans);
        let row = Controller { horizon, excess, first_iterations, iterations };
        Ok(Some((row, 1e6 * seconds / plans)))
    }
}

fn stage_costs(objective: &Objective<'_>, run: &ClosedLoop) -> f64 {
    let mut ws = objective.stage.any_workspace();
    let steps = run.xs.iter().zip(&run.us).enumerate();
    steps.map(|(t, (x, u))| objective.stage.any_stage(&mut ws, t, x, u)).sum()
}
