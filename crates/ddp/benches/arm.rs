//! The 7-dof arm of DVP: the phases of an iteration per 100 nodes, and whole cold solves.
#![allow(clippy::unwrap_used, reason = "a bench that fails is a bug of its own")]

use bench_tasks::{BenchTask, Preset, Variant};
use ddp::{Guess, Method, Problem, Settings, Solver};
use divan::Bencher;
use dynamics::{AnyCost, AnyDynamics, AnyTerminalCost, Objective};

fn main() {
    divan::main();
}

fn task() -> Box<dyn BenchTask> {
    let entry = bench_tasks::find("arm").unwrap();
    (entry.build)(Variant::Nominal, &(entry.settings)(Preset::Released).unwrap()).unwrap()
}

type ArmSolver<'a> = Solver<'a, &'a dyn AnyDynamics, &'a dyn AnyCost, &'a dyn AnyTerminalCost>;

/// Calls `run` with a solver of the arm's problem.
fn with_solver(
    horizon: usize,
    threads: usize,
    run: impl FnOnce(&mut ArmSolver<'_>, Objective<'_>),
) {
    let task = task();
    let (model, objective) = (task.as_task().nominal(), task.as_task().objective().unwrap());
    let problem = Problem::new(&model, &objective.stage, &objective.terminal, horizon);
    let settings = Settings { threads, ..Settings::default() };
    let mut solver = Solver::new(problem, Method::Fddp, settings).unwrap();
    run(&mut solver, objective);
}

fn at_guess(threads: usize, horizon: usize, run: impl FnOnce(&mut ArmSolver<'_>)) {
    with_solver(horizon, threads, |solver, objective| {
        solver.set_guess(objective.x0, Guess::Repeat(objective.us0)).unwrap();
        solver.evaluate().unwrap();
        solver.linearize().unwrap();
        assert!(solver.backward_pass(1e-9));
        run(solver);
    });
}

#[divan::bench]
fn calc(bencher: Bencher) {
    at_guess(1, 100, |solver| bencher.bench_local(|| solver.evaluate().unwrap()));
}

#[divan::bench]
fn calc_diff(bencher: Bencher) {
    at_guess(1, 100, |solver| bencher.bench_local(|| solver.linearize().unwrap()));
}

#[divan::bench(args = [1, 2])]
fn calc_diff_of_1000_nodes(bencher: Bencher, threads: usize) {
    at_guess(threads, 1000, |solver| bencher.bench_local(|| solver.linearize().unwrap()));
}

#[divan::bench]
fn backward(bencher: Bencher) {
    at_guess(1, 100, |solver| bencher.bench_local(|| assert!(solver.backward_pass(1e-9))));
}

#[divan::bench]
fn forward(bencher: Bencher) {
    at_guess(1, 100, |solver| bencher.bench_local(|| assert!(solver.forward_pass(1.0))));
}

#[divan::bench(args = [100, 200])]
fn cold_solve(bencher: Bencher, horizon: usize) {
    with_solver(horizon, 1, |solver, objective| {
        let guess = Guess::Repeat(objective.us0);
        bencher.bench_local(|| solver.solve_in_place(objective.x0, guess).unwrap());
    });
}
