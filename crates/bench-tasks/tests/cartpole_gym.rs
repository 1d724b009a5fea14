//! The cart-pole of Gymnasium: published equations, friction, derivatives.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::f64::consts::PI;

use dynamics::check::{check_against_differences, check_against_duals};
use dynamics::models::{CartpoleGym, CartpoleGymParameters};
use dynamics::{
    ContinuousDynamics, DerivativeKind, Dynamics, DynamicsError, Euler, HessianProduct, Plant,
    Stream,
};
use nalgebra::{DVector, dvector};
use proptest::prelude::*;

fn model(cart_friction: f64, pole_friction: f64) -> CartpoleGym {
    let gym = CartpoleGymParameters::default();
    CartpoleGym::new(CartpoleGymParameters { cart_friction, pole_friction, ..gym }).unwrap()
}

/// p̈ and θ̈.
fn accelerations(model: &CartpoleGym, x: &DVector<f64>, u: f64) -> [f64; 2] {
    let mut out = DVector::repeat(4, f64::NAN);
    model.xdot(&mut (), x, &dvector![u], &mut out);
    assert_eq!([out[0], out[1]], [x[2], x[3]]);
    [out[2], out[3]]
}

/// One step of CartPole-v1 in its own order (p, ṗ, θ, θ̇), written down independently.
fn gymnasium([p, v, theta, w]: [f64; 4], force: f64) -> [f64; 4] {
    let (gravity, mass_pole, total_mass, length, tau) = (9.8, 0.1, 1.1, 0.5, 0.02);
    let (sin, cos) = theta.sin_cos();
    let temp = (force + mass_pole * length * w.powi(2) * sin) / total_mass;
    let theta_acc = (gravity * sin - cos * temp)
        / (length * (4.0 / 3.0 - mass_pole * cos.powi(2) / total_mass));
    let x_acc = temp - mass_pole * length * theta_acc * cos / total_mass;
    [p + tau * v, v + tau * x_acc, theta + tau * w, w + tau * theta_acc]
}

#[test]
fn without_friction_it_is_gymnasium() {
    let model = Euler::new(model(0.0, 0.0), 0.02).unwrap();
    let mut ws = model.workspace();
    let mut stream = Stream::new(1, "cartpole-gym", 0);
    let mut x = dvector![0.03, -0.02, 0.04, 0.01];
    let mut gym = [x[0], x[2], x[1], x[3]];
    let mut x_next = x.clone();
    for _ in 0..200 {
        let force = stream.uniform(-10.0, 10.0);
        model.step(&mut ws, &x, &dvector![force], &mut x_next).unwrap();
        x.copy_from(&x_next);
        gym = gymnasium(gym, force);
        for (i, &expected) in [0, 2, 1, 3].into_iter().zip(&gym) {
            assert!((x[i] - expected).abs() < 1e-9 * expected.abs().max(1.0), "{x} {gym:?}");
        }
    }
}

/// A point with the cart in motion, fast turns included, in which the pole lifts the cart.
fn point() -> impl Strategy<Value = (DVector<f64>, f64)> {
    let speed = prop_oneof![-4.0..-0.1_f64, 0.1..4.0_f64];
    (-7.0..7.0_f64, speed, -25.0..25.0_f64, -20.0..20.0_f64)
        .prop_map(|(theta, v, w, u)| (dvector![0.3, theta, v, w], u))
}

/// N.
fn normal_force(x: &DVector<f64>, theta_acc: f64) -> f64 {
    let (sin, cos) = x[1].sin_cos();
    1.1 * 9.8 - 0.05 * (theta_acc * sin + x[3] * x[3] * cos)
}

proptest! {
    #[test]
    fn friction_obeys_newton((x, u) in point(), mu in 0.0..0.5_f64, hinge in 0.0..0.01_f64) {
        let [p_acc, theta_acc] = accelerations(&model(mu, hinge), &x, u);
        let normal = normal_force(&x, theta_acc);
        let (sin, cos) = x[1].sin_cos();
        // Where the sign of N depends on which way the friction acts, no choice is consistent.
        prop_assume!(normal.abs() > 1.0);
        let side = normal.signum() * x[2].signum();
        // The cart and the pole together along the track, and the pole about its hinge.
        let along = u + 0.05 * (x[3] * x[3] * sin - theta_acc * cos) - mu * normal * side;
        prop_assert!((1.1 * p_acc - along).abs() < 1e-9 * along.abs().max(1.0));
        let about = 0.05 * (9.8 * sin - p_acc * cos) - hinge * x[3];
        prop_assert!((0.05 * 0.5 * 4.0 / 3.0 * theta_acc - about).abs() < 1e-9 * about.abs().max(1.0));
    }

    #[test]
    fn jacobians_equal_dual_numbers_and_differences(
        (x, u) in point(), mu in prop_oneof![Just(0.0), 0.0..0.5_f64], hinge in 0.0..0.01_f64,
    ) {
        let euler = Euler::new(model(mu, hinge), 0.02).unwrap();
        let u = dvector![u];
        for block in check_against_duals(&euler, &euler, &x, &u).unwrap() {
            prop_assert!(block.error <= 1e-10, "{block:?}");
        }
        // Differences only away from where the friction turns round.
        let normal = normal_force(&x, accelerations(euler.model(), &x, u[0])[1]);
        prop_assume!(normal.abs() > 1.0);
        for block in check_against_differences(&euler, &x, &u).unwrap() {
            prop_assert!(block.error <= 1e-6, "{block:?}");
        }
    }
}

#[test]
fn friction_slows_the_cart_and_leaves_it_alone_at_rest() {
    let rough = model(0.3, 0.0);
    for v in [-1.0, 1.0] {
        let [p_acc, _] = accelerations(&rough, &dvector![0.0, PI, v, 0.0], 0.0);
        assert!(p_acc * v < -1.0, "{p_acc}");
    }
    let still = dvector![0.0, 0.4, 0.0, 1.0];
    assert_eq!(accelerations(&rough, &still, 2.0), accelerations(&model(0.0, 0.0), &still, 2.0));
}

#[test]
fn a_lifted_cart_is_slowed_too() {
    // The pole swings through its upper position so fast that it pulls the cart off its track.
    let x = dvector![0.0, 0.0, 1.0, 20.0];
    let [p_acc, theta_acc] = accelerations(&model(0.3, 0.0), &x, 0.0);
    let free = accelerations(&model(0.0, 0.0), &x, 0.0)[0];
    assert!(normal_force(&x, theta_acc) < 0.0);
    assert!(p_acc < free, "{p_acc} {free}");
}

#[test]
fn second_derivatives_are_exact() {
    let euler = Euler::new(model(0.2, 0.001), 0.02).unwrap();
    assert_eq!(euler.hessian_product_kind(), DerivativeKind::Analytic);
    let (x, u, lambda) =
        (dvector![0.1, 2.0, -1.0, 3.0], dvector![4.0], dvector![1.0, -2.0, 0.5, 3.0]);
    let mut found = HessianProduct::of(&euler);
    euler.hessian_product(&mut euler.workspace(), &x, &u, &lambda, &mut found).unwrap();
    let gradient = |x: &DVector<f64>, u: &DVector<f64>| {
        let mut jacobian = dynamics::Linearization::of(&euler);
        euler.linearize(&mut euler.workspace(), x, u, &mut jacobian).unwrap();
        (jacobian.fx.tr_mul(&lambda), jacobian.fu.tr_mul(&lambda))
    };
    let h = 1e-5;
    for i in 0..4 {
        let (mut above, mut below) = (x.clone(), x.clone());
        above[i] += h;
        below[i] -= h;
        let ((x1, u1), (x0, u0)) = (gradient(&above, &u), gradient(&below, &u));
        assert!(((x1 - x0) / (2.0 * h) - found.xx.column(i)).amax() < 1e-6);
        assert!(((u1 - u0) / (2.0 * h) - found.ux.column(i)).amax() < 1e-6);
    }
    let force = |u: f64| gradient(&x, &dvector![u]).1[0];
    assert!(((force(4.0 + h) - force(4.0 - h)) / (2.0 * h) - found.uu[(0, 0)]).abs() < 1e-6);
}

#[test]
fn parameters_out_of_range_are_refused() {
    let refused = CartpoleGymParameters { cart_friction: -0.1, ..CartpoleGymParameters::default() };
    assert_eq!(
        CartpoleGym::new(refused).unwrap_err(),
        DynamicsError::Parameter {
            model: "cartpole-gym".to_owned(),
            parameter: "cart_friction",
            value: -0.1,
            needed: "finite and not negative",
        }
    );
}
