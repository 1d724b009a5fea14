//! Two point masses on massless rods, with a motor at each joint.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::ranges::{require_not_negative, require_positive};
use super::two_link::{TwoLink, ZeroAngle};
use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::duals::xdot_hessian_by_duals;
use crate::{ContinuousDynamics, DynamicsError, Linearization, SecondOrderDynamics};

/// Parameters of a [`DoublePendulum`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoublePendulumParameters {
    /// Point masses m₁, m₂ at the ends of the rods (kg).
    pub masses: [f64; 2],
    /// Lengths l₁, l₂ of the rods (m).
    pub lengths: [f64; 2],
    /// Gravity g [m/s²].
    pub gravity: f64,
}

impl DoublePendulumParameters {
    /// The plant of the tracking-feedback policy gradient: 0.1 kg, 1 m, and a gravity of 1 m/s².
    #[must_use]
    pub fn real() -> Self {
        Self { masses: [0.1, 0.1], lengths: [1.0, 1.0], gravity: 1.0 }
    }

    /// The model that differentiates it: half the masses.
    #[must_use]
    pub fn nominal() -> Self {
        Self::real().with_masses_scaled(0.5)
    }

    /// The same with both masses times `factor`.
    #[must_use]
    pub fn with_masses_scaled(self, factor: f64) -> Self {
        Self { masses: self.masses.map(|mass| factor * mass), ..self }
    }
}

/// Double pendulum: x = [θ₁, θ₂, θ̇₁, θ̇₂] with θ₁ = 0 straight down, θ₂ relative to the first rod and
/// (π, 0) upright; u = torques at both joints [N·m]. No friction, no limits.
///
/// ```text
/// H θ̈ = u − C − G,   s₂ = sinθ₂, c₂ = cosθ₂
/// H₁₁ = (m₁+m₂)l₁² + m₂l₂² + 2m₂l₁l₂c₂,  H₁₂ = m₂l₂² + m₂l₁l₂c₂,  H₂₂ = m₂l₂²
/// C = m₂l₁l₂s₂ [−2θ̇₁θ̇₂ − θ̇₂², θ̇₁²]
/// G₂ = m₂l₂ g sin(θ₁+θ₂),  G₁ = (m₁+m₂)l₁ g sinθ₁ + G₂
/// ```
#[derive(Debug, Clone)]
pub struct DoublePendulum {
    p: DoublePendulumParameters,
    links: TwoLink,
}

impl DoublePendulum {
    /// A double pendulum with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a mass or a length that is not positive, or gravity that is
    /// negative.
    pub fn new(parameters: DoublePendulumParameters) -> Result<Self, DynamicsError> {
        let p = parameters;
        let ([m1, m2], [l1, l2]) = (p.masses, p.lengths);
        require_positive(
            "double-pendulum",
            &[("masses[0]", m1), ("masses[1]", m2), ("lengths[0]", l1), ("lengths[1]", l2)],
        )?;
        require_not_negative("double-pendulum", &[("gravity", p.gravity)])?;
        let links = TwoLink {
            alpha: (m1 + m2) * l1 * l1 + m2 * l2 * l2,
            beta: m2 * l1 * l2,
            delta: m2 * l2 * l2,
            weights: [(m1 + m2) * l1 * p.gravity, m2 * l2 * p.gravity],
            zero_angle: ZeroAngle::Hanging,
        };
        Ok(Self { p, links })
    }

    /// The parameters.
    pub fn parameters(&self) -> &DoublePendulumParameters {
        &self.p
    }

    /// Kinetic plus potential energy (J) of state x, zero at rest with both rods horizontal.
    pub fn energy(&self, x: &[f64]) -> f64 {
        self.links.energy(x)
    }

    /// Torques that accelerate the joints so in state x [N·m].
    pub fn torques<S: Scalar>(&self, x: &[S], acceleration: [S; 2]) -> [S; 2] {
        self.links.torques(x, acceleration)
    }

    /// Position of the second mass (m): to the right and up from the first joint.
    pub fn end_effector<S: Scalar>(&self, x: &[S]) -> [S; 2] {
        let [l1, l2] = self.p.lengths;
        let ((sin1, cos1), (sin12, cos12)) = (x[0].sin_cos(), (x[0] + x[1]).sin_cos());
        [sin1 * l1 + sin12 * l2, -(cos1 * l1) - cos12 * l2]
    }
}

impl GenericContinuous for DoublePendulum {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let a = self.links.acceleration(x, [u[0], u[1]]);
        out.copy_from_slice(&[x[2], x[3], a[0], a[1]]);
    }
}

impl ContinuousDynamics for DoublePendulum {
    type Workspace = ();

    fn name(&self) -> &str {
        "double-pendulum"
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
        self.links.jacobian(x, [u[0], u[1]], &[0, 1], out);
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 4, 2>)
    }
}

impl SecondOrderDynamics for DoublePendulum {}
