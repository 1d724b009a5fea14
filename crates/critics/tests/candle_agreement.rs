//! Kernels against the same network on candle's tape.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use candle_core::{Device, Tensor};
use common::{activations, network, normal, relative_error};
use critics::{CandleMlp, CriticError, Mlp};
use proptest::prelude::*;

fn tensor(values: &[f64], columns: usize) -> Tensor {
    Tensor::from_vec(values.to_vec(), (values.len() / columns, columns), &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_loss_on_values_and_gradients_has_the_same_gradients(
        mut sizes in prop::collection::vec(1_usize..24, 1..5),
        hidden in activations(),
        batch in 1_usize..9,
        seed: u64,
    ) {
        sizes.push(1);
        let net = network(&sizes, hidden, seed);
        let peer = CandleMlp::from_mlp(&net).unwrap();
        prop_assert_eq!(&peer.to_mlp::<f64>().unwrap(), &net);
        let n = sizes[0];
        let (x, y, target) =
            (normal(batch * n, seed, "x"), normal(batch, seed, "y"), normal(batch * n, seed, "g"));

        let (value, gradient) = peer.value_and_gradient(&tensor(&x, n)).unwrap();
        // Σ (Q − y)² + Σ (∇Q − G)²
        let value_loss = (&value - tensor(&y, 1)).unwrap().sqr().unwrap().sum_all().unwrap();
        let gradient_loss = (&gradient - tensor(&target, n)).unwrap().sqr().unwrap().sum_all().unwrap();
        let store = (value_loss + gradient_loss).unwrap().backward().unwrap();

        let mut ws = net.workspace(batch);
        let out = net.forward(&x, &mut ws).to_vec();
        let mut gx = vec![f64::NAN; x.len()];
        net.input_gradient(&vec![1.0; batch], &mut ws, &mut gx);
        prop_assert!(relative_error(&out, &numbers(&value)) < 1e-12);
        prop_assert!(relative_error(&out, &numbers(&peer.forward(&tensor(&x, n)).unwrap())) < 1e-12);
        prop_assert!(relative_error(&gx, &numbers(&gradient)) < 1e-12);

        let seeds: Vec<f64> = out.iter().zip(&y).map(|(q, y)| 2.0 * (q - y)).collect();
        let v: Vec<f64> = gx.iter().zip(&target).map(|(g, t)| 2.0 * (g - t)).collect();
        let mut grads = vec![0.0; net.params().len()];
        net.tangent(&v, &mut ws);
        net.sobolev_backward(&seeds, &vec![1.0; batch], &mut ws, &mut grads);
        prop_assert!(relative_error(&grads, &peer.gradients::<f64>(&store).unwrap()) < 1e-12);
    }
}

#[test]
fn several_outputs_evaluate_but_have_no_single_input_gradient() {
    let net = network(&[3, 5, 2], critics::Activation::Silu, 1);
    let peer = CandleMlp::from_mlp(&net).unwrap();
    let x = normal(6, 1, "x");
    let mut ws = net.workspace(2);
    let out = numbers(&peer.forward(&tensor(&x, 3)).unwrap());
    assert!(relative_error(net.forward(&x, &mut ws), &out) < 1e-12);
    assert!(matches!(peer.value_and_gradient(&tensor(&x, 3)), Err(CriticError::Shape { .. })));
    assert!(matches!(peer.to_mlp::<f32>(), Err(CriticError::Candle { .. })));
}

#[test]
fn single_precision_networks_survive_the_way_to_candle_and_back() {
    let spec = critics::MlpSpec { sizes: vec![2, 3, 1], hidden: critics::Activation::Relu };
    let params: Vec<f32> = normal(13, 2, "params").iter().map(|&p| p as f32).collect();
    let net = Mlp::new(spec, params).unwrap();
    assert_eq!(CandleMlp::from_mlp(&net).unwrap().to_mlp::<f32>().unwrap(), net);
}
