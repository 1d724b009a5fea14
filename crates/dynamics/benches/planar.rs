//! One environment step of hopper and half-cheetah, without and with Jacobians, in flight and on the
//! ground.

#![expect(clippy::expect_used, reason = "a bench has no one to report to")]

use divan::{Bencher, black_box};
use dynamics::models::{HalfCheetahParameters, HopperParameters};
use dynamics::planar::PlanarTree;
use dynamics::{Dynamics, FiniteDifference, Linearization, Plant};
use nalgebra::DVector;

fn main() {
    divan::main();
}

const DT: f64 = 1.0 / 60.0;

fn hopper() -> PlanarTree<6> {
    HopperParameters::real().model(DT).expect("valid")
}

fn half_cheetah() -> PlanarTree<9> {
    HalfCheetahParameters::real().model(DT).expect("valid")
}

/// Heights at which both are in flight, and at which the feet are in the ground.
fn point<const N: usize>(z: f64) -> (DVector<f64>, DVector<f64>) {
    let mut x = DVector::from_fn(2 * N, |i, _| 0.05 * (i as f64).sin());
    x[1] = z;
    (x, DVector::from_fn(N - 3, |i, _| 0.5 * (i as f64).cos()))
}

fn bench_step<const N: usize>(bencher: Bencher, model: &PlanarTree<N>, z: f64) {
    let (x, u) = point::<N>(z);
    let (mut ws, mut x_next) = (model.workspace(), x.clone());
    bencher.bench_local(|| model.step(&mut ws, black_box(&x), &u, &mut x_next));
}

fn bench_linearize<M: Dynamics, const N: usize>(bencher: Bencher, model: &M, z: f64) {
    let (x, u) = point::<N>(z);
    let (mut ws, mut out) = (model.workspace(), Linearization::of(model));
    bencher.bench_local(|| model.linearize(&mut ws, black_box(&x), &u, &mut out));
}

#[divan::bench(args = [1.0, -0.06])]
fn hopper_step(bencher: Bencher, z: f64) {
    bench_step(bencher, &hopper(), z);
}

#[divan::bench(args = [1.0, -0.06])]
fn hopper_linearize_analytic(bencher: Bencher, z: f64) {
    bench_linearize::<_, 6>(bencher, &hopper(), z);
}

#[divan::bench(args = [1.0, -0.06])]
fn hopper_linearize_finite_difference(bencher: Bencher, z: f64) {
    let model = FiniteDifference::new(hopper()).expect("a vector space");
    bench_linearize::<_, 6>(bencher, &model, z);
}

#[divan::bench(args = [1.0, -0.42])]
fn half_cheetah_step(bencher: Bencher, z: f64) {
    bench_step(bencher, &half_cheetah(), z);
}

#[divan::bench(args = [1.0, -0.42])]
fn half_cheetah_linearize_analytic(bencher: Bencher, z: f64) {
    bench_linearize::<_, 9>(bencher, &half_cheetah(), z);
}

#[divan::bench(args = [1.0, -0.42])]
fn half_cheetah_linearize_finite_difference(bencher: Bencher, z: f64) {
    let model = FiniteDifference::new(half_cheetah()).expect("a vector space");
    bench_linearize::<_, 9>(bencher, &model, z);
}
