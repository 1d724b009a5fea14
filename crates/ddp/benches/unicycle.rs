//! Solves of the unicycle: time per iteration at several horizons, and a tick of MPC.
#![allow(clippy::unwrap_used, reason = "a bench that fails is a bug of its own")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::UnicycleProblem;
use ddp::{Guess, Method, Mpc, MpcSettings, Settings, Solver};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use nalgebra::dvector;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A whole solve from a cold start; items are iterations.
#[divan::bench(args = [20, 50, 100, 200])]
fn iteration(bencher: Bencher, horizon: usize) {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let mut solver =
        Solver::new(parts.problem(horizon), Method::Fddp, Settings::default()).unwrap();
    let (x0, u) = (dvector![-1.0, -1.0, 1.0], dvector![0.0, 0.0]);
    solver.solve_in_place(&x0, Guess::Repeat(&u)).unwrap();
    let iterations = solver.log().len();
    bencher
        .counter(ItemsCount::new(iterations))
        .bench_local(|| solver.solve_in_place(&x0, Guess::Repeat(&u)).unwrap());
}

/// A warm tick with one and two iterations.
#[divan::bench(args = [1, 2])]
fn tick(bencher: Bencher, iterations: usize) {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let mpc_settings = MpcSettings { iterations, ..MpcSettings::default() };
    let u = dvector![0.0, 0.0];
    let mut mpc =
        Mpc::new(parts.problem(50), Method::Fddp, Settings::default(), mpc_settings, &u).unwrap();
    let x = dvector![-1.0, -1.0, 1.0];
    mpc.tick(&x).unwrap();
    bencher.bench_local(|| {
        let x = mpc.xs()[1].clone();
        mpc.shift(1).unwrap();
        mpc.tick(&x).unwrap()
    });
}
