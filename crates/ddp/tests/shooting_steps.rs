//! Steps of single shooting: routes against each other, control limits, and the line search.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::lq::Lq;
use common::shooting::{AnyProblem, cases, random_controls};
use ddp::shooting::{Improvement, Route, Shooting, Step};
use ddp::{DdpError, Problem};
use dynamics::{
    ActionBounds, Cost, Dynamics, DynamicsError, Linearization, Plant, QuadraticCost, TerminalCost,
};
use nalgebra::{DMatrix, DVector, dvector};
use proptest::prelude::*;

const GRADIENTS: Route = Route::ConjugateGradient { tolerance: 1e-13, max_iterations: 5000 };
const ROUTES: [Route; 3] = [Route::Dense, Route::Riccati, GRADIENTS];

fn difference(a: &[f64], b: &[f64]) -> f64 {
    let size = b.iter().fold(1.0, |m: f64, b| m.max(b.abs()));
    a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / size
}

/// The step, by the given route.
fn step<D: Dynamics, C: Cost, E: TerminalCost>(
    shooting: &mut Shooting<'_, D, C, E>,
    route: Route,
) -> Vec<f64> {
    let found = shooting.second_order_step(route).unwrap();
    assert!(found.report.converged, "{:?}", found.report);
    found.delta.to_vec()
}

/// Violations of low ≤ u + δ ≤ high and of the signs of g + H δ, the latter relative to g.
fn violation<D: Dynamics, C: Cost, E: TerminalCost>(
    shooting: &mut Shooting<'_, D, C, E>,
    limits: &ActionBounds,
    delta: &[f64],
) -> f64 {
    let gradient = shooting.gradient().unwrap().to_vec();
    let mut slope = vec![0.0; delta.len()];
    shooting.gauss_newton_product(delta, &mut slope).unwrap();
    let scale = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
    let mut worst: f64 = 0.0;
    for (i, delta) in delta.iter().enumerate() {
        let (t, j) = (i / limits.low.len(), i % limits.low.len());
        let u = shooting.us()[t][j];
        let (low, high) = (limits.low[j] - u, limits.high[j] - u);
        assert!(low <= *delta && *delta <= high, "step {t}, control {j}");
        let slope = (slope[i] + gradient[i]) / scale;
        worst = worst.max(match (*delta == low, *delta == high) {
            (true, true) => 0.0,
            (true, false) => -slope,
            (false, true) => slope,
            (false, false) => slope.abs(),
        });
    }
    worst
}

#[test]
fn all_routes_find_the_same_step() {
    for case in cases() {
        let parts = case.parts();
        let free = case.problem(&parts);
        let tight = ActionBounds {
            low: case.limits.low.clone(),
            high: case.limits.high.iter().map(|high| 0.9 * high).collect(),
        };
        for control_limits in [None, Some(&tight)] {
            let mut shooting = Shooting::new(Problem { control_limits, ..free }).unwrap();
            shooting.rollout(&case.x0, &case.us).unwrap();
            let [dense, riccati, gradients] = ROUTES.map(|route| step(&mut shooting, route));
            let tolerance = if control_limits.is_some() { 1e-8 } else { 1e-10 };
            for (found, name) in [(&riccati, "riccati"), (&gradients, "gradients")] {
                let error = difference(found, &dense);
                assert!(error < tolerance, "{} {name}: {error:e}", case.name);
            }
            let auto = shooting.second_order_step(Route::Auto).unwrap();
            assert!(auto.report.route != Route::Auto && difference(auto.delta, &dense) < tolerance);
            if let Some(limits) = control_limits {
                let held = dense.iter().enumerate().filter(|(i, delta)| {
                    let (t, j) = (i / limits.low.len(), i % limits.low.len());
                    let u = shooting.us()[t][j];
                    **delta == limits.low[j] - u || **delta == limits.high[j] - u
                });
                assert!(held.count() > 0, "{}: the limits do not matter", case.name);
                let worst = violation(&mut shooting, limits, &dense);
                assert!(worst < 1e-8, "{}: {worst:e}", case.name);
            }
        }
    }
}

#[test]
fn conjugate_gradients_that_are_cut_off_go_downhill_and_say_so() {
    for case in cases() {
        let parts = case.parts();
        let mut shooting = Shooting::new(case.problem(&parts)).unwrap();
        shooting.rollout(&case.x0, &case.us).unwrap();
        let dense = step(&mut shooting, Route::Dense);
        let loose = Route::ConjugateGradient { tolerance: 1e-9, max_iterations: 5000 };
        assert!(difference(&step(&mut shooting, loose), &dense) < 1e-6, "{}", case.name);
        let short = Route::ConjugateGradient { tolerance: 1e-9, max_iterations: 2 };
        let limited = Problem { control_limits: Some(&case.limits), ..case.problem(&parts) };
        for problem in [case.problem(&parts), limited] {
            let mut shooting = Shooting::new(problem).unwrap();
            shooting.rollout(&case.x0, &case.us).unwrap();
            let found = shooting.second_order_step(short).unwrap();
            let (delta, report) = (found.delta.to_vec(), found.report);
            let gradient = shooting.gradient().unwrap();
            assert!(gradient.iter().zip(&delta).map(|(g, d)| g * d).sum::<f64>() < 0.0);
            assert!(report.solves <= 40, "{}: {report:?}", case.name);
            match problem.control_limits {
                // Limits may leave so few controls that two products suffice.
                Some(limits) if report.converged => {
                    assert!(violation(&mut shooting, limits, &delta) < 1e-8, "{}", case.name);
                }
                _ => assert!(!report.converged),
            }
        }
    }
}

#[test]
fn one_step_solves_a_linear_quadratic_problem() {
    for discount in [1.0, 0.9] {
        for route in ROUTES {
            let lq = Lq::random(5, 2, 15, 4);
            let problem = Problem { discount, ..lq.problem() };
            let (x0, us) = (dvector![1.0, -1.0, 0.5, 0.0, 2.0], vec![dvector![0.3, -0.2]; 15]);
            let mut shooting = Shooting::new(problem).unwrap();
            shooting.rollout(&x0, &us).unwrap();
            let at_start = DVector::from_column_slice(shooting.gradient().unwrap()).amax();
            let found = shooting.improve(Step::SecondOrder { route, step_length: 1.0 }).unwrap();
            assert_eq!((found.step_length, found.trials, found.failed_trials), (Some(1.0), 1, 0));
            let (better, cost) = (found.us.to_vec(), found.cost_after);
            assert!((shooting.rollout(&x0, &better).unwrap() - cost).abs() < 1e-12 * cost.abs());
            let at_end = DVector::from_column_slice(shooting.gradient().unwrap()).amax();
            assert!(at_end < 1e-9 * at_start, "{at_end:e} after {at_start:e}");
        }
    }
}

/// Steps until nothing improves any more; the costs.
fn descend(
    problem: AnyProblem<'_>,
    x0: &DVector<f64>,
    us: &[DVector<f64>],
    step: Step,
) -> Vec<f64> {
    let mut shooting = Shooting::new(problem).unwrap();
    let mut costs = vec![shooting.rollout(x0, us).unwrap()];
    for _ in 0..60 {
        let Improvement { us, xs, cost_before, cost_after, step_length, .. } =
            shooting.improve(step).unwrap();
        assert_eq!(cost_before.to_bits(), costs[costs.len() - 1].to_bits());
        let (us, last) = (us.to_vec(), xs[us.len()].clone());
        if let Some(limits) = problem.control_limits {
            let inside = |(j, u): (usize, &f64)| limits.low[j] <= *u && *u <= limits.high[j];
            assert!(us.iter().all(|u| u.iter().enumerate().all(inside)));
        }
        if step_length.is_none() {
            assert_eq!((cost_after.to_bits(), &us[..]), (cost_before.to_bits(), shooting.us()));
            break;
        }
        assert!(cost_after < cost_before);
        let cost = shooting.rollout(x0, &us).unwrap();
        assert!((cost - cost_after).abs() <= 1e-13 * cost.abs().max(1.0));
        assert!((shooting.xs()[us.len()].clone() - last).amax() == 0.0);
        costs.push(cost);
    }
    costs
}

#[test]
fn every_accepted_step_lowers_the_cost_and_limits_hold() {
    for case in cases() {
        let parts = case.parts();
        let free = case.problem(&parts);
        let limited = Problem { control_limits: Some(&case.limits), ..free };
        for problem in [free, limited] {
            let second = Step::SecondOrder { route: Route::Auto, step_length: 1.0 };
            let newton = descend(problem, &case.x0, &case.us, second);
            let first = Step::FirstOrder { step_length: 0.05 };
            let gradient = descend(problem, &case.x0, &case.us, first);
            assert!(newton.len() > 1 && gradient.len() > 5, "{}", case.name);
            let (best, other) = (newton[newton.len() - 1], gradient[gradient.len() - 1]);
            assert!(best <= other * (1.0 + 1e-9), "{}: {best} against {other}", case.name);
        }
    }
}

#[test]
fn controls_outside_their_limits_are_moved_inside() {
    let lq = Lq::random(3, 2, 8, 2);
    let limits = ActionBounds::symmetric(2, 0.2);
    let problem = Problem { control_limits: Some(&limits), ..lq.problem() };
    let mut shooting = Shooting::new(problem).unwrap();
    shooting.rollout(&dvector![1.0, 0.0, -1.0], &vec![dvector![3.0, -4.0]; 8]).unwrap();
    for step in [
        Step::FirstOrder { step_length: 0.05 },
        Step::SecondOrder { route: Route::Riccati, step_length: 1.0 },
    ] {
        let found = shooting.improve(step).unwrap();
        assert!(found.step_length.is_some());
        assert!(found.us.iter().all(|u| u.amax() <= 0.2));
    }
}

/// x' = x + u, which refuses large controls.
struct Timid;

impl Plant for Timid {
    type Workspace = ();
    fn name(&self) -> &str {
        "timid"
    }
    fn nx(&self) -> usize {
        1
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[0] = x[0] + u[0];
        match u[0].abs() > 0.3 {
            true => {
                let (model, what) = ("timid".to_owned(), "u");
                Err(DynamicsError::NotFinite { model, what, index: 0, value: u[0] })
            }
            false => Ok(()),
        }
    }
}

impl Dynamics for Timid {
    fn linearize(
        &self,
        (): &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.fill(1.0);
        out.fu.fill(1.0);
        Ok(())
    }
}

#[test]
fn roll_outs_that_fail_in_the_line_search_are_counted() {
    let cost = QuadraticCost::new(vec![0.0], vec![1.0], vec![1e-6]).unwrap();
    let problem = Problem::new(&Timid, &cost, &cost, 2);
    let mut shooting = Shooting::new(problem).unwrap();
    shooting.rollout(&dvector![1.0], &[dvector![0.0], dvector![0.0]]).unwrap();
    let found =
        shooting.improve(Step::SecondOrder { route: Route::Riccati, step_length: 1.0 }).unwrap();
    assert_eq!((found.step_length, found.trials, found.failed_trials), (Some(0.25), 3, 2));
    assert!(matches!(found.failure, Some(DdpError::Model { t: 0, .. })));
}

/// The minimum of gᵀd + ½ dᵀHd in the box over all choices of what is held where.
fn by_enumeration(h: &DMatrix<f64>, g: &[f64], low: &[f64], high: &[f64]) -> Vec<f64> {
    let n = g.len();
    let mut best = (f64::INFINITY, vec![0.0; n]);
    for code in 0..3_usize.pow(n as u32) {
        let held = |i: usize| code / 3_usize.pow(i as u32) % 3;
        let free: Vec<usize> = (0..n).filter(|i| held(*i) == 0).collect();
        let mut d: Vec<f64> = (0..n).map(|i| [0.0, low[i], high[i]][held(i)]).collect();
        let reduced = DMatrix::from_fn(free.len(), free.len(), |a, b| h[(free[a], free[b])]);
        let right = DVector::from_fn(free.len(), |a, _| {
            -g[free[a]] - (0..n).map(|j| h[(free[a], j)] * d[j]).sum::<f64>()
        });
        for (i, x) in free.iter().zip(reduced.cholesky().unwrap().solve(&right).iter()) {
            d[*i] = *x;
        }
        let d = DVector::from(d);
        let value = 0.5 * d.dot(&(h * &d)) + d.dot(&DVector::from_column_slice(g));
        let inside = (0..n).all(|i| low[i] - 1e-12 <= d[i] && d[i] <= high[i] + 1e-12);
        if inside && value < best.0 {
            best = (value, d.as_slice().to_vec());
        }
    }
    best.1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_in_a_box_meet_the_optimality_conditions(
        nx in 1..6_usize, nu in 1..4_usize, horizon in 1..12_usize, seed in 0..u64::MAX,
        limit in 0.05..2.0,
    ) {
        let lq = Lq::random(nx, nu, horizon, seed);
        let limits = ActionBounds::symmetric(nu, limit);
        let problem = Problem { control_limits: Some(&limits), ..lq.problem() };
        let mut shooting = Shooting::new(problem).unwrap();
        let us = random_controls(seed, horizon, &limits);
        shooting.rollout(&DVector::from_element(nx, 1.0), &us).unwrap();
        let [dense, riccati, gradients] = ROUTES.map(|route| step(&mut shooting, route));
        let eigenvalues = shooting.gauss_newton_hessian().unwrap().symmetric_eigenvalues();
        // Systems that are unstable enough double their conditioning with every step.
        let tolerance = 1e-8 * (eigenvalues.max() / eigenvalues.min() / 1e6).max(1.0);
        for found in [&riccati, &gradients] {
            let error = difference(found, &dense);
            prop_assert!(error < tolerance, "{error:e} with {tolerance:e}");
        }
        let worst = violation(&mut shooting, &limits, &dense);
        prop_assert!(worst < 1e-9, "{worst:e}");
    }

    #[test]
    fn small_steps_in_a_box_are_those_of_enumeration(
        nx in 1..4_usize, (nu, horizon) in prop_oneof![Just((1, 5)), Just((2, 3)), Just((3, 2))],
        seed in 0..u64::MAX, limit in 0.05..2.0,
    ) {
        let lq = Lq::random(nx, nu, horizon, seed);
        let limits = ActionBounds::symmetric(nu, limit);
        let problem = Problem { control_limits: Some(&limits), ..lq.problem() };
        let mut shooting = Shooting::new(problem).unwrap();
        let us = random_controls(seed, horizon, &limits);
        shooting.rollout(&DVector::from_element(nx, 1.0), &us).unwrap();
        let (h, g) = (shooting.gauss_newton_hessian().unwrap(), shooting.gradient().unwrap().to_vec());
        let room = |bound: f64| us.iter().flat_map(|u| u.iter()).map(|u| bound - u).collect::<Vec<_>>();
        let expected = by_enumeration(&h, &g, &room(-limit), &room(limit));
        for route in ROUTES {
            prop_assert!(difference(&step(&mut shooting, route), &expected) < 1e-8);
        }
    }
}
