//! The cart-pole of the DeepMind control suite (Tassa et al. 2018): a capsule on a cart, with viscous
//! friction of slider and hinge.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::ranges::{require_not_negative, require_positive};
use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::duals::{real, xdot_hessian_by_duals};
use crate::{ContinuousDynamics, DynamicsError, Linearization, SecondOrderDynamics};

/// Parameters of a [`CartpoleSuite`]; the defaults are the suite's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartpoleSuiteParameters {
    /// Mass M of the cart (kg).
    pub cart_mass: f64,
    /// Mass m of the pole (kg).
    pub pole_mass: f64,
    /// Distance l of the pole's centre from its hinge (m).
    pub half_length: f64,
    /// Inertia I of the pole about its centre [kg·m²]: a capsule of 1 m between its ends.
    pub pole_inertia: f64,
    /// Gravity g [m/s²].
    pub gravity: f64,
    /// Viscous friction b of the cart [N·s/m].
    pub cart_friction: f64,
    /// Viscous friction c of the hinge [N·m·s].
    pub pole_friction: f64,
    /// Force of a unit of control (N).
    pub gear: f64,
    /// Half the length of the track (m).
    pub track: f64,
    /// Stiffness k of the stops at its ends [N/m]; 0 for a track without end. The suite's stops are stiff
    /// constraints.
    pub stop_stiffness: f64,
    /// Damping τ of the stops [s/m].
    pub stop_damping: f64,
}

impl Default for CartpoleSuiteParameters {
    fn default() -> Self {
        Self {
            cart_mass: 1.0,
            pole_mass: 0.1,
            half_length: 0.5,
            pole_inertia: 0.009_425,
            gravity: 9.81,
            cart_friction: 5e-4,
            pole_friction: 2e-6,
            gear: 10.0,
            track: 1.8,
            stop_stiffness: 1000.0,
            stop_damping: 0.3,
        }
    }
}

/// Cart and pole: x = [p, θ, ṗ, θ̇] with θ = 0 upright and positive towards +p, u in units of `gear`,
/// not clipped.
///
/// ```text
/// (M + m) p̈ + m l cosθ θ̈ − m l sinθ θ̇² = gear·u − b ṗ + S
/// (I + m l²) θ̈ + m l cosθ p̈ − m g l sinθ = −c θ̇
/// ```
///
/// Beyond the ends of the track, δ = |p| − track > 0, its stops push back with S = −k δ sgn(p) − k τ δ ṗ.
#[derive(Debug, Clone)]
pub struct CartpoleSuite {
    p: CartpoleSuiteParameters,
    /// M + m.
    mass: f64,
    /// m l.
    moment: f64,
    /// I + m l².
    inertia: f64,
}

impl CartpoleSuite {
    /// A cart-pole with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a mass, a length, an inertia, gravity or a gear that is not
    /// positive, or a friction that is negative.
    pub fn new(parameters: CartpoleSuiteParameters) -> Result<Self, DynamicsError> {
        let p = parameters;
        require_positive(
            NAME,
            &[
                ("cart_mass", p.cart_mass),
                ("pole_mass", p.pole_mass),
                ("half_length", p.half_length),
                ("pole_inertia", p.pole_inertia),
                ("gravity", p.gravity),
                ("gear", p.gear),
                ("track", p.track),
            ],
        )?;
        require_not_negative(
            NAME,
            &[
                ("cart_friction", p.cart_friction),
                ("pole_friction", p.pole_friction),
                ("stop_stiffness", p.stop_stiffness),
                ("stop_damping", p.stop_damping),
            ],
        )?;
        Ok(Self {
            p,
            mass: p.cart_mass + p.pole_mass,
            moment: p.pole_mass * p.half_length,
            inertia: p.pole_inertia + p.pole_mass * p.half_length * p.half_length,
        })
    }

    /// sgn(p) beyond the ends of the track, else 0.
    fn side(&self, position: f64) -> f64 {
        if position.abs() > self.p.track { position.signum() } else { 0.0 }
    }

    /// The parameters.
    pub fn parameters(&self) -> &CartpoleSuiteParameters {
        &self.p
    }
}

const NAME: &str = "cartpole-suite";

impl GenericContinuous for CartpoleSuite {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let (theta, v, w) = (x[1], x[2], x[3]);
        let (sin, cos) = theta.sin_cos();
        let mut push = u[0] * self.p.gear - v * self.p.cart_friction + sin * w * w * self.moment;
        let side = self.side(real(x[0]));
        if side != 0.0 {
            let depth = x[0] * side - self.p.track;
            push -= depth * (v * self.p.stop_damping + side) * self.p.stop_stiffness;
        }
        let torque = sin * (self.moment * self.p.gravity) - w * self.p.pole_friction;
        let coupling = cos * self.moment;
        let det = -coupling * coupling + self.mass * self.inertia;
        out[0] = v;
        out[1] = w;
        out[2] = (push * self.inertia - coupling * torque) / det;
        out[3] = (torque * self.mass - coupling * push) / det;
    }
}

impl ContinuousDynamics for CartpoleSuite {
    type Workspace = ();

    fn name(&self) -> &str {
        NAME
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
        let CartpoleSuiteParameters { gravity, cart_friction, pole_friction, gear, .. } = self.p;
        let (mass, moment, inertia) = (self.mass, self.moment, self.inertia);
        let (theta, v, w) = (x[1], x[2], x[3]);
        let (sin, cos) = theta.sin_cos();
        let side = self.side(x[0]);
        let depth = if side == 0.0 { 0.0 } else { side * x[0] - self.p.track };
        let (stiffness, damping) = (self.p.stop_stiffness, self.p.stop_damping);
        let stop = -stiffness * depth * (side + damping * v);
        let push = gear * u[0] - cart_friction * v + moment * sin * w * w + stop;
        let torque = moment * gravity * sin - pole_friction * w;
        let (coupling, slope) = (moment * cos, -moment * sin);
        let det = mass * inertia - coupling * coupling;
        let slide = (inertia * push - coupling * torque) / det;
        let turn = (mass * torque - coupling * push) / det;
        // p̈ det = I push − coupling torque and θ̈ det = mass torque − coupling push, differentiated.
        let push_theta = moment * cos * w * w;
        let torque_theta = moment * gravity * cos;
        let det_theta = -2.0 * coupling * slope;
        let push_w = 2.0 * moment * sin * w;
        let push_p = -stiffness * side * (side + damping * v);
        let push_v = -cart_friction - stiffness * depth * damping;
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        fx[(0, 2)] = 1.0;
        fx[(1, 3)] = 1.0;
        fx[(2, 0)] = inertia * push_p / det;
        fx[(3, 0)] = -coupling * push_p / det;
        fx[(2, 1)] =
            (inertia * push_theta - slope * torque - coupling * torque_theta - slide * det_theta)
                / det;
        fx[(2, 2)] = inertia * push_v / det;
        fx[(2, 3)] = (inertia * push_w + coupling * pole_friction) / det;
        fx[(3, 1)] =
            (mass * torque_theta - slope * push - coupling * push_theta - turn * det_theta) / det;
        fx[(3, 2)] = -coupling * push_v / det;
        fx[(3, 3)] = (-mass * pole_friction - coupling * push_w) / det;
        fu.fill(0.0);
        fu[(2, 0)] = inertia * gear / det;
        fu[(3, 0)] = -coupling * gear / det;
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 4, 1>)
    }
}

impl SecondOrderDynamics for CartpoleSuite {}
