//! What acts in joints beside motors: springs, damping, friction and limits.

use super::model::Model;
use crate::Scalar;
use crate::duals::real;

/// How friction and position limits of all joints are made smooth enough to integrate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassiveForces {
    /// Coulomb friction F acts as −F tanh(slope · q̇) (s/rad or s/m).
    pub friction_slope: f64,
    /// Spring beyond a position limit (N·m/rad or N/m).
    pub limit_stiffness: f64,
    /// Damping beyond a position limit (N·m·s/rad or N·s/m).
    pub limit_damping: f64,
}

impl Default for PassiveForces {
    fn default() -> Self {
        Self { friction_slope: 50.0, limit_stiffness: 1e3, limit_damping: 10.0 }
    }
}

/// What acts in one degree of freedom at acceleration a: `force` − `inertia`·a, with derivatives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passive<S> {
    pub(crate) force: S,
    pub(crate) by_q: S,
    pub(crate) by_v: S,
    /// Added to the diagonal of the mass matrix beside the rotor's.
    pub(crate) inertia: S,
    pub(crate) inertia_by_v: S,
}

impl Model {
    /// −d q̇ − F tanh(σ q̇) − k (q − rest), and the spring and damper of a limit that q is strictly
    /// beyond. A joint whose position is no number (spherical, free-flyer) has damping and friction
    /// only.
    ///
    /// With a time step `h` the force is that at its end, to first order: p(q + h v', v') with
    /// v' = v + h a is p + h p_q v + (h p_v + h² p_q) a. So springs, dampers and limits however stiff
    /// do not make a step unstable.
    #[inline]
    pub(crate) fn passive_force<S: Scalar>(
        &self,
        dof: usize,
        q: &[S],
        v: &[S],
        h: f64,
    ) -> Passive<S> {
        let settings = &self.passive;
        let entry = &self.dofs[dof];
        let p = &entry.properties;
        let v = v[dof];
        let (mut stiffness, mut damping) = (0.0, p.damping);
        let mut force = S::zero();
        if entry.scalar {
            let q = q[entry.q];
            stiffness = p.stiffness;
            force -= (q - p.rest) * p.stiffness;
            let [lower, upper] = p.position_limit;
            let beyond = if real(q) < lower {
                Some(q - lower)
            } else if real(q) > upper {
                Some(q - upper)
            } else {
                None
            };
            if let Some(excess) = beyond {
                stiffness += settings.limit_stiffness;
                damping += settings.limit_damping;
                force -= excess * settings.limit_stiffness;
            }
        }
        force -= v * (damping + h * stiffness);
        let mut passive = Passive {
            force,
            by_q: S::from(-stiffness),
            by_v: S::from(-damping - h * stiffness),
            inertia: S::from(h * damping + h * h * stiffness),
            inertia_by_v: S::zero(),
        };
        if p.friction != 0.0 {
            let slope = settings.friction_slope;
            let slide = (v * slope).tanh();
            // d/dv tanh(σ v)
            let rate = (-slide * slide + 1.0) * slope;
            passive.force -= slide * p.friction;
            passive.by_v -= rate * p.friction;
            passive.inertia += rate * (h * p.friction);
            passive.inertia_by_v -= slide * rate * (2.0 * slope * h * p.friction);
        }
        passive
    }
}
