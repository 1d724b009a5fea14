//! Two hinged links with a motor at the second joint.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::ranges::{require_not_negative, require_positive};
use super::two_link::{TwoLink, ZeroAngle};
use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::duals::xdot_hessian_by_duals;
use crate::{ContinuousDynamics, DynamicsError, Linearization, SecondOrderDynamics};

/// Parameters of an [`Acrobot`] (Gurumurthy et al., L4DC 2023; after Gillen et al. 2020).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcrobotParameters {
    /// Masses m₁, m₂ of the links (kg).
    pub masses: [f64; 2],
    /// Length l₁ of the first link (m); the second one's does not enter the equations.
    pub length1: f64,
    /// Distances c₁, c₂ of the centres of mass from the joints (m).
    pub centers: [f64; 2],
    /// Inertias I₁, I₂ about the centres of mass [kg·m²].
    pub inertias: [f64; 2],
    /// Gravity g [m/s²].
    pub gravity: f64,
}

impl AcrobotParameters {
    /// The nominal model of VG-SAC.
    #[must_use]
    pub fn nominal() -> Self {
        Self {
            masses: [1.0, 1.0],
            length1: 1.0,
            centers: [0.5, 0.5],
            inertias: [0.2, 0.8],
            gravity: 9.8,
        }
    }

    /// The real plant of VG-SAC: first link 20 % heavier and longer, its centre of mass unmoved.
    #[must_use]
    pub fn real() -> Self {
        Self { masses: [1.2, 1.0], length1: 1.2, ..Self::nominal() }
    }
}

/// Acrobot: x = [θ₁, θ₂, θ̇₁, θ̇₂] with θ₁ from the horizontal (π/2 is up) and θ₂ relative to the
/// first link; u = torque at the second joint [N·m]. No friction, no limits.
///
/// ```text
/// M θ̈ = [0, u] − h − φ,   k = m₂ l₁ c₂ sinθ₂
/// M₁₁ = m₁c₁² + m₂(l₁² + c₂² + 2 l₁c₂ cosθ₂) + I₁ + I₂
/// M₁₂ = m₂(c₂² + l₁c₂ cosθ₂) + I₂,  M₂₂ = m₂c₂² + I₂
/// h = [−2kθ̇₁θ̇₂ − kθ̇₂², kθ̇₁²],  φ₂ = m₂c₂ g cos(θ₁+θ₂),  φ₁ = (m₁c₁ + m₂l₁) g cosθ₁ + φ₂
/// ```
#[derive(Debug, Clone)]
pub struct Acrobot {
    p: AcrobotParameters,
    links: TwoLink,
}

impl Acrobot {
    /// An acrobot with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a mass, a length or a centre that is not positive, or an
    /// inertia or gravity that is negative.
    pub fn new(parameters: AcrobotParameters) -> Result<Self, DynamicsError> {
        let p = parameters;
        let ([m1, m2], [c1, c2], [i1, i2]) = (p.masses, p.centers, p.inertias);
        require_positive(
            "acrobot",
            &[
                ("masses[0]", m1),
                ("masses[1]", m2),
                ("length1", p.length1),
                ("centers[0]", c1),
                ("centers[1]", c2),
            ],
        )?;
        require_not_negative(
            "acrobot",
            &[("inertias[0]", i1), ("inertias[1]", i2), ("gravity", p.gravity)],
        )?;
        let links = TwoLink {
            alpha: m1 * c1 * c1 + m2 * (p.length1 * p.length1 + c2 * c2) + i1 + i2,
            beta: m2 * p.length1 * c2,
            delta: m2 * c2 * c2 + i2,
            weights: [(m1 * c1 + m2 * p.length1) * p.gravity, m2 * c2 * p.gravity],
            zero_angle: ZeroAngle::Horizontal,
        };
        Ok(Self { p, links })
    }

    /// The parameters.
    pub fn parameters(&self) -> &AcrobotParameters {
        &self.p
    }

    /// Kinetic plus potential energy (J) of state x, zero at rest with both links horizontal.
    pub fn energy(&self, x: &[f64]) -> f64 {
        self.links.energy(x)
    }
}

impl GenericContinuous for Acrobot {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let a = self.links.acceleration(x, [S::zero(), u[0]]);
        out.copy_from_slice(&[x[2], x[3], a[0], a[1]]);
    }
}

impl ContinuousDynamics for Acrobot {
    type Workspace = ();

    fn name(&self) -> &str {
        "acrobot"
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
        self.links.jacobian(x, [0.0, u[0]], &[1], out);
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 4, 1>)
    }
}

impl SecondOrderDynamics for Acrobot {}
