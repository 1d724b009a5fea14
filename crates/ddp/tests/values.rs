//! The value's gradient against differences of solves from neighbouring starts.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::lq::Lq;
use common::{UnicycleProblem, swing_up};
use ddp::{Guess, Method, Problem, Settings, Solution, Solver, Status};
use dynamics::{ActionBounds, Cost, Dynamics, TerminalCost};
use nalgebra::{DVector, dvector};

fn precise() -> Settings {
    Settings { stop: 1e-15, max_iterations: 2000, ..Settings::default() }
}

fn solve<D: Dynamics, C: Cost, E: TerminalCost>(
    problem: &Problem<'_, D, C, E>,
    method: Method,
    x0: &DVector<f64>,
    guess: Guess<'_>,
) -> Solution {
    let mut solver = Solver::new(*problem, method, precise()).unwrap();
    let found = solver.solve(x0, guess).unwrap();
    assert_eq!(found.status, Status::Converged);
    found
}

/// Compares vx with central differences of re-solved costs, and vxx with those of vx where the
/// method is one of full second order.
fn check_values<D: Dynamics, C: Cost, E: TerminalCost>(
    problem: &Problem<'_, D, C, E>,
    method: Method,
    x0: &DVector<f64>,
) {
    let u = DVector::zeros(problem.dynamics.nu());
    let found = solve(problem, method, x0, Guess::Repeat(&u));
    assert_eq!(found.v[0].to_bits(), found.cost.to_bits());
    let step = 1e-4;
    for i in 0..x0.len() {
        let moved = |by: f64| {
            let mut x = x0.clone();
            x[i] += by;
            solve(problem, method, &x, Guess::Controls(&found.us))
        };
        let (above, below) = (moved(step), moved(-step));
        let slope = (above.cost - below.cost) / (2.0 * step);
        let (vx, scale) = (found.vx[0][i], found.vx[0].amax().max(1.0));
        assert!((vx - slope).abs() < 1e-5 * scale, "{method}, entry {i}: {vx} {slope}");
        if method == Method::Ddp {
            let column = (&above.vx[0] - &below.vx[0]) / (2.0 * step);
            let error = (found.vxx[0].column(i) - &column).amax();
            assert!(error < 1e-4 * column.amax().max(1.0), "column {i}: {error:e}");
        }
    }
}

#[test]
fn gradients_of_a_linear_quadratic_problem() {
    let lq = Lq::random(5, 2, 20, 0);
    let x0 = DVector::from_element(5, 0.7);
    check_values(&Problem { discount: 0.9, ..lq.problem() }, Method::Ddp, &x0);
}

#[test]
fn gradients_of_the_unicycle_with_and_without_discount() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let x0 = dvector![-1.0, 0.8, 1.0];
    for discount in [1.0, 0.95] {
        for method in [Method::Fddp, Method::Ilqr, Method::Ddp] {
            check_values(&Problem { discount, ..parts.problem(40) }, method, &x0);
        }
    }
}

#[test]
fn gradients_within_control_limits() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds { low: vec![-0.4, -0.3], high: vec![0.5, 0.6] };
    let problem = Problem { control_limits: Some(&limits), discount: 0.98, ..parts.problem(40) };
    for method in [Method::BoxDdp, Method::BoxFddp] {
        check_values(&problem, method, &dvector![-1.0, 0.8, 1.0]);
    }
}

#[test]
fn gradients_of_a_swing_up() {
    check_values(&swing_up::pendulum().free(), Method::Ddp, &dvector![2.5, 0.3]);
    check_values(&swing_up::pendulum().free(), Method::Fddp, &dvector![2.5, 0.3]);
}

#[test]
fn every_node_holds_the_value_of_the_problem_that_remains() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let problem = Problem { discount: 0.9, ..parts.problem(30) };
    let x0 = dvector![-1.0, 0.8, 1.0];
    let u = dvector![0.0, 0.0];
    let whole = solve(&problem, Method::Fddp, &x0, Guess::Repeat(&u));
    for t in [1, 10, 29] {
        let rest = Problem { horizon: 30 - t, ..problem };
        let rest = solve(&rest, Method::Fddp, &whole.xs[t], Guess::Controls(&whole.us[t..]));
        assert!((rest.cost - whole.v[t]).abs() < 1e-12 * rest.cost.max(1.0), "{t}");
        assert!((&rest.vx[0] - &whole.vx[t]).amax() < 1e-5 * rest.vx[0].amax(), "{t}");
        assert!((&rest.vxx[0] - &whole.vxx[t]).amax() < 1e-5 * rest.vxx[0].amax(), "{t}");
    }
    assert_eq!(whole.v[30], parts_terminal(&parts, &whole.xs[30]));
}

fn parts_terminal(parts: &UnicycleProblem, x: &DVector<f64>) -> f64 {
    parts.cost.terminal(&mut (), x)
}

#[test]
fn the_discount_is_the_weight_of_later_steps() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let problem = Problem { discount: 0.8, ..parts.problem(12) };
    let x0 = dvector![-1.0, 0.8, 1.0];
    let u = dvector![0.0, 0.0];
    let found = solve(&problem, Method::Fddp, &x0, Guess::Repeat(&u));
    let stage = |t: usize| parts.cost.stage(&mut (), t, &found.xs[t], &found.us[t]);
    let running: f64 = (0..12).map(|t| 0.8_f64.powi(t as i32) * stage(t)).sum();
    let cost = running + 0.8_f64.powi(12) * parts_terminal(&parts, &found.xs[12]);
    assert!((found.cost - cost).abs() < 1e-13 * cost);
}
