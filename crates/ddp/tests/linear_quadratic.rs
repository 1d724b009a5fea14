//! Linear-quadratic problems against the dense optimality conditions and the Riccati recursion.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::lq::{Lq, random_vector};
use ddp::lqr::finite_horizon;
use ddp::{Guess, Method, Problem, Settings, Solution, Solver, Status};
use dynamics::Stream;
use nalgebra::DVector;

const SIZES: [(usize, usize, usize); 5] =
    [(1, 1, 3), (2, 3, 20), (7, 2, 15), (13, 5, 8), (40, 7, 5)];

/// No regularisation from the first iteration on.
fn exact(max_iterations: usize) -> Settings {
    let min_regularization = 1e-300;
    Settings { regularization: 0.0, min_regularization, max_iterations, ..Settings::default() }
}

fn start(lq: &Lq, seed: u64) -> DVector<f64> {
    random_vector(&mut Stream::new(seed, "start", 0), lq.terminal.lx.len())
}

fn solve(
    problem: &Problem<'_, Lq, Lq, Lq>,
    method: Method,
    settings: Settings,
    x0: &DVector<f64>,
    guess: Guess<'_>,
) -> Solution {
    Solver::new(*problem, method, settings).unwrap().solve(x0, guess).unwrap()
}

fn assert_close(found: &[DVector<f64>], expected: &[DVector<f64>], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0, |m: f64, v| m.max(v.amax()));
    for (t, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).amax() / scale;
        assert!(error <= tolerance, "node {t}: {error:e}");
    }
}

#[test]
fn one_step_from_any_guess_is_that_of_the_dense_kkt_system() {
    for (seed, (nx, nu, horizon)) in (0..).zip(SIZES) {
        let lq = Lq::random(nx, nu, horizon, seed);
        let (x0, (xs, us)) = (start(&lq, seed), lq.random_guess(seed));
        for discount in [1.0, 0.9] {
            let kkt = lq.kkt_step(discount, &x0, &xs, &us);
            let xs_expected: Vec<_> = xs.iter().zip(&kkt.dxs).map(|(x, dx)| x + dx).collect();
            let us_expected: Vec<_> = us.iter().zip(&kkt.dus).map(|(u, du)| u + du).collect();
            let problem = Problem { discount, ..lq.problem() };
            for method in Method::ALL {
                for guess in [Guess::Trajectory(&xs, &us), Guess::Controls(&us)] {
                    let found = solve(&problem, method, exact(1), &x0, guess);
                    assert_eq!((found.log[0].step, found.status), (1.0, Status::IterationLimit));
                    assert!(found.feasible);
                    assert_close(&found.xs, &xs_expected, 1e-9);
                    assert_close(&found.us, &us_expected, 1e-9);
                    assert_close(&found.multipliers, &kkt.lambdas, 1e-9);
                }
            }
        }
    }
}

#[test]
fn one_iteration_suffices_with_the_default_settings() {
    for (seed, (nx, nu, horizon)) in (0..).zip(SIZES) {
        let lq = Lq::random(nx, nu, horizon, seed);
        let (x0, (xs, us)) = (start(&lq, seed), lq.random_guess(seed));
        for method in Method::ALL {
            let guess = Guess::Trajectory(&xs, &us);
            let found = solve(&lq.problem(), method, Settings::default(), &x0, guess);
            assert_eq!((found.status, found.iterations), (Status::Converged, 1), "{method}");
            assert_eq!(found.log[0].step, 1.0);
        }
    }
}

#[test]
fn the_predicted_improvement_of_every_step_comes_true() {
    let lq = Lq::random(6, 3, 12, 1);
    let (x0, (xs, us)) = (start(&lq, 1), lq.random_guess(1));
    let problem = Problem { discount: 0.9, ..lq.problem() };
    for guess in [Guess::Trajectory(&xs, &us), Guess::Controls(&us)] {
        let found = solve(&problem, Method::Fddp, exact(1), &x0, guess);
        let row = found.log[0];
        assert!((row.dv - row.dv_exp).abs() < 1e-9 * row.cost.abs().max(1.0), "{row}");
    }
}

#[test]
fn values_are_those_of_the_riccati_recursion_at_every_node() {
    for (seed, (nx, nu, horizon)) in (0..).zip(SIZES) {
        let lq = Lq::random(nx, nu, horizon, seed);
        for discount in [1.0, 0.9] {
            let expected = finite_horizon(&lq.stages, &lq.terminal, discount).unwrap();
            let (x0, (xs, us)) = (start(&lq, seed), lq.random_guess(seed));
            let problem = Problem { discount, ..lq.problem() };
            let guess = Guess::Trajectory(&xs, &us);
            let found = solve(&problem, Method::Fddp, Settings::default(), &x0, guess);
            assert_eq!(found.v[0].to_bits(), found.cost.to_bits());
            for (t, x) in found.xs.iter().enumerate() {
                let (v, vxx) = (expected.value(t, x), &expected.vxx[t]);
                let vx = &expected.vx[t] + vxx * x;
                assert!((found.v[t] - v).abs() <= 1e-9 * v.abs().max(1.0), "{t}");
                assert!((&found.vx[t] - &vx).amax() <= 1e-9 * vx.amax().max(1.0), "{t}");
                assert!((&found.vxx[t] - vxx).amax() <= 1e-9 * vxx.amax().max(1.0), "{t}");
            }
            for (found, gains) in found.gains.iter().zip(&expected.gains) {
                assert!((found - gains).amax() <= 1e-9 * gains.amax().max(1.0));
            }
        }
    }
}

#[test]
fn multipliers_are_the_gradients_of_the_value_behind_the_gaps() {
    let lq = Lq::random(5, 2, 9, 3);
    let expected = finite_horizon(&lq.stages, &lq.terminal, 1.0).unwrap();
    let (x0, (xs, us)) = (start(&lq, 3), lq.random_guess(3));
    let guess = Guess::Trajectory(&xs, &us);
    let found = solve(&lq.problem(), Method::Fddp, exact(0), &x0, guess);
    assert!(!found.feasible && found.xs == xs && found.us == us);
    let behind = |t: usize| if t == 0 { x0.clone() } else { lq.next(&xs[t - 1], &us[t - 1]) };
    for (t, multiplier) in found.multipliers.iter().enumerate() {
        let x = behind(t);
        assert!((&found.gaps[t] - (&x - &xs[t])).amax() < 1e-12);
        let gradient = &expected.vx[t] + &expected.vxx[t] * &x;
        assert!((multiplier - &gradient).amax() < 1e-9 * gradient.amax().max(1.0), "{t}");
    }
}
