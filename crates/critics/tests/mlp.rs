//! Outputs and derivatives of the perceptron against plain loops, finite differences and the closed
//! form for two tanh layers.

mod common;

use common::{
    ACTIVATIONS, MARGIN, activations, any_and_last, any_size, at, differences, dot, network,
    normal, partial_differences, partial_error, pass, plain_forward, relative_error, shapes,
};
use critics::{Activation, CriticError, Mlp, MlpSpec, Real};
use dynamics::Stream;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn outputs_agree_with_plain_loops(
        (sizes, batch) in any_size(4_000_000, pass), hidden in activations(), seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let x = normal(batch * sizes[0], seed, "x");
        let (expected, _) = plain_forward(&net, &x);
        let mut ws = net.workspace(1);
        prop_assert!(relative_error(net.forward(&x, &mut ws), &expected) < 1e-13);
        prop_assert_eq!(ws.batch(), batch);
        prop_assert!(net.forward(&[], &mut ws).is_empty());
    }

    #[test]
    fn first_derivatives_agree_with_differences(
        sizes in shapes(), hidden in activations(), batch in 1_usize..5, seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let (x, seeds) = (normal(batch * sizes[0], seed, "x"), normal(batch * net.spec().n_out(), seed, "s"));
        prop_assume!(hidden != Activation::Relu || plain_forward(&net, &x).1 > MARGIN);
        let mut ws = net.workspace(batch);
        let by_x = differences(&x, |x| dot(&seeds, net.forward(x, &mut ws)));
        let by_params =
            differences(net.params(), |p| dot(&seeds, at(&net, p).forward(&x, &mut ws)));

        net.forward(&x, &mut ws);
        let mut gx = vec![f64::NAN; x.len()];
        net.input_gradient(&seeds, &mut ws, &mut gx);
        prop_assert!(relative_error(&gx, &by_x) < 1e-7);

        // Parameter gradients are added to what is there.
        let mut grads = vec![1.0; net.params().len()];
        let mut again = vec![f64::NAN; x.len()];
        net.backward(&seeds, &mut ws, &mut grads, Some(&mut again));
        grads.iter_mut().for_each(|g| *g -= 1.0);
        prop_assert!(relative_error(&grads, &by_params) < 1e-7);
        prop_assert_eq!(gx, again);
    }

    #[test]
    fn tangents_and_second_derivatives_agree_with_differences(
        sizes in shapes(), hidden in activations(), batch in 1_usize..5, seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let n = batch * net.spec().n_out();
        let (x, v) = (normal(batch * sizes[0], seed, "x"), normal(batch * sizes[0], seed, "v"));
        let (seeds, tangent_seeds) = (normal(n, seed, "s"), normal(n, seed, "t"));
        prop_assume!(hidden != Activation::Relu || plain_forward(&net, &x).1 > MARGIN);
        let mut ws = net.workspace(batch);

        // Two routes to v·(∂out/∂x)ᵀ seed.
        let mut gx = vec![f64::NAN; x.len()];
        net.forward(&x, &mut ws);
        net.input_gradient(&tangent_seeds, &mut ws, &mut gx);
        let forward = dot(&tangent_seeds, net.tangent(&v, &mut ws));
        prop_assert!((forward - dot(&gx, &v)).abs() < 1e-12 * forward.abs().max(1.0));

        let mut grads = vec![0.0; net.params().len()];
        net.sobolev_backward(&seeds, &tangent_seeds, &mut ws, &mut grads);
        let by_params = differences(net.params(), |p| {
            let net = at(&net, p);
            let value = dot(&seeds, net.forward(&x, &mut ws));
            value + dot(&tangent_seeds, net.tangent(&v, &mut ws))
        });
        prop_assert!(relative_error(&grads, &by_params) < 1e-7);
    }

    #[test]
    fn parts_of_the_work_give_parts_of_the_results(
        (sizes, batch) in any_size(1_000_000, pass), hidden in activations(), seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let (n_in, n_out) = (net.spec().n_in(), net.spec().n_out());
        prop_assume!(batch > 0);
        let (x, v) = (normal(batch * n_in, seed, "x"), normal(batch * n_in, seed, "v"));
        let seeds = normal(batch * n_out, seed, "s");
        let mut ws = net.workspace(batch);
        net.forward(&x, &mut ws);
        let mut whole = vec![f64::NAN; x.len()];
        net.input_gradient(&seeds, &mut ws, &mut whole);

        // Every third row, from a random one on.
        let rows: Vec<usize> = (seed as usize % 3..batch).step_by(3).collect();
        let picked: Vec<f64> =
            rows.iter().flat_map(|&row| &seeds[row * n_out..][..n_out]).copied().collect();
        let mut part = vec![f64::NAN; x.len()];
        net.input_gradient_of_rows(&picked, &rows, &mut ws, &mut part);
        for (row, (part, whole)) in part.chunks_exact(n_in).zip(whole.chunks_exact_mut(n_in)).enumerate() {
            if !rows.contains(&row) {
                whole.fill(0.0);
            }
            prop_assert!(relative_error(part, whole) < 1e-13);
        }

        // A pass that finds the sensitivities of an input gradient uses them, and only those.
        let values = normal(batch * n_out, seed, "values");
        let sobolev = |before: Option<&[f64]>| {
            let (mut ws, mut gx) = (net.workspace(batch), vec![0.0; x.len()]);
            let mut grads = vec![0.0; net.params().len()];
            net.forward(&x, &mut ws);
            if let Some(before) = before {
                net.input_gradient(before, &mut ws, &mut gx);
            }
            net.tangent(&v, &mut ws);
            net.sobolev_backward(&values, &seeds, &mut ws, &mut grads);
            grads
        };
        let alone = sobolev(None);
        prop_assert!(relative_error(&sobolev(Some(&seeds)), &alone) < 1e-13);
        prop_assert!(relative_error(&sobolev(Some(&values)), &alone) < 1e-13);

        // An empty batch after a whole one finds nothing.
        net.forward(&x, &mut ws);
        net.input_gradient(&seeds, &mut ws, &mut part);
        net.forward(&[], &mut ws);
        net.tangent(&[], &mut ws);
        net.sobolev_backward(&[], &[], &mut ws, &mut vec![0.0; net.params().len()]);
    }

    #[test]
    fn gradients_of_any_size_agree_with_differences(
        (sizes, batch) in any_size(4_000_000, pass), hidden in activations(), seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let (n_in, n_out) = (sizes[0], net.spec().n_out());
        let (x, v) = (normal(batch * n_in, seed, "x"), normal(batch * n_in, seed, "v"));
        let seeds = normal(batch * n_out, seed, "s");
        let tangent_seeds = normal(batch * n_out, seed, "t");
        let (mut ws, mut one) = (net.workspace(batch), net.workspace(1));
        let mut stream = Stream::new(seed, "indices", 0);
        let mut some = |range| any_and_last(range, &mut stream);

        // Inputs of one sample move the outputs of that sample alone.
        let mut gx = vec![f64::NAN; x.len()];
        let mut grads = vec![0.0; net.params().len()];
        net.forward(&x, &mut ws);
        net.input_gradient(&seeds, &mut ws, &mut gx);
        let (mut n_checked, mut n_asked) = (0, 0);
        for sample in some(0..batch) {
            let seeds = &seeds[sample * n_out..][..n_out];
            let inputs = sample * n_in..(sample + 1) * n_in;
            let indices = some(0..n_in);
            let by_x = partial_differences(hidden, &x[inputs.clone()], &indices, |x| {
                dot(seeds, net.forward(x, &mut one))
            });
            let (error, n) = partial_error(&gx[inputs], &indices, &by_x);
            prop_assert!(error < 1e-7, "input gradient: {error:e}");
            (n_checked, n_asked) = (n_checked + n, n_asked + by_x.len());
        }

        // The last and any other weight of every layer, and its last bias.
        let spec = net.spec();
        let mut indices = Vec::new();
        for layer in 0..spec.n_layers() {
            indices.extend(some(spec.weight(layer)));
            indices.push(spec.bias(layer).end - 1);
        }
        net.backward(&seeds, &mut ws, &mut grads, None);
        let mut moved = net.clone();
        let by_params = partial_differences(hidden, net.params(), &indices, |p| {
            moved.params_mut().copy_from_slice(p);
            dot(&seeds, moved.forward(&x, &mut ws))
        });
        let (error, n) = partial_error(&grads, &indices, &by_params);
        prop_assert!(error < 1e-7, "parameter gradient: {error:e}");
        (n_checked, n_asked) = (n_checked + n, n_asked + by_params.len());

        net.forward(&x, &mut ws);
        net.tangent(&v, &mut ws);
        grads.fill(0.0);
        net.sobolev_backward(&seeds, &tangent_seeds, &mut ws, &mut grads);
        let by_params = partial_differences(hidden, net.params(), &indices, |p| {
            moved.params_mut().copy_from_slice(p);
            let value = dot(&seeds, moved.forward(&x, &mut ws));
            value + dot(&tangent_seeds, moved.tangent(&v, &mut ws))
        });
        let (error, n) = partial_error(&grads, &indices, &by_params);
        prop_assert!(error < 1e-7, "gradient of the Sobolev loss: {error:e}");
        (n_checked, n_asked) = (n_checked + n, n_asked + by_params.len());
        let reachable = if hidden == Activation::Relu { n_asked.div_ceil(2) } else { n_asked };
        prop_assert!(n_checked >= reachable, "only {n_checked} of {n_asked} are away from kinks");
    }

    #[test]
    fn all_three_derivatives_agree_with_differences(hidden in activations(), z in -30.0..30.0_f64) {
        prop_assume!(hidden != Activation::Relu || z.abs() > MARGIN);
        let slope = differences(&[z], |z| hidden.value(z[0]))[0];
        let curvature = differences(&[z], |z| hidden.slope(z[0]))[0];
        prop_assert!((hidden.slope(z) - slope).abs() < 1e-8);
        let third = differences(&[z], |z| hidden.curvature(z[0]))[0];
        prop_assert!((hidden.curvature(z) - curvature).abs() < 1e-8);
        prop_assert!((hidden.third(z) - third).abs() < 1e-8);
    }
}

/// The closed form of the derivatives of a loss of ∇ₓQ for Q = w₃·tanh(W₂ tanh(W₁x + b₁) + b₂) + b₃,
/// written with plain loops for one sample.
fn closed_form(net: &Mlp<f64>, x: &[f64], v: &[f64]) -> Vec<f64> {
    let spec = net.spec();
    let part = |range: std::ops::Range<usize>| &net.params()[range];
    let (w1, b1, w2, b2, w3) = (
        part(spec.weight(0)),
        part(spec.bias(0)),
        part(spec.weight(1)),
        part(spec.bias(1)),
        part(spec.weight(2)),
    );
    let times =
        |w: &[f64], x: &[f64]| -> Vec<f64> { w.chunks(x.len()).map(|r| dot(r, x)).collect() };
    let transposed = |w: &[f64], y: &[f64]| -> Vec<f64> {
        let n = w.len() / y.len();
        (0..n).map(|i| (0..y.len()).map(|o| w[o * n + i] * y[o]).sum()).collect()
    };
    let map = |n: usize, f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..n).map(f).collect() };
    let (n1, n2) = (b1.len(), b2.len());
    let z1 = times(w1, x);
    let h1 = map(n1, &|i| (z1[i] + b1[i]).tanh());
    let z2 = times(w2, &h1);
    let h2 = map(n2, &|i| (z2[i] + b2[i]).tanh());
    let (d1, d2) = (map(n1, &|i| 1.0 - h1[i] * h1[i]), map(n2, &|i| 1.0 - h2[i] * h2[i]));
    let p2 = map(n2, &|i| w3[i] * d2[i]);
    let u = transposed(w2, &p2);
    let p1 = map(n1, &|i| d1[i] * u[i]);
    let zd1 = times(w1, v);
    let hd1 = map(n1, &|i| d1[i] * zd1[i]);
    let zd2 = times(w2, &hd1);
    let hd2 = map(n2, &|i| d2[i] * zd2[i]);
    let s2 = map(n2, &|i| -2.0 * w3[i] * zd2[i] * h2[i] * d2[i]);
    let back = transposed(w2, &s2);
    let s1 = map(n1, &|i| d1[i] * back[i] - 2.0 * u[i] * zd1[i] * h1[i] * d1[i]);
    let mut grads = vec![0.0; spec.n_params()];
    let n = x.len();
    for i in 0..n1 {
        for j in 0..n {
            grads[spec.weight(0).start + i * n + j] = p1[i] * v[j] + s1[i] * x[j];
        }
        grads[spec.bias(0).start + i] = s1[i];
    }
    for i in 0..n2 {
        for j in 0..n1 {
            grads[spec.weight(1).start + i * n1 + j] = p2[i] * hd1[j] + s2[i] * h1[j];
        }
        grads[spec.bias(1).start + i] = s2[i];
        grads[spec.weight(2).start + i] = hd2[i];
    }
    grads
}

#[test]
fn gradient_losses_of_two_tanh_layers_agree_with_the_closed_form() {
    for (sizes, batch) in [([5, 64, 64, 1], 1), ([3, 17, 29, 1], 7), ([21, 256, 256, 1], 3)] {
        let net = network(&sizes, Activation::Tanh, 5);
        let (x, v) = (normal(batch * sizes[0], 5, "x"), normal(batch * sizes[0], 6, "v"));
        let mut expected = vec![0.0; net.params().len()];
        for (x, v) in x.chunks(sizes[0]).zip(v.chunks(sizes[0])) {
            for (sum, g) in expected.iter_mut().zip(closed_form(&net, x, v)) {
                *sum += g;
            }
        }
        let (mut ws, mut grads) = (net.workspace(batch), vec![0.0; net.params().len()]);
        net.forward(&x, &mut ws);
        net.tangent(&v, &mut ws);
        net.sobolev_backward(&vec![0.0; batch], &vec![1.0; batch], &mut ws, &mut grads);
        let error = relative_error(&grads, &expected);
        assert!(error < 1e-14, "{sizes:?}: {error:e}");
    }
}

#[test]
fn single_precision_follows_double_precision() {
    for hidden in ACTIVATIONS {
        let net = network(&[7, 37, 19, 2], hidden, 3);
        let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&v| v as f32).collect() };
        let double = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| v.to_f64()).collect() };
        let net32 = Mlp::<f32>::new(net.spec().clone(), single(net.params())).unwrap();
        let (x, v, seed) = (normal(7 * 9, 1, "x"), normal(7 * 9, 1, "v"), normal(2 * 9, 1, "s"));
        let (mut ws, mut ws32) = (net.workspace(9), net32.workspace(9));
        let (mut grads, mut grads32) =
            (vec![0.0; net.params().len()], vec![0.0; net.params().len()]);
        let out32 = double(net32.forward(&single(&x), &mut ws32));
        assert!(relative_error(&out32, net.forward(&x, &mut ws)) < 1e-5);
        let tangent32 = double(net32.tangent(&single(&v), &mut ws32));
        assert!(relative_error(&tangent32, net.tangent(&v, &mut ws)) < 1e-5);
        net.sobolev_backward(&seed, &seed, &mut ws, &mut grads);
        net32.sobolev_backward(&single(&seed), &single(&seed), &mut ws32, &mut grads32);
        assert!(relative_error(&double(&grads32), &grads) < 1e-5, "{hidden:?}");
    }
}

#[test]
fn glorot_weights_fill_their_range_head_by_head_and_biases_are_zero() {
    let spec = MlpSpec { sizes: vec![30, 50, 41], hidden: Activation::Relu };
    let largest = |heads: &[usize], rows: std::ops::Range<usize>| {
        let net =
            Mlp::<f64>::xavier(spec.clone(), heads, &mut Stream::new(2, "weights", 0)).unwrap();
        assert!(
            net.params()[spec.bias(0)].iter().chain(&net.params()[spec.bias(1)]).all(|b| *b == 0.0)
        );
        net.params()[spec.weight(1)][50 * rows.start..50 * rows.end]
            .iter()
            .fold(0.0_f64, |m, w| m.max(w.abs()))
    };
    let close = |found: f64, fan: f64| {
        let bound = (6.0 / fan).sqrt();
        assert!(found <= bound && found > 0.9 * bound, "{found} within {bound}");
    };
    close(largest(&[], 0..41), 91.0);
    close(largest(&[40, 1], 0..40), 90.0);
    close(largest(&[40, 1], 40..41), 51.0);
    let error = Mlp::<f64>::xavier(spec, &[40, 2], &mut Stream::new(2, "weights", 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "heads [40, 2] sum to 42, but the network has 41 outputs; give the size of every head, or \
         an empty slice for a single head"
    );
}

#[test]
fn bad_specifications_and_parameters_are_refused() {
    let spec = |sizes: &[usize]| MlpSpec { sizes: sizes.to_vec(), hidden: Activation::Tanh };
    assert!(matches!(Mlp::new(spec(&[3]), vec![0.0]), Err(CriticError::LayerSizes { .. })));
    assert!(matches!(Mlp::new(spec(&[3, 0, 1]), vec![0.0]), Err(CriticError::LayerSizes { .. })));
    let error = Mlp::new(spec(&[2, 1]), vec![0.0; 2]).unwrap_err();
    assert_eq!(error.to_string(), "`params` has shape [2], needed is [3]");
    let error = Mlp::new(spec(&[2, 1]), vec![0.0, f32::NAN, 0.0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`params` holds NaN at index 1, where only finite numbers are allowed"
    );
    let read = serde_json::from_str::<MlpSpec>;
    assert_eq!(read(r#"{"sizes":[2,8,1],"hidden":"silu"}"#).unwrap().hidden, Activation::Silu);
    assert!(read(r#"{"sizes":[2],"hidden":"tanh"}"#).is_err());
    assert!(read(r#"{"sizes":[2,1],"hidden":"tanh","gain":1}"#).is_err());
}

#[test]
#[should_panic(expected = "`tangent` must come between")]
fn a_sobolev_pass_without_tangent_is_refused() {
    let net = network(&[2, 3, 1], Activation::Tanh, 0);
    let mut ws = net.workspace(1);
    net.forward(&[0.0, 1.0], &mut ws);
    net.tangent(&[1.0, 0.0], &mut ws);
    net.forward(&[0.0, 2.0], &mut ws);
    net.sobolev_backward(&[1.0], &[1.0], &mut ws, &mut vec![0.0; net.params().len()]);
}
