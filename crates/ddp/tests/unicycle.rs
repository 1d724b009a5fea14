//! The unicycle's values of the DVP fact sheet (measured with Crocoddyl 3.1.0, float64).
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::UnicycleProblem;
use ddp::{Guess, Method, Settings, Solution, Solver, Status};
use nalgebra::{DVector, dvector};

fn solve(state_weight: f64, control_weight: f64, horizon: usize, x0: &DVector<f64>) -> Solution {
    let parts = UnicycleProblem::new(state_weight, control_weight);
    let settings = Settings { stop: 1e-14, max_iterations: 1000, ..Settings::default() };
    let mut solver = Solver::new(parts.problem(horizon), Method::Fddp, settings).unwrap();
    solver.solve(x0, Guess::Repeat(&dvector![0.0, 0.0])).unwrap()
}

/// Start, value at T = 50 and T = 1000, gradient at T = 1000.
type Row = ([f64; 3], f64, f64, Option<[f64; 3]>);
const VALUES: [Row; 6] = [
    ([1.0, 0.0, 0.0], 0.101256, 0.102531, None),
    ([0.5, 0.5, 0.5], 0.089412, 0.162843, Some([-0.05856, 0.43163, -0.08770])),
    ([1.0, 1.0, 0.0], 0.327477, 0.504676, Some([0.03271, 0.57863, -0.28286])),
    ([-0.7, 0.3, 1.0], 0.217003, 0.298497, Some([-0.27409, 0.37328, 0.18415])),
    ([0.3, -0.9, -0.5], 0.196118, 0.388133, Some([-0.17892, -0.55912, 0.19029])),
    ([0.2, 0.8, 2.0], 0.481093, 0.501208, Some([0.01235, 0.22023, 0.40037])),
];

#[test]
fn values_and_gradients_at_two_horizons_are_those_of_the_sheet() {
    for (x0, short, long, gradient) in VALUES {
        let x0 = DVector::from_row_slice(&x0);
        let (a, b) = (solve(0.1, 0.2, 50, &x0), solve(0.1, 0.2, 1000, &x0));
        assert_eq!((a.status, b.status), (Status::Converged, Status::Converged));
        assert!((a.cost - short).abs() < 1e-6, "{x0}: {} {short}", a.cost);
        assert!((b.cost - long).abs() < 1e-6, "{x0}: {} {long}", b.cost);
        for (found, expected) in b.vx[0].iter().zip(gradient.into_iter().flatten()) {
            assert!((found - expected).abs() < 1e-5, "{x0}: {} {gradient:?}", b.vx[0]);
        }
    }
}

#[test]
fn the_value_creeps_up_with_the_horizon_as_in_the_sheet() {
    let values = [
        (40, 0.726802),
        (50, 0.804387),
        (60, 0.849793),
        (80, 0.897888),
        (100, 0.922576),
        (150, 0.950514),
        (1000, 0.985065),
    ];
    let x0 = dvector![-1.24, -1.24, -1.24];
    for (horizon, value) in values {
        let found = solve(0.1, 0.2, horizon, &x0);
        assert!((found.cost - value).abs() < 1e-6, "T = {horizon}: {} {value}", found.cost);
    }
    let rest = &solve(0.1, 0.2, 1000, &x0).xs[1000];
    assert!((rest[1] + 0.031).abs() < 5e-4, "{rest}");
}

#[test]
fn on_the_line_ahead_the_value_is_a_riccati_parabola() {
    // V = ½ p x² with p² dt² = w_x² (w_u² + p dt²).
    let (wx, wu, dt) = (0.1_f64, 0.2_f64, 0.1_f64);
    let p = (wx * wx + (wx.powi(4) + 4.0 * wx * wx * wu * wu / (dt * dt)).sqrt()) / 2.0;
    let found = solve(wx, wu, 1000, &dvector![1.0, 0.0, 0.0]);
    assert!((found.cost - 0.5 * p).abs() < 1e-9, "{} {}", found.cost, 0.5 * p);
    assert!((found.vx[0][0] - p).abs() < 1e-8, "{} {p}", found.vx[0]);
    assert!((found.vx[0][0] - 0.20506).abs() < 1e-5);
}

#[test]
fn values_scale_with_the_squares_of_the_weights() {
    let x0 = dvector![-0.7, 0.3, 1.0];
    let (one, three) = (solve(0.1, 0.2, 50, &x0), solve(0.3, 0.6, 50, &x0));
    assert!((three.cost - 9.0 * one.cost).abs() < 1e-9);
    assert!((&three.vx[0] - 9.0 * &one.vx[0]).amax() < 1e-7);
    assert!((&three.us[0] - &one.us[0]).amax() < 1e-6);
}
