//! Hundreds of random starts: how many converge, and by which steps.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]
#![allow(clippy::print_stdout, reason = "the table of all methods")]

mod common;

use std::f64::consts::PI;

use common::starts::{Tally, random_starts, solve_all};
use common::{UnicycleProblem, swing_up};
use ddp::{Method, Problem, Settings, Solution, Status};
use dynamics::{ActionBounds, Cost, Dynamics, TerminalCost};
use nalgebra::DVector;

/// Checks every step against the rule by which it should have been accepted.
fn check_steps(solution: &Solution, settings: &Settings) {
    let Settings { accept_ratio, accept_rise, min_slope, .. } = *settings;
    let keeps_gaps = matches!(solution.method, Method::Fddp | Method::BoxFddp);
    let mut before: Option<f64> = None;
    // These methods take any first step from a guess of states, as Crocoddyl does, and are feasible
    // from then on.
    let mut bound = keeps_gaps;
    // A limited method that is stuck closes its gaps, whatever that costs.
    let (limited, mut stuck) = (solution.method == Method::BoxFddp, false);
    for row in &solution.log {
        // Costs are sums of squares, so that their sizes add up to themselves.
        let cost_before = row.cost + row.dv;
        let rounding = min_slope.max(4.0 * f64::EPSILON * cost_before);
        if let Some(before) = before {
            assert!((before - cost_before).abs() <= 1e-12 * before, "{row}");
        }
        before = Some(row.cost);
        if row.step == 0.0 {
            stuck = limited;
            continue;
        }
        let small = row.grad.abs() < rounding;
        if row.feas == 0.0 && bound {
            assert!(row.dv >= -rounding, "the cost rises: {row}");
            assert!(row.dv_exp >= 0.0, "{row}");
            assert!(row.dv > accept_ratio * row.dv_exp || small, "{row}");
        } else if keeps_gaps && !stuck {
            let ratio = if row.dv_exp < 0.0 { accept_rise } else { accept_ratio };
            assert!(row.dv > ratio * row.dv_exp || small, "{row}");
        }
        bound = true;
    }
    if solution.status == Status::Converged {
        assert!(solution.feasible && solution.log.last().unwrap().stop < settings.stop);
    }
}

/// Solves from all starts with every method, the last two within the limits, checks every step and
/// the share of solves that converge, in percent and in the order of [`Method::ALL`].
fn check_starts<D: Dynamics, C: Cost, E: TerminalCost>(
    limited: &Problem<'_, D, C, E>,
    max_iterations: usize,
    starts: &[DVector<f64>],
    least: [usize; 5],
) {
    let settings = Settings { max_iterations, ..Settings::default() };
    for (method, least) in Method::ALL.into_iter().zip(least) {
        let solutions = solve_all(limited, method, &settings, starts);
        solutions.iter().for_each(|solution| check_steps(solution, &settings));
        let tally = Tally::of(&solutions);
        println!("{:10} {method:8} {tally}", limited.dynamics.name());
        assert!(100 * tally.converged >= least * tally.solves, "{method}: {tally}");
    }
}

#[test]
fn the_unicycle_converges_from_everywhere() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds::symmetric(2, 1.0);
    let problem = Problem { control_limits: Some(&limits), ..parts.problem(60) };
    let starts = random_starts(300, &[0.0; 3], &[2.0, 2.0, 2.0 * PI]);
    check_starts(&problem, 200, &starts, [99; 5]);
}

#[test]
fn the_pendulum_swings_up_from_everywhere() {
    let parts = swing_up::pendulum();
    let starts = random_starts(100, &[PI, 0.0], &[PI, 1.0]);
    check_starts(&parts.limited(), 500, &starts, [99, 99, 99, 95, 95]);
}

#[test]
fn most_cartpoles_swing_up() {
    let parts = swing_up::cartpole();
    let starts = random_starts(50, &[0.0; 4], &[1.0, PI, 1.0, 1.0]);
    check_starts(&parts.limited(), 300, &starts, [70, 60, 55, 80, 80]);
}
