//! The built-in models: exact Jacobians, check values, conservation laws and symmetries.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod airplane;
mod arms;
mod quadrotor;
mod swimmer;
mod wheels;

use dynamics::check::{
    check_against_differences, check_against_duals, check_rollout_against_duals,
};
use dynamics::{
    ContinuousDynamics, DynamicsError, Euler, GenericContinuous, Linearization, Plant, Rk4,
};
use nalgebra::{DMatrix, DVector, Rotation3, Vector3};
use proptest::prelude::*;

pub(crate) fn xdot(
    model: &impl ContinuousDynamics,
    x: &DVector<f64>,
    u: &DVector<f64>,
) -> DVector<f64> {
    let mut out = DVector::repeat(x.len(), f64::NAN);
    model.xdot(&mut model.workspace(), x, u, &mut out);
    out
}

/// ∂ẋ against dual numbers, and where asked against central differences: I + ∂ẋ is the Jacobian of
/// an Euler step of 1 s. Every entry must be written.
pub(crate) fn audit<M>(model: &M, x: &[f64], u: &[f64], smooth: bool) -> Result<(), TestCaseError>
where
    M: GenericContinuous + Clone,
{
    let (x, u) = (DVector::from_row_slice(x), DVector::from_row_slice(u));
    let mut rate = Linearization {
        fx: DMatrix::repeat(x.len(), x.len(), f64::NAN),
        fu: DMatrix::repeat(x.len(), u.len(), f64::NAN),
    };
    model.xdot_jacobian(&mut model.workspace(), &x, &u, &mut rate);
    prop_assert!(rate.fx.iter().chain(rate.fu.iter()).all(|v| v.is_finite()), "{rate:?}");
    let euler = Euler::new(model.clone(), 1.0).unwrap();
    for block in check_against_duals(&euler, &euler, &x, &u).unwrap() {
        prop_assert!(block.error <= 1e-10, "{block:?}");
    }
    if smooth {
        for block in check_against_differences(&euler, &x, &u).unwrap() {
            prop_assert!(block.error <= 1e-6, "{block:?}");
        }
    }
    Ok(())
}

/// 50 steps of RK4 with controls that vary in time, against dual numbers.
pub(crate) fn audit_rollout<M>(model: M, dt: f64, x0: &[f64], center: &[f64], swing: &[f64])
where
    M: GenericContinuous,
{
    let model = Rk4::new(model, dt).unwrap();
    let us: Vec<_> = (0..50)
        .map(|t| {
            let u = |i: usize| center[i] + swing[i] * (0.37 * f64::from(t) + i as f64).sin();
            DVector::from_fn(center.len(), |i, _| u(i))
        })
        .collect();
    let x0 = DVector::from_row_slice(x0);
    for block in check_rollout_against_duals(&model, &model, &x0, &us).unwrap() {
        assert!(block.error <= 1e-9, "{}: {block:?}", model.name());
    }
}

pub(crate) fn roll(
    model: &impl Plant,
    x0: &DVector<f64>,
    u: &DVector<f64>,
    n_steps: usize,
) -> DVector<f64> {
    let mut ws = model.workspace();
    let (mut x, mut x_next) = (x0.clone(), x0.clone());
    for _ in 0..n_steps {
        model.step(&mut ws, &x, u, &mut x_next).unwrap();
        std::mem::swap(&mut x, &mut x_next);
    }
    x
}

/// Error of a conserved quantity after one second in n and in 2n steps of RK4: (first, ratio).
pub(crate) fn drift<M: ContinuousDynamics + Clone>(
    model: &M,
    x0: &DVector<f64>,
    u: &DVector<f64>,
    n: usize,
    conserved: impl Fn(&[f64]) -> f64,
) -> (f64, f64) {
    let error = |n: usize| {
        let model = Rk4::new(model.clone(), 1.0 / n as f64).unwrap();
        (conserved(roll(&model, x0, u, n).as_slice()) - conserved(x0.as_slice())).abs()
    };
    let (coarse, fine) = (error(n), error(2 * n));
    (coarse, coarse / fine)
}

pub(crate) fn vector(range: std::ops::Range<f64>, n: usize) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(range, n)
}

/// Attitude of modified Rodrigues parameters.
pub(crate) fn to_rotation(m: &[f64]) -> Rotation3<f64> {
    let m = Vector3::new(m[0], m[1], m[2]);
    let norm = m.norm();
    if norm == 0.0 {
        return Rotation3::identity();
    }
    Rotation3::new(m / norm * (4.0 * norm.atan()))
}

/// The opposite of [`to_rotation`].
pub(crate) fn to_parameters(rotation: &Rotation3<f64>) -> [f64; 3] {
    let turn = rotation.scaled_axis();
    let angle = turn.norm();
    if angle == 0.0 { [0.0; 3] } else { (turn / angle * (0.25 * angle).tan()).into() }
}

/// Asserts the wording of an error.
pub(crate) fn assert_error<T: std::fmt::Debug>(result: Result<T, DynamicsError>, text: &str) {
    assert_eq!(result.unwrap_err().to_string(), text);
}
