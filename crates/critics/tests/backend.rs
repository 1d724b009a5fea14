//! Our kernels against candle behind the same face, and candle's tensors for losses of one's own.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use candle_core::{Device, Tensor};
use common::{ACTIVATIONS, activations, any_size, network, normal, pass, relative_error};
use critics::{
    Activation, Adam, AdamSettings, Backend, CandleMlp, CriticError, Mlp, MlpSpec, MlpWorkspace,
    Real, SquaredResidual, SquashedGaussian,
};
use dynamics::{HessianKind, Stream};
use proptest::prelude::*;

/// candle on the processor, and on a GPU in programs that are built for one.
fn devices() -> Vec<Backend> {
    let mut devices = vec![Backend::candle().unwrap()];
    if cfg!(feature = "cuda") {
        devices.push(Backend::cuda().unwrap());
    }
    devices
}

/// A network, a batch of inputs, and the seeds of its derivatives.
struct Case<T: Real> {
    net: Mlp<T>,
    x: Vec<T>,
    v: Vec<T>,
    seed: Vec<T>,
    tangent_seed: Vec<T>,
}

/// Numbers under the names of what they are.
type Results<T> = Vec<(&'static str, Vec<T>)>;

impl<T: Real> Case<T> {
    fn new(sizes: &[usize], hidden: Activation, batch: usize, seed: u64) -> Self {
        let net = network(sizes, hidden, seed);
        let params = net.params().iter().map(|p| T::from_f64(*p)).collect();
        let net = Mlp::new(net.spec().clone(), params).unwrap();
        let numbers = |n: usize, purpose: &str| -> Vec<T> {
            normal(batch * n, seed, purpose).into_iter().map(T::from_f64).collect()
        };
        let (n_in, n_out) = (net.spec().n_in(), net.spec().n_out());
        Self {
            x: numbers(n_in, "x"),
            v: numbers(n_in, "v"),
            seed: numbers(n_out, "seed"),
            tangent_seed: numbers(n_out, "tangent seed"),
            net,
        }
    }

    /// The results of all methods on a backend by name, in buffers that hold what must be overwritten
    /// or added to.
    fn results(&self, backend: &Backend, ws: &mut MlpWorkspace<T>) -> Results<T> {
        let net = self.net.clone().with_backend(backend.clone());
        assert_eq!(net.backend(), backend);
        let nan = T::from_f64(f64::NAN);
        let (mut gx, mut gx_beside) = (vec![nan; self.x.len()], vec![nan; self.x.len()]);
        let mut grads = vec![T::ONE; net.params().len()];
        let mut sobolev_grads = grads.clone();
        let out = net.forward(&self.x, ws).to_vec();
        assert_eq!(ws.out(), out);
        net.input_gradient(&self.seed, ws, &mut gx);
        net.backward(&self.seed, ws, &mut grads, Some(&mut gx_beside));
        let tangent = net.tangent(&self.v, ws).to_vec();
        net.sobolev_backward(&self.seed, &self.tangent_seed, ws, &mut sobolev_grads);
        vec![
            ("outputs", out),
            ("input gradient", gx),
            ("input gradient beside the backward pass", gx_beside),
            ("parameter gradient", grads),
            ("tangent", tangent),
            ("parameter gradient of the Sobolev loss", sobolev_grads),
        ]
    }

    /// The results of all methods for second derivatives and Jacobians.
    fn curvatures(&self, backend: &Backend, ws: &mut MlpWorkspace<T>) -> Results<T> {
        let net = self.net.clone().with_backend(backend.clone());
        let (n_in, n_out) = (net.spec().n_in(), net.spec().n_out());
        let batch = self.x.len() / n_in;
        let mut scratch = net.hessian_workspace(batch);
        let nan = |n: usize| vec![T::from_f64(f64::NAN); n];
        let (mut hv, mut h) = (nan(self.x.len()), nan(batch * n_in * n_in));
        let (mut j, mut v) = (nan(batch * n_out * n_in), nan(batch));
        net.forward(&self.x, ws);
        net.hessian(&self.seed, ws, &mut scratch, &mut h);
        net.jacobian(ws, &mut scratch, &mut j);
        let mut results = Vec::new();
        for (what, kind) in
            [("exact Vxx", HessianKind::Exact), ("Gauss-Newton Vxx", HessianKind::GaussNewton)]
        {
            let (mut vx, mut vxx, mut jacobian) = (nan(hv.len()), nan(h.len()), nan(j.len()));
            let result =
                SquaredResidual { v: &mut v, vx: &mut vx, vxx: &mut vxx, jacobian: &mut jacobian };
            net.squared_residual(kind, ws, &mut scratch, result);
            for matrix in vxx.chunks_exact(n_in * n_in) {
                assert!((0..n_in * n_in).all(|i| matrix[i] == matrix[i % n_in * n_in + i / n_in]));
            }
            results.extend([(what, vxx), ("Vx", vx), ("Jacobian beside Vxx", jacobian)]);
        }
        net.hessian_vector(&self.seed, &self.v, ws, &mut hv);
        results.extend([("Hessian-vector product", hv), ("Hessian", h), ("Jacobian", j), ("V", v)]);
        results
    }

    /// Compares the methods `of` a case on all backends; the error is relative to the largest number or 1.
    fn check(
        &self,
        of: fn(&Self, &Backend, &mut MlpWorkspace<T>) -> Results<T>,
        tolerance: f64,
    ) -> Result<(), TestCaseError> {
        let wide = |numbers: &[T]| -> Vec<f64> { numbers.iter().map(|n| n.to_f64()).collect() };
        // One workspace for all backends: nothing of one may reach another.
        let mut ws = self.net.workspace(1);
        let ours = of(self, &Backend::Native, &mut ws);
        for backend in devices() {
            for ((what, a), (_, b)) in ours.iter().zip(of(self, &backend, &mut ws)) {
                let error = relative_error(&wide(a), &wide(&b));
                prop_assert!(error <= tolerance, "{what} on {backend}: {error:e}");
            }
        }
        prop_assert_eq!(of(self, &Backend::Native, &mut ws), ours);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_method_gives_the_same_on_all_backends(
        (sizes, batch) in any_size(2_000_000, pass), hidden in activations(), seed: u64,
    ) {
        Case::<f64>::new(&sizes, hidden, batch, seed).check(Case::results, 1e-12)?;
    }

    #[test]
    fn second_derivatives_are_the_same_on_all_backends(
        (sizes, batch) in any_size(1_000_000, tangents), hidden in activations(), seed: u64,
    ) {
        Case::<f64>::new(&sizes, hidden, batch, seed).check(Case::curvatures, 1e-12)?;
    }

    /// Single precision has 2⁻²⁴ ≈ 6e-8. A pre-activation within rounding of 0 may lie on either side of
    /// ReLU's kink, which makes another gradient; `integers_agree_to_the_bit` has ReLU.
    #[test]
    fn single_precision_agrees_to_its_rounding(
        (sizes, batch) in any_size(2_000_000, pass), hidden in activations(), seed: u64,
    ) {
        prop_assume!(hidden != Activation::Relu);
        Case::<f32>::new(&sizes, hidden, batch, seed).check(Case::results, 1e-5)?;
    }

    /// Sums of small integers are exact in any order, so nothing may differ, not even at the kink.
    #[test]
    fn integers_agree_to_the_bit(
        (sizes, batch) in any_size(100_000, pass),
        hidden in prop::sample::select(vec![Activation::Relu, Activation::Identity]),
        seed: u64,
    ) {
        fn integers<T: Real>(case: &mut Case<T>) {
            // Few weights are not 0, so that no sum outgrows the 24 bits of single precision.
            let spec = case.net.spec().clone();
            for layer in 0..spec.n_layers() {
                let bound = 4.0 / (spec.sizes[layer] as f64).max(4.0);
                for (i, p) in case.net.params_mut()[spec.weight(layer)].iter_mut().enumerate() {
                    let kept = (i * 7919 % 1009) as f64 <= 1009.0 * bound;
                    *p = T::from_f64(if kept { p.to_f64().signum() } else { 0.0 });
                }
                for p in &mut case.net.params_mut()[spec.bias(layer)] {
                    *p = T::from_f64((4.0 * p.to_f64()).round());
                }
            }
            for numbers in
                [&mut case.x, &mut case.v, &mut case.seed, &mut case.tangent_seed]
            {
                numbers.iter_mut().for_each(|n| *n = T::from_f64(n.to_f64().round()));
            }
        }
        let mut case = Case::<f64>::new(&sizes, hidden, batch, seed);
        integers(&mut case);
        case.check(Case::results, 0.0)?;
        let mut case = Case::<f32>::new(&sizes, hidden, batch, seed);
        integers(&mut case);
        case.check(Case::results, 0.0)?;
    }

    #[test]
    fn a_loss_on_values_and_gradients_has_the_same_gradients_by_hand_and_by_tape(
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
        let slope_loss = (&gradient - tensor(&target, n)).unwrap().sqr().unwrap().sum_all().unwrap();
        let store = (value_loss + slope_loss).unwrap().backward().unwrap();

        let mut grads = vec![0.0; net.params().len()];
        add_sobolev_gradient(&net, &x, &y, &target, &mut net.workspace(batch), &mut grads);
        prop_assert!(relative_error(&grads, &peer.gradients::<f64>(&store).unwrap()) < 1e-12);
    }
}

/// Products of numbers in one pass for every input and output.
fn tangents(sizes: &[usize], batch: usize) -> usize {
    (sizes[0] + sizes[sizes.len() - 1]) * pass(sizes, batch)
}

/// Adds the parameter gradient of Σ (Q − y)² + Σ (∇Q − G)².
fn add_sobolev_gradient(
    net: &Mlp<f64>,
    x: &[f64],
    y: &[f64],
    target: &[f64],
    ws: &mut MlpWorkspace<f64>,
    grads: &mut [f64],
) {
    let twice_the_error = |a: &[f64], b: &[f64]| -> Vec<f64> {
        a.iter().zip(b).map(|(a, b)| 2.0 * (a - b)).collect()
    };
    let (ones, mut gx) = (vec![1.0; y.len()], vec![f64::NAN; x.len()]);
    let seed = twice_the_error(net.forward(x, ws), y);
    net.input_gradient(&ones, ws, &mut gx);
    net.tangent(&twice_the_error(&gx, target), ws);
    net.sobolev_backward(&seed, &ones, ws, grads);
}

#[test]
fn training_on_values_and_slopes_gives_the_same_parameters_on_all_backends() {
    for hidden in ACTIVATIONS {
        let trained = |backend: Backend| {
            let mut net = network(&[3, 20, 20, 1], hidden, 4).with_backend(backend);
            let (x, y, target) = (normal(30, 4, "x"), normal(10, 4, "y"), normal(30, 4, "g"));
            let mut ws = net.workspace(10);
            let mut grads = vec![0.0; net.params().len()];
            let mut adam = Adam::new(grads.len(), AdamSettings { lr: 1e-2, ..Default::default() });
            for _ in 0..20 {
                grads.fill(0.0);
                add_sobolev_gradient(&net, &x, &y, &target, &mut ws, &mut grads);
                adam.step(net.params_mut(), &grads);
            }
            net
        };
        let ours = trained(Backend::Native);
        let before = network(&[3, 20, 20, 1], hidden, 4);
        assert!(relative_error(ours.params(), before.params()) > 1e-2);
        for backend in devices() {
            let theirs = trained(backend.clone());
            let error = relative_error(ours.params(), theirs.params());
            assert!(error <= 1e-10, "{hidden:?} on {backend}: {error:e}");
        }
    }
}

#[test]
fn a_policy_acts_and_learns_the_same_on_all_backends() {
    let policy = |backend| {
        let net = network(&[5, 32, 32, 4], Activation::Silu, 7).with_backend(backend);
        SquashedGaussian::new(net, &[-1.0, -3.0], &[1.0, 2.0]).unwrap()
    };
    let (x, eps) = (normal(45, 7, "x"), normal(18, 7, "eps"));
    let (a_seed, log_prob_seed) = (normal(18, 7, "a seed"), normal(9, 7, "log prob seed"));
    let results = |backend| {
        let policy = policy(backend);
        let mut ws = policy.workspace(9);
        let (mut a, mut log_prob, mut gx) = (vec![0.0; 18], vec![0.0; 9], vec![0.0; 45]);
        let mut grads = vec![0.0; policy.net().params().len()];
        policy.sample(&x, &eps, &mut ws, &mut a, &mut log_prob);
        policy.backward(&a_seed, &log_prob_seed, &mut ws, &mut grads);
        policy.state_gradient(&a_seed, &log_prob_seed, &mut ws, &mut gx);
        [a, log_prob, grads, gx]
    };
    let ours = results(Backend::Native);
    for backend in devices() {
        for (a, b) in ours.iter().zip(results(backend)) {
            assert!(relative_error(a, &b) <= 1e-12);
        }
    }
}

#[test]
fn an_empty_batch_has_empty_results_and_no_gradient() {
    for backend in devices() {
        let case = Case::<f64>::new(&[3, 4, 2], Activation::Silu, 0, 1);
        let mut ws = case.net.workspace(0);
        for (_, numbers) in case.results(&backend, &mut ws) {
            assert!(numbers.iter().all(|n| *n == 1.0));
        }
        assert!(case.curvatures(&backend, &mut ws).iter().all(|(_, numbers)| numbers.is_empty()));
    }
}

#[test]
fn derivatives_are_computed_where_the_evaluation_was_made() {
    let native = network(&[3, 8, 2], Activation::Tanh, 2);
    let candle = native.clone().with_backend(Backend::candle().unwrap());
    assert_eq!(native, candle);
    let (x, v) = (normal(12, 2, "x"), normal(12, 2, "v"));
    let mut ws = native.workspace(4);
    native.forward(&x, &mut ws);
    let expected = native.tangent(&v, &mut ws).to_vec();
    assert_eq!(candle.tangent(&v, &mut ws), expected);
    candle.forward(&x, &mut ws);
    assert!(relative_error(native.tangent(&v, &mut ws), &expected) <= 1e-12);
}

#[test]
#[should_panic(expected = "`tangent` must come between")]
fn tangents_of_an_earlier_evaluation_are_refused() {
    let net = network(&[2, 3, 1], Activation::Silu, 3).with_backend(Backend::candle().unwrap());
    let (x, mut ws, mut grads) = ([0.5, -0.5], net.workspace(1), vec![0.0; 13]);
    net.forward(&x, &mut ws);
    net.tangent(&x, &mut ws);
    net.forward(&x, &mut ws);
    net.sobolev_backward(&[1.0], &[1.0], &mut ws, &mut grads);
}

fn tensor(values: &[f64], columns: usize) -> Tensor {
    Tensor::from_vec(values.to_vec(), (values.len() / columns, columns), &Device::Cpu).unwrap()
}

#[test]
fn several_outputs_evaluate_but_have_no_single_input_gradient() {
    let net = network(&[3, 5, 2], Activation::Silu, 1);
    let peer = CandleMlp::from_mlp(&net).unwrap();
    let x = normal(6, 1, "x");
    let mut ws = net.workspace(2);
    let out: Vec<f64> =
        peer.forward(&tensor(&x, 3)).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert!(relative_error(net.forward(&x, &mut ws), &out) < 1e-12);
    assert!(matches!(peer.value_and_gradient(&tensor(&x, 3)), Err(CriticError::Shape { .. })));
    assert!(matches!(peer.to_mlp::<f32>(), Err(CriticError::Candle { .. })));
}

#[test]
fn single_precision_networks_survive_the_way_to_candle_and_back() {
    let spec = MlpSpec { sizes: vec![2, 3, 1], hidden: Activation::Relu };
    let net = Mlp::<f32>::xavier(spec, &[], &mut Stream::new(2, "weights", 0)).unwrap();
    for backend in devices() {
        let net = net.clone().with_backend(backend);
        assert_eq!(CandleMlp::from_mlp(&net).unwrap().to_mlp::<f32>().unwrap(), net);
    }
}
