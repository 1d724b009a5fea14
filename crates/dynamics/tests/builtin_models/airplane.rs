//! The airplane.

use dynamics::models::{
    Aerodynamics, Airplane, AirplaneParameters, IdleThrust, LeftWing, MotorMomentum,
};
use dynamics::{ContinuousDynamics, Linearization, Rk4};
use nalgebra::{DVector, Vector3, dvector};
use proptest::prelude::*;

use crate::{assert_error, audit, audit_rollout, roll, to_rotation, vector, xdot};

/// Every released quirk and its physical counterpart, with either set of coefficients.
fn airplanes() -> Vec<Airplane> {
    [
        AirplaneParameters::nominal(),
        AirplaneParameters::real(),
        AirplaneParameters::wind_tunnel(),
        AirplaneParameters { aerodynamics: Aerodynamics::WindTunnel, ..AirplaneParameters::real() },
    ]
    .map(|p| Airplane::new(p).unwrap())
    .into()
}

const RESET: [f64; 12] = [0.0, 0.0, 0.0, 0.997156, 0.0, 0.075366, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0];
const TRIM: [f64; 4] = [41.6666, 106.0, 74.6519, 106.0];

proptest! {
    #[test]
    fn airplane_in_forward_flight_has_exact_jacobians(
        attitude in vector(-1.2..1.2, 3),
        forward in 4.0..10.0_f64,
        sideways in vector(-1.5..1.5, 2),
        omega in vector(-2.0..2.0, 3),
        u in vector(30.0..250.0, 4),
    ) {
        let v = to_rotation(&attitude) * Vector3::new(forward, sideways[0], sideways[1]);
        let x = [&[0.5, -1.0, 2.0], &attitude[..], v.as_slice(), &omega].concat();
        for model in airplanes() {
            audit(&model, &x, &u, true)?;
        }
    }

    #[test]
    fn airplane_has_the_jacobian_of_the_branch_it_takes(
        x in vector(-3.0..3.0, 12),
        u in vector(-60.0..320.0, 4),
    ) {
        for model in airplanes() {
            audit(&model, &x, &u, false)?;
        }
    }

    #[test]
    fn airplane_is_symmetric_without_slips_and_motor(
        x in vector(-1.0..1.0, 12),
        forward in 3.0..8.0_f64,
        u in vector(0.0..212.0, 4),
    ) {
        // Reflected in the x-z plane: y changes its sign, turns about x and z change theirs, aileron
        // and rudder go to the other side of neutral.
        let signs = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
        let mut x = DVector::from_vec(x);
        x[6] = forward;
        let u = dvector![20.0, u[1], u[2], u[3]];
        let mirrored = x.component_mul(&DVector::from_row_slice(&signs));
        let u_mirrored = dvector![20.0, 212.0 - u[1], u[2], 212.0 - u[3]];
        let model = Airplane::new(AirplaneParameters::wind_tunnel()).unwrap();
        let a = xdot(&model, &x, &u).component_mul(&DVector::from_row_slice(&signs));
        let b = xdot(&model, &mirrored, &u_mirrored);
        prop_assert!((&a - &b).amax() < 1e-9 * (1.0 + a.amax()), "{a} {b}");
    }
}

#[test]
fn airplane_accelerates_at_trim_as_published() {
    let rate = |p| {
        xdot(
            &Airplane::new(p).unwrap(),
            &DVector::from_row_slice(&RESET),
            &DVector::from_row_slice(&TRIM),
        )
    };
    let full = rate(AirplaneParameters::wind_tunnel());
    assert!((full.rows(6, 3) - dvector![-0.29, 0.0, -3.89]).amax() < 0.006, "{full}");
    assert!(full.rows(9, 3).amax() < 0.01, "{full}");
    for (p, [forward, up]) in [
        (AirplaneParameters::nominal(), [0.40, -1.41]),
        (AirplaneParameters::real(), [0.37, -3.68]),
    ] {
        let rate = rate(p);
        let expected = dvector![forward, 0.0, up, 0.0, -2.51, 0.0];
        assert!((rate.rows(6, 6) - expected).amax() < 0.006, "{rate}");
    }
}

#[test]
fn every_control_turns_the_airplane_as_its_surfaces_are_placed() {
    // Level in the body frame at 5 m/s without wash: Q = 15 Pa and every angle is a deflection.
    let p = AirplaneParameters::nominal();
    let rate = |u: [f64; 4]| {
        let mut x = [0.0; 12];
        x[6] = 5.0;
        xdot(&Airplane::new(p).unwrap(), &DVector::from_row_slice(&x), &DVector::from_row_slice(&u))
    };
    let neutral = rate([0.0, 106.0, 106.0, 106.0]);
    let torque = |u| {
        let change = rate(u) - &neutral;
        Vector3::new(change[9], change[10], change[11]).component_mul(&Vector3::from(p.inertia))
    };
    let q = 15.0;
    let angle = 15_f64.to_radians() * 0.63;
    let roll = -6.0 * angle * q * (0.097_761_63 * 0.029_756_25 + 0.06 * 0.0162);
    assert!((torque([0.0, 206.0, 106.0, 106.0]).x - roll).abs() < 1e-8);
    let angle = 20_f64.to_radians() * 0.88;
    let pitch = -0.22 * q * 0.008 * std::f64::consts::TAU * angle;
    assert!((torque([0.0, 106.0, 206.0, 106.0]).y - pitch).abs() < 1e-8);
    let angle = 35_f64.to_radians() * 0.76;
    let side = q * 0.005_512_5 * std::f64::consts::TAU * angle;
    let turn = torque([0.0, 106.0, 106.0, 206.0]);
    assert!((turn.z + 0.24 * side).abs() < 1e-8 && (turn.x - 0.02 * side).abs() < 1e-8, "{turn}");
    // Above 24 the throttle pulls with 0.006763 N per unit, beside the drag of what it blows on.
    let idle = Airplane::new(AirplaneParameters { air_density: 1e-300, ..p }).unwrap();
    let pull =
        xdot(&idle, &DVector::zeros(12), &DVector::from_row_slice(&[124.0, 106.0, 106.0, 106.0]));
    assert!((pull[6] - 0.6763 / p.mass).abs() < 1e-12, "{pull}");
}

#[test]
fn airplane_in_thin_air_keeps_energy_and_angular_momentum() {
    let p = AirplaneParameters { air_density: 1e-300, ..AirplaneParameters::wind_tunnel() };
    let model = Airplane::new(p).unwrap();
    let x0 =
        DVector::from_row_slice(&[0.0, 0.0, 1.0, 0.4, -0.2, 0.1, 4.0, 1.0, 2.0, 3.0, 1.0, -2.0]);
    let inertia = Vector3::from(p.inertia);
    let momentum = |x: &[f64]| {
        to_rotation(&x[3..6]) * inertia.component_mul(&Vector3::from_row_slice(&x[9..]))
    };
    let u = dvector![0.0, 106.0, 106.0, 106.0];
    let end = roll(&Rk4::new(model, 1e-3).unwrap(), &x0, &u, 1000);
    assert!((momentum(end.as_slice()) - momentum(x0.as_slice())).amax() < 1e-12);
    assert!((end[2] - (1.0 + 2.0 - 0.5 * p.gravity)).abs() < 1e-11);
}

#[test]
fn quirks_of_the_released_airplane_act_where_they_should() {
    let rate = |p, omega: [f64; 3], throttle| {
        let mut x = RESET;
        x[9..].copy_from_slice(&omega);
        let u = [throttle, 106.0, 106.0, 106.0];
        xdot(&Airplane::new(p).unwrap(), &DVector::from_row_slice(&x), &DVector::from_row_slice(&u))
    };
    let physical = AirplaneParameters::wind_tunnel();
    // Thrust below 24 pulls back along the nose, by 0.006763 N per unit.
    let negative = AirplaneParameters { idle_thrust: IdleThrust::Negative, ..physical };
    let pull = rate(negative, [0.0; 3], 4.0) - rate(physical, [0.0; 3], 4.0);
    assert!((pull.rows(6, 3).norm() - 20.0 * 0.006763 / 0.075).abs() < 1e-12, "{pull}");
    assert_eq!(rate(negative, [0.0; 3], 80.0), rate(physical, [0.0; 3], 80.0));
    // The slip of the left wing is seen only when its speed differs from the right one's.
    let slip = AirplaneParameters { left_wing: LeftWing::RightSpeed, ..physical };
    let turning = [0.0, 0.0, 2.0];
    assert_eq!(rate(slip, [0.0; 3], 80.0), rate(physical, [0.0; 3], 80.0));
    assert!((rate(slip, turning, 80.0) - rate(physical, turning, 80.0)).amax() > 1e-3);
    // The motor's momentum (h, h, h) × ω instead of (h, 0, 0) × ω turns a pitching plane about x too.
    let all = AirplaneParameters { motor_momentum: MotorMomentum::AllAxes, ..physical };
    let pitching = [0.0, 1.5, 0.0];
    let twist = rate(all, pitching, 80.0) - rate(physical, pitching, 80.0);
    let h = 3.66041667e-6 * 8.623979833 * 80.0;
    assert!((twist[9] + h * 1.5 / 4.8944e-4).abs() < 1e-8 && twist[11].abs() < 1e-9, "{twist}");
    assert_eq!(rate(all, pitching, 20.0), rate(physical, pitching, 20.0));
}

#[test]
fn airplane_clips_its_controls() {
    for model in airplanes() {
        let x = DVector::from_row_slice(&RESET);
        let [inside, outside] = [[255.0, 0.0, 255.0, 0.0], [300.0, -1.0, 256.0, -40.0]]
            .map(|u| DVector::from_row_slice(&u));
        assert_eq!(xdot(&model, &x, &inside), xdot(&model, &x, &outside));
        let slopes = |u: &DVector<f64>| {
            let mut out = Linearization::zeros(12, 4);
            model.xdot_jacobian(&mut model.workspace(), &x, u, &mut out);
            out.fu
        };
        assert_eq!(slopes(&outside).amax(), 0.0);
        assert!(slopes(&inside).column_iter().all(|column| column.amax() > 0.0));
    }
}

#[test]
fn airplane_at_rest_has_finite_derivatives() {
    for model in airplanes() {
        audit(&model, &[0.0; 12], &[0.0, 106.0, 106.0, 106.0], false).unwrap();
    }
}

#[test]
fn rollouts_have_the_jacobians_of_dual_numbers() {
    for model in airplanes() {
        audit_rollout(model, 0.04, &RESET, &TRIM, &[5.0, 3.0, 3.0, 3.0]);
    }
}

#[test]
fn a_wing_shorter_than_its_inner_part_is_refused() {
    let p = AirplaneParameters { wing_span: 0.1, ..AirplaneParameters::real() };
    assert_error(
        Airplane::new(p),
        "`airplane`: wing_span is 0.1, but must be long enough for the inner wing, above 0.151 m",
    );
}
