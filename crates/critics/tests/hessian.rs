//! Second derivatives by the inputs against differences of input gradients, against each other and
//! against closed forms.

mod common;

use common::{
    ACTIVATIONS, MARGIN, activations, any_and_last, any_size, differences, dot, network, normal,
    partial_differences, partial_error, plain_forward, relative_error, shapes,
};
use critics::{Activation, HessianWorkspace, Mlp, MlpSpec, SquaredResidual};
use dynamics::{HessianKind, Stream};
use proptest::prelude::*;

/// Products of numbers in all tangents of a batch, and numbers in its matrices.
fn tangents(sizes: &[usize], batch: usize) -> usize {
    let outputs = sizes[sizes.len() - 1];
    batch * sizes[0] * (common::pass(sizes, 1) + sizes[0] + outputs)
}

/// Inputs, seeds and directions of a batch.
fn data(net: &Mlp<f64>, batch: usize, seed: u64) -> [Vec<f64>; 3] {
    let (n_in, n_out) = (net.spec().n_in(), net.spec().n_out());
    let seeds = normal(batch * n_out, seed, "s");
    [normal(batch * n_in, seed, "x"), seeds, normal(batch * n_in, seed, "v")]
}

/// The matrices Σ seed_k ∂²out_k/∂x² of all samples.
fn hessians(net: &Mlp<f64>, x: &[f64], seeds: &[f64]) -> Vec<f64> {
    let mut ws = net.workspace(1);
    let mut h = vec![f64::NAN; x.len() * net.spec().n_in()];
    net.forward(x, &mut ws);
    net.hessian(seeds, &ws, &mut net.hessian_workspace(1), &mut h);
    h
}

/// J (rows × columns) times `v`, for every sample.
fn products(j: &[f64], v: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let samples = j.chunks(rows * columns).zip(v.chunks(columns));
    samples
        .flat_map(|(j, v)| j.chunks(columns).map(|row| dot(row, v)).collect::<Vec<_>>())
        .collect()
}

/// What `squared_residual` writes.
struct Expansion {
    v: Vec<f64>,
    vx: Vec<f64>,
    vxx: Vec<f64>,
    jacobian: Vec<f64>,
}

fn squared_residual(net: &Mlp<f64>, kind: HessianKind, x: &[f64]) -> Expansion {
    let (n_in, n_out) = (net.spec().n_in(), net.spec().n_out());
    let batch = x.len() / n_in;
    let nan = |n: usize| vec![f64::NAN; n];
    let mut e = Expansion {
        v: nan(batch),
        vx: nan(batch * n_in),
        vxx: nan(batch * n_in * n_in),
        jacobian: nan(batch * n_out * n_in),
    };
    let mut ws = net.workspace(batch);
    net.forward(x, &mut ws);
    let Expansion { v, vx, vxx, jacobian } = &mut e;
    let result = SquaredResidual { v, vx, vxx, jacobian };
    net.squared_residual(kind, &ws, &mut net.hessian_workspace(batch), result);
    e
}

fn is_symmetric(h: &[f64], n: usize) -> bool {
    h.chunks(n * n).all(|h| (0..n * n).all(|i| h[i].to_bits() == h[i % n * n + i / n].to_bits()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hessians_agree_with_differences_of_input_gradients(
        sizes in shapes(), hidden in activations(), batch in 1_usize..5, seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let [x, seeds, _] = data(&net, batch, seed);
        prop_assume!(hidden != Activation::Relu || plain_forward(&net, &x).1 > MARGIN);
        let (n_in, n_out) = (sizes[0], net.spec().n_out());
        let h = hessians(&net, &x, &seeds);
        prop_assert!(is_symmetric(&h, n_in));
        let (mut ws, mut gx) = (net.workspace(1), vec![0.0; n_in]);
        for (b, x) in x.chunks(n_in).enumerate() {
            for (row, h) in h[b * n_in * n_in..][..n_in * n_in].chunks(n_in).enumerate() {
                let by_x = differences(x, |x| {
                    net.forward(x, &mut ws);
                    net.input_gradient(&seeds[b * n_out..][..n_out], &mut ws, &mut gx);
                    gx[row]
                });
                prop_assert!(relative_error(h, &by_x) < 1e-7, "{:e}", relative_error(h, &by_x));
            }
        }
    }

    #[test]
    fn hessians_of_any_size_agree_with_their_products_and_differences(
        (sizes, batch) in any_size(200_000_000, tangents), hidden in activations(), seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let [x, seeds, v] = data(&net, batch, seed);
        let (n_in, n_out) = (sizes[0], net.spec().n_out());
        let h = hessians(&net, &x, &seeds);
        prop_assert!(is_symmetric(&h, n_in));

        let (mut ws, mut hv) = (net.workspace(batch), vec![f64::NAN; x.len()]);
        net.forward(&x, &mut ws);
        net.hessian_vector(&seeds, &v, &mut ws, &mut hv);
        let error = relative_error(&hv, &products(&h, &v, n_in, n_in));
        prop_assert!(error < 1e-12, "Hv against H·v: {error:e}");

        let (mut one, mut gx) = (net.workspace(1), vec![0.0; n_in]);
        let mut stream = Stream::new(seed, "indices", 0);
        let (mut n_checked, mut n_asked) = (0, 0);
        for sample in any_and_last(0..batch, &mut stream) {
            let indices = any_and_last(0..n_in, &mut stream);
            let inputs = sample * n_in..(sample + 1) * n_in;
            let by_x = partial_differences(hidden, &x[inputs.clone()], &indices, |x| {
                net.forward(x, &mut one);
                net.input_gradient(&seeds[sample * n_out..][..n_out], &mut one, &mut gx);
                dot(&gx, &v[inputs.clone()])
            });
            let (error, n) = partial_error(&hv[inputs], &indices, &by_x);
            prop_assert!(error < 1e-7, "Hv against differences: {error:e}");
            (n_checked, n_asked) = (n_checked + n, n_asked + by_x.len());
        }
        prop_assert!(n_checked == n_asked || hidden == Activation::Relu && n_checked > 0);
    }

    #[test]
    fn jacobians_agree_with_input_gradients_of_unit_seeds(
        (sizes, batch) in any_size(40_000_000, tangents), hidden in activations(), seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let [x, ..] = data(&net, batch, seed);
        let (n_in, n_out) = (sizes[0], net.spec().n_out());
        let (mut ws, mut j) = (net.workspace(batch), vec![f64::NAN; x.len() * n_out]);
        net.forward(&x, &mut ws);
        net.jacobian(&ws, &mut net.hessian_workspace(batch), &mut j);
        let (mut seeds, mut gx) = (vec![0.0; batch * n_out], vec![f64::NAN; x.len()]);
        for k in any_and_last(0..n_out, &mut Stream::new(seed, "outputs", 0)) {
            seeds.fill(0.0);
            seeds.iter_mut().skip(k).step_by(n_out).for_each(|s| *s = 1.0);
            net.input_gradient(&seeds, &mut ws, &mut gx);
            let rows: Vec<f64> =
                j.chunks(n_in).skip(k).step_by(n_out).flatten().copied().collect();
            let error = relative_error(&rows, &gx);
            prop_assert!(error < 1e-13, "output {k}: {error:e}");
        }
    }

    #[test]
    fn squared_residuals_expand_to_jacobians_and_weighted_hessians(
        (sizes, batch) in any_size(20_000_000, tangents), hidden in activations(), seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let [x, _, w] = data(&net, batch, seed);
        let (n_in, n_out) = (sizes[0], net.spec().n_out());
        let mut ws = net.workspace(batch);
        let r = net.forward(&x, &mut ws).to_vec();
        let two_r: Vec<f64> = r.iter().map(|r| 2.0 * r).collect();
        let exact = squared_residual(&net, HessianKind::Exact, &x);
        let gauss_newton = squared_residual(&net, HessianKind::GaussNewton, &x);

        let v: Vec<f64> = r.chunks(n_out).map(|r| dot(r, r)).collect();
        prop_assert!(relative_error(&exact.v, &v) < 1e-13);
        let (mut vx, mut j) = (vec![f64::NAN; x.len()], vec![f64::NAN; x.len() * n_out]);
        net.input_gradient(&two_r, &mut ws, &mut vx);
        prop_assert!(relative_error(&exact.vx, &vx) < 1e-13);
        net.jacobian(&ws, &mut net.hessian_workspace(batch), &mut j);
        prop_assert!(relative_error(&exact.jacobian, &j) < 1e-12);
        prop_assert!(gauss_newton.v == exact.v && gauss_newton.vx == exact.vx);
        prop_assert!(gauss_newton.jacobian == exact.jacobian);

        // 2 wᵀ(JᵀJ)w = 2 |Jw|², and (2 Σ r ∇²r) w is a Hessian-vector product.
        prop_assert!(is_symmetric(&exact.vxx, n_in) && is_symmetric(&gauss_newton.vxx, n_in));
        let jw = products(&j, &w, n_out, n_in);
        let square: Vec<f64> = jw.chunks(n_out).map(|jw| 2.0 * dot(jw, jw)).collect();
        let curved = products(&gauss_newton.vxx, &w, n_in, n_in);
        let form: Vec<f64> = curved.chunks(n_in).zip(w.chunks(n_in)).map(|(h, w)| dot(h, w)).collect();
        prop_assert!(relative_error(&form, &square) < 1e-12);
        let mut hw = vec![f64::NAN; x.len()];
        net.hessian_vector(&two_r, &w, &mut ws, &mut hw);
        hw.iter_mut().zip(curved).for_each(|(h, gn)| *h += gn);
        let error = relative_error(&products(&exact.vxx, &w, n_in, n_in), &hw);
        prop_assert!(error < 1e-12, "{error:e}");
    }

    #[test]
    fn networks_of_straight_pieces_have_no_curvature(
        (sizes, batch) in any_size(20_000_000, tangents),
        hidden in prop::sample::select(vec![Activation::Identity, Activation::Relu]),
        seed: u64,
    ) {
        let net = network(&sizes, hidden, seed);
        let [x, seeds, v] = data(&net, batch, seed);
        let (mut ws, mut hv) = (net.workspace(batch), vec![f64::NAN; x.len()]);
        net.forward(&x, &mut ws);
        net.hessian_vector(&seeds, &v, &mut ws, &mut hv);
        prop_assert!(hv.iter().chain(&hessians(&net, &x, &seeds)).all(|h| *h == 0.0));
        let [exact, gauss_newton] = [HessianKind::Exact, HessianKind::GaussNewton]
            .map(|kind| squared_residual(&net, kind, &x).vxx);
        prop_assert_eq!(exact, gauss_newton);
    }

    #[test]
    fn single_precision_follows_double_precision(
        (sizes, batch) in any_size(20_000_000, tangents), hidden in activations(), seed: u64,
    ) {
        let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&v| v as f32).collect() };
        let double = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| v.into()).collect() };
        // Both networks get the same numbers, which `f32` holds exactly.
        let wide = network(&sizes, hidden, seed);
        let net32 = Mlp::<f32>::new(wide.spec().clone(), single(wide.params())).unwrap();
        let net = Mlp::<f64>::new(wide.spec().clone(), double(net32.params())).unwrap();
        let [x32, seeds32, v32] = data(&net, batch, seed).map(|values| single(&values));
        let [x, seeds, v] = [&x32, &seeds32, &v32].map(|values| double(values));

        let (mut ws, mut ws32) = (net.workspace(batch), net32.workspace(batch));
        let (mut hv, mut hv32) = (vec![f64::NAN; v.len()], vec![f32::NAN; v.len()]);
        net.forward(&x, &mut ws);
        net32.forward(&x32, &mut ws32);
        // Rounding may move a unit across ReLU's kink, which moves a whole path.
        prop_assume!(hidden != Activation::Relu || plain_forward(&net, &x).1 > 1e-4);
        net.hessian_vector(&seeds, &v, &mut ws, &mut hv);
        net32.hessian_vector(&seeds32, &v32, &mut ws32, &mut hv32);
        let n_out = net.spec().n_out();
        let mut h32 = vec![f32::NAN; x.len() * sizes[0]];
        let mut j32 = vec![f32::NAN; x.len() * n_out];
        let mut j = vec![f64::NAN; x.len() * n_out];
        let mut scratch = net32.hessian_workspace(batch);
        net32.hessian(&seeds32, &ws32, &mut scratch, &mut h32);
        net32.jacobian(&ws32, &mut scratch, &mut j32);
        net.jacobian(&ws, &mut net.hessian_workspace(batch), &mut j);
        for (what, error) in [
            ("Hv", relative_error(&double(&hv32), &hv)),
            ("H", relative_error(&double(&h32), &hessians(&net, &x, &seeds))),
            ("J", relative_error(&double(&j32), &j)),
        ] {
            prop_assert!(error < 1e-5, "{what} {hidden:?}: {error:e}");
        }
    }
}

#[test]
fn one_tanh_unit_has_the_curvature_of_the_closed_form() {
    // out = c tanh(w·x + b) + d
    let (w, b, c, d) = ([0.7, -1.3], 0.4, 2.5, -0.2);
    let spec = MlpSpec { sizes: vec![2, 1, 1], hidden: Activation::Tanh };
    let net = Mlp::new(spec, vec![w[0], w[1], b, c, d]).unwrap();
    let x = [0.3, 0.9, -1.1, 0.2];
    let seeds = [1.5, -0.5];
    let tanh = |x: &[f64]| (dot(&w, x) + b).tanh();
    let (mut h, mut vxx) = (Vec::new(), Vec::new());
    for (x, seed) in x.chunks(2).zip(seeds) {
        let t = tanh(x);
        let (slope, curvature, r) = (c * (1.0 - t * t), -2.0 * c * t * (1.0 - t * t), c * t + d);
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            h.push(seed * curvature * w[i] * w[j]);
            vxx.push(2.0 * (slope * slope + r * curvature) * w[i] * w[j]);
        }
    }
    assert!(relative_error(&hessians(&net, &x, &seeds), &h) < 1e-14);
    let found = squared_residual(&net, HessianKind::Exact, &x);
    assert!(relative_error(&found.vxx, &vxx) < 1e-14);
    let jacobian: Vec<f64> =
        x.chunks(2).flat_map(|x| w.map(|w| c * (1.0 - tanh(x).powi(2)) * w)).collect();
    assert!(relative_error(&found.jacobian, &jacobian) < 1e-14);
}

#[test]
fn workspaces_grow_without_a_trace_and_take_parameters_as_they_are() {
    for hidden in ACTIVATIONS {
        let mut net = network(&[3, 20, 7, 2], hidden, 4);
        let [x, seeds, _] = data(&net, 300, 4);
        let mut ws = net.workspace(300);
        let mut used = net.hessian_workspace(0);
        let mut run = |net: &Mlp<f64>, scratch: &mut HessianWorkspace<f64>, batch: usize| {
            let mut h = vec![f64::NAN; 9 * batch];
            net.forward(&x[..3 * batch], &mut ws);
            net.hessian(&seeds[..2 * batch], &ws, scratch, &mut h);
            h
        };
        for batch in [0, 2, 300, 1] {
            net.params_mut()[5] += 0.1;
            let fresh = run(&net, &mut net.hessian_workspace(batch), batch);
            assert_eq!(run(&net, &mut used, batch), fresh, "{hidden:?}, batch {batch}");
        }
    }
}

#[test]
#[should_panic(expected = "a Hessian workspace of sizes [2, 4, 1] was given to a network of sizes")]
fn a_workspace_of_another_shape_is_refused() {
    let net = network(&[2, 3, 1], Activation::Tanh, 0);
    let mut scratch = network(&[2, 4, 1], Activation::Tanh, 0).hessian_workspace(1);
    let mut ws = net.workspace(1);
    net.forward(&[0.0, 1.0], &mut ws);
    net.hessian(&[1.0], &ws, &mut scratch, &mut [0.0; 4]);
}

#[test]
#[should_panic(expected = "`forward` must come before any derivative")]
fn a_hessian_without_forward_is_refused() {
    let net = network(&[2, 3, 1], Activation::Tanh, 0);
    let ws = net.workspace(1);
    net.hessian(&[], &ws, &mut net.hessian_workspace(1), &mut []);
}
