//! Results do not depend on threads, on company or on what a solver did before.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::UnicycleProblem;
use common::starts::random_starts;
use ddp::{Guess, Method, Problem, Settings, Solution, Solver, solve_batch};
use dynamics::ActionBounds;
use nalgebra::{DVector, dvector};
use rayon::ThreadPoolBuilder;

/// Bit for bit, by way of text that tells all numbers apart.
fn bits(solution: &Solution) -> String {
    serde_json::to_string(solution).unwrap()
}

fn starts() -> Vec<DVector<f64>> {
    random_starts(12, &[0.0; 3], &[2.0, 2.0, 6.0])
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds::symmetric(2, 0.5);
    let problem = Problem { control_limits: Some(&limits), ..parts.problem(20) };
    let u = dvector![0.1, 0.0];
    for method in Method::ALL {
        for x0 in &starts()[..4] {
            let solve = |threads| {
                let settings = Settings { threads, ..Settings::default() };
                let mut solver = Solver::new(problem, method, settings).unwrap();
                bits(&solver.solve(x0, Guess::Repeat(&u)).unwrap())
            };
            let alone = solve(1);
            for threads in [2, 3, 7, 64] {
                assert!(solve(threads) == alone, "{method}, {threads} threads");
            }
        }
    }
}

#[test]
fn a_batch_is_its_single_solves_in_order_on_any_pool() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let problem = parts.problem(30);
    let (starts, settings, u) = (starts(), Settings::default(), dvector![0.0, 0.0]);
    for method in Method::ALL {
        let single: Vec<_> = starts
            .iter()
            .map(|x0| {
                let mut solver = Solver::new(problem, method, settings.clone()).unwrap();
                bits(&solver.solve(x0, Guess::Repeat(&u)).unwrap())
            })
            .collect();
        for n_threads in [1, 3] {
            let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let batch = pool
                .install(|| {
                    solve_batch(&problem, method, &settings, &starts, |_| Guess::Repeat(&u))
                })
                .unwrap();
            let batch: Vec<_> = batch.iter().map(|found| bits(found.as_ref().unwrap())).collect();
            assert!(batch == single, "{method}, {n_threads} threads");
        }
    }
}

#[test]
fn a_solver_forgets_its_earlier_solves() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds::symmetric(2, 0.5);
    let problem = Problem { control_limits: Some(&limits), ..parts.problem(30) };
    let starts = starts();
    let (u, us) = (dvector![0.0, 0.0], vec![dvector![0.3, 0.1]; 30]);
    for method in Method::ALL {
        let mut used = Solver::new(problem, method, Settings::default()).unwrap();
        for (i, x0) in starts.iter().enumerate() {
            let guess = if i % 2 == 0 { Guess::Repeat(&u) } else { Guess::Controls(&us) };
            let mut fresh = Solver::new(problem, method, Settings::default()).unwrap();
            let again = used.solve(x0, guess).unwrap();
            assert!(bits(&again) == bits(&fresh.solve(x0, guess).unwrap()), "{method} {i}");
        }
    }
}
