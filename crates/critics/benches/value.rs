//! Times of a value network: as a terminal cost of one state, and of one Sobolev epoch.
#![allow(clippy::expect_used, reason = "a bench that cannot start has failed")]

use critics::{
    Adam, AdamSettings, HessianTargets, Initialization, NeuralTerminalCost, Scaling,
    SobolevTargets, SobolevWeights, ValueNetwork, ValueSpec,
};
use divan::{Bencher, black_box};
use dynamics::{CostExpansion, HessianKind, Stream, TerminalCost};
use nalgebra::DVector;

/// Entries of the state: toys, cart-pole, arm.
const STATES: [usize; 3] = [3, 4, 14];

fn main() {
    divan::main();
}

fn network(nx: usize) -> ValueNetwork<f64> {
    let stream = &mut Stream::new(1, "bench", 0);
    ValueNetwork::random(ValueSpec::new(nx), Scaling::none(nx), Initialization::Pytorch, stream)
        .expect("the sizes are valid")
}

fn expand(bencher: Bencher, nx: usize, kind: HessianKind) {
    let cost = NeuralTerminalCost::new(network(nx), kind);
    let (mut ws, mut out) = (cost.workspace(), CostExpansion::zeros(nx, 1));
    let x = DVector::from_fn(nx, |i, _| 0.1 * i as f64 - 0.3);
    bencher.bench_local(|| cost.expand_terminal(&mut ws, black_box(&x), &mut out));
}

#[divan::bench(args = STATES)]
fn terminal_value(bencher: Bencher, nx: usize) {
    let cost = NeuralTerminalCost::new(network(nx), HessianKind::GaussNewton);
    let (mut ws, x) = (cost.workspace(), DVector::from_element(nx, 0.2));
    bencher.bench_local(|| cost.terminal(&mut ws, black_box(&x)));
}

#[divan::bench(args = STATES)]
fn terminal_gauss_newton(bencher: Bencher, nx: usize) {
    expand(bencher, nx, HessianKind::GaussNewton);
}

#[divan::bench(args = STATES)]
fn terminal_exact(bencher: Bencher, nx: usize) {
    expand(bencher, nx, HessianKind::Exact);
}

/// One full-batch epoch with 100 samples of V = |x|²: loss gradient and Adam step.
fn epoch(bencher: Bencher, nx: usize, order: usize, per_sample: usize) {
    let (mut net, samples) = (network(nx), 100);
    let mut stream = Stream::new(2, "bench", 0);
    let x: Vec<f64> = (0..samples * nx).map(|_| stream.normal()).collect();
    let v: Vec<f64> = x.chunks_exact(nx).map(|x| x.iter().map(|x| x * x).sum()).collect();
    let vx: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
    let twice = |i: usize| if i.is_multiple_of(nx + 1) { 2.0 } else { 0.0 };
    let vxx: Vec<f64> = (0..samples * nx * nx).map(|i| twice(i % (nx * nx))).collect();
    let directions: Vec<f64> = (0..samples * per_sample * nx).map(|_| stream.normal()).collect();
    let products: Vec<f64> = directions.iter().map(|d| 2.0 * d).collect();
    let vxx = match per_sample {
        0 => HessianTargets::Matrices(&vxx),
        _ => HessianTargets::Products { per_sample, directions: &directions, products: &products },
    };
    let targets = SobolevTargets {
        v: &v,
        vx: (order > 0).then_some(&vx[..]),
        vxx: (order > 1).then_some(vxx),
    };
    let weights = SobolevWeights { gradient: 1.0, hessian: 1.0 };
    let mut ws = net.sobolev_workspace(samples);
    let n_params = net.net().params().len();
    let mut adam = Adam::new(n_params, AdamSettings { lr: 1e-3, ..AdamSettings::default() });
    let mut grads = vec![0.0; n_params];
    bencher.bench_local(|| {
        grads.fill(0.0);
        let errors = net.sobolev_gradient(black_box(&x), &targets, weights, &mut ws, &mut grads);
        adam.step(net.params_mut(), &grads);
        errors
    });
}

#[divan::bench(args = STATES)]
fn epoch_order_0(bencher: Bencher, nx: usize) {
    epoch(bencher, nx, 0, 0);
}

#[divan::bench(args = STATES)]
fn epoch_order_1(bencher: Bencher, nx: usize) {
    epoch(bencher, nx, 1, 0);
}

#[divan::bench(args = STATES)]
fn epoch_order_2_matrices(bencher: Bencher, nx: usize) {
    epoch(bencher, nx, 2, 0);
}

#[divan::bench(args = STATES)]
fn epoch_order_2_one_direction(bencher: Bencher, nx: usize) {
    epoch(bencher, nx, 2, 1);
}
