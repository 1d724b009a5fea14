//! The 7-dof arm of DVP: values, gradients, first controls and iterations of the fact sheet (measured
//! with Crocoddyl 3.1.0, float64; printed to eight digits, from a robot file whose rotations are rounded
//! to 4e-8).
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use bench_tasks::{Preset, Variant};
use ddp::{Guess, Method, Problem, Settings, Solution, Solver, Status};
use dynamics::models::iiwa14;
use dynamics::rigid_body::{Base, Model};
use nalgebra::DVector;

/// The sheet's second start.
const X1: [f64; 14] =
    [-1.0, 0.5, 1.2, 1.5, -1.0, 1.0, 0.2, 0.01, -0.01, 0.005, 0.0, 0.0, 0.01, -0.01];
/// What the rounded robot file changes.
const ROUNDING: f64 = 5e-8;

fn solve(x0: Option<&[f64]>, horizon: i64) -> Solution {
    let entry = bench_tasks::find("arm").unwrap();
    let mut table = (entry.settings)(Preset::Released).unwrap();
    table.insert("horizon".to_owned(), horizon.into());
    if let Some(x0) = x0 {
        table.insert("x0".to_owned(), x0.to_vec().into());
    }
    let task = (entry.build)(Variant::Nominal, &table).unwrap();
    let (model, objective) = (task.as_task().nominal(), task.as_task().objective().unwrap());
    let horizon = task.as_task().horizon();
    let problem = Problem::new(&model, &objective.stage, &objective.terminal, horizon);
    let mut solver = Solver::new(problem, Method::Fddp, Settings::default()).unwrap();
    solver.solve(objective.x0, Guess::Repeat(objective.us0)).unwrap()
}

fn tool(x: &DVector<f64>) -> [f64; 3] {
    let model = Model::new(&iiwa14(), Base::Fixed).unwrap();
    let tool = model.find_frame("tool").unwrap();
    let (_, position) = model.frame_pose(&mut model.workspace(), &x.rows(0, 7).into_owned(), tool);
    position.into()
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < tolerance, "{found:?} {expected:?}");
    }
}

#[test]
fn values_iterations_and_final_positions_are_those_of_the_sheet() {
    let rows = [
        (50, 0.90295132, 15, [-0.1411, -0.2986, 0.7480]),
        (70, 0.93987313, 17, [-0.1910, -0.3230, 0.6237]),
        (100, 0.95723779, 17, [-0.2410, -0.3613, 0.5519]),
        (200, 0.96247320, 20, [-0.2947, -0.3969, 0.5040]),
        (300, 0.96252090, 22, [-0.2997, -0.4000, 0.5005]),
        (500, 0.96252365, 33, [-0.3001, -0.4002, 0.5001]),
        (1000, 0.96252423, 54, [-0.3000, -0.4000, 0.5000]),
    ];
    for (horizon, value, iterations, position) in rows {
        let found = solve(None, horizon);
        assert_eq!(found.status, Status::Converged);
        assert_eq!(found.iterations, iterations, "T = {horizon}");
        close(&[found.cost], &[value], ROUNDING);
        close(&tool(&found.xs[found.horizon()]), &position, 6e-5);
    }
}

#[test]
fn gradient_control_and_path_at_the_horizon_of_the_paper_are_those_of_the_sheet() {
    let found = solve(None, 200);
    let vx = [
        0.372737, 0.441488, -0.211061, -0.610133, 0.186468, -0.005944, 0.0, 0.064538, 0.201934,
        -0.021974, -0.090839, 0.008589, 0.001283, -0.000081,
    ];
    close(found.vx[0].as_slice(), &vx, 2e-5);
    let u0 = [-5.699158, -29.065066, 3.651615, 8.349226, -2.333210, -0.349479, 0.012887];
    close(found.us[0].as_slice(), &u0, 1e-6);
    let path = [
        (4.036, 1.0),
        (2.869, 0.25),
        (1.333, 1.0),
        (1.264, 0.25),
        (1.089, 0.5),
        (0.9723, 1.0),
        (0.9630, 1.0),
        (0.9625, 1.0),
    ];
    for (row, (cost, step)) in found.log.iter().zip(path) {
        close(&[row.cost, row.step, row.reg], &[cost, step, 1e-9], 6e-4);
    }
    let expected = [1.04e-2, 1.09e-4, 1.28e-5, 1.67e-6, 2.2e-7, 2.9e-8, 3.9e-9, 5.2e-10];
    for (row, expected) in found.log[6..].iter().step_by(2).zip(expected) {
        assert!((row.stop / expected - 1.0).abs() < 0.03, "{row}");
    }
}

#[test]
fn the_second_start_has_the_values_of_the_sheet() {
    let (short, long) = (solve(Some(&X1), 50), solve(Some(&X1), 200));
    assert_eq!((short.iterations, long.iterations), (5, 6));
    close(&[short.cost, long.cost], &[0.09365333, 0.09751261], ROUNDING);
    let vx = [
        0.001542, -0.112111, -0.135299, -0.213815, 0.056273, 0.002420, 0.0, -0.002506, -0.025788,
        -0.018822, -0.022263, 0.001473, 0.000063, -0.000083,
    ];
    close(long.vx[0].as_slice(), &vx, 1e-5);
}
