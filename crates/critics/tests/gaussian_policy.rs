//! The squashed Gaussian against its formula and finite differences.

mod common;

use common::{activations, at, differences, dot, network, normal, plain_forward, relative_error};
use critics::{Activation, CriticError, SquashedGaussian};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn densities_and_gradients_agree_with_formula_and_differences(
        (nx, nu, width) in (1_usize..6, 1_usize..4, 1_usize..9),
        hidden in activations(),
        batch in 1_usize..4,
        seed: u64,
    ) {
        let sizes = [nx, width, width + 1, 2 * nu];
        let net = network(&sizes, hidden, seed);
        let x = normal(batch * nx, seed, "x");
        let eps = normal(batch * nu, seed, "eps");
        let (a_seed, log_seed) = (normal(batch * nu, seed, "a"), normal(batch, seed, "log"));
        let (out, margin) = plain_forward(&net, &x);
        prop_assume!(hidden != Activation::Relu || margin > common::MARGIN);
        for row in 0..batch {
            for j in 0..nu {
                let (mean, raw) = (out[row * 2 * nu + j], out[row * 2 * nu + nu + j]);
                // Not at the clamp's kink, and not where 1 − tanh² is all cancellation: differences
                // of its logarithm are noise there.
                prop_assume!((raw - 2.0).abs() > 1e-3);
                prop_assume!((mean + raw.clamp(-20.0, 2.0).exp() * eps[row * nu + j]).abs() < 4.0);
            }
        }
        let (low, high): (Vec<f64>, Vec<f64>) =
            (0..nu).map(|j| (-1.0 - j as f64, 0.5 + 2.0 * j as f64)).unzip();
        let policy = SquashedGaussian::new(net.clone(), &low, &high).unwrap();
        prop_assert_eq!((policy.nx(), policy.nu()), (nx, nu));

        let mut ws = policy.workspace(1);
        let (mut a, mut log_prob) = (vec![f64::NAN; batch * nu], vec![f64::NAN; batch]);
        policy.sample(&x, &eps, &mut ws, &mut a, &mut log_prob);
        for row in 0..batch {
            let mut expected = 0.0;
            for j in 0..nu {
                let (mean, log_std) =
                    (out[row * 2 * nu + j], out[row * 2 * nu + nu + j].clamp(-20.0, 2.0));
                let std = log_std.exp();
                let xi = mean + std * eps[row * nu + j];
                let (s, b) = (0.5 * (high[j] - low[j]), 0.5 * (high[j] + low[j]));
                prop_assert!((a[row * nu + j] - (s * xi.tanh() + b)).abs() < 1e-13);
                expected += -0.5 * ((xi - mean) / std).powi(2)
                    - (std * std::f64::consts::TAU.sqrt()).ln()
                    - (s * (1.0 - xi.tanh().powi(2)) + 1e-6).ln();
            }
            prop_assert!((log_prob[row] - expected).abs() < 1e-11 * expected.abs().max(1.0));
        }

        let mut loss = |policy: &SquashedGaussian<f64>, x: &[f64]| {
            policy.sample(x, &eps, &mut ws, &mut a, &mut log_prob);
            dot(&a_seed, &a) + dot(&log_seed, &log_prob)
        };
        let by_x = differences(&x, |x| loss(&policy, x));
        let by_params = differences(net.params(), |p| {
            loss(&SquashedGaussian::new(at(&net, p), &low, &high).unwrap(), &x)
        });
        loss(&policy, &x);
        let mut gx = vec![f64::NAN; x.len()];
        policy.state_gradient(&a_seed, &log_seed, &mut ws, &mut gx);
        prop_assert!(relative_error(&gx, &by_x) < 1e-7);
        let mut grads = vec![0.0; net.params().len()];
        policy.backward(&a_seed, &log_seed, &mut ws, &mut grads);
        prop_assert!(relative_error(&grads, &by_params) < 1e-7);
    }
}

#[test]
fn log_deviations_outside_the_clamp_are_clamped_and_pass_no_gradient() {
    // Outputs are the biases: μ = 0.1, log σ = 5 in one policy and −30 in the other.
    for (raw, log_std) in [(5.0, 2.0), (-30.0, -20.0_f64)] {
        let mut net = network(&[1, 2], Activation::Tanh, 1);
        net.params_mut().copy_from_slice(&[0.0, 0.0, 0.1, raw]);
        let policy = SquashedGaussian::new(net, &[-1.0], &[1.0]).unwrap();
        let mut ws = policy.workspace(1);
        let (mut a, mut log_prob, mut grads) = ([0.0], [0.0], [0.0; 4]);
        policy.sample(&[1.0], &[0.05], &mut ws, &mut a, &mut log_prob);
        assert!((a[0] - (0.1 + 0.05 * log_std.exp()).tanh()).abs() < 1e-15);
        policy.backward(&[1.0], &[1.0], &mut ws, &mut grads);
        assert_eq!((grads[1], grads[3]), (0.0, 0.0));
        assert!(grads[2] != 0.0);
    }
}

#[test]
fn the_action_of_evaluation_is_the_squashed_mean() {
    let net = network(&[3, 8, 4], Activation::Relu, 4);
    let policy = SquashedGaussian::new(net.clone(), &[-2.0, 0.0], &[2.0, 1.0]).unwrap();
    let x = normal(9, 4, "x");
    let (out, _) = plain_forward(&net, &x);
    let (mut ws, mut a) = (policy.workspace(3), [f64::NAN; 6]);
    policy.mean_action(&x, &mut ws, &mut a);
    let mut sampled = [f64::NAN; 6];
    for row in 0..3 {
        assert!((a[2 * row] - 2.0 * out[4 * row].tanh()).abs() < 1e-14);
        assert!((a[2 * row + 1] - (0.5 * out[4 * row + 1].tanh() + 0.5)).abs() < 1e-14);
    }
    policy.sample(&x, &[0.0; 6], &mut ws, &mut sampled, &mut [0.0; 3]);
    assert_eq!(a, sampled);
}

#[test]
fn saturated_actions_keep_density_and_gradients_finite() {
    let mut net = network(&[1, 2], Activation::Tanh, 1);
    net.params_mut().copy_from_slice(&[0.0, 0.0, 40.0, 0.0]);
    let policy = SquashedGaussian::new(net, &[-1.0], &[1.0]).unwrap();
    let mut ws = policy.workspace(1);
    let (mut a, mut log_prob, mut gx) = ([0.0], [0.0], [f64::NAN]);
    policy.sample(&[1.0], &[0.0], &mut ws, &mut a, &mut log_prob);
    // log N = −½ log 2π, and −log 10⁻⁶
    let expected = -0.5 * std::f64::consts::TAU.ln() - 1e-6_f64.ln();
    assert!(a[0] == 1.0 && (log_prob[0] - expected).abs() < 1e-12);
    policy.state_gradient(&[1.0], &[1.0], &mut ws, &mut gx);
    assert_eq!(gx, [0.0]);
}

#[test]
fn networks_and_ranges_that_do_not_fit_are_refused() {
    let net = || network(&[3, 4], Activation::Tanh, 4);
    let error = SquashedGaussian::new(net(), &[-1.0], &[1.0]).unwrap_err();
    assert_eq!(error.to_string(), "the policy network's output has shape [4], needed is [2]");
    for high in [0.0, f64::NAN, f64::INFINITY] {
        let error = SquashedGaussian::new(net(), &[-1.0, 0.0], &[1.0, high]).unwrap_err();
        assert!(matches!(error, CriticError::ActionRange { index: 1, .. }));
    }
}

#[test]
#[should_panic(expected = "`sample` must come before")]
fn derivatives_of_a_sample_that_was_overwritten_are_refused() {
    let policy =
        SquashedGaussian::new(network(&[1, 2], Activation::Tanh, 4), &[-1.0], &[1.0]).unwrap();
    let mut ws = policy.workspace(1);
    policy.sample(&[1.0], &[0.0], &mut ws, &mut [0.0], &mut [0.0]);
    policy.mean_action(&[1.0], &mut ws, &mut [0.0]);
    policy.state_gradient(&[1.0], &[1.0], &mut ws, &mut [0.0]);
}
