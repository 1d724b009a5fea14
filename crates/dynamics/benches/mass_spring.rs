//! Mass-spring networks: a step, a step with its derivative, and roll-outs with the gradient of a
//! scalar by the adjoint.

#![expect(clippy::expect_used, reason = "a bench has no one to report to")]

use divan::{Bencher, black_box};
use dynamics::mass_spring::{
    Integration, Law, Link, MassSpring, Scheme, Startup, chain_start, pendulum,
};
use dynamics::{Dynamics, Linearization, Plant, StepDerivative};
use nalgebra::DVector;

fn main() {
    divan::main();
}

/// The networks by dimension and number of links; ten links are a rope of one-sided springs.
const CASES: [(usize, usize); 4] = [(2, 1), (3, 1), (3, 2), (3, 10)];

fn case((dimension, n): (usize, usize)) -> (MassSpring, DVector<f64>, DVector<f64>) {
    let rope = Link {
        length: 0.1,
        mass: 0.05,
        law: Law::Unilateral { smoothing: 1e-3 },
        ..Link::pendulum()
    };
    let links = vec![if n == 10 { rope } else { Link::pendulum() }; n];
    let integration = Integration { scheme: Scheme::Bdf2, startup: Startup::Bdf1, dt: 1.0 / 60.0 };
    let model = MassSpring::new(pendulum(dimension, &links), integration).expect("valid");
    let mut direction = vec![0.0; dimension];
    direction[0] = 0.6;
    direction[dimension - 1] = -0.8;
    let (p, still) = (vec![0.0; dimension], vec![0.0; dimension * n]);
    let start = chain_start(dimension, &links, &p, &direction.repeat(n), &still).expect("valid");
    let x = model.state(&start.x, &start.v, &p).expect("valid");
    (model, x, DVector::from_fn(dimension, |i, _| 0.5 * (i as f64 + 1.0).cos()))
}

#[divan::bench(args = CASES)]
fn step(bencher: Bencher, network: (usize, usize)) {
    let (model, x, u) = case(network);
    let (mut ws, mut next) = (model.workspace(), x.clone());
    bencher.bench_local(|| model.step(&mut ws, black_box(&x), &u, &mut next));
}

#[divan::bench(args = CASES)]
fn step_with_derivative(bencher: Bencher, network: (usize, usize)) {
    let (model, x, u) = case(network);
    let (mut ws, mut next, mut out) = (model.workspace(), x.clone(), model.new_derivative());
    bencher.bench_local(|| model.derivative(&mut ws, black_box(&x), &u, &mut next, &mut out));
}

#[divan::bench(args = CASES)]
fn linearize(bencher: Bencher, network: (usize, usize)) {
    let (model, x, u) = case(network);
    let (mut ws, mut out) = (model.workspace(), Linearization::of(&model));
    bencher.bench_local(|| model.linearize(&mut ws, black_box(&x), &u, &mut out));
}

#[divan::bench(args = CASES)]
fn roll_out_of_50_steps(bencher: Bencher, network: (usize, usize)) {
    let (model, start, u) = case(network);
    let (mut ws, mut x, mut next) = (model.workspace(), start.clone(), start.clone());
    bencher.bench_local(|| {
        x.copy_from(&start);
        for _ in 0..50 {
            model.step(&mut ws, &x, &u, &mut next).expect("solvable");
            std::mem::swap(&mut x, &mut next);
        }
    });
}

#[divan::bench(args = CASES)]
fn roll_out_of_50_steps_with_gradient(bencher: Bencher, network: (usize, usize)) {
    let (model, start, u) = case(network);
    let (mut ws, mut x, mut next) = (model.workspace(), start.clone(), start.clone());
    let mut along: Vec<StepDerivative> = vec![model.new_derivative(); 50];
    let mut scratch = along[0].scratch();
    let (ndx, nu) = (model.ndx(), model.nu());
    let (mut costate, mut earlier) = (vec![0.0; ndx], vec![0.0; ndx]);
    let mut gradient = vec![0.0; 50 * nu];
    bencher.bench_local(|| {
        x.copy_from(&start);
        for derivative in &mut along {
            model.derivative(&mut ws, &x, &u, &mut next, derivative).expect("solvable");
            std::mem::swap(&mut x, &mut next);
        }
        costate.fill(1.0);
        for (derivative, by_u) in along.iter().zip(gradient.chunks_exact_mut(nu)).rev() {
            derivative.adjoint(&mut scratch, &costate, &mut earlier, by_u);
            std::mem::swap(&mut costate, &mut earlier);
        }
    });
}
