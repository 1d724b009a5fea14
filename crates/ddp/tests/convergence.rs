//! How fast the methods approach an optimum.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::swing_up;
use ddp::{Guess, Method, Settings, Solution, Solver, Status};
use nalgebra::dvector;

/// The distances of the controls from the optimum, iterate after iterate.
fn errors(method: Method) -> Vec<f64> {
    let parts = swing_up::pendulum();
    let x0 = dvector![2.5, 0.0];
    let us = vec![dvector![0.0]; parts.horizon];
    let solve = |method, settings, guess: Guess<'_>| -> Solution {
        Solver::new(parts.free(), method, settings).unwrap().solve(&x0, guess).unwrap()
    };
    let settings = Settings { stop: 0.0, max_iterations: 40, ..Settings::default() };
    let best = solve(Method::Ddp, settings.clone(), Guess::Controls(&us));
    let distance = |us: &[nalgebra::DVector<f64>]| {
        us.iter().zip(&best.us).fold(0.0, |m: f64, (u, best)| m.max((u - best).amax()))
    };
    (0..30)
        .map(|max_iterations| {
            let settings = Settings { max_iterations, ..settings.clone() };
            distance(&solve(method, settings, Guess::Controls(&us)).us)
        })
        .collect()
}

#[test]
fn full_ddp_converges_quadratically_and_ilqr_linearly() {
    let (ddp, ilqr) = (errors(Method::Ddp), errors(Method::Ilqr));
    println!("ddp {ddp:?}\nilqr {ilqr:?}");
    // The error is squared, up to a constant, from where it is small to where rounding begins.
    let small: Vec<_> = ddp.windows(2).filter(|e| e[0] < 0.1 && e[0] > 1e-6).collect();
    assert!(small.len() >= 2, "{ddp:?}");
    for e in &small {
        assert!(e[1] < 5.0 * e[0] * e[0] + 1e-11, "{ddp:?}");
    }
    // The ratio of errors settles at a constant.
    let ratios: Vec<_> =
        ilqr.windows(2).filter(|e| e[0] < 1e-2 && e[1] > 1e-9).map(|e| e[1] / e[0]).collect();
    assert!(ratios.len() >= 4, "{ilqr:?}");
    let last = ratios[ratios.len() - 1];
    assert!(last > 0.02 && last < 0.9, "{ratios:?}");
    for ratio in &ratios[ratios.len() - 3..] {
        assert!((ratio - last).abs() < 0.05 * last, "{ratios:?}");
    }
}

#[test]
fn all_methods_find_the_same_optimum() {
    let parts = swing_up::pendulum();
    let (x0, u) = (dvector![2.5, 0.0], dvector![0.0]);
    let solve = |method| -> Solution {
        let settings = Settings { stop: 1e-14, ..Settings::default() };
        let mut solver = Solver::new(parts.free(), method, settings).unwrap();
        solver.solve(&x0, Guess::Repeat(&u)).unwrap()
    };
    let ddp = solve(Method::Ddp);
    for method in Method::ALL {
        let found = solve(method);
        assert_eq!(found.status, Status::Converged, "{method}");
        assert!((found.cost - ddp.cost).abs() < 1e-10 * ddp.cost, "{method}");
        assert!((&found.vx[0] - &ddp.vx[0]).amax() < 1e-5, "{method}");
    }
}
