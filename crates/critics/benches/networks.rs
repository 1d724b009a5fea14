//! Times of one network call at the sizes of the benchmark tasks, `f32`, tanh.
#![allow(clippy::expect_used, reason = "a bench that cannot start has failed")]

use critics::{Activation, Mlp, MlpSpec};
use divan::{Bencher, black_box};
use dynamics::Stream;

const N_IN: usize = 18;
/// Width of the two hidden layers, batch.
const SIZES: [(usize, usize); 4] = [(64, 1), (64, 256), (256, 1), (256, 256)];

fn main() {
    divan::main();
}

fn network(width: usize, batch: usize) -> (Mlp<f32>, Vec<f32>, Vec<f32>) {
    let spec = MlpSpec { sizes: vec![N_IN, width, width, 1], hidden: Activation::Tanh };
    let mut stream = Stream::new(1, "bench", 0);
    let net = Mlp::xavier(spec, &[], &mut stream).expect("the sizes are valid");
    let mut draw = || (0..batch * N_IN).map(|_| stream.normal() as f32).collect::<Vec<_>>();
    let (x, v) = (draw(), draw());
    (net, x, v)
}

#[divan::bench(args = SIZES)]
fn forward(bencher: Bencher, (width, batch): (usize, usize)) {
    let (net, x, _) = network(width, batch);
    let mut ws = net.workspace(batch);
    bencher.bench_local(|| net.forward(black_box(&x), &mut ws)[0]);
}

#[divan::bench(args = SIZES)]
fn input_gradient(bencher: Bencher, (width, batch): (usize, usize)) {
    let (net, x, _) = network(width, batch);
    let (mut ws, ones, mut gx) = (net.workspace(batch), vec![1.0; batch], vec![0.0; x.len()]);
    net.forward(&x, &mut ws);
    bencher.bench_local(|| net.input_gradient(black_box(&ones), &mut ws, &mut gx));
}

/// The reverse pass alone: forward and tangent are done.
#[divan::bench(args = SIZES)]
fn sobolev_backward(bencher: Bencher, (width, batch): (usize, usize)) {
    let (net, x, v) = network(width, batch);
    let (mut ws, ones) = (net.workspace(batch), vec![1.0; batch]);
    let mut grads = vec![0.0; net.params().len()];
    net.forward(&x, &mut ws);
    net.tangent(&v, &mut ws);
    bencher.bench_local(|| net.sobolev_backward(black_box(&ones), &ones, &mut ws, &mut grads));
}
