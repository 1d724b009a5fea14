//! Ground truth: values and gradients of a long horizon at fixed states, once per system.

use anyhow::{Result, ensure};
use ddp::{Method, Status};
use dynamics::{Stream, ZeroTerminalCost};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::system::{System, all_converged, solve_from_all, turning_guesses};

/// Which states, and how long the horizon is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Truth {
    /// Steps of the horizon, behind which nothing is paid.
    pub(crate) horizon: usize,
    /// The states.
    pub(crate) states: States,
}

/// Where the states lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "where", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum States {
    /// At random in the system's box, the same for all seeds.
    Box {
        /// How many.
        n: usize,
    },
    /// On an even grid over the first two entries, the others 0. An even number of grid lines
    /// leaves out 0, where starts are symmetric and a solver finds no reason to turn.
    Plane {
        /// Grid lines of each axis.
        n: usize,
        /// Half-width.
        half: f64,
        /// Grids are solved from three guesses, at rest and with the second control at ±`turn`, and
        /// the best counts.
        turn: f64,
    },
}

/// Guesses from which each state of a plane is solved.
const PLANE_GUESSES: usize = 3;

/// What `result.json` of ground truth holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TruthData {
    /// Steps of the horizon.
    pub(crate) horizon: usize,
    /// The states.
    pub(crate) x: Vec<Vec<f64>>,
    /// V at each.
    pub(crate) v: Vec<f64>,
    /// V_x at each.
    pub(crate) vx: Vec<Vec<f64>>,
    /// Random states whose solve did not converge; they were left out.
    pub(crate) left_out: usize,
}

impl TruthData {
    /// The states as vectors.
    pub(crate) fn states(&self) -> Vec<DVector<f64>> {
        self.x.iter().map(|x| DVector::from_column_slice(x)).collect()
    }
}

/// Grid lines of a plane.
pub(crate) fn grid(n: usize, half: f64) -> Vec<f64> {
    let step = 2.0 * half / n.saturating_sub(1).max(1) as f64;
    (0..n).map(|i| -half + step * i as f64).collect()
}

impl Truth {
    /// How many solves it takes.
    pub(crate) fn solves(&self) -> usize {
        match self.states {
            States::Box { n } => n,
            States::Plane { n, .. } => n * n * PLANE_GUESSES,
        }
    }

    /// Solves for the values.
    ///
    /// # Errors
    /// A model that fails, no solve that converges.
    pub(crate) fn compute(&self, system: &System) -> Result<TruthData> {
        let task = system.build()?;
        let task = task.as_task();
        let terminal = ZeroTerminalCost { ndx: system.spread.len() };
        let (starts, guesses) = self.starts(system);
        let (terminal, horizon) = (&terminal, self.horizon);
        let best = solve_from_all(task, terminal, horizon, Method::Fddp, &starts, &guesses)?;
        // A grid must be whole; of random states those that did not converge are left out.
        if matches!(self.states, States::Plane { .. }) {
            all_converged(&best)?;
        }
        let n = best.len();
        let kept: Vec<_> = best.into_iter().filter(|s| s.status == Status::Converged).collect();
        ensure!(!kept.is_empty(), "none of {n} solves over {} steps converged", self.horizon);
        Ok(TruthData {
            horizon: self.horizon,
            left_out: n - kept.len(),
            x: kept.iter().map(|s| s.xs[0].as_slice().to_vec()).collect(),
            v: kept.iter().map(|s| s.cost).collect(),
            vx: kept.iter().map(|s| s.vx[0].as_slice().to_vec()).collect(),
        })
    }

    /// The states, and the controls that guesses repeat; none for those at rest.
    fn starts(&self, system: &System) -> (Vec<DVector<f64>>, Vec<Option<DVector<f64>>>) {
        match self.states {
            States::Box { n } => {
                (system.starts(&mut Stream::new(0, "dvp ground truth", 0), n), vec![None])
            }
            States::Plane { n, half, turn } => {
                let lines = grid(n, half);
                let at = |y: f64, x: f64| {
                    let mut state = system.goal();
                    (state[0], state[1]) = (x, y);
                    state
                };
                let rows = lines.iter().flat_map(|y| lines.iter().map(|x| at(*y, *x)));
                (rows.collect(), turning_guesses(turn))
            }
        }
    }
}
