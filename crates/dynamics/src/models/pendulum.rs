//! The pendulum of Gymnasium's `Pendulum-v1`.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::continuous::Scalar;
use crate::duals::{GenericDynamics, real};
use crate::{DerivativeKind, Dynamics, DynamicsError, HessianProduct, Linearization, Plant};

/// Parameters of a [`Pendulum`]; the defaults are Gymnasium's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendulumParameters {
    /// Mass of the rod (kg).
    pub mass: f64,
    /// Length of the rod (m).
    pub length: f64,
    /// Gravity [m/s²].
    pub gravity: f64,
    /// Largest torque [N·m]; the plant clips to it.
    pub max_torque: f64,
    /// Largest speed [rad/s]; the plant clips to it.
    pub max_speed: f64,
}

impl Default for PendulumParameters {
    fn default() -> Self {
        Self { mass: 1.0, length: 1.0, gravity: 10.0, max_torque: 2.0, max_speed: 8.0 }
    }
}

/// A uniform rod on a hinge, x = [θ, θ̇] with θ = 0 upright, u = torque [N·m], in steps of dt:
///
/// ```text
/// θ̇' = clip(θ̇ + dt (3 g/(2 l) sin θ + 3/(m l²) clip(u, ±max_torque)), ±max_speed)
/// θ' = θ + dt θ̇'
/// ```
#[derive(Debug, Clone)]
pub struct Pendulum {
    p: PendulumParameters,
    dt: f64,
}

impl Pendulum {
    /// A pendulum with steps of `dt` seconds.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a number that is not positive.
    pub fn new(parameters: PendulumParameters, dt: f64) -> Result<Self, DynamicsError> {
        let p = parameters;
        for (parameter, value) in [
            ("mass", p.mass),
            ("length", p.length),
            ("gravity", p.gravity),
            ("max_torque", p.max_torque),
            ("max_speed", p.max_speed),
            ("dt", dt),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(DynamicsError::Parameter {
                    model: "pendulum".to_owned(),
                    parameter,
                    value,
                    needed: "positive and finite",
                });
            }
        }
        Ok(Self { p, dt })
    }

    /// The parameters.
    pub fn parameters(&self) -> &PendulumParameters {
        &self.p
    }

    /// Length of a step (s).
    pub fn dt(&self) -> f64 {
        self.dt
    }

    /// The speed after a step before it is clipped, and whether torque and speed are inside their
    /// limits (1) or strictly outside (0).
    fn speed<S: Scalar>(&self, x: &[S], u: &[S]) -> (S, f64, f64) {
        let (torque, torque_slope) = clip(u[0], self.p.max_torque);
        let PendulumParameters { mass, length, gravity, .. } = self.p;
        let rate =
            x[0].sin() * (1.5 * gravity / length) + torque * (3.0 / (mass * length * length));
        let (speed, speed_slope) = clip(x[1] + rate * self.dt, self.p.max_speed);
        (speed, torque_slope, speed_slope)
    }
}

/// The number in ±limit, and the slope of the clip: 0 strictly outside.
fn clip<S: Scalar>(value: S, limit: f64) -> (S, f64) {
    let v = real(value);
    if v.abs() > limit { (S::from(limit.copysign(v)), 0.0) } else { (value, 1.0) }
}

impl GenericDynamics for Pendulum {
    fn step_generic<S: Scalar>(&self, x: &[S], u: &[S]) -> Vec<S> {
        let (speed, ..) = self.speed(x, u);
        vec![x[0] + speed * self.dt, speed]
    }
}

impl Plant for Pendulum {
    type Workspace = ();

    fn name(&self) -> &str {
        "pendulum"
    }
    fn nx(&self) -> usize {
        2
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        let (speed, ..) = self.speed(x.as_slice(), u.as_slice());
        x_next[0] = x[0] + speed * self.dt;
        x_next[1] = speed;
        Ok(())
    }
}

impl Dynamics for Pendulum {
    fn linearize(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        let (_, torque_slope, speed_slope) = self.speed(x.as_slice(), u.as_slice());
        let PendulumParameters { mass, length, gravity, .. } = self.p;
        let dt = self.dt;
        let speed_theta = speed_slope * dt * 1.5 * gravity / length * x[0].cos();
        let speed_u = speed_slope * torque_slope * dt * 3.0 / (mass * length * length);
        out.fx[(0, 0)] = 1.0 + dt * speed_theta;
        out.fx[(0, 1)] = dt * speed_slope;
        out.fx[(1, 0)] = speed_theta;
        out.fx[(1, 1)] = speed_slope;
        out.fu[(0, 0)] = dt * speed_u;
        out.fu[(1, 0)] = speed_u;
        Ok(())
    }
    fn hessian_product(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        let (_, _, speed_slope) = self.speed(x.as_slice(), u.as_slice());
        let weight = speed_slope * self.dt * 1.5 * self.p.gravity / self.p.length;
        out.xx.fill(0.0);
        out.xx[(0, 0)] = -(self.dt * lambda[0] + lambda[1]) * weight * x[0].sin();
        out.ux.fill(0.0);
        out.uu.fill(0.0);
        Ok(())
    }
    fn hessian_product_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
}
