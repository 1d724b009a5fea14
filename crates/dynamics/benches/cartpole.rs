//! One environment step of the cartpole, without and with Jacobians.

#![expect(clippy::expect_used, reason = "a bench has no one to report to")]

use divan::{Bencher, black_box};
use dynamics::models::{Cartpole, CartpoleParameters, DeadbandKind};
use dynamics::{Dynamics, FiniteDifference, Linearization, Plant, Rk4};
use nalgebra::{DVector, dvector};

fn main() {
    divan::main();
}

fn model() -> Rk4<Cartpole> {
    let parameters = CartpoleParameters {
        cart_mass: 1.8,
        pole_mass: 0.6,
        length: 0.5,
        gravity: 9.81,
        damping: 0.08,
        friction: 0.6,
        friction_slope: 5.0,
        deadband: 0.05,
        deadband_kind: DeadbandKind::Raising,
    };
    Cartpole::new(parameters).and_then(|cartpole| Rk4::new(cartpole, 0.05)).expect("valid")
}

fn point() -> (DVector<f64>, DVector<f64>) {
    (dvector![0.3, 2.0, -0.5, 1.0], dvector![7.5])
}

#[divan::bench]
fn step(bencher: Bencher) {
    let (model, (x, u)) = (model(), point());
    let (mut ws, mut x_next) = (model.workspace(), x.clone());
    bencher.bench_local(|| model.step(&mut ws, black_box(&x), &u, &mut x_next));
}

#[divan::bench]
fn linearize_analytic(bencher: Bencher) {
    let (model, (x, u)) = (model(), point());
    let (mut ws, mut out) = (model.workspace(), Linearization::of(&model));
    bencher.bench_local(|| model.linearize(&mut ws, black_box(&x), &u, &mut out));
}

#[divan::bench]
fn linearize_finite_difference(bencher: Bencher) {
    let (model, (x, u)) = (FiniteDifference::new(model()).expect("a vector space"), point());
    let (mut ws, mut out) = (model.workspace(), Linearization::of(&model));
    bencher.bench_local(|| model.linearize(&mut ws, black_box(&x), &u, &mut out));
}
