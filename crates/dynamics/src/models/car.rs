//! A small car: steering by curvature, drag, and optionally lags of motor, steering and tyres.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::ranges::{require_finite, require_not_negative, require_positive};
use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::duals::{real, xdot_hessian_by_duals};
use crate::{ContinuousDynamics, DynamicsError, Linearization};

/// Parameters of a [`Car`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarParameters {
    /// Acceleration per unit of throttle k_a [m/s²].
    pub throttle_gain: f64,
    /// Drag c [1/m]: deceleration c v².
    pub drag: f64,
    /// Scrub of the tyres in a turn c_s: deceleration c_s |φ̇| v.
    pub cornering_drag: f64,
    /// Curvature per unit of steering k_ω [1/m].
    pub steering_gain: f64,
    /// Curvature without steering b [1/m].
    pub steering_bias: f64,
}

impl CarParameters {
    /// Unit scales, no drag: v̇ = a, φ̇ = v ω, the model that the tracking-feedback policy gradient
    /// takes its gradients from.
    #[must_use]
    pub fn unit() -> Self {
        Self {
            throttle_gain: 1.0,
            drag: 0.0,
            cornering_drag: 0.0,
            steering_gain: 1.0,
            steering_bias: 0.0,
        }
    }

    /// The simulated car released with that paper: v̇ = 11.25 a − 0.55 v², φ̇ = (6.5 ω + 0.1) v.
    #[must_use]
    pub fn released() -> Self {
        Self {
            throttle_gain: 11.25,
            drag: 0.55,
            cornering_drag: 0.0,
            steering_gain: 6.5,
            steering_bias: 0.1,
        }
    }

    /// Chassis of the car identified from that paper's hardware logs; its lags stand in
    /// [`LagParameters::identified`].
    #[must_use]
    pub fn identified() -> Self {
        Self {
            throttle_gain: 5.5,
            drag: 0.09,
            cornering_drag: 0.214,
            steering_gain: 3.41,
            steering_bias: 0.0265,
        }
    }

    /// The same with every constant times `factor`, the mismatched model of the released study.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            throttle_gain: factor * self.throttle_gain,
            drag: factor * self.drag,
            cornering_drag: factor * self.cornering_drag,
            steering_gain: factor * self.steering_gain,
            steering_bias: factor * self.steering_bias,
        }
    }

    fn check(&self, model: &str) -> Result<(), DynamicsError> {
        require_positive(
            model,
            &[("throttle_gain", self.throttle_gain), ("steering_gain", self.steering_gain)],
        )?;
        require_not_negative(
            model,
            &[("drag", self.drag), ("cornering_drag", self.cornering_drag)],
        )?;
        require_finite(model, &[("steering_bias", self.steering_bias)])
    }

    /// Yaw rate φ̇ at speed v.
    fn yaw_rate<S: Scalar>(&self, v: S, steering: S) -> S {
        v * (steering * self.steering_gain + self.steering_bias)
    }

    /// k_a a − c s² − c_s |φ̇| s at the speed s that is slowed.
    fn push<S: Scalar>(&self, throttle: S, s: S, yaw_rate: S) -> S {
        let turn = if real(yaw_rate) < 0.0 { -yaw_rate } else { yaw_rate };
        throttle * self.throttle_gain - s * s * self.drag - turn * s * self.cornering_drag
    }

    /// Derivatives of [`CarParameters::push`] in its speed and in the yaw rate.
    fn push_slopes(&self, s: f64, yaw_rate: f64) -> (f64, f64) {
        let sign = if yaw_rate < 0.0 { -1.0 } else { 1.0 };
        (
            -2.0 * self.drag * s - self.cornering_drag * yaw_rate.abs(),
            -self.cornering_drag * sign * s,
        )
    }
}

/// Car: x = [x, y, v, φ], u = [a, ω] (throttle, steering). Inputs are not clipped.
///
/// ```text
/// ẋ = v cosφ,  ẏ = v sinφ,  v̇ = k_a a − c v² − c_s |φ̇| v,  φ̇ = v (k_ω ω + b)
/// ```
///
/// ω is a curvature, not a yaw rate: a car at rest does not turn. The drag is c v² for either
/// direction of travel, as released, so it slows a car that goes forward only.
#[derive(Debug, Clone)]
pub struct Car {
    p: CarParameters,
}

impl Car {
    /// A car with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a gain that is not positive, a drag that is negative or a
    /// bias that is not finite.
    pub fn new(parameters: CarParameters) -> Result<Self, DynamicsError> {
        parameters.check("car")?;
        Ok(Self { p: parameters })
    }

    /// The parameters.
    pub fn parameters(&self) -> &CarParameters {
        &self.p
    }
}

impl GenericContinuous for Car {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let (sin, cos) = x[3].sin_cos();
        let v = x[2];
        let yaw_rate = self.p.yaw_rate(v, u[1]);
        out.copy_from_slice(&[cos * v, sin * v, self.p.push(u[0], v, yaw_rate), yaw_rate]);
    }
}

impl ContinuousDynamics for Car {
    type Workspace = ();

    fn name(&self) -> &str {
        "car"
    }
    fn nx(&self) -> usize {
        4
    }
    fn nu(&self) -> usize {
        2
    }
    fn workspace(&self) {}
    fn xdot(&self, (): &mut (), x: &DVector<f64>, u: &DVector<f64>, out: &mut DVector<f64>) {
        self.xdot_generic(x.as_slice(), u.as_slice(), out.as_mut_slice());
    }
    fn xdot_jacobian(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) {
        let (v, (sin, cos)) = (x[2], x[3].sin_cos());
        // φ̇ = v κ with the curvature κ = k_ω ω + b.
        let curvature = self.p.yaw_rate(1.0, u[1]);
        let yaw_rate_u = self.p.steering_gain * v;
        let (push_v, push_yaw) = self.p.push_slopes(v, curvature * v);
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        write_heading(fx, v, sin, cos);
        fx[(2, 2)] = push_v + push_yaw * curvature;
        fx[(3, 2)] = curvature;
        fu.fill(0.0);
        fu[(2, 0)] = self.p.throttle_gain;
        fu[(2, 1)] = push_yaw * yaw_rate_u;
        fu[(3, 1)] = yaw_rate_u;
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 4, 2>)
    }
}

/// Rows of ẋ = v cosφ and ẏ = v sinφ, with v and φ at positions 2 and 3.
fn write_heading(fx: &mut nalgebra::DMatrix<f64>, v: f64, sin: f64, cos: f64) {
    fx[(0, 2)] = cos;
    fx[(0, 3)] = -v * sin;
    fx[(1, 2)] = sin;
    fx[(1, 3)] = v * cos;
}

/// Time constants of a [`LaggedCar`] (s).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LagParameters {
    /// Of the motor.
    pub motor: f64,
    /// Of the steering.
    pub steering: f64,
    /// Of the tyres.
    pub tyre: f64,
}

impl LagParameters {
    /// 0.05 s each. Together with a dead time of 0.06 s on both inputs, which belongs to the
    /// discrete plant, they make the delay of about 0.11 s seen in the hardware logs.
    #[must_use]
    pub fn identified() -> Self {
        Self { motor: 0.05, steering: 0.05, tyre: 0.05 }
    }
}

/// Car with first-order lags: x = [x, y, v, φ, w, δ, m] with tyre speed w, steering δ and motor
/// command m; u = [a, ω]. The first four entries are those of a [`Car`].
///
/// ```text
/// ṁ = (a − m)/τ_m,  δ̇ = (ω − δ)/τ_s,  ẇ = k_a m − c w² − c_s |φ̇| w,  v̇ = (w − v)/τ_t
/// ẋ = v cosφ,  ẏ = v sinφ,  φ̇ = v (k_ω δ + b)
/// ```
#[derive(Debug, Clone)]
pub struct LaggedCar {
    p: CarParameters,
    lags: LagParameters,
}

impl LaggedCar {
    /// A car with the given chassis and lags.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] as [`Car::new`], and for a time constant that is not positive.
    pub fn new(parameters: CarParameters, lags: LagParameters) -> Result<Self, DynamicsError> {
        parameters.check("lagged-car")?;
        require_positive(
            "lagged-car",
            &[("motor", lags.motor), ("steering", lags.steering), ("tyre", lags.tyre)],
        )?;
        Ok(Self { p: parameters, lags })
    }

    /// Parameters of the chassis.
    pub fn parameters(&self) -> &CarParameters {
        &self.p
    }

    /// The time constants.
    pub fn lags(&self) -> &LagParameters {
        &self.lags
    }
}

impl GenericContinuous for LaggedCar {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let (sin, cos) = x[3].sin_cos();
        let (v, tyre, steering, motor) = (x[2], x[4], x[5], x[6]);
        let yaw_rate = self.p.yaw_rate(v, steering);
        out.copy_from_slice(&[
            cos * v,
            sin * v,
            (tyre - v) / self.lags.tyre,
            yaw_rate,
            self.p.push(motor, tyre, yaw_rate),
            (u[1] - steering) / self.lags.steering,
            (u[0] - motor) / self.lags.motor,
        ]);
    }
}

impl ContinuousDynamics for LaggedCar {
    type Workspace = ();

    fn name(&self) -> &str {
        "lagged-car"
    }
    fn nx(&self) -> usize {
        7
    }
    fn nu(&self) -> usize {
        2
    }
    fn workspace(&self) {}
    fn xdot(&self, (): &mut (), x: &DVector<f64>, u: &DVector<f64>, out: &mut DVector<f64>) {
        self.xdot_generic(x.as_slice(), u.as_slice(), out.as_mut_slice());
    }
    fn xdot_jacobian(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) {
        let (v, (sin, cos)) = (x[2], x[3].sin_cos());
        let (tyre, steering) = (x[4], x[5]);
        let curvature = self.p.yaw_rate(1.0, steering);
        let yaw_rate_steering = self.p.steering_gain * v;
        let (push_tyre, push_yaw) = self.p.push_slopes(tyre, curvature * v);
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        write_heading(fx, v, sin, cos);
        fx[(2, 2)] = -self.lags.tyre.recip();
        fx[(2, 4)] = self.lags.tyre.recip();
        fx[(3, 2)] = curvature;
        fx[(3, 5)] = yaw_rate_steering;
        fx[(4, 2)] = push_yaw * curvature;
        fx[(4, 4)] = push_tyre;
        fx[(4, 5)] = push_yaw * yaw_rate_steering;
        fx[(4, 6)] = self.p.throttle_gain;
        fx[(5, 5)] = -self.lags.steering.recip();
        fx[(6, 6)] = -self.lags.motor.recip();
        fu.fill(0.0);
        fu[(5, 1)] = self.lags.steering.recip();
        fu[(6, 0)] = self.lags.motor.recip();
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 7, 2>)
    }
}
