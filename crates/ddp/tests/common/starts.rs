//! Solves from many random starts, and what to say about them.

use std::fmt;

use ddp::{Guess, Method, Problem, Settings, Solution, Status, solve_batch};
use dynamics::{Cost, Dynamics, Stream, TerminalCost};
use nalgebra::DVector;

/// `n` states uniform in the box `middle` ± `spread`.
pub(crate) fn random_starts(n: usize, middle: &[f64], spread: &[f64]) -> Vec<DVector<f64>> {
    let s = &mut Stream::new(0, "hard starts", 0);
    let mut start =
        || DVector::from_fn(middle.len(), |i, _| middle[i] + s.uniform(-spread[i], spread[i]));
    (0..n).map(|_| start()).collect()
}

/// Solutions from all starts, with zero controls as the guess.
pub(crate) fn solve_all<D: Dynamics, C: Cost, E: TerminalCost>(
    problem: &Problem<'_, D, C, E>,
    method: Method,
    settings: &Settings,
    starts: &[DVector<f64>],
) -> Vec<Solution> {
    let u = DVector::zeros(problem.dynamics.nu());
    let solutions = solve_batch(problem, method, settings, starts, |_| Guess::Repeat(&u)).unwrap();
    solutions.into_iter().map(Result::unwrap).collect()
}

/// How a set of solves went.
pub(crate) struct Tally {
    pub(crate) solves: usize,
    pub(crate) converged: usize,
    /// Solves that ended in each other way.
    pub(crate) limit: usize,
    pub(crate) stuck: usize,
    pub(crate) other: usize,
    /// Iterations of those that converged: median, 90th percentile, most.
    pub(crate) median: usize,
    pub(crate) slow: usize,
    pub(crate) slowest: usize,
    /// Median cost of those that converged.
    pub(crate) cost: f64,
}

impl Tally {
    pub(crate) fn of(solutions: &[Solution]) -> Self {
        let count = |status| solutions.iter().filter(|s| s.status == status).count();
        let done = || solutions.iter().filter(|s| s.status == Status::Converged);
        let mut iterations: Vec<_> = done().map(|s| s.iterations).collect();
        iterations.sort_unstable();
        let mut costs: Vec<_> = done().map(|s| s.cost).collect();
        costs.sort_unstable_by(f64::total_cmp);
        let rank =
            |percent: usize| (iterations.len() * percent / 100).min(iterations.len().max(1) - 1);
        let at = |percent| iterations.get(rank(percent)).copied().unwrap_or(0);
        let (converged, limit) = (count(Status::Converged), count(Status::IterationLimit));
        let stuck = count(Status::LineSearchFailed);
        Self {
            solves: solutions.len(),
            converged,
            limit,
            stuck,
            other: solutions.len() - converged - limit - stuck,
            median: at(50),
            slow: at(90),
            slowest: at(100),
            cost: costs.get(rank(50)).copied().unwrap_or(f64::NAN),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { solves, converged, limit, stuck, other, median, slow, slowest, cost } = self;
        write!(
            f,
            "{converged:4} of {solves} (limit {limit}, stuck {stuck}, other {other}), iterations \
             {median}/{slow}/{slowest}, median cost {cost:.4}"
        )
    }
}
