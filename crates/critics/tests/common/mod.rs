//! Networks with random parameters, a plain-loop oracle and finite differences for the tests.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

pub(crate) mod values;

use std::ops::Range;

use critics::{Activation, Mlp, MlpSpec};
use dynamics::Stream;
use proptest::prelude::*;

pub(crate) const ACTIVATIONS: [Activation; 5] = [
    Activation::Identity,
    Activation::Tanh,
    Activation::Relu,
    Activation::Silu,
    Activation::Softplus,
];

/// `n` standard normal numbers.
pub(crate) fn normal(n: usize, seed: u64, purpose: &str) -> Vec<f64> {
    let mut stream = Stream::new(seed, purpose, 0);
    (0..n).map(|_| stream.normal()).collect()
}

/// A network with Glorot weights and biases that are not zero.
pub(crate) fn network(sizes: &[usize], hidden: Activation, seed: u64) -> Mlp<f64> {
    let spec = MlpSpec { sizes: sizes.to_vec(), hidden };
    let mut net = Mlp::xavier(spec, &[], &mut Stream::new(seed, "weights", 0)).unwrap();
    for layer in 0..net.spec().n_layers() {
        let range = net.spec().bias(layer);
        let biases = normal(range.len(), seed, "biases");
        for (p, b) in net.params_mut()[range].iter_mut().zip(biases) {
            *p = 0.3 * b;
        }
    }
    net
}

/// The network at other parameters.
pub(crate) fn at(net: &Mlp<f64>, params: &[f64]) -> Mlp<f64> {
    Mlp::new(net.spec().clone(), params.to_vec()).unwrap()
}

/// Sizes from one to nine with zero to three hidden layers.
pub(crate) fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1_usize..10, 2..6)
}

/// Layer sizes of 1 to 600, one to five linear layers and batches of 1 to 1000, small ones more often.
///
/// Where `work` of sizes and batch exceeds `limit`, the batch is cut and then the largest layer is
/// halved, so a case is wide or long but not both.
pub(crate) fn any_size(
    limit: usize,
    work: fn(&[usize], usize) -> usize,
) -> impl Strategy<Value = (Vec<usize>, usize)> {
    let upto = |largest: f64| (0.0..=1.0_f64).prop_map(move |u| largest.powf(u).round() as usize);
    (prop::collection::vec(upto(600.0), 2..7), upto(1000.0)).prop_map(move |(mut sizes, batch)| {
        while work(&sizes, 1) > limit {
            let largest = sizes.iter_mut().max().unwrap();
            *largest = largest.div_ceil(2);
        }
        let batch = batch.min(limit / work(&sizes, 1));
        (sizes, batch)
    })
}

/// Products of numbers in one pass through the network.
pub(crate) fn pass(sizes: &[usize], batch: usize) -> usize {
    batch * sizes.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum::<usize>()
}

/// Any index of a range, and its last, which stands behind the last whole vector.
pub(crate) fn any_and_last(range: Range<usize>, stream: &mut Stream) -> [usize; 2] {
    let any = stream.uniform(range.start as f64, range.end as f64) as usize;
    [any.min(range.end - 1), range.end - 1]
}

pub(crate) fn activations() -> impl Strategy<Value = Activation> {
    prop::sample::select(ACTIVATIONS.to_vec())
}

/// φ by the standard library.
fn phi(hidden: Activation, z: f64) -> f64 {
    match hidden {
        Activation::Identity => z,
        Activation::Tanh => z.tanh(),
        Activation::Relu => z.max(0.0),
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Softplus => z.exp().ln_1p(),
    }
}

/// Outputs of all samples by plain loops, and the smallest |z| of the hidden layers.
pub(crate) fn plain_forward(net: &Mlp<f64>, x: &[f64]) -> (Vec<f64>, f64) {
    let spec = net.spec();
    let (mut outs, mut margin) = (Vec::new(), f64::INFINITY);
    for sample in x.chunks(spec.n_in()) {
        let mut h = sample.to_vec();
        for layer in 0..spec.n_layers() {
            let weights = &net.params()[spec.weight(layer)];
            let biases = &net.params()[spec.bias(layer)];
            let z: Vec<f64> = weights
                .chunks(h.len())
                .zip(biases)
                .map(|(row, b)| b + row.iter().zip(&h).map(|(w, h)| w * h).sum::<f64>())
                .collect();
            h = z.clone();
            if layer + 1 < spec.n_layers() {
                for (h, z) in h.iter_mut().zip(z) {
                    margin = margin.min(z.abs());
                    *h = phi(spec.hidden, z);
                }
            }
        }
        outs.extend(h);
    }
    (outs, margin)
}

/// Smallest |z| at which differences of step [`STEP`] stay on one branch of ReLU.
pub(crate) const MARGIN: f64 = 2e-3;
const STEP: f64 = 2e-5;
/// Step of [`partial_differences`] for ReLU, and the change of slope that betrays a kink.
const RELU_STEP: f64 = 1e-5;
const RELU_BEND: f64 = 5e-8;

/// The gradient of `f` at `x` by central differences, extrapolated to fourth order.
pub(crate) fn differences(x: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut at = x.to_vec();
    (0..x.len())
        .map(|i| {
            let mut central = |h: f64| {
                at[i] = x[i] + h;
                let up = f(&at);
                at[i] = x[i] - h;
                let down = f(&at);
                at[i] = x[i];
                (up - down) / (2.0 * h)
            };
            (4.0 * central(STEP) - central(2.0 * STEP)) / 3.0
        })
        .collect()
}

/// The derivatives of `f` by some of its arguments; none where ReLU's kink is within reach.
///
/// Between kinks a ReLU network is linear in each of its inputs and parameters, so the step may be
/// short, and a kink shows in the second difference.
pub(crate) fn partial_differences(
    hidden: Activation,
    x: &[f64],
    indices: &[usize],
    mut f: impl FnMut(&[f64]) -> f64,
) -> Vec<Option<f64>> {
    let mut at = x.to_vec();
    let mut along = |i: usize| {
        let mut moved = |h: f64| {
            at[i] = x[i] + h;
            let value = f(&at);
            at[i] = x[i];
            value
        };
        if hidden == Activation::Relu {
            let (up, middle, down) = (moved(RELU_STEP), moved(0.0), moved(-RELU_STEP));
            let slope = (up - down) / (2.0 * RELU_STEP);
            let bend = (up - middle) - (middle - down);
            return (bend.abs() < RELU_STEP * RELU_BEND * slope.abs().max(1.0)).then_some(slope);
        }
        let mut central = |h: f64| (moved(h) - moved(-h)) / (2.0 * h);
        Some((4.0 * central(STEP) - central(2.0 * STEP)) / 3.0)
    };
    indices.iter().map(|i| along(*i)).collect()
}

/// max |a − b| / max(1, ‖b‖∞) over the indices with a difference, and their number.
pub(crate) fn partial_error(
    a: &[f64],
    indices: &[usize],
    differences: &[Option<f64>],
) -> (f64, usize) {
    let known = indices.iter().zip(differences).filter_map(|(i, b)| b.map(|b| (a[*i], b)));
    let (a, b): (Vec<f64>, Vec<f64>) = known.unzip();
    (relative_error(&a, &b), b.len())
}

/// max |a − b| / max(1, ‖b‖∞)
pub(crate) fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(1.0_f64, |m, b| m.max(b.abs()));
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs() / size)
        .fold(0.0, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e) })
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
