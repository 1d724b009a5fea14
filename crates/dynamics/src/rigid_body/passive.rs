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

/// A joint force with its derivatives by its own position and velocity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passive<S> {
    pub(crate) force: S,
    pub(crate) by_q: S,
    pub(crate) by_v: S,
}

impl Model {
    /// −d q̇ − F tanh(σ q̇) − k (q − rest), and the spring and damper of a limit that q is strictly
    /// beyond. A joint whose position is no number (spherical, free-flyer) has damping and friction
    /// only.
    #[inline]
    pub(crate) fn passive_force<S: Scalar>(&self, dof: usize, q: &[S], v: &[S]) -> Passive<S> {
        let settings = &self.passive;
        let entry = &self.dofs[dof];
        let p = &entry.properties;
        let v = v[dof];
        let mut force = -v * p.damping;
        let (mut by_q, mut by_v) = (S::zero(), S::from(-p.damping));
        if p.friction != 0.0 {
            let slide = (v * settings.friction_slope).tanh();
            force -= slide * p.friction;
            by_v -= (-slide * slide + 1.0) * (p.friction * settings.friction_slope);
        }
        if entry.scalar {
            let q = q[entry.q];
            force -= (q - p.rest) * p.stiffness;
            by_q -= S::from(p.stiffness);
            let [lower, upper] = p.position_limit;
            let beyond = if real(q) < lower {
                Some(q - lower)
            } else if real(q) > upper {
                Some(q - upper)
            } else {
                None
            };
            if let Some(excess) = beyond {
                force -= excess * settings.limit_stiffness + v * settings.limit_damping;
                by_q -= S::from(settings.limit_stiffness);
                by_v -= S::from(settings.limit_damping);
            }
        }
        Passive { force, by_q, by_v }
    }
}
