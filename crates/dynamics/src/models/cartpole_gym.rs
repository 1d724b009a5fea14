//! The cart-pole of Gymnasium's `CartPole-v1`, whose pole is a rod, with the friction of Florian
//! (Correct equations for the dynamics of the cart-pole system, 2007).

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::ranges::{require_not_negative, require_positive};
use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::duals::{real, xdot_hessian_by_duals};
use crate::{ContinuousDynamics, DynamicsError, Linearization, SecondOrderDynamics};

/// Parameters of a [`CartpoleGym`]; the defaults are Gymnasium's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartpoleGymParameters {
    /// Mass of the cart (kg).
    pub cart_mass: f64,
    /// Mass m_p of the pole (kg).
    pub pole_mass: f64,
    /// Half the length of the pole l (m).
    pub half_length: f64,
    /// Gravity g [m/s²].
    pub gravity: f64,
    /// Coulomb friction coefficient μ_c of the cart on its track.
    pub cart_friction: f64,
    /// Viscous friction μ_p of the hinge [N·m·s].
    pub pole_friction: f64,
}

impl Default for CartpoleGymParameters {
    fn default() -> Self {
        Self {
            cart_mass: 1.0,
            pole_mass: 0.1,
            half_length: 0.5,
            gravity: 9.8,
            cart_friction: 0.0,
            pole_friction: 0.0,
        }
    }
}

/// Cart and pole: x = [p, θ, ṗ, θ̇] with θ = 0 upright, u = force F on the cart (N), not clipped. With
/// M the mass of both, k = μ_c s, a = sinθ + k cosθ and b = cosθ − k sinθ:
///
/// ```text
/// θ̈ = (g sinθ − cosθ ((F + m_p l θ̇² a)/M − k g) − μ_p θ̇/(m_p l)) / (l (4/3 − m_p cosθ b/M))
/// p̈ = (F + m_p l (θ̇² a − θ̈ b))/M − k g
/// s = sgn(N ṗ),  N = M g − m_p l (θ̈ sinθ + θ̇² cosθ)
/// ```
///
/// s is found for an upward normal force N > 0 first and turned round once if N comes out negative.
/// Derivatives are those of the s that is found. [`Euler`](crate::Euler) at 0.02 s without friction
/// is `CartPole-v1`, which orders its state [p, ṗ, θ, θ̇].
#[derive(Debug, Clone)]
pub struct CartpoleGym {
    p: CartpoleGymParameters,
    /// M.
    mass: f64,
    /// m_p l.
    moment: f64,
}

impl CartpoleGym {
    /// A cart-pole with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a mass, a length or gravity that is not positive, or a
    /// friction that is negative.
    pub fn new(parameters: CartpoleGymParameters) -> Result<Self, DynamicsError> {
        let p = parameters;
        require_positive(
            "cartpole-gym",
            &[
                ("cart_mass", p.cart_mass),
                ("pole_mass", p.pole_mass),
                ("half_length", p.half_length),
                ("gravity", p.gravity),
            ],
        )?;
        require_not_negative(
            "cartpole-gym",
            &[("cart_friction", p.cart_friction), ("pole_friction", p.pole_friction)],
        )?;
        Ok(Self { p, mass: p.cart_mass + p.pole_mass, moment: p.pole_mass * p.half_length })
    }

    /// The parameters.
    pub fn parameters(&self) -> &CartpoleGymParameters {
        &self.p
    }

    /// θ̈ for the given k.
    fn turn<S: Scalar>(&self, theta: S, w: S, force: S, k: f64) -> S {
        let CartpoleGymParameters { pole_mass, half_length, gravity, pole_friction, .. } = self.p;
        let (sin, cos) = theta.sin_cos();
        let push = (force + w * w * (sin + cos * k) * self.moment) / self.mass - k * gravity;
        let torque = sin * gravity - cos * push - w * (pole_friction / self.moment);
        let b = cos - sin * k;
        torque / ((cos * b * (-pole_mass / self.mass) + 4.0 / 3.0) * half_length)
    }

    /// k at the given speed v of the cart.
    fn slip(&self, theta: f64, v: f64, w: f64, force: f64) -> f64 {
        if self.p.cart_friction == 0.0 || v == 0.0 {
            return 0.0;
        }
        let k = self.p.cart_friction.copysign(v);
        let turn = self.turn(theta, w, force, k);
        let (sin, cos) = theta.sin_cos();
        let normal = self.mass * self.p.gravity - self.moment * (turn * sin + w * w * cos);
        if normal < 0.0 { -k } else { k }
    }
}

impl GenericContinuous for CartpoleGym {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let (theta, v, w, force) = (x[1], x[2], x[3], u[0]);
        let k = self.slip(real(theta), real(v), real(w), real(force));
        let turn = self.turn(theta, w, force, k);
        let (sin, cos) = theta.sin_cos();
        let swing = w * w * (sin + cos * k) - turn * (cos - sin * k);
        out[0] = v;
        out[1] = w;
        out[2] = (force + swing * self.moment) / self.mass - k * self.p.gravity;
        out[3] = turn;
    }
}

impl ContinuousDynamics for CartpoleGym {
    type Workspace = ();

    fn name(&self) -> &str {
        "cartpole-gym"
    }
    fn nx(&self) -> usize {
        4
    }
    fn nu(&self) -> usize {
        1
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
        let CartpoleGymParameters { pole_mass, half_length, gravity, pole_friction, .. } = self.p;
        let (theta, w, force) = (x[1], x[3], u[0]);
        let (sin, cos) = theta.sin_cos();
        let k = self.slip(theta, x[2], w, force);
        // a' = b and b' = −a.
        let (a, b) = (sin + k * cos, cos - k * sin);
        let per_mass = self.moment / self.mass;
        let push = force / self.mass + per_mass * w * w * a - k * gravity;
        let ratio = half_length * pole_mass / self.mass;
        let arm = half_length * 4.0 / 3.0 - ratio * cos * b;
        let turn = (gravity * sin - cos * push - pole_friction / self.moment * w) / arm;

        let turn_theta = (gravity * cos + sin * push
            - cos * per_mass * w * w * b
            - turn * ratio * (sin * b + cos * a))
            / arm;
        let turn_w = -(2.0 * cos * per_mass * w * a + pole_friction / self.moment) / arm;
        let turn_u = -cos / (self.mass * arm);
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        fx[(0, 2)] = 1.0;
        fx[(1, 3)] = 1.0;
        fx[(2, 1)] = per_mass * (w * w * b - turn_theta * b + turn * a);
        fx[(2, 3)] = per_mass * (2.0 * w * a - turn_w * b);
        fx[(3, 1)] = turn_theta;
        fx[(3, 3)] = turn_w;
        fu.fill(0.0);
        fu[(2, 0)] = 1.0 / self.mass - per_mass * turn_u * b;
        fu[(3, 0)] = turn_u;
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 4, 1>)
    }
}

impl SecondOrderDynamics for CartpoleGym {}
