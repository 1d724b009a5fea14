//! Values, gradients and Hessians of value networks against dual numbers and differences, and as the
//! terminal cost of a problem.

mod common;

use common::values::value_network;
use common::values::{HEADS, dual_derivatives, heads, plain_value, shapes, single, smooth};
use common::{differences, dot, normal, relative_error};
use critics::{
    Activation, CriticError, Head, Initialization, NeuralTerminalCost, Scaling, ValueNetwork,
    ValueSpec,
};
use dynamics::{CostExpansion, HessianKind, Stream, TerminalCost};
use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;

struct Expansion {
    v: Vec<f64>,
    vx: Vec<f64>,
    vxx: Vec<f64>,
    kind: HessianKind,
}

fn expand(net: &ValueNetwork<f64>, kind: HessianKind, x: &[f64]) -> Expansion {
    let batch = x.len() / net.nx();
    let (mut v, mut vx) = (vec![f64::NAN; batch], vec![f64::NAN; x.len()]);
    let mut vxx = vec![f64::NAN; x.len() * net.nx()];
    // The workspace is made for less and has to grow.
    let kind = net.hessian(kind, x, &mut net.workspace(1), &mut v, &mut vx, &mut vxx);
    Expansion { v, vx, vxx, kind }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn exact_derivatives_agree_with_dual_numbers(
        (nx, hidden) in shapes(), activation in smooth(), head in heads(), batch in 1_usize..5,
        seed: u64,
    ) {
        let net = value_network(nx, &hidden, activation, head, seed);
        let x = normal(batch * nx, seed, "x");
        let e = expand(&net, HessianKind::Exact, &x);
        prop_assert_eq!(e.kind, HessianKind::Exact);
        for (b, x) in x.chunks(nx).enumerate() {
            let (vx, vxx) = dual_derivatives(&net, x);
            prop_assert!(relative_error(&e.v[b..=b], &[plain_value(&net, x)]) < 1e-13);
            prop_assert!(relative_error(&e.vx[b * nx..][..nx], &vx) < 1e-12);
            let found = &e.vxx[b * nx * nx..][..nx * nx];
            prop_assert!(relative_error(found, &vxx) < 1e-11);
            prop_assert!((0..nx * nx).all(|i| found[i] == found[i % nx * nx + i / nx]));
        }
    }

    #[test]
    fn gradients_and_hessians_agree_with_central_differences(
        (nx, hidden) in shapes(), activation in smooth(), head in heads(), seed: u64,
    ) {
        let net = value_network(nx, &hidden, activation, head, seed);
        let x = normal(nx, seed, "x");
        let e = expand(&net, HessianKind::Exact, &x);
        let (mut ws, mut v, mut vx) = (net.workspace(1), [0.0], vec![0.0; nx]);
        let by_x = differences(&x, |x| {
            net.value(x, &mut ws, &mut v);
            v[0]
        });
        prop_assert!(relative_error(&e.vx, &by_x) < 1e-8);
        for row in 0..nx {
            let by_x = differences(&x, |x| {
                net.value_and_gradient(x, &mut ws, &mut v, &mut vx);
                vx[row]
            });
            prop_assert!(relative_error(&e.vxx[row * nx..][..nx], &by_x) < 1e-8);
        }
    }

    #[test]
    fn gauss_newton_is_the_exact_hessian_without_the_curvature_of_residuals(
        (nx, hidden) in shapes(), activation in smooth(), head in heads(), batch in 1_usize..40,
        seed: u64,
    ) {
        let net = value_network(nx, &hidden, activation, head, seed);
        let x = normal(batch * nx, seed, "x");
        let exact = expand(&net, HessianKind::Exact, &x);
        let gauss = expand(&net, HessianKind::GaussNewton, &x);
        prop_assert!(relative_error(&gauss.v, &exact.v) == 0.0);
        prop_assert!(relative_error(&gauss.vx, &exact.vx) < 1e-12);
        if head == Head::Plain {
            prop_assert_eq!(gauss.kind, HessianKind::Exact);
            prop_assert_eq!(gauss.vxx, exact.vxx);
            return Ok(());
        }
        prop_assert_eq!(gauss.kind, HessianKind::GaussNewton);
        // Residuals r + r_s (x − x₀) have the same Jacobian and no curvature: their exact Hessian.
        let x0 = &x[(batch - 1) * nx..];
        let mlp = net.net();
        let scales = net.scaling().shift.iter().zip(&net.scaling().scale);
        let s: Vec<f64> = x0.iter().zip(scales).map(|(x, (b, scale))| (x - b) / scale).collect();
        let mut ws = mlp.workspace(1);
        let r = mlp.forward(&s, &mut ws).to_vec();
        let mut jacobian = vec![0.0; 3 * nx];
        mlp.jacobian(&ws, &mut mlp.hessian_workspace(1), &mut jacobian);
        let biases: Vec<f64> =
            (0..3).map(|k| r[k] - dot(&jacobian[k * nx..][..nx], &s)).collect();
        let params = [jacobian, biases].concat();
        let spec = ValueSpec { hidden: vec![], ..net.spec().clone() };
        let linear = ValueNetwork::new(spec, net.scaling().clone(), params).unwrap();
        let expected = expand(&linear, HessianKind::Exact, x0).vxx;
        let found = &gauss.vxx[(batch - 1) * nx * nx..];
        prop_assert!(relative_error(found, &expected) < 1e-12);
        let eigenvalues = DMatrix::from_row_slice(nx, nx, found).symmetric_eigenvalues();
        prop_assert!(eigenvalues.min() > -1e-12 * eigenvalues.amax().max(1.0));
    }

    #[test]
    fn single_precision_agrees_with_double(
        (nx, hidden) in shapes(), activation in smooth(), head in heads(), seed: u64,
    ) {
        let net = value_network(nx, &hidden, activation, head, seed);
        let x = normal(2 * nx, seed, "x");
        let x32: Vec<f32> = x.iter().map(|x| *x as f32).collect();
        for kind in [HessianKind::Exact, HessianKind::GaussNewton] {
            let e = expand(&net, kind, &x);
            let net32 = single(&net);
            let (mut v, mut vx, mut vxx) =
                (vec![0.0; 2], vec![0.0; 2 * nx], vec![0.0; 2 * nx * nx]);
            net32.hessian(kind, &x32, &mut net32.workspace(2), &mut v, &mut vx, &mut vxx);
            for (found, expected) in [(v, e.v), (vx, e.vx), (vxx, e.vxx)] {
                let found: Vec<f64> = found.iter().map(|x| f64::from(*x)).collect();
                prop_assert!(relative_error(&found, &expected) < 1e-4);
            }
        }
    }
}

#[test]
fn kinks_have_the_hessian_of_their_branches() {
    for head in HEADS {
        let net = value_network(3, &[7, 7], Activation::Relu, head, 4);
        let x = normal(3, 4, "x");
        let e = expand(&net, HessianKind::Exact, &x);
        assert!(relative_error(&e.vxx, &dual_derivatives(&net, &x).1) < 1e-12);
    }
}

#[test]
fn initial_parameters_stay_within_their_bounds_and_fill_them() {
    let spec = ValueSpec { head: Head::Plain, ..ValueSpec::new(4) };
    let draw = |initialization| {
        let stream = &mut Stream::new(5, "weights", 0);
        let scaling = Scaling::none(4);
        ValueNetwork::<f64>::random(spec.clone(), scaling, initialization, stream).unwrap()
    };
    let largest = |p: &[f64]| p.iter().fold(0.0_f64, |m, p| m.max(p.abs()));
    let (pytorch, kaiming) = (draw(Initialization::Pytorch), draw(Initialization::Kaiming));
    let mlp = spec.mlp();
    assert_eq!(mlp.sizes, [4, 64, 64, 64, 1]);
    for layer in 0..4 {
        let fan_in = mlp.sizes[layer] as f64;
        let (weights, biases) = (mlp.weight(layer), mlp.bias(layer));
        for (net, bound, bias_bound) in [
            (&pytorch, fan_in.sqrt().recip(), fan_in.sqrt().recip()),
            (&kaiming, (6.0 / fan_in).sqrt(), 0.0),
        ] {
            let found = largest(&net.net().params()[weights.clone()]);
            assert!(found <= bound && found > 0.9 * bound, "layer {layer}: {found} of {bound}");
            assert!(largest(&net.net().params()[biases.clone()]) <= bias_bound);
        }
    }
}

#[test]
fn scalings_that_cannot_be_used_are_refused() {
    let stream = &mut Stream::new(1, "weights", 0);
    let mut refused = |scaling| {
        let spec = ValueSpec::new(2);
        ValueNetwork::<f32>::random(spec, scaling, Initialization::Pytorch, stream).unwrap_err()
    };
    let none = Scaling::none(2);
    let error = refused(Scaling { scale: vec![1.0, 0.0], ..none.clone() });
    assert_eq!(error.to_string(), "`scale` is 0; it must be finite and above 0");
    // Too small for the inverse in single precision.
    let error = refused(Scaling { value: 1e-40, ..none.clone() });
    assert!(error.to_string().starts_with("`value scale` is 0.000"), "{error}");
    let error = refused(Scaling { shift: vec![0.0, f64::NAN], ..none.clone() });
    assert_eq!(error.to_string(), "`shift` is NaN; it must be finite");
    let error = refused(Scaling { shift: vec![0.0; 3], ..none });
    assert!(matches!(error, CriticError::Shape { what: "`shift`", .. }), "{error}");
}

#[test]
fn a_terminal_cost_is_the_network_times_factor_plus_bias() {
    let net = value_network(3, &[8, 8], Activation::Tanh, Head::SmoothNorm, 3);
    let x = DVector::from_vec(normal(3, 3, "x"));
    let half = |x: &[f64]| x.iter().map(|x| 0.5 * x).collect::<Vec<_>>();
    for kind in [HessianKind::Exact, HessianKind::GaussNewton] {
        let e = expand(&net, kind, x.as_slice());
        let mut cost = NeuralTerminalCost::new(net.clone(), kind);
        (cost.factor, cost.bias) = (0.5, 0.25);
        assert_eq!((cost.ndx(), cost.hessian_kind()), (3, kind));
        let (mut ws, mut out) = (cost.workspace(), CostExpansion::zeros(3, 2));
        out.lu.fill(7.0);
        cost.expand_terminal(&mut ws, &x, &mut out);
        assert_eq!(out.l, 0.5 * e.v[0] + 0.25);
        assert_eq!(cost.terminal(&mut ws, &x), out.l);
        assert!(relative_error(out.lx.as_slice(), &half(&e.vx)) == 0.0);
        assert!(relative_error(out.lxx.as_slice(), &half(&e.vxx)) == 0.0);
        assert!(out.lu.iter().all(|lu| *lu == 7.0));
        let single = NeuralTerminalCost::new(single(&net), kind);
        let mut ws = single.workspace();
        let mut rounded = CostExpansion::zeros(3, 2);
        single.expand_terminal(&mut ws, &x, &mut rounded);
        assert!(relative_error(rounded.lxx.as_slice(), &e.vxx) < 1e-4);
    }
    let plain = value_network(3, &[8], Activation::Tanh, Head::Plain, 3);
    let cost = NeuralTerminalCost::new(plain, HessianKind::GaussNewton);
    assert_eq!(cost.hessian_kind(), HessianKind::Exact);
}
