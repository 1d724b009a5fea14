//! The small systems of the paper with weights and boxes of starts.
//!
//! The paper prints neither. What stands here was found by matching its figures.

use std::f64::consts::PI;

use anyhow::{Context as _, Result, bail};
use bench_tasks::{BenchTask, Preset, Variant};
use ddp::{Guess, Method, Problem, Settings, Solution, Status, solve_batch};
use dynamics::{Objective, Stream, Task, TerminalCost};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};
use toml::Table;

/// A task with its settings, and the box about the goal from which starts are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct System {
    /// Name of the task.
    pub(crate) task: String,
    /// Half-widths of the box about the origin, which is the goal of all of them.
    pub(crate) spread: Vec<f64>,
    /// Settings of the task.
    pub(crate) settings: Table,
}

impl System {
    /// A unicycle that is to drive to the origin, ½(w_x² ‖x‖² + w_u² ‖u‖²) per step.
    fn unicycle(state_weight: f64, control_weight: f64, spread: [f64; 3]) -> Result<Self> {
        Self::new("unicycle", [state_weight, control_weight], spread.to_vec())
    }

    /// Set A, of figures 1 and 3: w_x = w_u = √2/10 and starts with x, y in ±2.1 and θ in ±2π. At
    /// short horizons the cost that they miss is that of figure 3 within a factor of two.
    pub(crate) fn unicycle_a() -> Result<Self> {
        Self::unicycle(0.1414, 0.1414, [2.1, 2.1, 2.0 * PI])
    }

    /// Set B, of figures 2 and 6 to 8: w_x = 0.1 and w_u = 0.2, which give the end points of figure
    /// 2 and the colour scales of figure 6.
    pub(crate) fn unicycle_b() -> Result<Self> {
        Self::unicycle(0.1, 0.2, [2.0, 2.0, PI])
    }

    /// Set B with starts that cover the path of figure 2.
    pub(crate) fn unicycle_b_path() -> Result<Self> {
        Self::unicycle(0.1, 0.2, [1.6, 1.3, 1.3])
    }

    /// Set B with starts about the square of figure 6.
    pub(crate) fn unicycle_b_near() -> Result<Self> {
        Self::unicycle(0.1, 0.2, [1.0, 1.0, 1.0])
    }

    /// The cart-pole, w_x ‖x‖² + w_u ‖u‖² per step, w_u/w_x = 0.03, starts in ±0.5. The ratio gives
    /// the shares of the cost that short horizons miss in the paper, the size an rms value of 0.03.
    pub(crate) fn cartpole() -> Result<Self> {
        Self::new("cartpole-gym", [1.75e-4, 5.25e-6], vec![0.5; 4])
    }

    /// The pendulum, w_x ‖x‖² + w_u ‖u‖² per step, θ in ±π and its speed in ±1. The ratio of the
    /// weights is the cart-pole's, their size gives the same rms value of 0.03.
    pub(crate) fn pendulum() -> Result<Self> {
        Self::new("pendulum-ddp", [2.634e-4, 7.9e-6], vec![PI, 1.0])
    }

    fn new(task: &str, [state, control]: [f64; 2], spread: Vec<f64>) -> Result<Self> {
        let mut settings = (bench_tasks::find(task)?.settings)(Preset::Released)?;
        let origin = vec![toml::Value::Float(0.0); spread.len()];
        for (key, value) in [
            ("state_weight", toml::Value::Float(state)),
            ("control_weight", toml::Value::Float(control)),
            // Where a terminal cost is used at all, it is the cost of one more step.
            ("terminal_weight", toml::Value::Array(vec![toml::Value::Float(state)])),
            ("x0", toml::Value::Array(origin)),
        ] {
            settings.insert(key.to_owned(), value);
        }
        Ok(Self { task: task.to_owned(), spread, settings })
    }

    /// The task.
    ///
    /// # Errors
    /// Settings that the task refuses.
    pub(crate) fn build(&self) -> Result<Box<dyn BenchTask>> {
        Ok((bench_tasks::find(&self.task)?.build)(Variant::Nominal, &self.settings)?)
    }

    /// `n` starts from the box.
    pub(crate) fn starts(&self, stream: &mut Stream, n: usize) -> Vec<DVector<f64>> {
        let mut draw = || {
            let entries = self.spread.iter().map(|s| stream.uniform(-s, *s));
            DVector::from_vec(entries.collect())
        };
        (0..n).map(|_| draw()).collect()
    }

    /// The state that all of them are driven to.
    pub(crate) fn goal(&self) -> DVector<f64> {
        DVector::zeros(self.spread.len())
    }
}

/// Solves from every start with resting controls as the guess.
///
/// # Errors
/// A model that fails.
pub(crate) fn solve<E: TerminalCost>(
    task: &dyn Task,
    terminal: &E,
    horizon: usize,
    method: Method,
    starts: &[DVector<f64>],
) -> Result<Vec<Solution>> {
    solve_from(task, terminal, horizon, method, starts, None)
}

/// [`solve`] with these controls repeated as the guess, where there are any.
///
/// # Errors
/// A model that fails.
pub(crate) fn solve_from<E: TerminalCost>(
    task: &dyn Task,
    terminal: &E,
    horizon: usize,
    method: Method,
    starts: &[DVector<f64>],
    controls: Option<&DVector<f64>>,
) -> Result<Vec<Solution>> {
    let objective = costs(task)?;
    let model = task.nominal();
    let problem = Problem::new(&model, &objective.stage, terminal, horizon);
    let guess = |_| Guess::Repeat(controls.unwrap_or(objective.us0));
    let solutions = solve_batch(&problem, method, &Settings::default(), starts, guess)?;
    Ok(solutions.into_iter().collect::<Result<_, _>>()?)
}

/// Refuses solutions that did not converge: what is measured against them must be optimal.
///
/// # Errors
/// How many did not, and how the first of them ended.
pub(crate) fn all_converged(solutions: &[Solution]) -> Result<()> {
    let stuck: Vec<_> = solutions.iter().filter(|s| s.status != Status::Converged).collect();
    if let Some(first) = stuck.first() {
        let (n, all, start) = (stuck.len(), solutions.len(), first.xs[0].as_slice());
        bail!("{n} of {all} long solves did not converge: from {start:?} {:?}", first.status);
    }
    Ok(())
}

/// The best solution of each start over several guesses, controls that are repeated.
///
/// # Errors
/// A model that fails.
pub(crate) fn solve_from_all<E: TerminalCost>(
    task: &dyn Task,
    terminal: &E,
    horizon: usize,
    method: Method,
    starts: &[DVector<f64>],
    guesses: &[Option<DVector<f64>>],
) -> Result<Vec<Solution>> {
    best_of(guesses, |guess| solve_from(task, terminal, horizon, method, starts, guess.as_ref()))
}

/// The best solution of each start over several guesses, which `solve` solves from.
///
/// # Errors
/// What `solve` reports.
pub(crate) fn best_of<G>(
    guesses: impl IntoIterator<Item = G>,
    mut solve: impl FnMut(G) -> Result<Vec<Solution>>,
) -> Result<Vec<Solution>> {
    let mut best: Vec<Solution> = Vec::new();
    for guess in guesses {
        let found = solve(guess)?;
        best = match best.is_empty() {
            true => found,
            false => best.into_iter().zip(found).map(|(a, b)| better(a, b)).collect(),
        };
    }
    Ok(best)
}

/// The costs that a task is the sum of.
///
/// # Errors
/// A task without.
pub(crate) fn costs(task: &dyn Task) -> Result<Objective<'_>> {
    task.objective().with_context(|| format!("`{}` has no costs", task.name()))
}

/// Guesses for the unicycle: at rest, and turning to either side, since a start on the line x = 0
/// gives a solver at rest no reason to turn.
pub(crate) fn turning_guesses(turn: f64) -> Vec<Option<DVector<f64>>> {
    let turning = [-turn, turn].map(|turn| Some(DVector::from_vec(vec![0.0, turn])));
    [None].into_iter().chain(turning).collect()
}

/// The better of two solves of one problem from different guesses: one that converged before one
/// that did not, then the cheaper one.
fn better(a: Solution, b: Solution) -> Solution {
    let rank = |s: &Solution| (s.status != Status::Converged, s.cost);
    if rank(&b) < rank(&a) { b } else { a }
}
