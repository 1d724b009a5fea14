//! How fast the methods converge near an optimum: the cost above the least one, iteration by
//! iteration.

use anyhow::Result;
use ddp::{Guess, Method, Settings, Solver};
use nalgebra::DVector;
use serde::Serialize;

use super::problem::{ARM, AnyProblem, CARTPOLE, Definition, FREE, UNICYCLE};
use crate::progress::tell;

/// Iterations of a solve, and of the search for the least cost behind it.
const MAX_ITERATIONS: usize = 500;
const POLISH: usize = 30;
/// Gaps below so many rounding errors of the cost say nothing.
const SHOWN: f64 = 10.0;
/// Gaps below so many say nothing about rates.
const JUDGED: f64 = 1e3;

/// One problem from its usual start.
#[derive(Debug, Serialize)]
pub(super) struct Rates {
    pub(super) problem: &'static str,
    pub(super) horizon: usize,
    pub(super) methods: Vec<Rate>,
}

/// What one method did.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    pub(super) method: &'static str,
    /// J*, the least cost found from where the method ended.
    pub(super) least_cost: f64,
    /// (J − J*) after each iteration, up to the first that rounding hides.
    pub(super) gaps: Vec<f64>,
    /// Last gap divided by the one before, as far as rounding does not spoil it.
    pub(super) ratio: Option<f64>,
    /// ln(e₂/e₁) / ln(e₁/e₀) of the last three such gaps e: 1 is linear convergence, 2 quadratic.
    pub(super) order: Option<f64>,
}

/// The methods on the arm, the unicycle and the swing-up of the cart-pole.
///
/// # Errors
/// Problems that cannot be built, models that fail.
pub(super) fn study() -> Result<Vec<Rates>> {
    [ARM, UNICYCLE, CARTPOLE].into_iter().map(of).collect()
}

fn of(definition: Definition) -> Result<Rates> {
    let built = definition.build()?;
    let (model, objective) = built.parts()?;
    let problem = built.problem(&model, &objective);
    let (x0, u) = (objective.x0, objective.us0);
    tell(&format!("rates: {}", definition.name));
    let methods: Result<_> = FREE.iter().map(|&method| rate(problem, method, x0, u)).collect();
    Ok(Rates { problem: definition.name, horizon: built.horizon(), methods: methods? })
}

fn rate(
    problem: AnyProblem<'_>,
    method: Method,
    x0: &DVector<f64>,
    u: &DVector<f64>,
) -> Result<Rate> {
    let until_rounding =
        |max_iterations| Settings { max_iterations, stop: 1e-16, ..Settings::default() };
    let mut solver = Solver::new(problem, method, until_rounding(MAX_ITERATIONS))?;
    let solution = solver.solve(x0, Guess::Repeat(u))?;
    // Newton steps from there find the bottom.
    let mut polish = Solver::new(problem, Method::Ddp, until_rounding(POLISH))?;
    polish.solve_in_place(x0, Guess::of(&solution))?;
    let costs = || solution.log.iter().map(|row| row.cost);
    let least_cost = costs().fold(polish.cost(), f64::min);
    let rounding = f64::EPSILON * least_cost.abs();
    let gaps: Vec<f64> = costs().map(|cost| cost - least_cost).collect();
    let (ratio, order) = tail(&gaps, JUDGED * rounding);
    let hidden = gaps.iter().position(|gap| *gap <= SHOWN * rounding);
    let shown = hidden.map_or(&gaps[..], |first| &gaps[..=first]);
    Ok(Rate { method: method.name(), least_cost, gaps: shown.to_vec(), ratio, order })
}

/// Ratio and order of the last gaps above `floor`.
fn tail(gaps: &[f64], floor: f64) -> (Option<f64>, Option<f64>) {
    let end = gaps.iter().position(|gap| *gap <= floor).unwrap_or(gaps.len());
    let last = |n: usize| end.checked_sub(n).map(|first| &gaps[first..end]);
    let ratio = last(2).map(|e| e[1] / e[0]);
    let order = last(3).map(|e| (e[2] / e[1]).ln() / (e[1] / e[0]).ln());
    (ratio, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_tells_linear_from_quadratic() {
        let linear: Vec<f64> = (0..40).map(|i| 0.4_f64.powi(i)).collect();
        let (ratio, order) = tail(&linear, 1e-12);
        assert!((ratio.unwrap() - 0.4).abs() < 1e-9 && (order.unwrap() - 1.0).abs() < 1e-9);
        let quadratic = [1e-1, 1e-2, 1e-4, 1e-8, 1e-16, 0.0];
        let (ratio, order) = tail(&quadratic, 1e-12);
        assert!((ratio.unwrap() - 1e-4).abs() < 1e-12 && (order.unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(tail(&[1.0], 0.5), (None, None));
    }

    /// Its costs are quadratic and its second derivatives exact, so full DDP is Newton's method.
    #[test]
    fn full_ddp_is_quadratic_on_the_unicycle_and_gauss_newton_linear() {
        let found = of(UNICYCLE).unwrap().methods;
        let of = |name| found.iter().find(|rate| rate.method == name).unwrap();
        let (ddp, fddp) = (of("ddp"), of("fddp"));
        assert!((ddp.least_cost - fddp.least_cost).abs() < 1e-9 * ddp.least_cost);
        assert!(ddp.order.unwrap() > 1.6, "{ddp:?}");
        assert!((0.8..1.2).contains(&fddp.order.unwrap()), "{fddp:?}");
        assert!(fddp.ratio.unwrap() < 1.0 && fddp.ratio.unwrap() > 1e-3, "{fddp:?}");
        assert!(fddp.gaps.len() > ddp.gaps.len());
        assert!(ddp.gaps.last().unwrap() / ddp.least_cost < 1e-14, "{ddp:?}");
    }
}
