//! The unicycle's values of the DVP fact sheet (measured with Crocoddyl 3.1.0, float64).

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
const VALUES: [([f64; 3], f64, f64, Option<[f64; 3]>); 5] = [
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
        println!("{x0} {} {} {} {}", a.cost, b.cost, a.iterations, b.iterations);
        assert_eq!((a.status, b.status), (Status::Converged, Status::Converged));
        assert!((a.cost - short).abs() < 1e-6, "{x0}: {} {short}", a.cost);
        assert!((b.cost - long).abs() < 1e-6, "{x0}: {} {long}", b.cost);
        for (found, expected) in b.vx[0].iter().zip(gradient.into_iter().flatten()) {
            assert!((found - expected).abs() < 1e-5, "{x0}: {} {gradient:?}", b.vx[0]);
        }
    }
}
