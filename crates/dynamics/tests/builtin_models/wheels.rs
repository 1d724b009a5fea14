//! Unicycle and cars.

use dynamics::models::{Car, CarParameters, LagParameters, LaggedCar, Unicycle};
use dynamics::{Euler, Rk4};
use nalgebra::{DVector, dvector};
use proptest::prelude::*;

use crate::{assert_error, audit, audit_rollout, roll, vector, xdot};

proptest! {
    #[test]
    fn unicycle_is_exact(x in vector(-3.0..3.0, 3), u in vector(-2.0..2.0, 2)) {
        audit(&Unicycle, &x, &u, true)?;
        let euler = Euler::new(Unicycle, 0.1).unwrap();
        let (x, u) = (DVector::from_vec(x), DVector::from_vec(u));
        let expected = dvector![
            x[0] + u[0] * x[2].cos() * 0.1, x[1] + u[0] * x[2].sin() * 0.1, x[2] + u[1] * 0.1
        ];
        prop_assert!((roll(&euler, &x, &u, 1) - expected).amax() < 1e-15);
        // At constant controls the path is an arc of radius v/ω.
        prop_assume!(u[1].abs() > 0.1);
        let (radius, end) = (u[0] / u[1], x[2] + u[1]);
        let arc = dvector![
            x[0] + radius * (end.sin() - x[2].sin()), x[1] - radius * (end.cos() - x[2].cos()), end
        ];
        let fine = roll(&Rk4::new(Unicycle, 0.01).unwrap(), &x, &u, 100);
        prop_assert!((fine - arc).amax() < 1e-9);
    }

    #[test]
    fn car_has_exact_jacobians(x in vector(-3.0..3.0, 7), u in vector(-1.0..1.0, 2)) {
        let identified = CarParameters::identified();
        // The scrub has a kink where the car goes straight.
        let straight = |steering: f64| {
            (x[2] * (identified.steering_gain * steering + identified.steering_bias)).abs() < 0.05
        };
        for p in [CarParameters::unit(), CarParameters::released(), identified] {
            audit(&Car::new(p).unwrap(), &x[..4], &u, !straight(u[1]))?;
        }
        let lagged = LaggedCar::new(identified, LagParameters::identified()).unwrap();
        audit(&lagged, &x, &u, !straight(x[5]))?;
    }
}

#[test]
fn car_steps_as_the_published_example() {
    let (x, u) = (dvector![0.1, -0.2, 2.0, 1.3], dvector![0.7152699015, 0.044531333]);
    let step = |p| roll(&Euler::new(Car::new(p).unwrap(), 0.02).unwrap(), &x, &u, 1);
    let unit = dvector![0.1106999531, -0.1614576726, 2.014305398, 1.3017812533];
    assert!((step(CarParameters::unit()) - &unit).amax() < 1e-10);
    let released = dvector![unit[0], unit[1], 2.1169357278, 1.3155781466];
    assert!((step(CarParameters::released()) - released).amax() < 1e-10);
}

#[test]
fn lagged_car_settles_where_the_car_does() {
    let p = CarParameters::identified();
    let u = dvector![0.4, 0.2];
    let car = Rk4::new(Car::new(p).unwrap(), 0.02).unwrap();
    let lagged = LaggedCar::new(p, LagParameters::identified()).unwrap();
    let lagged = Rk4::new(lagged, 0.02).unwrap();
    let a = roll(&car, &DVector::zeros(4), &u, 1000);
    let b = roll(&lagged, &DVector::zeros(7), &u, 1000);
    // In the steady turn the speed solves k_a a = (c + c_s |κ|) v².
    let curvature = p.steering_gain * 0.2 + p.steering_bias;
    let speed = (p.throttle_gain * 0.4 / (p.drag + p.cornering_drag * curvature)).sqrt();
    assert!((a[2] - speed).abs() < 1e-9 && (b[2] - speed).abs() < 1e-9, "{a} {b} {speed}");
}

#[test]
fn scaled_cars_scale_every_constant() {
    let (whole, half) = (CarParameters::identified(), CarParameters::identified().scaled(0.5));
    let rate = |p| xdot(&Car::new(p).unwrap(), &dvector![0.0, 0.0, 2.0, 0.3], &dvector![0.7, -0.2]);
    // Without scrub both rates are linear in the constants; the scrub has a product of two.
    let without = |p: CarParameters| rate(CarParameters { cornering_drag: 0.0, ..p });
    assert!((without(whole).rows(2, 2) * 0.5 - without(half).rows(2, 2)).amax() < 1e-14);
    let scrub = |p| (without(p) - rate(p))[2];
    assert!((scrub(whole) * 0.25 - scrub(half)).abs() < 1e-14);
}

#[test]
fn rollouts_have_the_jacobians_of_dual_numbers() {
    audit_rollout(Unicycle, 0.1, &[1.0, 0.5, -0.4], &[0.5, 0.2], &[1.0, 1.0]);
    let identified = CarParameters::identified();
    let car = Car::new(identified).unwrap();
    audit_rollout(car, 0.02, &[0.0, 0.0, 2.0, 1.0], &[0.5, 0.3], &[0.2, 0.5]);
    let lagged = LaggedCar::new(identified, LagParameters::identified()).unwrap();
    audit_rollout(lagged, 0.02, &[0.0, 0.0, 2.0, 1.0, 2.0, 0.1, 0.3], &[0.5, 0.3], &[0.2, 0.5]);
}

#[test]
fn parameters_out_of_range_are_named() {
    let p = CarParameters { steering_bias: f64::INFINITY, ..CarParameters::unit() };
    assert_error(Car::new(p), "`car`: steering_bias is inf, but must be finite");
    let lags = LagParameters { tyre: 0.0, ..LagParameters::identified() };
    assert_error(
        LaggedCar::new(CarParameters::unit(), lags),
        "`lagged-car`: tyre is 0, but must be positive and finite",
    );
}
