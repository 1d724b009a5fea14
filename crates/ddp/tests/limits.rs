//! Control limits: kept at every iterate, and optimal where they hold.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::lq::{Lq, random_vector};
use common::{UnicycleProblem, swing_up};
use ddp::{Guess, Method, Problem, Settings, Solution, Solver, Status};
use dynamics::{ActionBounds, Cost, CostExpansion, Dynamics, Linearization, Stream, TerminalCost};
use nalgebra::{DVector, dvector};

const BOXED: [Method; 2] = [Method::BoxDdp, Method::BoxFddp];

fn solve<D: Dynamics, C: Cost, E: TerminalCost>(
    problem: &Problem<'_, D, C, E>,
    method: Method,
    settings: Settings,
    x0: &DVector<f64>,
) -> Solution {
    let u = DVector::zeros(problem.dynamics.nu());
    Solver::new(*problem, method, settings).unwrap().solve(x0, Guess::Repeat(&u)).unwrap()
}

fn precise() -> Settings {
    Settings { stop: 1e-14, max_iterations: 2000, ..Settings::default() }
}

/// Checks the first-order conditions with gradients of the total cost by the adjoint equation;
/// returns how many controls are at a limit.
fn check_optimality<D: Dynamics, C: Cost, E: TerminalCost>(
    problem: &Problem<'_, D, C, E>,
    found: &Solution,
    tolerance: f64,
) -> usize {
    let limits = problem.control_limits.unwrap();
    let mut jacobian = Linearization::of(problem.dynamics);
    let mut cost = CostExpansion::zeros(problem.dynamics.ndx(), problem.dynamics.nu());
    let mut model = (problem.dynamics.workspace(), problem.cost.workspace());
    let mut terminal_ws = problem.terminal.workspace();
    problem.terminal.expand_terminal(&mut terminal_ws, &found.xs[found.horizon()], &mut cost);
    let mut lambda = cost.lx.clone();
    let mut at_limits = 0;
    for t in (0..found.horizon()).rev() {
        let (x, u) = (&found.xs[t], &found.us[t]);
        problem.dynamics.linearize(&mut model.0, x, u, &mut jacobian).unwrap();
        problem.cost.expand_stage(&mut model.1, t, x, u, &mut cost);
        lambda *= problem.discount;
        let slope = &cost.lu + jacobian.fu.tr_mul(&lambda);
        for (j, &slope) in slope.iter().enumerate() {
            let (low, high) = (limits.low[j], limits.high[j]);
            assert!(low <= u[j] && u[j] <= high, "node {t}");
            // The last step may end just before a limit.
            let (at_low, at_high) = (u[j] - low < 1e-7, high - u[j] < 1e-7);
            at_limits += usize::from(at_low || at_high);
            assert!(at_low || slope < tolerance, "node {t}: {} {slope:e}", u[j]);
            assert!(at_high || slope > -tolerance, "node {t}: {} {slope:e}", u[j]);
            let clamped = slope.abs() > tolerance;
            assert!(!clamped || found.gains[t].row(j).amax() == 0.0, "node {t}");
        }
        lambda = &cost.lx + jacobian.fx.tr_mul(&lambda);
    }
    at_limits
}

#[test]
fn no_iterate_leaves_the_limits() {
    let parts = swing_up::pendulum();
    let problem = parts.limited();
    let x0 = dvector![3.0, 0.0];
    for method in BOXED {
        for guess in [0.0, 9.0] {
            for max_iterations in 0..40 {
                let settings = Settings { max_iterations, ..Settings::default() };
                let mut solver = Solver::new(problem, method, settings).unwrap();
                let found = solver.solve(&x0, Guess::Repeat(&dvector![guess])).unwrap();
                assert!(found.us.iter().all(|u| u.amax() <= 2.0));
            }
        }
    }
}

#[test]
fn solutions_meet_the_optimality_conditions() {
    let pendulum = swing_up::pendulum();
    let unicycle = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds { low: vec![-0.4, -0.3], high: vec![0.5, f64::INFINITY] };
    let steered = Problem { control_limits: Some(&limits), discount: 0.98, ..unicycle.problem(50) };
    for method in BOXED {
        let found = solve(&pendulum.limited(), method, precise(), &dvector![2.0, 0.0]);
        assert_eq!(found.status, Status::Converged);
        assert!(check_optimality(&pendulum.limited(), &found, 1e-5) > 10);
        let found = solve(&steered, method, precise(), &dvector![-1.0, -1.0, 1.0]);
        assert_eq!(found.status, Status::Converged);
        assert!(check_optimality(&steered, &found, 1e-5) > 10);
    }
}

#[test]
fn limited_linear_quadratic_problems_are_solved() {
    for method in BOXED {
        let mut converged = 0;
        for seed in 0..100 {
            let lq = Lq::random(4, 3, 15, seed);
            let limits = ActionBounds { low: vec![-0.2, -0.1, -0.3], high: vec![0.1, 0.3, 0.2] };
            let problem = Problem { control_limits: Some(&limits), ..lq.problem() };
            let x0 = random_vector(&mut Stream::new(seed, "start", 0), 4);
            let found = solve(&problem, method, precise(), &x0);
            if found.status == Status::Converged {
                converged += 1;
                assert!(check_optimality(&problem, &found, 1e-5) > 0);
            }
        }
        assert_eq!(converged, 100, "{method}");
    }
}

#[test]
fn limits_out_of_reach_change_nothing() {
    let parts = swing_up::pendulum();
    let x0 = dvector![2.5, 0.0];
    for (boxed, free) in [(Method::BoxDdp, Method::Ilqr), (Method::BoxFddp, Method::Fddp)] {
        let expected = solve(&parts.free(), free, precise(), &x0);
        for limit in [1e3, f64::INFINITY] {
            let limits = ActionBounds::symmetric(1, limit);
            let problem = Problem { control_limits: Some(&limits), ..parts.free() };
            let found = solve(&problem, boxed, precise(), &x0);
            assert_eq!(found.iterations, expected.iterations);
            assert!((found.cost - expected.cost).abs() < 1e-12 * expected.cost);
            for (found, expected) in found.us.iter().zip(&expected.us) {
                assert!((found - expected).amax() < 1e-9);
            }
        }
        let without = solve(&parts.free(), boxed, precise(), &x0);
        assert_eq!(without.us, expected.us);
    }
}

#[test]
fn a_control_without_room_stays_and_the_others_make_the_best_of_it() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds { low: vec![-5.0, 0.25], high: vec![5.0, 0.25] };
    let problem = Problem { control_limits: Some(&limits), ..parts.problem(30) };
    for method in BOXED {
        let found = solve(&problem, method, precise(), &dvector![-1.0, 0.5, 0.0]);
        assert_eq!(found.status, Status::Converged);
        assert!(found.us.iter().all(|u| u[1] == 0.25));
        assert_eq!(check_optimality(&problem, &found, 1e-5), 30);
    }
}
