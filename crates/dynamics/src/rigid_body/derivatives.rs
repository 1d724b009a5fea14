//! Analytic derivatives of inverse dynamics, O(n · depth), and of forward dynamics, which need M⁻¹ and
//! its products with them besides.
//!
//! Carpentier and Mansard, "Analytical Derivatives of Rigid Body Dynamics Algorithms" (RSS 2018);
//! Singh, Russell and Wensing (RA-L 2022) for joints with several degrees of freedom. A joint's
//! column J moves with its body, so that a change of q turns all that lies behind the joint as one
//! body; what is left of the derivative are the columns below, and the matrix B of [`Coriolis`].

use super::model::Model;
use super::spatial::{Coriolis, Motion, dot};
use super::workspace::Workspace;
use crate::Scalar;

impl Model {
    /// ∂τ/∂q and ∂τ/∂v of τ = RNEA(q, v, a); after [`Model::joint_forces`] and
    /// [`Model::gather_inertias`].
    #[inline]
    pub(crate) fn differentiate_joint_forces<S: Scalar>(&self, ws: &mut Workspace<S>) {
        let nv = self.nv();
        for i in 0..self.bodies.len() {
            ws.b[i] = Coriolis::of(&ws.y[i], ws.v[i], ws.h[i]);
        }
        for (i, body) in self.bodies.iter().enumerate() {
            let (v_parent, a_parent) = match body.parent {
                None => (Motion::zero(), self.world_acceleration()),
                Some(parent) => (ws.v[parent], ws.a[parent]),
            };
            for k in body.v.clone() {
                let j = ws.j[k];
                let dv = v_parent.cross(j);
                ws.dv_dq[k] = dv.angular;
                ws.da_dq[k] = a_parent.cross(j).add(v_parent.cross(dv));
                ws.da_dv[k] = ws.v[i].cross(j).add(dv);
            }
        }
        for (i, body) in self.bodies.iter().enumerate().rev() {
            let (y, b, f) = (ws.y_subtree[i], ws.b[i], ws.f[i]);
            for k in body.v.clone() {
                let j = ws.j[k];
                // Rows: τ_k, moved by a degree of freedom at or above its body.
                let (yj, bj) = (y.apply(j), b.apply_transposed(j));
                let row = k * nv;
                for l in self.ancestors(i).iter().copied().chain(body.v.clone()) {
                    ws.dtau_dq[row + l] = ws.da_dq[l].dot(yj) + dot(ws.dv_dq[l], bj);
                    ws.dtau_dv[row + l] = ws.da_dv[l].dot(yj) + dot(ws.j[l].angular, bj);
                }
                // Columns: the forces of the bodies above, moved by k.
                let by_q = y.apply(ws.da_dq[k]).add(b.apply(ws.dv_dq[k])).add(j.cross_force(f));
                let by_v = y.apply(ws.da_dv[k]).add(b.apply(j.angular));
                for &l in self.ancestors(i) {
                    ws.dtau_dq[l * nv + k] = ws.j[l].dot(by_q);
                    ws.dtau_dv[l * nv + k] = ws.j[l].dot(by_v);
                }
            }
            if let Some(parent) = body.parent {
                ws.b[parent] = ws.b[parent].add(b);
            }
        }
    }

    /// q̈ and [∂q̈/∂q, ∂q̈/∂v, ∂q̈/∂τ] (`ws.da`, by rows of 3 nv) under the joint forces `tau`, to which
    /// those of springs, friction and limits over a time step are added where there is one (0 for those
    /// of the instant), and rotor inertias.
    #[inline]
    pub(crate) fn differentiate_acceleration<S: Scalar>(
        &self,
        ws: &mut Workspace<S>,
        q: &[S],
        v: &[S],
        tau: &[S],
        time_step: Option<f64>,
    ) {
        let nv = self.nv();
        self.place_moving(ws, q, v);
        ws.qdd.fill(S::zero());
        self.place_accelerations_of_workspace(ws);
        self.joint_forces(ws);
        self.gather_inertias(ws);
        for k in 0..nv {
            ws.rotor[k] = time_step.map_or_else(S::zero, |h| {
                self.passive_force(k, q, v, h).inertia + self.dofs[k].properties.armature
            });
        }
        self.mass_matrix_of(ws);
        self.factorize(ws);
        // M q̈ = τ − bias
        for k in 0..nv {
            ws.qdd[k] = tau[k] - ws.tau[k];
            if let Some(h) = time_step {
                ws.qdd[k] += self.passive_force(k, q, v, h).force;
            }
        }
        self.solve_mass(&ws.l, &ws.d_inverse, &mut ws.qdd);
        self.place_accelerations_of_workspace(ws);
        self.joint_forces(ws);
        self.differentiate_joint_forces(ws);
        // M ∂q̈ = ∂τ − ∂RNEA
        for (k, row) in ws.da.chunks_exact_mut(3 * nv).enumerate() {
            let (by_q, rest) = row.split_at_mut(nv);
            let (by_v, by_tau) = rest.split_at_mut(nv);
            for (to, &from) in by_q.iter_mut().zip(&ws.dtau_dq[k * nv..][..nv]) {
                *to = -from;
            }
            for (to, &from) in by_v.iter_mut().zip(&ws.dtau_dv[k * nv..][..nv]) {
                *to = -from;
            }
            by_tau.fill(S::zero());
            by_tau[k] = S::one();
            if let Some(h) = time_step {
                let passive = self.passive_force(k, q, v, h);
                by_q[k] += passive.by_q;
                by_v[k] += passive.by_v - passive.inertia_by_v * ws.qdd[k];
            }
        }
        self.solve_derivatives(&ws.l, &ws.d_inverse, &mut ws.da);
    }

    /// [`Model::place_accelerations`] with `ws.qdd`.
    #[inline]
    fn place_accelerations_of_workspace<S: Scalar>(&self, ws: &mut Workspace<S>) {
        let qdd = std::mem::take(&mut ws.qdd);
        self.place_accelerations(ws, &qdd);
        ws.qdd = qdd;
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{Matrix3, Vector3};
    use num_dual::Dual64;

    use super::*;
    use crate::Stream;
    use crate::models::iiwa14;
    use crate::random_tree::random_tree;
    use crate::rigid_body::Base;
    use crate::rigid_body::description::Inertial;

    /// The same algorithms on dual numbers, one input after another.
    fn by_duals(
        model: &Model,
        state: [&[f64]; 3],
        run: impl Fn(&mut Workspace<Dual64>, &[Dual64], &[Dual64], &[Dual64]) -> Vec<f64>,
    ) -> Vec<Vec<f64>> {
        let nv = model.nv();
        let mut ws = Workspace::new(model);
        let columns = (0..3 * nv).map(|input| {
            let seed = |at: usize| Dual64::new(0.0, if at == input { 1.0 } else { 0.0 });
            let start: Vec<Dual64> = state[0].iter().map(|&q| q.into()).collect();
            let chart: Vec<Dual64> = (0..nv).map(seed).collect();
            let mut q = start.clone();
            model.integrate_generic(&start, &chart, &mut q);
            let v: Vec<Dual64> = (0..nv).map(|k| seed(nv + k) + state[1][k]).collect();
            let last: Vec<Dual64> = (0..nv).map(|k| seed(2 * nv + k) + state[2][k]).collect();
            run(&mut ws, &q, &v, &last)
        });
        columns.collect()
    }

    #[test]
    fn analytic_derivatives_are_those_of_dual_numbers() {
        for (base, seed) in [Base::Fixed, Base::Floating].into_iter().cycle().zip(0..120) {
            // The arm, and trees of all kinds of joints.
            let mut robot =
                if seed < 20 { iiwa14() } else { random_tree(1 + seed % 9, seed as u64) };
            // A base without inertia could turn freely about the first joint.
            robot.links[0].inertial =
                Inertial { mass: 5.0, center: Vector3::zeros(), inertia: Matrix3::identity() };
            let model = Model::new(&robot, base).unwrap();
            let nv = model.nv();
            if nv == 0 {
                continue;
            }
            let mut s = Stream::new(seed as u64, "state", 0);
            let q = model.random_configuration(&mut s);
            let mut normal = || (0..nv).map(|_| s.normal()).collect::<Vec<_>>();
            let (v, a) = (normal(), normal());
            let mut ws = model.workspace();
            model.rnea_derivatives(&mut ws, &q, &v.clone().into(), &a.clone().into());
            let (by_q, by_v) = (ws.dtau_dq.clone(), ws.dtau_dv.clone());
            let columns = by_duals(&model, [q.as_slice(), &v, &a], |ws, q, v, a| {
                model.place_moving(ws, q, v);
                model.place_accelerations(ws, a);
                model.joint_forces(ws);
                ws.tau.iter().map(|tau| tau.eps).collect()
            });
            let compare = |what: &str, found: &[f64], stride: usize, first: usize| {
                let scale = columns.iter().flatten().fold(1.0_f64, |m, x| m.max(x.abs()));
                for (input, column) in columns.iter().skip(first).take(nv).enumerate() {
                    for (row, expected) in column.iter().enumerate() {
                        let error = (found[row * stride + input] - expected).abs() / scale;
                        assert!(error < 1e-10, "{what} ({row}, {input}): {error}");
                    }
                }
            };
            compare("dtau/dq", &by_q, nv, 0);
            compare("dtau/dv", &by_v, nv, nv);

            model.aba_derivatives(&mut ws, &q, &v.clone().into(), &a.clone().into());
            let found = ws.da.clone();
            let columns = by_duals(&model, [q.as_slice(), &v, &a], |ws, q, v, tau| {
                model.place_moving(ws, q, v);
                model.articulated_body(ws, tau);
                ws.qdd.iter().map(|a| a.eps).collect()
            });
            let scale = columns.iter().flatten().fold(1.0_f64, |m, x| m.max(x.abs()));
            for (input, column) in columns.iter().enumerate() {
                for (row, expected) in column.iter().enumerate() {
                    let error = (found[row * 3 * nv + input] - expected).abs() / scale;
                    assert!(error < 1e-10, "da ({row}, {input}): {error}");
                }
            }
        }
    }
}
