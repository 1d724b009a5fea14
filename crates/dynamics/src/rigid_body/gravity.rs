//! The joint forces that gravity asks for, and their derivatives.
//!
//! They need nothing but masses and first moments of subtrees: with h_k the linear momentum of all
//! that degree of freedom k moves at unit velocity, g_k = −γ·h_k for gravity γ (m/s²). Turning the
//! robot by a degree of freedom l at or above k is the same as turning gravity back by it, so that
//! ∂g_k/∂q_l = −(γ × ω_l)·h_k with its axis ω_l: three products an entry. Between joints the matrix is
//! symmetric, the second derivative of the potential energy.

use nalgebra::DVector;

use super::model::Model;
use super::spatial::{V3, add, apply_constant, cross, dot};
use super::workspace::Workspace;
use crate::Scalar;

impl Model {
    /// Writes g(q), nv: the joint forces that hold the robot at rest against gravity (N, N·m). Springs
    /// and limits of its joints are not among them.
    pub fn gravity_torque(&self, ws: &mut Workspace, q: &DVector<f64>, out: &mut DVector<f64>) {
        self.place(ws, q.as_slice());
        self.carry(ws);
        self.gravity_torque_of(ws);
        out.as_mut_slice().copy_from_slice(&ws.tau);
    }

    /// Derivatives of [`Model::gravity_torque`] by q: [`Workspace::dtau_dq`].
    pub fn gravity_derivatives(&self, ws: &mut Workspace, q: &DVector<f64>) {
        self.place(ws, q.as_slice());
        self.carry(ws);
        self.gravity_derivatives_of(ws);
    }

    /// Mass and first moment of every subtree into `ws.carried`, after [`Model::place`].
    #[inline]
    pub(crate) fn carry<S: Scalar>(&self, ws: &mut Workspace<S>) {
        for (i, body) in self.bodies.iter().enumerate() {
            let center = add(apply_constant(&ws.r[i], body.center), ws.p[i]);
            ws.carried[i] = (body.mass, center.map(|c| c * body.mass));
        }
        for (i, body) in self.bodies.iter().enumerate().rev() {
            if let Some(parent) = body.parent {
                let (mass, moment) = ws.carried[i];
                let sum = &mut ws.carried[parent];
                *sum = (sum.0 + mass, add(sum.1, moment));
            }
        }
    }

    /// g(q) into `ws.tau`, after [`Model::carry`].
    #[inline]
    pub(crate) fn gravity_torque_of<S: Scalar>(&self, ws: &mut Workspace<S>) {
        let gravity = self.gravity.map(S::from);
        for (k, &body) in self.dof_body.iter().enumerate() {
            ws.tau[k] = -dot(gravity, momentum(ws, body, k));
        }
    }

    /// ∂g/∂q into `ws.dtau_dq`, and g into `ws.tau`, after [`Model::carry`]. Entries across branches
    /// stay 0.
    #[inline]
    pub(crate) fn gravity_derivatives_of<S: Scalar>(&self, ws: &mut Workspace<S>) {
        let nv = self.nv();
        let gravity = self.gravity.map(S::from);
        for (i, body) in self.bodies.iter().enumerate() {
            for k in body.v.clone() {
                // ω × γ
                ws.da_dq[k].linear = cross(ws.j[k].angular, gravity);
            }
            for k in body.v.clone() {
                let h = momentum(ws, i, k);
                ws.tau[k] = -dot(gravity, h);
                for &l in self.ancestors(i) {
                    let entry = dot(ws.da_dq[l].linear, h);
                    ws.dtau_dq[k * nv + l] = entry;
                    ws.dtau_dq[l * nv + k] = entry;
                }
                // Within a joint turns do not commute.
                for l in body.v.clone() {
                    ws.dtau_dq[k * nv + l] = dot(ws.da_dq[l].linear, h);
                }
            }
        }
    }
}

/// Linear momentum of the subtree of `body` at unit velocity of its degree of freedom `dof`.
#[inline(always)]
fn momentum<S: Scalar>(ws: &Workspace<S>, body: usize, dof: usize) -> V3<S> {
    let (mass, moment) = ws.carried[body];
    let j = &ws.j[dof];
    let turned = cross(j.angular, moment);
    std::array::from_fn(|axis| j.linear[axis] * mass + turned[axis])
}
