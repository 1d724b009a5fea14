//! Solutions: saved, read back, continued, followed.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::starts::random_starts;
use common::{UnicycleProblem, swing_up};
use ddp::{DdpError, Guess, Method, Settings, Solution, Solver, Status};
use dynamics::{Plant, States};
use nalgebra::{DVector, dvector};

fn solve(horizon: usize, x0: &DVector<f64>, method: Method) -> Solution {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let mut solver = Solver::new(parts.problem(horizon), method, Settings::default()).unwrap();
    solver.solve(x0, Guess::Repeat(&dvector![0.0, 0.0])).unwrap()
}

#[test]
fn a_solution_survives_being_saved() {
    for method in Method::ALL {
        let found = solve(30, &dvector![-1.0, -1.0, 1.0], method);
        let text = serde_json::to_string(&found).unwrap();
        let back: Solution = serde_json::from_str(&text).unwrap();
        assert_eq!(back, found);
        assert!(text.contains(&format!("\"method\":\"{method}\"")));
        assert!(text.contains("\"status\":\"converged\"") && text.contains("\"dV-exp\":"));
    }
}

#[test]
fn numbers_that_are_not_finite_are_saved_as_null() {
    let mut found = solve(3, &dvector![-1.0, -1.0, 1.0], Method::Fddp);
    found.vx[1][2] = f64::NAN;
    let text = serde_json::to_string(&found).unwrap();
    let back: Solution = serde_json::from_str(&text).unwrap();
    assert!(back.vx[1][2].is_nan() && back.vx[1][0] == found.vx[1][0]);
    assert_eq!(back.vxx, found.vxx);
}

#[test]
fn a_warm_start_from_a_saved_solution_converges_at_once() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    for method in Method::ALL {
        for x0 in random_starts(10, &[0.0; 3], &[2.0, 2.0, 3.0]) {
            let cold = solve(40, &x0, method);
            let text = serde_json::to_string(&cold).unwrap();
            let saved: Solution = serde_json::from_str(&text).unwrap();
            let mut solver = Solver::new(parts.problem(40), method, Settings::default()).unwrap();
            let warm = solver.solve(&x0, Guess::of(&saved)).unwrap();
            assert_eq!(warm.status, Status::Converged);
            // One step closes the gaps of which it does not know that there are none.
            assert!(warm.iterations <= 1, "{method}: {}", warm.iterations);
            assert!(warm.cost <= cold.cost + 1e-12 * cold.cost);
            let warm = solver.solve(&x0, Guess::Controls(&saved.us)).unwrap();
            assert_eq!((warm.status, warm.iterations), (Status::Converged, 0), "{method}");
        }
    }
}

#[test]
fn the_policy_follows_the_trajectory_and_corrects_deviations() {
    let parts = swing_up::pendulum();
    let x0 = dvector![2.5, 0.0];
    let mut solver = Solver::new(parts.free(), Method::Ddp, Settings::default()).unwrap();
    let found = solver.solve(&x0, Guess::Repeat(&dvector![0.0])).unwrap();
    let mut policy = found.policy(States::Vector).unwrap();
    let mut u = dvector![0.0];
    for (t, x) in found.xs[..found.horizon()].iter().enumerate() {
        policy.control(t, x, &mut u).unwrap();
        assert_eq!(u, found.us[t]);
    }
    let off = dvector![0.1, -0.2];
    policy.control(7, &(&found.xs[7] + &off), &mut u).unwrap();
    let expected = &found.us[7] + &found.gains[7] * &off;
    assert!((&u - expected).amax() < 1e-12);

    // From a start nearby, feedback ends closer to the trajectory than its controls alone.
    let mut end = |gain: bool| {
        let mut x = dvector![2.55, 0.0];
        let mut x_next = x.clone();
        for t in 0..found.horizon() {
            u.copy_from(&found.us[t]);
            if gain {
                policy.control(t, &x, &mut u).unwrap();
            }
            parts.dynamics.step(&mut (), &x, &u, &mut x_next).unwrap();
            std::mem::swap(&mut x, &mut x_next);
        }
        (x - &found.xs[found.horizon()]).amax()
    };
    assert!(end(true) < 0.01 && end(false) > 1.0, "{} {}", end(true), end(false));
}

#[test]
fn the_policy_holds_its_last_control_and_refuses_wrong_sizes() {
    let found = solve(10, &dvector![-1.0, -1.0, 1.0], Method::Fddp);
    let mut policy = found.policy(States::Vector).unwrap();
    let (mut u, mut late) = (dvector![0.0, 0.0], dvector![0.0, 0.0]);
    let x = dvector![0.1, 0.2, 0.3];
    policy.control(9, &x, &mut u).unwrap();
    policy.control(500, &x, &mut late).unwrap();
    assert_eq!(u, late);
    let error = policy.control(0, &dvector![1.0], &mut u).unwrap_err();
    assert!(matches!(error, DdpError::Mismatch { what: "the state", found: 1, needed: 3, .. }));
    let error = policy.control(0, &x, &mut dvector![1.0]).unwrap_err();
    assert!(matches!(error, DdpError::Mismatch { what: "the control", found: 1, needed: 2, .. }));
}
