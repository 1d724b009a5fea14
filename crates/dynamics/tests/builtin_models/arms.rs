//! Acrobot and double pendulum.

use std::f64::consts::{FRAC_PI_2, PI};

use dynamics::models::{Acrobot, AcrobotParameters, DoublePendulum, DoublePendulumParameters};
use dynamics::{Dynamics, Euler, Linearization, Plant};
use nalgebra::{DMatrix, DVector, dvector};
use proptest::prelude::*;

use crate::{assert_error, audit, audit_rollout, drift, roll, vector, xdot};

fn arm_state() -> impl Strategy<Value = Vec<f64>> {
    vector(-6.0..6.0, 4)
}

proptest! {
    #[test]
    fn acrobot_has_exact_jacobians(x in arm_state(), u in -25.0..25.0_f64) {
        audit(&Acrobot::new(AcrobotParameters::nominal()).unwrap(), &x, &[u], true)?;
        audit(&Acrobot::new(AcrobotParameters::real()).unwrap(), &x, &[u], true)?;
    }

    #[test]
    fn double_pendulum_has_exact_jacobians(x in arm_state(), u in vector(-2.0..2.0, 2)) {
        let p = DoublePendulumParameters { lengths: [0.9, 1.2], gravity: 9.81, ..DoublePendulumParameters::real() };
        audit(&DoublePendulum::new(p).unwrap(), &x, &u, true)?;
    }

    #[test]
    fn energy_of_the_acrobot_is_that_of_its_bodies(x in arm_state()) {
        let p = AcrobotParameters::real();
        let ([m1, m2], [c1, c2], [i1, i2], l1) = (p.masses, p.centers, p.inertias, p.length1);
        let [a, b, w, w12] = [x[0], x[0] + x[1], x[2], x[2] + x[3]];
        let v2 = [-l1 * w * a.sin() - c2 * w12 * b.sin(), l1 * w * a.cos() + c2 * w12 * b.cos()];
        let kinetic = 0.5 * ((m1 * c1 * c1 + i1) * w * w + m2 * (v2[0] * v2[0] + v2[1] * v2[1]) + i2 * w12 * w12);
        let potential = p.gravity * (m1 * c1 * a.sin() + m2 * (l1 * a.sin() + c2 * b.sin()));
        let energy = Acrobot::new(p).unwrap().energy(&x);
        prop_assert!((energy - kinetic - potential).abs() < 1e-11 * (1.0 + kinetic));
    }

    #[test]
    fn torque_does_work_at_its_joint(x in arm_state(), u in vector(-2.0..2.0, 2)) {
        // dE/dt = u · θ̇ with dE from the slope of the energy along ẋ.
        let model = DoublePendulum::new(DoublePendulumParameters::real()).unwrap();
        let state = DVector::from_vec(x);
        let rate = xdot(&model, &state, &DVector::from_row_slice(&u));
        let h = 1e-5;
        let power = (model.energy((&state + &rate * h).as_slice())
            - model.energy((&state - &rate * h).as_slice())) / (2.0 * h);
        let work = u[0] * state[2] + u[1] * state[3];
        prop_assert!((power - work).abs() < 1e-4, "{power} {work}");
    }

    #[test]
    fn point_masses_make_an_acrobot_a_double_pendulum(x in arm_state(), u in -5.0..5.0_f64) {
        let p = DoublePendulumParameters { masses: [0.4, 0.7], lengths: [0.9, 1.2], gravity: 9.81 };
        let pendulum = DoublePendulum::new(p).unwrap();
        let acrobot = Acrobot::new(AcrobotParameters {
            masses: p.masses, length1: 0.9, centers: p.lengths, inertias: [0.0; 2], gravity: 9.81,
        }).unwrap();
        let hanging = DVector::from_vec(x);
        let mut horizontal = hanging.clone();
        horizontal[0] -= FRAC_PI_2;
        let a = xdot(&pendulum, &hanging, &dvector![0.0, u]);
        let b = xdot(&acrobot, &horizontal, &dvector![u]);
        prop_assert!((&a - &b).amax() < 1e-11 * (1.0 + a.amax()), "{a} {b}");
    }
}

#[test]
fn acrobot_keeps_its_energy_at_the_order_of_rk4() {
    let model = Acrobot::new(AcrobotParameters::real()).unwrap();
    let x0 = dvector![1.0, -0.7, 0.5, 1.5];
    let (error, ratio) = drift(&model, &x0, &dvector![0.0], 200, |x| model.energy(x));
    assert!(error < 1e-5 && (14.0..40.0).contains(&ratio), "error {error:e}, ratio {ratio}");
}

#[test]
fn double_pendulum_steps_as_the_published_example() {
    let (x, u) = (dvector![1.2, -0.4, 0.3, 0.7], dvector![0.05, -0.02]);
    let step = |p| {
        let model = Euler::new(DoublePendulum::new(p).unwrap(), 0.01).unwrap();
        let mut jacobian = Linearization::of(&model);
        model.linearize(&mut model.workspace(), &x, &u, &mut jacobian).unwrap();
        (roll(&model, &x, &u, 1), jacobian)
    };
    let (real, _) = step(DoublePendulumParameters::real());
    assert!((real - dvector![1.203, -0.393, 0.2935671534, 0.7035348064]).amax() < 1e-10);
    let (nominal, jacobian) = step(DoublePendulumParameters::nominal());
    assert!((nominal - dvector![1.203, -0.393, 0.3012449615, 0.6867852686]).amax() < 1e-10);
    let fx = DMatrix::from_row_slice(
        4,
        4,
        &[
            1.0,
            0.0,
            0.01,
            0.0,
            0.0,
            1.0,
            0.0,
            0.01,
            -0.0007207604,
            0.0186680612,
            0.9913685025,
            -0.0067628095,
            -0.0055824423,
            -0.0441433169,
            0.0189181432,
            1.0129917695,
        ],
    );
    let fu = DMatrix::from_row_slice(
        4,
        2,
        &[0.0, 0.0, 0.0, 0.0, 0.1736643794, -0.3336198654, -0.3336198654, 0.8409041102],
    );
    assert!((jacobian.fx - fx).amax() < 1e-10 && (jacobian.fu - fu).amax() < 1e-10);
}

#[test]
fn double_pendulum_with_a_light_second_mass_swings_like_a_single_one() {
    let p = DoublePendulumParameters { masses: [1.0, 1e-9], lengths: [0.7, 0.4], gravity: 9.81 };
    let model = DoublePendulum::new(p).unwrap();
    let rate = xdot(&model, &dvector![0.8, 0.3, 0.5, -0.2], &dvector![0.0, 0.0]);
    assert!((rate[2] + 9.81 / 0.7 * 0.8_f64.sin()).abs() < 1e-7, "{rate}");
    // Both rods in line and at rest under no torque: hanging and upright are equilibria.
    for theta in [0.0, PI] {
        let rate = xdot(&model, &dvector![theta, 0.0, 0.0, 0.0], &dvector![0.0, 0.0]);
        assert!(rate.amax() < 1e-6, "{rate}");
    }
}

#[test]
fn end_effector_of_the_double_pendulum() {
    let model = DoublePendulum::new(DoublePendulumParameters::real()).unwrap();
    let [x, y] = model.end_effector(&[0.625 * PI, 0.0, 0.0, 0.0]);
    assert!((x - 1.848).abs() < 5e-4 && (y - 0.765367).abs() < 1e-6, "{x} {y}");
}

#[test]
fn rollouts_have_the_jacobians_of_dual_numbers() {
    let acrobot = Acrobot::new(AcrobotParameters::real()).unwrap();
    audit_rollout(acrobot, 0.05, &[1.2, 0.3, 0.0, 0.0], &[0.0], &[5.0]);
    let pendulum = DoublePendulum::new(DoublePendulumParameters::real()).unwrap();
    audit_rollout(pendulum, 0.01, &[2.0, -0.3, 0.1, 0.2], &[0.0; 2], &[0.3, 0.2]);
}

#[test]
fn parameters_out_of_range_are_named() {
    let p = AcrobotParameters { masses: [1.0, 0.0], ..AcrobotParameters::nominal() };
    assert_error(Acrobot::new(p), "`acrobot`: masses[1] is 0, but must be positive and finite");
    let p = DoublePendulumParameters { gravity: f64::NAN, ..DoublePendulumParameters::real() };
    assert_error(
        DoublePendulum::new(p),
        "`double-pendulum`: gravity is NaN, but must be finite and not negative",
    );
}
