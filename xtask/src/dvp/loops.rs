//! Runs of the loop, measured after every iteration (figures 1, 3 and 4) or on a plane (figure 6).

use agents::dvp::{Dvp, DvpSettings, mean_squared_difference, values};
use anyhow::Result;
use dynamics::Task;
use serde::{Deserialize, Serialize};

use super::cell::Work;
use super::system::System;
use super::truth::{Truth, TruthData};

/// A run of the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Loop {
    /// What it is measured against.
    pub(crate) truth: Truth,
    /// The loop.
    pub(crate) settings: DvpSettings,
}

/// What `result.json` of a run holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoopResult {
    /// Steps of the ground truth's horizon.
    pub(crate) truth_horizon: usize,
    /// States at which everything is measured.
    pub(crate) states: usize,
    /// One row per iteration.
    pub(crate) iterations: Vec<LoopRow>,
}

/// A run of the loop whose last gradient is drawn as a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MapLoop {
    /// The map's ground truth.
    pub(crate) truth: Truth,
    /// The loop.
    pub(crate) settings: DvpSettings,
}

/// What `result.json` of a map holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MapResult {
    /// Steps of the ground truth's horizon.
    pub(crate) truth_horizon: usize,
    /// V_x of the network at every state of the ground truth.
    pub(crate) vx: Vec<Vec<f64>>,
    /// Root mean square error of each entry.
    pub(crate) rms: Vec<f64>,
}

/// An iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoopRow {
    /// Mean squared difference to the ground truth.
    pub(crate) error: f64,
    /// The same of V(x) − V(goal): without what is constant.
    pub(crate) error_from_goal: f64,
    /// V at the goal, which is 0 in truth.
    pub(crate) value_at_goal: f64,
    /// Mean squared difference to the network before; absent for the first.
    pub(crate) residual: Option<f64>,
    /// Solves used.
    pub(crate) solved: usize,
    /// Solves rejected.
    pub(crate) rejected: usize,
    /// Mean iterations of the solver.
    pub(crate) solver_iterations: f64,
    /// Error of the values that were learned, in the last epoch.
    pub(crate) fit_v: f64,
    /// The same of the gradients.
    pub(crate) fit_vx: Option<f64>,
}

impl Loop {
    /// Runs it; nothing if it was asked to stop.
    ///
    /// # Errors
    /// What the loop reports.
    pub(crate) fn run(
        &self,
        system: &System,
        seed: u64,
        truth: &TruthData,
        work: &mut Work<'_>,
    ) -> Result<Option<LoopResult>> {
        let task = system.build()?;
        let (states, goal) = (truth.states(), [system.goal()]);
        let mut rows: Vec<LoopRow> = Vec::new();
        let mut before: Option<Vec<f64>> = None;
        let done = train(task.as_task(), &self.settings, seed, work, |dvp, row| {
            let v = values(dvp.network(), &states);
            let value_at_goal = values(dvp.network(), &goal)[0];
            let moved: Vec<f64> = v.iter().map(|v| v - value_at_goal).collect();
            let last = row.fit.last();
            rows.push(LoopRow {
                error: mean_squared_difference(&v, &truth.v),
                error_from_goal: mean_squared_difference(&moved, &truth.v),
                value_at_goal,
                residual: before.as_ref().map(|before| mean_squared_difference(before, &v)),
                solved: row.solved,
                rejected: row.rejected,
                solver_iterations: row.solver_iterations,
                fit_v: last.map_or(0.0, |epoch| epoch.train.v),
                fit_vx: last.and_then(|epoch| epoch.train.vx),
            });
            before = Some(v);
        })?;
        let states = truth.v.len();
        Ok(done.map(|_| LoopResult { truth_horizon: truth.horizon, states, iterations: rows }))
    }
}

impl MapLoop {
    /// Runs it; nothing if it was asked to stop.
    ///
    /// # Errors
    /// What the loop reports.
    pub(crate) fn run(
        &self,
        system: &System,
        seed: u64,
        truth: &TruthData,
        work: &mut Work<'_>,
    ) -> Result<Option<MapResult>> {
        let task = system.build()?;
        let Some(dvp) = train(task.as_task(), &self.settings, seed, work, |_, _| {})? else {
            return Ok(None);
        };
        let network = dvp.network();
        let (n, nx) = (truth.x.len(), network.nx());
        let (mut v, mut vx) = (vec![0.0; n], vec![0.0; n * nx]);
        network.value_and_gradient(&truth.x.concat(), &mut network.workspace(n), &mut v, &mut vx);
        let vx: Vec<Vec<f64>> = vx.chunks_exact(nx).map(<[f64]>::to_vec).collect();
        let rms = (0..nx).map(|i| root_mean_square(&vx, &truth.vx, i)).collect();
        Ok(Some(MapResult { truth_horizon: truth.horizon, rms, vx }))
    }
}

/// Root mean square difference of entry `i`.
fn root_mean_square(a: &[Vec<f64>], b: &[Vec<f64>], i: usize) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a[i] - b[i]).powi(2));
    (squares.sum::<f64>() / a.len() as f64).sqrt()
}

/// Runs the loop to its end, shown to `watch` after every iteration; nothing if it was asked to
/// stop.
///
/// # Errors
/// What the loop reports.
pub(crate) fn train<'a>(
    task: &'a dyn Task,
    settings: &DvpSettings,
    seed: u64,
    work: &mut Work<'_>,
    mut watch: impl FnMut(&Dvp<'a>, &agents::dvp::DvpIteration),
) -> Result<Option<Dvp<'a>>> {
    let mut dvp = Dvp::new(task, settings, seed)?;
    for _ in 0..settings.iterations {
        if work.stopped() {
            return Ok(None);
        }
        let row = dvp.iterate()?;
        work.advance(settings.fit.epochs as u64);
        watch(&dvp, &row);
    }
    Ok(Some(dvp))
}
