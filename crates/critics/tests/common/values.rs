//! Value networks with random parameters, and V over dual numbers by plain loops.

use critics::{Activation, Head, Initialization, Scaling, ValueNetwork, ValueSpec};
use dynamics::Stream;
use num_dual::{Dual64, DualNum, HyperDual64};

use super::{Strategy, normal, prop};

pub(crate) const HEADS: [Head; 3] = [Head::Plain, Head::SumOfSquares, Head::SmoothNorm];

pub(crate) fn heads() -> impl Strategy<Value = Head> {
    prop::sample::select(HEADS.to_vec())
}

/// Activations without kinks.
pub(crate) fn smooth() -> impl Strategy<Value = Activation> {
    let smooth = [Activation::Identity, Activation::Tanh, Activation::Silu, Activation::Softplus];
    prop::sample::select(smooth.to_vec())
}

/// State, up to three hidden layers.
pub(crate) fn shapes() -> impl Strategy<Value = (usize, Vec<usize>)> {
    (1_usize..6, prop::collection::vec(1_usize..9, 0..4))
}

/// A network with random scalings, Glorot weights and biases that are not zero.
pub(crate) fn value_network(
    nx: usize,
    hidden: &[usize],
    activation: Activation,
    head: Head,
    seed: u64,
) -> ValueNetwork<f64> {
    let spec = ValueSpec { nx, hidden: hidden.to_vec(), activation, head, residuals: 3 };
    let mut stream = Stream::new(seed, "scaling", 0);
    let shift = (0..nx).map(|_| stream.normal()).collect();
    let scale = (0..nx).map(|_| stream.uniform(0.7, 2.0)).collect();
    let scaling = Scaling { shift, scale, value: stream.uniform(0.5, 2.0) };
    let stream = &mut Stream::new(seed, "weights", 0);
    let mut net = ValueNetwork::random(spec, scaling, Initialization::Xavier, stream).unwrap();
    let mlp = net.net().spec().clone();
    for layer in 0..mlp.n_layers() {
        let biases = normal(mlp.bias(layer).len(), seed, "biases");
        for (p, b) in net.params_mut()[mlp.bias(layer)].iter_mut().zip(biases) {
            *p = 0.3 * b;
        }
    }
    net
}

/// The same network in single precision.
pub(crate) fn single(net: &ValueNetwork<f64>) -> ValueNetwork<f32> {
    let params = net.net().params().iter().map(|p| *p as f32).collect();
    ValueNetwork::new(net.spec().clone(), net.scaling().clone(), params).unwrap()
}

fn phi<D: DualNum<Primitive = f64> + Copy>(activation: Activation, z: D) -> D {
    match activation {
        Activation::Identity => z,
        Activation::Tanh => z.tanh(),
        Activation::Relu => {
            if z.re() > 0.0 {
                z
            } else {
                z * 0.0
            }
        }
        Activation::Silu => z / ((-z).exp() + 1.0),
        Activation::Softplus => z.exp().ln_1p(),
    }
}

/// V at one state.
pub(crate) fn plain_value<D: DualNum<Primitive = f64> + Copy>(
    net: &ValueNetwork<f64>,
    x: &[D],
) -> D {
    let (spec, scaling) = (net.net().spec(), net.scaling());
    let scales = scaling.shift.iter().zip(&scaling.scale);
    let mut h: Vec<D> = x.iter().zip(scales).map(|(x, (b, s))| (*x - *b) / *s).collect();
    for layer in 0..spec.n_layers() {
        let weights = net.net().params()[spec.weight(layer)].chunks(h.len());
        let rows = weights.zip(&net.net().params()[spec.bias(layer)]);
        let linear = |(row, bias): (&[f64], &f64)| {
            row.iter().zip(&h).fold(h[0] * 0.0 + *bias, |sum, (w, h)| sum + *h * *w)
        };
        let z: Vec<D> = rows.map(linear).collect();
        let last = layer + 1 == spec.n_layers();
        h = if last { z } else { z.into_iter().map(|z| phi(spec.hidden, z)).collect() };
    }
    let term = |r: D| match net.spec().head {
        Head::Plain => r,
        Head::SumOfSquares => r * r,
        Head::SmoothNorm => (r * r + 1.0).sqrt() - 1.0,
    };
    h.iter().fold(h[0] * 0.0, |sum, r| sum + term(*r)) * scaling.value
}

/// Vx and Vxx at one state by dual numbers.
pub(crate) fn dual_derivatives(net: &ValueNetwork<f64>, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n = x.len();
    let one = |at: bool| if at { 1.0 } else { 0.0 };
    let gradient = (0..n)
        .map(|i| {
            let x: Vec<_> = (0..n).map(|k| Dual64::new(x[k], one(k == i))).collect();
            plain_value(net, &x).eps
        })
        .collect();
    let hessian = (0..n * n)
        .map(|ij| {
            let (i, j) = (ij / n, ij % n);
            let entry = |k| HyperDual64::new(x[k], one(k == i), one(k == j), 0.0);
            let x: Vec<_> = (0..n).map(entry).collect();
            plain_value(net, &x).eps1eps2
        })
        .collect();
    (gradient, hessian)
}
