//! Optima, first controls, values and iterations of Crocoddyl 3.2.1 on the tasks that solvers share:
//! `data/crocoddyl.json`, made by `bench/peers/crocoddyl_problems.py`.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::collections::BTreeMap;

use bench_tasks::{Preset, Variant};
use ddp::{Guess, Method, Problem, Settings, Solution, Solver};
use dynamics::AnyDynamics;
use nalgebra::{DMatrix, DVector};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    problems: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    task: String,
    horizon: i64,
    x0: Vec<f64>,
    u_max: Option<f64>,
    #[serde(default)]
    guess_u: Vec<f64>,
    form: Option<String>,
    state_weight: Option<f64>,
    control_weight: Option<f64>,
    terminal_weight: Option<f64>,
    solves: Vec<Run>,
    reference: usize,
    x_final: Vec<f64>,
    u0: Vec<f64>,
    vx0: Vec<f64>,
    /// Upper triangle by rows.
    vxx0: Vec<f64>,
}

#[derive(Deserialize)]
struct Run {
    solver: String,
    stop: f64,
    cost: f64,
    iterations: usize,
    converged: bool,
    /// V_x at x₀ of its last backward pass.
    vx0_raw: Option<Vec<f64>>,
    /// Per iteration: cost, step, and others.
    #[serde(default)]
    path: Vec<(f64, f64, f64, f64, f64, f64, bool)>,
}

impl Run {
    fn method(&self) -> Method {
        self.solver.parse().unwrap()
    }
}

fn cases(task: &str) -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("data/crocoddyl.json")).unwrap();
    golden.problems.into_iter().filter(|case| case.task == task).collect()
}

/// The case solved as the registry's task of that name.
fn solve(case: &Case, method: Method, stop: f64) -> Solution {
    let entry = bench_tasks::find(&case.task).unwrap();
    let mut table = (entry.settings)(Preset::Released).unwrap();
    let mut set = |key: &str, value: toml::Value| {
        assert!(table.insert(key.to_owned(), value).is_some(), "{key}");
    };
    set("horizon", case.horizon.into());
    set("x0", case.x0.clone().into());
    let weights = [
        ("state_weight", case.state_weight),
        ("control_weight", case.control_weight),
        ("terminal_weight", case.terminal_weight),
    ];
    for (key, weight) in weights {
        if let Some(weight) = weight {
            // Their second form is ½ w² ‖·‖².
            let squared = case.form.as_deref() == Some("half_squared");
            let value: toml::Value = if squared { 0.5 * weight * weight } else { weight }.into();
            // What may be left out is a list of none or one.
            set(key, if key == "terminal_weight" { vec![value].into() } else { value });
        }
    }
    if let Some(u_max) = case.u_max {
        set("u_max", vec![u_max].into());
    }
    let task = (entry.build)(Variant::Nominal, &table).unwrap();
    let (model, objective) = (task.as_task().nominal(), task.as_task().objective().unwrap());
    let problem = Problem {
        dynamics: &model,
        cost: &objective.stage,
        terminal: &objective.terminal,
        horizon: task.as_task().horizon(),
        discount: 1.0,
        control_limits: objective.control_limits,
    };
    if !case.guess_u.is_empty() {
        let expected = DVector::from_row_slice(&case.guess_u);
        assert!((objective.us0 - expected).amax() < 1e-10, "{}", case.name);
    }
    let settings = Settings { stop, max_iterations: 1000, ..Settings::default() };
    let mut solver: Solver<'_, &dyn AnyDynamics, _, _> =
        Solver::new(problem, method, settings).unwrap();
    solver.solve(objective.x0, Guess::Repeat(objective.us0)).unwrap()
}

fn close(name: &str, what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(1.0, |m: f64, e| m.max(e.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < tolerance * scale, "{name}: {what} {found:?} {expected:?}");
    }
}

fn upper_triangle(m: &DMatrix<f64>) -> Vec<f64> {
    (0..m.nrows()).flat_map(|i| (i..m.ncols()).map(move |j| m[(i, j)])).collect()
}

/// More iterations than this mean that a limited solver was stuck.
const STUCK: usize = 500;

fn check_optima(task: &str) {
    for case in cases(task) {
        let best = &case.solves[case.reference];
        for run in case.solves.iter().filter(|run| run.stop == 1e-14 && run.converged) {
            let found = solve(&case, run.method(), run.stop);
            let name = format!("{} {}", case.name, run.solver);
            // Where its limited solvers get stuck for hundreds of iterations, ours take another way and
            // may end in another local optimum.
            if case.u_max.is_some() && run.iterations > STUCK {
                assert!(found.cost < 1.001 * run.cost, "{name}: {} {}", found.cost, run.cost);
                continue;
            }
            close(&name, "cost", &[found.cost], &[run.cost], 1e-8);
            if (run.cost - best.cost).abs() > 1e-9 * best.cost.abs().max(1.0) {
                continue;
            }
            close(&name, "u0", found.us[0].as_slice(), &case.u0, 1e-5);
            close(&name, "x_final", found.xs[found.horizon()].as_slice(), &case.x_final, 1e-5);
            close(&name, "vx0", found.vx[0].as_slice(), &case.vx0, 1e-5);
            close(&name, "vxx0", &upper_triangle(&found.vxx[0]), &case.vxx0, 1e-3);
        }
    }
}

#[test]
fn the_arm_has_crocoddyls_optima() {
    check_optima("arm");
}

#[test]
fn the_unicycle_has_crocoddyls_optima_with_and_without_limits() {
    check_optima("unicycle");
}

#[test]
fn the_cartpole_swings_up_at_crocoddyls_cost() {
    check_optima("cartpole-gym");
}

#[test]
fn the_pendulum_swings_up_at_crocoddyls_cost() {
    check_optima("pendulum-ddp");
}

#[test]
fn iterations_are_crocoddyls() {
    // Counts per task: how many solves of the unlimited solvers took another number of iterations.
    let mut other: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for task in ["arm", "unicycle", "cartpole-gym", "pendulum-ddp"] {
        for case in cases(task) {
            for run in case.solves.iter().filter(|run| run.stop == 1e-9 && run.converged) {
                if run.method() != Method::Fddp && run.method() != Method::Ilqr {
                    continue;
                }
                let found = solve(&case, run.method(), run.stop);
                for (row, step) in found.log.iter().zip(&run.path) {
                    let name = format!("{} {} iteration {}", case.name, run.solver, row.iter);
                    close(&name, "cost", &[row.cost], &[step.0], 1e-7);
                    close(&name, "step", &[row.step], &[step.1], 1e-12);
                }
                if let Some(vx0) = &run.vx0_raw {
                    close(&case.name, "last vx0", found.last_vx0.as_slice(), vx0, 1e-6);
                }
                if found.iterations != run.iterations {
                    let (ours, theirs) = (found.iterations, run.iterations);
                    let line = format!("{} {}: {ours}, {theirs}", case.name, run.solver);
                    other.entry(task).or_default().push(line);
                }
            }
        }
    }
    assert!(other.is_empty(), "{other:#?}");
}
