//! Integrators and models: order, energy, exact Jacobians, errors.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use dynamics::check::{check_against_duals, check_cost, check_cost_against_duals};
use dynamics::models::{Cartpole, CartpoleParameters, DeadbandKind};
use dynamics::{
    Dynamics, DynamicsError, Euler, FiniteDifference, Linearization, Plant, QuadraticCost, Rk4,
    Scratch, SemiImplicitEuler,
};
use nalgebra::{DVector, dvector};
use proptest::prelude::*;

fn frictionless() -> CartpoleParameters {
    CartpoleParameters {
        cart_mass: 1.0,
        pole_mass: 0.2,
        length: 0.5,
        gravity: 9.81,
        damping: 0.0,
        friction: 0.0,
        friction_slope: 5.0,
        deadband: 0.0,
        deadband_kind: DeadbandKind::Zeroing,
    }
}

fn rough() -> CartpoleParameters {
    CartpoleParameters { damping: 0.08, friction: 0.6, deadband: 0.05, ..frictionless() }
}

fn roll(model: &impl Plant, x0: &DVector<f64>, n_steps: usize) -> DVector<f64> {
    let (mut ws, u) = (model.workspace(), dvector![0.0]);
    let (mut x, mut x_next) = (x0.clone(), x0.clone());
    for _ in 0..n_steps {
        model.step(&mut ws, &x, &u, &mut x_next).unwrap();
        std::mem::swap(&mut x, &mut x_next);
    }
    x
}

/// Energy error after one second with `n` steps.
fn energy_error(n: usize, make: impl Fn(Cartpole, f64) -> DVector<f64>) -> f64 {
    let cartpole = Cartpole::new(frictionless()).unwrap();
    let before = cartpole.energy(X0.as_slice());
    let after = make(cartpole.clone(), 1.0 / n as f64);
    (cartpole.energy(after.as_slice()) - before).abs()
}

const X0: [f64; 4] = [0.0, 2.0, 0.4, -0.3];

#[test]
fn energy_error_of_rk4_falls_sixteenfold_when_dt_halves() {
    let error = |n: usize| {
        energy_error(n, |model, dt| {
            roll(&Rk4::new(model, dt).unwrap(), &DVector::from_row_slice(&X0), n)
        })
    };
    // The energy of a fourth-order method drifts at order four or five.
    let ratio = error(200) / error(400);
    assert!((14.0..40.0).contains(&ratio), "ratio {ratio}");
}

#[test]
fn energy_error_of_euler_halves_when_dt_halves() {
    let error = |n: usize| {
        energy_error(n, |model, dt| {
            roll(&Euler::new(model, dt).unwrap(), &DVector::from_row_slice(&X0), n)
        })
    };
    let ratio = error(2000) / error(4000);
    assert!((1.8..2.2).contains(&ratio), "ratio {ratio}");
}

#[test]
fn semi_implicit_euler_is_first_order_and_agrees_with_rk4_in_the_limit() {
    let x0 = DVector::from_row_slice(&X0);
    let model = || Cartpole::new(frictionless()).unwrap();
    let exact = roll(&Rk4::new(model(), 1e-3).unwrap(), &x0, 1000);
    let error = |n: usize| {
        (roll(&SemiImplicitEuler::new(model(), 1.0 / n as f64).unwrap(), &x0, n) - &exact).amax()
    };
    let ratio = error(2000) / error(4000);
    assert!((1.8..2.2).contains(&ratio), "ratio {ratio}");
}

#[test]
fn substeps_equal_smaller_steps() {
    let x0 = DVector::from_row_slice(&X0);
    let model = || Cartpole::new(rough()).unwrap();
    let coarse = Rk4::with_substeps(model(), 0.05, 4).unwrap();
    let fine = Rk4::new(model(), 0.0125).unwrap();
    assert_eq!(roll(&coarse, &x0, 3), roll(&fine, &x0, 12));
}

#[test]
fn hanging_pole_swings_with_the_small_angle_period() {
    // Frequency of the linearised cartpole: ω² = (g/l)(m_c + m_p)/m_c.
    let p = frictionless();
    let omega = (p.gravity / p.length * (p.cart_mass + p.pole_mass) / p.cart_mass).sqrt();
    let n = 10_000;
    let period = std::f64::consts::TAU / omega;
    let model = Rk4::new(Cartpole::new(p).unwrap(), period / f64::from(n)).unwrap();
    let x0 = dvector![0.0, 1e-4, 0.0, 0.0];
    let x = roll(&model, &x0, n as usize);
    assert!((x[1] - x0[1]).abs() < 1e-11 && x[3].abs() < 1e-9, "{x}");
}

proptest! {
    #[test]
    fn every_integrator_with_substeps_has_the_jacobian_of_dual_numbers(
        x in proptest::collection::vec(-4.0..4.0_f64, 4),
        u in -20.0..20.0_f64,
        substeps in 1_usize..5,
    ) {
        let (x, u) = (DVector::from_vec(x), dvector![u]);
        let model = || Cartpole::new(rough()).unwrap();
        let euler = Euler::with_substeps(model(), 0.02, substeps).unwrap();
        let semi = SemiImplicitEuler::with_substeps(model(), 0.02, substeps).unwrap();
        let rk4 = Rk4::with_substeps(model(), 0.05, substeps).unwrap();
        for blocks in [
            check_against_duals(&euler, &euler, &x, &u).unwrap(),
            check_against_duals(&semi, &semi, &x, &u).unwrap(),
            check_against_duals(&rk4, &rk4, &x, &u).unwrap(),
        ] {
            for block in blocks {
                prop_assert!(block.error <= 1e-10, "{block:?}");
            }
        }
    }

    #[test]
    fn finite_differences_of_a_black_box_come_close(
        x in proptest::collection::vec(-4.0..4.0_f64, 4),
        u in 1.0..20.0_f64,
    ) {
        let (x, u) = (DVector::from_vec(x), dvector![u]);
        let model = Rk4::new(Cartpole::new(rough()).unwrap(), 0.05).unwrap();
        let black_box = FiniteDifference::new(model.clone()).unwrap();
        let (mut exact, mut close) = (Linearization::zeros(4, 1), Linearization::zeros(4, 1));
        model.linearize(&mut model.workspace(), &x, &u, &mut exact).unwrap();
        black_box.linearize(&mut black_box.workspace(), &x, &u, &mut close).unwrap();
        prop_assert!((exact.fx - close.fx).amax() < 1e-6);
        prop_assert!((exact.fu - close.fu).amax() < 1e-6);
    }

    #[test]
    fn quadratic_cost_has_the_derivatives_of_dual_numbers_and_differences(
        x in proptest::collection::vec(-2.0..2.0_f64, 3),
        u in proptest::collection::vec(-2.0..2.0_f64, 2),
    ) {
        let cost = QuadraticCost::new(vec![0.5, 1.0, -0.2], vec![1.0, 0.3, 0.0], vec![0.1, 2.0])
            .unwrap()
            .with_angles(&[1])
            .with_control_limit(1.5);
        let (x, u) = (DVector::from_vec(x), DVector::from_vec(u));
        for block in check_cost_against_duals(&cost, 0, &x, &u) {
            prop_assert!(block.error <= 1e-10, "{block:?}");
        }
        prop_assume!(u.iter().all(|u| (u.abs() - 1.5).abs() > 1e-4));
        for block in check_cost(&cost, 0, &x, &u) {
            prop_assert!(block.error <= 1e-7, "{block:?}");
        }
    }
}

#[test]
fn parameters_out_of_range_are_named() {
    let error =
        Cartpole::new(CartpoleParameters { pole_mass: -0.2, ..frictionless() }).unwrap_err();
    assert_eq!(error.to_string(), "`cartpole`: pole_mass is -0.2, but must be positive and finite");
    let error = Rk4::new(Cartpole::new(frictionless()).unwrap(), 0.0).unwrap_err();
    assert!(error.to_string().contains("dt is 0, but must be positive"), "{error}");
}

#[test]
fn scratch_of_another_model_is_refused() {
    use dynamics::AnyPlant;
    let model = Rk4::new(Cartpole::new(frictionless()).unwrap(), 0.05).unwrap();
    let (x, u) = (DVector::zeros(4), DVector::zeros(1));
    let error = model.any_step(&mut Scratch::none(), &x, &u, &[], &mut x.clone()).unwrap_err();
    assert!(matches!(error, DynamicsError::Workspace { .. }));
}
