//! A pole on a cart, with friction and a deadband in the actuator.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::duals::{real, xdot_hessian_by_duals};
use crate::{ContinuousDynamics, DynamicsError, Linearization, SecondOrderDynamics};

/// Parameters of a [`Cartpole`] (Gurumurthy et al., L4DC 2023).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartpoleParameters {
    /// Mass of the cart m_c (kg).
    pub cart_mass: f64,
    /// Point mass at the end of the pole m_p (kg).
    pub pole_mass: f64,
    /// Length of the pole l (m).
    pub length: f64,
    /// Gravity g [m/s²].
    pub gravity: f64,
    /// Viscous damping b of cart [N·s/m] and hinge [N·m·s]; one number for both.
    pub damping: f64,
    /// Coulomb friction coefficient μ of the cart, against the constant normal force (m_c + m_p) g.
    pub friction: f64,
    /// Slope σ of the tanh that smooths the Coulomb friction [s/m].
    pub friction_slope: f64,
    /// Deadband d of the actuator (N).
    pub deadband: f64,
    /// What the actuator does with a force smaller than its deadband.
    pub deadband_kind: DeadbandKind,
}

/// What an actuator does with a force smaller than its deadband d.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadbandKind {
    /// It has no effect (the usual meaning).
    Zeroing,
    /// It is raised to d: sign(u)·max(|u|, d) with sign(0) = 0 (VG-SAC's released code).
    Raising,
}

impl CartpoleParameters {
    /// The force that acts, for any scalar type. Inside |u| < d it does not depend on u.
    fn actuate<S: Scalar>(&self, u: S) -> S {
        let value = real(u);
        if value.abs() >= self.deadband {
            return u;
        }
        match self.deadband_kind {
            DeadbandKind::Raising if value != 0.0 => S::from(self.deadband.copysign(value)),
            _ => S::zero(),
        }
    }

    fn actuator_slope(&self, u: f64) -> f64 {
        if u.abs() < self.deadband { 0.0 } else { 1.0 }
    }
}

/// Cart and pole: x = [p, θ, ṗ, θ̇] with θ = 0 hanging and θ = π upright, u = force on the cart (N).
///
/// ```text
/// [ m_c+m_p     m_p l cosθ ] [p̈]   [ ũ − μ (m_c+m_p) g tanh(σṗ) − b ṗ + m_p l sinθ θ̇² ]
/// [ m_p l cosθ  m_p l²     ] [θ̈] = [ −m_p g l sinθ − b θ̇                              ]
/// ```
#[derive(Debug, Clone)]
pub struct Cartpole {
    p: CartpoleParameters,
}

impl Cartpole {
    /// A cartpole with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a mass, a length or gravity that is not positive, or a
    /// friction, damping or deadband that is negative.
    pub fn new(parameters: CartpoleParameters) -> Result<Self, DynamicsError> {
        let p = parameters;
        let refuse = |parameter, value, needed| {
            Err(DynamicsError::Parameter { model: "cartpole".to_owned(), parameter, value, needed })
        };
        for (name, value) in [
            ("cart_mass", p.cart_mass),
            ("pole_mass", p.pole_mass),
            ("length", p.length),
            ("gravity", p.gravity),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(name, value, "positive and finite");
            }
        }
        for (name, value) in [
            ("damping", p.damping),
            ("friction", p.friction),
            ("friction_slope", p.friction_slope),
            ("deadband", p.deadband),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(name, value, "finite and not negative");
            }
        }
        Ok(Self { p })
    }

    /// The parameters.
    pub fn parameters(&self) -> &CartpoleParameters {
        &self.p
    }

    /// Kinetic plus potential energy (J) of state x, zero at rest with the pole horizontal.
    pub fn energy(&self, x: &[f64]) -> f64 {
        let CartpoleParameters { cart_mass, pole_mass, length, gravity, .. } = self.p;
        let (theta, v, w) = (x[1], x[2], x[3]);
        0.5 * (cart_mass + pole_mass) * v * v
            + pole_mass * length * theta.cos() * v * w
            + 0.5 * pole_mass * (length * w).powi(2)
            - pole_mass * gravity * length * theta.cos()
    }
}

impl GenericContinuous for Cartpole {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let CartpoleParameters { cart_mass, pole_mass, length, gravity, .. } = self.p;
        let mass = cart_mass + pole_mass;
        let (v, w) = (x[2], x[3]);
        let (sin, cos) = x[1].sin_cos();
        let force = self.p.actuate(u[0])
            - (v * self.p.friction_slope).tanh() * (self.p.friction * mass * gravity)
            - v * self.p.damping
            + sin * w * w * (pole_mass * length);
        let torque = -sin * (pole_mass * gravity * length) - w * self.p.damping;
        // The 2×2 system in closed form; e is its determinant over m_p l².
        let e = sin * sin * pole_mass + cart_mass;
        out[0] = v;
        out[1] = w;
        out[2] = (force - cos * torque * length.recip()) / e;
        out[3] = (torque * (mass / (pole_mass * length)) - cos * force) / (e * length);
    }
}

impl ContinuousDynamics for Cartpole {
    type Workspace = ();

    fn name(&self) -> &str {
        "cartpole"
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
        let CartpoleParameters { cart_mass, pole_mass, length, gravity, .. } = self.p;
        let mass = cart_mass + pole_mass;
        let (v, w) = (x[2], x[3]);
        let (sin, cos) = x[1].sin_cos();
        let slide = (v * self.p.friction_slope).tanh();
        let dry = self.p.friction * mass * gravity;
        // Right-hand side and its derivatives.
        let force = self.p.actuate(u[0]) - dry * slide - self.p.damping * v
            + pole_mass * length * sin * w * w;
        let force_theta = pole_mass * length * cos * w * w;
        let force_v = -dry * self.p.friction_slope * (1.0 - slide * slide) - self.p.damping;
        let force_w = 2.0 * pole_mass * length * sin * w;
        let torque = -pole_mass * gravity * length * sin - self.p.damping * w;
        let torque_theta = -pole_mass * gravity * length * cos;
        let torque_w = -self.p.damping;
        // p̈ = n₁/e and θ̈ = n₂/(l e) with n₁ = F − cosθ T/l, n₂ = (m/(m_p l)) T − cosθ F.
        let e = cart_mass + pole_mass * sin * sin;
        let e_theta = 2.0 * pole_mass * sin * cos;
        let lever = mass / (pole_mass * length);
        let n1 = force - cos * torque / length;
        let n2 = lever * torque - cos * force;
        let n1_theta = force_theta + (sin * torque - cos * torque_theta) / length;
        let n2_theta = lever * torque_theta + sin * force - cos * force_theta;

        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        fx[(0, 2)] = 1.0;
        fx[(1, 3)] = 1.0;
        fx[(2, 1)] = (n1_theta - n1 * e_theta / e) / e;
        fx[(2, 2)] = force_v / e;
        fx[(2, 3)] = (force_w - cos * torque_w / length) / e;
        fx[(3, 1)] = (n2_theta - n2 * e_theta / e) / (length * e);
        fx[(3, 2)] = -cos * force_v / (length * e);
        fx[(3, 3)] = (lever * torque_w - cos * force_w) / (length * e);
        let slope = self.p.actuator_slope(u[0]);
        fu[(0, 0)] = 0.0;
        fu[(1, 0)] = 0.0;
        fu[(2, 0)] = slope / e;
        fu[(3, 0)] = -cos * slope / (length * e);
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 4, 1>)
    }
}

impl SecondOrderDynamics for Cartpole {}
