//! Solves from many random starts: how many converge, in how many iterations, and whether every step
//! keeps the rule.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use ddp::{Guess, IterationRow, Method, Settings, Solution, Status, solve_batch};
use serde::Serialize;

use super::problem::{Definition, HARD};
use crate::progress::tell;

/// Costs of two methods that differ by less than this share are those of one optimum.
const SAME: f64 = 1e-3;

/// One problem.
#[derive(Debug, Serialize)]
pub(super) struct HardStarts {
    pub(super) problem: &'static str,
    pub(super) horizon: usize,
    /// Where it starts, in words.
    pub(super) starts: &'static str,
    pub(super) methods: Vec<Outcome>,
}

/// How one method did.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) method: &'static str,
    pub(super) solves: usize,
    /// Solves by why they ended.
    pub(super) ended: BTreeMap<&'static str, usize>,
    pub(super) converged: usize,
    /// Of the iterations of those that converged: 10th, 50th and 90th percentile and the most.
    pub(super) quantiles: Option<[usize; 4]>,
    /// Median cost of those that converged.
    pub(super) median_cost: Option<f64>,
    /// Solves that converged to the best optimum that any method found from their start.
    pub(super) best: usize,
    /// Steps that were accepted, and those of them that break the rule.
    pub(super) steps: usize,
    pub(super) violations: usize,
    /// Iterations of every solve, in the order of the starts; none where it did not converge.
    pub(super) iterations: Vec<Option<usize>>,
}

/// Settings of every solve: the defaults with the limit that the field's hard problems are given.
pub(super) fn settings() -> Settings {
    Settings { max_iterations: 1000, ..Settings::default() }
}

/// Every problem from `n` starts by every method for it.
///
/// # Errors
/// Problems that cannot be built, models that fail.
pub(super) fn study(n: u32, seed: u64) -> Result<Vec<HardStarts>> {
    HARD.into_iter().map(|definition| of(definition, n, seed)).collect()
}

fn of(definition: Definition, n: u32, seed: u64) -> Result<HardStarts> {
    let Definition { name, methods, starts: words, .. } = definition;
    let built = definition.build()?;
    let (model, objective) = built.parts()?;
    let problem = built.problem(&model, &objective);
    let starts = built.starts(n, seed);
    let us: Vec<_> = starts.iter().map(|x0| built.u_guess(x0)).collect::<Result<_>>()?;
    let mut solutions = Vec::new();
    for &method in methods {
        tell(&format!("hard starts: {name}, {method}"));
        let found = solve_batch(&problem, method, &settings(), &starts, |i| Guess::Repeat(&us[i]))?;
        let found: Result<Vec<_>, _> = found.into_iter().collect();
        let found = found.with_context(|| format!("a solve of `{name}` by {method} failed"))?;
        solutions.push((method, found));
    }
    // The least cost of each start.
    let costs = |i: usize| {
        let all = solutions.iter().map(move |(_, found)| &found[i]);
        all.filter(|found| found.status == Status::Converged).map(|found| found.cost)
    };
    let best: Vec<f64> =
        (0..starts.len()).map(|i| costs(i).fold(f64::INFINITY, f64::min)).collect();
    let methods = solutions.iter().map(|(method, found)| outcome(*method, found, &best)).collect();
    Ok(HardStarts { problem: name, horizon: built.horizon(), starts: words, methods })
}

fn outcome(method: Method, solutions: &[Solution], best: &[f64]) -> Outcome {
    let mut ended = BTreeMap::new();
    for solution in solutions {
        *ended.entry(solution.status.name()).or_default() += 1;
    }
    let iterations: Vec<Option<usize>> =
        solutions.iter().map(|s| (s.status == Status::Converged).then_some(s.iterations)).collect();
    let done = || solutions.iter().zip(best).filter(|(s, _)| s.status == Status::Converged);
    let mut sorted: Vec<usize> = iterations.iter().copied().flatten().collect();
    sorted.sort_unstable();
    let mut costs: Vec<f64> = done().map(|(s, _)| s.cost).collect();
    costs.sort_unstable_by(f64::total_cmp);
    let logs = || solutions.iter().map(|s| &s.log[..]);
    let steps = logs().flatten().filter(|row| row.step > 0.0).count();
    Outcome {
        method: method.name(),
        solves: solutions.len(),
        ended,
        converged: sorted.len(),
        quantiles: (!sorted.is_empty())
            .then(|| [10, 50, 90, 100].map(|p| quantile(&sorted, p).unwrap_or_default())),
        median_cost: quantile(&costs, 50),
        best: done().filter(|(s, best)| s.cost <= *best * (1.0 + SAME)).count(),
        steps,
        violations: logs().map(|log| violations(method, log)).sum(),
        iterations,
    }
}

/// The value that `percent` of the sorted values do not exceed.
fn quantile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Accepted steps that break the rule of acceptance.
fn violations(method: Method, log: &[IterationRow]) -> usize {
    // A limited method that got stuck closes its gaps by any step.
    let stuck = log.iter().position(|row| row.step == 0.0).filter(|_| method == Method::BoxFddp);
    let excused = |row: &&IterationRow| row.feas > 0.0 && stuck.is_some_and(|at| row.iter > at);
    let accepted = log.iter().filter(|row| row.step > 0.0 && !excused(row));
    accepted.filter(|row| !keeps_rule(method, row)).count()
}

/// From a feasible iterate the cost does not rise by more than its rounding error. With gaps a
/// feasibility-driven method gains a share of what it expects or, where it expects a rise, rises by at
/// most a multiple of that; the others may take any step, since it closes the gaps. The guess counts
/// as one with gaps.
fn keeps_rule(method: Method, row: &IterationRow) -> bool {
    let Settings { accept_ratio, accept_rise, min_slope, .. } = settings();
    // No cost of these problems is negative, so that the cost is the scale of its rounding error.
    let rounding = min_slope.max(8.0 * f64::EPSILON * (row.cost + row.dv).abs());
    if row.feas == 0.0 && row.iter > 0 {
        return row.dv >= -rounding;
    }
    if !matches!(method, Method::Fddp | Method::BoxFddp) {
        return true;
    }
    match row.dv_exp < 0.0 {
        true => row.dv > accept_rise * row.dv_exp,
        false => row.dv > accept_ratio * row.dv_exp || row.grad.abs() < rounding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(feas: f64, dv_exp: f64, dv: f64) -> IterationRow {
        let (iter, cost, stop, grad, reg, step) = (3, 1.0, 1.0, 1.0, 1e-9, 1.0);
        IterationRow { iter, cost, stop, grad, reg, step, feas, dv_exp, dv }
    }

    #[test]
    fn rises_are_counted_from_feasible_iterates_and_beyond_the_allowance_from_others() {
        let count = |method, rows: &[IterationRow]| violations(method, rows);
        let feasible = [row(0.0, 0.1, 0.05), row(0.0, 0.1, -1e-13), row(0.0, 0.1, -1e-9)];
        assert_eq!(count(Method::Ilqr, &feasible), 1);
        let rejected = IterationRow { step: 0.0, ..feasible[2] };
        assert_eq!(count(Method::Ilqr, &[rejected]), 0);
        let gaps = [row(0.5, -0.1, -0.19), row(0.5, -0.1, -0.21), row(0.5, 0.1, 0.009)];
        assert_eq!(count(Method::BoxFddp, &gaps), 2);
        assert_eq!(count(Method::BoxDdp, &gaps), 0);
    }

    #[test]
    fn quantiles_are_values_that_occur() {
        let values: Vec<usize> = (1..=10).collect();
        let found = [10, 50, 90, 100].map(|percent| quantile(&values, percent).unwrap());
        assert_eq!(found, [1, 5, 9, 10]);
        assert_eq!(quantile(&[7], 10), Some(7));
        assert_eq!(quantile::<usize>(&[], 50), None);
    }

    #[test]
    fn outcomes_are_counted_start_by_start() {
        let found = of(super::super::problem::UNICYCLE, 8, 1).unwrap();
        for outcome in &found.methods {
            assert_eq!(outcome.ended.values().sum::<usize>(), 8);
            assert_eq!(outcome.iterations.iter().flatten().count(), outcome.converged);
            assert_eq!(outcome.violations, 0, "{outcome:?}");
            assert!(outcome.best <= outcome.converged && outcome.steps >= outcome.converged);
        }
        assert!(found.methods.iter().any(|outcome| outcome.best > 0));
    }
}
