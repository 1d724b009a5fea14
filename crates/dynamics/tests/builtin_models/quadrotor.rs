//! The quadrotor.

use dynamics::Rk4;
use dynamics::models::{DragOn, Quadrotor, QuadrotorParameters};
use nalgebra::{DVector, Rotation3, Vector3};
use proptest::prelude::*;

use crate::{audit, audit_rollout, drift, roll, to_parameters, to_rotation, vector, xdot};

fn quadrotor(drag_on: DragOn) -> Quadrotor {
    let p = QuadrotorParameters { drag_on, ..QuadrotorParameters::real_with_air_drag() };
    Quadrotor::new(p).unwrap()
}

proptest! {
    #[test]
    fn quadrotor_has_exact_jacobians(x in vector(-2.0..2.0, 12), u in vector(11.5..18.3, 4)) {
        audit(&Quadrotor::new(QuadrotorParameters::nominal()).unwrap(), &x, &u, true)?;
        // The slope of y|y| has a kink at 0.
        let smooth = x[3..9].iter().all(|y| y.abs() > 0.01);
        for drag_on in [DragOn::Velocity, DragOn::Attitude] {
            audit(&quadrotor(drag_on), &x, &u, smooth)?;
        }
    }

    #[test]
    fn quadrotor_does_not_care_where_it_is_or_where_north_is(
        x in vector(-1.0..1.0, 12),
        u in vector(11.5..18.3, 4),
        turn in -3.0..3.0_f64,
    ) {
        // Turned about the vertical, with r moved: body-frame rates are the same.
        let model = quadrotor(DragOn::Velocity);
        let yaw = Rotation3::from_axis_angle(&Vector3::z_axis(), turn);
        let turned_attitude = yaw * to_rotation(&x[3..6]);
        let mut moved = x.clone();
        moved[0] += 3.0;
        moved[3..6].copy_from_slice(&to_parameters(&turned_attitude));
        let u = DVector::from_vec(u);
        let a = xdot(&model, &DVector::from_vec(x), &u);
        let b = xdot(&model, &DVector::from_vec(moved), &u);
        prop_assert!((a.rows(6, 6) - b.rows(6, 6)).amax() < 1e-10);
        let (a, b) = (Vector3::new(a[0], a[1], a[2]), Vector3::new(b[0], b[1], b[2]));
        prop_assert!((yaw * a - b).amax() < 1e-12);
    }
}

#[test]
fn quadrotor_hovers_at_the_published_throttle() {
    for (p, command) in
        [(QuadrotorParameters::nominal(), 14.4984), (QuadrotorParameters::real(), 12.2277)]
    {
        let model = Quadrotor::new(p).unwrap();
        assert!((model.hover_action() - command).abs() < 1e-4, "{}", model.hover_action());
        let rate = xdot(&model, &DVector::zeros(12), &DVector::repeat(4, model.hover_action()));
        assert!(rate.amax() < 1e-12, "{rate}");
    }
}

#[test]
fn each_rotor_turns_the_quadrotor_as_it_is_placed() {
    let p = QuadrotorParameters::real();
    let model = Quadrotor::new(p).unwrap();
    let reach = 0.28 / 2.0_f64.sqrt();
    for (rotor, [x, y, spin]) in
        [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]]
            .into_iter()
            .enumerate()
    {
        let mut u = DVector::repeat(4, model.hover_action());
        u[rotor] += 1.0;
        let rate = xdot(&model, &DVector::zeros(12), &u);
        let thrust = 100.0 * p.thrust_gain;
        let expected = [
            thrust / 2.2,
            reach * y * thrust / 0.0165,
            -reach * x * thrust / 0.0165,
            spin * 100.0 * p.torque_gain / 0.0234,
        ];
        for (found, expected) in rate.iter().skip(8).zip(expected) {
            assert!((found - expected).abs() < 1e-10, "rotor {rotor}: {rate}");
        }
    }
}

#[test]
fn quadrotor_without_thrust_keeps_energy_and_angular_momentum() {
    let p = QuadrotorParameters { thrust_bias: 0.0, ..QuadrotorParameters::nominal() };
    let model = Quadrotor::new(p).unwrap();
    let x0 =
        DVector::from_row_slice(&[0.3, 0.1, 2.0, 0.4, -0.2, 0.1, 1.0, -2.0, 0.5, 3.0, 1.0, -2.0]);
    let inertia = nalgebra::Matrix3::from_fn(|i, j| p.inertia[i][j]);
    let momentum = |x: &[f64]| to_rotation(&x[3..6]) * (inertia * Vector3::from_row_slice(&x[9..]));
    let energy = |x: &[f64]| {
        let (v, omega) = (Vector3::from_row_slice(&x[6..9]), Vector3::from_row_slice(&x[9..]));
        0.5 * p.mass * v.norm_squared()
            + 0.5 * omega.dot(&(inertia * omega))
            + p.mass * p.gravity * x[2]
    };
    let (error, ratio) = drift(&model, &x0, &DVector::zeros(4), 200, energy);
    assert!(error < 1e-7 && (14.0..40.0).contains(&ratio), "error {error:e}, ratio {ratio}");
    let end = roll(&Rk4::new(model, 1e-3).unwrap(), &x0, &DVector::zeros(4), 1000);
    assert!((momentum(end.as_slice()) - momentum(x0.as_slice())).amax() < 1e-10);
    // The centre of mass falls freely.
    assert!(
        (end[2] - x0[2] - (to_rotation(&x0.as_slice()[3..6]) * Vector3::new(1.0, -2.0, 0.5)).z
            + 0.5 * p.gravity)
            .abs()
            < 1e-9
    );
}

#[test]
fn drag_of_the_quadrotor_opposes_what_it_is_said_to() {
    let x = DVector::from_row_slice(&[0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0, -3.0, 0.0, 0.0, 0.0]);
    let u = DVector::repeat(4, 12.0);
    let with = |drag_coefficients, drag_on| {
        let p = QuadrotorParameters {
            drag_coefficients,
            drag_on,
            ..QuadrotorParameters::real_with_air_drag()
        };
        xdot(&Quadrotor::new(p).unwrap(), &x, &u)
    };
    let free = with([0.0; 3], DragOn::Velocity);
    let air = with([0.3; 3], DragOn::Velocity) - &free;
    let slip = with([0.3; 3], DragOn::Attitude) - &free;
    let half = 0.5 * 1.27 * 0.3 / 2.2;
    assert!((air[8] - half * 0.5 * 9.0).abs() < 1e-12 && air.rows(6, 2).amax() == 0.0, "{air}");
    assert!(
        (slip[6] + half * 0.25 * 0.04).abs() < 1e-12 && slip.rows(7, 2).amax() == 0.0,
        "{slip}"
    );
}

#[test]
fn rollouts_have_the_jacobians_of_dual_numbers() {
    for p in [
        QuadrotorParameters::nominal(),
        QuadrotorParameters::real(),
        QuadrotorParameters::real_with_air_drag(),
    ] {
        let model = Quadrotor::new(p).unwrap();
        let hover = model.hover_action();
        let x0 = [1.0, 0.0, 0.5, 0.2, -0.1, 0.1, 0.3, -0.2, 0.1, 0.1, 0.2, -0.1];
        audit_rollout(model, 0.05, &x0, &[hover; 4], &[0.05; 4]);
    }
}

#[test]
fn an_impossible_inertia_is_refused() {
    let mut p = QuadrotorParameters::nominal();
    p.inertia[0][1] = 1e-3;
    let error = Quadrotor::new(p).unwrap_err().to_string();
    assert!(error.starts_with("`quadrotor`: asymmetry of the inertia is 0.0009"), "{error}");
    p.inertia[1][0] = 1e-3;
    p.inertia[2][2] = -0.02;
    let error = Quadrotor::new(p).unwrap_err().to_string();
    assert!(error.ends_with("must be that of a positive definite matrix"), "{error}");
}
