//! The discounted problem, its value by the solver, and paths.

use anyhow::{Context as _, Result, ensure};
use ddp::{Guess, Method, Problem, Settings, Solution, solve_batch};
use dynamics::{AnyCost, Task, ZeroTerminalCost};
use nalgebra::{DVector, dvector};
use serde::{Deserialize, Serialize};

use super::super::system::{System, all_converged, best_of, costs};
use super::super::truth::grid;

/// Discount, and where values and paths are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discounted {
    /// γ.
    pub(crate) discount: f64,
    /// Values are compared for x and y within ± this at θ = 0.
    pub(crate) half: f64,
    /// Grid lines of each axis.
    pub(crate) points: usize,
    /// Where paths start.
    pub(crate) start: Vec<f64>,
    /// Their steps.
    pub(crate) steps: usize,
}

/// The value of a long horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiscountedTruth {
    /// The problem.
    pub(crate) problem: Discounted,
    /// Steps of the solves; γ to this power is to be negligible.
    pub(crate) horizon: usize,
    /// Size of the controls that first guesses repeat, once with each combination of signs: at θ = 0
    /// resting is a stationary point.
    pub(crate) guess: f64,
}

/// What `result.json` of the value holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DiscountedTruthData {
    /// V on the grid, row by row from the lowest y, x rising.
    pub(crate) v: Vec<f64>,
    /// The optimal path.
    pub(crate) path: Path,
}

/// A path under control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Path {
    /// States, the start first.
    pub(crate) xs: Vec<Vec<f64>>,
    /// Σ γᵗ ℓ.
    pub(crate) cost: f64,
    /// Total variation of the states, Σ ‖xₜ₊₁ − xₜ‖₁.
    pub(crate) variation: f64,
    /// The same of the controls.
    pub(crate) control_variation: f64,
    /// Norm of the last state.
    pub(crate) distance: f64,
}

impl Discounted {
    /// The states of the grid, row by row from the lowest y, x rising.
    pub(super) fn states(&self) -> Vec<DVector<f64>> {
        let lines = grid(self.points, self.half);
        let rows = lines.iter().flat_map(|y| lines.iter().map(|x| dvector![*x, *y, 0.0]));
        rows.collect()
    }

    pub(super) fn start(&self) -> DVector<f64> {
        DVector::from_column_slice(&self.start)
    }
}

/// Signs of the controls that guesses repeat.
const SIGNS: [[f64; 2]; 4] = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]];

impl DiscountedTruth {
    /// How many solves it takes.
    pub(crate) fn solves(&self) -> usize {
        SIGNS.len() * (self.problem.points.div_ceil(2).pow(2) + 1)
    }

    /// Solves for the values.
    ///
    /// # Errors
    /// A model that fails.
    pub(crate) fn compute(&self, system: &System) -> Result<DiscountedTruthData> {
        let task = system.build()?;
        let objective = costs(task.as_task())?;
        let n = self.problem.points;
        ensure!(n >= 2, "`points` is {n}, but must be at least 2");
        // The problem is the same with x and θ mirrored, and with y and θ: one quarter is enough.
        let (first, n_quarter) = (n / 2, n - n / 2);
        let states = self.problem.states();
        let quarter = (first..n).flat_map(|row| (first..n).map(move |column| row * n + column));
        let mut starts: Vec<_> = quarter.map(|i| states[i].clone()).collect();
        starts.push(self.problem.start());
        let mut best = self.solve(task.as_task(), &starts)?;
        let path = best.pop().context("no solve")?;
        let steps = self.problem.steps.min(self.horizon);
        let from_middle = |i: usize| i.max(n - 1 - i) - first;
        let v = (0..n * n)
            .map(|i| best[from_middle(i / n) * n_quarter + from_middle(i % n)].cost)
            .collect();
        Ok(DiscountedTruthData {
            v,
            path: Path::new(
                objective.stage,
                self.problem.discount,
                &path.xs[..=steps],
                &path.us[..steps],
            ),
        })
    }

    /// The best solution of each start.
    ///
    /// # Errors
    /// A model that fails.
    pub(super) fn solve(&self, task: &dyn Task, starts: &[DVector<f64>]) -> Result<Vec<Solution>> {
        let objective = costs(task)?;
        let (model, terminal) = (task.nominal(), ZeroTerminalCost { ndx: starts[0].len() });
        let problem = Problem {
            discount: self.problem.discount,
            ..Problem::new(&model, &objective.stage, &terminal, self.horizon)
        };
        let best = best_of(SIGNS, |signs| {
            let u = DVector::from_iterator(2, signs.map(|sign| sign * self.guess));
            let guess = |_| Guess::Repeat(&u);
            let found = solve_batch(&problem, Method::Fddp, &Settings::default(), starts, guess)?;
            Ok(found.into_iter().collect::<Result<_, _>>()?)
        })?;
        all_converged(&best)?;
        Ok(best)
    }
}

impl Path {
    /// With the cost and the variation of its steps.
    pub(super) fn new(
        stage: &dyn AnyCost,
        discount: f64,
        xs: &[DVector<f64>],
        us: &[DVector<f64>],
    ) -> Self {
        let mut ws = stage.any_workspace();
        let (mut cost, mut weight) = (0.0, 1.0);
        for (t, (x, u)) in xs.iter().zip(us).enumerate() {
            cost += weight * stage.any_stage(&mut ws, t, x, u);
            weight *= discount;
        }
        let variation = |list: &[DVector<f64>]| -> f64 {
            list.windows(2).map(|pair| (&pair[1] - &pair[0]).lp_norm(1)).sum()
        };
        Self {
            cost,
            variation: variation(xs),
            control_variation: variation(us),
            distance: xs.last().map_or(f64::NAN, DVector::norm),
            xs: xs.iter().map(|x| x.as_slice().to_vec()).collect(),
        }
    }
}
